# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The launcher: what the supervisor starts, and what then becomes the service.

It takes everything from one file that only root, or the user of the service, can read, so a secret is in no list of
processes and in no file of a supervisor. Every restart reads the file again.

A host starts many services at once, and each of them waits for this: so it imports little, and nothing of ours.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import time

CANNOT_START = 126
GIVEN_UP = 120
"""The exit code after which a supervisor must leave a service alone."""
FRUITFUL = 10.0
"""A service that lived for fewer seconds was started in vain."""

_UNTOUCHABLE = (signal.SIGKILL, signal.SIGSTOP)


class _CannotStartError(Exception):
    """Why a service is not started."""


def main(path: str | None) -> int:
    """Become the service of a launch file.

    The file is JSON with ``argv``, ``cwd``, ``environment``, ``pre_commands`` (a list of argument vectors) and
    ``max_restarts``; programs are looked for in the PATH of ``environment``.

    :param path: the file; None takes what comes on standard input, which the supervisor opened.
    :returns: :data:`CANNOT_START` or :data:`GIVEN_UP`, and says why on standard error; when all goes well, this does
        not return.
    """
    name = os.path.basename(path or "the service")
    try:
        record = _load(path) if path else _receive()
        if not _may_start(record["max_restarts"], os.environ.get("RUNTIME_DIRECTORY")):
            print(f"tsm: given up; it ended, and was restarted {record['max_restarts']} times in vain", file=sys.stderr)
            return GIVEN_UP
        _launch(record)
    except _CannotStartError as error:
        print(f"tsm: {name[:-5] if name.endswith('.json') else name} is not started: {error}", file=sys.stderr)
        return CANNOT_START


def _load(path: str) -> dict:
    try:
        with open(path, "rb") as file:
            record = json.load(file)
    except (OSError, ValueError) as error:
        raise _CannotStartError(f"its launch file {path} cannot be read: {error}") from error
    if not isinstance(record, dict):
        raise _CannotStartError(f"its launch file {path} cannot be read: it holds no record")
    return record


def _receive() -> dict:
    """Read standard input to its end, and leave nothing there for the service."""
    try:
        record = json.loads(sys.stdin.buffer.read())
    except ValueError as error:
        raise _CannotStartError(f"what came on standard input is no launch file: {error}") from error
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    return record


def _may_start(limit: int, folder: str | None) -> bool:
    """Count a start that follows too soon on the one before; whether it is within the limit.

    :param folder: where a supervisor that does not count such starts itself keeps a folder over restarts, and no
        longer; None where it does.
    """
    if not folder:
        return True
    path = os.path.join(folder, "starts")
    row, now = 0, time.monotonic()
    with contextlib.suppress(OSError, ValueError), open(path, encoding="ascii") as file:
        before, last = file.read().split()
        row = int(before) + 1 if now - float(last) < FRUITFUL else 1
    with open(f"{path}.new", "w", encoding="ascii") as file:
        file.write(f"{row} {now}\n")
    os.replace(f"{path}.new", path)
    return row <= limit


def _launch(record: dict) -> None:
    cwd, environment, argv = record["cwd"], record["environment"], record["argv"]
    try:
        os.chdir(cwd)
    except OSError as error:
        raise _CannotStartError(f"its working directory {cwd}: {error.strerror}") from error
    for command in record["pre_commands"]:
        _run_before(command, environment)
    sys.stdout.flush()
    sys.stderr.flush()
    _forget_the_supervisor()
    try:
        os.execvpe(argv[0], argv, environment)
    except OSError as error:
        raise _CannotStartError(f"its command {argv[0]}: {error.strerror}") from error


def _run_before(command: list[str], environment: dict[str, str]) -> None:
    """Run a command to its end; its output goes where that of the service goes. Arguments are not shown."""
    import subprocess

    try:
        code = subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, check=False).returncode
    except OSError as error:
        raise _CannotStartError(f"the command before it, {command[0]}: {error.strerror}") from error
    if code:
        raise _CannotStartError(f"the command before it, {command[0]}, ended with exit code {code}")


def _forget_the_supervisor() -> None:
    """Leave nothing of this process to the service but its three standard files: no signal setting, no descriptor."""
    for number in signal.valid_signals():
        if number not in _UNTOUCHABLE:
            with contextlib.suppress(OSError):
                signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    for name in os.listdir("/proc/self/fd"):
        if int(name) > 2:
            with contextlib.suppress(OSError):
                os.close(int(name))
