# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Operations on the host itself: prepare it for its first release, stop what it runs, or take tetra away from it."""

from __future__ import annotations

import base64
import os
from collections.abc import Callable, Mapping
from typing import Any

from ...model.errors import REFUSED, TetraError
from .. import durable, installation, journald, keys, local_policy, removal, settings
from ..layout import Home
from ..removal import Step
from ..scope import open_supervisor
from ..settings import Settings
from ..supervisors import systemd
from ..supervisors.base import SUPERVISORD, SYSTEMD, Supervisor


def agent(request: Mapping[str, Any]) -> dict[str, Any]:
    """Prepare a host with folders, settings, digest key, agent and supervisor; stop what runs there; or remove tetra.

    :param request: ``tetra_dir``, ``state`` (present, stopped, absent), ``supervisor`` (auto, systemd, supervisord),
        ``supervisord``, ``address``, ``users`` (organization to the users it may run services as besides its own),
        ``journal_max`` (how large the journal of the host may get; empty leaves it alone), ``version`` (digest of the
        host code), ``code`` (the zipapp without its start, base64; None keeps what is there), ``check``; and, to
        remove tetra, ``services`` (keep or stop) and ``registry`` (keep or remove).
    :returns: ``changed``, and ``changes``, the things that were (or in check mode would be) done.
    :raises TetraError: code ``refused`` when a right is missing or what is there was written by a newer version.
    """
    home = Home(request["tetra_dir"])
    if request["state"] != "present":
        return removal.remove(home, request)
    wanted = Settings(_supervisor(request["supervisor"]), request["supervisord"] or "", request["address"] or "")
    supervisor = open_supervisor(home, wanted)
    _check_can_be_had(home, supervisor)
    steps = [step for step in _steps(home, wanted, supervisor, request) if step[1]]
    if not request["check"]:
        for _name, _needed, act in steps:
            act()
    return {"changed": bool(steps), "changes": [name for name, _needed, _act in steps]}


def _supervisor(wanted: str) -> str:
    """What to keep services alive with: systemd where it started the host and this is root, else supervisord."""
    if wanted != "auto":
        return wanted
    return SYSTEMD if systemd.usable() else SUPERVISORD


def _check_can_be_had(home: Home, supervisor: Supervisor) -> None:
    """Object before anything is written: to a missing right, an unsafe place, or services under another supervisor."""
    if supervisor.own_users:
        supervisor.ensure_running()
        for path in _parents(home.root):
            durable.check_place(path)
    for path in filter(os.path.lexists, _folders(home)):
        durable.make_folder(path)
    for before in _before(home):
        if before.name != supervisor.name and before.alive():
            raise TetraError(
                f"services of {home.root} run under {before.name}, so {supervisor.name} cannot take over",
                hint="run this with tsm_state: stopped and the old tetra_supervisor first, then prepare and push again",
                code=REFUSED,
            )


def _before(home: Home) -> list[Supervisor]:
    """The supervisors that services of the host may run under."""
    if not os.path.lexists(settings.path(home)):
        return []
    try:
        return [open_supervisor(home, settings.load(home))]
    except durable.DamagedError:
        # It is about to be written anew, and cannot say which one it was.
        names = [SUPERVISORD, *([SYSTEMD] if systemd.usable() else [])]
        return [open_supervisor(home, Settings(name)) for name in names]


def _parents(path: str) -> list[str]:
    """The folders above a path that are there, the outermost first."""
    parent = os.path.dirname(path)
    above = _parents(parent) if parent != path else []
    return [*above, parent] if parent != path and os.path.isdir(parent) else above


def _folders(home: Home) -> list[str]:
    return [home.root, home.config, home.bin]


def _steps(home: Home, wanted: Settings, supervisor: Supervisor, request: Mapping[str, Any]) -> list[Step]:
    """What a prepared host has: name, whether it is missing, and how it comes about."""
    folders = _folders(home)
    program = os.path.join(home.bin, f"tsm-{request['version']}")
    link = os.path.join(home.bin, "tsm")
    return [
        ("folders", any(not os.path.isdir(path) for path in folders), lambda: _make_folders(folders)),
        _file("settings", settings.path(home), settings.encode(wanted)),
        ("digest key", not keys.is_whole(home), lambda: keys.ensure(home)),
        ("agent", not os.path.exists(program), lambda: _install(program, request["code"])),
        ("agent link", not os.path.lexists(link) or os.readlink(link) != os.path.basename(program),
         lambda: durable.replace_link(link, os.path.basename(program))),
        *(_of_the_system(request) if supervisor.own_users else []),
        ("supervisor", not supervisor.running(), supervisor.ensure_running),
        ("unit for the start of the host", not supervisor.settles_at_boot(link),
         lambda: supervisor.settle_at_boot(link)),
    ]


def _of_the_system(request: Mapping[str, Any]) -> list[Step]:
    """What lies outside of ``tetra_dir`` where services run as users of their own."""
    steps = [_file("policy", local_policy.PATH, local_policy.encode(request.get("users") or {}))]
    size = str(request.get("journal_max") or "")
    if size:
        steps.append(_file("limit of the journal", journald.PATH, journald.encode(size), journald.restart))
    target = os.path.join(Home(request["tetra_dir"]).bin, "tsm")
    # A file of that name is somebody else's.
    if not os.path.lexists(removal.SHORTCUT) or os.path.islink(removal.SHORTCUT):
        linked = os.path.islink(removal.SHORTCUT) and os.readlink(removal.SHORTCUT) == target
        steps.append(("command tsm", not linked, lambda: durable.replace_link(removal.SHORTCUT, target)))
    return steps


def _file(name: str, path: str, wanted: bytes, then: Callable[[], None] | None = None) -> Step:
    def act() -> None:
        durable.make_folder(os.path.dirname(path), 0o755)
        if os.path.isdir(path):
            durable.remove_tree(path)
        durable.write_file(path, wanted)
        if then:
            then()

    return name, _content(path) != wanted, act


def _make_folders(folders: list[str]) -> None:
    for path in folders:
        durable.make_folder(path, 0o755)


def _content(path: str) -> bytes | None:
    if not os.path.isfile(path):
        return None
    with open(path, "rb") as file:
        return file.read()


def _install(program: str, code: str | None) -> None:
    if not code:
        raise TetraError("the agent is not on this host and did not come along", hint="run playbooks/prepare.yml",
                         code=REFUSED)
    installation.install(program, base64.b64decode(code))
