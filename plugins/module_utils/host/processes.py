# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Processes of this host as /proc shows them."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any


def identity(pid: int) -> str | None:
    """``pid:start``, which no other process of this boot ever has; None when there is no such process."""
    fields = _stat(pid)
    return f"{pid}:{fields[19]}" if fields and fields[0] != "Z" else None


def lives(known: str) -> bool:
    """Whether the process with an identity still runs."""
    return identity(pid(known)) == known


def stopped(pid: int) -> bool:
    """Whether a process stands still, because of a signal or of a debugger, until somebody lets it go on."""
    fields = _stat(pid)
    return fields is not None and fields[0] in "Tt"


def pid(known: str) -> int:
    """The pid in an identity."""
    return int(known.partition(":")[0])


def command(pid: int) -> str:
    """The short name of a process, without its arguments, which could hold a secret; empty when it is gone."""
    try:
        with open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as file:
            return file.read().strip()
    except OSError:
        return ""


def arguments(pid: int) -> list[str]:
    """The words of the command line of a process; empty when it is gone."""
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return [os.fsdecode(word) for word in file.read().split(b"\0")[:-1]]
    except OSError:
        return []


def ending_with(words: list[str]) -> list[int]:
    """The processes of this user whose command lines end with some words, the oldest first."""
    pids = [int(name) for name in os.listdir("/proc") if name.isdigit()]
    found = [pid for pid in pids if arguments(pid)[-len(words):] == words and _is_ours(pid)]
    started = {pid: fields[19] for pid in found for fields in [_stat(pid)] if fields}
    return sorted(started, key=lambda pid: (int(started[pid]), pid))


def family(pid: int) -> set[int]:
    """A process and all its descendants."""
    children: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):
        fields = _stat(int(name)) if name.isdigit() else None
        if fields:
            children.setdefault(int(fields[1]), []).append(int(name))
    found, left = set(), [pid]
    while left:
        one = left.pop()
        found.add(one)
        left += children.get(one, [])
    return found


def locking(path: str) -> list[int]:
    """The processes that hold a lock on a file, of those that this user may look into."""
    return [int(name) for name in os.listdir("/proc") if name.isdigit() and _locks(name, os.path.realpath(path))]


def _locks(name: str, path: str) -> bool:
    try:
        for number in os.listdir(f"/proc/{name}/fd"):
            if os.readlink(f"/proc/{name}/fd/{number}") == path:
                with open(f"/proc/{name}/fdinfo/{number}", encoding="ascii") as file:
                    if "FLOCK" in file.read():
                        return True
    except OSError:
        return False
    return False


def groups(leaders: Iterable[str]) -> list[str]:
    """The living processes, by identity, of the groups that processes lead or have led.

    :param leaders: identities. One whose pid somebody else has by now leads nobody any more.
    """
    wanted = {one.partition(":")[0]: one for one in leaders if pid(one) > 1 and identity(pid(one)) in (None, one)}
    found = []
    for name in filter(str.isdigit, os.listdir("/proc") if wanted else ()):
        fields = _stat(int(name))
        leader = wanted.get(fields[2]) if fields and fields[0] != "Z" else None
        if fields and leader and int(fields[19]) >= int(leader.partition(":")[2]):
            found.append(f"{name}:{fields[19]}")
    return found


def environment(pid: int) -> list[str]:
    """The variables that a process was started with, as ``NAME=value``; none of one that is gone or somebody else's."""
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            return [os.fsdecode(one) for one in file.read().split(b"\0")]
    except OSError:
        return []


def usage(pid: int) -> dict[str, Any]:
    """What a process used so far: ``cpu_seconds`` and ``memory``, its resident bytes; zeros when it is gone."""
    fields = _stat(pid)
    if not fields:
        return {"cpu_seconds": 0.0, "memory": 0}
    ticks = int(fields[11]) + int(fields[12])
    return {"cpu_seconds": ticks / os.sysconf("SC_CLK_TCK"), "memory": int(fields[21]) * os.sysconf("SC_PAGE_SIZE")}


def _is_ours(pid: int) -> bool:
    try:
        return os.stat(f"/proc/{pid}").st_uid == os.geteuid()
    except FileNotFoundError:
        return False


def _stat(pid: int) -> list[str] | None:
    """The fields of /proc/PID/stat from the state on; the name before them may hold anything."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            return file.read().rpartition(")")[2].split()
    except OSError:
        return None
