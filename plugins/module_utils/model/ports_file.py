# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The port registry file (``ports.toml``): read leniently, reported strictly, edited without losing a line of it.

The file belongs to its users: comments, order, blank lines and even the absence of a last newline stay as they are.
After an edit the text is read again and must mean exactly what was asked for.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping

from . import units
from .errors import ERROR, WARNING, Finding, TetraError

FORMAT = "1"
_HEADER = f'# Who owns which port on this host. Edited by tetra; your own lines and comments are kept.\n\n[metadata]\nversion = "{FORMAT}"\n'
_TABLES = ("metadata", "ports", "port_ranges", "reserved", "allocation", "conflicts")
_PAIR = re.compile(r"""^(?P<lead>\s*(?P<key>[A-Za-z0-9_-]+|"[^"\n]*"|'[^'\n]*')\s*=\s*)""")
_TABLE = re.compile(r"^\s*\[(?P<name>[^\[\]\n]+)\]\s*(?:#.*)?$")
_SCALAR = re.compile(r"""^("(?:[^"\\\n]|\\.)*"|'[^'\n]*'|[^#\s,\]]+)""")


@dataclasses.dataclass(frozen=True)
class Row:
    """One ``key = value`` of the file: where it stands, and what its value means (None when it means nothing)."""

    table: tuple
    key: str
    value: object
    start: int
    end: int
    line: int
    column: int


@dataclasses.dataclass(frozen=True)
class Registry:
    """What a registry file says.

    ``names``: plain name to port. ``owned``: ``org/env`` to service to port. ``ranges``: name to first and last port.
    ``reserved``: category to ports. ``allocation``: the settings of that table. ``findings``: what is wrong with it.
    """

    names: Mapping[str, int]
    owned: Mapping[str, Mapping[str, int]]
    ranges: Mapping[str, tuple]
    reserved: Mapping[str, tuple]
    allocation: Mapping[str, object]
    findings: tuple = ()

    def to_wire(self) -> dict:
        """The registry as plain data."""
        return {
            "names": dict(self.names),
            "owned": {owner: dict(services) for owner, services in self.owned.items()},
            "ranges": {name: list(bounds) for name, bounds in self.ranges.items()},
            "reserved": {category: list(ports) for category, ports in self.reserved.items()},
            "allocation": dict(self.allocation),
            "findings": [finding.to_wire() for finding in self.findings],
        }

    @classmethod
    def from_wire(cls, record: Mapping) -> Registry:
        """The registry that :meth:`to_wire` gave."""
        return cls(
            record["names"],
            record["owned"],
            {name: tuple(bounds) for name, bounds in record["ranges"].items()},
            {category: tuple(ports) for category, ports in record["reserved"].items()},
            record["allocation"],
            tuple(Finding(**finding) for finding in record["findings"]),
        )


def read(text: str, path: str) -> Registry:
    """What a registry file says; a row that makes no sense becomes a finding and is left out."""
    rows, findings = _scan(text, path)
    reader = _Reader(path, findings)
    for row in rows:
        reader.take(row)
    reader.check_shared_ports()
    return Registry(reader.names, reader.owned, reader.ranges, reader.reserved, reader.allocation,
                    tuple(reader.findings))


def edit(text: str, changes: Mapping, path: str) -> str:
    """The text with some values changed, added or removed, and everything else as it was.

    :param changes: ``owned`` (``org/env`` to service to port), ``names`` (name to port), ``ranges`` (name to first and
        last port), ``reserved`` (category to ports); None for a value removes it.
    :raises TetraError: when the text would then not mean what was asked for; the text of the caller is unharmed.
    """
    result = text or _HEADER
    for table, key, value in _wanted(changes):
        result = _set(result, table, key, value, path)
    _check_meaning(read(result, path), changes, path)
    return result


def _wanted(changes: Mapping) -> list[tuple]:
    wanted: list[tuple] = []
    for name, port in changes.get("names", {}).items():
        wanted.append((("ports",), name, None if port is None else str(port)))
    for owner, services in changes.get("owned", {}).items():
        table = ("ports", *owner.split("/"))
        wanted += [(table, name, None if port is None else str(port)) for name, port in services.items()]
    for name, bounds in changes.get("ranges", {}).items():
        wanted.append((("port_ranges",), name, None if bounds is None else f'"{bounds[0]}-{bounds[1]}"'))
    for name, ports in changes.get("reserved", {}).items():
        wanted.append((("reserved",), name, None if ports is None else f"[{', '.join(map(str, ports))}]"))
    return wanted


def _check_meaning(found: Registry, changes: Mapping, path: str) -> None:
    held = {"names": found.names, "ranges": found.ranges, "reserved": found.reserved}
    wanted = {kind: dict(changes.get(kind, {})) for kind in held}
    for owner, services in changes.get("owned", {}).items():
        held[owner], wanted[owner] = found.owned.get(owner, {}), services
    for kind, values in wanted.items():
        for name, value in values.items():
            meant = tuple(value) if isinstance(value, (list, tuple)) else value
            if held[kind].get(name) != meant:
                raise TetraError(f"{path}: {name} could not be set to {value}", hint="look at the file; it was not changed")


def _set(text: str, table: tuple, key: str, value: str | None, path: str) -> str:
    newline = "\r\n" if "\r\n" in text else "\n"
    rows, _findings = _scan(text, path)
    mine = [row for row in rows if row.table == table and row.key == key]
    if value is None:
        for row in reversed(mine):
            text = _without_line(text, row)
        return text
    if mine:
        row = mine[-1]
        return text[: row.start] + value + text[row.end :]
    return _insert(text, table, f"{key} = {value}", rows, newline)


def _without_line(text: str, row: Row) -> str:
    begin = text.rfind("\n", 0, row.start) + 1
    end = text.find("\n", row.end)
    if end >= 0:
        return text[:begin] + text[end + 1 :]
    return text[:begin].removesuffix("\n").removesuffix("\r")


def _insert(text: str, table: tuple, line: str, rows: list[Row], newline: str) -> str:
    """Put a new pair behind the last one of its table, or a new table behind the last table of its kind."""
    inside = [row for row in rows if row.table == table]
    header = _header_end(text, table)
    if inside or header is not None:
        at = max([row.end for row in inside] + [header or 0])
        end = text.find("\n", at)
        if end < 0:
            return f"{text}{newline}{line}"
        return f"{text[: end + 1]}{line}{newline}{text[end + 1 :]}"
    block = f"[{'.'.join(table)}]{newline}{line}"
    kin = [row.end for row in rows if row.table[:1] == table[:1]]
    end = text.find("\n", max(kin)) if kin else -1
    if end < 0:
        glue = "" if text.endswith("\n") or not text else newline
        tail = newline if text.endswith("\n") or not text else ""
        return f"{text}{glue}{newline}{block}{tail}"
    return f"{text[: end + 1]}{newline}{block}{newline}{text[end + 1 :]}"


def _header_end(text: str, table: tuple) -> int | None:
    offset = 0
    for line in text.splitlines(keepends=True):
        match = _TABLE.match(line.rstrip("\r\n"))
        if match and _table_name(match.group("name")) == table:
            return offset + len(line.rstrip("\r\n"))
        offset += len(line)
    return None


def _table_name(text: str) -> tuple:
    return tuple(part.strip().strip("\"'") for part in text.split("."))


def _scan(text: str, path: str) -> tuple[list[Row], list[Finding]]:
    rows: list[Row] = []
    findings: list[Finding] = []
    table: tuple = ()
    offset = 0
    while offset < len(text):
        end = text.find("\n", offset)
        end = len(text) if end < 0 else end
        line = text[offset:end].rstrip("\r")
        header, pair = _TABLE.match(line), _PAIR.match(line)
        if header:
            table = _table_name(header.group("name"))
        elif pair:
            begin = offset + pair.end()
            value, stop = _value(text, begin)
            rows.append(Row(table, pair.group("key").strip("\"'"), value, begin, stop,
                            text.count("\n", 0, begin) + 1, pair.end() + 1))
            end = max(end, text.find("\n", stop) if text.find("\n", stop) >= 0 else len(text))
        elif line.strip() and not line.strip().startswith("#"):
            number = text.count("\n", 0, offset) + 1
            findings.append(Finding(ERROR, "not-toml", f"{line.strip()[:40]!r} is not key = value", path, number, 1))
        offset = end + 1
    return rows, findings


def _value(text: str, begin: int) -> tuple[object, int]:
    if text.startswith("[", begin):
        return _array(text, begin)
    match = _SCALAR.match(text[begin : begin + 4096])
    if not match:
        return None, begin
    return _scalar(match.group(1)), begin + match.end()


def _array(text: str, begin: int) -> tuple[object, int]:
    items: list = []
    at = begin + 1
    while at < len(text):
        character = text[at]
        if character == "]":
            return items, at + 1
        if character == "#":
            end = text.find("\n", at)
            at = len(text) if end < 0 else end
        elif character in " \t\r\n,":
            at += 1
        else:
            match = _SCALAR.match(text[at : at + 4096])
            if not match:
                break
            items.append(_scalar(match.group(1)))
            at += match.end()
    end = text.find("\n", begin)
    return None, len(text) if end < 0 else end


def _scalar(text: str) -> object:
    if text[0] in "\"'":
        return text[1:-1]
    if re.match(r"^[+-]?\d+(_\d+)*$", text):
        return int(text.replace("_", ""))
    return {"true": True, "false": False}.get(text, text)


class _Reader:
    """Takes the rows of a file one after another into what they mean."""

    def __init__(self, path: str, findings: list[Finding]) -> None:
        self.path = path
        self.findings = findings
        self.names: dict[str, int] = {}
        self.owned: dict[str, dict[str, int]] = {}
        self.ranges: dict[str, tuple] = {}
        self.reserved: dict[str, tuple] = {}
        self.allocation: dict[str, object] = {}
        self.rows: dict[tuple, Row] = {}

    def take(self, row: Row) -> None:
        if (row.table, row.key) in self.rows:
            first = self.rows[row.table, row.key].line
            self._remark(ERROR, row, "duplicate-key", f"{row.key} is set in line {first} already; the last one counts")
        self.rows[row.table, row.key] = row
        kind = row.table[:1]
        if kind == ("ports",) and len(row.table) in (1, 3):
            self._take_port(row)
        elif row.table == ("port_ranges",):
            self._take_range(row)
        elif row.table == ("reserved",):
            self._take_reserved(row)
        elif row.table == ("allocation",):
            self.allocation[row.key] = row.value
        elif not kind or kind[0] not in _TABLES:
            self._remark(WARNING, row, "unknown-table", f"table {'.'.join(row.table) or '(none)'} is not known")

    def check_shared_ports(self) -> None:
        """Report plain names that share a port; the file is used all the same."""
        seen: dict[int, str] = {}
        for name, port in self.names.items():
            if port in seen:
                row = self.rows[("ports",), name]
                self._remark(WARNING, row, "shared-port", f"{name} has port {port}, and so has {seen[port]}")
            seen.setdefault(port, name)

    def _take_port(self, row: Row) -> None:
        owner = "/".join(row.table[1:])
        target = self.owned.setdefault(owner, {}) if owner else self.names
        target.pop(row.key, None)
        if row.value == "":
            self._remark(WARNING, row, "tombstone", f"{row.key} has no port", "remove the line")
            return
        port = self._port(row, row.value)
        if port is not None:
            target[row.key] = port

    def _port(self, row: Row, value: object) -> int | None:
        if isinstance(value, bool) or not isinstance(value, (int, str)):
            value = f"{value}"
        try:
            return units.port(str(value))
        except TetraError as error:
            self._remark(ERROR, row, "not-a-port", f"{row.key}: {error.message}", error.hint)
            return None

    def _take_range(self, row: Row) -> None:
        try:
            self.ranges[row.key] = units.port_range(str(row.value))
        except TetraError as error:
            self._remark(ERROR, row, "not-a-range", f"{row.key}: {error.message}", error.hint)

    def _take_reserved(self, row: Row) -> None:
        items = row.value if isinstance(row.value, list) else str(row.value).split()
        ports = [self._port(row, item) for item in items]
        self.reserved[row.key] = tuple(port for port in ports if port is not None)

    def _remark(self, severity: str, row: Row, code: str, message: str, hint: str = "") -> None:
        self.findings.append(Finding(severity, code, message, self.path, row.line, row.column, hint))
