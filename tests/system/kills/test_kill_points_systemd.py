# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs on a host with systemd are killed, or its disk refuses, at the calls that change files: it ends old or new.

All points with ``make test-long``, some of them with ``make test``. What is tried, and whether all is well afterwards,
is decided on the host, by the same functions as for supervisord.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import containers
import jinja2
import markupsafe
import packages
import pytest
import versions

from .. import guarantees, invariants, strace
from ..conftest import LONG, ROOT
from . import kill_points

COUNTS = {"staged": 2, "active": 4, "confirmed": 3, "rolled_back": 3, "expired": 2}
PLACE = "/opt/points"


class Remote:
    """:mod:`kill_points` as a program on a test host."""

    def __init__(self, host: containers.Host, folder: Path) -> None:
        site = folder / "points"
        collection = site / "ansible_collections" / "tetra" / "platform" / "plugins"
        shutil.copytree(ROOT / "plugins", collection, ignore=shutil.ignore_patterns("__pycache__"))
        for module in (jinja2, markupsafe):
            shutil.copytree(Path(module.__file__).parent, site / module.__name__)
        (site / "system" / "kills").mkdir(parents=True)
        for module in (invariants, kill_points, strace):
            shutil.copy(module.__file__, site / Path(module.__file__).relative_to(ROOT / "tests"))
        shutil.copy(packages.__file__, site)
        strace.bring(site / "strace")
        subprocess.run(["docker", "cp", "--quiet", site, f"{host.container}:{PLACE}"], check=True)
        host.run(f"ln -s {PLACE}/strace/start /usr/local/bin/strace")
        command = ["docker", "exec", "--interactive", f"--env=PYTHONPATH={PLACE}", host.container, "python3", "-m",
                   "system.kills.kill_points", f"{PLACE}/orgs", "/var/lib/tetra"]
        self._program = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, name: str, *arguments: object):
        """What a function returns that is called there."""
        self._program.stdin.write(json.dumps([name, *arguments]) + "\n")
        self._program.stdin.flush()
        answer = self._program.stdout.readline()
        assert answer, "the program on the host ended"
        result, problem = json.loads(answer)
        if problem:
            pytest.fail(problem, pytrace=False)
        return result


@pytest.fixture(scope="module")
def remote(tmp_path_factory):
    folder = tmp_path_factory.mktemp("servers")
    hosts = containers.Hosts(folder / "hosts")
    try:
        host = hosts.up({"dev-1": "bookworm"})["dev-1"]
        versions.note("bookworm, systemd, killed at points", host.python())
        yield Remote(host, folder)
    finally:
        hosts.down()


@pytest.mark.guarantee("O1")
@pytest.mark.parametrize("step", kill_points.STEPS)
def test_what_is_answered_is_on_the_disk_in_the_right_order(remote, step):
    assert remote.ask("disorder", step) == []


@pytest.mark.parametrize(("row", "fault"), [("K2", "killed"), ("D2", "refused")])
@pytest.mark.parametrize("step", kill_points.STEPS)
def test_whatever_goes_wrong_at_whatever_call_the_host_ends_old_or_new_and_goes_on(remote, step, row, fault):
    report = kill_points.Report(**remote.ask("matrix", step, fault, 0 if LONG else COUNTS[step]))
    guarantees.tell(row, report.tried, report.held, report.figures(step))
    if report.problem:
        pytest.fail(report.problem, pytrace=False)
    assert report.mostly_tried()
