# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads the port registry file ``ports.toml``.

Its tables are ``[ports]`` (plain names, for any service of that name), ``[ports.<org>.<env>]`` (ports that an
environment owns), ``[port_ranges]``, ``[reserved]``, ``[allocation]``, ``[conflicts]`` and ``[metadata]``. Files from
every age of the original system are read: truth values in quotes, ``""`` for a removed name, reserved ports as an
array or as words in a string. What is wrong becomes a finding; the rest of the file still counts.
"""

from __future__ import annotations

import dataclasses
import functools
import re
from typing import Any

from .. import toml_text, units
from ..errors import ERROR, WARNING, Finding, TetraError
from ..toml_text import Document, Element, Pair
from . import conflicts as ports_conflicts
from . import registry
from .registry import PortValue, Registry

BARE = re.compile(r"[A-Za-z0-9_-]+\Z")
"""A name that may stand in a registry."""

_TRUTHS = {
    "allocation": ("auto_allocate", "avoid_system_ports"),
    "conflicts": ("check_on_start", "auto_resolve", "prefer_named_services"),
}
_ALLOCATION = (*_TRUTHS["allocation"], "min_port", "max_port", "allocation_strategy", "cooldown")
_SECTIONS = ("ports", "port_ranges", "reserved", "allocation", "conflicts", "metadata")
_LONGEST_COOLDOWN = 7 * 24 * 3600.0


def read(text: str, path: str) -> Registry:
    """Read a registry file. Whatever is wrong is in ``findings``; nothing is raised for it.

    :param path: what findings call the file.
    """
    return read_document(toml_text.scan(text.lstrip("\ufeff")), path)


def read_document(document: Document, path: str) -> Registry:
    """As :func:`read`, of a text that was scanned already."""
    return _Reader(document, path).registry()


class _Reader:
    """Goes through the statements of a registry file and collects what they say."""

    def __init__(self, document: Document, path: str) -> None:
        self._document = document
        self._path = path
        self._names: dict[str, PortValue] = {}
        self._owned: dict[str, dict[str, PortValue]] = {}
        self._ranges: dict[str, tuple[int, int]] = {}
        self._range_pairs: dict[str, Pair] = {}
        self._reserved: dict[str, list[int]] = {}
        self._allocation: dict[str, Any] = {}
        self._places: dict[str, tuple[int, int]] = {}
        self._findings = [
            Finding(ERROR, problem.code, problem.message, path, problem.line, problem.column, problem.hint)
            for problem in document.problems
        ]

    def registry(self) -> Registry:
        """Everything that the document says."""
        self._check_sections()
        readers = {
            "ports": self._read_port,
            "port_ranges": self._read_range,
            "reserved": self._read_reserved,
            "allocation": self._read_allocation,
            "conflicts": self._read_truth,
        }
        for pair in self._document.pairs:
            if pair.path[0] in readers:
                readers[pair.path[0]](pair)
        self._check_ranges()
        owned = {owner: keys for owner, keys in self._owned.items() if keys}
        said = Registry(
            self._names, owned, self._ranges, self._reserved, self._bounds(),
            strategy=self._allocation.get("allocation_strategy", registry.SEQUENTIAL),
            system_ports=self._allocation.get("avoid_system_ports") is False,
            cooldown=self._allocation.get("cooldown", registry.DEFAULT_COOLDOWN),
            places=self._places,
        )  # fmt: skip
        self._findings += [one.finding(self._path) for one in ports_conflicts.in_file(said)]
        found = sorted(self._findings, key=lambda finding: (finding.line, finding.column))
        return dataclasses.replace(said, findings=found)

    def _find(self, severity: str, code: str, item: toml_text.Header | Pair | _Place, message: str, hint: str) -> None:
        self._findings.append(Finding(severity, code, message, self._path, item.line, item.column, hint))

    def _check_sections(self) -> None:
        seen = set(_SECTIONS)
        for item in self._document.statements:
            section = item.path[0]
            if section not in seen and section != toml_text.UNREADABLE:
                near = units.nearest(section, _SECTIONS)
                hint = f"did you mean {near}?" if near else f"sections are {', '.join(_SECTIONS)}"
                self._find(WARNING, "unknown-section", item, f"nothing reads the section {section!r}", hint)
            seen.add(section)

    def _read_port(self, pair: Pair) -> None:
        key = _port_key(pair.path)
        if key is None:
            name = ".".join(pair.path)
            hint = "ports stand in [ports] or in [ports.<org>.<env>]"
            self._find(WARNING, "unknown-key", pair, f"{name} is not the port of a name or a service", hint)
            return
        owner, name = key
        values = self._names if owner is None else self._owned.setdefault(owner, {})
        values.pop(name, None)
        if pair.value == "":
            return
        value = self._port_value(pair, name)
        if value is not None:
            values[name] = value
            self._places[name if owner is None else f"{owner}/{name}"] = (pair.line, pair.column)

    def _port_value(self, pair: Pair, name: str) -> PortValue | None:
        # Nearly every line of a registry.
        value = pair.value
        if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= units.MAXIMUM_PORT:
            return value
        if isinstance(value, str) and "/" in value:
            try:
                return registry.port_value(value)
            except TetraError as error:
                self._find(ERROR, "not-a-port", pair, f"{error.message}, as {name} needs one", error.hint)
                return None
        return self._port(pair, value, name)

    def _port(self, pair: Pair | _Place, value: object, name: str) -> int | None:
        number = _number(value)
        if number is None:
            self._find(ERROR, "not-a-port", pair, f"{_shown(value)} is no port for {name}", "write a decimal number")
        elif not 1 <= number <= units.MAXIMUM_PORT:
            message = f"{number} is out of range as the port of {name}"
            self._find(ERROR, "out-of-range", pair, message, "a port is a number from 1 to 65535")
            return None
        return number

    def _read_range(self, pair: Pair) -> None:
        name = ".".join(pair.path[1:])
        self._ranges.pop(name, None)
        self._range_pairs[name] = pair
        try:
            self._ranges[name] = units.port_range(pair.value if isinstance(pair.value, str) else _shown(pair.value))
        except TetraError as error:
            self._find(ERROR, "not-a-range", pair, f"range {name}: {error.message}", error.hint)

    def _check_ranges(self) -> None:
        """Ranges that meet give one port to two environments; two names of one environment may say the same."""
        # From the lowest on, the range of another environment that reaches highest meets this one, or none does.
        reaching: dict[str, tuple[int, str]] = {}
        for name, (low, high) in sorted(self._ranges.items(), key=lambda item: item[1]):
            env = registry.RANGE_ALIASES.get(name, name)
            meeting = max((one for other, one in reaching.items() if other != env and one[0] >= low), default=None)
            if meeting:
                message = f"range {name} ({low}-{high}) meets the range {meeting[1]}"
                self._find(WARNING, "overlapping-ranges", self._range_pairs[name], message,
                           "let each port be in one range")
            reaching[env] = max(reaching.get(env, (0, "")), (high, name))
            # Of all others only the two that reach highest can matter to who comes.
            reaching = dict(sorted(reaching.items(), key=lambda item: item[1])[-2:])

    def _read_reserved(self, pair: Pair) -> None:
        name = ".".join(pair.path[1:])
        ports = (self._port(place, value, f"reserved {name}") for place, value in self._reserved_values(pair))
        self._reserved[name] = list(dict.fromkeys(port for port in ports if port is not None))

    def _reserved_values(self, pair: Pair) -> list[tuple[_Place, object]]:
        """The single values of a category: of an array, or the words of a text."""
        if isinstance(pair.value, list):
            elements: list[Element] = pair.value
            return [(_Place(*self._document.place(one.start)), one.value) for one in elements]
        here = _Place(pair.line, pair.column)
        if isinstance(pair.value, str):
            return [(here, word) for word in re.split(r"[\s,]+", pair.value) if word]
        return [(here, pair.value)]

    def _read_allocation(self, pair: Pair) -> None:
        key = pair.path[-1]
        if len(pair.path) != 2 or key not in _ALLOCATION:
            self._remark_unknown(pair, _ALLOCATION)
        elif key in ("min_port", "max_port"):
            port = self._port(pair, pair.value, key)
            if port is not None:
                self._allocation[key] = port
        elif key in _TRUTHS["allocation"]:
            self._read_truth(pair)
            self._allocation[key] = not (pair.value is False or pair.value == "false")
        else:
            self._read_word(pair, key)

    def _read_word(self, pair: Pair, key: str) -> None:
        """The strategy, or the time that a freed port rests."""
        try:
            text = pair.value if isinstance(pair.value, str) else _shown(pair.value)
            if key == "cooldown":
                self._allocation[key] = min(units.duration(text), _LONGEST_COOLDOWN)
            else:
                self._allocation[key] = units.one_of(text.replace("_", "-"), registry.STRATEGIES)
        except TetraError as error:
            self._find(ERROR, f"not-a-{key.rpartition('_')[2]}", pair, f"{key}: {error.message}", error.hint)

    def _read_truth(self, pair: Pair) -> None:
        section, key = pair.path[0], pair.path[-1]
        if key not in _TRUTHS[section] or len(pair.path) != 2:
            self._remark_unknown(pair, _TRUTHS[section])
        elif pair.value not in (True, False, "true", "false") or _number(pair.value) is not None:
            message = f"{_shown(pair.value)} is neither true nor false, as {key} has to be"
            self._find(ERROR, "not-a-truth-value", pair, message, "write true or false")

    def _remark_unknown(self, pair: Pair, known: tuple[str, ...]) -> None:
        near = units.nearest(pair.path[-1], known)
        hint = f"did you mean {near}?" if near else "remove it, or move it to its section"
        self._find(WARNING, "unknown-key", pair, f"nothing reads {'.'.join(pair.path)}", hint)

    def _bounds(self) -> tuple[int, int]:
        low = self._allocation.get("min_port", registry.DEFAULT_ALLOCATION[0])
        high = self._allocation.get("max_port", max(low, registry.DEFAULT_ALLOCATION[1]))
        if low <= high:
            return low, high
        pair = self._document.find(("allocation", "max_port"))[-1]
        self._find(ERROR, "not-a-range", pair, f"min_port {low} is above max_port {high}", "write the lower port first")
        return registry.DEFAULT_ALLOCATION


@dataclasses.dataclass(frozen=True)
class _Place:
    line: int
    column: int


def _port_key(path: tuple[str, ...]) -> tuple[str | None, str] | None:
    """Who a line below ``ports`` is about: owner and key, or None and a plain name; None for neither."""
    if len(path) == 2 and path[1] and "/" not in path[1]:
        return None, path[1]
    owner = _owner(path[1:-1])
    parts = path[-1].split("/")
    return (owner, path[-1]) if owner and len(parts) <= 2 and all(map(BARE.match, parts)) else None


@functools.lru_cache(maxsize=1024)
def _owner(table: tuple[str, ...]) -> str | None:
    """The owner whose table has this name below ``ports``: ``org.env``, or ``"org/env"``."""
    owner = "/".join(table)
    parts = owner.split("/")
    return owner if len(parts) == 2 and len(table) in (1, 2) and all(map(BARE.match, parts)) else None


def _number(value: object) -> int | None:
    """The number that a value is, also one in quotes; a truth value is none."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    text = value.strip() if isinstance(value, str) else ""
    return int(text) if re.match(r"[0-9]{1,18}\Z", text) else None


def _shown(value: object) -> str:
    if isinstance(value, toml_text.Other):
        return value.text
    if isinstance(value, bool):
        return str(value).lower()
    return "a list" if isinstance(value, list) else repr(value)
