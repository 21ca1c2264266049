# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs a program under strace: at which calls it changes files, and what becomes of it when one of them goes wrong."""

from __future__ import annotations

import collections
import contextlib
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import packages

CHANGING = (
    "write", "pwrite64", "fsync", "fdatasync", "rename", "renameat2", "unlink", "unlinkat", "mkdir",
    "mkdirat", "rmdir", "fchmod", "fchmodat", "chmod", "fchown", "chown", "ftruncate", "symlink", "symlinkat", "link",
    "linkat", "utimensat",
)  # fmt: skip
"""The calls of the kernel by which a program changes files, as far as ours do.

Opening is not among them: how often it happens depends on the other processes, which we look at in /proc. What a kill
there leaves is what one at the call before leaves.
"""

CREATING = "openat"
"""The call by which a program makes files; for :func:`unsynced`."""

_PATH = re.compile(r'[<"](/[^>"]*)[>"]')
# With -ttt there is the time in front.
_CALL = re.compile(r"^(?:[\d.]+\s+)?(\w+)\((.*)", re.MULTILINE)
_WRITING = ("write", "pwrite64", "ftruncate")
_SYNCING = ("fsync", "fdatasync")
_NAMING = ("mkdir", "symlink", "symlinkat", "link", "linkat", CREATING)


class Point(NamedTuple):
    """A moment of a run: the call of the kernel, the how manieth of its name, and what it is about."""

    call: str
    number: int
    text: str

    def below(self, *folders: str | Path) -> bool:
        """Whether it is about something in one of some folders."""
        return any(path == os.fspath(folder) or path.startswith(f"{os.fspath(folder)}/")
                   for path in self.paths() for folder in folders)

    @property
    def failed(self) -> bool:
        """Whether the kernel refused, so that nothing changed."""
        return " = -1 " in self.text

    def paths(self) -> list[str]:
        """The files and folders that it is about, in the order in which the call names them."""
        return _PATH.findall(self.text.rpartition(" = ")[0])


def points(command: Sequence[str], folder: Path, log: Path, data: str = "") -> list[Point]:
    """The calls with which a program changes files below a folder, in their order; see :func:`calls`."""
    return [point for point in calls(command, log, data) if point.below(folder)]


def calls(command: Sequence[str], log: Path, data: str = "", names: Sequence[str] = CHANGING) -> list[Point]:
    """All calls of a program that change files, in their order.

    :param log: where strace may write.
    :param data: what the program reads from its standard input.
    :param names: the calls of the kernel that are meant.
    """
    packages.ensure({"strace": "strace"}, "points at which a run is killed")
    done = _strace(command, ["-o", os.fspath(log), *tracing(names)], data)
    assert done.returncode == 0, done.stderr
    return read(log)


def tracing(names: Sequence[str]) -> list[str]:
    """The options of strace with which it writes what :func:`read` reads."""
    return ["-y", "-s", "0", "-e", f"trace={','.join(names)}"]


def read(log: Path) -> list[Point]:
    """The calls of one process in a log."""
    count: dict[str, int] = collections.Counter()
    found = []
    for match in _CALL.finditer(log.read_text(errors="replace")):
        call, text = match.groups()
        count[call] += 1
        found.append(Point(call, count[call], text))
    return found


def unsynced(found: Sequence[Point], *folders: str | Path) -> list[str]:
    """Where a loss of power could take what was written, or the name that it got.

    :param found: all calls of a run with those of ``CREATING``, as :func:`calls` gives them; only those below
        ``folders`` count.
    """
    files: set[str] = set()
    parents: set[str] = set()
    problems = []
    for point in found:
        if point.failed or not point.below(*folders):
            continue
        paths = point.paths()
        if point.call in _WRITING:
            files.update(paths)
        elif point.call in _SYNCING:
            files.difference_update(paths)
            parents.difference_update(paths)
        elif point.call.startswith("rename"):
            early = sorted(path for path in files | parents if f"{path}/".startswith(f"{paths[0]}/"))
            problems += [f"{path} was renamed before it was synced" for path in early]
            parents.update(map(os.path.dirname, paths))
        elif point.call in ("unlink", "rmdir"):
            files.difference_update(paths)
            parents.difference_update(paths)
        elif point.call in _NAMING and (point.call != CREATING or "O_EXCL" in point.text):
            parents.add(os.path.dirname(paths[-1]))
    return [*problems, *(f"{path} was written and not synced" for path in sorted(files)),
            *(f"{path} has new names and was not synced" for path in sorted(parents))]


def early_answers(found: Sequence[Point], *folders: str | Path) -> list[str]:
    """What a run told before the last call that changed a file; or that it told nothing.

    :param found: all calls of the run; it answers on its standard output.
    """
    last = max(number for number, point in enumerate(found) if point.call != CREATING and point.below(*folders))
    answers = [number for number, point in enumerate(found) if point.call == "write" and point.text.startswith("1<")]
    return [f"it answered before {found[last]}" for answer in answers if answer < last] if answers else ["no answer"]


def killed_at(command: Sequence[str], point: Point, data: str = "") -> subprocess.CompletedProcess[str]:
    """Run a program that is killed when it makes a call."""
    return _inject(command, point, "signal=KILL", data)


def failing_at(
    command: Sequence[str], point: Point, error: str, data: str = "", log: str | Path = os.devnull
) -> subprocess.CompletedProcess[str]:
    """Run a program to which the kernel answers one call with an error, like ``ENOSPC``.

    :param log: where strace writes the calls of that name; the one that failed is marked with ``INJECTED``.
    """
    return _inject(command, point, f"error={error}", data, log)


@contextlib.contextmanager
def stopped_at(command: Sequence[str], point: Point, log: Path, data: str = "") -> Iterator[int]:
    """Run a program that stands still right after it made a call, until the block ends; its pid.

    :param log: where strace may write.
    """
    log.unlink(missing_ok=True)
    options = ["-o", os.fspath(log), "-e", f"trace={point.call}",
               "-e", f"inject={point.call}:signal=STOP:when={point.number}"]
    with subprocess.Popen(["strace", *options, *command], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
                          stderr=subprocess.DEVNULL, text=True) as tracer:  # fmt: skip
        assert tracer.stdin is not None
        tracer.stdin.write(data)
        tracer.stdin.close()
        while not (log.exists() and "--- stopped by SIGSTOP" in log.read_text(errors="replace")):
            assert tracer.poll() is None, "it ended before it came to that call"
            time.sleep(0.001)
        pid = int(Path(f"/proc/{tracer.pid}/task/{tracer.pid}/children").read_text())
        try:
            yield pid
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


def _inject(
    command: Sequence[str], point: Point, what: str, data: str, log: str | Path = os.devnull
) -> subprocess.CompletedProcess[str]:
    return _strace(command, ["-o", os.fspath(log), "-e", f"trace={point.call}",
                             "-e", f"inject={point.call}:{what}:when={point.number}"], data)


def _strace(command: Sequence[str], options: Sequence[str], data: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["strace", *options, *command], input=data, capture_output=True, text=True, check=False,
                          timeout=60)


def bring(folder: Path) -> None:
    """Make a folder out of which strace also runs on a host that has no such package, nor the libraries it needs."""
    packages.ensure({"strace": "strace"}, "points at which a run is killed")
    program = shutil.which("strace")
    listed = subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout
    libraries = re.findall(r"(/\S+) \(0x", listed)
    folder.mkdir()
    for path in (program, *libraries):
        shutil.copy(path, folder)
    loader = next(os.path.basename(path) for path in libraries if "/ld-" in path)
    start = folder / "start"
    start.write_text('#!/bin/sh\nd=$(dirname "$(readlink -f "$0")")\n'
                     f'exec "$d/{loader}" --library-path "$d" "$d/strace" "$@"\n')
    start.chmod(0o755)
