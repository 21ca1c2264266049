# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a port registry contradicts itself, another host's, or what listens."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterator, Mapping

from ..errors import WARNING, Finding
from . import registry as words
from .holder import text as holder_text
from .registry import PortValue, Registry
from .space import HostPorts, Space

DUPLICATE = "duplicate-port"
RESERVED = "reserved-port"
OUTSIDE_RANGE = "outside-range"
TAKEN = "taken-port"
SYSTEM = "system-port"
EPHEMERAL = "ephemeral-port"
DIFFERENT = "different-port"

RESOLVABLE = (DUPLICATE, RESERVED, OUTSIDE_RANGE, TAKEN)
"""What goes away when the identity gets another port. The others are for a person to know."""


@dataclasses.dataclass(frozen=True)
class Conflict:
    """One identity whose port is in question, and why; ``line`` and ``column`` are 0 where no file says it."""

    code: str
    identity: str
    value: PortValue
    message: str
    hint: str
    line: int = 0
    column: int = 0

    def finding(self, path: str) -> Finding:
        """The conflict as a remark on a file."""
        return Finding(WARNING, self.code, self.message, path, self.line, self.column, self.hint)


def find(known: HostPorts) -> list[Conflict]:
    """All that is in conflict on a host: in its registry, and with what listens and connects."""
    return [*in_file(known.registry), *live(known)]


def findings(known: HostPorts, path: str) -> list[Finding]:
    """All remarks on the registry of a host: those of its reader, and :func:`live`.

    :param path: what they call the file.
    """
    return [*known.registry.findings, *(one.finding(path) for one in live(known))]


def live(known: HostPorts) -> list[Conflict]:
    """What is in conflict between a registry and what listens and connects on its host."""
    return [*_with_listeners(known), *_ephemeral(known)]


def between_hosts(registries: Mapping[str, Registry], owner: str) -> list[Conflict]:
    """Ports of an environment that differ from host to host; the first host by name says which one counts.

    :param registries: host to what its registry says.
    """
    found = []
    keys = {key for said in registries.values() for key in said.owned.get(owner, {})}
    for key in sorted(keys):
        values = {host: registries[host].owned.get(owner, {}).get(key) for host in sorted(registries)}
        there = {host: value for host, value in values.items() if value is not None}
        arbiter = next(iter(there))
        for host, value in there.items():
            if value != there[arbiter]:
                message = f"port of {owner}/{key} is {value} on {host} and {there[arbiter]} on {arbiter}"
                hint = "push or promote: all hosts get the port of the first one by name that can be theirs too"
                found.append(Conflict(DIFFERENT, f"{owner}/{key}", value, message, hint))
    return found


def losers(
    duplicate: Conflict, registry: Registry, listening: Collection[tuple[str, PortValue]]
) -> list[Conflict]:
    """Those who give way where several share a port.

    Who listens there stays; else who belongs to an environment; else who stands first.

    :param listening: ``org/env/service`` and port value of services that listen.
    """

    def rank(identity: str) -> tuple[bool, bool, tuple[int, int]]:
        owner, key = words.split_identity(identity)
        listens = (f"{owner}/{words.service_of(key)}", duplicate.value) in listening
        return not listens, not owner, registry.places.get(identity, (0, 0))

    stays, *others = sorted(registry.registered[duplicate.value], key=rank)
    return [dataclasses.replace(duplicate, identity=other) for other in others if not words.means(other, stays)]


def _with_listeners(known: HostPorts) -> Iterator[Conflict]:
    """Ports of environments on which somebody else listens. A plain name may be that of any program."""
    spaces = {owner: Space("", known, owner) for owner in known.registry.owned}
    for owner, keys in known.registry.owned.items():
        for key, value in keys.items():
            for listener in spaces[owner].foreign(key, value):
                message = f"port {value} of {owner}/{key} is taken: {holder_text(listener)}"
                yield _conflict(known.registry, TAKEN, f"{owner}/{key}", value, message,
                                f"stop that program, or give {key} another port")


def _ephemeral(known: HostPorts) -> Iterator[Conflict]:
    low, high = known.ephemeral
    for identity, value in known.registry.identities():
        if known.is_ephemeral(words.number_of(value)):
            message = f"port {value} of {identity} is one that the kernel gives to outgoing connections ({low}-{high})"
            yield _conflict(known.registry, EPHEMERAL, identity, value, message,
                            "add it to net.ipv4.ip_local_reserved_ports; with systemd that is done by itself")


def in_file(registry: Registry) -> list[Conflict]:
    """What a person should look at in one registry, although it can be used as it is."""
    found = [*_duplicates(registry)]
    categories = {port: category for category, ports in registry.reserved.items() for port in ports}
    ranges: dict[str, tuple[str, tuple[int, int]] | None] = {}
    for identity, value in registry.identities():
        number = words.number_of(value)
        if number in categories:
            message = f"port {value} of {identity} is reserved ({categories[number]})"
            found.append(_conflict(registry, RESERVED, identity, value, message, f"give {identity} another port"))
        if number < words.LOWEST_PLAIN_PORT:
            message = f"port {value} of {identity} is a system port"
            found.append(_conflict(registry, SYSTEM, identity, value, message, "only root can listen below 1024"))
        env = words.environment_of(identity)
        if env is None:
            continue
        if env not in ranges:
            ranges[env] = words.range_for(registry.ranges, env)
        bounds = ranges[env]
        if bounds and not bounds[1][0] <= number <= bounds[1][1]:
            low, high = bounds[1]
            message = f"port {value} of {identity} is outside the range {bounds[0]} ({low}-{high})"
            hint = "move the port, or widen the range"
            found.append(_conflict(registry, OUTSIDE_RANGE, identity, value, message, hint))
    return found


def _duplicates(registry: Registry) -> Iterator[Conflict]:
    for value, identities in registry.registered.items():
        if len(identities) < 2:
            continue
        ordered = sorted(identities, key=lambda identity: (registry.places.get(identity, (0, 0)), identity))
        for index, identity in enumerate(ordered):
            other = next((other for other in ordered[:index] if not words.means(identity, other)), None)
            if other:
                message = f"port {value} of {identity} belongs to {other} as well"
                yield _conflict(registry, DUPLICATE, identity, value, message, "give one of them another port")


def _conflict(
    registry: Registry, code: str, identity: str, value: PortValue, message: str, hint: str
) -> Conflict:
    return Conflict(code, identity, value, message, hint, *registry.places.get(identity, (0, 0)))
