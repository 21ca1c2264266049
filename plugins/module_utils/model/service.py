# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a service is: every key of its definition, checked, with every default filled in."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Mapping
from typing import Any

from .errors import TetraError
from .units import PortRequest
from .values import Value

# Keys without their TSM_. What this version does as told:
HONOURED = frozenset({
    "NAME", "COMMAND", "ARGS", "CWD", "PORT", "ENV", "ENV_FILE", "ENV_FILES", "PRE_COMMAND", "PRE_START", "DEPENDS",
    "HEALTH_CHECK", "HEALTH_INTERVAL", "HEALTH_TIMEOUT", "HEALTH_RETRIES", "HEALTH_START_PERIOD", "MIN_HEALTHY",
    "PORTS", "PORT_TYPE", "AUTOSTART", "RESTART_ON_FAILURE", "RESTART_POLICY", "MAX_RESTARTS", "SECURITY_HARDENING",
    "USER", "MEMORY_LIMIT", "CPU_LIMIT", "STOP_TIMEOUT", "DESCRIPTION",
})  # fmt: skip
# What it knows from the original or keeps for later, and only reports.
REPORTED = frozenset({
    "DEPS", "ORG", "IMAGE", "ENV_SETUP", "AUTO_RELOAD", "WATCH_PATTERNS", "COUPLING_MODE",
    "TDP_TOPIC",
})  # fmt: skip
RESTARTS = ("always", "on-failure", "no")
HARDENING = ("none", "standard", "strict")


@dataclasses.dataclass(frozen=True)
class Service:
    """A service as a definition describes it. Durations are seconds, sizes bytes; None where nothing was said.

    :param command: ``{"argv": [value, ...]}`` or ``{"shell": value}``.
    :param health: None, or ``kind`` ``http`` with ``url``, ``tcp`` with ``address`` and ``port``, ``command`` with
        ``command``; and ``interval``, ``timeout``, ``start_period``, ``retries``.
    :param ports: further ports by name.
    :param unused: the keys that were given and that this version only reports.
    :param env_files: files of more variables, for whoever reads the definition; it does not travel. To use them, parse
        them like definitions and call ``from_definition`` again with their values added to the environment's.
    """

    name: str
    description: str
    command: dict[str, Any]
    pre_commands: list[dict[str, Any]]
    cwd: Value | None
    port: PortRequest
    environment: dict[str, Value]
    depends: list[str]
    health: dict[str, Any] | None
    min_healthy: float
    autostart: bool
    restart: str
    max_restarts: int
    stop_timeout: float
    user: str | None
    memory_limit: int | None
    cpu_limit: float | None
    hardening: str
    image: str | None
    unused: list[str]
    env_files: list[Value] = dataclasses.field(default_factory=list, compare=False)
    ports: dict[str, PortRequest] = dataclasses.field(default_factory=dict)

    def port_requests(self) -> dict[str, PortRequest]:
        """All ports that are asked for by their key in the port registry: the service, or ``service/name``."""
        further = {f"{self.name}/{name}": request for name, request in self.ports.items()}
        return {self.name: self.port, **further}

    def to_wire(self) -> dict[str, Any]:
        """The service as plain data; every key is there."""
        record = dataclasses.asdict(self)
        wire = {key: record[key] for key in _WIRE}
        wire["port"] = _port_to_wire(self.port)
        # What a service does not use is left out, so that a version that knows more names it as one before did.
        if self.ports:
            wire["ports"] = {name: _port_to_wire(request) for name, request in self.ports.items()}
        return wire

    @classmethod
    def from_wire(cls, record: Mapping[str, Any]) -> Service:
        """The service that ``to_wire`` made this record of.

        :raises TetraError: for a record with other keys, or with values of another kind.
        """
        further = record.get("ports", {})
        odd = set(_WIRE) ^ (set(record) - {"ports"})
        odd |= {key for key in set(_WIRE) & set(record) if not isinstance(record[key], _WIRE[key])}
        if "port" not in odd and not _is_port(record["port"]):
            odd.add("port")
        if not isinstance(further, dict) or not all(map(_is_port, further.values())):
            odd.add("ports")
        if odd:
            raise TetraError(
                f"a service of another form: {', '.join(sorted(map(str, odd)))}",
                hint="it was written by another version; use the same version of the collection everywhere",
            )
        fields = copy.deepcopy(dict(record))
        ports = {name: PortRequest(**request) for name, request in further.items()}
        return cls(**{**fields, "port": PortRequest(**fields["port"]), "ports": ports})


def _port_to_wire(request: PortRequest) -> dict[str, Any]:
    record = dataclasses.asdict(request)
    return record if request.protocol != "tcp" else {key: record[key] for key in _PORT}


def _is_port(record: object) -> bool:
    return isinstance(record, dict) and set(record) in ({*_PORT}, {*_PORT, "protocol"})


_PORT = ("kind", "number", "name")
_NUMBER = (int, float)
_NOTHING = type(None)
_WIRE: dict[str, Any] = {
    "name": str, "description": str, "command": dict, "pre_commands": list, "cwd": (str, list, _NOTHING), "port": dict,
    "environment": dict, "depends": list, "health": (dict, _NOTHING), "min_healthy": _NUMBER, "autostart": bool,
    "restart": str, "max_restarts": int, "stop_timeout": _NUMBER, "user": (str, _NOTHING),
    "memory_limit": (int, _NOTHING), "cpu_limit": (*_NUMBER, _NOTHING), "hardening": str, "image": (str, _NOTHING),
    "unused": list,
}  # fmt: skip


def needs(service: Service) -> list[str]:
    """The keys, without ``TSM_``, that a service was given and that take a supervisor which honours them."""
    given = {
        "AUTOSTART": not service.autostart,
        "CPU_LIMIT": service.cpu_limit is not None,
        "MEMORY_LIMIT": service.memory_limit is not None,
        "SECURITY_HARDENING": service.hardening != "none",
        "USER": service.user is not None,
    }
    return [key for key, is_given in given.items() if is_given]
