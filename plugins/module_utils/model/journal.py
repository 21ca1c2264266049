# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The journal: records in a chain, each holding the hash of the one before, so that an edit is found by its number."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence

from . import canonical

FORMAT = 1


@dataclasses.dataclass(frozen=True)
class Damage:
    """The first place where a journal cannot be trusted; ``torn`` tells a half-written last line from an attack."""

    seq: int
    reason: str
    torn: bool = False


def append(previous: Mapping | None, payload: Mapping) -> dict:
    """The record that follows another one, or the first record of a journal."""
    record = {
        **payload,
        "format": FORMAT,
        "seq": previous["seq"] + 1 if previous else 1,
        "prev": previous["hash"] if previous else "",
    }
    record["hash"] = canonical.digest(record)
    return record


def verify(lines: Sequence[bytes]) -> tuple[list[dict], Damage | None]:
    """Check a journal line by line.

    :param lines: the lines of the file with their ends; a last line without an end was not written to its end.
    :returns: the records up to the first damage, and that damage or None.
    """
    records: list[dict] = []
    for index, line in enumerate(lines):
        seq = index + 1
        if not line.endswith(b"\n"):
            return records, Damage(seq, "the last line was not written to its end", torn=True)
        reason = _check(line, seq, records[-1]["hash"] if records else "")
        if isinstance(reason, str):
            return records, Damage(seq, reason)
        records.append(reason)
    return records, None


def _check(line: bytes, seq: int, previous: str) -> dict | str:
    """The record of a line, or why it cannot be one."""
    try:
        record = json.loads(line)
        stated = record.pop("hash")
    except (AttributeError, KeyError, TypeError, ValueError):
        return "it is not a record"
    if record.get("seq") != seq:
        return f"its number is {record.get('seq')!r}"
    if record.get("prev") != previous:
        return "it does not follow the record before"
    if canonical.digest(record) != stated:
        return "its content is not what its hash says"
    return {**record, "hash": stated}


def head(records: Sequence[Mapping]) -> dict:
    """The end of a chain, which other hosts keep: ``{"seq", "hash"}``; number 0 for an empty journal."""
    if not records:
        return {"seq": 0, "hash": ""}
    return {"seq": records[-1]["seq"], "hash": records[-1]["hash"]}
