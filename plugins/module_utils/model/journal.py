# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The journal: records in a chain, each holding the hash of the one before, so that an edit is found by its number.

A chain alone does not tell that its end was cut off, or that all of it was written anew; the heads that other hosts
keep do (:func:`contains`).
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from . import canonical

FORMAT = 1

_OWN = ("format", "seq", "prev", "hash")


@dataclasses.dataclass(frozen=True)
class Damage:
    """The first place where a journal cannot be trusted; ``torn`` tells a half-written last line from an attack."""

    seq: int
    reason: str
    torn: bool = False


def append(previous: Mapping[str, Any] | None, payload: Mapping[str, Any]) -> dict[str, Any]:
    """The record that follows another one, or the first record of a journal.

    :param payload: what to write down; ``format``, ``seq``, ``prev`` and ``hash`` belong to the journal.
    :raises ValueError: when the payload has one of these keys, or cannot be written as JSON.
    """
    taken = [key for key in _OWN if key in payload]
    if taken:
        raise ValueError(f"the keys {', '.join(taken)} belong to the journal")
    record = {
        **payload,
        "format": FORMAT,
        "seq": previous["seq"] + 1 if previous else 1,
        "prev": previous["hash"] if previous else "",
    }
    record["hash"] = canonical.digest(record)
    return record


def verify(lines: Iterable[bytes | str]) -> tuple[list[dict[str, Any]], Damage | None]:
    """Check a journal line by line.

    :param lines: the lines of the file with their ends; a last line without an end was not written to its end.
    :returns: the records up to the first damage, and that damage or None.
    """
    records: list[dict[str, Any]] = []
    damage = None
    for line in lines:
        if damage:
            # Something follows a line without an end, so it was not the last one.
            return records, dataclasses.replace(damage, torn=False)
        data = line.encode("utf-8", "surrogateescape") if isinstance(line, str) else line
        seq = len(records) + 1
        if not data.endswith(b"\n"):
            damage = Damage(seq, "torn tail: the last line was not written to its end", torn=True)
            continue
        record = _parse(data)
        reason = _problem(record, data, seq, records[-1]["hash"] if records else "")
        if reason or record is None:
            return records, Damage(seq, reason)
        records.append(record)
    return records, damage


def _parse(line: bytes) -> dict[str, Any] | None:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) else None


def _problem(record: Mapping[str, Any] | None, line: bytes, seq: int, previous: str) -> str:
    """Why a record cannot be the one with this number, or nothing."""
    if record is None:
        return "it is not JSON of a record"
    if record.get("format") != FORMAT:
        return f"format {record.get('format')!r}: this version reads {FORMAT}; it may be written by a newer version"
    if record.get("seq") != seq:
        return f"seq: its number is {record.get('seq')!r}, not {seq}"
    if record.get("prev") != previous:
        return "prev: it does not follow the record before"
    return _hash_problem(record, line)


def _hash_problem(record: Mapping[str, Any], line: bytes) -> str:
    content = {key: value for key, value in record.items() if key != "hash"}
    try:
        right = canonical.digest(content) == record.get("hash")
        same = canonical.dumps(record).encode("ascii") + b"\n" == line
    except (ValueError, RecursionError):
        return "it is not JSON of a record"
    if not right:
        return "hash: its content is not what its hash says"
    # The same content in other bytes, for example with a key twice, is not what was written.
    return "" if same else "hash: it is not in the form in which it was written"


def head(records: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The end of a chain, which other hosts keep: ``{"seq", "hash"}``; number 0 for an empty journal."""
    if not records:
        return {"seq": 0, "hash": ""}
    return {"seq": records[-1]["seq"], "hash": records[-1]["hash"]}


def contains(records: Sequence[Mapping[str, Any]], kept: Mapping[str, Any]) -> bool:
    """Whether a journal still has the record that was its head when somebody kept it.

    False means that its end was cut off, that it was written anew, or that it was rolled back from a backup.
    """
    seq = kept["seq"]
    return bool(seq == 0 or (0 < seq <= len(records) and records[seq - 1]["hash"] == kept["hash"]))
