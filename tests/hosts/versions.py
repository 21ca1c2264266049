# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which versions the system tests ran on: noted where hosts are made, shown as a table when all tests have ended."""

from __future__ import annotations

import json
import platform
from importlib import metadata
from pathlib import Path

_NOTES = Path(__file__).resolve().parent.parent.parent / ".cache" / "versions.jsonl"
_HEAD = ["ansible-core", "its Python", "hosts' Python", "hosts"]


def note(hosts: str, hosts_python: str, core: str | None = None, python: str | None = None) -> None:
    """Remember a combination; without other words the controller is this Python and its ansible-core."""
    row = [core or metadata.version("ansible-core"), python or platform.python_version(), hosts_python, hosts]
    _NOTES.parent.mkdir(exist_ok=True)
    with _NOTES.open("a") as file:
        file.write(json.dumps(row) + "\n")


def forget() -> None:
    """Begin anew."""
    _NOTES.unlink(missing_ok=True)


def table() -> str:
    """What was noted, each combination once; empty when nothing was."""
    lines = _NOTES.read_text().splitlines() if _NOTES.exists() else []
    rows = [json.loads(line) for line in sorted(set(lines))]
    widths = [max(map(len, column)) for column in zip(_HEAD, *rows)]
    shown = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in [_HEAD, *rows]]
    return "\n".join(shown) if rows else ""
