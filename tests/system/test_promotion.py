# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The main job on real processes and sockets: promote, promote again, a broken release, holds, rollback."""

from __future__ import annotations

import collections
import json
import os
import re
import shutil
from pathlib import Path

import pytest
from ansible_collections.tetra.platform.plugins.module_utils.model import canonical

from .conftest import ROOT, tree

NETWORK = 71
API = 4200
STAGING = ("staging-1", "staging-2")


def pids(hosts: dict) -> dict:
    """The process of each service by host."""
    return {(name, key): found["pid"] for name, host in hosts.items() for key, found in host["services"].items()}


def test_a_promoted_release_answers_on_every_host(promoted):
    for host in STAGING:
        status, body = promoted.ask(host, API)
        assert status == 200
        assert json.loads(body)["env"] == "staging"
        assert len(json.loads(body)["release"]) == 64


def test_a_second_promotion_changes_not_one_byte(promoted):
    before, running = tree(promoted.state), pids(promoted.status("staging"))
    run = promoted.promote()
    assert (run.code, run.outcome) == (0, "unchanged")
    assert "changed=0" in run.output
    assert not [line for line in run.output.splitlines() if "changed=" in line and "changed=0 " not in line]
    assert tree(promoted.state) == before
    assert pids(promoted.status("staging")) == running


def test_check_mode_tells_the_plan_and_changes_nothing(promoted):
    promoted.touch("checked")
    before = tree(promoted.state)
    run = promoted.push("--check", "--diff")
    promoted.restore()
    assert (run.code, run.outcome) == (0, "unchanged")
    assert "api: restart" in run.output
    assert [line[0] for line in changed_files(run.output)] == ["-", "+"]
    assert tree(promoted.state) == before


def changed_files(output: str) -> list[str]:
    """The lines of a diff about the file that only the API uses."""
    return re.findall(r"^([-+]file files/api/server.py: \d+ bytes, sha256 [0-9a-f]{12})$", output, re.MULTILINE)


def kept_plan(fleet, host: str, run) -> str:
    """The plan that a host keeps of a run, as the bytes that its name in the journal is the digest of."""
    environment = fleet.environment(host)
    (record,) = environment.glob(f"tx/{run.result['transaction']}.confirmed")
    plan = canonical.dumps(json.loads(record.read_text())["plan"])
    last = json.loads((environment / "journal.jsonl").read_text().splitlines()[-1])
    assert last["plan"] == canonical.sha256(plan.encode())
    return plan


def test_a_plan_is_applied_as_it_was_written_or_not_at_all(promoted, tmp_path):
    promoted.touch("planned")
    before, file = tree(promoted.state), tmp_path / "plan.json"
    planned = promoted.play("plan", tetra_env="dev", tetra_plan_file=os.fspath(file))
    assert (planned.outcome, tree(promoted.state)) == ("unchanged", before), planned.output
    promoted.touch("edited in between")
    refused = promoted.push(tetra_plan=os.fspath(file))
    assert (refused.outcome, tree(promoted.state)) == ("refused", before)
    assert "files/api/server.py: changed" in refused.output
    promoted.restore()
    promoted.touch("planned")
    applied = promoted.push(tetra_plan=os.fspath(file))
    assert applied.outcome == "applied", applied.output
    assert applied.result["plan_id"] == json.loads(file.read_text())["plan_id"]
    assert kept_plan(promoted, "dev-1", applied) == canonical.dumps(planned.result["plan"])
    between = promoted.play("diff", tetra_from="dev", tetra_to="staging")
    assert [line[0] for line in changed_files(between.output)] == ["-", "+"], between.output
    assert between.result["different"]
    again = promoted.push(tetra_plan=os.fspath(file))
    assert again.outcome == "refused"
    assert "host dev-1: it ran" in again.output
    file.write_text(file.read_text().replace("restart", "keep"))
    assert promoted.push(tetra_plan=os.fspath(file)).outcome == "invalid"
    promoted.restore()
    assert promoted.push().outcome == "applied"


def test_what_cannot_be_done_as_it_is_written_is_told_and_does_not_stop_a_run(promoted):
    with (promoted.org / "services" / "site.tsm").open("a") as file:
        file.write("export TSM_MEMORY_LIMIT=64M\nexport TSM_HELTH_CHECK=true\n")
    run = promoted.push("--check")
    promoted.restore()
    assert (run.code, run.outcome) == (0, "unchanged")
    told = {finding["code"]: finding for finding in run.result["findings"]}
    assert told["unhonoured-key"]["message"].startswith("site: TSM_MEMORY_LIMIT has no effect on dev-1")
    assert told["unknown-key"]["hint"] == "did you mean TSM_HEALTH_CHECK?"
    shown = "".join(run.output.split())
    for finding in told.values():
        assert "".join(f"{finding['file']}:{finding['line']}".split()) in shown
        assert "".join(finding["message"].split()) in shown


def test_a_broken_release_puts_itself_back_and_is_held(promoted):
    old = promoted.ask("staging-1", API)
    shutil.copy(ROOT / "examples" / "broken" / "server.py", promoted.org / "files" / "api" / "server.py")
    assert promoted.push().outcome == "applied"
    run = promoted.promote()
    assert run.outcome == "rolled_back"
    assert run.code != 0
    for host in STAGING:
        assert promoted.ask(host, API) == old
        nonce = re.search(r'"nonce": "([0-9a-f]{16})"', run.result["hosts"][host]["reports"]["api"]["reason"])[1]
        log = promoted.environment(host) / "evidence" / run.result["transaction"] / "api.log"
        assert f"nonce {nonce}" in log.read_text()
    assert all(host["holds"] for host in promoted.status("staging").values())
    again = promoted.promote()
    assert again.outcome == "refused"
    assert run.result["transaction"] in again.output
    assert "/health" in again.output
    promoted.touch("one byte more")
    assert promoted.push().outcome == "applied"
    assert promoted.promote().outcome == "rolled_back", "another bundle is tried, and not refused"
    promoted.restore()
    assert promoted.push().outcome == "applied"
    assert promoted.promote().outcome == "unchanged"


def test_a_promotion_needs_at_most_five_calls_for_a_host(promoted, tmp_path):
    promoted.touch("counted")
    assert promoted.push().outcome == "applied"
    calls = tmp_path / "calls"
    counting = {
        "COUNT_CALLS_FILE": os.fspath(calls), "ANSIBLE_CALLBACK_PLUGINS": os.fspath(Path(__file__).parent),
        "ANSIBLE_CALLBACKS_ENABLED": "count_calls",
    }  # fmt: skip
    run = promoted.promote(environment=counting)
    assert run.outcome == "applied", run.output
    counted = collections.Counter(line.split("\t")[1] for line in calls.read_text().splitlines())
    print("calls per host:", dict(counted))
    assert set(counted) == {"dev-1", *STAGING}
    assert max(counted.values()) <= 5


def test_what_did_not_change_is_not_restarted(promoted):
    before = pids(promoted.status("staging"))
    promoted.touch("restarted")
    assert promoted.push().outcome == "applied"
    assert promoted.promote().outcome == "applied"
    after = pids(promoted.status("staging"))
    moved = {service for host, service in before if before[host, service] != after[host, service]}
    assert moved == {"api"}


def test_the_history_is_that_of_all_hosts_and_who_tampers_is_named_with_the_record(promoted):
    run = promoted.play("history", tetra_env="staging", tetra_history_lines=3)
    assert (run.outcome, run.result["doubts"]) == ("unchanged", []), run.output
    newest = run.result["entries"][-1]
    assert (newest["outcome"], newest["hosts"]) == ("applied", dict.fromkeys(STAGING, "applied"))
    assert newest["to"] == promoted.status("staging")["staging-1"]["current"]
    assert newest["time"] in run.output
    journal = promoted.environment("staging-2") / "journal.jsonl"
    written = journal.read_bytes()
    lines = written.splitlines(keepends=True)
    # The last record is cut off; then one in the middle is changed.
    for tampered, seq in ((lines[:-1], len(lines)), ([lines[0].replace(b'"seq":1', b'"seq":7'), *lines[1:]], 1)):
        journal.write_bytes(b"".join(tampered))
        run = promoted.play("history", tetra_env="staging")
        assert (run.outcome, run.code != 0) == ("refused", True)
        assert [(doubt["host"], doubt["seq"]) for doubt in run.result["doubts"]] == [("staging-2", seq)]
        assert f"staging-2: the journal cannot be trusted from record {seq} on" in run.output
    journal.write_bytes(written)


def test_a_rollback_brings_back_a_removed_service_with_its_old_secret(promoted):
    release = promoted.status("staging")["staging-1"]["current"]
    seen = promoted.ask("staging-1", API, "/secret")
    (promoted.org / "services" / "site.tsm").unlink()
    for name in ("dev", "staging"):
        overlay = promoted.org / "environments" / f"{name}.toml"
        overlay.write_text(overlay.read_text().partition("[services.site]")[0])
    promoted.secrets = {"API_TOKEN": "second-token"}
    assert promoted.push().outcome == "applied"
    preview, real = promoted.promote("--check", "--diff"), promoted.promote()
    assert real.outcome == "applied"
    assert kept_plan(promoted, "staging-1", real) == canonical.dumps(preview.result["plan"])
    assert "second-token" not in preview.output
    assert len(re.findall(r"^[-+]secret API_TOKEN: keyed digest [0-9a-f]{12}$", preview.output, re.MULTILINE)) == 2
    assert promoted.ask("staging-1", 4280, "/")[0] == 0
    assert promoted.ask("staging-1", API, "/secret") != seen
    # Somebody edits what will be gone back to.
    page = promoted.environment("staging-1") / "releases" / release / "files" / "site" / "public" / "index.html"
    page.write_text("edited")
    preview = promoted.play("rollback", "--check", "--diff", tetra_env="staging")
    run = promoted.play("rollback", tetra_env="staging")
    assert run.outcome == "applied", run.output
    assert kept_plan(promoted, "staging-2", run) == canonical.dumps(preview.result["plan"])
    assert "+service site: port main: 4280" in preview.output
    assert promoted.status("staging")["staging-2"]["current"] == release
    status, body = promoted.ask("staging-1", 4280, "/")
    assert (status, "edited" in body) == (200, False)
    assert promoted.ask("staging-1", API, "/secret") == seen
    goes_to_a_named_release(promoted, real.result["release"], release)
    promoted.secrets = {"API_TOKEN": "first-token"}
    promoted.restore()


def goes_to_a_named_release(fleet, held: str, gone: str) -> None:
    """Go to a release that is on hold, once somebody says why, and not to one that a host cannot run any more."""
    refused = fleet.play("rollback", tetra_env="staging", tetra_release=held[:12])
    assert (refused.outcome, "is on hold" in refused.output) == ("refused", True), refused.output
    wanted = {"tetra_env": "staging", "tetra_release": held[:12], "tetra_lift_hold": "it was not the release"}
    preview, run = fleet.play("rollback", "--check", "--diff", **wanted), fleet.play("rollback", **wanted)
    assert run.outcome == "applied", run.output
    assert kept_plan(fleet, "staging-2", run) == canonical.dumps(preview.result["plan"])
    assert "-service site: port main: 4280" in preview.output
    (fleet.environment("staging-2") / "private" / f"{gone}.json").unlink()
    refused = fleet.play("rollback", tetra_env="staging", tetra_release=gone[:12])
    assert (refused.outcome, "needs is no longer on staging-2" in refused.output) == ("refused", True), refused.output
    assert {host["current"] for host in fleet.status("staging").values()} == {held}


@pytest.mark.parametrize(("playbook", "variables", "options", "told"), [
    ("push", {"tetra_org": "nobody", "tetra_env": "dev"}, (), "was not found"),
    ("push", {"tetra_env": "devv"}, (), "devv"),
    ("promote", {"tetra_from": "staging", "tetra_to": "dev"}, (), "dev"),
    ("promote", {"tetra_from": "dev", "tetra_to": "staging"}, ("--limit", "staging-1"), "leaves out"),
    ("promote", {"tetra_from": "dev", "tetra_to": "staging"}, ("--limit", "localhost,staging-1"), "leaves out"),
    ("push", {"tetra_org": "../acme", "tetra_env": "dev"}, (), "not a name"),
    ("push", {"tetra_env": "dev", "tetra_dir": "/tmp/up/../and-down"}, (), "not an absolute path"),
])  # fmt: skip
def test_a_wrong_request_is_refused_before_any_host_is_asked(promoted, playbook, variables, options, told):
    before = tree(promoted.state)
    run = promoted.play(playbook, *options, **variables)
    assert run.outcome in ("refused", "invalid"), run.output
    assert run.code != 0
    assert told in run.output
    assert "Traceback" not in run.output
    assert tree(promoted.state) == before


def malformed(org: Path) -> None:
    (org / "services" / "api.tsm").write_text("TSM_NAME=api\nTSM_COMMAND=$(id)\n")


def missing_variable(org: Path) -> None:
    (org / "templates" / "extra.conf.j2").write_text("{{ nowhere }}\n")


def unknown_secret(org: Path) -> None:
    with (org / "services" / "api.tsm").open("a") as file:
        file.write('export OTHER="${secret:NOT_THERE}"\n')


def link_out(org: Path) -> None:
    (org / "files" / "api" / "out").symlink_to("../../../../etc")


def same_name(org: Path) -> None:
    (org / "services" / "Api.tsm").write_text("TSM_COMMAND=true\n")


@pytest.mark.parametrize(("spoil", "told"), [
    (malformed, "api.tsm:2:13"), (missing_variable, "nowhere"), (unknown_secret, "NOT_THERE"),
    (link_out, "files/api/out"), (same_name, "Api.tsm"),
])  # fmt: skip
def test_a_wrong_organization_is_told_and_nothing_is_written(promoted, spoil, told):
    spoil(promoted.org)
    before = tree(promoted.state)
    run = promoted.push()
    promoted.restore()
    assert run.outcome == "invalid", run.output
    assert run.code != 0
    assert told in run.output
    assert "Traceback" not in run.output
    assert tree(promoted.state) == before
