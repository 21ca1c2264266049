# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lists of ports as the kernel writes them, and which of its entries are ours.

The kernel chooses the source ports of connections from one range and leaves out the ports of a list. That list has no
room for who put a port on it, so what we put there is remembered beside it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterable

from .. import units


def parse(text: str) -> frozenset[int]:
    """The ports of a list like ``22,4000-4010``; none of an empty one.

    :raises TetraError: for anything else.
    """
    result: set[int] = set()
    for piece in filter(None, text.strip().split(",")):
        low, _dash, high = piece.partition("-")
        # The kernel takes 0, too, which is no port.
        first, last = (units.integer(number, 0, units.MAXIMUM_PORT) for number in (low, high or low))
        result.update(range(first, last + 1))
    return frozenset(result)


def text(ports: Iterable[int]) -> str:
    """Ports as the kernel writes them: in order, with a range for those in a row."""
    return ",".join(_runs(ports))


def pieces(ports: Iterable[int], size: int) -> list[str]:
    """The text of a list and its line end, cut behind commas.

    :param size: how many characters a piece may have; at least a dozen.
    """
    result = [""]
    for run in _runs(ports):
        if len(result[-1]) + len(run) + 1 > size:
            result.append("")
        result[-1] += f"{run},"
    # Without the line end there would be nothing to write for an empty list, which would leave it as it is.
    return [*result[:-1], f"{result[-1].rstrip(',')}\n"]


def _runs(ports: Iterable[int]) -> list[str]:
    runs: list[list[int]] = []
    for port in sorted(set(ports)):
        if runs and port == runs[-1][1] + 1:
            runs[-1][1] = port
        else:
            runs.append([port, port])
    return [str(low) if low == high else f"{low}-{high}" for low, high in runs]


@dataclasses.dataclass(frozen=True)
class Kept:
    """What shall be remembered as ours, and the whole list that the kernel shall have."""

    ours: frozenset[int]
    kernel: frozenset[int]


def keep(ours: Collection[int], kernel: Collection[int], wanted: Collection[int]) -> Kept:
    """Have the wanted ports on the kernel's list beside what others put there.

    :param ours: what we put there before; only that is taken off when it is no longer wanted.
    :param kernel: what is on the list now. What is not ours stays, and does not become ours by being wanted.
    """
    others = frozenset(kernel) - frozenset(ours)
    return Kept(frozenset(wanted) - others, others | frozenset(wanted))
