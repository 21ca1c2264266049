# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads which ports of the host a Compose file publishes.

There is no YAML parser on hosts, so this knows the part of YAML that such files are written in: mappings and lists by
their indentation, lists and mappings in brackets, plain and quoted scalars, comments and blocks of text. Whatever
else there is, is passed over; nothing is raised.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from .. import units

MAXIMUM_TEXT = 4 * 1024 * 1024
_DEEPEST = 30
MOST_OF_A_RANGE = 256

_KEY = re.compile(r"""("[^"]{0,200}"|'[^']{0,200}'|[^\s"'#\[\]{},&*!|>%@`:-][^\s:]{0,200})[ ]*:(?:[ ]+|$)""")
_DASHES = re.compile(r"(?:-(?:[ ]+|$)){1,30}")
_BLOCK = re.compile(r"[|>][0-9+-]{0,2}[ ]*$")
_COMMENT = re.compile(r"""(?:^|(?<=[ \t]))#|"[^"]*"|'[^']*'""")
_TOKEN = re.compile(r"""[\[\]{},]|"[^"]*"|'[^']*'|[^\s,\[\]{}"'][^,\[\]{}"']*""")
_FLOW_KEY = re.compile(r"([A-Za-z_]{1,40})[ ]*:[ ]*")
_VARIABLE = re.compile(r"\$\{[A-Za-z_][A-Za-z0-9_]{0,200}(?::?-([^${}]{0,200}))?\}")
_RANGE = re.compile(r"([0-9]{1,5})(?:-([0-9]{1,5}))?")
_ADDRESS = re.compile(r"\[?[0-9A-Fa-f.:]*\]?")


class Published(NamedTuple):
    """A port of the host that a service publishes.

    ``target`` is the port in the container; ``line`` and ``column`` count from 1; ``text`` is what was written.
    """

    service: str
    port: int
    protocol: str
    target: int
    line: int
    column: int
    text: str


class Publication(NamedTuple):
    """What the short form of a port says: ``first`` to ``last`` of the host for ``target`` on."""

    first: int
    last: int
    target: int
    protocol: str


def published(text: str) -> list[Published]:
    """The ports of the host that the services of a Compose file publish, in the order of the file.

    A port without one of the host gets any free one, so it is left out; so is one whose variable has no default.

    :param text: what is behind the first 4 MiB is not read.
    """
    reader = _Reader()
    lines = text[:MAXIMUM_TEXT].split("\n")
    for number, line in enumerate(lines, start=1):
        reader.line(line.rstrip("\r"), number)
    reader.end()
    return reader.found


def short(written: str) -> Publication | None:
    """The short form of a port, ``[[IP:]HOST:]CONTAINER[/PROTOCOL]``; None when it names no port of the host."""
    text, _slash, protocol = _with_defaults(written).partition("/")
    rest, _colon, container = text.rpartition(":")
    address, _colon, host = rest.rpartition(":")
    targets, hosts = _bounds(container), _bounds(host)
    if not targets or not hosts or protocol not in ("", "tcp", "udp") or not _ADDRESS.fullmatch(address):
        return None
    # Of a range for one port any free one is taken.
    if hosts[1] - hosts[0] != targets[1] - targets[0]:
        return None
    return Publication(hosts[0], hosts[1], targets[0], protocol or "tcp")


def _with_defaults(text: str) -> str:
    """A text with the defaults of its variables, the innermost first; what has none stays."""
    for _level in range(5):
        replaced = _VARIABLE.sub(lambda match: match.group(0) if match.group(1) is None else match.group(1), text)
        if replaced == text:
            break
        text = replaced
    return text.strip()


def _bounds(text: str) -> tuple[int, int] | None:
    match = _RANGE.fullmatch(text)
    if not match:
        return None
    low, high = int(match.group(1)), int(match.group(2) or match.group(1))
    return (low, high) if 1 <= low <= high <= units.MAXIMUM_PORT else None


class _Scalar(NamedTuple):
    text: str
    line: int
    column: int


class _Reader:
    """Goes through the lines and knows below which keys each of them stands."""

    def __init__(self) -> None:
        self.found: list[Published] = []
        self._keys: list[tuple[int, str]] = []
        self._item: dict[str, _Scalar] = {}
        self._block: int | None = None
        # Of values in brackets: how deep they are open, whether inside { }, and the key that waits for its value.
        self._open = 0
        self._braces = False
        self._waiting = ""

    def line(self, line: str, number: int) -> None:
        """Read one line, without its end."""
        content = _without_comment(line).rstrip(" ")
        text = content.lstrip(" ")
        indent = len(content) - len(text)
        if not text or text.startswith("\t") or (self._block is not None and indent > self._block):
            return
        self._block = None
        if self._open and not (indent <= self._keys[-1][0] and _KEY.match(text)):
            self._brackets(content, indent, number)
            return
        self._open = 0
        self._statement(text, indent, number)

    def end(self) -> None:
        """The long form of a port is complete when the next thing begins."""
        item, self._item = self._item, {}
        if "published" not in item:
            return
        host = item["published"]
        target = item["target"].text if "target" in item else host.text
        protocol = item["protocol"].text if "protocol" in item else ""
        self._add(host._replace(text=f"{host.text}:{target}/{protocol or 'tcp'}"), host.text)

    def _statement(self, text: str, indent: int, number: int) -> None:
        dash = _DASHES.match(text)
        # A list may stand as far left as the key that it belongs to.
        left = indent + 1 if dash else indent
        if dash or (self._keys and self._keys[-1][0] >= left):
            self.end()
        while self._keys and self._keys[-1][0] >= left:
            self._keys.pop()
        outer = indent
        if dash:
            text, indent = text[dash.end() :], indent + dash.end()
        key = _KEY.match(text)
        value, start = (text[key.end() :], indent + key.end()) if key else (text, indent)
        if _BLOCK.match(value):
            self._block = outer
        elif key and self._in_ports():
            self._set(key.group(1).strip("\"'"), _scalar(value, number, start))
        elif key and len(self._keys) < _DEEPEST:
            self._keys.append((indent, key.group(1).strip("\"'")))
        if value and not (key and self._item) and self._in_ports():
            self._value(value, start, number)

    def _in_ports(self) -> bool:
        return len(self._keys) == 3 and self._keys[0][1] == "services" and self._keys[2][1] == "ports"

    def _set(self, key: str, scalar: _Scalar) -> None:
        if scalar.text:
            self._item[key] = scalar

    def _value(self, text: str, start: int, number: int) -> None:
        """What stands where ports do: a port in its short form, or ports in brackets."""
        if text.startswith(("[", "{")):
            self._brackets(" " * start + text, start, number)
        else:
            scalar = _scalar(text, number, start)
            self._add(scalar, scalar.text)

    def _brackets(self, content: str, start: int, number: int) -> None:
        """Read one line of values in brackets."""
        for token in _TOKEN.finditer(content, start):
            text = token.group().rstrip(" ")
            if text in ("[", "{"):
                self._open += 1
                self._braces = text == "{"
            elif text in ("]", "}"):
                self._open -= 1
                self.end()
            if text in _MARKS:
                self._braces = self._braces and text != "}"
                self._waiting = ""
            elif self._braces:
                self._pair(text, number, token.start())
            else:
                scalar = _scalar(text, number, token.start())
                self._add(scalar, scalar.text)
            if self._open <= 0:
                self._open = 0
                return

    def _pair(self, text: str, number: int, start: int) -> None:
        """Some of ``key: value`` inside { }; with quotes its parts come one by one."""
        key = _FLOW_KEY.match(text)
        if self._waiting:
            value = text.lstrip(": ")
            if value:
                self._set(self._waiting, _scalar(value, number, start + len(text) - len(value)))
                self._waiting = ""
        elif key:
            self._waiting = key.group(1)
            self._pair(text[key.end() :], number, start + key.end())
        else:
            self._waiting = text.strip("\"'")

    def _add(self, scalar: _Scalar, text: str) -> None:
        what = short(scalar.text)
        if not what:
            return
        service = self._keys[1][1]
        for offset in range(min(what.last - what.first + 1, MOST_OF_A_RANGE)):
            port, target = what.first + offset, what.target + offset
            self.found.append(Published(service, port, what.protocol, target, scalar.line, scalar.column, text))


_MARKS = ("[", "]", "{", "}", ",")


def _scalar(text: str, line: int, start: int) -> _Scalar:
    """A scalar without its quotes; the column is that of its first character."""
    bare = text.strip(" ")
    if len(bare) > 1 and bare[0] == bare[-1] and bare[0] in "\"'":
        return _Scalar(bare[1:-1], line, start + 2)
    return _Scalar(bare, line, start + 1)


def _without_comment(line: str) -> str:
    for found in _COMMENT.finditer(line):
        if found.group() == "#":
            return line[: found.start()]
    return line
