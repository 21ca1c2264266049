# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The port registry file ``ports.toml``: what it says, and how it is changed without touching the rest of it.

Its tables are ``[ports]`` (plain names, for any service of that name), ``[ports.<org>.<env>]`` (ports that an
environment owns), ``[port_ranges]``, ``[reserved]``, ``[allocation]``, ``[conflicts]`` and ``[metadata]``. Files from
every age of the original system are read: truth values in quotes, ``""`` for a removed name, reserved ports as an
array or as words in a string. What is wrong becomes a finding; the rest of the file still counts.
"""

from __future__ import annotations

import collections
import dataclasses
import difflib
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from . import toml_text, units
from .errors import ERROR, WARNING, Finding, TetraError
from .toml_edit import Editor
from .toml_text import Document, Element, Pair

_T = TypeVar("_T")

DEFAULT_ALLOCATION = (3000, 9999)
"""Where ports are taken from when nobody says otherwise; the original's defaults."""

RANGE_ALIASES = {"dev": "development", "prod": "production", "test": "testing"}
"""The two vocabularies that files use for one range."""

_NEW_FILE = """\
# Which name owns which port on this host. Lines and comments of your own are kept.
[metadata]
version = "1"
"""
_LOWEST_PLAIN_PORT = 1024
_BARE = re.compile(r"[A-Za-z0-9_-]+\Z")
_TRUTHS = {
    "allocation": ("auto_allocate", "avoid_system_ports"),
    "conflicts": ("check_on_start", "auto_resolve", "prefer_named_services"),
}
_SECTIONS = ("ports", "port_ranges", "reserved", "allocation", "conflicts", "metadata")


@dataclasses.dataclass(frozen=True)
class Registry:
    """What a registry file says.

    ``names`` maps plain names to ports, ``owned`` ``org/env`` to service to port, ``ranges`` a name to its first and
    last port, ``reserved`` a category to its ports; ``allocation`` bounds ports that are chosen automatically.
    """

    names: Mapping[str, int] = dataclasses.field(default_factory=dict)
    owned: Mapping[str, Mapping[str, int]] = dataclasses.field(default_factory=dict)
    ranges: Mapping[str, tuple[int, int]] = dataclasses.field(default_factory=dict)
    reserved: Mapping[str, list[int]] = dataclasses.field(default_factory=dict)
    allocation: tuple[int, int] = DEFAULT_ALLOCATION
    findings: list[Finding] = dataclasses.field(default_factory=list)

    @property
    def reserved_ports(self) -> set[int]:
        """Every reserved port, whatever its category."""
        return {port for ports in self.reserved.values() for port in ports}

    def registered(self) -> dict[int, list[str]]:
        """Port to those who have it: plain names as they are, services of environments as ``org/env/service``."""
        result: dict[int, list[str]] = {}
        for name, port in self.names.items():
            result.setdefault(port, []).append(name)
        for owner, services in self.owned.items():
            for service, port in services.items():
                result.setdefault(port, []).append(f"{owner}/{service}")
        return result

    def to_wire(self) -> dict[str, Any]:
        """The registry as plain data."""
        return {
            "names": dict(self.names),
            "owned": {owner: dict(services) for owner, services in self.owned.items()},
            "ranges": {name: list(bounds) for name, bounds in self.ranges.items()},
            "reserved": {category: list(ports) for category, ports in self.reserved.items()},
            "allocation": list(self.allocation),
            "findings": [finding.to_wire() for finding in self.findings],
        }

    @classmethod
    def from_wire(cls, wire: Mapping[str, Any]) -> Registry:
        """The registry that :meth:`to_wire` gave."""
        return cls(
            names=dict(wire["names"]),
            owned={owner: dict(services) for owner, services in wire["owned"].items()},
            ranges={name: (bounds[0], bounds[1]) for name, bounds in wire["ranges"].items()},
            reserved={category: list(ports) for category, ports in wire["reserved"].items()},
            allocation=(wire["allocation"][0], wire["allocation"][1]),
            findings=[Finding(**finding) for finding in wire["findings"]],
        )


def range_for(ranges: Mapping[str, tuple[int, int]], env: str) -> tuple[str, tuple[int, int]] | None:
    """The range of an environment under its own name or the other vocabulary's: the name it stands under, and it."""
    others = {**RANGE_ALIASES, **{long: short for short, long in RANGE_ALIASES.items()}}
    for name in (env, others.get(env, env)):
        if name in ranges:
            return name, ranges[name]
    return None


def same_service(name: str, identity: str) -> bool:
    """Whether a plain name means a service: ``api`` and ``api-dev`` both stand for ``acme/dev/api``.

    :param identity: ``org/env/service``, or another plain name.
    """
    if "/" not in identity:
        return name == identity
    _org, env, service = identity.split("/")
    return name in (service, f"{service}-{env}")


def read(text: str, path: str) -> Registry:
    """Read a registry file. Whatever is wrong is in ``findings``; nothing is raised for it.

    :param path: what findings call the file.
    """
    return _Reader(toml_text.scan(text.lstrip("\ufeff")), path).registry()


class _Reader:
    """Goes through the statements of a registry file and collects what they say."""

    def __init__(self, document: Document, path: str) -> None:
        self._document = document
        self._path = path
        self._names: dict[str, int] = {}
        self._owned: dict[str, dict[str, int]] = {}
        self._ranges: dict[str, tuple[int, int]] = {}
        self._reserved: dict[str, list[int]] = {}
        self._allocation: dict[str, int] = {}
        self._places: dict[str, Pair] = {}
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
        allocation = self._bounds()
        owned = {owner: services for owner, services in self._owned.items() if services}
        registry = Registry(self._names, owned, self._ranges, self._reserved, allocation, [])
        self._check_ports(registry)
        found = sorted(self._findings, key=lambda finding: (finding.line, finding.column))
        return dataclasses.replace(registry, findings=found)

    def _find(self, severity: str, code: str, item: toml_text.Header | Pair | _Place, message: str, hint: str) -> None:
        self._findings.append(Finding(severity, code, message, self._path, item.line, item.column, hint))

    def _check_sections(self) -> None:
        seen = set(_SECTIONS)
        for item in self._document.statements:
            section = item.path[0]
            if section not in seen and section != toml_text.UNREADABLE:
                near = difflib.get_close_matches(section, _SECTIONS, 1)
                hint = f"did you mean {near[0]}?" if near else f"sections are {', '.join(_SECTIONS)}"
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
        port = self._port(pair, pair.value, name)
        if port is not None:
            values[name] = port
            self._places[name if owner is None else f"{owner}/{name}"] = pair

    def _port(self, pair: Pair | _Place, value: object, name: str) -> int | None:
        number = _number(value)
        if number is None:
            self._find(ERROR, "not-a-port", pair, f"{_shown(value)} is no port for {name}", "write a decimal number")
        elif not 1 <= number <= 65535:
            message = f"{number} is out of range as the port of {name}"
            self._find(ERROR, "out-of-range", pair, message, "a port is a number from 1 to 65535")
            return None
        return number

    def _read_range(self, pair: Pair) -> None:
        name = ".".join(pair.path[1:])
        self._ranges.pop(name, None)
        try:
            self._ranges[name] = units.port_range(pair.value if isinstance(pair.value, str) else _shown(pair.value))
        except TetraError as error:
            self._find(ERROR, "not-a-range", pair, f"range {name}: {error.message}", error.hint)

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
        if key in ("min_port", "max_port"):
            port = self._port(pair, pair.value, key)
            if port is not None:
                self._allocation[key] = port
        elif key != "allocation_strategy":
            self._read_truth(pair)

    def _read_truth(self, pair: Pair) -> None:
        section, key = pair.path[0], pair.path[-1]
        if key not in _TRUTHS[section] or len(pair.path) != 2:
            near = difflib.get_close_matches(key, _TRUTHS[section], 1)
            hint = f"did you mean {near[0]}?" if near else "remove it, or move it to its section"
            self._find(WARNING, "unknown-key", pair, f"nothing reads {'.'.join(pair.path)}", hint)
        elif pair.value not in (True, False, "true", "false") or _number(pair.value) is not None:
            message = f"{_shown(pair.value)} is neither true nor false, as {key} has to be"
            self._find(ERROR, "not-a-truth-value", pair, message, "write true or false")

    def _bounds(self) -> tuple[int, int]:
        low = self._allocation.get("min_port", DEFAULT_ALLOCATION[0])
        high = self._allocation.get("max_port", max(low, DEFAULT_ALLOCATION[1]))
        if low <= high:
            return low, high
        pair = self._document.find(("allocation", "max_port"))[-1]
        self._find(ERROR, "not-a-range", pair, f"min_port {low} is above max_port {high}", "write the lower port first")
        return DEFAULT_ALLOCATION

    def _check_ports(self, registry: Registry) -> None:
        """What a person should look at, although the file can be used as it is."""
        before: dict[int, list[str]] = {}
        for identity, pair in sorted(self._places.items(), key=lambda item: (item[1].start, item[0])):
            port = _port_of(registry, identity)
            if port is None:
                continue
            others = [other for other in before.get(port, []) if not _same(identity, other)]
            if others:
                message = f"port {port} of {identity} belongs to {others[0]} as well"
                self._find(WARNING, "duplicate-port", pair, message, "give one of them another port")
            before.setdefault(port, []).append(identity)
            self._check_port(registry, identity, port, pair)

    def _check_port(self, registry: Registry, identity: str, port: int, pair: Pair) -> None:
        for category, ports in registry.reserved.items():
            if port in ports:
                message = f"port {port} of {identity} is reserved ({category})"
                self._find(WARNING, "reserved-port", pair, message, f"give {identity} another port")
        if port < _LOWEST_PLAIN_PORT:
            message = f"port {port} of {identity} is a system port"
            self._find(WARNING, "system-port", pair, message, "only root can listen below 1024")
        env = identity.split("/")[1] if "/" in identity else identity.rpartition("-")[2]
        found = range_for(registry.ranges, env) if env != identity else None
        if found and not found[1][0] <= port <= found[1][1]:
            low, high = found[1]
            message = f"port {port} of {identity} is outside the range {found[0]} ({low}-{high})"
            self._find(WARNING, "outside-range", pair, message, "move the port, or widen the range")


@dataclasses.dataclass(frozen=True)
class _Place:
    line: int
    column: int


def _same(one: str, other: str) -> bool:
    if "/" in one and "/" in other:
        return False
    return same_service(other, one) if "/" in one else same_service(one, other)


def _port_key(path: tuple[str, ...]) -> tuple[str | None, str] | None:
    """Who a line below ``ports`` is about: owner and service, or None and a plain name; None for neither."""
    if len(path) == 2 and path[1]:
        return None, path[1]
    owner = "/".join(path[1:-1])
    parts = (*owner.split("/"), path[-1])
    if len(path) in (3, 4) and len(parts) == 3 and all(_BARE.match(part) for part in parts):
        return owner, path[-1]
    return None


def _port_of(registry: Registry, identity: str) -> int | None:
    owner, _slash, name = identity.rpartition("/")
    return registry.owned.get(owner, {}).get(name) if owner else registry.names.get(name)


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


def edit(text: str, changes: Mapping[str, Any], path: str = "ports.toml") -> str:
    """The text with changes made, every other character as it was.

    :param changes: any of ``owned``: {"org/env": {service: port or None}}, ``names``: {name: port or None},
        ``ranges``: {name: [first, last] or None}, ``reserved``: {category: [ports] or None}; None removes.
    :returns: the new text; the same text when it says already what is wanted.
    :raises TetraError: for a change that is not valid, one that the form of the file does not allow, and when the
        new text, read again, does not say exactly what was meant.
    """
    mark = "\ufeff" if text.startswith("\ufeff") else ""
    body = text[len(mark) :]
    before = read(body, path)
    wanted = _Wanted(before, changes)
    editor = Editor(body if body.strip() else _NEW_FILE, path)
    changed = [
        _edit_names(editor, before, changes.get("names", {}), path),
        *(_edit_owned(editor, before, owner, ports) for owner, ports in changes.get("owned", {}).items()),
        _edit_ranges(editor, before, changes.get("ranges", {})),
        _edit_reserved(editor, before, changes.get("reserved", {})),
    ]
    if not any(changed):
        return text
    result = editor.result()
    _check_result(result, body, wanted, path)
    return mark + result


class _Wanted:
    """What a registry has to say after changes."""

    def __init__(self, before: Registry, changes: Mapping[str, Any]) -> None:
        unknown = set(changes) - {"owned", "names", "ranges", "reserved"}
        if unknown:
            raise TetraError(f"a registry has no {', '.join(sorted(unknown))}", "give owned, names, ranges or reserved")
        self.names = _merged(before.names, changes.get("names", {}), _valid_port)
        self.ranges = _merged(before.ranges, changes.get("ranges", {}), _valid_range)
        self.reserved = {
            category: set(ports)
            for category, ports in _merged(before.reserved, changes.get("reserved", {}), _valid_reserved).items()
        }
        owned = {owner: dict(services) for owner, services in before.owned.items()}
        for owner, services in changes.get("owned", {}).items():
            _check_owner(owner)
            owned[owner] = _merged(owned.get(owner, {}), services, _valid_port)
        self.owned = {owner: services for owner, services in owned.items() if services}

    def is_said_by(self, registry: Registry) -> bool:
        """Whether a registry says just this."""
        reserved = {category: set(ports) for category, ports in registry.reserved.items()}
        return (self.names, self.owned, self.ranges, self.reserved) == (
            registry.names,
            registry.owned,
            registry.ranges,
            reserved,
        )


def _merged(before: Mapping[str, _T], changes: Mapping[str, Any], valid: Callable[[str, Any], _T]) -> dict[str, _T]:
    result = dict(before)
    for name, value in changes.items():
        _check_key(name)
        if value is None:
            result.pop(name, None)
        else:
            result[name] = valid(name, value)
    return result


def _check_key(name: str) -> None:
    if not _BARE.match(name):
        raise TetraError(f"{name!r} is not a name for the port registry", "use letters, digits, '-' and '_'")


def _check_owner(owner: str) -> None:
    parts = owner.split("/")
    if len(parts) != 2:
        raise TetraError(f"{owner!r} is not an organization and an environment", "write it as org/env")
    for part in parts:
        _check_key(part)


def _valid_port(name: str, port: object) -> int:
    if isinstance(port, bool) or not isinstance(port, int) or not 1 <= port <= 65535:
        raise TetraError(f"{port!r} is not a port for {name}", "a port is a whole number from 1 to 65535")
    return port


def _valid_range(name: str, bounds: Iterable[int]) -> tuple[int, int]:
    low, high = (_valid_port(f"range {name}", port) for port in bounds)
    if low > high:
        raise TetraError(f"range {name} ends before it begins ({low}-{high})", "write the lower port first")
    return low, high


def _valid_reserved(name: str, ports: Iterable[int]) -> list[int]:
    return [_valid_port(f"reserved {name}", port) for port in ports]


def _edit_names(editor: Editor, before: Registry, changes: Mapping[str, Any], path: str) -> bool:
    changed = False
    for name, port in changes.items():
        if port is not None and name not in before.names:
            _check_no_organization(editor.document, name, path)
        changed |= _edit_port(editor, ("ports", name), before.names.get(name), port)
    return changed


def _check_no_organization(document: Document, name: str, path: str) -> None:
    for item in document.statements:
        if len(item.path) > 2 and item.path[:2] == ("ports", name):
            raise TetraError(
                f"{path}:{item.line}:{item.column}: {name} is an organization here and cannot be a plain name as well",
                hint=f"use another name, for example {name}-main",
            )


def _edit_owned(editor: Editor, before: Registry, owner: str, changes: Mapping[str, Any]) -> bool:
    changed = False
    for service, port in changes.items():
        path = (*_table_of(editor.document, owner), service)
        for table in _tables(owner):
            path = (*table, service) if editor.document.find((*table, service)) else path
        changed |= _edit_port(editor, path, before.owned.get(owner, {}).get(service), port)
    return changed


def _edit_port(editor: Editor, path: tuple[str, ...], before: int | None, port: int | None) -> bool:
    if port is not None and port != before:
        editor.set(path, str(port))
        return True
    # A removed name of the original ("") is none already; a value that is no port is removed with its name.
    if port is None and any(pair.value != "" for pair in editor.document.find(path)):
        editor.remove(path)
        return True
    return False


def _tables(owner: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The two ways to write the table of an owner: ``[ports.org.env]`` and ``[ports."org/env"]``."""
    return ("ports", *owner.split("/")), ("ports", owner)


def _table_of(document: Document, owner: str) -> tuple[str, ...]:
    """The table of an owner: the second way only where a plain name is called like the organization.

    TOML lets no name be a value and a table at once, and the original's names are often those of organizations.
    """
    plain, quoted = _tables(owner)
    values = {pair.path for pair in document.pairs}
    return quoted if plain[:2] in values or plain in values else plain


def _edit_ranges(editor: Editor, before: Registry, changes: Mapping[str, Any]) -> bool:
    changed = False
    for name, bounds in changes.items():
        path = ("port_ranges", name)
        if bounds is None and editor.document.find(path):
            editor.remove(path)
            changed = True
        elif bounds is not None and before.ranges.get(name) != tuple(bounds):
            editor.set(path, f'"{bounds[0]}-{bounds[1]}"')
            changed = True
    return changed


def _edit_reserved(editor: Editor, before: Registry, changes: Mapping[str, Any]) -> bool:
    changed = False
    for category, ports in changes.items():
        path = ("reserved", category)
        if ports is None and editor.document.find(path):
            editor.remove(path)
            changed = True
        elif ports is not None and set(before.reserved.get(category, [-1])) != set(ports):
            editor.set_numbers(path, sorted(set(ports)))
            changed = True
    return changed


def _check_result(result: str, original: str, wanted: _Wanted, path: str) -> None:
    problems = collections.Counter(problem.code for problem in toml_text.scan(result).problems)
    problems.subtract(problem.code for problem in toml_text.scan(original).problems)
    if not wanted.is_said_by(read(result, path)) or max(problems.values(), default=0) > 0:
        raise TetraError(
            f"{path} was left as it is: with the change it would not say, read again, what was meant",
            hint="put each name on a line of its own, each table under one header, and try again",
        )
