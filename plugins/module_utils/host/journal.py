# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The journal of an environment on this host, as a file with one record a line."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from ..model import canonical, journal
from ..model.errors import REFUSED, TetraError
from ..model.journal import Damage
from . import durable
from .layout import Environment


def examine(environment: Environment) -> tuple[list[dict[str, Any]], Damage | None]:
    """The records up to the first damage, and that damage or None; for whoever shows a journal, damaged or not."""
    return journal.verify(_lines(environment))


def read(environment: Environment) -> list[dict[str, Any]]:
    """The records of the journal, oldest first; a half-written last line is left out.

    :raises TetraError: code ``refused`` when a record in the middle is damaged, naming its number.
    """
    records, damage = examine(environment)
    _refuse(environment, damage)
    return records


def head(environment: Environment) -> dict[str, Any]:
    """The number and the hash of the last record.

    :raises TetraError: as :func:`read`.
    """
    return journal.head(read(environment))


def append(environment: Environment, payload: Mapping[str, Any]) -> dict[str, Any]:
    """Write one record; the caller holds the lock of the environment.

    A half-written line that a killed run left is kept beside the journal, and the new record names the file.

    :returns: the record as it was written.
    :raises TetraError: code ``refused`` when the journal is damaged; nothing is written then.
    """
    lines = _lines(environment)
    records, damage = journal.verify(lines)
    _refuse(environment, damage)
    if damage:
        payload = {**payload, "after_torn_line": _set_aside(environment, lines, damage.seq)}
    record = journal.append(records[-1] if records else None, payload)
    durable.append_line(environment.journal, canonical.dumps(record).encode("ascii"))
    return record


def _refuse(environment: Environment, damage: Damage | None) -> None:
    if damage and not damage.torn:
        raise TetraError(
            f"{environment.journal}: record {damage.seq} cannot be trusted: {damage.reason}",
            hint="compare with the heads that other hosts of the environment keep, and restore the file from a backup",
            code=REFUSED,
        )


def _set_aside(environment: Environment, lines: list[bytes], seq: int) -> str:
    name = f"journal.torn-{seq}"
    durable.write_file(os.path.join(environment.root, name), lines[-1])
    durable.cut(environment.journal, sum(map(len, lines[:-1])))
    return name


def _lines(environment: Environment) -> list[bytes]:
    try:
        with open(environment.journal, "rb") as file:
            return file.readlines()
    except FileNotFoundError:
        return []
    except IsADirectoryError as error:
        raise durable.DamagedError(environment.journal, "it is a folder", "restore it from a backup") from error
