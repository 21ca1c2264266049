# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ports of an environment in the registry of the host: reserved when a release is staged, given back on a revert, freed
when a release without them is confirmed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ..model.errors import REFUSED, TetraError
from ..model.ports import registry as words
from ..model.ports.registry import PortValue
from . import registry, sockets
from .scope import Scope


def owner(scope: Scope) -> str:
    """The name under which an environment owns ports."""
    return f"{scope.org}/{scope.env}"


def check_free(scope: Scope, ports: Mapping[str, PortValue], running: Mapping[str, Mapping[str, Any]]) -> None:
    """Refuse ports that another program holds; a port that the service itself already serves on is fine.

    :param ports: key to port value.
    :param running: what runs now, as ``host.running.observe`` returns it.
    :raises TetraError: code ``refused``, naming every port that is taken.
    """
    own = {value for service in running.values() if service["running"] for value in service["ports"].values()}
    taken = []
    for key, value in sorted(ports.items()):
        number, protocol = words.number_of(value), words.protocol_of(value)
        reason = None if value in own else sockets.can_bind(scope.settings.address, number, protocol)
        if reason:
            taken.append(f"port {value} of service {key} is taken: {reason}")
    if taken:
        raise TetraError("\n".join(taken), hint="stop the program that listens there, or choose another port",
                         code=REFUSED)


def before(scope: Scope, ports: Mapping[str, PortValue]) -> dict[str, PortValue | None]:
    """What the registry holds now for those whose ports are about to be reserved, by key."""
    owned = registry.load(scope.home.root).registry.owned.get(owner(scope), {})
    return {key: owned.get(key) for key in ports if owned.get(key) != ports[key]}


def reserve(scope: Scope, ports: Mapping[str, PortValue]) -> None:
    """Write the ports of a release into the registry."""
    if ports:
        registry.reserve(scope.home.root, owner(scope), ports)


def settle(scope: Scope, gone: Iterable[str]) -> None:
    """Free the ports of services that a confirmed release does not have, and those that it moved away from."""
    registry.settle(scope.home.root, owner(scope), gone)


def restore(scope: Scope, ports_before: Mapping[str, PortValue | None]) -> None:
    """Put the registry back to what it held before a transaction reserved its ports."""
    if ports_before:
        registry.change(scope.home.root, {"owned": {owner(scope): dict(ports_before)}})
