# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Three production hosts over ssh: canary and batches, what a failure takes back, a dead controller, hosts that come
and go. What is asserted was read from the hosts.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time

import pytest

from .conftest import ROOT, Servers, wait_for

PROD = ("prod-1", "prod-2", "prod-3")
RELEASES = dict.fromkeys(("dev-1", *PROD), "bookworm")
PORT = 4300
QUICK = {"tetra_probe_passes": 1}


@pytest.fixture(scope="module")
def servers(tmp_path_factory):
    """Hosts, on all of which the example organization runs."""
    made = Servers(tmp_path_factory.mktemp("servers"), RELEASES)
    try:
        assert made.play("prepare").code == 0
        made.policy("prod", promotes_from="dev")
        upstream(made)
        assert promote(made).outcome == "applied"
        yield made
    finally:
        made.down()


def upstream(servers) -> None:
    """Bring what the org holds to dev."""
    run = servers.push(**QUICK)
    assert run.outcome == "applied", run.output


def promote(servers, *options, **variables):
    return servers.promote(*options, tetra_from="dev", tetra_to="prod", **{**QUICK, **variables})


def releases(servers) -> dict[str, str]:
    """What each production host runs, by its own word."""
    return {name: host["current"] for name, host in servers.status("prod").items()}


@pytest.fixture
def running(servers) -> str:
    """The release that all production hosts run."""
    for name in PROD:
        servers.hosts[name].run("rm -f /var/lib/tetra/home/acme/sick")
    if len(set(releases(servers).values())) > 1 or "sick" in (servers.org / "files/api/server.py").read_text():
        servers.policy("prod", canary=0, batch=3, max_failures=0, rollback_scope="all", lease="60s")
        servers.restore()
        servers.touch(f"of one mind {time.monotonic()}")
        upstream(servers)
        assert promote(servers).outcome == "applied"
    servers.policy("prod", canary=1, batch=1, max_failures=0, rollback_scope="all", lease="60s")
    return releases(servers)["prod-1"]


def sicken(servers) -> None:
    """Make a release that ends at once on hosts with a file ``sick`` in the home of its user."""
    servers.restore()
    server = servers.org / "files" / "api" / "server.py"
    first = "from __future__ import annotations\n"
    sick = "import pathlib\nif (pathlib.Path.home() / 'sick').exists():\n    raise SystemExit(7)\n"
    server.write_text(f"{server.read_text().replace(first, first + sick)}# {time.monotonic()}\n")
    upstream(servers)


@pytest.mark.guarantee("F16")
def test_one_host_goes_first_and_the_others_wait_with_a_new_lease(servers, running):
    servers.policy("prod", lease="12s")
    servers.touch("a good change")
    upstream(servers)
    shown = promote(servers, "--check", "--diff")
    assert "one after the other: prod-1; prod-2; prod-3" in shown.output
    assert set(releases(servers).values()) == {running}
    begun = time.monotonic()
    run = promote(servers, tetra_probe_passes=9)
    seconds = time.monotonic() - begun
    assert run.outcome == "applied", run.output
    # Longer than one lease: without a renewal the first host would have gone back.
    print(f"three hosts, one after the other, with a lease of 12 s: {seconds:.1f} s")
    assert seconds > 14
    assert len(set(releases(servers).values())) == 1


@pytest.mark.parametrize(
    ("scope", "outcome", "back"),
    [("all", "rolled_back", {"prod-1", "prod-2", "prod-3"}), ("stop", "partial", {"prod-2", "prod-3"})],
)
def test_the_second_of_three_fails_its_check(servers, running, scope, outcome, back):
    servers.policy("prod", rollback_scope=scope)
    servers.hosts["prod-2"].run("touch /var/lib/tetra/home/acme/sick")
    sicken(servers)
    run = promote(servers)
    assert run.outcome == outcome, run.output
    found = releases(servers)
    assert {name for name, release in found.items() if release == running} == back
    hosts = run.result["hosts"]
    print(f"scope {scope}: {outcome}; ", ", ".join(f"{name} {hosts[name]['outcome']}" for name in PROD))
    assert hosts["prod-2"]["outcome"] == "rolled_back"
    assert hosts["prod-3"]["outcome"] == "refused"
    assert all(servers.ask(name, PORT)[0] == 200 for name in PROD)


def test_a_failure_within_the_allowance_goes_back_alone(servers, running):
    servers.policy("prod", max_failures=1)
    servers.hosts["prod-2"].run("touch /var/lib/tetra/home/acme/sick")
    sicken(servers)
    run = promote(servers)
    assert run.outcome == "partial", run.output
    found = releases(servers)
    assert [name for name, release in found.items() if release == running] == ["prod-2"]
    assert found["prod-1"] == found["prod-3"]


def killed_at(servers, name: str, ending: str) -> None:
    """Start a promotion, and kill its controller when a file of its transaction is on a host."""
    folder = servers.transactions(name)
    old = set(os.listdir(folder))
    controller = subprocess.Popen(
        servers.command("promote", tetra_from="dev", tetra_to="prod", **QUICK), cwd=ROOT, stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    came = wait_for(lambda: any(file.endswith(ending) for file in {*os.listdir(folder)} - old), 60, pause=0.005)
    assert came and controller.poll() is None, "the moment never came"
    os.killpg(controller.pid, signal.SIGKILL)
    controller.wait()


def open_states(servers) -> dict[str, str]:
    """The states of the transactions that have not ended, by host."""
    return {name: servers.open_in_prod(name) for name in PROD}


def test_a_controller_dies_after_the_decision_and_a_resume_finishes_its_work(servers, running):
    servers.policy("prod", canary=0, batch=3)
    # The last host to be confirmed is slow to answer, so that the controller dies between the others and it.
    servers.touch("decided, then dead")
    upstream(servers)
    killed_at(servers, "prod-3", ".decision")
    before = open_states(servers)
    run = servers.play("resume", tetra_env="prod", **QUICK)
    assert run.outcome == "applied", run.output
    found = releases(servers)
    print(f"killed after the decision: open were {before}; resume: {run.outcome}")
    assert len(set(found.values())) == 1
    assert running not in found.values()
    assert servers.play("resume", tetra_env="prod", **QUICK).outcome == "unchanged"


def test_a_lease_that_ended_meanwhile_is_no_obstacle_for_a_resume(servers, running):
    servers.policy("prod", canary=0, batch=3, lease="15s")
    servers.touch("confirmed on one host only")
    upstream(servers)
    killed_at(servers, "prod-1", ".decision")
    identity = next(servers.transactions("prod-1").glob("*.probing")).stem
    done = confirm_alone(servers, "prod-1", identity)
    wait_until_closed(servers)
    found = releases(servers)
    assert (found["prod-1"] != running, found["prod-2"], found["prod-3"]) == (True, running, running), done
    refused = servers.play("abort", tetra_env="prod")
    assert refused.outcome == "applied" or refused.outcome == "unchanged"
    run = servers.play("resume", tetra_env="prod", **QUICK)
    assert run.outcome == "applied", run.output
    assert set(releases(servers).values()) == {found["prod-1"]}


def confirm_alone(servers, name: str, identity: str) -> str:
    request = ('{"tetra_dir": "/var/lib/tetra", "org": "acme", "env": "prod", "state": "confirmed", '
               f'"transaction": "{identity}"}}')
    return servers.hosts[name].run("/var/lib/tetra/bin/tsm run release", data=request)


def wait_until_closed(servers, seconds: float = 30) -> None:
    assert wait_for(lambda: not any(open_states(servers).values()), seconds, pause=0.5)


def test_a_run_that_was_not_decided_is_given_up_by_an_abort(servers, running):
    servers.policy("prod", canary=0, batch=3)
    servers.touch("never decided")
    upstream(servers)
    killed_at(servers, "prod-3", ".probing")
    assert any(open_states(servers).values())
    run = servers.play("abort", tetra_env="prod", tetra_reason="the controller died")
    assert run.outcome == "applied", run.output
    assert set(releases(servers).values()) == {running}
    assert not any(open_states(servers).values())
    assert servers.play("abort", tetra_env="prod").outcome == "unchanged"


def test_a_dead_host_is_taken_out_by_name_and_its_successor_joins(servers, running):
    refused = servers.play("remove_host", tetra_env="prod", tetra_host="prod-3")
    assert refused.outcome == "refused", refused.output
    servers.hosts["prod-3"].kill()
    servers.touch("without the third")
    upstream(servers)
    assert promote(servers).outcome == "refused"
    run = servers.play("remove_host", tetra_env="prod", tetra_host="prod-3", tetra_reason="its disk died")
    assert run.outcome == "applied", run.output
    assert "its disk died" in servers.hosts["prod-1"].run("cat /var/lib/tetra/orgs/acme/prod/journal.jsonl")
    run = promote(servers)
    assert run.outcome == "applied", run.output
    assert set(run.result["hosts"]) == {"prod-1", "prod-2"}
    servers.running.end("prod-3")
    servers.hosts.update(servers.running.up({"prod-3": "trixie"}))
    assert servers.play("prepare").code == 0
    back = promote(servers)
    assert back.outcome == "refused"
    assert "was taken out by" in back.result["message"]
    run = servers.play("resume", tetra_env="prod", **QUICK)
    assert run.outcome == "applied", run.output
    assert {name: host["outcome"] for name, host in run.result["hosts"].items()} == {
        "prod-1": "unchanged", "prod-2": "unchanged", "prod-3": "applied",
    }  # fmt: skip
    assert servers.ask("prod-3", PORT)[0] == 200
    assert promote(servers).outcome == "unchanged"


def test_a_host_that_missed_promotions_catches_up(servers, running):
    host = servers.hosts["prod-2"]
    host.run("cp -a /var/lib/tetra/orgs /root/orgs")
    servers.touch("missed by one")
    upstream(servers)
    assert promote(servers).outcome == "applied"
    # As if it had been away: its state is that of before the promotion.
    host.run("systemctl stop 'tetra-*'; rm -rf /var/lib/tetra/orgs; mv /root/orgs /var/lib/tetra/orgs; tsm start all")
    assert releases(servers)["prod-2"] == running
    run = servers.play("resume", tetra_env="prod", **QUICK)
    assert run.outcome == "applied", run.output
    assert len(set(releases(servers).values())) == 1
