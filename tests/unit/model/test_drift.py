# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Drift: what is pending, what was done by hand, and what is both."""

from __future__ import annotations

import pytest
from ansible_collections.tetra.platform.plugins.module_utils.model import drift, plan

EDIT = drift.record(drift.EDITED, "files/api/x", ["api"])


def host(services=None, found=(), history=("r1",), current="r1", **states):
    given = services or {"api": "a1", "web": "w1"}
    running = {"state": "running", "running": True, "stopped": False}
    return {
        "current": current, "history": [{"release": name} for name in history], "drift": list(found),
        "releases": {"r1": {"services": given, "placed": sorted(given)}},
        "services": {name: {**running, **states.get(name, {})} for name in given},
    }  # fmt: skip


def desired(**services):
    return plan.Desired("acme", "dev", "push", "b", "r2", services, {"h": list(services)}, {}, {})


@pytest.mark.parametrize(("wanted", "waiting"), [
    ({"api": "a1", "web": "w1"}, {}),
    ({"api": "a2", "web": "w1"}, {"api": "changed"}),
    ({"web": "w1"}, {"api": "is gone"}),
    ({"api": "a1", "web": "w1", "db": "d1"}, {"db": "is new"}),
])  # fmt: skip
def test_what_is_pending_is_what_differs_from_what_was_given(wanted, waiting):
    assert drift.pending(host(), desired(**wanted), "h") == waiting
    # Whatever the host was made to by hand.
    assert drift.pending(host(current="other", api={"running": False}), desired(**wanted), "h") == waiting


def test_nothing_was_given_to_a_new_host():
    assert drift.pending(host(history=()), desired(api="a1"), "h") == {"api": "is new"}


@pytest.mark.parametrize(("observed", "waiting", "kinds"), [
    (host(), {}, []),
    (host(), {"api": "changed"}, [drift.PENDING]),
    (host(found=[EDIT]), {}, [drift.EDITED]),
    (host(found=[EDIT]), {"api": "changed"}, [drift.BOTH]),
    (host(found=[EDIT]), {"web": "changed"}, [drift.EDITED, drift.PENDING]),
    (host(found=[drift.record(drift.EXTRA, "x", [])]), {"api": "changed"}, [drift.EXTRA, drift.PENDING]),
    (host(found=[drift.record(drift.OLDER, "x", ["api"])]), {}, [drift.OLDER]),
    (host(api={"running": False, "state": "failed"}), {}, [drift.DOWN]),
    (host(api={"running": False, "state": "stopped", "stopped": True}), {}, []),
])  # fmt: skip
def test_the_drifts_of_a_host(observed, waiting, kinds):
    assert [found["kind"] for found in drift.of_host(observed, waiting)] == kinds


@pytest.mark.parametrize(("following", "waiting", "kinds"), [
    (None, {}, []), ("r1", {}, []), ("r2", {}, [drift.PENDING]), ("r2", {"api": "changed"}, [drift.PENDING]),
])  # fmt: skip
def test_a_release_that_follows_is_pending_even_where_no_service_changes(following, waiting, kinds):
    assert [found["kind"] for found in drift.of_host(host(), waiting, following)] == kinds
