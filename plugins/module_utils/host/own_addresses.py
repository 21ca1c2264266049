# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which addresses are those of this host, as the kernel tells. Where it tells nothing, only loopback is."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator

_IPV4 = "/proc/net/fib_trie"
_IPV6 = "/proc/net/if_inet6"


def is_own(address: str) -> bool:
    """Whether what is sent to an address stays on this host."""
    found = ipaddress.ip_address(address.partition("%")[0])
    mapped = getattr(found, "ipv4_mapped", None) or found
    # Every address as a target is this host.
    return mapped.is_loopback or mapped.is_unspecified or str(mapped) in {*_ipv4(), *_ipv6()}


def _ipv4() -> Iterator[str]:
    """The routing table has each address on a line, and below it what the kernel does with it."""
    address = ""
    for line in _lines(_IPV4):
        if "|-- " in line:
            address = line.split()[-1]
        elif "/32 host LOCAL" in line:
            yield address


def _ipv6() -> Iterator[str]:
    for line in _lines(_IPV6):
        yield str(ipaddress.ip_address(bytes.fromhex(line.split()[0])))


def _lines(path: str) -> list[str]:
    try:
        with open(path, encoding="ascii") as file:
            return file.readlines()
    except OSError:
        return []
