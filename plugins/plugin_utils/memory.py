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


class Limit:
    """How large this process may be, in bytes; None where a system does not tell how large it is."""

    def __init__(self, enough: int | None) -> None:
        self._enough = enough

    @contextlib.contextmanager
    def at_once(self) -> Iterator[None]:
        """Let the block, which starts no program, never take more; what would take more raises :class:`MemoryError`."""
        if self._enough is None:
            yield
            return
        before, hard = resource.getrlimit(resource.RLIMIT_AS)
        resource.setrlimit(resource.RLIMIT_AS, (self._soft(hard), hard))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_AS, (before, hard))

    def watch(self, ended: threading.Event) -> None:
        """Set the limit once it is reached."""
        while self._enough is not None and not ended.wait(_PAUSE):
            if _size() > self._enough:
                hard = resource.getrlimit(resource.RLIMIT_AS)[1]
                resource.setrlimit(resource.RLIMIT_AS, (self._soft(hard), hard))
                return

    def _soft(self, hard: int) -> int:
        enough = self._enough or 0
        return enough if hard == resource.RLIM_INFINITY else min(enough, hard)


@contextlib.contextmanager
def limited(most: int) -> Iterator[Limit]:
    """Let the block take so many bytes beyond what the process has; what would take more raises :class:`MemoryError`.

    The limit is set once it is reached: programs that the block starts before, such as ssh, have none. What a single
    call takes may be noticed too late; :meth:`Limit.at_once` is for calls that take what a host says.
    """
    if not os.path.exists(_PAGES):
        yield Limit(None)
        return
    limit = Limit(_size() + most)
    before = resource.getrlimit(resource.RLIMIT_AS)
    ended = threading.Event()
    watcher = threading.Thread(target=limit.watch, args=(ended,), daemon=True)
    watcher.start()
    try:
        yield limit
    finally:
        ended.set()
        watcher.join()
        resource.setrlimit(resource.RLIMIT_AS, before)


def _size() -> int:
    with open(_PAGES, encoding="ascii") as file:
        return int(file.read().split()[0]) * resource.getpagesize()
