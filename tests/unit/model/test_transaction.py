# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The state machine of a transaction, and the outcomes made from it."""

from __future__ import annotations

import pytest
from ansible_collections.tetra.platform.plugins.module_utils.model import transaction as tx
from hypothesis import given
from hypothesis import strategies as st


def reachable(state):
    found, left = set(), [state]
    while left:
        one = left.pop()
        if one not in found:
            found.add(one)
            left += tx.TRANSITIONS[one]
    return found


@pytest.mark.parametrize("state", tx.STATES)
def test_every_state_leads_to_an_end(state):
    ends = {name for name, following in tx.TRANSITIONS.items() if not following}
    assert reachable(state) & ends


def test_a_confirmed_transaction_cannot_be_taken_back_and_a_reverted_one_not_confirmed():
    assert reachable(tx.CONFIRMED) == {tx.CONFIRMED}
    assert tx.CONFIRMED not in reachable(tx.ROLLING_BACK)


@pytest.mark.parametrize("state", tx.REVERTIBLE)
def test_every_state_between_two_releases_can_be_reverted(state):
    assert tx.may_follow(state, tx.ROLLING_BACK)


@given(st.from_regex(r"[0-9]{8}t[0-9]{6}-[0-9a-f]{8}", fullmatch=True), st.sampled_from(tx.STATES))
def test_a_file_name_tells_id_and_state(identity, state):
    assert tx.parse_file_name(tx.file_name(identity, state)) == (identity, state)


@pytest.mark.parametrize("name", ["20260101t120000-0123abcd.lease", ".staged", "staged", ""])
def test_other_files_are_no_transactions(name):
    assert tx.parse_file_name(name) is None


@pytest.mark.parametrize(("hosts", "outcome"), [
    (["applied", "applied"], "applied"),
    (["applied", "unchanged"], "applied"),
    (["unchanged"], "unchanged"),
    ([], "unchanged"),
    (["rolled_back", "rolled_back"], "rolled_back"),
    (["rolled_back", "refused"], "rolled_back"),
    (["refused", "unchanged"], "refused"),
    (["applied", "rolled_back"], "partial"),
    (["applied", "unconfirmed"], "unconfirmed"),
    (["applied", "rollback_failed", "unconfirmed"], "rollback_failed"),
    (["invalid", "refused"], "invalid"),
])  # fmt: skip
def test_the_outcome_of_a_fleet(hosts, outcome):
    assert tx.fleet_outcome(hosts) == outcome


@given(st.lists(st.sampled_from(tx.OUTCOMES)))
def test_every_fleet_has_one_of_the_closed_set_of_outcomes(hosts):
    assert tx.fleet_outcome(hosts) in tx.OUTCOMES


def test_a_host_that_was_not_heard_of_is_unconfirmed():
    assert tx.host_outcome(None) == tx.host_outcome(tx.PROBING) == "unconfirmed"


@pytest.mark.parametrize("state", tx.STATES)
def test_only_what_was_switched_and_proven_is_confirmed_and_only_while_its_lease_runs(state):
    for runs, proven in ((True, True), (True, False), (False, True), (False, False)):
        standing = tx.Standing(state, runs, proven)
        assert tx.may_confirm(standing) == (state == tx.PROBING and runs and proven)
        assert tx.may_wait(standing) == (state == tx.PROBING and runs)
        assert tx.is_over(standing) == (state in tx.OPEN and not runs)
        # Nobody confirms what somebody else may take back.
        assert not (tx.may_confirm(standing) and tx.is_over(standing))


def test_what_ended_and_is_not_in_the_journal_is_owed():
    states = {"1": tx.CONFIRMED, "2": tx.ROLLED_BACK, "3": tx.ABORTED, "4": tx.ROLLBACK_FAILED, "5": tx.PROBING}
    assert tx.unwritten(states, {"1"}) == ["2", "4"]


def test_a_lease_can_be_renewed_for_each_batch_and_for_the_decision():
    assert tx.longest(10.0, 3) == 50.0
