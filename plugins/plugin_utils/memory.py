# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""How much memory a task may take: a host that sends without end ends its own task, not the controller."""

from __future__ import annotations

import contextlib
import os
import resource
import threading
from collections.abc import Iterator

_PAGES = "/proc/self/statm"
_PAUSE = 0.02


@contextlib.contextmanager
def limited(most: int) -> Iterator[None]:
    """Let the block take so many bytes beyond what the process has; what would take more raises :class:`MemoryError`.

    The limit is set once it is reached: programs that the block starts before, such as ssh, have none. Where a system
    does not tell how much a process has, nothing is limited.
    """
    if not os.path.exists(_PAGES):
        yield
        return
    before, hard = resource.getrlimit(resource.RLIMIT_AS)
    enough = _size() + most
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(_PAUSE):
            if _size() > enough:
                soft = enough if hard == resource.RLIM_INFINITY else min(enough, hard)
                resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
                return

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        ended.set()
        watcher.join()
        resource.setrlimit(resource.RLIMIT_AS, (before, hard))


def _size() -> int:
    with open(_PAGES, encoding="ascii") as file:
        return int(file.read().split()[0]) * resource.getpagesize()
