# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The planner: what a run does to each service, what it refuses, and where a rollback goes."""

from __future__ import annotations

import pytest
from ansible_collections.tetra.platform.plugins.module_utils.model import plan
from ansible_collections.tetra.platform.plugins.module_utils.model.errors import REFUSED, TetraError
from hypothesis import given
from hypothesis import strategies as st


def service(digest, running=True, stopped=False):
    return {"digest": digest, "running": running, "stopped": stopped}


def host(current="r2", history=("r1", "r2"), held=(), services=None, transaction=None, releases=None):
    names = releases if releases is not None else {"r1", "r2", "r3"}
    hold = {"reason": "bad", "transaction": "t", "check": ""}
    return {
        "current": current, "bundle": f"b-{current}" if current else None, "epoch": 7, "services": services or {},
        "transaction": transaction, "drift": [], "holds": {f"b-{name}": hold for name in held},
        "history": [{"release": name} for name in history],
        "releases": {name: {"bundle": f"b-{name}"} for name in names},
    }  # fmt: skip


def desired(release="r3", services=None, hosts=("h1",)):
    names = services or {"api": "a2"}
    return plan.Desired("acme", "dev", "push", f"b-{release}", release, names, {name: list(names) for name in hosts},
                        {"api": 4100}, {})


@pytest.mark.parametrize(("observed", "wanted", "action"), [
    (None, "a1", plan.START),
    (service("a1"), "a1", plan.KEEP),
    (service("a1"), "a2", plan.RESTART),
    (service("a1", running=False), "a1", plan.START),
    (service("a1", running=False), "a2", plan.START),
    (service("a1", running=False, stopped=True), "a2", plan.HELD),
    (service("a1"), None, plan.STOP),
])  # fmt: skip
def test_what_happens_to_a_service(observed, wanted, action):
    before = {"api": observed} if observed else {}
    assert plan.changes(before, {"api": wanted} if wanted else {}) == {"api": action}


def test_what_was_done_by_hand_is_put_right_even_where_nothing_else_moves():
    by_hand = {"kind": "hand edit", "what": "files/api/x", "services": ["api"]}
    extra = {"kind": "unmanaged extra", "what": "files/y", "services": []}
    calm = {"services": {"api": service("a1"), "web": service("w1")}, "current": "r3"}
    wanted = desired("r3", {"api": "a1", "web": "w1"})
    record = plan.plan({"h1": {**host(**calm), "drift": [by_hand, extra]}}, wanted)
    assert record["hosts"]["h1"]["services"] == {"api": plan.RESTART, "web": plan.KEEP}
    assert record["hosts"]["h1"]["repairs"] == ["hand edit: files/api/x", "unmanaged extra: files/y"]
    assert plan.plan({"h1": {**host(**calm), "drift": [extra]}}, wanted)["batches"] == [["h1"]]
    assert plan.unchanged(plan.plan({"h1": host(**calm)}, wanted))


def test_a_plan_is_told_in_lines():
    observed = {"h1": {**host(services={"api": service("a1"), "old": service("o1")}),
                       "drift": [{"kind": "hand edit", "what": "files/api/\x1b", "services": ["api"]}]}}
    assert plan.summary(plan.plan(observed, desired())).splitlines() == [
        "push acme to dev: bundle b-r3",
        "h1: r2 -> r3",
        "  api: restart (port 4100, unit tetra-acme-dev-api)",
        "  old: stop (unit tetra-acme-dev-old)",
        "  put right, hand edit: files/api/\\u001b",
    ]


def test_a_service_that_a_person_stopped_stays_so_whatever_was_done_to_it():
    assert plan.changes({"api": service("a1", stopped=True)}, {"api": "a1"}, {"api"}) == {"api": plan.HELD}


@given(st.dictionaries(st.sampled_from("abcdef"), st.sampled_from(["1", "2"])))
def test_a_second_run_has_nothing_to_do(wanted):
    after = {name: service(digest) for name, digest in wanted.items()}
    assert set(plan.changes(after, wanted).values()) <= {plan.KEEP}


@given(st.dictionaries(st.sampled_from("abcdef"), st.sets(st.sampled_from("abcdef"))))
def test_every_service_starts_once_and_in_some_level(depends):
    levels = plan.levels(depends, depends)
    assert sorted(name for level in levels for name in level) == sorted(depends)


def test_a_service_starts_after_what_it_depends_on():
    assert plan.levels(["web", "api", "db"], {"web": ["api"], "api": ["db"]}) == [["db"], ["api"], ["web"]]


def test_a_plan_names_hosts_that_move_and_is_the_same_for_the_same_input():
    observed = {"h1": host(services={"api": service("a1")})}
    record = plan.plan(observed, desired())
    assert record["hosts"]["h1"]["services"] == {"api": plan.RESTART}
    assert record["batches"] == [["h1"]]
    assert plan.plan_id(record) == plan.plan_id(plan.plan(observed, desired()))
    assert not plan.unchanged(record)


def test_a_host_that_runs_what_is_wanted_is_unchanged():
    observed = {"h1": host(current="r3", services={"api": service("a2")})}
    assert plan.unchanged(plan.plan(observed, desired()))


def test_a_dead_service_of_the_right_release_is_a_change():
    observed = {"h1": host(current="r3", services={"api": service("a2", running=False)})}
    assert not plan.unchanged(plan.plan(observed, desired()))


@pytest.mark.parametrize(("observed", "told"), [
    (host(held=["r3"]), "on hold"),
    (host(transaction={"id": "t9", "actor": "eve", "state": "probing", "age": 3.0}), "t9 of eve is probing"),
])  # fmt: skip
def test_a_hold_and_an_open_transaction_are_refused(observed, told):
    with pytest.raises(TetraError, match=told) as error:
        plan.check_movable({"h1": observed, "h2": host()}, "b-r3")
    assert error.value.code == REFUSED
    assert "h1" in error.value.message


def test_a_bundle_is_promoted_only_when_every_host_runs_it():
    assert plan.promotable({"h1": host(), "h2": host()}, "dev") == "b-r2"
    for observed in ({"h1": host(), "h2": host(current="r1")}, {"h1": host(current=None)}, {}):
        with pytest.raises(TetraError):
            plan.promotable(observed, "dev")


@pytest.mark.parametrize("history", [("r1",), ("r2", "r1"), ()])
def test_a_bundle_that_runs_though_it_was_never_confirmed_is_not_promoted(history):
    with pytest.raises(TetraError, match="not confirmed the bundle that runs on h2"):
        plan.promotable({"h1": host(), "h2": host(history=history)}, "dev")
