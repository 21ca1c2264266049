# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The controller and all its modules die while a release goes out; the host alone takes itself back."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time

import pytest
from ansible_collections.tetra.platform.plugins.module_utils.host import processes

from ..conftest import LONG, ROOT, Fleet, command_lines, wait_for

NETWORK = 72
LEASE = 12
API = 4200
STAGING = ("staging-1", "staging-2")
GRACE = 10
HITS = 2
FLEETING = 0.0005
"""Seconds between two looks at a state that lasts for milliseconds."""


def states(fleet: Fleet, host: str) -> dict[str, str]:
    """The transactions of a host that have not ended, and their states."""
    folder = fleet.environment(host) / "tx"
    found = (name.rpartition(".") for name in os.listdir(folder))
    return {identity: state for identity, _dot, state in found if state in ("armed", "activated", "probing")}


def agents(fleet: Fleet) -> list[int]:
    """The runs of the agent that belong to the controller; launchers and deadmen are not among them."""
    state = os.fspath(fleet.state)
    return [
        pid for pid, words in command_lines().items()
        if "run" in words and any(word.startswith(state) for word in words)
    ]  # fmt: skip


def kill(pids: list[int]) -> None:
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue


def kill_at(fleet: Fleet, moment: str) -> dict[str, str]:
    """Start a promotion and kill all of it at a moment; the state that each host was found in."""
    controller = subprocess.Popen(
        fleet.command("promote", tetra_from="dev", tetra_to="staging"), cwd=ROOT, stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    folder = fleet.environment(STAGING[0]) / "tx"
    before = set(os.listdir(folder))
    wait_for(lambda: "armed" in states(fleet, STAGING[0]).values(), pause=FLEETING)
    identity = next((name for name, state in states(fleet, STAGING[0]).items() if state == "armed"), "missed")
    doomed = agents(fleet)
    if moment == "before confirm":
        wait_for((folder / f"{identity}.decision").exists, pause=FLEETING)
        doomed = agents(fleet)
    elif moment == "activated":
        wait_for((folder / f"{identity}.activated").exists, pause=FLEETING)
    elif moment == "probing":
        wait_for(lambda: all(states(fleet, host).get(identity) == "probing" for host in STAGING))
    kill(doomed)
    kill(sorted(processes.family(controller.pid)))
    kill(agents(fleet))
    controller.wait()
    assert set(os.listdir(folder)) != before, "no transaction was begun"
    return {host: states(fleet, host).get(identity, "ended") for host in STAGING}


def holds(fleet: Fleet) -> set[str]:
    return {path.name for name in STAGING for path in (fleet.environment(name) / "holds").iterdir()}


def killed_and_back(fleet: Fleet, moment: str, attempt: int) -> list[str]:
    """Kill a promotion, and check that the hosts come back by themselves; the states at the kill."""
    old = fleet.ask(STAGING[0], API)
    assert old[0] == 200
    if moment != "before confirm":
        shutil.copy(ROOT / "examples" / "broken" / "server.py", fleet.org / "files" / "api" / "server.py")
    fleet.touch(f"{moment} {attempt}")
    assert fleet.push().outcome == "applied"
    held = holds(fleet)
    fleet.lease(LEASE)
    found = kill_at(fleet, moment)
    begun = time.monotonic()
    fleet.lease(30)
    assert wait_for(lambda: not any(states(fleet, name) for name in STAGING), LEASE + GRACE)
    left = LEASE + GRACE - (time.monotonic() - begun)
    if moment != "before confirm" or "ended" not in found.values():
        assert wait_for(lambda: all(fleet.ask(name, API) == old for name in STAGING), left)
    if "ended" not in found.values():
        assert holds(fleet) == held, "an expiry is no verdict"
    print(f"killed at {moment}: the transactions were {found}; back after {time.monotonic() - begun:.1f} s")
    fleet.restore()
    if moment == "before confirm":
        # Where the confirmation was first, the hosts run two releases.
        goes_on(fleet, f"good after {moment} {attempt}")
    return list(found.values())


def goes_on(fleet: Fleet, change: str) -> None:
    """Promote something good, as if nothing had happened."""
    fleet.touch(change)
    assert fleet.push().outcome == "applied"
    run = fleet.promote()
    assert run.outcome == "applied", run.output
    assert all(fleet.ask(host, API)[0] == 200 for host in STAGING)


# What lasts for milliseconds is sought for a long time.
@pytest.mark.parametrize("moment", ["probing", *(["armed", "activated", "before confirm"] if LONG else [])])
def test_a_killed_promotion_is_taken_back_by_the_hosts_alone(promoted, moment):
    wanted = "probing" if moment == "before confirm" else moment
    found: list[str] = []
    # Both hosts pass through a state at nearly the same time, and some last for a few milliseconds only.
    for attempt in range(16):
        found += killed_and_back(promoted, moment, attempt)
        if found.count(wanted) >= HITS:
            break
    assert found.count(wanted) >= HITS
    goes_on(promoted, f"good after {moment}")
