# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a service is started: a shell script that becomes the service.

A host starts many services at once, and a shell is up in a fraction of the time that Python takes. The script is given
to ``sh -s`` as its standard input, which whoever starts it has opened, so that the user of a service needs no right to
read it, and nothing of it is in a list of processes. Each restart reads it again.

Every value is quoted so that it means itself. The whole is one compound command: a shell reads it to its end before
it does any of it, and then nobody needs the standard input that it came from any more.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from . import values
from .errors import REFUSED, TetraError

CANNOT_START = 126
"""The exit code of a service that was not started; why is on standard error."""
GIVEN_UP = 120
"""The exit code after which a supervisor must leave a service alone."""
FRUITFUL = 10
"""A service that lived for fewer seconds was started in vain."""

_KEPT = frozenset({
    "_", "DIRSTACK", "EPOCHREALTIME", "EPOCHSECONDS", "EUID", "FUNCNAME", "GROUPS", "HISTCMD", "LINENO", "OPTIND",
    "PIPESTATUS", "PPID", "RANDOM", "SECONDS", "SHELLOPTS", "SHLVL", "SRANDOM", "UID",
})  # fmt: skip


def text(record: Mapping[str, Any], starts: str = "") -> str:
    """The script of a service.

    :param record: ``service`` (its name), ``argv``, ``cwd``, ``environment``, ``pre_commands`` (a list of argument
        vectors) and ``max_restarts``; programs are looked for in the PATH of ``environment``.
    :param starts: a file in which starts in vain are counted, in a folder that is there until the service is stopped;
        empty where the supervisor counts them.
    :raises TetraError: for a variable that no shell can set.
    """
    lines = [
        "{",
        "exec < /dev/null",
        f"fail() {{ printf '%s\\n' {shlex.quote('tsm: ' + record['service'] + ' is not started: ')}\"$1\" >&2; "
        f"exit {CANNOT_START}; }}",
        *(_count(starts, record["max_restarts"]) if starts else []),
        _enter(record["cwd"]),
        # These are the shell's own.
        "unset OLDPWD PWD SHLVL",
        *(_export(name, value) for name, value in sorted(record["environment"].items())),
        *(line for command in record["pre_commands"] for line in _run_before(command)),
        _find(record["argv"][0], "its command"),
        f"exec {shlex.join(record['argv'])}",
        "}",
    ]
    return "\n".join(lines) + "\n"


def is_launching(arguments: Sequence[str]) -> bool:
    """Whether a process with this command line is still the shell that runs what comes before the service."""
    return len(arguments) == 2 and arguments[0] in ("sh", "/bin/sh") and arguments[1] == "-s"


def is_kept(variable: str) -> bool:
    """Whether a shell (bash, where that is ``sh``) keeps a variable for itself, so that no service can be given it."""
    return variable in _KEPT or variable.startswith("BASH")


def _count(starts: str, limit: int) -> list[str]:
    """Count a start that follows too soon on the one before, and give up when there were too many of them."""
    file = shlex.quote(starts)
    message = shlex.quote(f"tsm: given up; it ended, and was restarted {limit} times in vain")
    return [
        "read -r now rest < /proc/uptime",
        "now=${now%.*} row=0",
        f"if {{ read -r before last < {file}; }} 2> /dev/null; then",
        f'if [ "$((now - last))" -lt {FRUITFUL} ]; then row=$((before + 1)); else row=1; fi',
        "fi",
        f'echo "$row $now" > {file}',
        f'if [ "$row" -gt {limit} ]; then echo {message} >&2; exit {GIVEN_UP}; fi',
    ]


def _enter(folder: str) -> str:
    return f"cd {shlex.quote(folder)} 2> /dev/null || {_fail(f'its working directory {folder} cannot be entered')}"


def _export(name: str, value: str) -> str:
    if not values.VARIABLE.fullmatch(name) or is_kept(name):
        raise TetraError(f"no shell can give a service the variable {name!r}", hint="use another name", code=REFUSED)
    return f"export {name}={shlex.quote(value)}"


def _run_before(command: Sequence[str]) -> list[str]:
    """Run a command to its end, as a process of its own even where the shell has a command of that name."""
    failed = f"the command before it, {command[0]}, ended with exit code "
    found = _find(command[0], "the command before it")
    return [found, f'( exec {shlex.join(command)} ) || fail {shlex.quote(failed)}"$?"']


def _find(program: str, role: str) -> str:
    """That a program is not there is told like everything else, and not in the words of the shell."""
    found = f"command -v {shlex.quote(program)} > /dev/null 2>&1"
    return f"{found} || {_fail(f'{role}, {program}: there is no such program')}"


def _fail(reason: str) -> str:
    return f"fail {shlex.quote(reason)}"
