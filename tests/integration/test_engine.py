# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The engine on one host, with a real supervisord and the real agent: what it does when its own parts fail."""

from __future__ import annotations

import base64
import errno
import json
import os
import secrets
import signal
import subprocess
import time
from pathlib import Path

import pytest
from ansible_collections.tetra.platform.plugins.module_utils.host import (
    agent,
    deadman,
    durable,
    engine,
    observation,
    processes,
    registry,
    staging,
    store,
    transactions,
)
from ansible_collections.tetra.platform.plugins.module_utils.host.operations import deployment, ports, preparation
from ansible_collections.tetra.platform.plugins.module_utils.host.scope import open_scope
from ansible_collections.tetra.platform.plugins.module_utils.host.supervisors import supervisord
from ansible_collections.tetra.platform.plugins.module_utils.model import health, pack, plan, release, transaction
from ansible_collections.tetra.platform.plugins.module_utils.model.errors import REFUSED, TetraError
from ansible_collections.tetra.platform.plugins.plugin_utils import bundle, host_code, source

LEASE = 6.0
IDENTITY = "20260101t120000-0123abcd"
BROKEN_AGENTS = {
    "ends at once": "#!/bin/sh\nexit 1\n",
    "ends well at once": "#!/bin/sh\nexit 0\n",
    "hangs before it can watch": "#!/bin/sh\nexec sleep 600\n",
}


def prepare_request(tetra_dir: str, version: str = "") -> dict:
    """What a host is prepared with; the code of another version is the same here."""
    return {
        "tetra_dir": tetra_dir, "state": "present", "supervisor": "supervisord", "supervisord": None, "address": None,
        "version": version or host_code.version(), "check": False,
        "code": base64.b64encode(host_code.zipapp()).decode("ascii"),
    }  # fmt: skip


@pytest.fixture
def scope(tmp_path):
    """A prepared host that runs nothing yet."""
    request = prepare_request(os.fspath(tmp_path / "host"))
    preparation.agent(request)
    yield open_scope(request["tetra_dir"], "acme", "dev")
    preparation.agent({**request, "state": "stopped"})


@pytest.fixture
def packs():
    """Two packs that nobody took: one of a run that may go on, and one that was left behind."""
    young, old = (Path(pack.path(secrets.token_hex(16))) for _number in range(2))
    for path in (young, old):
        path.write_bytes(b"")
    os.utime(old, (time.time() - 2 * 3600,) * 2)
    yield young, old
    young.unlink()


@pytest.fixture
def lease():
    """Seconds; a test may have another."""
    return LEASE


@pytest.fixture
def staged(scope, tmp_path, lease):
    """The host with a first release of one service, staged as the transaction ``IDENTITY``."""
    stage(scope, tmp_path / "acme", IDENTITY, "TSM_COMMAND='sleep 600'\nTSM_MIN_HEALTHY=500ms\n", lease)
    return scope


def stage(
    scope, org: Path, identity: str, definition: str, lease: float, ports: dict[str, int | str] | None = None,
    content: tuple[str, ...] = (), seen: list[str] | None = None, keep: int = 5, pinned: tuple[str, ...] = (),
) -> None:
    """Stage a release of one service, as a controller does after it looked at the host and gave it ports.

    :param content: the files that are sent; all of them unless it says.
    :param seen: the transactions that were staged when it looked; it looks just now unless it says.
    """
    ports = ports or {}
    (org / "services").mkdir(parents=True, exist_ok=True)
    (org / "services" / "worker.tsm").write_text(definition)
    origin = source.read(org)
    built = bundle.build(origin, "dev", bundle.services(origin, "dev"), ports, {}, None)
    manifest = built.manifest
    desired = plan.Desired(
        "acme", "dev", "push", origin.digest, release.digest(manifest),
        {"worker": manifest["services"]["worker"]["digest"]}, {"here": ["worker"]}, ports, {},
    )  # fmt: skip
    scope.environment.prepare()
    observed = {"here": observation.observe(scope)}
    staging.stage(scope, identity, {
        "plan": plan.plan(observed, desired), "host": "here", "bundle": origin.manifest, "manifest": manifest,
        "pack": None, "pack_bytes": packed(origin, content), "services": ["worker"], "secrets": {}, "actor": "test",
        "reason": "", "lift_hold": "", "lease": lease, "probe": {"passes": 1, "spacing": 0.1}, "keep": keep,
        "pinned": list(pinned), "heads": {}, "seen": observed["here"]["staged"] if seen is None else seen,
    })  # fmt: skip


def packed(origin: source.Source, paths: tuple[str, ...] = ()) -> str:
    """A pack with the files of an organization, all or some, as it travels inside a request."""
    contents = {file.entry["sha256"]: file.read() for path, file in origin.files.items()
                if file.read and (not paths or path in paths)}
    index = pack.header((digest, len(data)) for digest, data in contents.items())
    return base64.b64encode(index + b"".join(contents.values())).decode("ascii")


def ask_agent(scope, state: str) -> dict:
    """What the agent answers when it takes the transaction to a state, in a process of its own."""
    request = {"tetra_dir": scope.home.root, "org": "acme", "env": "dev", "transaction": IDENTITY, "state": state}
    command = [os.path.join(scope.home.bin, "tsm"), "run", "release"]
    done = subprocess.run(command, input=json.dumps(request), capture_output=True, text=True, check=True)
    return json.loads(done.stdout)["result"]


def state(scope) -> str:
    return transactions.load(scope.environment, IDENTITY).state


def test_a_release_is_switched_to_under_the_eyes_of_a_deadman_and_confirmed(staged):
    assert engine.activate(staged, IDENTITY)["state"] == transaction.PROBING
    assert processes.lives(transactions.signed(staged.environment, IDENTITY, transactions.WATCHER))
    assert engine.confirm(staged, IDENTITY)["state"] == transaction.CONFIRMED
    assert store.current(staged.environment)


PORTED = "TSM_COMMAND='sleep 600'\nTSM_PORT=auto\nTSM_PORTS=auto:udp:dns\nTSM_MIN_HEALTHY=0s\n"
LATER = "20260101t130000-0123abcd"


def registered(scope) -> tuple[dict, dict]:
    """What the environment owns, and what is released: port to who gave it up, and whether it is held."""
    known = registry.load(scope.home.root)
    return dict(known.registry.owned.get("acme/dev", {})), {
        value: (one["by"], one["held"]) for value, one in known.released.items()
    }


@pytest.fixture
def moved(scope, tmp_path):
    """A host whose service has ports, and the transaction ``LATER`` that moves one of them and gives up the other."""
    stage(scope, tmp_path / "acme", IDENTITY, PORTED, LEASE, {"worker": 28301, "worker/dns": "28302/udp"})
    engine.activate(scope, IDENTITY)
    engine.confirm(scope, IDENTITY)
    assert registered(scope) == ({"worker": 28301, "worker/dns": "28302/udp"}, {})
    one_port = PORTED.replace("TSM_PORTS=auto:udp:dns\n", "")
    stage(scope, tmp_path / "acme", LATER, one_port, LEASE, {"worker": 28303})
    return scope


def test_a_port_that_a_service_leaves_is_held_until_the_release_is_confirmed_and_rests_then(moved):
    owned, released = registered(moved)
    assert owned == {"worker": 28303, "worker/dns": "28302/udp"}
    assert released == {"28301": ("acme/dev/worker", True)}
    engine.activate(moved, LATER)
    engine.confirm(moved, LATER)
    assert registered(moved) == (
        {"worker": 28303}, {"28301": ("acme/dev/worker", False), "28302/udp": ("acme/dev/worker/dns", False)},
    )  # fmt: skip


def test_what_could_not_be_given_back_is_told_and_given_back_before_the_next_transaction(moved):
    file = Path(moved.home.config, "ports.toml")
    engine.activate(moved, LATER)
    text = file.read_bytes()
    file.write_bytes(b"\xff")
    assert engine.revert(moved, LATER, engine.Cause("a test", verdict=False))["state"] == transaction.ROLLBACK_FAILED
    assert file.read_bytes() == b"\xff"
    file.write_bytes(text)
    assert registered(moved)[0] == {"worker": 28303, "worker/dns": "28302/udp"}
    with engine.locked(moved):
        engine.settle(moved)
    assert registered(moved)[0] == {"worker": 28301, "worker/dns": "28302/udp"}


@pytest.mark.parametrize("interrupted", ["staged", "confirmed"])
def test_what_is_given_back_late_takes_nothing_from_a_later_transaction(moved, tmp_path, interrupted):
    file = Path(moved.home.config, "ports.toml")
    engine.activate(moved, LATER)
    text = file.read_bytes()
    file.write_bytes(b"\xff")
    engine.revert(moved, LATER, engine.Cause("a test", verdict=False))
    file.write_bytes(text)
    last = "20260101t140000-0123abcd"
    stage(moved, tmp_path / "acme", last, PORTED.replace("sleep 600", "sleep 601"), LEASE,
          {"worker": 28305, "worker/dns": "28302/udp"})
    if interrupted == "confirmed":
        # It was confirmed, and its run was killed before it could say so in the journal.
        engine.activate(moved, last)
        transactions.move(moved.environment, last, transaction.PROBING, transaction.CONFIRMED)
    with engine.locked(moved):
        engine.settle(moved)
    assert registered(moved)[0] == {"worker": 28305, "worker/dns": "28302/udp"}


def test_evidence_that_a_full_disk_does_not_take_does_not_keep_a_host_from_going_back(moved, monkeypatch):
    before = store.current(moved.environment)
    engine.activate(moved, LATER)

    write = durable.write_file

    def full(path, *arguments):
        if path.startswith(moved.environment.evidence):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)
        write(path, *arguments)

    monkeypatch.setattr(durable, "write_file", full)
    assert engine.revert(moved, LATER, engine.Cause("a test", verdict=False))["state"] == transaction.ROLLED_BACK
    assert store.current(moved.environment) == before


def test_what_runs_left_half_written_where_all_environments_write_is_removed_when_it_is_old(staged):
    places = [Path(staged.home.config), Path(staged.home.supervisor, "programs")]
    for name, age in {"old": 7200, "new": 60}.items():
        for place in places:
            path = place / f"{durable.TEMPORARY}{name}"
            path.write_bytes(b"half")
            os.utime(path, (time.time() - age,) * 2)
    engine.activate(staged, IDENTITY)
    assert [[path.name for path in place.glob(".tmp-*")] for place in places] == [[f"{durable.TEMPORARY}new"]] * 2


def test_a_deadman_that_the_disk_stops_says_so_in_one_line(staged, capsys):
    os.rename(staged.environment.tx, f"{staged.environment.tx}.away")
    Path(staged.environment.tx).write_bytes(b"")
    assert agent.main(["deadman", staged.home.root, "acme", "dev", IDENTITY]) == 10
    assert capsys.readouterr().err.startswith(f"tsm: {staged.environment.tx}/")
    os.unlink(staged.environment.tx)
    os.rename(f"{staged.environment.tx}.away", staged.environment.tx)


def test_the_ports_of_an_open_transaction_are_not_moved(moved):
    engine.activate(moved, LATER)
    registry.change(moved.home.root, {"reserved": {"mine": [28303]}})
    request = {"tetra_dir": moved.home.root, "resolve": "reallocate", "check": False}
    with pytest.raises(TetraError, match=f"transaction {LATER} of acme/dev is probing, so its ports stay"):
        ports.port_registry(request)
    engine.confirm(moved, LATER)
    assert ports.port_registry(request)["changed"] is True


def test_of_two_runs_that_began_at_once_none_gives_up_what_the_other_staged(staged, tmp_path):
    with pytest.raises(TetraError, match=f"{IDENTITY} of test was staged here since this run looked") as said:
        stage(staged, tmp_path / "acme", LATER, "TSM_COMMAND='sleep 601'\n", LEASE, seen=[])
    assert said.value.code == REFUSED
    assert transactions.states(staged.environment) == {IDENTITY: transaction.STAGED}
    assert engine.activate(staged, IDENTITY)["state"] == transaction.PROBING


@pytest.mark.parametrize("activated", [False, True])
def test_a_transaction_that_goes_back_gives_its_ports_back(moved, activated):
    if activated:
        engine.activate(moved, LATER)
        engine.revert(moved, LATER, engine.Cause("a test", verdict=True))
    else:
        with engine.locked(moved):
            engine.abort_staged(moved)
    owned, released = registered(moved)
    assert owned == {"worker": 28301, "worker/dns": "28302/udp"}
    assert released == {"28303": ("acme/dev/worker", False)}


@pytest.mark.parametrize("script", BROKEN_AGENTS.values(), ids=BROKEN_AGENTS)
def test_nothing_is_switched_when_the_deadman_does_not_watch(staged, script, monkeypatch):
    monkeypatch.setattr(supervisord, "_ARMING_TIMEOUT", 1.0)
    agent = Path(staged.home.bin, "tsm").resolve()
    agent.write_text(script)
    with pytest.raises(TetraError, match="could not be armed") as caught:
        engine.activate(staged, IDENTITY)
    assert caught.value.code == REFUSED
    assert state(staged) == transaction.STAGED
    assert store.current(staged.environment) is None
    unit = staged.deadman_unit(IDENTITY)
    assert staged.supervisor.states([unit])[unit].state == "absent"


def test_a_deadman_that_is_killed_is_started_again_and_signs_again(staged):
    engine.activate(staged, IDENTITY)
    first = transactions.signed(staged.environment, IDENTITY, transactions.WATCHER)
    os.kill(processes.pid(first), signal.SIGKILL)
    end = time.monotonic() + LEASE
    while transactions.signed(staged.environment, IDENTITY, transactions.WATCHER) == first and time.monotonic() < end:
        time.sleep(0.05)
    assert processes.lives(transactions.signed(staged.environment, IDENTITY, transactions.WATCHER))


def test_a_deadman_that_watches_needs_its_file_no_more(staged):
    assert ask_agent(staged, "active")["state"] == transaction.PROBING
    Path(staged.home.bin, "tsm").resolve().unlink()
    end = time.monotonic() + 3 * LEASE
    while state(staged) != transaction.ROLLED_BACK and time.monotonic() < end:
        time.sleep(0.1)
    assert state(staged) == transaction.ROLLED_BACK


def test_a_switch_that_arrives_after_its_run_was_taken_back_comes_too_late(staged):
    assert ask_agent(staged, "observed")["state"] == transaction.STAGED
    assert ask_agent(staged, "rolled_back")["state"] == transaction.ABORTED
    with pytest.raises(TetraError, match="is aborted, not staged"):
        engine.activate(staged, IDENTITY)
    assert store.current(staged.environment) is None


def test_without_a_proof_of_health_nothing_is_confirmed_and_the_deadman_takes_the_host_back(staged):
    assert ask_agent(staged, "active")["state"] == transaction.PROBING
    os.unlink(os.path.join(staged.environment.tx, f"{IDENTITY}.proven"))
    assert ask_agent(staged, "confirmed")["state"] == transaction.ROLLED_BACK
    assert store.current(staged.environment) is None


@pytest.mark.parametrize("write", [
    lambda environment: transactions.write_proof(environment, IDENTITY),
    lambda environment: transactions.sign(environment, IDENTITY, transactions.WATCHER),
])  # fmt: skip
def test_what_is_written_without_the_lock_is_there_although_somebody_sweeps_meanwhile(staged, write, monkeypatch):
    fsync, swept = os.fsync, []

    def after_a_sweep(descriptor: int) -> None:
        if not swept:
            swept.append(os.listdir(staged.environment.tx))
            durable.sweep(staged.environment.tx)
        fsync(descriptor)

    before = set(os.listdir(staged.environment.tx))
    monkeypatch.setattr(os, "fsync", after_a_sweep)
    write(staged.environment)
    assert any(name.startswith(durable.TEMPORARY) for name in swept[0])
    assert len(set(os.listdir(staged.environment.tx)) - before) == 1


def test_a_request_to_stage_that_comes_twice_changes_nothing(staged, tmp_path):
    engine.abort(staged, IDENTITY)
    with pytest.raises(TetraError, match=f"transaction {IDENTITY} was staged before, and is aborted"):
        stage(staged, tmp_path / "acme", IDENTITY, "TSM_COMMAND='sleep 600'\n", LEASE)
    assert transactions.states(staged.environment) == {IDENTITY: transaction.ABORTED}


def test_a_confirmation_that_comes_twice_leaves_alone_what_came_since(staged, tmp_path):
    engine.activate(staged, IDENTITY)
    engine.confirm(staged, IDENTITY)
    stage(staged, tmp_path / "acme", LATER, "TSM_COMMAND='sleep 601'\nTSM_MIN_HEALTHY=0s\n", LEASE)
    before = set(store.releases(staged.environment))
    assert engine.confirm(staged, IDENTITY)["state"] == transaction.CONFIRMED
    assert set(store.releases(staged.environment)) == before
    assert engine.activate(staged, LATER)["state"] == transaction.PROBING


@pytest.mark.parametrize("end", [transaction.CONFIRMED, transaction.ROLLED_BACK, transaction.ABORTED])
def test_who_asks_late_is_told_how_a_transaction_ended_that_is_no_longer_kept(staged, end):
    if end == transaction.ABORTED:
        engine.abort(staged, IDENTITY)
    elif end == transaction.CONFIRMED:
        engine.activate(staged, IDENTITY)
        engine.confirm(staged, IDENTITY)
    else:
        engine.activate(staged, IDENTITY)
        engine.revert(staged, IDENTITY, engine.EXPIRED)
    told = engine.observe(staged, IDENTITY)
    transactions.prune(staged.environment, [IDENTITY])
    assert engine.observe(staged, IDENTITY) == told
    assert told["state"] == end
    # Nobody ever staged this one here.
    assert engine.observe(staged, LATER)["state"] == transaction.ABORTED


def test_how_a_transaction_ended_that_is_no_longer_kept_is_not_taken_from_a_damaged_journal(staged):
    engine.activate(staged, IDENTITY)
    engine.confirm(staged, IDENTITY)
    transactions.prune(staged.environment, [IDENTITY])
    Path(staged.environment.journal).write_text("damaged\n")
    with pytest.raises(TetraError, match=r"journal.jsonl"):
        engine.observe(staged, IDENTITY)


def test_what_is_taken_back_before_it_was_switched_is_not_switched_any_more(staged):
    assert engine.revert(staged, IDENTITY, engine.Cause("its answer was lost", False))["state"] == transaction.ABORTED
    with pytest.raises(TetraError, match=f"transaction {IDENTITY} is aborted, not staged"):
        engine.activate(staged, IDENTITY)
    assert store.current(staged.environment) is None


def test_a_deadman_whose_run_died_while_it_armed_gives_the_transaction_up_but_leaves_one_that_lives_alone(staged):
    transactions.write_lease(staged.environment, IDENTITY, 0.0, 0.0)
    with engine.locked(staged):
        engine.abort_left(staged, IDENTITY)
        assert state(staged) == transaction.STAGED
    assert deadman.watch(staged, IDENTITY) == transaction.ABORTED


@pytest.mark.parametrize("step", ["renewed", "decided", "confirmed"])
def test_who_asks_a_host_whose_lease_is_over_is_told_that_it_went_back(staged, step):
    engine.activate(staged, IDENTITY)
    staged.supervisor.disarm([staged.deadman_unit(IDENTITY)])
    transactions.write_lease(staged.environment, IDENTITY, 0.0, 0.0)
    request = {"tetra_dir": staged.home.root, "org": "acme", "env": "dev", "transaction": IDENTITY, "state": step,
               "decision": {"decision": "commit", "hosts": ["here"]}}
    assert deployment.release(request)["state"] == transaction.ROLLED_BACK
    assert transactions.decision(staged.environment, IDENTITY) is None


def test_a_confirmed_release_counts_although_its_run_died_before_the_journal_had_it(staged):
    engine.activate(staged, IDENTITY)
    transactions.move(staged.environment, IDENTITY, transaction.PROBING, transaction.CONFIRMED)
    observed = observation.observe(staged)
    assert (observed["epoch"], observed["transaction"]) == (0, None)
    assert [(one["transaction"], one["release"]) for one in observed["history"]] == [(IDENTITY, observed["current"])]
    with engine.locked(staged):
        engine.settle(staged)
    assert [one["transaction"] for one in observation.observe(staged)["history"]] == [IDENTITY]


def test_a_host_that_a_plan_leaves_alone_tells_whether_it_is_as_it_was(staged):
    request = {"tetra_dir": staged.home.root, "org": "acme", "env": "dev", "transaction": LATER, "state": "unmoved",
               "base": {"from": None, "epoch": 0}}
    assert deployment.release(request)["state"] == transaction.UNMOVED
    engine.activate(staged, IDENTITY)
    with pytest.raises(TetraError, match=f"transaction {IDENTITY} of test is probing"):
        deployment.release(request)
    engine.confirm(staged, IDENTITY)
    with pytest.raises(TetraError, match="the base moved"):
        deployment.release(request)


def test_staging_removes_the_packs_that_runs_left_behind(packs, staged):
    young, old = packs
    assert young.exists()
    assert not old.exists()


def test_a_service_that_a_person_stops_stays_stopped_until_he_starts_it(staged):
    def bring(state):
        services = [{"name": "worker", "state": state}]
        request = {"tetra_dir": staged.home.root, "org": "acme", "env": "dev", "services": services}
        done = deployment.tsm_service(request)
        return done["changed"], deployment.tsm_service_info(request)["services"]["worker"]["state"]

    engine.activate(staged, IDENTITY)
    engine.confirm(staged, IDENTITY)
    assert bring("started") == (False, "running")
    assert bring("stopped") == (True, "stopped")
    assert bring("stopped") == (False, "stopped")
    staged.supervisor.shutdown()
    staged.supervisor.ensure_running()
    assert bring("stopped") == (False, "stopped")
    assert bring("started") == (True, "running")
    assert bring("restarted") == (True, "running")


@pytest.mark.parametrize("lease", [2.5])
def test_a_service_that_there_was_no_time_to_prove_healthy_goes_back_without_a_hold(staged):
    done = ask_agent(staged, "active")
    assert done["state"] == transaction.ROLLED_BACK
    assert done["reports"]["worker"]["verdict"] == health.UNPROVEN
    assert not os.listdir(staged.environment.holds)


def test_an_upgrade_of_the_agent_leaves_the_armed_one_alone(staged):
    assert ask_agent(staged, "active")["state"] == transaction.PROBING
    armed = os.path.realpath(os.path.join(staged.home.bin, "tsm"))
    upgrade = prepare_request(staged.home.root, version="f" * 64)
    assert preparation.agent(upgrade)["changes"] == ["agent", "agent link"]
    assert os.path.realpath(os.path.join(staged.home.bin, "tsm")) != armed
    watcher = transactions.signed(staged.environment, IDENTITY, transactions.WATCHER)
    assert armed in processes.arguments(processes.pid(watcher))
    end = time.monotonic() + LEASE + 10
    while state(staged) != transaction.ROLLED_BACK:
        assert time.monotonic() < end
        time.sleep(0.1)
    assert store.current(staged.environment) is None


@pytest.mark.parametrize("name", ["settings", "transaction", "launch file"])
def test_what_a_newer_version_wrote_is_not_touched(staged, name):
    engine.activate(staged, IDENTITY)
    engine.confirm(staged, IDENTITY)
    path = {
        "settings": Path(staged.home.config, "host.json"),
        "transaction": Path(staged.environment.tx, f"{IDENTITY}.confirmed"),
        "launch file": Path(staged.environment.run, "worker.json"),
    }[name]
    written = path.read_text()
    path.write_text(json.dumps({**json.loads(written), "format": 2}))
    request = {"tetra_dir": staged.home.root, "org": "acme", "env": "dev", "secrets": {}}
    asked = {
        "settings": lambda: preparation.agent(prepare_request(staged.home.root)),
        "transaction": lambda: transactions.load(staged.environment, IDENTITY),
        "launch file": lambda: deployment.release_info(request),
    }[name]
    with pytest.raises(TetraError, match=f"{path.name} has format 2, this version reads 1") as caught:
        asked()
    assert caught.value.code == REFUSED
    path.write_text(written)


def test_thirty_promotions_leave_no_more_on_a_disk_than_ten(scope, tmp_path):
    counts, sizes = [], []
    (tmp_path / "acme" / "files" / "worker").mkdir(parents=True)
    for number in range(30):
        (tmp_path / "acme" / "files" / "worker" / "data").write_bytes(bytes([number]) * 100_000)
        identity = f"{IDENTITY[:-8]}{number:08x}"
        stage(scope, tmp_path / "acme", identity, "TSM_COMMAND='sleep 600'\nTSM_MIN_HEALTHY=0s\n", LEASE)
        assert engine.activate(scope, identity)["state"] == transaction.PROBING
        assert engine.confirm(scope, identity)["state"] == transaction.CONFIRMED
        files = [path for path in Path(scope.home.root).rglob("*") if path.is_file()]
        counts.append(len(files))
        sizes.append(sum(path.stat().st_size for path in files))
    print(f"after 5, 10, ... promotions: {counts[4::5]} files of {sizes[4::5]} bytes")
    # The journal and the log of supervisord grow by some lines for each.
    assert counts[-1] == counts[10]
    assert sizes[-1] - sizes[10] < 19 * 2000
    assert len(os.listdir(scope.environment.releases)) == 2 * 5


def test_a_pinned_release_stays_however_many_come_after_it(scope, tmp_path):
    def promote(number: int, pinned: tuple[str, ...], end: str = transaction.CONFIRMED) -> str:
        identity = f"{IDENTITY[:-8]}{number:08x}"
        definition = f"TSM_COMMAND='sleep {600 + number}'\nTSM_MIN_HEALTHY=0s\n"
        stage(scope, tmp_path / "acme", identity, definition, LEASE, keep=1, pinned=pinned)
        if end == transaction.ABORTED:
            assert engine.abort(scope, identity)["state"] == end
        else:
            engine.activate(scope, identity)
            assert engine.confirm(scope, identity)["state"] == end
        return transactions.load(scope.environment, identity).record["to"]

    def kept() -> set[str]:
        return set(store.releases(scope.environment))

    first = promote(0, ())
    pins = (first[:8],)
    promote(1, pins)
    # An attempt that failed makes room for the next one.
    promote(2, pins, transaction.ABORTED)
    last = promote(3, pins)
    assert kept() == {first, last}
    assert store.missing(scope.environment, release.blobs(store.manifest(scope.environment, first))) == []
    newest = promote(4, ())
    assert kept() == {newest}


@pytest.mark.parametrize("end", ["aborted", "rolled_back"])
def test_however_many_attempts_fail_in_a_row_a_disk_does_not_fill_up(scope, tmp_path, end):
    data, definition = tmp_path / "acme" / "files" / "worker" / "data", "TSM_COMMAND='sleep 600'\nTSM_MIN_HEALTHY=0s\n"
    data.parent.mkdir(parents=True)
    counts, attempts = [], engine._KEPT_TRANSACTIONS + 5
    for number in range(attempts):
        data.write_bytes(bytes([number]) * 100_000)
        identity = f"{IDENTITY[:-8]}{number:08x}"
        stage(scope, tmp_path / "acme", identity, definition, LEASE)
        if number == 0:
            engine.activate(scope, identity)
            engine.confirm(scope, identity)
        elif end == "rolled_back":
            engine.activate(scope, identity)
            engine.revert(scope, identity, engine.Cause("a test", verdict=False))
        else:
            engine.abort(scope, identity)
        counts.append([len(os.listdir(folder)) for folder in (
            scope.environment.releases, scope.environment.bundles, scope.environment.blobs, scope.environment.tx)])
    print(f"releases, bundles, blobs and files of transactions after each attempt: {counts}")
    # What runs, what failed last, and as many transactions as are kept anyway.
    assert counts[-1] == counts[-2]
    assert counts[-1][:2] == [4, 2]


def test_what_a_failed_attempt_left_is_not_sent_again_by_the_next_one(scope, tmp_path):
    (tmp_path / "acme" / "files" / "worker").mkdir(parents=True)
    (tmp_path / "acme" / "files" / "worker" / "data").write_bytes(b"large")
    stage(scope, tmp_path / "acme", IDENTITY, "TSM_COMMAND='sleep 600'\n", LEASE)
    engine.abort(scope, IDENTITY)
    again = f"{IDENTITY[:-8]}00000002"
    stage(scope, tmp_path / "acme", again, "TSM_COMMAND='sleep 601'\n", LEASE, content=("services/worker.tsm",))
    assert engine.activate(scope, again)["state"] == transaction.PROBING
