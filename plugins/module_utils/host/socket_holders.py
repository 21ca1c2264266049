# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which processes hold sockets, and what these processes belong to, as far as this user may look."""

from __future__ import annotations

import collections
import contextlib
import os
import re
from collections.abc import Collection, Iterator
from typing import NamedTuple

from ..model.ports import holder

_UNIT = re.compile(r"[^/]+\.(?:service|scope|socket)(?=/|$)")
# docker-ID.scope, /docker/ID, libpod-ID.scope, cri-containerd-ID.scope and so on: all have the 64 digits in common.
_CONTAINER = re.compile(r"(?<![0-9a-f])([0-9a-f]{64})(?:\.scope)?(?=/|$)")


class Group(NamedTuple):
    """What a process belongs to: its unit of systemd and the id of its container, each empty when there is none."""

    unit: str
    container: str


def find(inodes: Collection[int]) -> dict[int, set[int]]:
    """The processes that have each of some sockets open, as far as this user may see them.

    :returns: inode to pids; a socket without any is left out.
    """
    result: dict[int, set[int]] = collections.defaultdict(set)
    wanted = {f"socket:[{inode}]": inode for inode in inodes}
    for name in os.listdir("/proc") if wanted else ():
        if name.isdigit():
            for link in wanted.keys() & _links(name):
                result[wanted[link]].add(int(name))
    return result


def _links(pid: str) -> list[str]:
    """What the descriptors of a process name. A large server has thousands, so the way to them is looked up once."""
    found: list[str] = []
    with contextlib.suppress(OSError), _folder(f"/proc/{pid}/fd") as folder:
        for name in os.listdir(folder):
            with contextlib.suppress(OSError):
                found.append(os.readlink(name, dir_fd=folder))
    return found


@contextlib.contextmanager
def _folder(path: str) -> Iterator[int]:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def eldest(pids: Collection[int]) -> int | None:
    """The process whose parent is none of them; a server and the workers that it forked share one socket."""
    if len(pids) == 1:
        return next(iter(pids))
    for pid in sorted(pids):
        if not set(ancestry(pid)[1:]).intersection(pids):
            return pid
    return min(pids, default=None)


def ancestry(pid: int | None) -> list[int]:
    """A process, its parent, and so on up; empty for None."""
    result: list[int] = []
    while pid and pid not in result:
        result.append(pid)
        pid = _parent(pid)
    return result


def _parent(pid: int) -> int | None:
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            # The name before the last bracket may hold anything; the state and the parent follow it.
            return int(file.read().rpartition(b")")[2].split()[1])
    except OSError:
        return None


def group_of(pid: int | None) -> Group:
    """What a process belongs to. The container that this program runs in itself is not named: all are in it."""
    found = group(_cgroups(str(pid))) if pid else Group("", "")
    if found.container and found.container == group(_cgroups("self")).container:
        return Group(found.unit, "")
    return found


def group(text: str) -> Group:
    """What a process belongs to.

    :param text: its /proc/PID/cgroup: a line ``id:controllers:path`` for each tree of groups. Of a unit within another,
        as those of a user are, the inner one counts.
    """
    lines = [line.split(":", 2) for line in text.splitlines() if line.count(":") >= 2]
    # Version 2 has one tree; of version 1 systemd's own comes first, as the others need not have every unit.
    lines.sort(key=lambda parts: (parts[0] != "0", parts[1] != "name=systemd"))
    paths = [path for _number, _controllers, path in lines]
    return Group(_last(_UNIT, paths), _last(_CONTAINER, paths))


def _last(pattern: re.Pattern[str], paths: Collection[str]) -> str:
    for path in paths:
        found = [match.group(match.lastindex or 0) for match in pattern.finditer(path)]
        if found:
            return holder.shown(found[-1])
    return ""


def _cgroups(pid: str) -> str:
    try:
        with open(f"/proc/{pid}/cgroup", encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""
