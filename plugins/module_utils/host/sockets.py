# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who holds the ports of this host, read from the kernel."""

from __future__ import annotations

import errno
import functools
import socket
from collections.abc import Collection, Container, Iterable, Mapping
from typing import Any

from ..model.ports import holder
from ..model.ports.registry import TCP, UDP
from . import containers, kernel_ports, processes, socket_holders, socket_tables
from .socket_tables import BOUND, CLOSED, CONNECTED, PROTOCOLS, Row

_EVERY_IPV4 = "0.0.0.0"
_EVERY_IPV6 = "::"
_WILDCARDS = (_EVERY_IPV4, _EVERY_IPV6)
_KINDS = {TCP: socket.SOCK_STREAM, UDP: socket.SOCK_DGRAM}
# Every host has it, and nobody listens on it alone: only who takes all of IPv4 is in the way there.
_NOBODYS_ADDRESS = "127.255.255.254"
# What holds the port of a container on the host; an empty name is that of a process that may not be looked into.
_FORWARDERS = ("docker-proxy", "dockerd", "conmon", "")
_STATES = (holder.LISTEN, holder.CONNECTION, holder.PUBLISHED)


def listeners(registered: Container[object] = ()) -> list[dict[str, Any]]:
    """Who holds ports of this host: TCP listeners, bound UDP sockets, published ports of containers, connections.

    :param registered: ports that services may want. A connection that has one as its own end keeps a service from it,
        and so does one with a port that the kernel does not choose by itself; of these one for each port is given.
    :returns: by port, listeners as :mod:`model.ports.holder` describes them. An IPv4 address that is mapped into IPv6
        is given as IPv4; ``pid`` is of several processes that share the socket the one that the others come from, None
        when it may not be known; ``command`` is the short name of the process, never its arguments; ``owner`` is None.
    """
    rows = [row for protocol in PROTOCOLS for row in socket_tables.read(protocol, (BOUND, CONNECTED))]
    return _with_containers(_described(rows, registered))


def name_owners(found: Iterable[dict[str, Any]], owners: Mapping[int, str]) -> None:
    """Fill in who owns listeners: what a process listens on is its own, and so is what its descendants listen on.

    :param found: listeners, changed in place.
    :param owners: the pid of a service's process to ``org/env/service``.
    """
    owner = functools.lru_cache(maxsize=None)(functools.partial(_owner, owners))
    for listener in found:
        listener["owner"] = owner(listener["pid"]) or listener["owner"]


def _owner(owners: Mapping[int, str], pid: int | None) -> str | None:
    return next((owners[one] for one in socket_holders.ancestry(pid) if one in owners), None)


def listening_pid(address: str, port: int, pids: Collection[int]) -> bool:
    """Whether some processes, or descendants of theirs, are those who answer on an address and a TCP port.

    The kernel gives a connection to the listener with the most exact address, so the others do not count. Where
    several share one address (SO_REUSEPORT), all of them have to be ours: any of them may answer.

    :param address: empty for any address of the host.
    """
    answering = _answering(address, port)
    holders = socket_holders.find({one.inode for one in answering})
    return bool(answering) and all(
        any(not set(socket_holders.ancestry(pid)).isdisjoint(pids) for pid in holders.get(one.inode, ()))
        for one in answering
    )


def stranger(address: str, port: int, pids: Collection[int]) -> str | None:
    """Who else than some processes, and their descendants, answers on an address and a TCP port, in words.

    Nothing is bound for that, which could be in the way of who is about to.

    :param address: empty for any address of the host.
    """
    found = _described(_answering(address, port), {port})
    others = [one for one in found if set(socket_holders.ancestry(one["pid"])).isdisjoint(pids)]
    return holder.text(others[0]) if others else None


def _answering(address: str, port: int) -> list[Row]:
    found = socket_tables.read(TCP, (BOUND,), port)
    if not address:
        return found
    exact = [one for one in found if one.address == address]
    return exact or [one for one in found if one.address in _WILDCARDS]


def can_bind(address: str, port: int, protocol: str = TCP) -> str | None:
    """Why a service could not listen on an address and a port now; None when it could.

    :param address: empty for every address of the host, IPv4 and IPv6.
    :param protocol: ``tcp`` or ``udp``.
    """
    hosts = [address] if address else _WILDCARDS
    for host in hosts:
        error = _bind_error(host, port, protocol)
        if error is not None:
            return _reason(error, host, port, protocol)
    # Where the kernel itself hands a port to a container, a program can bind it, and nothing will ever reach it.
    published = _with_containers([])
    return next((holder.text(one) for host in hosts for one in _holders(published, host, port, protocol)), None)


def _bind_error(host: str, port: int, protocol: str) -> OSError | None:
    """What is said to who binds. It never listens and is closed at once, so it takes nothing from anybody."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        probe = socket.socket(family, _KINDS[protocol])
    except OSError:
        # A host without this address family has nobody who listens on it.
        return None
    with probe:
        if protocol == TCP:
            # As servers do it: what only remains of old connections is not in the way, a listener is. With UDP it
            # would mean to share the port.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            missing = host == _EVERY_IPV6 and error.errno == errno.EADDRNOTAVAIL
            return None if missing else error
    return None


def _reason(error: OSError, host: str, port: int, protocol: str) -> str:
    place = holder.place(host, port, protocol)
    if error.errno == errno.EACCES:
        return f"this user may not listen on {place}; ports below 1024 need root"
    if error.errno == errno.EADDRNOTAVAIL:
        return f"this host has no address {host}"
    reason = _holder_text(host, port, protocol) if error.errno == errno.EADDRINUSE else None
    return reason or f"{place}: {error.strerror}"


def _holder_text(host: str, port: int, protocol: str) -> str | None:
    rows = socket_tables.read(protocol, (BOUND, CONNECTED, CLOSED), port)
    for one in _holders(_with_containers(_described(rows, {port})), host, port, protocol):
        return holder.text(one)
    for row in rows:
        if _meets(row.address, host):
            place = holder.place(row.address, port, protocol)
            return f"what is left of a connection that was closed keeps {place} for a minute or less"
    return None


def _holders(found: Iterable[dict[str, Any]], host: str, port: int, protocol: str) -> list[dict[str, Any]]:
    """Which of some listeners are in the way of who binds an address and a port: first who listens."""
    result = [
        one for one in found
        if (one["port"], one["protocol"]) == (port, protocol) and _meets(one["address"], host)
        and not (one["ipv6_only"] and ":" not in host)
    ]  # fmt: skip
    return sorted(result, key=lambda one: _STATES.index(one["state"]))


def _meets(held: str, wanted: str) -> bool:
    """Whether who holds one address is in the way on another; every IPv6 address is wanted without those of IPv4."""
    same_family = (":" in held) == (":" in wanted)
    return held in _covering(wanted) or (wanted in _WILDCARDS and same_family)


def _covering(address: str) -> tuple[str, ...]:
    """The addresses that a listener may have that takes what comes to an address."""
    return (address, _EVERY_IPV6) if ":" in address else (address, _EVERY_IPV4, _EVERY_IPV6)


def _described(rows: Iterable[Row], registered: Container[object]) -> list[dict[str, Any]]:
    """Listeners out of sockets: those that listen, and those of connections that are in the way."""
    bound = {row for row in rows if row.state == BOUND}
    ipv6_only = _ipv6_only(bound)
    found = sorted(bound.union(_in_the_way(rows, _served(bound, ipv6_only), registered)))
    pids = socket_holders.find({row.inode for row in found})
    process = functools.lru_cache(maxsize=None)(_process)
    result = [
        {
            "address": row.address, "port": row.port, "protocol": row.protocol,
            "state": holder.LISTEN if row.state == BOUND else holder.CONNECTION, "ipv6_only": row in ipv6_only,
            **process(socket_holders.eldest(pids.get(row.inode, ()))), "owner": None,
        }
        for row in found
    ]  # fmt: skip
    # A program may have several sockets for one port, one for each of its workers.
    return list({tuple(one.values()): one for one in result}.values())


def _ipv6_only(bound: Iterable[Row]) -> set[Row]:
    """Who listens on every IPv6 address and leaves those of IPv4 to others; /proc does not say it.

    Binding an address of IPv4 tells. It is one that nobody else wants, is only bound and closed at once: no connection
    and no packet can get there, and who listens already does not notice. TCP servers bind with SO_REUSEADDR as this
    does, which lets both have the port; only who binds every address without it could be refused, in the microseconds
    between the two calls.
    """
    # Who takes IPv4 as well could not be there beside one that listens on all of it.
    taken = {(row.protocol, row.port) for row in bound if row.address == _EVERY_IPV4}
    return {
        row for row in bound if row.address == _EVERY_IPV6
        and ((row.protocol, row.port) in taken or _bind_error(_NOBODYS_ADDRESS, row.port, row.protocol) is None)
    }  # fmt: skip


def _served(bound: Iterable[Row], ipv6_only: Container[Row]) -> set[tuple[str, int, str]]:
    """Protocol, port and address of all who listen; who takes IPv4 as well is there with both."""
    served = {(row.protocol, row.port, row.address) for row in bound}
    both = {row for row in bound if row.address == _EVERY_IPV6 and row not in ipv6_only}
    return served | {(row.protocol, row.port, _EVERY_IPV4) for row in both}


def _in_the_way(
    rows: Iterable[Row], served: Container[tuple[str, int, str]], registered: Container[object]
) -> list[Row]:
    """Connections that keep services from a port, one of each port; see :func:`listeners`."""
    low, high = kernel_ports.ephemeral()
    # What has no inode belongs to no program any more and ends soon.
    candidates = {
        row for row in rows
        if row.state == CONNECTED and row.inode and (not low <= row.port <= high or row.port in registered)
    }  # fmt: skip
    found: dict[tuple[str, int], Row] = {}
    for row in sorted(candidates):
        every = _EVERY_IPV6 if ":" in row.address else _EVERY_IPV4
        accepted = any((row.protocol, row.port, address) in served for address in (row.address, every))
        if (row.protocol, row.port) in found or accepted:
            continue
        # Many let others have the port, as those do that a listener accepted before it ended.
        if _bind_error(row.address, row.port, row.protocol) is not None:
            found[row.protocol, row.port] = row
    return list(found.values())


def _process(pid: int | None) -> dict[str, Any]:
    """What is told of a process. It chooses its name itself, so only what can be shown is kept."""
    group = socket_holders.group_of(pid)
    command = holder.shown(processes.command(pid)) if pid else ""
    return {"pid": pid, "command": command, "unit": group.unit, "container": containers.name_of(group.container)}


def _with_containers(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Listeners with those of containers named, and with the ports that only the kernel holds for them."""
    result = list(found)
    places: dict[tuple[str, int, str], list[dict[str, Any]]] = {}
    for one in found:
        places.setdefault((one["protocol"], one["port"], one["address"]), []).append(one)
    for port in containers.published():
        holding = [
            one for address in _covering(port["address"])
            for one in places.get((port["protocol"], port["port"], address), ()) if one["command"] in _FORWARDERS
        ]  # fmt: skip
        for one in holding:
            one["container"] = one["container"] or port["container"]
        if not holding:
            result.append(_published(port))
    return sorted(result, key=lambda one: (one["port"], one["protocol"], one["address"], one["state"]))


def _published(port: Mapping[str, Any]) -> dict[str, Any]:
    # The engines list IPv4 and IPv6 apart.
    return {
        "address": port["address"], "port": port["port"], "protocol": port["protocol"], "state": holder.PUBLISHED,
        "ipv6_only": port["address"] == _EVERY_IPV6, "pid": None, "command": "", "unit": "",
        "container": port["container"], "owner": None,
    }  # fmt: skip
