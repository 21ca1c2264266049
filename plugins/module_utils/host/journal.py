# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The journal of an environment on this host, as a file with one record a line."""

from __future__ import annotations

import os
from collections.abc import Mapping

from ..model import canonical, journal
from ..model.errors import REFUSED, TetraError
from . import durable
from .layout import Environment


def read(environment: Environment) -> list[dict]:
    """The records of the journal, oldest first; a half-written last line is left out.

    :raises TetraError: code ``refused`` when a record in the middle is damaged, naming its number.
    """
    records, damage = journal.verify(_lines(environment))
    if damage and not damage.torn:
        raise TetraError(
            f"{environment.journal}: record {damage.seq} cannot be trusted: {damage.reason}",
            hint="compare with the heads that other hosts of the environment keep, and restore the file from a backup",
            code=REFUSED,
        )
    return records


def head(environment: Environment) -> dict:
    """The number and the hash of the last record."""
    return journal.head(read(environment))


def append(environment: Environment, payload: Mapping) -> dict:
    """Write one record; the caller holds the lock of the environment.

    A half-written line that a killed run left is kept beside the journal and mentioned in the new record.
    """
    lines = _lines(environment)
    records = read(environment)
    if lines and not lines[-1].endswith(b"\n"):
        payload = {**payload, "after_torn_line": _set_aside(environment, lines)}
    record = journal.append(records[-1] if records else None, payload)
    durable.append_line(environment.journal, canonical.dumps(record).encode("ascii"))
    return record


def _set_aside(environment: Environment, lines: list[bytes]) -> str:
    name = f"journal.torn-{len(lines)}"
    durable.write_file(os.path.join(environment.root, name), lines[-1])
    durable.write_file(environment.journal, b"".join(lines[:-1]))
    return name


def _lines(environment: Environment) -> list[bytes]:
    try:
        with open(environment.journal, "rb") as file:
            return file.readlines()
    except FileNotFoundError:
        return []
