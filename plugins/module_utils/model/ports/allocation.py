# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which service gets which port: the same on all hosts of an environment, kept over time, never somebody else's."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable, Iterator, Mapping

from .. import units
from ..errors import INVALID, REFUSED, TetraError
from . import registry
from . import space as port_space
from .registry import PortValue
from .space import HostPorts, Space

NONE = "none"
FROM = "from"
FIXED = "fixed"
NAMED = "named"


@dataclasses.dataclass(frozen=True)
class Request:
    """What a service asks for.

    ``key`` is the service, or ``service/name`` for a further port; ``kind`` is none, auto, from (``number`` or above),
    fixed (``number``) or named (the registry's plain ``name``); ``pin`` is the port value that the org's
    ``ports.toml`` gives it, which wins over all of these.
    """

    key: str
    kind: str
    number: int | None = None
    name: str | None = None
    pin: PortValue | None = None
    protocol: str = registry.TCP


@dataclasses.dataclass(frozen=True)
class Range:
    """The ports that an environment may use, who says so, and how one of them is chosen.

    One that is ``enforced`` also binds ports that a definition states; the default one is only for choosing.
    """

    low: int
    high: int
    origin: str
    enforced: bool
    strategy: str = registry.SEQUENTIAL

    def __contains__(self, port: int) -> bool:
        return self.low <= port <= self.high


def resolve_range(wanted: str | None, org_ranges: Mapping[str, str], hosts: Mapping[str, HostPorts], env: str) -> Range:
    """The range of an environment: its policy's, else the org's, else that of the first host by name that has one.

    The first host by name also says how a port of it is chosen.

    :param wanted: ``port_range`` of the environment's policy: ``A-B``, the name of a range, or None.
    :param org_ranges: name to ``A-B``, from the ``ports.toml`` of the org.
    :raises TetraError: when a named range is not there, or a range is not one.
    """
    arbiter = hosts[min(hosts)].registry
    found = _stated_range(wanted, org_ranges, hosts, env)
    if found:
        return dataclasses.replace(found, strategy=arbiter.strategy)
    if arbiter.strategy == registry.RANGE_BASED:
        raise TetraError(
            f"environment {env} has no range of ports, and host {min(hosts)} gives ports of ranges only",
            hint=f"add {env} to [port_ranges], or give the environment a port_range",
        )
    return Range(*arbiter.allocation, f"[allocation] of host {min(hosts)}", False, arbiter.strategy)


def _stated_range(
    wanted: str | None, org_ranges: Mapping[str, str], hosts: Mapping[str, HostPorts], env: str
) -> Range | None:
    if wanted and wanted[0].isdigit():
        return Range(*units.port_range(wanted), f"port_range of environment {env}", True)
    found = _find_range(wanted or env, org_ranges, hosts)
    if found is None and wanted:
        known = {*org_ranges, *(name for host in hosts.values() for name in host.registry.ranges)}
        names = f", or use one of {', '.join(sorted(known))}" if known else ""
        raise TetraError(
            f"port_range {wanted!r} of environment {env} is the name of no range", hint=f"write it as 4000-4999{names}"
        )
    return found


def _find_range(name: str, org_ranges: Mapping[str, str], hosts: Mapping[str, HostPorts]) -> Range | None:
    found = registry.range_for({key: units.port_range(text) for key, text in org_ranges.items()}, name)
    if found:
        return Range(*found[1], f"[port_ranges] {found[0]} of the org", True)
    for host in sorted(hosts):
        found = registry.range_for(hosts[host].registry.ranges, name)
        if found:
            return Range(*found[1], f"[port_ranges] {found[0]} of host {host}", True)
    return None


def allocate(
    requests: Iterable[Request], hosts: Mapping[str, HostPorts], owner: str, port_range: Range
) -> dict[str, PortValue]:
    """The port of each service that wants one, the same on every host.

    A pinned, fixed or named port is taken as it is. Any other service keeps what the first host by name has for it, so
    that no port moves by itself, or the next one where that cannot be; so all follow a host whose registry was put
    right. Else it gets the plain name's port where the registry has its name, else a free port of the range, one that
    the kernel gives to outgoing connections only when there is no other.

    :param requests: all ports of the environment; what the registry has for others of it is given up.
    :param owner: ``org/env``.
    :returns: key to port value.
    :raises TetraError: listing every conflict with its host and holder; code ``refused`` when only hosts object,
        ``invalid`` when the request itself is wrong.
    """
    wanted = sorted((request for request in requests if request.kind != NONE), key=lambda request: request.key)
    allocation = _Allocation(hosts, owner, port_range)
    stated = [request for request in wanted if request.pin is not None or request.kind in (FIXED, NAMED)]
    for request in stated:
        allocation.state(request)
    chosen = [request for request in wanted if request not in stated]
    for request in chosen:
        allocation.keep(request)
    for request in chosen:
        allocation.choose(request)
    allocation.raise_problems()
    return dict(sorted(allocation.ports.items()))


def check_registered(host: HostPorts, owner: str, wanted: Mapping[str, PortValue], name: str) -> None:
    """Object to ports that an environment must not own by the registry of a host; listeners are left aside.

    :param wanted: key to port value.
    :param name: what the error calls the host.
    :raises TetraError: code ``refused``, listing every port that is reserved or belongs to somebody else.
    """
    known = dataclasses.replace(host, listeners=())
    allocation = _Allocation({name: known}, owner, Range(1, units.MAXIMUM_PORT, "", False))
    for key, value in sorted(wanted.items()):
        allocation.state(Request(key, FIXED, pin=value))
    allocation.raise_problems()


@dataclasses.dataclass(frozen=True)
class _Objection:
    code: str
    text: str
    hint: str


class _Allocation:
    """Ports that were given out so far, and what stands against the others."""

    def __init__(self, hosts: Mapping[str, HostPorts], owner: str, port_range: Range) -> None:
        self.ports: dict[str, PortValue] = {}
        self._spaces = [Space(name, hosts[name], owner) for name in sorted(hosts)]
        self._owner = owner
        self._range = port_range
        self._objections: list[_Objection] = []
        self._stated: dict[PortValue, str] = {}
        self._given: set[PortValue] = set()

    def state(self, request: Request) -> None:
        """Take the port that is stated for a service, and collect what stands against it."""
        value, key = self._stated_port(request), request.key
        if value is None:
            return
        number = registry.number_of(value)
        other = self._stated.setdefault(value, key)
        if other != key:
            text = f"services {other} and {key} both want port {value}"
            self._object(INVALID, text, "give one of them another port")
        elif not 1 <= number <= units.MAXIMUM_PORT:
            text = f"{number} is out of range as the port of service {key}"
            self._object(INVALID, text, f"a port is a number from 1 to {units.MAXIMUM_PORT}")
        elif request.pin is None and request.kind == NAMED:
            # Whoever gave the name its port on the host has decided that it may lie outside the range.
            self._take(request, value)
        elif self._range.enforced and number not in self._range:
            text = f"port {value} of service {key} is outside {self._range.low}-{self._range.high}"
            self._object(INVALID, f"{text} ({self._range.origin})", f"give {key} a port of that range, or auto")
        else:
            self._take(request, value)

    def _stated_port(self, request: Request) -> PortValue | None:
        if request.pin is not None:
            return request.pin
        if request.kind == NAMED:
            return self._named_port(request)
        return registry.value_of(request.number, request.protocol) if request.number is not None else None

    def _named_port(self, request: Request) -> PortValue | None:
        subject = f"service {request.key} asks for the port of {request.name}"
        names = ((space.name, space.registry.names.get(request.name or "")) for space in self._spaces)
        found = {host: value for host, value in names if value is not None}
        if len(set(found.values())) > 1:
            text = ", ".join(f"{value} on host {name}" for name, value in found.items())
            self._object(REFUSED, f"{subject}, which is {text}", f"give {request.name} one port on every host")
            return None
        value = next(iter(found.values()), None)
        if value is None:
            hint = f"add {request.name} to [ports] of config/ports.toml on {self._spaces[0].name}, or write the number"
            self._object(INVALID, f"{subject}, and no registry has that name", hint)
        elif registry.protocol_of(value) != request.protocol:
            self._object(INVALID, f"{subject}, which is {value}, for {request.protocol}", "ask for that protocol")
            return None
        return value

    def _take(self, request: Request, value: PortValue) -> None:
        found = [one for space in self._spaces for one in space.against(request.key, value, request.name)]
        for text, hint in found:
            self._object(REFUSED, text, hint)
        if not found:
            self._give(request, value)

    def _give(self, request: Request, value: PortValue) -> None:
        self.ports[request.key] = value
        self._given.add(value)

    def keep(self, request: Request) -> None:
        """Let a service keep a port that it has: that of the first host by name which it may still have on all."""
        for value in (space.own.get(request.key) for space in self._spaces):
            if value is not None and registry.protocol_of(value) == request.protocol and (
                self._may_have(request, value)
            ):
                self._give(request, value)
                return

    def choose(self, request: Request) -> None:
        """Find a port for a service that has none yet."""
        if request.key in self.ports:
            return
        for value in itertools.chain(self._of_plain_names(request), self._candidates(request)):
            if self._may_have(request, value):
                self._give(request, value)
                return
        low, high = self._bounds(request)
        text = f"service {request.key} finds no free port in {low}-{high} ({self._range.origin})"
        self._object(REFUSED, text, "widen the range, or give up ports that nobody uses")

    def _of_plain_names(self, request: Request) -> Iterator[PortValue]:
        for space in self._spaces:
            for name in (request.key, f"{request.key}-{self._owner.partition('/')[2]}"):
                value = space.registry.names.get(name)
                if value is not None and registry.protocol_of(value) == request.protocol:
                    yield value

    def _candidates(self, request: Request) -> Iterator[PortValue]:
        low, high = self._bounds(request)
        strategy = registry.SEQUENTIAL if request.kind == FROM else self._range.strategy
        numbers = port_space.candidates(low, high, strategy, f"{self._owner}/{request.key}")
        return port_space.choosable(numbers, request.protocol, self._spaces)

    def _bounds(self, request: Request) -> tuple[int, int]:
        """A service that asks for ``N+`` may leave the range when nobody enforces it."""
        if request.kind != FROM or request.number is None:
            return self._range.low, self._range.high
        if self._range.enforced:
            return max(self._range.low, request.number), self._range.high
        return request.number, units.MAXIMUM_PORT

    def _may_have(self, request: Request, value: PortValue) -> bool:
        low, high = self._bounds(request)
        if not low <= registry.number_of(value) <= high or value in self._stated or value in self._given:
            return False
        return all(space.is_free(request.key, value) for space in self._spaces)

    def _object(self, code: str, text: str, hint: str) -> None:
        self._objections.append(_Objection(code, text, hint))

    def raise_problems(self) -> None:
        """Raise one error for all that was collected."""
        if not self._objections:
            return
        code = INVALID if any(objection.code == INVALID for objection in self._objections) else REFUSED
        hints = list(dict.fromkeys(objection.hint for objection in self._objections))
        text = "\n".join(objection.text for objection in self._objections)
        raise TetraError(text, hint="; ".join(hints), code=code)
