# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Operations on the port registry of a host, or on any ports.toml."""

from __future__ import annotations

import dataclasses
import os
import socket
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from ...model import port_names, ports_conflicts, units
from ...model.errors import TetraError
from ...model.port_names import ABSENT, Wanted
from ...model.port_space import HostPorts
from ...model.registry import Registry
from .. import listeners, settings
from .. import registry as registry_file
from ..layout import Home

_T = TypeVar("_T")


def port_registry(request: Mapping[str, Any]) -> dict[str, Any]:
    """Make a registry say what is wanted, and leave the rest of the file as it is.

    :param request: ``tetra_dir``; ``path`` (default: the registry of that directory); ``ports``: plain name to a port
        value, ``auto`` or ``absent``; ``ranges``: name to ``A-B`` or ``absent``; ``reserved``: category to numbers or
        ``absent``; ``exclusive``: remove plain names that ``ports`` does not list; ``resolve``: ``report``,
        ``reallocate`` or ``fail``; ``check``: write nothing.
    :returns: ``changed``, ``diff`` with the text ``before`` and ``after``, ``ports``, ``ranges`` and ``reserved`` as
        they are then, and ``findings``.
    :raises TetraError: listing every port that cannot be had, or saying why the file cannot be changed.
    """
    path = request.get("path") or registry_file.default_path(request["tetra_dir"])
    wanted = _wanted(request)

    def decide(known: HostPorts) -> Mapping[str, Any]:
        return port_names.changes(wanted, _live(request, known), socket.gethostname())

    update = registry_file.preview_file(path, decide)
    if update.changed and not request["check"]:
        if not request.get("path"):
            registry_file.make_folder(path)
        update = registry_file.update_file(path, decide)
    return {
        "changed": update.changed,
        "diff": {"before": update.before, "after": update.after},
        "ports": dict(update.registry.names),
        "ranges": _ranges(update.registry),
        "reserved": _reserved(update.registry),
        "findings": _findings(path, _live(request, HostPorts(update.registry, (), ""))),
    }


def port_registry_info(request: Mapping[str, Any]) -> dict[str, Any]:
    """Read a registry, and who listens on this host.

    :param request: ``tetra_dir``, or ``path`` of a registry file, which must exist.
    :returns: ``ports``: ``plain`` (name to port value) and ``owned`` (``org/env`` to key to port value); ``ranges``,
        ``reserved``, ``released``, ``listeners``, ``findings``, and ``address``, where services of this host bind.
    """
    path = request.get("path")
    if path and not os.path.exists(path):
        raise TetraError(f"there is no file {path}", hint="give the path of a ports.toml on this host")
    path = path or registry_file.default_path(request["tetra_dir"])
    known = _live(request, registry_file.read_file(path))
    said = known.registry
    return {
        "changed": False,
        "ports": {
            "plain": dict(said.names),
            "owned": {owner: dict(keys) for owner, keys in said.owned.items()},
        },
        "ranges": _ranges(said),
        "reserved": _reserved(said),
        "released": {value: one["by"] for value, one in known.released.items()},
        "address": known.address,
        "listeners": list(known.listeners),
        "findings": _findings(path, known),
    }


def _live(request: Mapping[str, Any], known: HostPorts) -> HostPorts:
    """What a host knows of its ports, with what listens now."""
    home = Home(request["tetra_dir"])
    address = settings.load(home).address if os.path.exists(settings.path(home)) else ""
    return dataclasses.replace(known, address=address, listeners=listeners.named(home, known.registry))


def _findings(path: str, known: HostPorts) -> list[dict[str, Any]]:
    live = [conflict.finding(path) for conflict in ports_conflicts.live(known)]
    return [finding.to_wire() for finding in (*known.registry.findings, *live)]


def _ranges(registry: Registry) -> dict[str, str]:
    return {name: f"{low}-{high}" for name, (low, high) in registry.ranges.items()}


def _reserved(registry: Registry) -> dict[str, list[int]]:
    return {category: list(ports) for category, ports in registry.reserved.items()}


def _wanted(request: Mapping[str, Any]) -> Wanted:
    """What a request wants, read from what a person wrote."""
    return Wanted(
        names=_values("port", request.get("ports"), port_names.read),
        ranges=_values("range", request.get("ranges"), lambda value: _or_absent(value, units.port_range)),
        reserved=_values("reserved", request.get("reserved"), lambda value: _or_absent(value, _numbers)),
        exclusive=bool(request.get("exclusive")),
        resolve=units.one_of(request.get("resolve") or port_names.REPORT, port_names.RESOLUTIONS),
    )


def _values(kind: str, given: Mapping[str, Any] | None, read: Callable[[Any], _T]) -> dict[str, _T]:
    """The values of an option; an error says whose value it is."""
    result = {}
    for name, value in (given or {}).items():
        try:
            result[name] = read(value)
        except TetraError as error:
            raise TetraError(f"{kind} {name}: {error.message}", hint=error.hint, code=error.code) from error
    return result


def _or_absent(value: Any, read: Callable[[Any], _T]) -> _T | None:
    return None if value == ABSENT else read(value)


def _numbers(values: Iterable[units.Written]) -> list[int]:
    return sorted({units.port(value) for value in values})
