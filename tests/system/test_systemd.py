# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Services under a real systemd, of Debian 11, 12 and 13, over ssh."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import pytest

from .conftest import ROOT, Servers

RELEASES = {"dev-1": "bookworm", "staging-1": "bullseye", "staging-2": "trixie"}
LAB = ROOT / "tests" / "system" / "lab"
HOME = "/var/lib/tetra/home/lab"
QUICK = {"tetra_org": "lab", "tetra_probe_passes": 1}


@pytest.fixture(scope="module")
def servers(tmp_path_factory):
    """Prepared hosts, on all of which the lab runs."""
    made = Servers(tmp_path_factory.mktemp("servers"), RELEASES)
    try:
        shutil.copytree(LAB, made.orgs / "lab")
        for run in (made.play("prepare"), made.push(**QUICK), made.promote(**QUICK)):
            assert run.code == 0, run.output
        yield made
    finally:
        made.down()


@pytest.fixture
def lab(servers) -> Path:
    """The directory of the lab, which a test may change."""
    yield servers.orgs / "lab"
    shutil.rmtree(servers.orgs / "lab")
    shutil.copytree(LAB, servers.orgs / "lab")


@pytest.fixture(params=RELEASES)
def host(request, servers):
    """Each host in turn."""
    return servers.hosts[request.param]


@pytest.fixture
def dev(servers):
    """The host of dev."""
    return servers.hosts["dev-1"]


def env_of(host) -> str:
    return host.name.partition("-")[0]


def unit(host, service: str) -> str:
    return f"tetra-lab-{env_of(host)}-{service}"


def shown(host, service: str, *names: str) -> dict[str, str]:
    text = host.run(f"systemctl show --property={','.join(names)} {unit(host, service)}")
    return dict(line.partition("=")[::2] for line in text.splitlines())


def starts(host, service: str) -> int:
    return len(host.run(f"cat {HOME}/{service}.starts").split())


def wait_for(condition, seconds: float = 20.0):
    """What a condition returns once it is true."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come to that"
        time.sleep(0.1)
    return condition()


def test_a_killed_service_comes_back(host):
    before = shown(host, "steady", "MainPID")["MainPID"]
    host.run(f"kill -9 {before}")
    now = wait_for(lambda: (pid := shown(host, "steady", "MainPID")["MainPID"]) not in ("0", before) and pid)
    wait_for(lambda: now in host.run(f"cat {HOME}/steady.starts").split())


def test_one_that_crashes_again_and_again_is_given_up_after_exactly_so_many_restarts(servers):
    hosts = list(servers.hosts.values())
    time.sleep(11)  # What it did before does not count against it.
    before = {host.name: starts(host, "steady") for host in hosts}
    for host in hosts:
        host.run(f"touch {HOME}/steady.crash")
    for host in hosts:
        wait_for(lambda host=host: shown(host, "steady", "ActiveState")["ActiveState"] == "failed")
        host.run(f"rm {HOME}/steady.crash")
    time.sleep(3)
    assert {host.name: starts(host, "steady") - before[host.name] for host in hosts} == dict.fromkeys(RELEASES, 3)
    for env in ("dev", "staging"):
        for host in servers.play("status", tetra_env=env, tetra_org="lab").result["hosts"].values():
            assert host["services"]["steady"]["state"] == "failed"
    for host in hosts:
        assert "given up; it ended, and was restarted 3 times in vain" in host.run("tsm logs steady")
        host.run("tsm start steady")
        assert shown(host, "steady", "ActiveState")["ActiveState"] == "active"


def test_one_that_was_about_to_be_given_up_begins_anew_when_it_is_started_on_purpose(host):
    name = unit(host, "steady")
    folder = f"/etc/systemd/system/{name}.service.d"
    host.run(f"mkdir {folder} && printf '[Service]\\nRestartSec=60\\n' > {folder}/slow.conf && systemctl daemon-reload")
    host.run(f"kill -9 {shown(host, 'steady', 'MainPID')['MainPID']}")
    wait_for(lambda: shown(host, "steady", "SubState")["SubState"] == "auto-restart")
    # It would be the last restart. One that is stopped between two leaves its folder behind.
    host.run(f"read -r now rest < /proc/uptime; echo \"3 ${{now%.*}}\" > /run/{name}/starts")
    before = starts(host, "steady")
    host.run("tsm restart steady")
    wait_for(lambda: starts(host, "steady") == before + 1)
    assert shown(host, "steady", "ActiveState", "NRestarts") == {"ActiveState": "active", "NRestarts": "0"}


def test_one_that_a_person_stopped_stays_stopped_over_a_restart_and_a_push(servers, lab, dev):
    dev.run("tsm stop steady")
    assert shown(dev, "steady", "ActiveState")["ActiveState"] == "inactive"
    dev.reboot()
    wait_for(lambda: shown(dev, "limited", "ActiveState")["ActiveState"] == "active")
    assert shown(dev, "steady", "ActiveState")["ActiveState"] == "inactive"
    service = lab / "services" / "steady.tsm"
    service.write_text(service.read_text() + "export NEW=1\n")
    run = servers.push(**QUICK)
    assert run.outcome == "applied", run.output
    assert shown(dev, "steady", "ActiveState")["ActiveState"] == "inactive"
    dev.run("tsm start steady")
    environment = dev.run(f"tr '\\0' '\\n' < /proc/{shown(dev, 'steady', 'MainPID')['MainPID']}/environ")
    assert "NEW=1" in environment.splitlines()


def test_a_restart_of_the_host_brings_its_services_back(dev):
    before = starts(dev, "steady")
    dev.reboot()
    wait_for(lambda: starts(dev, "steady") == before + 1)


def test_pushes_in_a_row_never_meet_the_limit_of_starts(servers, lab, dev):
    service = lab / "services" / "limited.tsm"
    begun = time.monotonic()
    # One more than the unit may be started within its interval.
    for number in range(7):
        service.write_text(f"{service.read_text()}export NUMBER={number}\n")
        run = servers.push(**QUICK)
        assert run.outcome == "applied", run.output
    print(f"seven pushes, each of which restarted a service with one restart, took {time.monotonic() - begun:.0f} s")
    assert shown(dev, "limited", "ActiveState", "NRestarts") == {"ActiveState": "active", "NRestarts": "0"}


def test_a_service_runs_as_the_user_of_its_organization_and_within_its_limits(host):
    found = shown(host, "limited", "User", "MemoryMax", "CPUQuotaPerSecUSec", "TimeoutStopUSec", "After", "MainPID")
    assert found["User"] == "tetra-lab"
    assert found["MemoryMax"] == str(64 * 1024 * 1024)
    assert found["CPUQuotaPerSecUSec"] == "200ms"
    assert found["TimeoutStopUSec"] == "3s"
    assert f"{unit(host, 'steady')}.service" in found["After"].split()
    assert host.run(f"stat -c %U /proc/{found['MainPID']}").strip() == "tetra-lab"
    assert host.run(f"stat -c '%U %a' {HOME}").split() == ["tetra-lab", "700"]


def test_units_are_as_systemd_wants_them(host):
    said = host.run("systemd-analyze verify /etc/systemd/system/tetra-*.service", check=False)
    assert "tetra" not in said, said


def test_a_unit_of_somebody_else_is_not_replaced(servers, lab, dev):
    path = "/etc/systemd/system/tetra-lab-dev-extra.service"
    dev.run(f"printf '[Service]\\nExecStart=/bin/sleep 1000\\n' > {path}")
    shutil.copy(lab / "services" / "steady.tsm", lab / "services" / "extra.tsm")
    run = servers.push(**QUICK)
    assert (run.outcome, run.code != 0) == ("refused", True)
    assert f"{path}) is not lab/dev/extra of /var/lib/tetra" in run.result["message"]
    assert "sleep 1000" in dev.run(f"cat {path}")
    dev.run(f"rm {path}; systemctl daemon-reload")


def test_a_service_that_runs_under_a_unit_of_its_own_is_not_started_twice(servers, lab, dev):
    path = "/etc/systemd/system/shop.service"
    dev.run(f"printf '[Service]\\nExecStart=/bin/sleep 1000\\n' > {path}; systemctl start shop")
    shutil.copy(lab / "services" / "steady.tsm", lab / "services" / "shop.tsm")
    run = servers.push(**QUICK)
    assert run.outcome == "refused", run.output
    assert "service shop runs already under the unit shop.service" in run.result["message"]
    assert "systemctl disable --now shop" in run.result["message"]
    dev.run(f"systemctl stop shop; rm {path}; systemctl daemon-reload")
    run = servers.push(**QUICK)
    assert run.outcome == "applied", run.output


def test_another_user_takes_the_word_of_the_owner_of_the_host(servers, lab, dev):
    user = "admin"
    service = lab / "services" / "as.tsm"
    service.write_text((lab / "services" / "steady.tsm").read_text() + f"TSM_USER={user}\n")
    refused = servers.push(**QUICK)
    assert refused.outcome == "refused", refused.output
    objection = f"service as wants to run as {user}, which /etc/tetra/policy.json does not allow lab"
    assert objection in refused.result["message"]
    assert servers.play("prepare", tetra_users={"lab": [user]}).code == 0
    # Its own home is not the one that the organization's program writes to.
    service.write_text(service.read_text().replace("python3", "sleep 1000 #"))
    run = servers.push(**QUICK)
    assert run.outcome == "applied", run.output
    assert host_user(dev, "as") == user
    assert servers.play("prepare").code == 0


def host_user(host, service: str) -> str:
    return host.run(f"stat -c %U /proc/{shown(host, service, 'MainPID')['MainPID']}").strip()


def drifts(servers, **variables) -> tuple[object, dict[str, set]]:
    """How a look for drift in dev ended, and what it told: kind to what, each with its services."""
    run = servers.play("drift", tetra_env="dev", **{**QUICK, **variables})
    told: dict[str, set] = {}
    for found in run.result["hosts"]["dev-1"]["drifts"]:
        told.setdefault(found["kind"], set()).add((found["what"], *found["services"]))
    return run, told


def add_to(path: Path, text: str) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text((path.read_text() if path.exists() else "") + text)


def test_each_drift_is_named_for_what_it_is_and_gone_after_a_push(servers, lab, dev):
    environment = "/var/lib/tetra/orgs/lab/dev"
    notes = f"{environment}/current/files/steady/notes"
    add_to(lab / "files" / "steady" / "notes", "wanted\n")
    assert servers.push(**QUICK).outcome == "applied"
    run, told = drifts(servers)
    assert (run.code, run.outcome, told) == (0, "unchanged", {}), run.output

    add_to(lab / "templates" / "unused", "nobody reads it\n")
    (pending,) = drifts(servers)[1]["pending change"]
    assert pending[0].endswith("follows, no service changes")
    shutil.rmtree(lab / "templates")

    add_to(lab / "services" / "limited.tsm", "export NEW=1\n")
    run, told = drifts(servers)
    assert (run.code, told) == (0, {"pending change": {("service limited changed", "limited")}})

    time.sleep(1.1)  # So that a file is older than another for a clock of whole seconds.
    dev.run(f"echo edited >> {notes}; touch {environment}/current/files/common/lab.py")
    dev.run(f"echo mine > {environment}/current/files/common/extra")
    folder = "/etc/systemd/system"
    override = f"{folder}/tetra-lab-dev-limited.service.d/override.conf"
    dev.run(f"mkdir {override.rpartition('/')[0]}; printf '[Service]\\nNice=5\\n' > {override}")
    dev.run(f"cd {folder}; sed s,dev/steady,dev/other, tetra-lab-dev-steady.service > tetra-lab-dev-other.service")
    dev.run("systemctl daemon-reload; systemctl start tetra-lab-dev-other")
    run, told = drifts(servers)
    assert (run.code != 0, run.outcome) == (True, "partial"), run.output
    # Limited still runs from the tree of the release before, where that file was not touched.
    assert told == {
        "hand edit": {("files/steady/notes", "steady")},
        "pending change and hand edit": {(override, "limited")},
        "process runs older files": {("started before files/common/lab.py was written", "steady")},
        "unmanaged extra": {("files/common/extra",), ("unit tetra-lab-dev-other",)},
    }
    assert "dev-1  hand edit" in run.output

    before = starts(dev, "steady")
    preview = servers.push("--check", "--diff", **QUICK)
    assert "put right, hand edit: files/steady/notes" in preview.output
    assert servers.push(**QUICK).outcome == "applied"
    assert starts(dev, "steady") == before + 1
    run, told = drifts(servers)
    assert (run.code, told) == (0, {}), run.output
    assert shown(dev, "limited", "Nice")["Nice"] == "0"
    assert "could not be found" in dev.run("systemctl status tetra-lab-dev-other 2>&1", check=False)
    kept = dev.run(f"cd {environment}/evidence/*/edited; cat files/steady/notes files/common/extra units/override.conf")
    assert kept.split() == ["wanted", "edited", "mine", "[Service]", "Nice=5"]
    assert servers.push(**QUICK).outcome == "unchanged"


def test_a_current_that_was_moved_by_hand_is_a_drift_of_the_host_and_of_its_processes(servers, lab, dev):
    environment = "/var/lib/tetra/orgs/lab/dev"
    before = dev.run(f"readlink {environment}/current").strip()
    add_to(lab / "services" / "steady.tsm", "export NEW=2\n")
    assert servers.push(**QUICK).outcome == "applied"
    dev.run(f"ln -sfn {before} {environment}/current")
    _run, told = drifts(servers)
    assert told["hand edit"] == {(f"current -> {before.rpartition('/')[2]}",)}
    assert "steady" in {service for _what, service in told["process runs older files"]}
    assert servers.push(**QUICK).outcome == "applied"
    run, told = drifts(servers)
    assert (run.code, told) == (0, {}), run.output


def test_what_is_pending_is_not_known_without_the_organization_but_the_rest_is(servers, dev):
    dev.run("systemctl stop tetra-lab-dev-limited")
    run, told = drifts(servers, tetra_orgs_dir="/nowhere")
    assert told == {"not running": {("service limited is stopped", "limited")}}
    assert "pending changes are not known: the directory of the organization is not here" in run.result["message"]
    assert run.outcome == "partial"
    ill = servers.play("health", tetra_env="dev", **QUICK)
    assert (ill.code != 0, ill.outcome) == (True, "partial"), ill.output
    assert ill.result["message"] == "dev-1: limited: the process is stopped"
    assert ill.result["hosts"]["dev-1"]["checks"]["steady"]["ok"]
    dev.run("tsm restart limited")
    assert servers.play("health", tetra_env="dev", **QUICK).outcome == "unchanged"
