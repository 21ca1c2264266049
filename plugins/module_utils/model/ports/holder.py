# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who holds a port, in words: the same on a host that refuses a port and on a controller that plans around it.

A *listener* is plain data, as hosts send it: ``{"address", "port", "protocol": "tcp" | "udp", "state", "ipv6_only",
"pid", "command", "unit", "container", "owner"}``. ``unit`` is a unit of systemd and ``container`` the name of a
container, both empty when unknown; ``owner`` is ``org/env/service`` or None.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from . import registry

LISTEN = "listen"
"""A program listens on a TCP port, or has bound a UDP port."""

PUBLISHED = "published"
"""The kernel hands what comes to the port to a container; no program listens."""

CONNECTION = "connection"
"""A connection has the port as its own end, and no program listens."""

_LONGEST = 80


def shown(text: str) -> str:
    """Text from outside as it can be shown: without what a terminal would obey, and not endless."""
    return "".join(character if character.isprintable() else "?" for character in text[:_LONGEST])


def place(address: str, port: int, protocol: str) -> str:
    """Where somebody listens: ``10.0.0.2:4000``, ``[::1]:4000``, ``0.0.0.0:5353/udp``."""
    host = f"[{address}]" if ":" in address else address
    return f"{host}:{registry.value_of(port, protocol)}"


def who(listener: Mapping[str, Any]) -> str:
    """The program that holds a port, and what it belongs to."""
    container = listener["container"]
    if listener["pid"] is None:
        return f"container {container}" if container else "a program that the agent may not look into"
    group = f"container {container}" if container else listener["unit"]
    program = listener["command"] or "a program"
    return f"{program} of {group} (pid {listener['pid']})" if group else f"{program} (pid {listener['pid']})"


def text(listener: Mapping[str, Any]) -> str:
    """Who holds a port, and how: ``nginx of nginx.service (pid 7) listens on 0.0.0.0:80``."""
    where = place(listener["address"], listener["port"], listener["protocol"])
    state = listener["state"]
    if state == PUBLISHED:
        return f"{who(listener)} publishes {where}"
    if state == CONNECTION:
        return f"an outgoing connection of {who(listener)} uses {where} as its source port"
    return f"{who(listener)} listens on {where}"
