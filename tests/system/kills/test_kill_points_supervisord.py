# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs on a host with supervisord are killed, or its disk refuses, at the calls that change files: it ends old or new.

All points with ``make test-long``, some of them with ``make test``. Each is tried with a real supervisord, a real agent
and a real deadman.
"""

from __future__ import annotations

import os

import pytest

from .. import guarantees
from ..conftest import LONG
from . import kill_points

COUNTS = {"staged": 2, "active": 4, "confirmed": 3, "rolled_back": 3, "expired": 2}


@pytest.fixture(scope="module")
def host(tmp_path_factory):
    folder = tmp_path_factory.mktemp("host")
    with kill_points.hosting(folder, "supervisord", os.fspath(folder / "host")) as made:
        kill_points.push_both(made)
        yield made


@pytest.mark.guarantee("O1")
@pytest.mark.parametrize("step", kill_points.STEPS)
def test_what_is_answered_is_on_the_disk_in_the_right_order(host, step):
    assert kill_points.disorder(host, step) == []


@pytest.mark.parametrize(("row", "fault"), [("K1", "killed"), ("D1", "refused")])
@pytest.mark.parametrize("step", kill_points.STEPS)
def test_whatever_goes_wrong_at_whatever_call_the_host_ends_old_or_new_and_goes_on(host, step, row, fault):
    report = kill_points.matrix(host, step, fault, 0 if LONG else COUNTS[step])
    guarantees.tell(row, report.tried, report.held, report.figures(step))
    if report.problem:
        pytest.fail(report.problem, pytrace=False)
    assert report.mostly_tried()
