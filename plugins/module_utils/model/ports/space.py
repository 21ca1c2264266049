# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The ports of one host: who has them, who listens, which may be given to whom, and in which order they are tried."""

from __future__ import annotations

import dataclasses
import hashlib
import ipaddress
import itertools
from collections.abc import Collection, Container, Iterable, Iterator, Mapping, Sequence
from typing import Any

from . import registry as words
from .holder import text as holder_text
from .registry import PortValue, Registry


@dataclasses.dataclass(frozen=True)
class HostPorts:
    """What one host knows of its ports.

    ``listeners`` are those of ``host.sockets.listeners``, the owner as ``org/env/service`` or None; ``address`` is
    where services of this host bind, empty for every address. ``released`` maps ``str(port value)`` to who gave it up
    a short while ago, ``{"by": identity, "held": whether a transaction may have to go back to it}``. ``ephemeral`` are
    the first and the last port that the kernel gives to outgoing connections, but for those that are ``kept`` from it.
    """

    registry: Registry
    listeners: Sequence[Mapping[str, Any]]
    address: str
    released: Mapping[str, Mapping[str, Any]] = dataclasses.field(default_factory=dict)
    ephemeral: tuple[int, int] = (0, 0)
    kept: Collection[int] = ()

    def is_ephemeral(self, number: int) -> bool:
        """Whether the kernel may give the port to an outgoing connection."""
        return self.ephemeral[0] <= number <= self.ephemeral[1] and number not in self.kept


def candidates(low: int, high: int, strategy: str, identity: str) -> Iterator[int]:
    """The numbers of a range in the order in which they are tried.

    ``random`` begins where the identity says and goes round, so that every host and every run comes to the same one.
    """
    if strategy != words.RANDOM or low > high:
        yield from range(low, high + 1)
        return
    digest = hashlib.sha256(identity.encode()).digest()
    start = low + int.from_bytes(digest[:8], "big") % (high - low + 1)
    yield from itertools.chain(range(start, high + 1), range(low, start))


def choosable(numbers: Iterable[int], protocol: str, spaces: Sequence[Space]) -> Iterator[PortValue]:
    """Those that may be chosen: unregistered, no system ports, and what the kernel gives to connections at the end."""
    system = all(space.registry.system_ports for space in spaces)
    late = []
    for value in _unregistered(numbers, protocol, [space.registry.registered for space in spaces]):
        number = words.number_of(value)
        if number < words.LOWEST_PLAIN_PORT and not system:
            continue
        if any(space.ports.is_ephemeral(number) for space in spaces):
            late.append(value)
        else:
            yield value
    yield from late


def _unregistered(
    numbers: Iterable[int], protocol: str, registered: Sequence[Container[PortValue]]
) -> Iterator[PortValue]:
    for number in numbers:
        value = words.value_of(number, protocol)
        for found in registered:
            if value in found:
                break
        else:
            yield value


class Space:
    """What one host says about ports that services of an owner would get.

    :param owner: ``org/env``; empty for plain names.
    """

    def __init__(self, name: str, ports: HostPorts, owner: str) -> None:
        self.name = name
        self.registry = ports.registry
        self.own: Mapping[str, PortValue] = self.registry.owned.get(owner, {})
        self._address = _normal(ports.address)
        self._owner = owner
        self.ports = ports
        self._released = ports.released
        self._reserved = {port: category for category, found in self.registry.reserved.items() for port in found}
        self._listeners: dict[PortValue, list[Mapping[str, Any]]] = {}
        for listener in ports.listeners:
            if self._overlaps(listener):
                value = words.value_of(listener["port"], listener["protocol"])
                self._listeners.setdefault(value, []).append(listener)

    def is_free(self, key: str, value: PortValue) -> bool:
        """Whether a service may be given a port that nobody stated for it."""
        released = self._released.get(str(value))
        if words.number_of(value) in self._reserved or (released and released["by"] != self._identity(key)):
            return False
        holders = self.registry.registered.get(value, ())
        if any(not self._is_own(holder, key) or self._keeps(holder, key) for holder in holders):
            return False
        return not self.foreign(key, value)

    def against(self, key: str, value: PortValue, name: str | None = None) -> list[tuple[str, str]]:
        """What stands against a service having a port, each with what to do about it.

        :param name: the plain name by which it asks for the port.
        """
        subject = f"port {value} of {'service ' if self._owner else ''}{key}"
        found = []
        category = self._reserved.get(words.number_of(value))
        if category is not None:
            text = f"{subject} is reserved on host {self.name} ([reserved] {category})"
            found.append((text, f"give {key} another port"))
        for holder in self.registry.registered.get(value, ()):
            if holder != name and not self._is_own(holder, key):
                text = f"{subject} belongs to {holder} in the registry of host {self.name}"
                found.append((text, f"give {key} another port, or release that one"))
        released = self._released.get(str(value))
        if released and released["held"] and words.split_identity(released["by"])[0] != self._owner:
            text = f"{subject} is kept on host {self.name} for {released['by']}, which may have to go back to it"
            found.append((text, "run again when the transaction of that environment has ended"))
        for listener in self.foreign(key, value):
            text = f"{subject} is taken on host {self.name}: {holder_text(listener)}"
            found.append((text, f"stop that program or give {key} another port"))
        return found

    def foreign(self, key: str, value: PortValue) -> list[Mapping[str, Any]]:
        """The listeners that are in the way of a service having a port."""
        return [one for one in self.listening(value) if not self._gives_way(one, key, value)]

    def listening(self, value: PortValue) -> Sequence[Mapping[str, Any]]:
        """Who listens on a port where services of this host would."""
        return self._listeners.get(value, ())

    def _identity(self, key: str) -> str:
        return f"{self._owner}/{key}" if self._owner else key

    def _is_own(self, holder: str, key: str) -> bool:
        owner, other = words.split_identity(holder)
        if not owner:
            return words.same_service(other, self._identity(key))
        return owner == self._owner or (not self._owner and words.same_service(key, holder))

    def _keeps(self, holder: str, key: str) -> bool:
        """Whether it is another service of the environment that has the port, be it only until it is taken away."""
        owner, other = words.split_identity(holder)
        return bool(owner) and owner == self._owner and other != key

    def _gives_way(self, listener: Mapping[str, Any], key: str, value: PortValue) -> bool:
        """A service listens on its own port; others of the environment are stopped before anything new starts."""
        owner, _slash, other = (listener["owner"] or "").rpartition("/")
        if not owner or owner != self._owner:
            return False
        mine = (words.service_of(one) == other and number == value for one, number in self.own.items())
        return other == words.service_of(key) or any(mine)

    def _overlaps(self, listener: Mapping[str, Any]) -> bool:
        """Whether a listener is in the way of a service on this host's address."""
        found = _normal(listener["address"])
        if listener["ipv6_only"] and self._address and ":" not in self._address:
            return False
        return not found or not self._address or found == self._address


def _normal(address: str) -> str:
    """An address in its one spelling; empty for every address, and for text that is none."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return ""
    mapped = getattr(parsed, "ipv4_mapped", None)
    parsed = mapped or parsed
    return "" if parsed.is_unspecified else str(parsed)
