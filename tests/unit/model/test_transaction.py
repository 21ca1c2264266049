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
