# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Operations on the port registry of a host, or on any ports.toml."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from ...model import units
from ...model.errors import INVALID, REFUSED, TetraError
from ...model.ports_file import Registry, same_service
from .. import registry as registry_file
from .. import sockets

_T = TypeVar("_T")

AUTO = "auto"
ABSENT = "absent"


def port_registry(request: Mapping[str, Any]) -> dict[str, Any]:
    """Make a registry say what is wanted, and leave the rest of the file as it is.

    :param request: ``tetra_dir``; ``path`` (default: the registry of that directory); ``ports``: plain name to number,
        ``auto`` or ``absent``; ``ranges``: name to ``A-B`` or ``absent``; ``reserved``: category to numbers or
        ``absent``; ``exclusive``: remove plain names that ``ports`` does not list; ``check``: write nothing.
    :returns: ``changed``, ``diff`` with the text ``before`` and ``after``, and ``ports``, ``ranges``, ``reserved`` as
        they are then.
    :raises TetraError: listing every port that cannot be had, or saying why the file cannot be changed.
    """
    path = request.get("path") or registry_file.default_path(request["tetra_dir"])
    update = registry_file.preview_file(path, lambda registry: _changes(request, registry))
    if update.changed and not request["check"]:
        if not request.get("path"):
            registry_file.make_folder(path)
        update = registry_file.update_file(path, lambda registry: _changes(request, registry))
    return {
        "changed": update.changed,
        "diff": {"before": update.before, "after": update.after},
        "ports": dict(update.registry.names),
        "ranges": _ranges(update.registry),
        "reserved": _reserved(update.registry),
    }


def port_registry_info(request: Mapping[str, Any]) -> dict[str, Any]:
    """Read a registry, and who listens on this host.

    :param request: ``tetra_dir``, or ``path`` of a registry file, which must exist.
    :returns: ``ports``: ``plain`` (name to number) and ``owned`` (``org/env`` to service to number); ``ranges``,
        ``reserved``, ``listeners`` and ``findings``.
    """
    path = request.get("path")
    if path and not os.path.exists(path):
        raise TetraError(f"there is no file {path}", hint="give the path of a ports.toml on this host")
    path = path or registry_file.default_path(request["tetra_dir"])
    registry = registry_file.read_file(path)
    return {
        "changed": False,
        "ports": {
            "plain": dict(registry.names),
            "owned": {owner: dict(services) for owner, services in registry.owned.items()},
        },
        "ranges": _ranges(registry),
        "reserved": _reserved(registry),
        "listeners": sockets.listeners(),
        "findings": [finding.to_wire() for finding in registry.findings],
    }


def _ranges(registry: Registry) -> dict[str, str]:
    return {name: f"{low}-{high}" for name, (low, high) in registry.ranges.items()}


def _reserved(registry: Registry) -> dict[str, list[int]]:
    return {category: list(ports) for category, ports in registry.reserved.items()}


def _changes(request: Mapping[str, Any], registry: Registry) -> dict[str, Any]:
    """What has to change for a registry to say what a request wants."""
    ranges = {name: _read("range", name, value, units.port_range)
              for name, value in (request.get("ranges") or {}).items()}
    reserved = {name: _read("reserved", name, value, _numbers)
                for name, value in (request.get("reserved") or {}).items()}
    kept = {category: ports for category, ports in registry.reserved.items() if category not in reserved}
    taboo = {port for ports in (*kept.values(), *reserved.values()) for port in ports or ()}
    names = _Names(request, registry, taboo).changes()
    return {"names": names, "ranges": ranges, "reserved": reserved}


def _read(kind: str, name: str, value: Any, read: Callable[[Any], _T]) -> _T | None:
    """A value of a request, None for one that shall be absent; an error says whose value it is."""
    try:
        return None if value == ABSENT else read(value)
    except TetraError as error:
        raise TetraError(f"{kind} {name}: {error.message}", hint=error.hint, code=error.code) from error


def _numbers(values: Iterable[units.Written]) -> list[int]:
    return sorted({units.port(value) for value in values})


class _Names:
    """The plain names of a registry on their way to what a request wants."""

    def __init__(self, request: Mapping[str, Any], registry: Registry, reserved: set[int]) -> None:
        wanted = request.get("ports") or {}
        self._registry = registry
        self._reserved = reserved
        self._auto = sorted(name for name, value in wanted.items() if value == AUTO)
        self._changes: dict[str, int | None] = {
            name: _read("port", name, value, units.port) for name, value in wanted.items() if value != AUTO
        }
        if request.get("exclusive"):
            self._changes.update({name: None for name in registry.names if name not in wanted})
        after = {**registry.names, **self._changes}
        self._names: dict[str, int] = {name: port for name, port in after.items() if port is not None}

    def changes(self) -> dict[str, int | None]:
        """Name to its port, or None for one to remove."""
        self._check_stated()
        missing = [name for name in self._auto if name not in self._names]
        if missing:
            free = self._free()
            for name in missing:
                self._names[name] = self._changes[name] = self._next(free, name)
        return self._changes

    def _check_stated(self) -> None:
        """Object to new numbers only: what a file says already may be wrong, and is a finding."""
        new = {name: port for name, port in self._changes.items() if port and port != self._registry.names.get(name)}
        objections = [text for name, port in new.items() for text in self._against(name, port)]
        if objections:
            code = INVALID if any(text.startswith("names ") for text in objections) else REFUSED
            raise TetraError("\n".join(dict.fromkeys(objections)), hint="give another port, or auto", code=code)

    def _against(self, name: str, port: int) -> list[str]:
        found = [f"port {port} of {name} is reserved"] if port in self._reserved else []
        for other in (other for other, number in self._names.items() if number == port and other != name):
            if other in self._changes:
                found.append(f"names {' and '.join(sorted((name, other)))} both want port {port}")
            else:
                found.append(f"port {port} of {name} belongs to {other}")
        for owner, services in self._registry.owned.items():
            holders = [f"{owner}/{service}" for service, number in services.items() if number == port]
            found += [f"port {port} of {name} belongs to {one}" for one in holders if not same_service(name, one)]
        return found

    def _free(self) -> list[int]:
        owned = {port for services in self._registry.owned.values() for port in services.values()}
        busy = {listener["port"] for listener in sockets.listeners()}
        taken = {*self._reserved, *self._names.values(), *owned, *busy}
        low, high = self._registry.allocation
        return [port for port in range(high, low - 1, -1) if port not in taken]

    def _next(self, free: list[int], name: str) -> int:
        if not free:
            low, high = self._registry.allocation
            raise TetraError(f"there is no free port in {low}-{high} for {name}", code=REFUSED,
                             hint="widen min_port and max_port in [allocation], or remove names that nobody uses")
        return free.pop()
