# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ports of an environment in the registry of the host: reserved when a release is staged, given back on a revert."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..model.errors import REFUSED, TetraError
from . import registry, sockets
from .scope import Scope


def owner(scope: Scope) -> str:
    """The name under which an environment owns ports."""
    return f"{scope.org}/{scope.env}"


def check_free(scope: Scope, ports: Mapping[str, int], running: Mapping[str, Mapping[str, Any]]) -> None:
    """Refuse ports that another program holds; a port that the service itself already serves on is fine.

    :param ports: service to port.
    :param running: what runs now, as ``host.running.observe`` returns it.
    :raises TetraError: code ``refused``, naming every port that is taken.
    """
    own = {service["ports"].get("main") for service in running.values() if service["running"]}
    taken = []
    for service, port in sorted(ports.items()):
        reason = None if port in own else sockets.can_bind(scope.settings.address, port)
        if reason:
            taken.append(f"port {port} of service {service} is taken: {reason}")
    if taken:
        raise TetraError("\n".join(taken), hint="stop the program that listens there, or choose another port",
                         code=REFUSED)


def before(scope: Scope, ports: Mapping[str, int]) -> dict[str, int | None]:
    """What the registry holds now for the services whose ports are about to be reserved."""
    owned = registry.load(scope.home.root).owned.get(owner(scope), {})
    return {service: owned.get(service) for service in ports if owned.get(service) != ports[service]}


def reserve(scope: Scope, ports: Mapping[str, int]) -> None:
    """Write the ports of a release into the registry."""
    if ports:
        registry.reserve(scope.home.root, owner(scope), ports)


def restore(scope: Scope, ports_before: Mapping[str, int | None]) -> None:
    """Put the registry back to what it held before a transaction reserved its ports."""
    if ports_before:
        registry.change(scope.home.root, {"owned": {owner(scope): dict(ports_before)}})
