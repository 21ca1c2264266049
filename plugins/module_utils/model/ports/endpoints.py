# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the services of environments answer, from what the port registries of hosts say.

What hosts say goes into configurations of load balancers, so nothing of it is taken that is not a name, an address or
a port.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Mapping
from typing import Any

from ..errors import TetraError
from ..release import MAIN_PORT
from . import file as ports_file
from . import registry
from .registry import PortValue

EVERY_ADDRESS = ("", "0.0.0.0", "::")

_ADDRESS = re.compile(r"[0-9A-Za-z:][0-9A-Za-z._:%-]{0,252}")
_HINT = "give the result of tetra.platform.port_registry_info by host"
_LONGEST = 200


@dataclasses.dataclass(frozen=True)
class Selection:
    """The services that are asked for; what is empty is not asked about."""

    org: str = ""
    env: str = ""
    service: str = ""

    def has(self, endpoint: Mapping[str, Any]) -> bool:
        """Whether a service is among them."""
        return all(wanted in ("", endpoint[key]) for key, wanted in dataclasses.asdict(self).items())


def endpoints(
    answers: Mapping[str, Any], selection: Selection, addresses: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """Every port of the services that are asked for, by service, name of the port and host.

    :param answers: host to what ``port_registry_info`` returned.
    :param addresses: host to its address, for hosts whose services bind to every address; without one it is the name
        of the host.
    :returns: records of ``service``, ``name`` (``main``, or that of a further port), ``host``, ``address``, ``port``
        (a number), ``protocol`` (tcp or udp), ``org`` and ``env``.
    :raises TetraError: for what is no such answer or no address, naming the host and the key.
    """
    found = []
    for host, answer in answers.items():
        address = address_of(host, answer, addresses)
        for owner, keys in owned_ports(host, answer).items():
            org, _slash, env = owner.partition("/")
            found += [{**endpoint(key, value), "host": str(host), "address": address, "org": org, "env": env}
                      for key, value in keys.items()]
    return sorted((one for one in found if selection.has(one)), key=_order)


def _order(one: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(one[key] for key in ("service", "name", "host", "org", "env", "port", "protocol"))


def endpoint(key: str, value: PortValue) -> dict[str, Any]:
    """What a line of a registry says of a port: ``service``, ``name``, ``port`` and ``protocol``."""
    service, _slash, name = key.partition("/")
    return {"service": service, "name": name or MAIN_PORT, "port": registry.number_of(value),
            "protocol": registry.protocol_of(value)}


def owned_ports(host: str, answer: object) -> dict[str, dict[str, PortValue]]:
    """The ports of environments that a host tells of: ``org/env`` to key to port value.

    :raises TetraError: for what is no such answer.
    """
    return {owner: dict(_owned(host, owner, keys)) for owner, keys in _owners(host, answer)}


def _owners(host: str, answer: object) -> Iterator[tuple[str, Mapping[Any, Any]]]:
    said = _mapping(host, answer, "its result")
    if "ports" not in said:
        raise _wrong(host, f"its result has no ports: {_shown(said.get('msg', 'the host did not answer'))}")
    owned = _mapping(host, said["ports"], "ports").get("owned")
    for owner, keys in _mapping(host, owned, "ports.owned").items():
        if not _is_path(owner, (2,)):
            raise _wrong(host, f"ports.owned: {_shown(owner)} is not an org/env")
        yield str(owner), _mapping(host, keys, f"ports.owned of {owner}")


def _owned(host: str, owner: str, keys: Mapping[Any, Any]) -> Iterator[tuple[str, PortValue]]:
    for key, value in keys.items():
        if not _is_path(key, (1, 2)):
            raise _wrong(host, f"ports.owned of {owner}: {_shown(key)} is not a service, or service/name")
        if not registry.is_port_value(value):
            raise _wrong(host, f"ports.owned of {owner}: {_shown(value)} is not a port of {key}")
        # A text that Ansible has marked becomes an ordinary one.
        yield str(key), int(value) if isinstance(value, int) else str(value)


def address_of(host: str, answer: object, addresses: Mapping[str, Any]) -> str:
    """Where the services of a host are reached; ``addresses`` as for :func:`endpoints`.

    :raises TetraError: for what is no address.
    """
    said = _mapping(host, answer, "its result").get("address", "")
    if said not in EVERY_ADDRESS:
        return _checked_address(host, said, "address")
    return _checked_address(host, addresses[host], "addresses") if host in addresses else str(host)


def _checked_address(host: str, address: object, key: str) -> str:
    if not isinstance(address, str) or not _ADDRESS.fullmatch(address):
        raise _wrong(host, f"{key}: {_shown(address)} is not an address")
    return str(address)


def _is_path(text: object, lengths: tuple[int, ...]) -> bool:
    """Whether a text is some names with ``/`` between them."""
    parts = text.split("/") if isinstance(text, str) else []
    return len(parts) in lengths and all(map(ports_file.BARE.match, parts))


def _mapping(host: str, value: object, what: str) -> Mapping[Any, Any]:
    if not isinstance(value, Mapping):
        raise _wrong(host, f"{what} is {_shown(value)}, not a mapping")
    return value


def _wrong(host: str, what: str) -> TetraError:
    return TetraError(f"host {host}: {what}", hint=_HINT)


def _shown(value: object) -> str:
    """A value of a host, short and without anything that a terminal would obey."""
    text = repr(str(value)) if isinstance(value, str) else str(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST - 3]}..."
