# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The port registry of this host as a file: read at any time, changed by one at a time."""

from __future__ import annotations

import dataclasses
import os
import socket
import stat
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any

from ..model import ports, ports_file
from ..model.errors import REFUSED, TetraError
from ..model.ports_file import Registry
from . import durable
from .layout import Home

_LOCK_TIMEOUT = 30.0
_LARGEST = 1024 * 1024


@dataclasses.dataclass(frozen=True)
class Update:
    """A change of a registry file: its text before and after, and what it says after."""

    before: str
    after: str
    registry: Registry

    @property
    def changed(self) -> bool:
        """Whether the texts differ."""
        return self.before != self.after


def default_path(tetra_dir: str) -> str:
    """The registry of a host.

    :raises TetraError: when ``tetra_dir`` is not an absolute, plain path.
    """
    return os.path.join(Home(tetra_dir).config, "ports.toml")


def read_text(path: str) -> str:
    """The text of a registry file, its line ends as they are; empty when there is none.

    :raises TetraError: code ``refused`` when it cannot be read. It is never taken for an empty one: that would give
        ports away that are in use.
    """
    try:
        with open(path, "rb") as file:
            data = file.read(_LARGEST + 1)
        if len(data) > _LARGEST:
            raise TetraError(f"{path} is larger than {_LARGEST} bytes", hint="this is no port registry", code=REFUSED)
        return data.decode("utf-8")
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise TetraError(f"{path} cannot be read: {error.strerror}", hint="check the path and its mode",
                         code=REFUSED) from error
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise TetraError(f"{path}:{line}: this is not UTF-8 text (byte {error.start})", hint="save it as UTF-8",
                         code=REFUSED) from error


def load(tetra_dir: str) -> Registry:
    """What the registry of a host says."""
    return read_file(default_path(tetra_dir))


def read_file(path: str) -> Registry:
    """What a registry file says; nothing when there is none."""
    return ports_file.read(read_text(path), path)


def change(tetra_dir: str, changes: Mapping[str, Any]) -> Registry:
    """Change the registry of a host; see ``model.ports_file.edit``. Nothing is written when nothing changes.

    :returns: what the registry says then.
    """
    return update_file(default_path(tetra_dir), lambda _registry: changes).registry


def reserve(tetra_dir: str, owner: str, wanted: Mapping[str, int]) -> Registry:
    """Give ports to services of an environment, unless somebody else got one of them since it was planned.

    :param owner: ``org/env``.
    :param wanted: service to port.
    :raises TetraError: code ``refused``, listing every port that is reserved or belongs to somebody else.
    """

    def changes(registry: Registry) -> Mapping[str, Any]:
        ports.check_registered(registry, owner, wanted, socket.gethostname())
        return {"owned": {owner: dict(wanted)}}

    return update_file(default_path(tetra_dir), changes).registry


def update_file(path: str, decide: Callable[[Registry], Mapping[str, Any]]) -> Update:
    """Change a registry file under its lock, keeping its mode and owner.

    :param decide: what the file says now to the changes that shall be made; called while the lock is held.
    :raises TetraError: as ``decide`` and ``model.ports_file.edit`` do, or when the file cannot be written.
    """
    # A link stays a link: what it names is changed.
    real = os.path.realpath(path)
    _check_folder(real)
    try:
        with locked(real):
            update = preview_file(path, decide)
            if update.changed:
                _write(real, update.after)
    except OSError as error:
        raise TetraError(f"{path} cannot be written: {error.strerror}", hint="check who may write to its folder",
                         code=REFUSED) from error
    return update


def preview_file(path: str, decide: Callable[[Registry], Mapping[str, Any]]) -> Update:
    """What :func:`update_file` would do now; nothing is written."""
    before = read_text(path)
    after = ports_file.edit(before, decide(ports_file.read(before, path)), path)
    return Update(before, after, ports_file.read(after, path))


def locked(path: str) -> AbstractContextManager[None]:
    """The lock under which one run at a time changes a registry file."""
    return durable.lock(f"{os.path.splitext(path)[0]}.lock", timeout=_LOCK_TIMEOUT)


def make_folder(path: str) -> None:
    """Make the folder of a host's registry; a host may have ports before it has anything else."""
    folder = os.path.dirname(path)
    os.makedirs(os.path.dirname(folder), exist_ok=True)
    durable.make_folder(folder, 0o755)


def _check_folder(path: str) -> None:
    folder = os.path.dirname(path)
    if not os.path.isdir(folder):
        raise TetraError(
            f"there is no folder {folder} for the port registry",
            hint="run playbooks/prepare.yml for this host, or give the path of a ports.toml in a folder that exists",
            code=REFUSED,
        )


def _write(path: str, text: str) -> None:
    found = os.stat(path) if os.path.exists(path) else None
    durable.write_file(path, text.encode("utf-8"), stat.S_IMODE(found.st_mode) if found else 0o644)
    if found and os.geteuid() == 0:
        os.chown(path, found.st_uid, found.st_gid)
