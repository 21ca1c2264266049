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
NEXT = {"armed": "activated", "activated": "probing"}


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
    wait_for(lambda: any(state == "armed" for state in states(fleet, host).values()))
    (identity,) = [name for name, state in states(fleet, host).items() if state == "armed"]
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
    return states(fleet, host).get(identity, "ended")


def wait_for(condition, seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come to that"


@pytest.mark.parametrize("host", STAGING)
@pytest.mark.parametrize("moment", ["armed", "activated", "probing", "before confirm"])
def test_a_killed_promotion_is_taken_back_by_the_host_alone(promoted, moment, host):
    old = promoted.ask(host, API)
    assert old[0] == 200
    if moment != "before confirm":
        shutil.copy(ROOT / "examples" / "broken" / "server.py", promoted.org / "files" / "api" / "server.py")
    promoted.touch(f"{moment} {host}")
    assert promoted.push().outcome == "applied"
    found = kill_at(promoted, moment, host)
    begun = time.monotonic()
    print(f"killed at {moment} of {host}: the transaction was {found}")
    wait_for(lambda: not any(states(promoted, name) for name in STAGING), LEASE + GRACE)
    wait_for(lambda: all(promoted.ask(name, API) == old for name in STAGING),
             LEASE + GRACE - (time.monotonic() - begun))
    print(f"back after {time.monotonic() - begun:.1f} s")
    assert all(not list((promoted.environment(name) / "holds").iterdir()) for name in STAGING) or found == "ended"
    promoted.restore()
    assert promoted.push().outcome == "applied"
    run = promoted.promote()
    assert run.outcome in ("applied", "unchanged"), run.output
    assert promoted.ask(host, API)[0] == 200
