# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ports that somebody gave up: for a while they go to nobody else.

Clients, load balancers and caches may still know a freed port, and a transaction may have to go back to one. Released
ports are a record of ``str(port value)`` to ``{"by": identity, "until": seconds since the epoch, "held": bool}``; one
that is ``held`` is kept for a transaction that has not ended.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from . import registry as words
from .registry import Registry

Released = Mapping[str, Mapping[str, Any]]

LONGEST_HOLD = 86400.0
"""Seconds after which a held port is free, should nobody ever say how its transaction ended; no lease is longer."""


def known(released: Released, now: float, cooldown: float) -> dict[str, dict[str, Any]]:
    """Those that still count; one that would rest for longer than any was given up by a clock that was ahead.

    :param cooldown: seconds for which ports rest.
    """
    latest = now + max(LONGEST_HOLD, cooldown)
    return {value: dict(one) for value, one in released.items() if now < one["until"] and (
        one["held"] or one["until"] <= latest)}


def after(old: Released, before: Registry, said: Registry, now: float, held: bool) -> dict[str, dict[str, Any]]:
    """The released ports after a change of a registry.

    :param before: what the registry said, and ``said`` what it says.
    :param held: whether a transaction may have to go back to what was given up.
    """
    result = known(old, now, said.cooldown)
    having = dict(said.identities())
    until = now + (LONGEST_HOLD if held else said.cooldown)
    for identity, value in before.identities():
        if having.get(identity) != value:
            result[str(value)] = {"by": identity, "until": until, "held": held}
    for value in map(str, having.values()):
        result.pop(value, None)
    return result


def settled(released: Released, owner: str, now: float, cooldown: float) -> dict[str, dict[str, Any]]:
    """The released ports after the transaction of an environment has ended: nothing is held for it any more.

    :param owner: ``org/env``.
    :param cooldown: seconds.
    """
    result = {}
    for value, one in known(released, now, cooldown).items():
        if one["held"] and words.split_identity(one["by"])[0] == owner:
            one = {**one, "held": False, "until": now + cooldown}
        result[value] = one
    return result
