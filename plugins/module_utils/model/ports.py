# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which service gets which port: the same on all hosts of an environment, kept over time, never somebody else's."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence

from . import units
from .errors import INVALID, REFUSED, TetraError
from .ports_file import Registry

DEFAULT_RANGE = (3000, 9999)
WILDCARDS = ("0.0.0.0", "::", "")


@dataclasses.dataclass(frozen=True)
class Request:
    """What a service asks for (see ``model.service.PortWish``); ``pin`` is the port that the org gives it."""

    service: str
    kind: str
    number: int | None = None
    name: str | None = None
    pin: int | None = None


@dataclasses.dataclass(frozen=True)
class HostPorts:
    """What one host knows of its ports.

    ``listeners`` are ``{"address", "port", "pid", "command", "owner"}``; ``address`` is where services of this host
    bind, empty for every address.
    """

    registry: Registry
    listeners: Sequence[Mapping]
    address: str


@dataclasses.dataclass(frozen=True)
class Range:
    """The ports that an environment may use, and who says so."""

    low: int
    high: int
    origin: str
    enforced: bool

    def __contains__(self, port: int) -> bool:
        return self.low <= port <= self.high


def resolve_range(wanted: str | None, org_ranges: Mapping[str, str], hosts: Mapping[str, HostPorts], env: str) -> Range:
    """The range of an environment: from its policy, else from the org, else from the first host's registry.

    :param wanted: ``port_range`` of the environment: ``A-B``, or the name of a range of the registry, or None.
    :raises TetraError: when a named range is not there.
    """
    registry = hosts[min(hosts)].registry
    if wanted and "-" in wanted and wanted[0].isdigit():
        return Range(*units.port_range(wanted), f"port_range of environment {env}", True)
    if wanted:
        if wanted not in registry.ranges:
            raise TetraError(f"port_range {wanted} of environment {env} is not in the registry of {min(hosts)}",
                             hint="write it as 4100-4199, or add it to [port_ranges]")
        return Range(*registry.ranges[wanted], f"[port_ranges] {wanted}", True)
    if env in org_ranges:
        return Range(*units.port_range(org_ranges[env]), "ports.toml of the org", True)
    if env in registry.ranges:
        return Range(*registry.ranges[env], f"[port_ranges] {env}", True)
    return Range(*DEFAULT_RANGE, "the default", False)


def allocate(
    requests: Iterable[Request], hosts: Mapping[str, HostPorts], owner: str, port_range: Range
) -> dict[str, int]:
    """The port of each service that wants one.

    A fixed or pinned port is taken as it is. Any other stays what the first host by name has for the service, so that
    it never moves by itself; what is new gets the lowest free port of the range.

    :param owner: ``org/env``.
    :raises TetraError: listing every conflict with its host and holder; code ``invalid`` when only the request is wrong,
        ``refused`` when a host objects.
    """
    allocation = _Allocation(hosts, owner, port_range)
    ordered = sorted(requests, key=lambda request: (request.pin is None, request.kind != "fixed", request.service))
    for request in ordered:
        if request.kind != "none":
            allocation.add(request)
    if allocation.problems:
        code = INVALID if all(code == INVALID for code, _text in allocation.problems) else REFUSED
        raise TetraError("\n".join(text for _code, text in allocation.problems),
                         hint="stop the program that has the port, or choose another one", code=code)
    return dict(sorted(allocation.ports.items()))


class _Allocation:
    """Ports that were given out so far, and what stood against the others."""

    def __init__(self, hosts: Mapping[str, HostPorts], owner: str, port_range: Range) -> None:
        self.hosts = hosts
        self.owner = owner
        self.range = port_range
        self.kept = hosts[min(hosts)].registry.owned.get(owner, {})
        self.ports: dict[str, int] = {}
        self.problems: list[tuple[str, str]] = []

    def add(self, request: Request) -> None:
        number = self._stated(request)
        if number is None:
            self._choose(request)
            return
        if self.range.enforced and number not in self.range and request.kind != "named":
            self._object(INVALID, f"port {number} of service {request.service} is outside {self.range.low}-"
                                  f"{self.range.high} ({self.range.origin})")
            return
        conflicts = self._conflicts(request.service, number)
        for code, text in conflicts:
            self._object(code, f"port {number} of service {request.service} {text}")
        if not conflicts:
            self.ports[request.service] = number

    def _object(self, code: str, text: str) -> None:
        self.problems.append((code, text))

    def _stated(self, request: Request) -> int | None:
        if request.pin is not None:
            return request.pin
        if request.kind == "fixed":
            return request.number
        if request.kind == "named":
            number = self.hosts[min(self.hosts)].registry.names.get(str(request.name))
            if number is None:
                self._object(INVALID, f"service {request.service} asks for the port named {request.name}, "
                                      f"which the registry of {min(self.hosts)} does not have")
            return number
        return None

    def _choose(self, request: Request) -> None:
        if request.kind == "named":
            return
        low = max(self.range.low, request.number or 0)
        kept = self.kept.get(request.service)
        if kept is not None and kept in self.range and kept >= low and not self._conflicts(request.service, kept):
            self.ports[request.service] = kept
            return
        for port in range(low, self.range.high + 1):
            if not self._conflicts(request.service, port) and port not in self.kept.values():
                self.ports[request.service] = port
                return
        self._object(REFUSED, f"service {request.service} finds no free port in {low}-{self.range.high} "
                              f"({self.range.origin})")

    def _conflicts(self, service: str, port: int) -> list[tuple[str, str]]:
        taken = [name for name, number in self.ports.items() if number == port]
        if taken:
            return [(INVALID, f"is already that of service {taken[0]}")]
        return [conflict for name in sorted(self.hosts) for conflict in self._conflicts_on(name, service, port)]

    def _conflicts_on(self, name: str, service: str, port: int) -> list[tuple[str, str]]:
        host = self.hosts[name]
        result = [(REFUSED, f"is reserved on host {name} ({category})")
                  for category, ports in host.registry.reserved.items() if port in ports]
        result += [(REFUSED, f"belongs to {owner}/{other} on host {name}")
                   for owner, services in host.registry.owned.items() if owner != self.owner
                   for other, number in services.items() if number == port]
        result += [(REFUSED, f"belongs to {other} in the registry of host {name}")
                   for other, number in host.registry.names.items() if number == port and other != service]
        for listener in host.listeners:
            if listener["port"] == port and self._blocks(listener, host.address, service):
                who = f"{listener['command'] or 'a program'} (pid {listener['pid'] or 'unknown'})"
                result.append((REFUSED, f"is taken on host {name}: {who} listens on {listener['address']}:{port}"))
        return result

    def _blocks(self, listener: Mapping, address: str, service: str) -> bool:
        owner = listener["owner"] or ""
        if owner == f"{self.owner}/{service}" or owner.rpartition("/")[0] == self.owner:
            return False
        everywhere = listener["address"] in WILDCARDS or address in WILDCARDS
        return everywhere or listener["address"] == address
