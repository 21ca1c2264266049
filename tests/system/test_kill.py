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

from .conftest import LEASE, ROOT, Fleet

NETWORK = 72
API = 4200
STAGING = ("staging-1", "staging-2")
GRACE = 10


def states(fleet: Fleet, host: str) -> dict[str, str]:
    """The transactions of a host that have not ended, and their states."""
    folder = fleet.environment(host) / "tx"
    found = (name.rpartition(".") for name in os.listdir(folder))
    return {identity: state for identity, _dot, state in found if state in ("armed", "activated", "probing")}


def agents(fleet: Fleet) -> list[int]:
    """The runs of the agent that belong to the controller; launchers and deadmen are not among them."""
    found = []
    for name in os.listdir("/proc"):
        words = processes.arguments(int(name)) if name.isdigit() else []
        if any(word.startswith(os.fspath(fleet.state)) for word in words) and "run" in words:
            found.append(int(name))
    return found


def kill(pids: list[int]) -> None:
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue


def kill_at(fleet: Fleet, moment: str, host: str) -> str:
    """Start a promotion and kill all of it at a moment; the state that the host was found in."""
    controller = subprocess.Popen(
        fleet.command("promote", tetra_from="dev", tetra_to="staging"), cwd=ROOT, stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    folder = fleet.environment(host) / "tx"
    before = set(os.listdir(folder))
    wait_for(lambda: "armed" in states(fleet, host).values())
    identity = next((name for name, state in states(fleet, host).items() if state == "armed"), "missed")
    doomed = agents(fleet)
    if moment == "before confirm":
        wait_for((folder / f"{identity}.decision").exists)
        doomed = agents(fleet)
    elif moment != "armed":
        wait_for((folder / f"{identity}.{moment}").exists)
    kill(doomed)
    kill(sorted(processes.family(controller.pid)))
    kill(agents(fleet))
    controller.wait()
    assert set(os.listdir(folder)) != before, "no transaction was begun"
    return states(fleet, host).get(identity, "ended")


def wait_for(condition, seconds: float = 20.0) -> bool:
    """Wait until something is so; whether it came to that."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
    return True


def holds(fleet: Fleet) -> set[str]:
    return {path.name for name in STAGING for path in (fleet.environment(name) / "holds").iterdir()}


def killed_and_back(fleet: Fleet, moment: str, host: str, attempt: int) -> str:
    """Kill a promotion, and check that the hosts come back by themselves and can then go on; the state at the kill."""
    old = fleet.ask(host, API)
    assert old[0] == 200
    if moment != "before confirm":
        shutil.copy(ROOT / "examples" / "broken" / "server.py", fleet.org / "files" / "api" / "server.py")
    fleet.touch(f"{moment} {host} {attempt}")
    assert fleet.push().outcome == "applied"
    held = holds(fleet)
    found = kill_at(fleet, moment, host)
    begun = time.monotonic()
    assert wait_for(lambda: not any(states(fleet, name) for name in STAGING), LEASE + GRACE)
    left = LEASE + GRACE - (time.monotonic() - begun)
    assert wait_for(lambda: all(fleet.ask(name, API) == old for name in STAGING), left)
    print(f"killed at {moment} of {host}: the transaction was {found}; back after {time.monotonic() - begun:.1f} s")
    if found != "ended":
        assert holds(fleet) == held, "an expiry is no verdict"
    fleet.restore()
    assert fleet.push().outcome == "applied"
    run = fleet.promote()
    assert run.outcome in ("applied", "unchanged"), run.output
    assert fleet.ask(host, API)[0] == 200
    return found


@pytest.mark.parametrize("host", STAGING)
@pytest.mark.parametrize("moment", ["armed", "activated", "probing", "before confirm"])
def test_a_killed_promotion_is_taken_back_by_the_host_alone(promoted, moment, host):
    wanted = "probing" if moment == "before confirm" else moment
    # Some states last for a few milliseconds only, so a busy machine may miss one.
    assert wanted in (killed_and_back(promoted, moment, host, attempt) for attempt in range(4))
