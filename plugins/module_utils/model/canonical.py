# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One spelling for every record, so that equal records have equal bytes and equal names."""

from __future__ import annotations

import hashlib
import json


def dumps(record: object) -> str:
    """The canonical JSON text of a record: keys sorted, no blanks, ASCII only, no final newline.

    :raises ValueError: for NaN and infinities, which JSON does not have.
    """
    return json.dumps(record, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


def digest(record: object) -> str:
    """The name of a record: sha256 of its canonical text, as 64 lower-case hex digits."""
    return sha256(dumps(record).encode("ascii"))


def sha256(data: bytes) -> str:
    """sha256 of bytes as 64 lower-case hex digits."""
    return hashlib.sha256(data).hexdigest()
