# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is told of processes: who holds a lock, who stands still."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

from ansible_collections.tetra.platform.plugins.module_utils.host import durable, processes

_HOLD = "import fcntl, sys; file = open(sys.argv[1]); fcntl.flock(file, fcntl.LOCK_EX); print(flush=True); input()"


@contextlib.contextmanager
def holder(path: str) -> Iterator[int]:
    """Another process that holds a lock."""
    command = [sys.executable, "-c", _HOLD, path]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        yield process.pid
        process.stdin.close()


def test_who_holds_a_lock_is_found_and_who_only_has_the_file_open_is_not(tmp_path):
    path = os.fspath(tmp_path / "lock")
    with open(path, "w"):
        assert processes.locking(path) == []
        with durable.lock(path, timeout=1):
            assert processes.locking(path) == [os.getpid()]
        with holder(path) as pid:
            assert processes.locking(path) == [pid]
    assert processes.locking(path) == []


def test_a_process_stands_still_until_it_is_let_go_on(tmp_path):
    path = tmp_path / "lock"
    path.touch()
    with holder(os.fspath(path)) as pid:
        assert not processes.stopped(pid)
        os.kill(pid, signal.SIGSTOP)
        end = time.monotonic() + 10
        while not processes.stopped(pid):
            assert time.monotonic() < end
            time.sleep(0.01)
        os.kill(pid, signal.SIGCONT)
        while processes.stopped(pid):
            assert time.monotonic() < end
            time.sleep(0.01)
    assert not processes.stopped(pid)
