# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the visitors of services notice of promotions, good and broken: a client for each asks ten times a second.

A hundred good promotions and twenty broken ones with ``make test-long``.
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import time

import pytest

from . import guarantees
from .conftest import LONG, ROOT
from .visitors import Visitor, ask, share

NETWORK = 91
HOSTS = ("staging-1", "staging-2")
PAGES = {"api": "/health", "report": "/health", "site": "/index.html"}
CHANGED = "api"
GOOD, BROKEN = (100, 20) if LONG else (4, 2)
STARTS = 5
START_PERIOD = "2s"
"""How long one is waited for that was never well; 10 s unless a definition says so, all of which visitors notice."""


@pytest.fixture
def visitors(promoted):
    """A client for each service of each host; and one that asks a changing service so often that gaps are measured."""
    ports = promoted.play("status", tetra_env="staging").result["hosts"]["staging-1"]["services"]
    found = [Visitor(service, host, promoted.addresses[host], ports[service]["ports"]["main"], path)
             for host in HOSTS for service, path in PAGES.items()]
    fine = Visitor("", "", promoted.addresses[HOSTS[0]], ports[CHANGED]["ports"]["main"], PAGES[CHANGED], 200.0)
    for one in (*found, fine):
        one.start()
    yield found, fine
    for one in (*found, fine):
        one.end()


def promote(fleet, number: int, broken: bool) -> tuple[float, float]:
    """Bring a change of one service to staging; when that began and ended there."""
    fleet.restore()
    staging = fleet.org / "environments" / "staging.toml"
    staging.write_text(f"{staging.read_text()}\n[services.{CHANGED}]\nHEALTH_START_PERIOD = \"{START_PERIOD}\"\n")
    if broken:
        shutil.copy(ROOT / "examples" / "broken" / "server.py", fleet.org / "files" / "api" / "server.py")
    fleet.touch(f"promotion {number}")
    assert fleet.push().outcome == "applied"
    begin = time.monotonic()
    run = fleet.promote()
    assert run.outcome == ("rolled_back" if broken else "applied"), run.output
    return begin, time.monotonic()


def start_up(fleet) -> float:
    """Seconds from the start of the very program of the changing service, by hand, to its first answer."""
    address, port, folder = "127.0.0.1", 21491, fleet.environment(HOSTS[0]) / "current" / "files"
    environment = {**os.environ, "PYTHONPATH": os.fspath(folder / "common"), "HOST": address, "TSM_PORT": str(port),
                   "TSM_NAME": CHANGED, "TETRA_RELEASE": "by hand", "TETRA_ENV": "none", "GREETING": "",
                   "API_TOKEN": "", "PYTHONDONTWRITEBYTECODE": "1"}
    begin = time.monotonic()
    process = subprocess.Popen([sys.executable, "server.py"], cwd=folder / CHANGED, env=environment)
    try:
        while not ask(address, port, PAGES[CHANGED]).ok:
            assert process.poll() is None
            time.sleep(0.002)
        return time.monotonic() - begin
    finally:
        process.kill()
        process.wait()


def test_services_that_a_promotion_does_not_change_answer_all_the_time_and_the_others_but_for_their_restart(
    promoted, visitors
):
    clients, fine = visitors
    every = max(2, (GOOD + BROKEN) // BROKEN)
    kinds = ["broken" if number % every == every - 1 else "good" for number in range(GOOD + BROKEN)]
    seen: dict[tuple[str, bool], list] = {}
    handovers = []
    for number, kind in enumerate(kinds):
        begin, end = promote(promoted, number, kind == "broken")
        for changed in (True, False):
            found = [one.seen(begin, end) for one in clients if (one.service == CHANGED) == changed]
            seen.setdefault((kind, changed), []).extend(found)
            dropped, asked = sum(one.dropped for one in found), sum(one.asked for one in found)
            print(f"{number:3} {kind:6} {'changed' if changed else 'untouched':9} services: asked {asked:4}, dropped "
                  f"{dropped:3}, longest gap {max(one.gap for one in found) * 1000:5.0f} ms, "
                  f"available {share(found):.4%}")
        if kind == "good":
            handovers.append(fine.seen(begin, end).handover())
    own = statistics.median(start_up(promoted) for _time in range(STARTS))
    gap = statistics.median(handovers)
    untouched = [*seen["good", False], *seen["broken", False]]
    figures = (f"{kinds.count('good')} good, {kinds.count('broken')} broken; answered by untouched services "
               f"{share(untouched):.2%}, by changed ones {share(seen['good', True]):.2%} in good promotions and "
               f"{share(seen['broken', True]):.2%} in broken ones; from the last answer of the old process to the "
               f"first of the new one {gap * 1000:.0f} ms, the program's own start by hand {own * 1000:.0f} ms")
    print(figures)
    held = sum(one.dropped == 0 for one in untouched)
    guarantees.tell("V1", len(untouched), held, figures)
    assert sum(one.asked for one in untouched) > 10 * len(untouched)
    assert held == len(untouched)
