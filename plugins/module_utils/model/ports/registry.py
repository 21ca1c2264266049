# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a port registry says, and the words it says it in.

A *port value* is a number for TCP, ``4000``, or text for UDP, ``5353/udp``; so the two are never taken for each other.
A *key* is ``service``, or ``service/name`` for a further port of a service. An *identity* is who has a port: a plain
name, or ``org/env/`` with a key.
"""

from __future__ import annotations

import dataclasses
import functools
import re
from collections.abc import Iterator, Mapping
from typing import Any, Union

from .. import units
from ..errors import Finding, TetraError

PortValue = Union[int, str]

TCP = "tcp"
UDP = "udp"

LOWEST_PLAIN_PORT = 1024
"""Below it only root, or who was given that right, can listen."""

DEFAULT_ALLOCATION = (3000, 9999)
"""Where ports are taken from when nobody says otherwise; the original's defaults."""

DEFAULT_COOLDOWN = 600.0
"""Seconds in which a freed port goes to nobody else: clients and load balancers may still know it."""

SEQUENTIAL, RANDOM, RANGE_BASED = STRATEGIES = ("sequential", "random", "range-based")
"""The lowest free port; one that the name of the service decides; the lowest of a range that has to be there."""

RANGE_ALIASES = {"dev": "development", "prod": "production", "test": "testing"}
"""The two vocabularies that files use for one range."""

_VALUE = re.compile(r"([0-9]{1,5})(?:/(tcp|udp))?")


@dataclasses.dataclass(frozen=True)
class Registry:
    """What a registry file says.

    ``names`` maps plain names to port values, ``owned`` ``org/env`` to key to port value, ``ranges`` a name to its
    first and last port, ``reserved`` a category to its ports. Ports that are chosen lie within ``allocation``, by
    ``strategy``, and below 1024 only where ``system_ports``; a freed one rests for ``cooldown`` seconds.

    ``places`` has the line and the column of each identity. It does not travel.
    """

    names: Mapping[str, PortValue] = dataclasses.field(default_factory=dict)
    owned: Mapping[str, Mapping[str, PortValue]] = dataclasses.field(default_factory=dict)
    ranges: Mapping[str, tuple[int, int]] = dataclasses.field(default_factory=dict)
    reserved: Mapping[str, list[int]] = dataclasses.field(default_factory=dict)
    allocation: tuple[int, int] = DEFAULT_ALLOCATION
    strategy: str = SEQUENTIAL
    system_ports: bool = False
    cooldown: float = DEFAULT_COOLDOWN
    findings: list[Finding] = dataclasses.field(default_factory=list)
    places: Mapping[str, tuple[int, int]] = dataclasses.field(default_factory=dict, compare=False)

    def identities(self) -> Iterator[tuple[str, PortValue]]:
        """Everybody who has a port, with it: plain names first."""
        yield from self.names.items()
        for owner, keys in self.owned.items():
            for key, value in keys.items():
                yield f"{owner}/{key}", value

    def numbers(self) -> set[int]:
        """Every port that somebody has, whatever its protocol."""
        return {number_of(value) for _identity, value in self.identities()}

    @functools.cached_property
    def registered(self) -> Mapping[PortValue, list[str]]:
        """Port value to the identities that have it."""
        result: dict[PortValue, list[str]] = {}
        for identity, value in self.identities():
            result.setdefault(value, []).append(identity)
        return result

    def to_wire(self) -> dict[str, Any]:
        """The registry as plain data."""
        return {
            "names": dict(self.names),
            "owned": {owner: dict(keys) for owner, keys in self.owned.items()},
            "ranges": {name: list(bounds) for name, bounds in self.ranges.items()},
            "reserved": {category: list(ports) for category, ports in self.reserved.items()},
            "allocation": list(self.allocation),
            "strategy": self.strategy,
            "system_ports": self.system_ports,
            "cooldown": self.cooldown,
            "findings": [finding.to_wire() for finding in self.findings],
        }

    @classmethod
    def from_wire(cls, wire: Mapping[str, Any]) -> Registry:
        """The registry that :meth:`to_wire` gave."""
        return cls(
            names=dict(wire["names"]),
            owned={owner: dict(keys) for owner, keys in wire["owned"].items()},
            ranges={name: (bounds[0], bounds[1]) for name, bounds in wire["ranges"].items()},
            reserved={category: list(ports) for category, ports in wire["reserved"].items()},
            allocation=(wire["allocation"][0], wire["allocation"][1]),
            strategy=wire["strategy"],
            system_ports=wire["system_ports"],
            cooldown=wire["cooldown"],
            findings=[Finding(**finding) for finding in wire["findings"]],
        )


def port_value(written: units.Written) -> PortValue:
    """A port as it is written: ``4000`` and ``4000/tcp`` for TCP, ``5353/udp`` for UDP.

    :raises TetraError: for anything else.
    """
    match = _VALUE.fullmatch(str(written).strip().lower())
    if not match:
        raise TetraError(
            f"{_shown(written)} is not a port", hint="write a number from 1 to 65535, with /udp behind it for UDP"
        )
    return value_of(units.port(match.group(1)), match.group(2) or TCP)


def is_port_value(value: object) -> bool:
    """Whether a value that came from outside is a port value, in its one form."""
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        return False
    try:
        return port_value(value) == value
    except TetraError:
        return False


def value_of(number: int, protocol: str) -> PortValue:
    """The port value of a number and ``tcp`` or ``udp``."""
    return f"{number}/{UDP}" if protocol == UDP else number


def number_of(value: PortValue) -> int:
    """The number of a port value."""
    return value if isinstance(value, int) else int(value.partition("/")[0])


def protocol_of(value: PortValue) -> str:
    """``tcp`` or ``udp``."""
    return TCP if isinstance(value, int) else UDP


def split_identity(identity: str) -> tuple[str, str]:
    """The owner ``org/env`` and the key of an identity; a plain name has no owner."""
    parts = identity.split("/", 2)
    return ("/".join(parts[:2]), parts[2]) if len(parts) == 3 else ("", identity)


def service_of(key: str) -> str:
    """The service whose port a key is."""
    return key.partition("/")[0]


def environment_of(identity: str) -> str | None:
    """The environment that an identity says: of ``acme/dev/api`` and of the plain name ``api-dev`` it is dev.

    None for a plain name without a hyphen.
    """
    if "/" in identity:
        return identity.split("/", 2)[1]
    service, _hyphen, env = identity.rpartition("-")
    return env if service else None


def range_for(ranges: Mapping[str, tuple[int, int]], env: str) -> tuple[str, tuple[int, int]] | None:
    """The range of an environment under its own name or the other vocabulary's: the name it stands under, and it."""
    others = {**RANGE_ALIASES, **{long: short for short, long in RANGE_ALIASES.items()}}
    for name in (env, others.get(env, env)):
        if name in ranges:
            return name, ranges[name]
    return None


def same_service(name: str, identity: str) -> bool:
    """Whether a plain name means a service: ``api`` and ``api-dev`` both stand for ``acme/dev/api``.

    :param identity: one of a service or of a further port of it, or another plain name.
    """
    owner, key = split_identity(identity)
    if not owner:
        return name == key
    return name in (key, f"{key}-{owner.partition('/')[2]}")


def means(one: str, other: str) -> bool:
    """Whether one of two identities is a plain name that means the other; see :func:`same_service`."""
    return same_service(one, other) or same_service(other, one)


def related(one: str, other: str) -> bool:
    """Whether two identities mean one service, so that it is no mistake when they have one port.

    Either is a plain name that means the other; or both are, as ``arcade`` and ``arcade-dev`` of the original.
    """
    if means(one, other):
        return True
    plain = "/" not in one and "/" not in other
    return plain and (one.rpartition("-")[0] == other or other.rpartition("-")[0] == one)


def _shown(written: object) -> str:
    text = repr(written) if isinstance(written, str) else str(written)
    return text if len(text) <= 60 else f"{text[:57]}..."
