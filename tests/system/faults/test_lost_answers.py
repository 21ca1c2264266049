# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Requests and answers that are lost, or come late, on the way between controller and hosts: how a run ended is read
back from the hosts, never guessed, and nothing is done twice.
"""

from __future__ import annotations

import collections

import pytest
from ansible_collections.tetra.platform.plugins.module_utils.model import transaction

from .. import invariants
from ..conftest import HOSTS, LONG
from .controllers import Controller, bundle, current, expire, open_on, scope, settled, states

NETWORK = 82
LEASE, PATIENCE, GRACE = 12, 30, 10
MOVING = ("staged", "active", "decided", "confirmed", "rolled_back", "aborted")
STAGING = FIRST, SECOND = HOSTS[1:]
PROMOTION = {"tetra_from": "dev", "tetra_to": "staging"}


@pytest.fixture(scope="module")
def quick(fleet):
    """A fleet on which the API of the example organization runs, healthy as soon as its check passes."""
    fleet.variables["tetra_probe_passes"] = 1
    fleet.only("api")
    for run in (fleet.push(), fleet.promote()):
        assert run.outcome == "applied", run.output
    return fleet


def lost(state: str, what: str = "answer", host: str = SECOND, **more: object) -> dict:
    """A rule of the connection: what becomes of the first request of a host for a state."""
    return {"host": host, "state": state, "what": what, **more}


def promote(fleet, *rules: dict):
    """Promote something that staging does not run, over a connection with rules; the run, and what was sent."""
    if bundle(fleet, "dev-1") in {bundle(fleet, host) for host in STAGING}:
        fleet.touch(f"change after {current(fleet, FIRST)}")
        assert fleet.push().outcome == "applied"
    controller = Controller(fleet, "promote", rules=rules, **PROMOTION)
    run, sent = controller.wait(), controller.requests()
    assert {(rule["host"], rule["state"]) for rule in rules} <= {line[:2] for line in sent if line[2]}, sent
    return run, sent


def told(run) -> dict[str, str]:
    """What each host ended as, by the word of the run."""
    return {host: ended["outcome"] for host, ended in run.result["hosts"].items()}


def truth(fleet, run) -> dict[str, str]:
    """What each host ended as, by its own word."""
    identity = run.result["transaction"]
    known = {host: states(fleet, host).get(identity) for host in STAGING}
    return {host: transaction.host_outcome(state) if state else "refused" for host, state in known.items()}


LOST = {
    "staged": ([lost("staged")], "refused"),
    "active": ([lost("active")], "rolled_back"),
    "decided": ([lost("decided")], "rolled_back"),
    "confirmed": ([lost("confirmed")], "applied"),
    "confirmed-not-sent": ([lost("confirmed", "request")], "applied"),
    "back": ([lost("active", host=FIRST), lost("rolled_back")], "rolled_back"),
}
"""Which answers are lost, and how the run then ends."""
LONG_LOST = {
    **{f"staged-{what}": ([lost("staged", what)], "refused") for what in ("half", "request")},
    **{f"{state}-{what}": ([lost(state, what)], "rolled_back")
       for state in ("active", "decided") for what in ("half", "request")},
    "confirmed-half": ([lost("confirmed", "half")], "applied"),
    **{f"back-{what}": ([lost("active", host=FIRST), lost("rolled_back", what)], "rolled_back")
       for what in ("half", "request")},
    **{f"given-up-{what}": ([lost("staged", host=FIRST), lost("aborted", what)], "refused")
       for what in ("answer", "half", "request")},
}  # fmt: skip


@pytest.mark.guarantee("F14")
@pytest.mark.parametrize(
    ("rules", "outcome"),
    [pytest.param(*case, id=f"F14-{name}") for name, case in {**LOST, **(LONG_LOST if LONG else {})}.items()],
)
def test_a_lost_answer_is_read_back_and_what_was_done_is_not_done_again(quick, rules, outcome):
    old = {host: current(quick, host) for host in STAGING}
    run, sent = promote(quick, *rules)
    assert (run.outcome, run.code == 0) == (outcome, outcome == "applied"), run.output
    # One that never heard that it should switch has nothing to take back.
    unasked = {SECOND: "refused"} if rules == [lost("active", "request")] else {}
    assert told(run) == truth(quick, run) == {**dict.fromkeys(STAGING, outcome), **unasked}
    assert not open_on(quick, STAGING)
    for host in STAGING:
        expected = run.result["release"] if outcome == "applied" else old[host]
        assert invariants.broken(scope(quick, host), {expected}, "first-token") == []
    came = collections.Counter((host, state) for host, state, what in sent if state in MOVING and what != "request")
    assert set(came.values()) == {1}, sent


@pytest.mark.guarantee("F14")
def test_what_cannot_be_read_back_is_unconfirmed(quick):
    run, _sent = promote(quick, lost("confirmed"), lost("observed", "request"))
    assert (run.outcome, told(run)) == ("unconfirmed", {FIRST: "applied", SECOND: "unconfirmed"}), run.output
    assert truth(quick, run) == dict.fromkeys(STAGING, "applied")
    assert quick.promote().outcome == "unchanged"


AWAY = {
    "before": ("look", "refused", {}, "old"),
    "confirm": ("confirmed", "unconfirmed", {FIRST: "applied"}, "mixed"),
}
LONG_AWAY = {
    "stage": ("staged", "unconfirmed", {FIRST: "refused"}, "old"),
    "switch": ("active", "unconfirmed", {FIRST: "rolled_back"}, "old"),
    "decide": ("decided", "unconfirmed", {FIRST: "rolled_back"}, "old"),
}
"""From which request on the second host is away; the outcome, what is told of the first, and what the hosts end as."""


@pytest.mark.guarantee("F12")
@pytest.mark.parametrize(
    ("state", "outcome", "first", "ends"),
    [pytest.param(*case, id=f"F12-{name}") for name, case in {**AWAY, **(LONG_AWAY if LONG else {})}.items()],
)
def test_a_host_that_is_away_goes_back_by_itself_and_the_run_does_not_guess(quick, state, outcome, first, ends):
    old = {host: current(quick, host) for host in STAGING}
    quick.lease(LEASE)
    run, _sent = promote(quick, lost(state, "request", onward=True))
    quick.lease(PATIENCE)
    assert run.outcome == outcome, run.output
    assert told(run) == ({**first, SECOND: "unconfirmed"} if first else {})
    if not LONG:
        expire(quick, STAGING)
    settled(quick, STAGING, LEASE + GRACE)
    now = {host: current(quick, host) for host in STAGING}
    assert now == ({**old, FIRST: run.result["release"]} if ends == "mixed" else old)
    resumed = quick.play("resume", tetra_env="staging")
    assert resumed.outcome == ("applied" if ends == "mixed" else "unchanged"), resumed.output
    assert len({current(quick, host) for host in STAGING}) == 1


SLOW = {"switch": ("active", "rolled_back", dict.fromkeys(STAGING, "rolled_back"))}
LONG_SLOW = {
    "decide": ("decided", "rolled_back", dict.fromkeys(STAGING, "rolled_back")),
    "confirm": ("confirmed", "partial", {FIRST: "applied", SECOND: "rolled_back"}),
}
"""What the second host is slower with than a lease; the outcome, and what each host ends as."""


@pytest.mark.guarantee("F16")
@pytest.mark.parametrize(
    ("state", "outcome", "ends"),
    [pytest.param(*case, id=f"F16-{name}") for name, case in {**SLOW, **(LONG_SLOW if LONG else {})}.items()],
)
def test_a_host_that_is_slower_than_a_lease_takes_all_back_or_is_told_to_be_behind(quick, state, outcome, ends):
    quick.lease(LEASE)
    run, _sent = promote(quick, lost(state, "slow", seconds=LEASE + 1))
    quick.lease(PATIENCE)
    assert run.outcome == outcome, run.output
    assert told(run) == truth(quick, run) == ends
    if outcome == "partial":
        assert quick.play("resume", tetra_env="staging").outcome == "applied"
    assert len({current(quick, host) for host in STAGING}) == 1
