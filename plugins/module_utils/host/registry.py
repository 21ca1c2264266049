# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The port registry of this host as a file: read at any time, changed by one at a time."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import socket
import stat
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from typing import Any

from ..model.errors import REFUSED, TetraError
from ..model.ports import allocation, released
from ..model.ports import edit as ports_edit
from ..model.ports import file as ports_file
from ..model.ports.registry import PortValue, Registry
from ..model.ports.space import HostPorts
from ..model.release import ports_of
from . import durable, kernel_ports, settings
from .layout import Environment, Home

_LOCK_TIMEOUT = 30.0
_LARGEST = 16 * 1024 * 1024
_RELEASED_FORMAT = 1
_WITHOUT_REST = "remove it: freed ports then do not rest"


@dataclasses.dataclass(frozen=True)
class Update:
    """A change of a registry file: its text before and after, and what each says."""

    before: str
    after: str
    said: Registry
    registry: Registry

    @property
    def changed(self) -> bool:
        """Whether the texts differ."""
        return self.before != self.after


Decide = Callable[[HostPorts], Mapping[str, Any]]
"""What a registry says and what else the host knows, without listeners, to the changes that shall be made."""


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
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise TetraError(f"{path} cannot be read: {error.strerror}", hint="check the path and its mode",
                         code=REFUSED) from error
    if len(data) > _LARGEST:
        raise TetraError(f"{path} is larger than {_LARGEST} bytes", hint="this is no port registry", code=REFUSED)
    return _decoded(data, path)


def _decoded(data: bytes, path: str) -> str:
    try:
        text, wrong = data.decode("utf-8"), data.find(b"\0")
    except UnicodeDecodeError as error:
        text, wrong = "", error.start
    if wrong >= 0:
        line = data.count(b"\n", 0, wrong) + 1
        raise TetraError(f"{path}:{line}: this is not UTF-8 text (byte {wrong})", hint="save it as UTF-8",
                         code=REFUSED)
    return text


def load(tetra_dir: str) -> HostPorts:
    """What the registry of a host says, and which ports were given up a short while ago; listeners are left aside.

    :raises TetraError: code ``refused`` when it cannot be read, or was lost (:func:`check_not_lost`).
    """
    known = read_file(default_path(tetra_dir))
    check_not_lost(tetra_dir, known)
    return known


def check_not_lost(tetra_dir: str, known: HostPorts) -> None:
    """Make sure that every environment whose services have ports has some in the registry.

    A registry that was lost, or emptied, would give away what is used.

    :raises TetraError: code ``refused``, naming the ports that it should have.
    """
    home = Home(tetra_dir)
    for environment in home.environments():
        owner = f"{environment.org}/{environment.env}"
        used = {} if known.registry.owned.get(owner) else _used(environment)
        if used:
            path = default_path(tetra_dir)
            lines = ", ".join(f"{json.dumps(key)} = {json.dumps(value)}" for key, value in sorted(used.items()))
            raise TetraError(
                f"{path} has lost the ports of {owner}, which its services use",
                hint=f"restore the file, or write into it, below [ports.{environment.org}.{environment.env}]: {lines}",
                code=REFUSED,
            )


def _used(environment: Environment) -> dict[str, PortValue]:
    """The ports that services of an environment were started with, by key; those of damaged launch files are left."""
    launches = {}
    # Others may read the registry, and not who uses it.
    for service in environment.services() if os.access(environment.run, os.R_OK) else ():
        with contextlib.suppress(OSError, TetraError):
            launches[service] = durable.read_json(os.path.join(environment.run, f"{service}.json"))
    return ports_of({"services": launches})


def read_file(path: str) -> HostPorts:
    """As :func:`load`, of a registry file; nothing when there is none."""
    return _known(path, ports_file.read(read_text(path), path))


def _known(path: str, said: Registry) -> HostPorts:
    resting = released.known(_read_released(path), time.time(), said.cooldown)
    return HostPorts(said, (), "", resting, kernel_ports.ephemeral(), kernel_ports.reserved())


def change(tetra_dir: str, changes: Mapping[str, Any]) -> Registry:
    """Change the registry of a host; see ``model.ports.edit.edit``. Nothing is written when nothing changes.

    :returns: what the registry says then.
    """
    return update(tetra_dir, lambda _known: changes).registry


def reserve(tetra_dir: str, owner: str, wanted: Mapping[str, PortValue]) -> Registry:
    """Give ports to services of an environment, unless somebody else got one of them since it was planned.

    The ports that these services had before are held for them until :func:`settle` or :func:`change`.

    :param owner: ``org/env``.
    :param wanted: key to port value.
    :raises TetraError: code ``refused``, listing every port that is reserved or belongs to somebody else.
    """

    def changes(known: HostPorts) -> Mapping[str, Any]:
        allocation.check_registered(known, owner, wanted, socket.gethostname())
        return {"owned": {owner: dict(wanted)}}

    return update(tetra_dir, changes, held=True).registry


def settle(tetra_dir: str, owner: str, gone: Iterable[str]) -> None:
    """Free the ports of services that an environment does not have any more, and what was held for it.

    :param owner: ``org/env``.
    :param gone: keys.
    """
    update(tetra_dir, lambda _known: {"owned": {owner: dict.fromkeys(gone)}}, ended=owner)


def update(tetra_dir: str, decide: Decide, held: bool = False, ended: str = "", anew: bool = False) -> Update:
    """As :func:`update_file`, of the registry of a host; its kernel is told as well.

    :param anew: whether it may be written again after it was lost; else this is refused, as by :func:`load`.
    """

    def checked(known: HostPorts) -> Mapping[str, Any]:
        if not anew:
            check_not_lost(tetra_dir, known)
        return decide(known)

    result = update_file(default_path(tetra_dir), checked, held, ended)
    if result.changed:
        _keep_from_connections(tetra_dir, result.registry)
    return result


def _keep_from_connections(tetra_dir: str, said: Registry) -> None:
    """Have the kernel of a host with systemd leave registered ports to their services.

    Others share their machine, and its kernel, with whom it belongs to.
    """
    home = Home(tetra_dir)
    if os.path.exists(settings.path(home)) and settings.load(home).supervisor == "systemd":
        # Where it cannot be done services work without it, and the port is a finding.
        kernel_ports.follow(home, said.numbers())


def update_file(path: str, decide: Decide, held: bool = False, ended: str = "") -> Update:
    """Change a registry file under its lock, keeping its mode and owner.

    :param decide: called while the lock is held.
    :param held: whether a transaction may have to go back to the ports that are given up.
    :param ended: the environment, ``org/env``, whose transaction has ended, so that nothing is held for it any more.
    :raises TetraError: as ``decide`` and ``model.ports.edit.edit`` do, or when the file cannot be written.
    """
    # A link stays a link: what it names is changed.
    real = os.path.realpath(path)
    _check_folder(real)
    try:
        with locked(real):
            made = preview_file(path, decide)
            if made.changed or ended:
                # A port is in the one file or in the other at any time, so nobody takes it in between.
                _release(real, made, held, ended)
            if made.changed:
                _write(real, made.after)
    except OSError as error:
        raise TetraError(f"{path} cannot be written: {error.strerror}", hint="check who may write to its folder",
                         code=REFUSED) from error
    return made


def preview_file(path: str, decide: Decide) -> Update:
    """What :func:`update_file` would do now; nothing is written."""
    text = read_text(path)
    said = ports_file.read(text, path)
    after, registry = ports_edit.revise(text, said, decide(_known(path, said)), path)
    return Update(text, after, said, registry)


def locked(path: str) -> AbstractContextManager[None]:
    """The lock under which one run at a time changes a registry file."""
    return durable.lock(f"{os.path.splitext(path)[0]}.lock", timeout=_LOCK_TIMEOUT)


def _read_released(path: str) -> dict[str, Any]:
    """The released ports beside a registry file."""
    try:
        found = durable.read_sealed(_released_path(path), _RELEASED_FORMAT, _WITHOUT_REST)["released"]
    except FileNotFoundError:
        return {}
    if not isinstance(found, dict) or not all(map(_is_released, found.values())):
        raise durable.DamagedError(_released_path(path), "it holds no released ports", _WITHOUT_REST)
    return found


def _is_released(record: object) -> bool:
    return isinstance(record, dict) and isinstance(record.get("by"), str) and isinstance(record.get("held"), bool) and (
        isinstance(record.get("until"), (int, float))
    )


def _release(path: str, made: Update, held: bool, ended: str) -> None:
    before, now = _read_released(path), time.time()
    after = released.after(before, made.said, made.registry, now, held)
    if ended:
        after = released.settled(after, ended, now, made.registry.cooldown)
    if after != before:
        record = {"format": _RELEASED_FORMAT, "released": after}
        durable.write_file(_released_path(path), durable.sealed(record))


def _released_path(path: str) -> str:
    return f"{os.path.splitext(os.path.realpath(path))[0]}.released.json"


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
