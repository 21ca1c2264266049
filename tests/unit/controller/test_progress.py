# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is known of a host after each answer, and after none."""

from __future__ import annotations

import pytest
from ansible_collections.tetra.platform.plugins.plugin_utils import progress

STAGED = {"state": "staged"}
REFUSED = {"failed": True, "msg": "no space", "code": "refused"}
LOST = {"failed": True, "msg": "the connection broke", "code": "unconfirmed"}
UNREACHABLE = {"unreachable": True, "msg": "no route"}


@pytest.mark.parametrize(
    ("answers", "state", "outcome", "detail"),
    [
        ([STAGED], "staged", "refused", ""),
        ([REFUSED], "refused", "refused", "no space"),
        ([UNREACHABLE], "", "unconfirmed", "no route"),
        ([{}], "", "unconfirmed", "the host did not answer"),
        ([STAGED, {"state": "probing"}, {"state": "confirmed"}], "confirmed", "applied", ""),
        ([STAGED, {"state": "rolled_back", "detail": "api died"}], "rolled_back", "rolled_back", "api died"),
        ([STAGED, LOST], "", "unconfirmed", "the connection broke"),
        ([STAGED, LOST, {"state": "rolled_back"}], "rolled_back", "rolled_back", "the connection broke"),
        ([STAGED, REFUSED], "", "unconfirmed", "no space"),
        ([STAGED, REFUSED, {"state": "aborted"}], "aborted", "refused", "no space"),
        ([STAGED, {"state": "probing"}, UNREACHABLE], "", "unconfirmed", "no route"),
        ([STAGED, {"state": "probing"}, REFUSED], "", "unconfirmed", "no space"),
        ([STAGED, LOST, REFUSED], "", "unconfirmed", "the connection broke"),
        ([REFUSED, {"state": "aborted"}], "aborted", "refused", "no space"),
        ([LOST, REFUSED], "refused", "refused", "the connection broke"),
        ([LOST, LOST, REFUSED], "refused", "refused", "the connection broke"),
        ([LOST, STAGED, REFUSED], "", "unconfirmed", "the connection broke"),
    ],
)
def test_the_last_state_that_was_read_back_counts_and_the_first_reason(answers, state, outcome, detail):
    heard: dict = {}
    for answer in answers:
        heard = progress.collect(heard, {"a": answer}, ["a"])
    assert (heard["a"]["state"], progress.outcome(heard["a"]), heard["a"]["detail"]) == (state, outcome, detail)
    assert ("a" in progress.states(heard)) == (state != "")


def test_a_host_that_was_not_asked_stays_as_it_was():
    heard = progress.collect({}, {"a": STAGED, "b": STAGED}, ["a", "b"])
    assert progress.collect(heard, {"a": {"skipped": True}, "b": {"state": "probing"}}, ["b"])["a"] == heard["a"]


def test_what_was_told_of_checks_is_kept_over_later_answers():
    told = {"state": "rolled_back", "reports": {"api": {}}, "check": "api: http", "evidence": "/e", "release": "x"}
    heard = progress.collect({}, {"a": told}, ["a"])
    heard = progress.collect(heard, {"a": {"state": "rolled_back", "reports": {}, "release": "old"}}, ["a"])
    assert heard["a"]["reports"] == {"api": {}}
    assert (heard["a"]["check"], heard["a"]["evidence"], heard["a"]["release"]) == ("api: http", "/e", "old")


@pytest.mark.parametrize(
    ("action", "hosts", "outcome"),
    [
        ("push", ["applied", "rolled_back"], "partial"),
        ("resume", ["rolled_back", "unchanged"], "rolled_back"),
        ("abort", ["rolled_back", "unchanged"], "applied"),
        ("abort", ["rolled_back", "applied"], "partial"),
        ("abort", ["applied", "applied"], "refused"),
        ("abort", ["rolled_back", "unconfirmed"], "unconfirmed"),
    ],
)
def test_an_abort_is_applied_where_hosts_were_taken_back_and_not_where_they_were_confirmed_first(
    action, hosts, outcome
):
    assert progress.fleet_outcome(action, hosts) == outcome
