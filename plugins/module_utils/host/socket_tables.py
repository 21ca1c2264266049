# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The sockets of this host, from the tables of the kernel."""

from __future__ import annotations

import contextlib
import functools
import ipaddress
import re
import struct
from collections.abc import Iterable
from typing import NamedTuple

from ..model.ports.registry import TCP, UDP

PROTOCOLS = (TCP, UDP)

BOUND = "bound"
"""Listens (TCP), or takes what anybody sends (UDP)."""

CONNECTED = "connected"
CLOSED = "closed"
"""What the kernel keeps of a TCP connection after its end, for a minute (TIME_WAIT)."""

# The first number of a row is that of its state; a connection has several of them in its life. Left out are those that
# are not answered yet (03, 0C), which belong to a listener, and what is not bound (07 of TCP).
_CODES: dict[str, dict[str, tuple[str, ...]]] = {
    TCP: {BOUND: ("0A",), CONNECTED: ("01", "02", "04", "05", "08", "09", "0B"), CLOSED: ("06",)},
    UDP: {BOUND: ("07",), CONNECTED: ("01",)},
}
_STATES = {protocol: {code: state for state, codes in states.items() for code in codes}
           for protocol, states in _CODES.items()}
_ANY_PORT = "[0-9A-F]{4}"


class Row(NamedTuple):
    """One socket; ``address`` and ``port`` are its own end, and an ``inode`` of 0 is that of no program any more."""

    port: int
    protocol: str
    address: str
    state: str
    inode: int


def read(protocol: str, states: Iterable[str], port: int | None = None) -> list[Row]:
    """The sockets of one protocol, IPv4 and IPv6, that are in one of some states, of one port or of all."""
    found: list[Row] = []
    for table in (protocol, f"{protocol}6"):
        # A host may have no IPv6.
        with contextlib.suppress(FileNotFoundError), open(f"/proc/net/{table}", encoding="ascii") as file:
            found += rows(file.read(), protocol, states, port)
    return found


def rows(text: str, protocol: str, states: Iterable[str], port: int | None = None) -> list[Row]:
    """The rows of a table; see :func:`read`.

    :param text: what a file like /proc/net/tcp6 holds.
    """
    known = _STATES[protocol]
    return [
        Row(int(number, 16), protocol, _address(address), known[code], int(inode))
        for address, number, code, inode in _pattern(protocol, tuple(states), port).findall(text)
    ]


@functools.lru_cache(maxsize=64)
def _pattern(protocol: str, states: tuple[str, ...], port: int | None) -> re.Pattern[str]:
    """What matches the rows that are wanted: a host has thousands, and most are dropped before any is taken apart."""
    codes = "|".join(code for state in states for code in _CODES[protocol].get(state, ()))
    number = _ANY_PORT if port is None else f"{port:04X}"
    own, other = f"([0-9A-F]+):({number})", "[0-9A-F]+:[0-9A-F]{4}"
    # After the state: queues, timer, retransmissions, user, timeout, inode.
    return re.compile(rf"^ *[0-9]+: {own} {other} ({codes}) \S+ \S+ \S+ +\S+ +\S+ +([0-9]+)", re.MULTILINE)


@functools.lru_cache(maxsize=1024)
def _address(text: str) -> str:
    """An address of a row, which is groups of four bytes in the byte order of the machine.

    One of IPv4 that is mapped into IPv6 is given as that of IPv4.
    """
    raw = bytes.fromhex(text)
    count = len(raw) // 4
    parsed = ipaddress.ip_address(struct.pack(f"!{count}I", *struct.unpack(f"={count}I", raw)))
    return str(getattr(parsed, "ipv4_mapped", None) or parsed)
