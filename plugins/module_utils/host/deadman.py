# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The deadman: waits beside a transaction and takes the host back when the lease ends and nobody confirmed."""

from __future__ import annotations

import concurrent.futures
import os
import signal
import time

from ..model import transaction
from . import engine, probes, processes, reservations, transactions
from .scope import Scope

# The engine loads these when it needs them. By then the file of the agent may be gone, and this must work all the same.
LOADED = (concurrent.futures, probes, reservations)

_INTERVAL = 0.2
_GRACE = 2.0


def watch(scope: Scope, identity: str) -> str:
    """Wait for the end of a transaction, and be that end when its lease runs out.

    :returns: the state that the transaction ended in.
    """
    transactions.sign(scope.environment, identity, transactions.WATCHER)
    while True:
        state = transactions.load(scope.environment, identity).state
        if not transaction.TRANSITIONS[state]:
            return state
        if transactions.seconds_left(scope.environment, identity) <= 0:
            if state != transaction.STAGED:
                return expire(scope, identity)
            engine.abort_left(scope, identity)
        time.sleep(_INTERVAL)


def expire(scope: Scope, identity: str) -> str:
    """Revert a transaction whose lease is over.

    It is claimed by its rename before anything else, so that a confirmation that comes now loses; a run that hangs
    while it holds the lock is ended only after that.
    """
    if engine.begin_revert(scope, identity):
        _end_holder(scope, identity)
        _end_stopped(scope)
    return engine.take_back(scope, identity, engine.EXPIRED)


def _end_holder(scope: Scope, identity: str) -> None:
    holder = transactions.signed(scope.environment, identity, transactions.HOLDER)
    if not holder:
        return
    for wanted in (signal.SIGTERM, signal.SIGKILL):
        if not processes.lives(holder):
            return
        os.kill(processes.pid(holder), wanted)
        _wait_for_end(holder)


def _end_stopped(scope: Scope) -> None:
    """End a run of any kind that stands still with the lock in its hands: the revert would wait for it for ever."""
    for pid in filter(_stands_still, processes.locking(scope.environment.lock)):
        # While it stands still no other signal would reach it.
        os.kill(pid, signal.SIGKILL)


def _stands_still(pid: int) -> bool:
    """Whether a process is stopped for more than the moment that a debugger takes at each of its calls."""
    if not processes.stopped(pid):
        return False
    time.sleep(_INTERVAL)
    return processes.stopped(pid)


def _wait_for_end(holder: str) -> None:
    end = time.monotonic() + _GRACE
    while processes.lives(holder) and time.monotonic() < end:
        time.sleep(0.05)
