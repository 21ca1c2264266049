# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the visitors of services notice of promotions, good and broken: a client for each asks ten times a second.

A hundred good promotions and twenty broken ones with ``make test-long``, and some with supervisord.
"""

from __future__ import annotations

import dataclasses
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

import pytest

from .. import guarantees
from ..conftest import LONG, ROOT, Fleet, Servers, Team
from .visitors import Seen, Visitor, share

NETWORK = 91
HOSTS = ("staging-1", "staging-2")
PAGES = {"api": "/health", "report": "/health", "site": "/index.html"}
CHANGED = "api"
COUNTS = {"systemd": (100, 20), "supervisord": (10, 2)} if LONG else {"systemd": (1, 1)}
START_PERIOD = "2s"
"""How long one is waited for that was never well; 10 s unless a definition says so, all of which visitors notice."""
# How long the very program takes from its start, by hand, to its first answer.
START = f"""
import http.client, os, statistics, subprocess, time
def once():
    begin = time.monotonic()
    process = subprocess.Popen(["python3", "server.py"], cwd=FOLDER + "/{CHANGED}", env=dict(
        os.environ, PYTHONPATH=FOLDER + "/common", HOST="127.0.0.1", TSM_PORT="21491", TSM_NAME="{CHANGED}",
        TETRA_RELEASE="by hand", TETRA_ENV="none", GREETING="", API_TOKEN="", PYTHONDONTWRITEBYTECODE="1"))
    while True:
        try:
            connection = http.client.HTTPConnection("127.0.0.1", 21491, timeout=1)
            connection.request("GET", "{PAGES[CHANGED]}")
            connection.getresponse().read()
            break
        except OSError:
            time.sleep(0.002)
    seconds = time.monotonic() - begin
    process.kill()
    process.wait()
    return seconds
print(statistics.median(once() for number in range(5)))
"""


@dataclasses.dataclass
class Place:
    """Hosts on which the example organization went from dev to staging.

    :param python: gives a script to the Python of a host of staging and returns what it prints.
    """

    team: Team
    addresses: dict[str, str]
    current: str
    python: Callable[[str], str]


@pytest.fixture(scope="module", params=list(COUNTS))
def place(request, tmp_path_factory):
    """The hosts of a supervisor."""
    folder = tmp_path_factory.mktemp(request.param)
    made = _servers(folder) if request.param == "systemd" else _fleet(folder)
    try:
        for run in (made.team.play("prepare"), made.team.push(), made.team.promote()):
            assert run.code == 0, run.output
        yield made
    finally:
        made.team.down()


def _servers(folder) -> Place:
    servers = Servers(folder, dict.fromkeys(("dev-1", *HOSTS), "bookworm"))
    first = servers.hosts[HOSTS[0]]
    return Place(servers, {name: servers.hosts[name].address for name in HOSTS},
                 "/var/lib/tetra/orgs/acme/staging/current", lambda text: first.run("python3 -", data=text))


def _fleet(folder) -> Place:
    fleet = Fleet(folder, NETWORK)
    return Place(fleet, {name: fleet.addresses[name] for name in HOSTS},
                 os.fspath(fleet.environment(HOSTS[0]) / "current"),
                 lambda text: subprocess.run([sys.executable, "-"], input=text, capture_output=True, text=True,
                                             check=True).stdout)


@pytest.fixture
def visitors(place):
    """A client for each service of each host; and one that asks a changing service so often that gaps are measured."""
    services = place.team.status("staging")[HOSTS[0]]["services"]
    ports = {name: service["ports"]["main"] for name, service in services.items() if name in PAGES}
    found = [Visitor(service, host, place.addresses[host], ports[service], path)
             for host in HOSTS for service, path in PAGES.items()]
    fine = Visitor("", "", place.addresses[HOSTS[0]], ports[CHANGED], PAGES[CHANGED], 50.0)
    for one in (*found, fine):
        one.start()
    yield found, fine
    for one in (*found, fine):
        one.end()


def promote(team: Team, kind: str, number: int) -> tuple[float, float]:
    """Bring a change of one service to staging; when that began and ended there."""
    team.restore()
    staging = team.org / "environments" / "staging.toml"
    staging.write_text(f"{staging.read_text()}\n[services.{CHANGED}]\nHEALTH_START_PERIOD = \"{START_PERIOD}\"\n")
    if kind == "broken":
        shutil.copy(ROOT / "examples" / "broken" / "server.py", team.org / "files" / CHANGED / "server.py")
    team.touch(f"promotion {number}")
    assert team.push().outcome == "applied"
    begin = time.monotonic()
    run = team.promote()
    assert run.outcome == {"good": "applied", "broken": "rolled_back"}[kind], run.output
    return begin, time.monotonic()


def line(title: str, found: list[Seen]) -> str:
    """What visitors saw, as a line of a table."""
    asked, dropped = sum(one.asked for one in found), sum(one.dropped for one in found)
    gap = max(one.gap for one in found) * 1000
    return f"{title:26} asked {asked:4}, dropped {dropped:3}, longest gap {gap:5.0f} ms, available {share(found):.2%}"


def test_only_the_services_that_a_promotion_changes_are_missed_and_only_for_their_restart(place, visitors, request):
    clients, fine = visitors
    supervisor = request.node.callspec.params["place"]
    good, broken = COUNTS[supervisor]
    every = (good + broken) // broken
    seen: dict[tuple[str, str], list[Seen]] = {}
    handovers = []
    for number in range(good + broken):
        kind = "broken" if number % every == every - 1 else "good"
        begin, end = promote(place.team, kind, number)
        for what in ("changed", "untouched"):
            found = [one.seen(begin, end) for one in clients if (one.service == CHANGED) == (what == "changed")]
            seen.setdefault((kind, what), []).extend(found)
            print(line(f"{number:3} {kind:6} {what} services", found))
        if kind == "good":
            handovers.append(fine.seen(begin, end).handover())
    own, gap = float(place.python(f"FOLDER = '{place.current}/files'\n{START}")), statistics.median(handovers)
    untouched = [*seen["good", "untouched"], *seen["broken", "untouched"]]
    figures = (f"{supervisor}, {good} good, {broken} broken; answered by untouched services {share(untouched):.2%}, by "
               f"changed ones {share(seen['good', 'changed']):.2%} in good promotions and "
               f"{share(seen['broken', 'changed']):.2%} in broken ones; from the last answer of the old process to the "
               f"first of the new {gap * 1000:.0f} ms, a start of the program by hand {own * 1000:.0f} ms")
    print(figures)
    held = sum(one.dropped == 0 for one in untouched)
    guarantees.tell("V1", len(untouched), held, figures)
    assert sum(one.asked for one in untouched) > 10 * len(untouched)
    assert held == len(untouched)
