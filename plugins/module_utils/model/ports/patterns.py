# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Recognises ports in commands and in the values of variables.

Of addresses those count that mean this host; a port of another machine is used there, not needed here. Every pattern
takes time that grows with the text alone, whatever the text is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from .. import units, values
from . import compose, registry

# A number that can be a port, also as the default of a variable; no part of a version, a time, a date or a word.
_DIGITS = r"(?:\$\{[A-Za-z_]\w*:?-)?([1-9][0-9]{1,4})"
_NUMBER = rf"{_DIGITS}(?![\w%@]|[.:/-][\w:])"
_LOCAL = r"(?:localhost|127\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}|0\.0\.0\.0|\[::1?\]|\*)"
_NOWHERE = r"""(?:^|(?<=[\s=])|(?<=[\s=(]["']))"""
_PLACE = re.compile(rf"(?:(?<![\w.:\]-]){_LOCAL}|{_NOWHERE}):{_DIGITS}(?![\w%@]|[.:-][\w:])", re.ASCII)
_OPTION = re.compile(
    rf"""(?<![^\s'"=(,\[])--(?:[a-z][a-z0-9-]{{0,40}}-)?port(?:=|["']?,?[ \t]+)["']?{_NUMBER}""", re.ASCII
)
_SHORT_OPTION = re.compile(rf"""(?<![^\s'"(,\[])-p["']?,?[ \t]+["']?{_NUMBER}""", re.ASCII)
_PUBLISH = re.compile(r"""(?<!\S)(?:-p|--publish)(?:[ \t]+|=)["']?([0-9A-Za-z.:\[\]/${}_-]{3,100})""", re.ASCII)
_VARIABLE = re.compile(rf"""(?<![\w$.-])([A-Za-z_]\w{{0,100}})=["']?{_NUMBER}""", re.ASCII)
_FIXED = re.compile(r"(?:\$\{[A-Za-z_]\w*:?-)?([0-9]{1,5})\}?", re.ASCII)

_COMMENT = re.compile(r"(?:^|(?<=\s))#.*")
_SEGMENT = re.compile(r"[^;&|]+")
_WORD = re.compile(r"\S+")
# What stands before the program of a command.
_BEFORE = re.compile(r"(?:[A-Za-z_]\w*=.*|sudo|exec|env|nohup|time|then|do|else|if|command|[({!])", re.ASCII)
_WORDS_BEFORE = 20
_CONTAINERS = frozenset({"docker", "podman", "nerdctl"})
# Programs that mean something else with -p, or name a port of somebody else.
_CLIENTS = frozenset({
    "cp", "createdb", "dropdb", "gdb", "git", "htop", "install", "kill", "lsof", "mkdir", "mongo", "mongosh", "mosh",
    "mysql", "mysqladmin", "mysqldump", "nc", "ncat", "netcat", "nmap", "patch", "perf", "perl", "pg_dump",
    "pg_isready", "pg_restore", "pgrep", "ps", "psql", "read", "redis-cli", "renice", "rm", "rsync", "scp", "sftp",
    "ssh", "ssh-copy-id", "ssh-keyscan", "sshpass", "strace", "tar", "taskset", "telnet", "top", "touch", "unzip",
    "useradd",
})  # fmt: skip


class Found(NamedTuple):
    """A port in a text: where it is named (an offset), the piece that names it, and the variable where one holds it."""

    offset: int
    port: int
    protocol: str
    piece: str
    variable: str = ""


def fixed(text: str) -> int | None:
    """The port that a value is, ``4000`` or ``${NAME:-4000}``; None for any other value."""
    match = _FIXED.fullmatch(text.strip().strip("\"'"))
    return _port(match.group(1)) if match else None


def _port(digits: str) -> int | None:
    number = int(digits)
    return number if 1 <= number <= units.MAXIMUM_PORT else None


def is_variable(name: str) -> bool:
    """Whether a variable is called as one that holds a port: ``PORT``, ``API_PORT``, ``PORT_API``."""
    upper = name.upper()
    return upper == "PORT" or upper.endswith("_PORT") or values.is_port_variable(upper)


def is_this_host(host: str) -> bool:
    """Whether the value of a variable like ``DB_HOST`` may mean this host; what cannot be known may."""
    bare = host.strip("\"' ")
    return not bare or "$" in bare or re.fullmatch(rf"{_LOCAL}|::1?", bare) is not None


def addresses(text: str, offset: int) -> Iterator[Found]:
    """The ports that stand behind an address of this host, or behind none: ``localhost:4000``, ``:4000``.

    :param text: one line, or the end of it; what is behind a ``#`` there is a comment.
    :param offset: where the text begins in what it was taken from.
    """
    yield from _matches(_PLACE, _COMMENT.sub("", text), offset)


def commands(text: str, offset: int) -> Iterator[Found]:
    """The ports in lines of commands, in the order of the lines."""
    program = ""
    for line in text.split("\n"):
        code = _COMMENT.sub("", line)
        for segment in _SEGMENT.finditer(code):
            program = program or _program(segment.group())
            yield from _in_command(segment.group(), offset + segment.start(), program)
            program = program if segment.end() == len(code) and code.endswith("\\") else ""
        offset += len(line) + 1


def _program(segment: str) -> str:
    """The name of the program that a command runs."""
    for _count, word in zip(range(_WORDS_BEFORE), _WORD.finditer(segment[:1000])):
        bare = word.group().strip("\"'")
        if not _BEFORE.fullmatch(bare):
            return bare.rpartition("/")[2]
    return ""


def _in_command(text: str, offset: int, program: str) -> Iterator[Found]:
    for match in _VARIABLE.finditer(text):
        if is_variable(match.group(1)):
            yield from _found(match, 2, offset, match.group(1))
    yield from _matches(_PLACE, text, offset)
    if program in _CONTAINERS:
        yield from _published(text, offset)
    elif program not in _CLIENTS:
        yield from _matches(_OPTION, text, offset)
        yield from _matches(_SHORT_OPTION, text, offset)


def _matches(pattern: re.Pattern[str], text: str, offset: int) -> Iterator[Found]:
    for match in pattern.finditer(text):
        yield from _found(match, 1, offset)


def _found(match: re.Match[str], group: int, offset: int, variable: str = "") -> Iterator[Found]:
    port = _port(match.group(group))
    if port is not None:
        yield Found(offset + match.start(), port, registry.TCP, match.group(), variable)


def _published(text: str, offset: int) -> Iterator[Found]:
    for match in _PUBLISH.finditer(text):
        what = compose.short(match.group(1))
        if what:
            for port in range(what.first, min(what.last, what.first + compose.MOST_OF_A_RANGE - 1) + 1):
                yield Found(offset + match.start(), port, what.protocol, match.group())
