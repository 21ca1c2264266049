# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The pack: blobs on their way from one machine to another, as one JSON line of names and sizes and then their bytes.

Nothing in it is unpacked by name, so there is no path to abuse.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any

from . import canonical
from .errors import TetraError

FORMAT = 1
# The index of a bundle and a release with as many files as there may be, with room to spare.
MAX_HEADER = 4 * 1024 * 1024
MAX_BLOB = 64 * 1024 * 1024
MAX_TOTAL = 8 * 1024**3
MAX_PART = 4 * 1024 * 1024
"""How many bytes of blobs a host sends in one answer to a controller that keeps them on its disk."""

FOLDER = "/tmp"
"""Where a pack waits on a host until it is taken."""

_NAME = re.compile(r"tetra-[0-9a-f]{32}\.pack")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_AGAIN = "send it again"


def path(token: str) -> str:
    """Where a pack waits; ``token`` is 32 hexadecimal digits that nobody could foresee."""
    return f"{FOLDER}/tetra-{token}.pack"


def is_name(name: str) -> bool:
    """Whether a file in ``FOLDER`` is a pack of ours."""
    return _NAME.fullmatch(name) is not None


def header(blobs: Iterable[tuple[str, int]]) -> bytes:
    """The first line of a pack: the sha256 and the size in bytes of each blob, in the order of their bytes."""
    return canonical.dumps({"format": FORMAT, "blobs": [list(blob) for blob in blobs]}).encode("ascii") + b"\n"


def parse_header(line: bytes) -> list[tuple[str, int]]:
    """The blobs that the first line of a pack announces, in the order of their bytes.

    :param line: with its end; at most ``MAX_HEADER`` bytes are worth reading.
    :raises TetraError: when it is no such line, or announces a blob that is too large, twice or more than one may send.
    """
    blobs = [tuple(item) for item in _items(line)]
    for digest, size in blobs:
        _check(digest, size)
    if len({digest for digest, _size in blobs}) != len(blobs):
        raise TetraError("the pack announces a blob twice", hint=_AGAIN)
    total = sum(size for _digest, size in blobs)
    if total > MAX_TOTAL:
        raise TetraError(f"the pack announces {total} bytes, at most {MAX_TOTAL} are taken")
    return blobs


def _items(line: bytes) -> list[list[Any]]:
    """What stands in the index, each item a list of two."""
    try:
        record = json.loads(line) if line.endswith(b"\n") else None
    except (ValueError, RecursionError) as error:
        raise TetraError("the pack does not begin with an index", hint=_AGAIN) from error
    if not isinstance(record, dict) or "format" not in record:
        raise TetraError("the pack does not begin with an index", hint=_AGAIN)
    version = record["format"]
    if isinstance(version, bool) or version != FORMAT:
        newer = isinstance(version, int) and version > FORMAT
        message = f"the pack has the format {version!r}" + (", it was written by a newer version" if newer else "")
        raise TetraError(message, hint=f"this version reads format {FORMAT}; use one version of the collection")
    items = record.get("blobs")
    if set(record) != {"format", "blobs"} or not isinstance(items, list):
        raise TetraError("the index of the pack does not consist of format and blobs", hint=_AGAIN)
    if not all(isinstance(item, list) and len(item) == 2 for item in items):
        raise TetraError("the index of the pack does not list pairs of sha256 and size", hint=_AGAIN)
    return items


def _check(digest: object, size: object) -> None:
    if not isinstance(digest, str) or not _DIGEST.fullmatch(digest):
        raise TetraError(f"the pack announces {digest!r}, which is no sha256", hint=_AGAIN)
    if isinstance(size, bool) or not isinstance(size, int) or not 0 <= size <= MAX_BLOB:
        raise TetraError(f"blob {digest[:12]} has the size {size!r}, at most {MAX_BLOB} bytes are taken")
