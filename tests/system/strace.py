# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs a program under strace: at which calls it changes files, and what becomes of it when one of them goes wrong."""

from __future__ import annotations

import collections
import os
import re
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import packages

CHANGING = (
    "write", "pwrite64", "fsync", "fdatasync", "rename", "renameat2", "unlink", "unlinkat", "mkdir",
    "mkdirat", "fchmod", "fchmodat", "chmod", "fchown", "chown", "ftruncate", "symlink", "symlinkat", "link", "linkat",
    "utimensat",
)  # fmt: skip
"""The calls of the kernel by which a program changes files, as far as ours do.

Opening is not among them: how often it happens depends on the other processes, which we look at in /proc. What a kill
there leaves is what one at the call before leaves.
"""

_PATH = re.compile(r'[<"](/[^>"]*)[>"]')
_CALL = re.compile(r"^(?:\d+\s+)?(\w+)\((.*)", re.MULTILINE)


class Point(NamedTuple):
    """A moment of a run: the call of the kernel, the how manieth of its name, and what it is about."""

    call: str
    number: int
    text: str


def points(command: Sequence[str], folder: Path, log: Path, data: str = "") -> list[Point]:
    """The calls with which a program changes files below a folder, in their order; see :func:`calls`."""
    return [point for point in calls(command, log, data) if os.fspath(folder) in point.text]


def calls(command: Sequence[str], log: Path, data: str = "") -> list[Point]:
    """All calls of a program that change files, in their order.

    :param log: where strace may write.
    :param data: what the program reads from its standard input.
    """
    packages.ensure({"strace": "strace"}, "points at which a run is killed")
    done = _strace(command, ["-o", os.fspath(log), "-y", "-s", "0", "-e", f"trace={','.join(CHANGING)}"],
                   data)
    assert done.returncode == 0, done.stderr
    count: dict[str, int] = collections.Counter()
    found = []
    for match in _CALL.finditer(log.read_text(errors="replace")):
        call, text = match.groups()
        count[call] += 1
        found.append(Point(call, count[call], text))
    return found


def unsynced(found: Sequence[Point], folder: Path) -> list[str]:
    """Where a loss of power could take what was written: files renamed before they were synced, folders never synced.

    :param found: all calls of a run, as :func:`calls` gives them; only those below ``folder`` count.
    """
    dirty: set[str] = set()
    folders: set[str] = set()
    problems = []
    for point in found:
        paths = [path for path in _PATH.findall(point.text.rpartition(" = ")[0]) if path.startswith(os.fspath(folder))]
        if point.call in ("write", "pwrite64", "ftruncate"):
            dirty.update(paths)
        elif point.call in ("fsync", "fdatasync"):
            dirty.difference_update(paths)
            folders.difference_update(paths)
        elif point.call.startswith("rename") and paths:
            problems += [f"{paths[0]} was renamed before it was synced"] if paths[0] in dirty else []
            folders.update(map(os.path.dirname, paths))
    return [*problems, *(f"{path} was not synced after a rename" for path in sorted(folders))]


def killed_at(command: Sequence[str], point: Point, data: str = "") -> subprocess.CompletedProcess[str]:
    """Run a program that is killed when it makes a call."""
    return _inject(command, point, "signal=KILL", data)


def failing_at(
    command: Sequence[str], point: Point, error: str, data: str = ""
) -> subprocess.CompletedProcess[str]:
    """Run a program to which the kernel answers one call with an error, like ``ENOSPC``."""
    return _inject(command, point, f"error={error}", data)


def _inject(command: Sequence[str], point: Point, what: str, data: str) -> subprocess.CompletedProcess[str]:
    return _strace(command, ["-o", os.devnull, "-e", f"trace={point.call}",
                             "-e", f"inject={point.call}:{what}:when={point.number}"], data)


def _strace(command: Sequence[str], options: Sequence[str], data: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["strace", *options, *command], input=data, capture_output=True, text=True, check=False,
                          timeout=60)
