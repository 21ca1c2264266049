# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Batches of a fleet, when a run stops, and what becomes of each host."""

from __future__ import annotations

import dataclasses

import pytest
from ansible_collections.tetra.platform.plugins.module_utils.model import fleet, transaction
from ansible_collections.tetra.platform.plugins.module_utils.model.fleet import Terms
from hypothesis import given
from hypothesis import strategies as st

P, S, R, F = transaction.PROBING, transaction.STAGED, transaction.ROLLED_BACK, transaction.ROLLBACK_FAILED


def plan(*batches: str, **terms) -> dict:
    """A plan whose batches are written as words: ``a``, ``bc``."""
    moved = [list(batch) for batch in batches]
    return {"batches": moved, "hosts": dict.fromkeys("".join(batches)), "terms": dataclasses.asdict(Terms(**terms))}


def states(**found: str | None) -> dict:
    return {host: state for host, state in found.items() if state}


@pytest.mark.parametrize(
    ("terms", "expected"),
    [
        (Terms(), ["abcde"]),
        (Terms(canary=1), ["a", "bcde"]),
        (Terms(batch=2), ["ab", "cd", "e"]),
        (Terms(canary=1, batch=2), ["a", "bc", "de"]),
        (Terms(batch="40%"), ["ab", "cd", "e"]),
        (Terms(batch="1%"), ["a", "b", "c", "d", "e"]),
        (Terms(batch="100%"), ["abcde"]),
        (Terms(canary=9, batch=2), ["abcde"]),
        (Terms(batch=9), ["abcde"]),
    ],
)
def test_hosts_are_switched_in_batches_by_name(terms, expected):
    assert fleet.batches(list("edcba"), terms) == [list(batch) for batch in expected]


def test_no_host_is_one_empty_batch():
    assert fleet.batches([], Terms(canary=1, batch=2)) == [[]]


@given(st.sets(st.text("abcdef", min_size=1, max_size=3)), st.integers(0, 9),
       st.none() | st.integers(1, 9) | st.integers(1, 100).map(lambda share: f"{share}%"))
def test_every_host_is_in_one_batch(hosts, canary, batch):
    found = fleet.batches(list(hosts), Terms(canary=canary, batch=batch))
    assert [host for batch in found for host in batch] == sorted(hosts)


@pytest.mark.parametrize(
    ("found", "index", "expected"),
    [
        (states(a=S, b=S, c=S), 0, {"a": "active"}),
        (states(a=S, b="refused", c=S), 0, {}),
        (states(a=S, b=S), 0, {}),
        (states(a=P, b=S, c=S), 1, {"a": "renewed", "b": "active"}),
        (states(a=R, b=S, c=S), 1, {}),
        (states(b=S, c=S), 1, {}),
        (states(a=P, b=P, c=S), 2, {"a": "renewed", "b": "renewed", "c": "active"}),
    ],
)
def test_a_batch_is_switched_when_all_before_are_well(found, index, expected):
    assert fleet.switching(plan("a", "b", "c"), found, index, index) == expected


def test_failures_within_the_allowance_do_not_stop_a_run():
    allowed = plan("ab", "cd", max_failures=1)
    assert fleet.switching(allowed, states(a=P, b=R, c=S, d=S), 1, 1) == {"a": "renewed", "c": "active", "d": "active"}
    assert fleet.switching(allowed, states(a=R, c=S, d=S), 1, 1) == {}
    assert fleet.ending(allowed, states(a=P, b=R, c=P, d=P), 2) == dict.fromkeys("acd", "confirmed")


def test_a_host_whose_staging_was_not_answered_is_given_up_as_well():
    assert fleet.ending(plan("ab"), states(a=S), 0) == {"a": "aborted", "b": "aborted"}


def test_what_became_of_a_lost_answer_is_read_and_done_again_only_where_it_was_not_done():
    asked = {"a": "confirmed", "b": "confirmed", "c": "rolled_back", "d": "aborted"}
    assert fleet.reading(asked, states(a=transaction.CONFIRMED)) == dict.fromkeys("bcd", "observed")
    assert fleet.again(asked, states(a=P, b=transaction.CONFIRMED, c=S, d=S)) == {
        "a": "confirmed", "c": "rolled_back", "d": "aborted",
    }  # fmt: skip
    assert fleet.again(asked, states(a=R, c=transaction.ROLLING_BACK, d=transaction.ABORTED)) == {"c": "rolled_back"}
    assert fleet.again(asked, {}) == {}


def test_a_canary_has_no_allowance():
    assert fleet.switching(plan("a", "bcd", canary=1, max_failures=3), states(a=R, b=S, c=S, d=S), 1, 1) == {}


@pytest.mark.parametrize(
    ("scope", "expected"),
    [
        ("all", {"a": "rolled_back", "b": "rolled_back", "c": "rolled_back", "e": "aborted"}),
        ("batch", {"a": "confirmed", "b": "confirmed", "c": "rolled_back", "e": "aborted"}),
        ("stop", {"a": "confirmed", "b": "confirmed", "c": "confirmed", "e": "aborted"}),
    ],
)
def test_the_scope_says_what_a_failure_takes_back(scope, expected):
    found = states(a=P, b=P, c=P, d=R, e=S)
    assert fleet.ending(plan("ab", "cd", "e", rollback_scope=scope), found, 2) == expected


def test_a_host_whose_answer_was_lost_is_asked_to_go_back():
    assert fleet.ending(plan("ab"), states(a=P), 1) == {"a": "rolled_back", "b": "rolled_back"}


def test_a_host_that_could_not_go_back_is_left_to_people():
    assert fleet.ending(plan("ab"), states(a=P, b=F), 1) == {"a": "rolled_back"}


def test_when_a_host_was_not_staged_the_others_give_up_and_it_is_left_alone():
    assert fleet.ending(plan("ab"), states(a=S, b="refused"), 0) == {"a": "aborted"}


def test_one_that_would_not_switch_gives_up():
    assert fleet.ending(plan("ab"), states(a=P, b=S), 1) == {"a": "rolled_back", "b": "aborted"}


def test_only_those_that_will_be_confirmed_are_told_of_the_decision():
    assert fleet.deciding(plan("ab", "c", rollback_scope="batch"), states(a=P, b=P, c=R), 2) == {
        "a": "decided", "b": "decided",
    }  # fmt: skip
    assert fleet.deciding(plan("ab"), states(a=P, b=R), 1) == {}


@given(st.data())
def test_a_host_is_confirmed_only_when_it_is_well_and_its_scope_allows_it(data):
    hosts = list("abcdef")
    terms = Terms(data.draw(st.integers(0, 2)), data.draw(st.integers(1, 3)), data.draw(st.integers(0, 2)),
                  data.draw(st.sampled_from(fleet.SCOPES)))
    record = {"batches": fleet.batches(hosts, terms), "hosts": dict.fromkeys(hosts), "terms": dataclasses.asdict(terms)}
    begun = data.draw(st.integers(0, len(record["batches"])))
    switched = [host for batch in record["batches"][:begun] for host in batch]
    found = {host: data.draw(st.sampled_from([P, R, F, S])) if host in switched else S for host in hosts}
    steps = fleet.ending(record, found, begun)
    confirmed = {host for host, step in steps.items() if step == "confirmed"}
    assert all(found[host] == P for host in confirmed)
    assert confirmed <= set(switched)
    failed = sum(found[host] != P for host in switched)
    if terms.rollback_scope == "all" and (failed > terms.max_failures or begun < len(record["batches"])):
        assert not confirmed
    if confirmed and terms.rollback_scope == "all":
        assert confirmed == {host for host in switched if found[host] == P}
    assert all(steps[host] == "aborted" for host in hosts if found[host] == S)


def test_no_batch_is_switched_once_one_before_it_was_not():
    allowed = plan("a", "b", "c", max_failures=2)
    assert fleet.switching(allowed, states(a=S, c=S), 2, 0) == {}
    assert fleet.switching(allowed, states(a=P, c=S), 2, 1) == {}


@pytest.mark.parametrize(("told", "expected"), [("unmoved", "confirmed"), ("refused", "rolled_back"),
                                                (None, "rolled_back")])
def test_nothing_is_confirmed_unless_what_the_plan_leaves_as_it_is_is_still_so(told, expected):
    record = {**plan("ab"), "hosts": dict.fromkeys("abc")}
    assert fleet.deciding(record, states(a=P, b=P), 1) == {"a": "decided", "b": "decided", "c": "unmoved"}
    assert fleet.ending(record, states(a=P, b=P, c=told), 1) == dict.fromkeys("ab", expected)
    assert fleet.deciding(record, states(a=P, b=R), 1) == {}
