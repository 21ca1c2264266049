# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The controller dies between two tasks, or stands still there while others go on; the hosts end old or new by
themselves, all that happened can be read, and the next run works. All boundaries and signals with ``make test-long``.
"""

from __future__ import annotations

import itertools
import signal
import statistics
from collections.abc import Callable
from pathlib import Path

import pytest
from ansible_collections.tetra.platform.plugins.module_utils.host import running, store, transactions
from ansible_collections.tetra.platform.plugins.module_utils.model import transaction

from .. import guarantees, invariants
from ..conftest import HOSTS, LONG, Fleet
from .controllers import RELEASE, Boundary, Controller, bundle, current, expire, open_on, scope, settled, states

NETWORK = 81
LEASE, PATIENCE, GRACE = 12, 30, 10
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
PROMOTION = {"tetra_from": "dev", "tetra_to": "staging"}
STAGING = HOSTS[1:]
OF = {"push": HOSTS[:1], "promote": STAGING, "rollback": STAGING}
VARIABLES: dict[str, dict[str, object]] = {
    "push": {"tetra_env": "dev"}, "promote": PROMOTION, "rollback": {"tetra_env": "staging"},
}  # fmt: skip
_CHANGES = itertools.count(1)


@pytest.fixture(scope="module")
def quick(fleet) -> Fleet:
    """A prepared fleet for the API of the example organization, which is healthy as soon as its check passes."""
    fleet.variables["tetra_probe_passes"] = 1
    fleet.only("api")
    assert fleet.push().outcome == "applied"
    return fleet


@pytest.fixture(scope="module")
def found(quick) -> list[Boundary]:
    """The boundaries of a promotion, the first one of the fleet."""
    return boundaries(quick, "promote")


def ready(fleet: Fleet, playbook: str) -> None:
    """See to it that a playbook has something to do."""
    hosts = {bundle(fleet, host) for host in STAGING}
    if playbook == "push" or (playbook == "promote" and hosts == {bundle(fleet, "dev-1")}):
        fleet.touch(f"change {next(_CHANGES)}")
    if playbook == "promote" and hosts == {bundle(fleet, "dev-1")}:
        assert fleet.push().outcome == "applied"
    if playbook == "rollback":
        goes_on(fleet)


def goes_on(fleet: Fleet) -> None:
    """Push and promote something new, as if nothing had happened."""
    fleet.touch(f"change {next(_CHANGES)}")
    assert fleet.push().outcome == "applied"
    run = fleet.promote()
    assert run.outcome == "applied", run.output
    assert len({current(fleet, host) for host in STAGING}) == 1


def boundaries(fleet: Fleet, playbook: str) -> list[Boundary]:
    """The boundaries of a playbook that moves hosts, from a whole run."""
    ready(fleet, playbook)
    controller = Controller(fleet, playbook, **VARIABLES[playbook])
    run = controller.wait()
    assert run.outcome == "applied", run.output
    return controller.boundaries()


def not_yet_confirmed(host: str) -> list[dict]:
    """See to it that a host has not even been asked to confirm when the others have answered."""
    return [{"host": host, "state": "confirmed", "what": "slow", "seconds": 5}]


def begun(fleet: Fleet, host: str, before: dict[str, str]) -> transactions.Transaction | None:
    """The transaction that a run began on a host."""
    new = [identity for identity in states(fleet, host) if identity not in before]
    return transactions.load(scope(fleet, host).environment, new[0]) if new else None


def told(fleet: Fleet, hosts: tuple[str, ...], identity: str | None) -> None:
    """What the playbooks tell afterwards is what the hosts are."""
    env, runs = hosts[0].partition("-")[0], {host: current(fleet, host) for host in hosts}
    if LONG or len(set(runs.values())) > 1:
        assert {host: said["current"] for host, said in fleet.status(env).items()} == runs
    history = fleet.play("history", tetra_env=env)
    assert (history.outcome, history.result["doubts"]) == ("unchanged", []), history.output
    entries = [entry for entry in history.result["entries"] if entry.get("transaction") == identity]
    ended = {host: transaction.host_outcome(states(fleet, host).get(identity or "")) for host in hosts}
    moved = {host: outcome for host, outcome in ended.items() if outcome in ("applied", "rolled_back")}
    assert [entry["hosts"] for entry in entries] == ([moved] if moved else [])


def interrupted(
    fleet: Fleet, playbook: str, boundary: Boundary, number: int, patient: bool
) -> tuple[float, bool]:
    """Interrupt a run, and see the hosts end well by themselves.

    :param patient: whether leases are left to end by themselves.
    :returns: the seconds that they took, and whether they were of two minds then.
    """
    hosts, case = OF[playbook], f"{playbook}, {signal.Signals(number).name} {boundary}"
    ready(fleet, playbook)
    before = {host: states(fleet, host) for host in hosts}
    old = {host: current(fleet, host) for host in hosts}
    fleet.lease(LEASE)
    rules = not_yet_confirmed(hosts[-1]) if boundary.where == "within" and len(hosts) > 1 else []
    controller = Controller(fleet, playbook, boundary, number, rules, **VARIABLES[playbook])
    run = controller.wait_or_end() if number == signal.SIGINT else controller.wait()
    fleet.lease(PATIENCE)
    assert controller.boundaries()[-1] == boundary, (case, run.output)
    assert run.code != 0, case
    found = {host: begun(fleet, host, before[host]) for host in hosts}
    if not patient:
        expire(fleet, hosts)
    seconds = settled(fleet, hosts, LEASE + GRACE)
    new = {one.record["to"] for one in found.values() if one}
    identity = next((one.identity for one in found.values() if one), None)
    for host in hosts:
        assert invariants.broken(scope(fleet, host), {old[host], *new}, "first-token") == [], (case, host)
    sides = {host: "new" if current(fleet, host) in new else "old" for host in hosts}
    print(f"{case}: {({host: one.state if one else '-' for host, one in found.items()})}, {sides}, {seconds:.1f} s")
    assert run.outcome is None or (run.outcome == "applied") == (set(sides.values()) == {"new"}), case
    told(fleet, hosts, identity)
    mixed = len(set(sides.values())) > 1
    if mixed:
        assert all(transactions.decision(scope(fleet, host).environment, str(identity)) for host in hosts), case
        resumed = fleet.play("resume", tetra_env="staging")
        assert resumed.outcome == "applied", (case, resumed.output)
        assert {current(fleet, host) for host in hosts} == new, case
    if LONG and identity:
        goes_on(fleet)
    return seconds, mixed


def steps(found: list[Boundary]) -> list[Boundary]:
    """The boundaries before hosts are staged, armed and switched, told the decision, and confirmed."""
    return [one for one in found if one.action == RELEASE and one.where == "before"]


def test_a_resume_finishes_what_was_decided_and_says_so_of_each_host(quick, found):
    ready(quick, "promote")
    confirm = next(one for one in reversed(found) if one.action == RELEASE and one.where == "within")
    controller = Controller(quick, "promote", confirm, signal.SIGKILL, not_yet_confirmed(STAGING[-1]), **PROMOTION)
    controller.wait()
    assert set(open_on(quick, STAGING)) == {STAGING[-1]}
    resumed = quick.play("resume", tetra_env="staging")
    assert resumed.outcome == "applied", resumed.output
    ended = {host: ended["outcome"] for host, ended in resumed.result["hosts"].items()}
    assert ended == {STAGING[0]: "unchanged", STAGING[-1]: "applied"}
    assert len({current(quick, host) for host in STAGING}) == 1


@pytest.mark.parametrize("playbook", ["promote", *(["push", "rollback"] if LONG else [])])
def test_a_controller_is_interrupted_at_every_boundary(quick, found, playbook):
    found = found if playbook == "promote" else boundaries(quick, playbook)
    every = [(boundary, number) for boundary in found for number in SIGNALS]
    within = max(number for number, one in enumerate(found) if one.where == "within")
    around = [*steps(found)[1:], found[within], found[within + 1]]
    cases = every if LONG else list(zip(around, (*SIGNALS[1:], *SIGNALS)))
    ends = [interrupted(quick, playbook, *case, LONG or case[0] == around[2]) for case in cases]
    # Those that waited for the end of a lease.
    seconds, mixed = [end[0] for end in ends if end[0] > LEASE / 2], sum(end[1] for end in ends)
    goes_on(quick)
    assert mixed or playbook != "promote", "no controller died between two confirmations"
    figures = f"{playbook} {len(cases)} of {len(every)}, {mixed} mixed and resumed, safe in p50 "
    guarantees.tell("C1", len(cases), len(cases),
                    f"{figures}{statistics.median(seconds):.1f} s, max {max(seconds):.1f} s of a lease of {LEASE} s")


def abort(fleet: Fleet) -> None:
    """Have another controller take back what is open."""
    run = fleet.play("abort", tetra_env="staging", tetra_reason="nobody goes on")
    assert run.outcome == "applied", run.output


def promote_another(fleet: Fleet) -> None:
    """Have another controller promote something else to the end."""
    expire(fleet, STAGING)
    settled(fleet, STAGING, GRACE)
    fleet.touch(f"change {next(_CHANGES)}")
    assert fleet.push().outcome == "applied"
    assert fleet.promote().outcome == "applied"


def roll_back(fleet: Fleet) -> None:
    """Have another controller go back to the release before."""
    expire(fleet, STAGING)
    settled(fleet, STAGING, GRACE)
    run = fleet.play("rollback", tetra_env="staging")
    assert run.outcome == "applied", run.output


def as_it_is(fleet: Fleet) -> dict:
    """What nobody may change on a host who comes late: what runs, the processes, the journal and the ports."""
    found = {}
    for host in STAGING:
        here = scope(fleet, host)
        files = [Path(here.environment.root, "journal.jsonl"), Path(here.home.config, "ports.toml")]
        pids = {name: service["pid"] for name, service in running.observe(here).items()}
        found[host] = (store.current(here.environment), pids, [file.read_bytes() for file in files])
    return found


def stood_still(fleet: Fleet, boundary: Boundary, others: Callable[[Fleet], None]) -> None:
    """Stop a promotion, let others do what they do, and let it go on: it is refused, says so, and changes nothing."""
    case = f"{boundary}, others: {others.__name__}"
    ready(fleet, "promote")
    fleet.lease(LEASE)
    controller = Controller(fleet, "promote", boundary, signal.SIGSTOP, **PROMOTION)
    try:
        controller.wait_until_stopped()
        fleet.lease(PATIENCE)
        was_open = open_on(fleet, STAGING)
        others(fleet)
        before = as_it_is(fleet)
        controller.go_on()
        run = controller.wait()
    finally:
        controller.end()
    print(f"stopped {case}: open were {was_open}; the late one said {run.outcome}: {run.result.get('message')!r}")
    assert run.outcome == ("rolled_back" if was_open else "refused"), (case, run.output)
    assert run.code != 0, case
    assert as_it_is(fleet) == before, case
    assert not open_on(fleet, STAGING), case
    for host in STAGING:
        assert invariants.broken(scope(fleet, host), {before[host][0]}, "first-token") == [], (case, host)


def test_a_controller_that_stood_still_is_refused_and_changes_nothing(quick, found):
    looked = next(number for number, one in enumerate(found) if one.action.endswith("release_info"))
    stage, switch, decide, confirm = steps(found)
    if LONG:
        # Before it looked it is not late, and when the confirmations are on their way it has done its work.
        late = [one for one in found[looked + 1 :] if one.number <= confirm.number]
        cases = [(one, others) for one in late for others in (promote_another, roll_back)]
        cases += [(one, abort) for one in late if one.number > switch.number]
    else:
        cases = [(stage, promote_another), (decide, promote_another), (confirm, abort)]
    for case in cases:
        stood_still(quick, *case)
    guarantees.tell("C2", len(cases), len(cases), f"{len(cases)} boundaries, each with what others did meanwhile")
