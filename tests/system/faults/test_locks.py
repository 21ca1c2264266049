# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lock of an environment: its holder dies, what it started lives on, and somebody removes the file."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
from ansible_collections.tetra.platform.plugins.module_utils.host import processes, store
from ansible_collections.tetra.platform.plugins.module_utils.model import transaction

from .. import invariants
from ..single import SECRET, Single, answer_of, done

ADDRESS = "127.0.84.5"
# It takes its time to end, during which who ends it holds the lock.
STUBBORN = """\
TSM_COMMAND='trap "" TERM; while :; do sleep 0.1; done'
TSM_MIN_HEALTHY=0s
TSM_STOP_TIMEOUT={seconds}s
export TRY={number}
"""
SECONDS = 3


@pytest.fixture
def host(tmp_path):
    """A host with a service that does not want to end."""
    made = Single(tmp_path, ADDRESS)
    try:
        write(made, "first")
        made.apply({})
        yield made
    finally:
        made.down()


def write(host: Single, number: str) -> None:
    host.write({"worker.tsm": STUBBORN.format(seconds=SECONDS, number=number)}, {})


def switching(host: Single) -> tuple[subprocess.Popen[str], str]:
    """An agent that has switched, and holds the lock while the old service does not end."""
    before, identity = store.current(host.environment), host.stage({})
    agent = host.begin("release", {"state": "active", "transaction": identity})
    end = time.monotonic() + 60
    while store.current(host.environment) == before:
        assert time.monotonic() < end and agent.poll() is None, "it never came to the switch"
        time.sleep(0.01)
    assert processes.locking(host.environment.lock) == [agent.pid]
    return agent, identity


@pytest.mark.guarantee("F17")
def test_the_lock_of_a_holder_that_was_killed_is_free_at_once(host):
    before = store.current(host.environment)
    write(host, "second")
    agent, identity = switching(host)
    agent.send_signal(signal.SIGKILL)
    agent.communicate()
    assert processes.locking(host.environment.lock) == []
    begun = time.monotonic()
    answer = done(host.step("rolled_back", identity))
    assert answer["state"] == transaction.ROLLED_BACK, answer
    assert time.monotonic() - begun < host.lease, "it waited for the deadman"
    host.settle()
    assert invariants.broken(host.scope, {before}, SECRET) == []


@pytest.mark.guarantee("F17")
def test_what_a_holder_starts_does_not_have_its_lock(host):
    # The supervisor, its services and the deadman are all started while the lock is held.
    host.scope.supervisor.shutdown()
    write(host, "second")
    identity = host.stage({})
    switched = done(host.step("active", identity))
    assert switched["state"] == transaction.PROBING
    assert host.scope.supervisor.running()
    open_in = [link for link in Path("/proc").glob("[0-9]*/fd/*") if target(link) == host.environment.lock]
    assert open_in == []
    assert done(host.step("confirmed", identity))["state"] == transaction.CONFIRMED


def target(link: Path) -> str:
    try:
        return os.readlink(link)
    except OSError:
        return ""


@pytest.mark.guarantee("F17")
def test_who_removes_the_file_of_a_lock_that_is_held_lets_nobody_in(host):
    before = store.current(host.environment)
    write(host, "second")
    agent, identity = switching(host)
    after = store.current(host.environment)
    Path(host.environment.lock).unlink()
    other = host.begin("release", {"state": "rolled_back", "transaction": identity})
    # It claims the revert at once, and carries it out when the holder lets go.
    assert agent.pid in processes.locking(host.environment.root)
    while True:
        seen = store.current(host.environment)
        if agent.pid not in processes.locking(host.environment.root):
            break
        assert seen == after
    assert done(answer_of(other))["state"] == transaction.ROLLED_BACK
    # It may have come to its end before the other did.
    assert done(answer_of(agent))["state"] in (transaction.PROBING, transaction.ROLLING_BACK, transaction.ROLLED_BACK)
    assert os.path.exists(host.environment.lock)
    host.settle()
    assert invariants.broken(host.scope, {before}, SECRET) == []
