# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which service gets which port: the same on all hosts of an environment, kept over time, never somebody else's."""

from __future__ import annotations

import dataclasses
import ipaddress
import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from . import units
from .errors import INVALID, REFUSED, TetraError
from .ports_file import Registry, range_for, same_service

HIGHEST = 65535

NONE = "none"
FROM = "from"
FIXED = "fixed"
NAMED = "named"


@dataclasses.dataclass(frozen=True)
class Request:
    """What a service asks for.

    ``kind`` is none, auto, from (``number`` or above), fixed (``number``) or named (the registry's plain ``name``);
    ``pin`` is the port that the org's ``ports.toml`` gives it, which wins over all of these.
    """

    service: str
    kind: str
    number: int | None = None
    name: str | None = None
    pin: int | None = None


@dataclasses.dataclass(frozen=True)
class HostPorts:
    """What one host knows of its ports.

    ``listeners`` are ``{"address", "port", "pid", "command", "owner"}``, the owner as ``org/env/service`` or None;
    ``address`` is where services of this host bind, empty for every address.
    """

    registry: Registry
    listeners: Sequence[Mapping[str, Any]]
    address: str


@dataclasses.dataclass(frozen=True)
class Range:
    """The ports that an environment may use, and who says so.

    One that is ``enforced`` also binds ports that a definition states; the default one is only for choosing.
    """

    low: int
    high: int
    origin: str
    enforced: bool

    def __contains__(self, port: int) -> bool:
        return self.low <= port <= self.high


def resolve_range(wanted: str | None, org_ranges: Mapping[str, str], hosts: Mapping[str, HostPorts], env: str) -> Range:
    """The range of an environment: its policy's, else the org's, else that of the first host by name that has one.

    :param wanted: ``port_range`` of the environment's policy: ``A-B``, the name of a range, or None.
    :param org_ranges: name to ``A-B``, from the ``ports.toml`` of the org.
    :raises TetraError: when a named range is not there, or a range is not one.
    """
    if wanted and wanted[0].isdigit():
        return Range(*units.port_range(wanted), f"port_range of environment {env}", True)
    found = _find_range(wanted or env, org_ranges, hosts)
    if found:
        return found
    if wanted:
        known = {*org_ranges, *(name for host in hosts.values() for name in host.registry.ranges)}
        names = f", or use one of {', '.join(sorted(known))}" if known else ""
        raise TetraError(
            f"port_range {wanted!r} of environment {env} is the name of no range", hint=f"write it as 4000-4999{names}"
        )
    first = min(hosts)
    return Range(*hosts[first].registry.allocation, f"[allocation] of host {first}", False)


def _find_range(name: str, org_ranges: Mapping[str, str], hosts: Mapping[str, HostPorts]) -> Range | None:
    found = range_for({key: units.port_range(text) for key, text in org_ranges.items()}, name)
    if found:
        return Range(*found[1], f"[port_ranges] {found[0]} of the org", True)
    for host in sorted(hosts):
        found = range_for(hosts[host].registry.ranges, name)
        if found:
            return Range(*found[1], f"[port_ranges] {found[0]} of host {host}", True)
    return None


def allocate(
    requests: Iterable[Request], hosts: Mapping[str, HostPorts], owner: str, port_range: Range
) -> dict[str, int]:
    """The port of each service that wants one, the same on every host.

    A pinned, fixed or named port is taken as it is. Any other service keeps what the first host by name that knows it
    has for it, so that no port moves by itself; else it gets the plain name's port where the registry has its name,
    else the lowest free port of the range.

    :param requests: all services of the environment; what the registry has for others of it is given up.
    :param owner: ``org/env``.
    :raises TetraError: listing every conflict with its host and holder; code ``refused`` when only hosts object,
        ``invalid`` when the request itself is wrong.
    """
    wanted = sorted((request for request in requests if request.kind != NONE), key=lambda request: request.service)
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


def check_registered(registry: Registry, owner: str, ports: Mapping[str, int], host: str) -> None:
    """Object to ports that an environment must not own by the registry of a host; listeners are left aside.

    :param ports: service to port.
    :param host: what the error calls the host.
    :raises TetraError: code ``refused``, listing every port that is reserved or belongs to somebody else.
    """
    allocation = _Allocation({host: HostPorts(registry, (), "")}, owner, Range(1, HIGHEST, "", False))
    for service, port in sorted(ports.items()):
        allocation.state(Request(service, FIXED, port))
    allocation.raise_problems()


@dataclasses.dataclass(frozen=True)
class _Objection:
    code: str
    text: str
    hint: str


class _Allocation:
    """Ports that were given out so far, and what stands against the others."""

    def __init__(self, hosts: Mapping[str, HostPorts], owner: str, port_range: Range) -> None:
        self.ports: dict[str, int] = {}
        self._hosts = [_Host(name, hosts[name], owner) for name in sorted(hosts)]
        self._owner = owner
        self._range = port_range
        self._objections: list[_Objection] = []
        self._stated: dict[str, int] = {}

    def state(self, request: Request) -> None:
        """Take the port that is stated for a service, and collect what stands against it."""
        port, service = self._stated_port(request), request.service
        if port is None:
            return
        other = next((name for name, number in self._stated.items() if number == port), None)
        self._stated[service] = port
        if other:
            text = f"services {other} and {service} both want port {port}"
            self._object(INVALID, text, "give one of them another port")
        elif not 1 <= port <= HIGHEST:
            text = f"{port} is out of range as the port of service {service}"
            self._object(INVALID, text, f"a port is a number from 1 to {HIGHEST}")
        elif request.pin is None and request.kind == NAMED:
            # Whoever gave the name its port on the host has decided that it may lie outside the range.
            self._take(request, port)
        elif self._range.enforced and port not in self._range:
            text = f"port {port} of service {service} is outside {self._range.low}-{self._range.high}"
            self._object(INVALID, f"{text} ({self._range.origin})", f"give {service} a port of that range, or auto")
        else:
            self._take(request, port)

    def _stated_port(self, request: Request) -> int | None:
        if request.pin is not None:
            return request.pin
        return request.number if request.kind == FIXED else self._named_port(request)

    def _named_port(self, request: Request) -> int | None:
        subject = f"service {request.service} asks for the port of {request.name}"
        found = {host.name: port for host in self._hosts for name, port in host.registry.names.items()
                 if name == request.name}
        if len(set(found.values())) == 1:
            return next(iter(found.values()))
        if found:
            text = ", ".join(f"{port} on host {name}" for name, port in found.items())
            self._object(REFUSED, f"{subject}, which is {text}", f"give {request.name} one port on every host")
        else:
            hint = f"add {request.name} to [ports] of config/ports.toml on {self._hosts[0].name}, or write the number"
            self._object(INVALID, f"{subject}, and no registry has that name", hint)
        return None

    def _take(self, request: Request, port: int) -> None:
        found = [objection for host in self._hosts for objection in host.against(request, port)]
        for text, hint in found:
            self._object(REFUSED, text, hint)
        if not found:
            self.ports[request.service] = port

    def keep(self, request: Request) -> None:
        """Let a service keep the port that it has, when it may still have it."""
        owned = (host.registry.owned.get(self._owner, {}).get(request.service) for host in self._hosts)
        port = next((port for port in owned if port is not None), None)
        if port is not None and self._may_have(request, port):
            self.ports[request.service] = port

    def choose(self, request: Request) -> None:
        """Find a port for a service that has none yet."""
        if request.service in self.ports:
            return
        low, high = self._bounds(request)
        named = (port for host in self._hosts for name, port in host.registry.names.items()
                 if same_service(name, f"{self._owner}/{request.service}"))
        for port in itertools.chain(named, range(low, high + 1)):
            if self._may_have(request, port):
                self.ports[request.service] = port
                return
        text = f"service {request.service} finds no free port in {low}-{high} ({self._range.origin})"
        self._object(REFUSED, text, "widen the range, or give up ports that nobody uses")

    def _bounds(self, request: Request) -> tuple[int, int]:
        """A service that asks for ``N+`` may leave the range when nobody enforces it."""
        if request.kind != FROM or request.number is None:
            return self._range.low, self._range.high
        if self._range.enforced:
            return max(self._range.low, request.number), self._range.high
        return request.number, HIGHEST

    def _may_have(self, request: Request, port: int) -> bool:
        low, high = self._bounds(request)
        given = {*self._stated.values(), *self.ports.values()}
        if not low <= port <= high or port in given:
            return False
        return not any(host.against(request, port) or host.keeps(request.service, port) for host in self._hosts)

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


class _Host:
    """What one host says about a port that a service would get."""

    def __init__(self, name: str, ports: HostPorts, owner: str) -> None:
        self.name = name
        self.registry = ports.registry
        self._address = _normal(ports.address)
        self._owner = owner
        self._own = self.registry.owned.get(owner, {})
        self._registered = self.registry.registered()
        self._listeners: dict[int, list[Mapping[str, Any]]] = {}
        for listener in ports.listeners:
            if self._overlaps(listener["address"]):
                self._listeners.setdefault(listener["port"], []).append(listener)

    def against(self, request: Request, port: int) -> list[tuple[str, str]]:
        """What stands against a service having a port, each with what to do about it."""
        service = request.service
        subject = f"port {port} of service {service}"
        found = []
        for category, ports in self.registry.reserved.items():
            if port in ports:
                text = f"{subject} is reserved on host {self.name} ([reserved] {category})"
                found.append((text, f"give {service} another port"))
        for holder in self._registered.get(port, ()):
            if holder != request.name and not self._is_own(holder, service):
                text = f"{subject} belongs to {holder} in the registry of host {self.name}"
                found.append((text, f"give {service} another port, or release that one"))
        for listener in self._listeners.get(port, ()):
            if not self._gives_way(listener, service):
                text = f"{subject} is taken on host {self.name}: {_who(listener)}"
                found.append((text, f"stop that program or give {service} another port"))
        return found

    def keeps(self, service: str, port: int) -> bool:
        """Whether another service of the environment has the port here, be it only until it is taken away."""
        return any(other != service and number == port for other, number in self._own.items())

    def _is_own(self, holder: str, service: str) -> bool:
        return holder.rpartition("/")[0] == self._owner or same_service(holder, f"{self._owner}/{service}")

    def _gives_way(self, listener: Mapping[str, Any], service: str) -> bool:
        """A service listens on its own port; others of the environment are stopped before anything new starts."""
        owner, _slash, other = (listener["owner"] or "").rpartition("/")
        return owner == self._owner and (other == service or self._own.get(other) == listener["port"])

    def _overlaps(self, address: str) -> bool:
        """Whether a listener on an address is in the way of a service on this host's address."""
        found = _normal(address)
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


def _who(listener: Mapping[str, Any]) -> str:
    address = listener["address"]
    place = f"[{address}]:{listener['port']}" if ":" in address else f"{address}:{listener['port']}"
    if listener["pid"] is None:
        return f"a program that the agent may not look into listens on {place}"
    return f"{listener['command'] or 'a program'} (pid {listener['pid']}) listens on {place}"
