# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What becomes of a run that nobody finished, and of hosts that are behind."""

from __future__ import annotations

import pytest
from ansible_collections.tetra.platform.plugins.module_utils.model import recovery
from ansible_collections.tetra.platform.plugins.module_utils.model.errors import TetraError

OLD, NEW = "20260101t120000-00000001", "20260101t130000-00000002"


def host(*confirmed: tuple[str, str], open_in="", decided: str = "", current: str | None = None, services=(), **more):
    """What a host says.

    :param confirmed: transactions and their releases, oldest first.
    :param open_in: the state of its transaction NEW.
    :param decided: the hosts that a decision on it names, as a word.
    """
    history = [{"transaction": identity, "release": release} for identity, release in confirmed]
    decision = {"hosts": list(decided)} if decided else None
    opened = {"id": NEW, "state": open_in, "decision": decision} if open_in else None
    return {
        "epoch": 1, "history": history, "transaction": opened,
        "current": current or (history or [{}])[-1].get("release"), "services": dict.fromkeys(services),
        "removed": {}, **more,
    }  # fmt: skip


DONE = host((OLD, "r1"), (NEW, "r2"))
PROBING = host((OLD, "r1"), open_in="probing", current="r2")
DECIDED = host((OLD, "r1"), open_in="probing", decided="abc", current="r2")
BEHIND = host((OLD, "r1"))


@pytest.mark.parametrize(
    ("observed", "expected"),
    [
        ({"a": DONE, "b": DONE}, {}),
        ({"a": DONE, "b": DECIDED, "c": PROBING}, {"b": "confirmed", "c": "confirmed"}),
        ({"a": DECIDED, "b": DECIDED, "c": DECIDED}, dict.fromkeys("abc", "confirmed")),
        ({"a": DECIDED, "b": DECIDED, "c": PROBING}, dict.fromkeys("abc", "rolled_back")),
        ({"a": DECIDED, "b": DECIDED, "c": BEHIND}, dict.fromkeys("ab", "rolled_back")),
        ({"a": PROBING, "b": host((OLD, "r1"), open_in="armed")}, dict.fromkeys("ab", "rolled_back")),
        ({"a": host((OLD, "r1"), open_in="rolling_back", decided="a")}, {"a": "rolled_back"}),
    ],
)
def test_what_was_decided_is_finished_and_the_rest_is_taken_back(observed, expected):
    steps = recovery.settle(observed)
    assert {name: step["state"] for name, step in steps.items()} == expected
    assert all(step["transaction"] == NEW for step in steps.values())


def test_to_give_up_takes_back_even_what_was_decided():
    steps = recovery.give_up({"a": DECIDED, "b": DECIDED, "c": DECIDED})
    assert {step["state"] for step in steps.values()} == {"rolled_back"}


def test_what_a_host_has_confirmed_is_not_given_up():
    with pytest.raises(TetraError, match=f"{NEW} is confirmed on a already"):
        recovery.give_up({"a": DONE, "b": DECIDED})


def test_all_shall_run_what_was_confirmed_last():
    observed = {"a": BEHIND, "b": DONE, "new": host()}
    assert recovery.target(observed) == "r2"
    assert recovery.origin(observed) == "b"


def test_what_one_host_confirmed_after_another_is_newer_whatever_the_clock_said():
    behind = "20260101t110000-00000003"
    observed = {"a": host((OLD, "r1"), (NEW, "r2"), (behind, "r3")), "b": DONE}
    assert recovery.target(observed) == "r3"
    assert recovery.origin(observed) == "a"
    disagreeing = {"a": host((OLD, "r1"), (NEW, "r2")), "b": host((NEW, "r2"), (OLD, "r1"))}
    assert recovery.target(disagreeing) == "r2"


def test_an_environment_without_a_release_has_nothing_to_give():
    with pytest.raises(TetraError, match="no host of the environment has a confirmed release"):
        recovery.target({"a": host()})


def test_a_release_that_no_host_runs_any_more_cannot_be_had():
    with pytest.raises(TetraError, match="no host runs release r2"):
        recovery.origin({"a": host((NEW, "r2"), current="r9")})


SILENT = {"msg": "no route"}


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ({"a": host(), "b": SILENT}, {"a", "b"}),
        ({"a": host(removed={"b": {}}), "b": SILENT}, {"a"}),
        ({"a": host(removed={"b": {}}), "b": SILENT, "c": host()}, {"a", "b", "c"}),
        ({"a": host(removed={"b": {}}), "b": host()}, {"a", "b"}),
        ({"a": SILENT}, {"a"}),
    ],
)
def test_only_a_silent_host_that_all_others_know_as_taken_out_is_left_out(answers, expected):
    assert set(recovery.present(answers)) == expected


def test_hosts_that_are_behind_get_what_no_other_host_may_run_as_well():
    observed = {"b": host(services=["api", "worker"]), "a": host()}
    computed = {"a": ["api", "worker"], "b": ["api"]}
    assert recovery.placed(observed, computed, ["worker"], ["a"]) == {"a": ["api"], "b": ["api", "worker"]}
    alone = {"b": host(services=["api"]), "a": host()}
    assert recovery.placed(alone, computed, ["worker"], ["a"]) == {"a": ["api", "worker"], "b": ["api"]}
