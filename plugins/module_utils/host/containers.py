# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The containers of this host and the ports that they publish, as Docker or Podman tell.

This is only for naming things: whatever goes wrong counts as no containers. Who answers is not trusted.
"""

from __future__ import annotations

import contextlib
import functools
import ipaddress
import json
import os
import re
import socket
import time
from typing import Any, NamedTuple

from ..model import units
from ..model.ports import holder
from . import processes, socket_holders

PLACES = ("/var/run/docker.sock", "/run/podman/podman.sock")
"""Where the two wait for questions."""

_QUESTION = b"GET /containers/json HTTP/1.0\r\nHost: localhost\r\n\r\n"
_SECONDS = 1.0
_LARGEST = 4 * 1024 * 1024
_UNIX_SOCKETS = "/proc/net/unix"
_LISTENS = 0x10000
_IDENTITY = re.compile(r"[0-9a-f]{12,64}")
_SHORT = 12
# A run asks once for each of its services; a daemon that hangs must not make it wait each time.
_REMEMBERED = 2.0


class _Container(NamedTuple):
    identity: str
    name: str
    published: tuple[tuple[str, int, str], ...]


def published() -> list[dict[str, Any]]:
    """The ports of this host that containers publish, by port.

    :returns: ``address`` (of this host; ``0.0.0.0`` or ``::`` for every one), ``port``, ``protocol`` (tcp or udp) and
        ``container``, its name.
    """
    found = {(port, protocol, address, one.name) for one in _containers() for address, port, protocol in one.published}
    return [{"address": address, "port": port, "protocol": protocol, "container": name}
            for port, protocol, address, name in sorted(found)]


def name_of(identity: str) -> str:
    """The name of a container, or the beginning of its id when nobody tells the name; empty for an empty id.

    :param identity: all digits of the id.
    """
    names = {one.identity: one.name for one in _containers()} if identity else {}
    return names.get(identity, identity[:_SHORT])


def _containers() -> list[_Container]:
    return _told(PLACES, int(time.monotonic() / _REMEMBERED))


@functools.lru_cache(maxsize=1)
def _told(places: tuple[str, ...], _moment: int) -> list[_Container]:
    return [one for place in places if _is_served(place) for one in read_answer(_ask(place))]


def _is_served(place: str) -> bool:
    """Whether a program of this host waits behind a socket.

    systemd waits for questions on behalf of a program that was stopped, and a question would start it. A socket that
    was mounted into a container leads to another host's containers, and is not in the table.
    """
    inode = _listening_inode(place) if os.path.exists(place) else None
    if inode is None:
        return False
    started_by_question = processes.command(1) == "systemd" and socket_holders.find({inode}).get(inode) == {1}
    return not started_by_question


def _listening_inode(place: str) -> int | None:
    with contextlib.suppress(OSError), open(_UNIX_SOCKETS, encoding="utf-8", errors="replace") as file:
        for line in file.readlines()[1:]:
            # Number, references, protocol, flags, type, state, inode, path.
            fields = line.rstrip("\n").split(None, 7)
            listens = len(fields) == 8 and int(fields[3], 16) & _LISTENS
            if listens and os.path.realpath(fields[7]) == os.path.realpath(place):
                return int(fields[6])
    return None


def _ask(place: str) -> bytes:
    """The whole answer to the question for the running containers; empty when it does not come, or is too long."""
    answer = bytearray()
    deadline = time.monotonic() + _SECONDS
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
            client.settimeout(_SECONDS)
            client.connect(place)
            client.sendall(_QUESTION)
            while len(answer) <= _LARGEST:
                # Who sends a byte now and then must not hold us longer than who sends none.
                client.settimeout(max(deadline - time.monotonic(), 0.001))
                piece = client.recv(65536)
                if not piece:
                    return bytes(answer)
                answer += piece
    except OSError:
        pass
    return b""


def read_answer(answer: bytes) -> list[_Container]:
    """The containers of an answer over HTTP; what is not as it should be is left out, be it a part or all of it."""
    head, _empty, body = answer.partition(b"\r\n\r\n")
    if not re.match(rb"HTTP/1\.[01] 200\b", head):
        return []
    try:
        # Python takes very long to read a number of a million digits.
        document = json.loads(body, parse_int=lambda digits: int(digits[:20]))
    except (ValueError, RecursionError):
        return []
    containers = document if isinstance(document, list) else []
    return [_container(one) for one in containers if isinstance(one, dict) and _is_identity(one.get("Id"))]


def _is_identity(value: object) -> bool:
    return isinstance(value, str) and _IDENTITY.fullmatch(value) is not None


def _container(record: dict[str, Any]) -> _Container:
    ports = record.get("Ports")
    found = [_port(one) for one in ports] if isinstance(ports, list) else []
    return _Container(record["Id"], _name(record), tuple(one for one in found if one))


def _name(record: dict[str, Any]) -> str:
    names = record.get("Names")
    plain = [name.strip("/") for name in names if isinstance(name, str)] if isinstance(names, list) else []
    # A container that another one is linked to has a second name: /other/alias.
    own = [name for name in plain if name and "/" not in name]
    return holder.shown(own[0]) if own else str(record["Id"][:_SHORT])


def _port(record: object) -> tuple[str, int, str] | None:
    """Address, number and protocol of a port; None when it is not published."""
    if not isinstance(record, dict) or record.get("Type") not in ("tcp", "udp"):
        return None
    port = record.get("PublicPort")
    if isinstance(port, bool) or not isinstance(port, int) or not 1 <= port <= units.MAXIMUM_PORT:
        return None
    try:
        # A number would be taken for an address, too.
        address = ipaddress.ip_address(str(record.get("IP") or "0.0.0.0"))
    except ValueError:
        return None
    return str(address), port, record["Type"]
