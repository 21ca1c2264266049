# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Two texts that were changed from the same third one, put together line by line."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence

BEGIN, MIDDLE, END = "<<<<<<<", "=======", ">>>>>>>"


def merge(base: str, ours: str, theirs: str, names: tuple[str, str]) -> tuple[str, bool]:
    """Both changes in one text.

    :param names: what ours and theirs are called in a mark.
    :returns: the text, and whether it has marks: both sides of what was changed on both in different ways, between
        lines that begin with ``BEGIN``, ``MIDDLE`` and ``END``.
    """
    lines = [text.splitlines(keepends=True) for text in (base, ours, theirs)]
    merged: list[str] = []
    clash = False
    at = (0, 0, 0)
    for start, end in _common(*lines):
        old, one, other = (part[low:high] for part, low, high in zip(lines, at, start))
        if one in (old, other):
            merged += other
        elif other == old:
            merged += one
        else:
            clash = True
            merged += _marked(one, other, names)
        merged += lines[0][start[0]:end[0]]
        at = end
    return "".join(merged), clash


_Places = tuple[int, int, int]


def _common(base: Sequence[str], ours: Sequence[str], theirs: Sequence[str]) -> Iterator[tuple[_Places, _Places]]:
    """Where something begins and ends that all three have, in order; at last the end of all three."""
    pairs = [difflib.SequenceMatcher(None, base, other).get_matching_blocks() for other in (ours, theirs)]
    first, second = 0, 0
    while first < len(pairs[0]) and second < len(pairs[1]):
        one, other = pairs[0][first], pairs[1][second]
        low, high = max(one.a, other.a), min(one.a + one.size, other.a + other.size)
        if low < high:
            begin = (low, one.b + low - one.a, other.b + low - other.a)
            yield begin, (high, begin[1] + high - low, begin[2] + high - low)
        if one.a + one.size <= other.a + other.size:
            first += 1
        else:
            second += 1
    ends = (len(base), len(ours), len(theirs))
    yield ends, ends


def _marked(ours: Sequence[str], theirs: Sequence[str], names: tuple[str, str]) -> list[str]:
    return [f"{BEGIN} {names[0]}\n", *_whole(ours), f"{MIDDLE}\n", *_whole(theirs), f"{END} {names[1]}\n"]


def _whole(lines: Sequence[str]) -> list[str]:
    """Lines that all have an end, so that a mark begins a line."""
    return [line if line.endswith("\n") else f"{line}\n" for line in lines]
