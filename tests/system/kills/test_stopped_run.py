# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A run on a host stands still with the lock in its hands until after the lease. The deadman takes the host back all
the same, and the run does nothing any more. All calls of a switch with ``make test-long``.
"""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path

import pytest
from ansible_collections.tetra.platform.plugins.module_utils.host import processes, transactions
from ansible_collections.tetra.platform.plugins.module_utils.model import transaction

from .. import guarantees, strace
from ..conftest import LONG
from . import kill_points
from .kill_points import Host, Run

LOCKED = strace.Point("flock", 1, "the lock was taken")


@pytest.fixture(scope="module")
def host(tmp_path_factory):
    folder = tmp_path_factory.mktemp("host")
    with kill_points.hosting(folder, "supervisord", os.fspath(folder / "host")) as made:
        kill_points.push_both(made)
        yield made


def stands_still(host: Host, runs: list[Run], point: strace.Point, log: Path) -> str:
    """Stop the last of some runs at a point until the host has settled; the state of its transaction at that moment."""
    old, (*before, last) = host.current, runs
    for run in before:
        run()
    identity = json.loads(last.request)["transaction"]
    with strace.stopped_at(last.command, point, log, last.request) as pid:
        state = transactions.load(host.scope.environment, identity).state
        assert pid in processes.locking(host.scope.environment.lock), point
        host.settle(patient=False)
        assert not os.path.exists(f"/proc/{pid}"), point
    ended = transactions.load(host.scope.environment, identity).state
    assert ended == transaction.ROLLED_BACK, (point, state, ended)
    assert host.problems({old}) == [], point
    return state


@pytest.mark.parametrize("step", ["confirmed", *(["decided", "renewed", "rolled_back"] if LONG else [])])
def test_a_run_that_stands_still_with_the_lock_is_ended_when_the_lease_ends(host, tmp_path, step):
    runs = host.runs("active")
    request = {**json.loads(runs[-1].request), "state": step, "decision": {"decision": "commit", "hosts": ["here"]}}
    runs.append(dataclasses.replace(runs[-1], request=json.dumps(request)))
    state = stands_still(host, runs, LOCKED, tmp_path / "log")
    assert state == (transaction.ROLLING_BACK if step == "rolled_back" else transaction.PROBING)
    guarantees.tell("F19", 1, 1)


def test_a_switch_that_stands_still_is_ended_when_the_lease_ends(host, tmp_path):
    points = kill_points.points(host, "active")
    armed, *_steps, last = [number for number, point in enumerate(points) if point.call == "rename"
                            and point.paths()[-1].endswith((f".{transaction.ARMED}", f".{transaction.PROBING}"))]
    switching = points[armed:last]
    tried = kill_points.evenly(switching, 0 if LONG else 1)
    states = {stands_still(host, host.runs("active"), point, tmp_path / "log") for point in tried}
    assert states <= {transaction.ARMED, transaction.ACTIVATED}
    guarantees.tell("F19", len(tried), len(tried), f"{len(tried)} of {len(switching)} calls of a switch")
