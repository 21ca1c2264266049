# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The pack: blobs on their way from one machine to another, as one JSON line of names and sizes and then their bytes.

Nothing in it is unpacked by name, so there is no path to abuse.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable

from . import canonical
from .errors import TetraError

FORMAT = 1
MAX_HEADER = 4 * 1024 * 1024
MAX_BLOB = 64 * 1024 * 1024

_DIGEST = re.compile(r"^[0-9a-f]{64}$")


def header(blobs: Iterable[tuple[str, int]]) -> bytes:
    """The first line of a pack: the sha256 and the size in bytes of each blob, in the order of their bytes."""
    return canonical.dumps({"format": FORMAT, "blobs": [list(blob) for blob in blobs]}).encode("ascii") + b"\n"


def parse_header(line: bytes) -> list[tuple[str, int]]:
    """The blobs that the first line of a pack announces.

    :raises TetraError: when it is no such line, or announces a blob that is too large.
    """
    try:
        record = json.loads(line)
        blobs = [(digest, size) for digest, size in record["blobs"]] if record["format"] == FORMAT else None
    except (KeyError, TypeError, ValueError) as error:
        raise TetraError("the pack does not begin with an index", hint="send it again") from error
    if blobs is None:
        raise TetraError(f"the pack has format {record['format']!r}, this version reads {FORMAT}")
    for digest, size in blobs:
        _check(digest, size)
    return blobs


def _check(digest: object, size: object) -> None:
    if not isinstance(digest, str) or not _DIGEST.match(digest):
        raise TetraError(f"the pack announces {digest!r}, which is no sha256", hint="send it again")
    if isinstance(size, bool) or not isinstance(size, int) or not 0 <= size <= MAX_BLOB:
        raise TetraError(f"blob {digest[:12]} has the size {size!r}, at most {MAX_BLOB} bytes are taken")
