# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who listens on this host, read from the kernel."""

from __future__ import annotations

import collections
import contextlib
import errno
import ipaddress
import os
import re
import socket
import struct
from collections.abc import Collection, Iterable, Mapping
from typing import Any, NamedTuple

from . import processes

_TABLES = ("/proc/net/tcp", "/proc/net/tcp6")
_LISTEN = "0A"
_SOCKET = re.compile(r"socket:\[(\d+)\]\Z")
_WILDCARDS = ("0.0.0.0", "::")


class _Socket(NamedTuple):
    address: str
    port: int
    inode: int


def listeners(registered: Collection[int] = ()) -> list[dict[str, Any]]:
    """Every TCP listener, by port and address.

    :returns: ``address`` (an IPv4 address that is mapped into IPv6 as IPv4), ``port``, ``pid`` (of several processes
        that share the socket the one that the others come from; None when it may not be known), ``command`` (the short
        name of the process, never its arguments) and ``owner``, None here.
    """
    found = _listening()
    holders = _holders({one.inode for one in found})
    result = []
    for one in sorted(set(found)):
        pid = _eldest(holders.get(one.inode, set()))
        result.append({"address": one.address, "port": one.port, "protocol": "tcp", "ipv6_only": False, "pid": pid,
                       "command": _command(pid), "owner": None})
    return result


def name_owners(found: Iterable[dict[str, Any]], owners: Mapping[int, str]) -> None:
    """Fill in who owns listeners: what a process listens on is its own, and so is what its descendants listen on.

    :param found: listeners, changed in place.
    :param owners: the pid of a service's process to ``org/env/service``.
    """
    for listener in found:
        for pid in _ancestry(listener["pid"]):
            if pid in owners:
                listener["owner"] = owners[pid]
                break


def listening_pid(address: str, port: int, pids: Collection[int]) -> bool:
    """Whether some processes, or descendants of theirs, are those who answer on an address and a port.

    The kernel gives a connection to the listener with the most exact address, so the others do not count. Where
    several share one address (SO_REUSEPORT), all of them have to be ours: any of them may answer.

    :param address: empty for any address of the host.
    """
    answering = _answering(address, port)
    holders = _holders({one.inode for one in answering})
    return bool(answering) and all(
        any(not set(_ancestry(pid)).isdisjoint(pids) for pid in holders.get(one.inode, ())) for one in answering
    )


def _answering(address: str, port: int) -> list[_Socket]:
    found = [one for one in _listening() if one.port == port]
    if not address:
        return found
    exact = [one for one in found if one.address == address]
    return exact or [one for one in found if one.address in _WILDCARDS]


def can_bind(address: str, port: int, protocol: str = "tcp") -> str | None:
    """Why a service could not listen on an address and a port now; None when it could.

    :param address: empty for every address of the host, IPv4 and IPv6.
    """
    for host in [address] if address else _WILDCARDS:
        error = _bind_error(host, port)
        if error is not None:
            return _reason(error, host, port)
    return None


def _bind_error(host: str, port: int) -> OSError | None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        probe = socket.socket(family, socket.SOCK_STREAM)
    except OSError:
        # A host without this address family has nobody who listens on it.
        return None
    with probe:
        # As servers do it: what only remains of old connections is not in the way, a listener is.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            missing = host == "::" and error.errno == errno.EADDRNOTAVAIL
            return None if missing else error
    return None


def _reason(error: OSError, host: str, port: int) -> str:
    place = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    if error.errno == errno.EACCES:
        return f"this user may not listen on {place}; ports below 1024 need root"
    if error.errno == errno.EADDRNOTAVAIL:
        return f"this host has no address {host}"
    held = [listener for listener in listeners() if listener["port"] == port and _meets(listener["address"], host)]
    if error.errno != errno.EADDRINUSE or not held:
        return f"{place}: {error.strerror}"
    who = f"{held[0]['command'] or 'a program'} (pid {held[0]['pid'] or 'unknown'})"
    address = held[0]["address"]
    return f"{who} listens on {f'[{address}]' if ':' in address else address}:{port}"


def _meets(one: str, other: str) -> bool:
    return one == other or one in _WILDCARDS or other in _WILDCARDS


def _listening() -> list[_Socket]:
    result = []
    for table in _TABLES:
        with contextlib.suppress(FileNotFoundError), open(table, encoding="ascii") as file:
            rows = [line.split() for line in file.readlines()[1:]]
            result += [_Socket(*_endpoint(row[1]), int(row[9])) for row in rows if row[3] == _LISTEN]
    return result


def _endpoint(text: str) -> tuple[str, int]:
    """Address and port of a row: groups of four bytes in the byte order of the machine."""
    address, port = text.split(":")
    raw = bytes.fromhex(address)
    count = len(raw) // 4
    packed = struct.pack(f"!{count}I", *struct.unpack(f"={count}I", raw))
    parsed = ipaddress.ip_address(packed)
    return str(getattr(parsed, "ipv4_mapped", None) or parsed), int(port, 16)


def _holders(inodes: Collection[int]) -> dict[int, set[int]]:
    """The processes that have each of some sockets, as far as this user may look."""
    result: dict[int, set[int]] = collections.defaultdict(set)
    for name in os.listdir("/proc"):
        if name.isdigit():
            for inode in _inodes_of(name).intersection(inodes):
                result[inode].add(int(name))
    return result


def _inodes_of(pid: str) -> set[int]:
    folder = f"/proc/{pid}/fd"
    found = set()
    with contextlib.suppress(OSError):
        for name in os.listdir(folder):
            with contextlib.suppress(OSError):
                match = _SOCKET.match(os.readlink(f"{folder}/{name}"))
                if match:
                    found.add(int(match.group(1)))
    return found


def _command(pid: int | None) -> str:
    """The short name of a process; a process chooses it, so only what can be shown is kept."""
    name = processes.command(pid) if pid else ""
    return "".join(character if character.isprintable() else "?" for character in name)


def _eldest(pids: Collection[int]) -> int | None:
    """The process whose parent is none of them; a server and the workers that it forked share one socket."""
    for pid in sorted(pids):
        if not set(_ancestry(pid)[1:]).intersection(pids):
            return pid
    return min(pids, default=None)


def _ancestry(pid: int | None) -> list[int]:
    """A process, its parent, and so on up; empty for None."""
    result: list[int] = []
    while pid and pid not in result:
        result.append(pid)
        pid = _parent(pid)
    return result


def _parent(pid: int) -> int | None:
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            # The name before the last bracket may hold anything; the state and the parent follow it.
            return int(file.read().rpartition(b")")[2].split()[1])
    except OSError:
        return None
