# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Port registries as JSON, read with the place of each entry."""

from __future__ import annotations

import bisect
import json
import re
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from ..errors import ERROR
from . import registry
from .entries import ALLOCATION, PORTS, RANGES, RESERVED, Entry, Plain, Remarks, wrong_identity

VERSION = 1

_SECTIONS = {"ranges": RANGES, "reserved": RESERVED, "allocation": ALLOCATION}
_KEYS = ("version", "names", "owned", *_SECTIONS)
_BLANK = re.compile(r"[ \t\r\n]*")
_PORT = re.compile(r"[0-9]{1,5}(?:/(?:tcp|udp))?")
_WRITE_PORT = 'write a number from 1 to 65535, or "5353/udp"'


def write(entries: Sequence[Entry]) -> str:
    """Statements as one JSON document, its keys sorted, two blanks to each level."""
    record: dict[str, Any] = {"version": VERSION, "names": {}, "owned": {}, "ranges": {}, "reserved": {}}
    sections = {section: key for key, section in _SECTIONS.items()}
    for entry in entries:
        if entry.owner:
            record["owned"].setdefault(entry.owner, {})[entry.name] = entry.value
        else:
            record.setdefault(sections.get(entry.section, "names"), {})[entry.name] = entry.value
    return json.dumps(record, sort_keys=True, indent=2) + "\n"


def read(text: str, remarks: Remarks) -> list[Entry]:
    """The statements in such a document.

    :param remarks: gets one finding for each entry that is not valid, and one where the text is no JSON.
    """
    reader = _Document(text, remarks)
    try:
        return reader.entries()
    except _NotJsonError as error:
        remarks.add(ERROR, "syntax", error.message, reader.place(error.offset), "export writes the form that is read")
    except RecursionError:
        remarks.add(ERROR, "syntax", "values are nested too deeply", (1, 1), "export writes the form that is read")
    return []


class _NotJsonError(Exception):
    def __init__(self, offset: int, message: str) -> None:
        super().__init__(message)
        self.offset, self.message = offset, message


class _Member(NamedTuple):
    """A key and where its value stands."""

    key: str
    offset: int


class _Document:
    """Goes through the objects of a document; what is no object of ours is read by :mod:`json`."""

    def __init__(self, text: str, remarks: Remarks) -> None:
        self._text = text
        self._remarks = remarks
        self._decoder = json.JSONDecoder()
        self._lines = [0, *(match.end() for match in re.finditer("\n", text))]
        self._end = 0

    def place(self, offset: int) -> tuple[int, int]:
        """Line and column of an offset, from 1."""
        line = bisect.bisect_right(self._lines, offset)
        return line, offset - self._lines[line - 1] + 1

    def entries(self) -> list[Entry]:
        """Every valid entry."""
        found: list[Entry] = []
        for member in self._members(self._skip(0)):
            if member.key == "version":
                self._version(member)
            elif member.key == "names":
                found += self._ports("", member.offset)
            elif member.key == "owned":
                for owner in self._members(member.offset):
                    found += self._ports(owner.key, owner.offset)
            elif member.key in _SECTIONS:
                found += self._section(member)
            else:
                self._value(member.offset)
                message = f"a registry has no {member.key!r}"
                self._remark("unknown-key", message, member.offset, f"keys are {', '.join(_KEYS)}")
        if self._skip(self._end) < len(self._text):
            raise _NotJsonError(self._skip(self._end), "there is more text behind the document")
        return found

    def _remark(self, code: str, message: str, offset: int, hint: str) -> None:
        self._remarks.add(ERROR, code, message, self.place(offset), hint)

    def _version(self, member: _Member) -> None:
        version = self._value(member.offset)
        if version != VERSION or isinstance(version, bool):
            hint = "export it again with this version"
            self._remark("unknown-version", f"only version {VERSION} can be read", member.offset, hint)

    def _ports(self, owner: str, offset: int) -> Iterator[Entry]:
        for member in self._members(offset):
            value = self._value(member.offset)
            identity = f"{owner}/{member.key}" if owner else member.key
            wrong = wrong_identity(owner, member.key)
            if wrong:
                self._remark("not-an-identity", f"{identity!r} names nothing that has a port", member.offset, wrong)
                continue
            port = _port(value)
            if port is None:
                self._remark("not-a-port", f"the value of {identity} is no port", member.offset, _WRITE_PORT)
            else:
                yield Entry(PORTS, owner, member.key, port, *self.place(member.offset))

    def _section(self, section: _Member) -> Iterator[Entry]:
        for member in self._members(section.offset):
            value = self._value(member.offset)
            if isinstance(value, (str, bool, int, float)) or _is_numbers(value):
                yield Entry(_SECTIONS[section.key], "", member.key, value, *self.place(member.offset))
            else:
                message = f"{section.key} {member.key}: this cannot be its value"
                self._remark("not-a-value", message, member.offset, 'write "4000-4999" for a range, [22, 80] for ports')

    def _members(self, offset: int) -> Iterator[_Member]:
        """The members of the object at an offset; whoever asks for the next one has read the value of this one."""
        if not self._text.startswith("{", offset):
            raise _NotJsonError(offset, "here an object has to stand: { ... }")
        position = self._skip(offset + 1)
        if self._text.startswith("}", position):
            self._end = position + 1
            return
        while True:
            if not self._text.startswith('"', position):
                raise _NotJsonError(position, "here a name in double quotes has to stand")
            key = str(self._value(position))
            colon = self._skip(self._end)
            if not self._text.startswith(":", colon):
                raise _NotJsonError(colon, "here a colon has to stand")
            yield _Member(key, self._skip(colon + 1))
            position = self._skip(self._end)
            if self._text.startswith("}", position) or self._remarks.full:
                self._end = position + 1
                return
            if not self._text.startswith(",", position):
                raise _NotJsonError(position, "here a comma or a closing brace has to stand")
            position = self._skip(position + 1)

    def _value(self, offset: int) -> Any:
        """The value at an offset; reading goes on behind it."""
        try:
            value, self._end = self._decoder.raw_decode(self._text, offset)
        except json.JSONDecodeError as error:
            raise _NotJsonError(min(error.pos, len(self._text)), f"this is no JSON: {error.msg}") from error
        except ValueError as error:
            raise _NotJsonError(offset, "a number is too long") from error
        return value

    def _skip(self, offset: int) -> int:
        match = _BLANK.match(self._text, offset)
        return match.end() if match else offset


def _port(value: object) -> Plain | None:
    """The port that a value is, as :mod:`entries` has it; the reader of ``ports.toml`` checks how large it is."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value if abs(value) < 10**9 else None
    if isinstance(value, str) and _PORT.fullmatch(value):
        number, _slash, protocol = value.partition("/")
        return registry.value_of(int(number), protocol)
    return None


def _is_numbers(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(one, int) and not isinstance(one, bool) for one in value)
