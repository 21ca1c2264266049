# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Text for people in a terminal: rows in columns, and nothing that the terminal would obey."""

from __future__ import annotations

import json
from collections.abc import Sequence


def table(rows: Sequence[Sequence[str]]) -> str:
    """Rows as aligned text; the first row is the heading. Control characters are shown escaped."""
    shown = [[printable(str(cell)) for cell in row] for row in rows]
    widths = [max(len(row[index]) for row in shown) for index in range(len(shown[0]))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in shown)


def or_nothing(rows: Sequence[Sequence[str]], nothing: str) -> str:
    """As :func:`table`; what is said instead when there is only the heading."""
    return table(rows) if len(rows) > 1 else nothing


def printable(text: str) -> str:
    """A text of one line, escaped as in JSON when a terminal would obey some of it."""
    return text if text.isprintable() else json.dumps(text)[1:-1]
