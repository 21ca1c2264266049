# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The port registry of this host as a file: read at any time, changed by one at a time."""

from __future__ import annotations

import os
from collections.abc import Mapping

from ..model import ports_file
from ..model.errors import REFUSED, TetraError
from ..model.ports_file import Registry
from . import durable
from .layout import Home

_LOCK_TIMEOUT = 30.0


def default_path(tetra_dir: str) -> str:
    """The registry of a host."""
    return os.path.join(Home(tetra_dir).config, "ports.toml")


def read_text(path: str) -> str:
    """The text of a registry file; empty when there is none.

    :raises TetraError: code ``refused`` when it is not text. It is never taken for an empty one: that would give
        ports away that are in use.
    """
    try:
        with open(path, "rb") as file:
            return file.read().decode("utf-8")
    except FileNotFoundError:
        return ""
    except UnicodeDecodeError as error:
        raise TetraError(f"{path} is not UTF-8 text (byte {error.start})", hint="restore it from a backup",
                         code=REFUSED) from error


def load(tetra_dir: str) -> Registry:
    """What the registry of a host says."""
    path = default_path(tetra_dir)
    return ports_file.read(read_text(path), path)


def change(tetra_dir: str, changes: Mapping) -> None:
    """Change the registry of a host; see ``model.ports_file.edit``. Nothing is written when nothing changes."""
    change_file(default_path(tetra_dir), changes)


def change_file(path: str, changes: Mapping) -> None:
    """Change a registry file under its lock, keeping its mode."""
    with locked(path):
        text = read_text(path)
        edited = ports_file.edit(text, changes, path)
        if edited != text:
            mode = os.stat(path).st_mode & 0o777 if os.path.exists(path) else 0o644
            durable.write_file(path, edited.encode("utf-8"), mode)


def locked(path: str):
    """The lock under which one run at a time changes a registry file."""
    return durable.lock(f"{os.path.splitext(path)[0]}.lock", timeout=_LOCK_TIMEOUT)
