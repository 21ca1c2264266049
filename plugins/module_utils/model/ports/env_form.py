# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Port registries as variables for shells, and as the original's ``ports.env``.

Names of variables cannot say whose port it is, so a comment above each does::

    # port: acme/dev/api
    ACME_DEV_API_PORT=4000

A variable without such a comment is a plain name: ``API_PORT`` is ``api``. Lines are read, never run.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from ..errors import ERROR, WARNING
from . import file as ports_file
from . import registry
from .entries import ALLOCATION, PORTS, RANGES, RESERVED, Entry, Plain, Remarks, wrong_identity

_WORDS = {PORTS: "port", RANGES: "range", RESERVED: "reserved", ALLOCATION: "allocation"}
_SECTIONS = {word: section for section, word in _WORDS.items()}
_PREFIXES = {PORTS: "", RANGES: "PORT_RANGE_", RESERVED: "PORT_RESERVED_", ALLOCATION: "PORT_ALLOCATION_"}
_HEAD = """\
# The port registry as variables. The comment above a variable says what it stands for, for the way back.
"""
_MARK = re.compile(r'[ \t]*#[ \t]*(port|range|reserved|allocation):[ \t]+("(?:[^"\\]|\\.)*"|\S+)([ \t]+udp)?[ \t]*')
MARKS = re.compile(rf"^{_MARK.pattern}\r?$", re.MULTILINE)
"""The comments that say what variables stand for."""

_ASSIGNMENT = re.compile(r"([ \t]*)(export[ \t]+)?([A-Za-z0-9_-]+)=")
_VALUE = re.compile(r"""'([^']*)'|"([^"$`\\]*)"|([^\s'"$`;&|<>(){}\\!*?~\[\]]*)""")
_REST = re.compile(r"[ \t]*(?:#.*)?")
_SHELL = re.compile(r"[$`;&|<>(){}\\!*?~\[\]]")
_PORT = re.compile(r"[0-9]{1,5}(?:/(?:tcp|udp))?")
_UPPER = re.compile(r"[A-Z_][A-Z0-9_]*")


def write(entries: Sequence[Entry]) -> str:
    """Statements as variables that a shell can source, each with the comment that leads back."""
    lines = []
    for entry, variable in zip(entries, _variables(entries)):
        value, protocol = _shell_value(entry.value)
        lines.append(f"# {_WORDS[entry.section]}: {_identity(entry)}{protocol}\n{variable}={value}\n")
    return _HEAD + "".join(lines)


def _identity(entry: Entry) -> str:
    if entry.owner:
        return f"{entry.owner}/{entry.name}"
    # What could be taken for something else, or ends the line, stands in quotes.
    return entry.name if ports_file.BARE.match(entry.name) else json.dumps(entry.name)


def _shell_value(value: Plain) -> tuple[str, str]:
    """A value as a shell takes it, and what the comment adds for UDP."""
    if isinstance(value, bool):
        return str(value).lower(), ""
    if isinstance(value, list):
        return f'"{" ".join(map(str, value))}"', ""
    text = str(value)
    if text.endswith(f"/{registry.UDP}"):
        return text.partition("/")[0], f" {registry.UDP}"
    return (text if isinstance(value, (int, float)) else f'"{text}"'), ""


def _variables(entries: Iterable[Entry]) -> Iterator[str]:
    """The variable of each entry: no two alike, the same for the same entries."""
    used: set[str] = set()
    numbers: dict[str, int] = {}
    for entry in entries:
        suffix = "_PORT" if entry.section == PORTS else ""
        identity = f"{entry.owner}/{entry.name}" if entry.owner else entry.name
        stem = _PREFIXES[entry.section] + re.sub(r"[^A-Z0-9_]", "_", identity.upper()) + suffix
        base = stem if not stem[:1].isdigit() else f"_{stem}"
        variable = base
        while variable in used:
            numbers[base] = numbers.get(base, 1) + 1
            variable = f"{base}_{numbers[base]}"
        used.add(variable)
        yield variable


def write_plain(entries: Sequence[Entry]) -> str:
    """The original's ``ports.env``: a line ``name=port`` for each plain name, and how much that leaves out."""
    written = [entry for entry in entries if _is_plain(entry)]
    counts = {
        "ports of environments": sum(bool(entry.owner) for entry in entries),
        "names": sum(entry.section == PORTS and not entry.owner for entry in entries) - len(written),
        "ranges": sum(entry.section == RANGES for entry in entries),
        "reserved categories": sum(entry.section == RESERVED for entry in entries),
        "settings": sum(entry.section == ALLOCATION for entry in entries),
    }
    left_out = ", ".join(f"{count} {what}" for what, count in counts.items() if count)
    head = f"# Left out, for this form has plain names only: {left_out}\n" if left_out else ""
    return head + "".join(f"{entry.name}={entry.value}\n" for entry in written)


def _is_plain(entry: Entry) -> bool:
    return entry.section == PORTS and not entry.owner and bool(ports_file.BARE.match(entry.name))


def read(text: str, remarks: Remarks, as_written: bool) -> list[Entry]:
    """The statements in lines like ``API_PORT=4000``, ``export API=4000`` and ``api=4000``.

    :param remarks: gets one finding for each line that says something else, with its place; nothing is raised.
    :param as_written: whether variables are names as they are, as in the original's ``ports.env``.
    """
    reader = _Lines(remarks, as_written)
    for number, line in enumerate(text.split("\n"), start=1):
        if remarks.full:
            break
        reader.line(line[:-1] if line.endswith("\r") else line, number)
    reader.end()
    return reader.entries


class _Meaning(NamedTuple):
    section: str
    owner: str
    name: str
    protocol: str


class _Lines:
    """Goes through the lines of a file of variables."""

    def __init__(self, remarks: Remarks, as_written: bool) -> None:
        self.entries: list[Entry] = []
        self._remarks = remarks
        self._as_written = as_written
        self._mark: re.Match[str] | None = None
        self._mark_line = 0

    def line(self, line: str, number: int) -> None:
        """Read one line, without its end."""
        assignment = _ASSIGNMENT.match(line)
        if assignment:
            self._assignment(line, number, assignment)
            self._mark = None
            return
        self.end()
        if line.lstrip().startswith("#"):
            self._mark, self._mark_line = _MARK.fullmatch(line), number
        elif line.strip():
            self._remark_on_shell(line, number, len(line) - len(line.lstrip()))

    def end(self) -> None:
        """A comment that no variable follows is about nothing."""
        if self._mark:
            message = f"no variable follows the comment that names {self._mark.group(2)}"
            hint = "put it right above its variable, or remove it"
            self._remarks.add(WARNING, "stray-comment", message, (self._mark_line, 1), hint)
        self._mark = None

    def _assignment(self, line: str, number: int, assignment: re.Match[str]) -> None:
        start = assignment.end()
        value = _VALUE.match(line, start)
        end = value.end() if value else start
        if value is None or line.startswith("#", end) or not _REST.fullmatch(line, end):
            self._remark_on_shell(line, number, end)
            return
        meaning = self._meaning(assignment.group(3))
        written = (value.group(1) or value.group(2) or value.group(3) or "").strip()
        if meaning and meaning.section == PORTS and written and not _PORT.fullmatch(written):
            # Whatever else stands there may be a secret, so it is not shown.
            message = f"the value of {assignment.group(3)} is no port"
            hint = "write a number from 1 to 65535; only ports belong into this file"
            self._remarks.add(ERROR, "not-a-port", message, (number, start + 1), hint)
        elif meaning:
            value_meant = _value(meaning, written)
            self.entries.append(Entry(meaning.section, meaning.owner, meaning.name, value_meant, number, start + 1))

    def _meaning(self, variable: str) -> _Meaning | None:
        """What a variable stands for: what its comment says, else a plain name; None when the comment is wrong."""
        if not self._mark:
            return _Meaning(PORTS, "", variable if self._as_written else plain_name(variable), "")
        word, written, udp = self._mark.groups()
        section = _SECTIONS[word]
        owner, name = "", written
        if written.startswith('"'):
            name = _unquoted(written)
        elif section == PORTS:
            owner, name = registry.split_identity(written)
        wrong = wrong_identity(owner, name) if section == PORTS else None
        if wrong:
            message = f"{written} in the comment above {variable} names nothing that has a port"
            self._remarks.add(ERROR, "not-an-identity", message, (self._mark_line, self._mark.start(2) + 1), wrong)
            return None
        return _Meaning(section, owner, name, registry.UDP if udp else "")

    def _remark_on_shell(self, line: str, number: int, start: int) -> None:
        shell = _SHELL.search(line, start)
        if shell:
            message = f"{shell.group()!r} is for a shell, which this file does not get"
            hint = "lines are read, never run; write the number itself"
            self._remarks.add(ERROR, "shell", message, (number, shell.start() + 1), hint)
            return
        hint = "write one variable a line, without blanks at the ="
        self._remarks.add(ERROR, "syntax", "this line is not NAME=PORT", (number, start + 1), hint)


def plain_name(variable: str) -> str:
    """The plain name that a variable stands for: ``api`` for ``API_PORT`` and ``API``, ``my_api`` for itself."""
    if not _UPPER.fullmatch(variable):
        return variable
    stem = variable[: -len("_PORT")] if variable.endswith("_PORT") else variable
    return stem.lower().replace("_", "-").strip("-") or variable.lower()


def _unquoted(written: str) -> str:
    """The text in quotes; nothing when they are not closed."""
    try:
        return str(json.loads(written))
    except ValueError:
        return ""


def _value(meaning: _Meaning, written: str) -> Plain:
    if meaning.section != PORTS or not written:
        return written
    number, _slash, protocol = written.partition("/")
    return registry.value_of(int(number), meaning.protocol or protocol)
