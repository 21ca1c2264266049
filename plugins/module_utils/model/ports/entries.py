# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The single statements of a port registry, as every form of it has them, and their way through ``ports.toml``.

Whatever form a registry comes in, the reader of ``ports.toml`` decides what is valid: the statements are written as
TOML, read, and what is found is put back to the place that they came from.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple, Union

from ..errors import ERROR, Finding, TetraError
from ..toml_edit import Path
from . import file as ports_file
from . import registry
from .registry import Registry

PORTS = "ports"
RANGES = "port_ranges"
RESERVED = "reserved"
ALLOCATION = "allocation"

MOST_FINDINGS = 100_000
"""Where reading stops: a file with more to say is none of ports, and would only fill the memory."""

MOST_ENTRIES = 300_000
"""More than every port of both protocols with two names."""

_IDENTITY = re.compile(r"(?:[A-Za-z0-9_-]+/){2,3}[A-Za-z0-9_-]+")

Plain = Union[bool, int, float, str, list[int]]


class Entry(NamedTuple):
    """One statement: ``name`` in a ``section`` has a ``value``.

    ``owner`` is ``org/env`` for the port of an environment, else empty; ``line`` and ``column`` count from 1, 0 where
    no text says it.
    """

    section: str
    owner: str
    name: str
    value: Plain
    line: int = 0
    column: int = 0


class Remarks:
    """Collects what is wrong in one file."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.findings: list[Finding] = []

    @property
    def full(self) -> bool:
        """Whether so much is wrong that reading on is of no use."""
        return len(self.findings) >= MOST_FINDINGS

    def add(self, severity: str, code: str, message: str, place: tuple[int, int], hint: str) -> None:
        """One more finding; the last one that there is room for says that reading stops."""
        if self.full:
            return
        self.findings.append(Finding(severity, code, message, self.path, *place, hint))
        if self.full:
            message = f"more than {MOST_FINDINGS} lines are wrong; the rest is not read"
            hint = "give the file of a port registry, in the form that it has"
            self.findings.append(Finding(ERROR, "too-many-findings", message, self.path, *place, hint))


def of_registry(said: Registry) -> list[Entry]:
    """Everything that a registry says, sorted; of ``allocation`` what differs from the defaults."""
    names = [Entry(PORTS, "", name, value) for name, value in said.names.items()]
    owned = [Entry(PORTS, owner, key, value) for owner, keys in said.owned.items() for key, value in keys.items()]
    ranges = [Entry(RANGES, "", name, f"{low}-{high}") for name, (low, high) in said.ranges.items()]
    reserved = [Entry(RESERVED, "", category, list(ports)) for category, ports in said.reserved.items()]
    return [
        *sorted(names, key=_name_of),
        *sorted(owned, key=_name_of),
        *sorted(ranges, key=_name_of),
        *sorted(reserved, key=_name_of),
        *(Entry(ALLOCATION, "", key, value) for key, value in _settings(said)),
    ]


def _name_of(entry: Entry) -> tuple[str, str]:
    return entry.owner, entry.name


def _settings(said: Registry) -> Iterator[tuple[str, Plain]]:
    if said.allocation != registry.DEFAULT_ALLOCATION:
        yield from zip(("min_port", "max_port"), said.allocation)
    if said.strategy != registry.SEQUENTIAL:
        yield "allocation_strategy", said.strategy
    if said.system_ports:
        yield "avoid_system_ports", False
    if said.cooldown != registry.DEFAULT_COOLDOWN:
        yield "cooldown", int(said.cooldown) if said.cooldown.is_integer() else said.cooldown


def wrong_identity(owner: str, name: str) -> str | None:
    """Why nobody can be called so in a registry, or None."""
    if not owner:
        return "a plain name has no '/'" if "/" in name or not name else None
    if owner.count("/") != 1 or not _IDENTITY.fullmatch(f"{owner}/{name}"):
        return "write org/env/service, or org/env/service/name for a further port"
    return None


def to_toml(entries: Sequence[Entry]) -> tuple[str, list[Entry | None]]:
    """A ``ports.toml`` that says some statements, and the statement of each of its lines."""
    lines: list[str] = []
    origins: list[Entry | None] = []
    for path, table in _tables(entries).items():
        lines += [*([""] if lines else []), f"[{'.'.join(map(_key, path))}]"]
        lines += [f"{_key(entry.name)} = {_toml(entry.value)}" for entry in table]
        origins += [None] * (len(lines) - len(table) - len(origins))
        origins += table
    return "".join(f"{line}\n" for line in lines), origins


def _tables(entries: Iterable[Entry]) -> dict[Path, list[Entry]]:
    """The statements by the table that they stand in, in the order of the sections of a file."""
    by_owner: dict[tuple[str, str], list[Entry]] = {}
    for entry in entries:
        by_owner.setdefault((entry.section, entry.owner), []).append(entry)
    plain = {entry.name for entry in by_owner.get((PORTS, ""), ())}
    order = (PORTS, RANGES, RESERVED, ALLOCATION)
    ordered = sorted(by_owner, key=lambda table: (order.index(table[0]), table[1]))
    return {_table(section, owner, plain): by_owner[section, owner] for section, owner in ordered}


def _table(section: str, owner: str, plain: set[str]) -> Path:
    """The table of an owner; in the other form where a plain name is called like the organization."""
    if not owner:
        return (section,)
    org, env = owner.split("/")
    return (section, owner) if org in plain else (section, org, env)


def _key(name: str) -> str:
    return name if ports_file.BARE.match(name) else quoted(name)


def _toml(value: Plain) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return quoted(value) if isinstance(value, str) else str(value)


def quoted(text: str) -> str:
    """A text in double quotes, as TOML, JSON and our comments read it."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def read(entries: Sequence[Entry], remarks: Remarks) -> Registry:
    """The registry that statements make, with the places that they have.

    :param remarks: gets what the reader of ``ports.toml`` finds in them.
    :raises TetraError: when there are more than anybody has ports for.
    """
    if len(entries) > MOST_ENTRIES:
        raise TetraError(f"{remarks.path} has more than {MOST_ENTRIES} entries", hint="split it, or check what it is")
    text, origins = to_toml(entries)
    said = ports_file.read(text, remarks.path)

    def place(line: int) -> tuple[int, int]:
        entry = origins[line - 1] if 0 < line <= len(origins) else None
        return (entry.line, entry.column) if entry else (0, 0)

    for finding in said.findings:
        line, column = place(finding.line)
        remarks.findings.append(dataclasses.replace(finding, line=line, column=column))
    places = {identity: place(line) for identity, (line, _column) in said.places.items()}
    return dataclasses.replace(said, findings=[], places=places)
