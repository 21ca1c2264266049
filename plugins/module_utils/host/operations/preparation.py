# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Operations on the host itself: prepare it for its first release, or stop what it runs."""

from __future__ import annotations

import base64
import os
from collections.abc import Mapping

from ...model.errors import REFUSED, TetraError
from .. import durable, installation, keys, settings
from ..layout import Home
from ..scope import open_supervisor
from ..settings import Settings


def agent(request: Mapping) -> dict:
    """Prepare a host: folders, settings, digest key, the agent, and a running supervisor; or stop the supervisor.

    :param request: ``tetra_dir``, ``state`` (present or stopped), ``supervisor``, ``supervisord``, ``address``,
        ``version`` (digest of the host code), ``code`` (the zipapp without its start, base64; None keeps what
        is there), ``check``.
    :returns: ``changed``, and ``changes``, the things that were (or in check mode would be) done.
    """
    home = Home(request["tetra_dir"])
    if request["state"] == "stopped":
        return _stopped(home, bool(request["check"]))
    wanted = Settings(_supervisor(request["supervisor"]), request["supervisord"] or "", request["address"] or "")
    steps = [step for step in _steps(home, wanted, request) if step[1]]
    if not request["check"]:
        for _name, _needed, act in steps:
            act()
    return {"changed": bool(steps), "changes": [name for name, _needed, _act in steps]}


def _supervisor(wanted: str) -> str:
    if wanted == "systemd":
        raise TetraError(
            "this version keeps services alive with supervisord only", hint="set tetra_supervisor: supervisord"
        )
    return "supervisord"


def _steps(home: Home, wanted: Settings, request: Mapping) -> list[tuple]:
    folders = [home.root, home.config, home.bin, home.supervisor]
    supervisor = open_supervisor(home, wanted)
    encoded = settings.encode(wanted)
    program = os.path.join(home.bin, f"tsm-{request['version']}")
    link = os.path.join(home.bin, "tsm")
    return [
        ("folders", any(not os.path.isdir(path) for path in folders), lambda: _make_folders(folders)),
        ("settings", _content(settings.path(home)) != encoded,
         lambda: durable.write_file(settings.path(home), encoded)),
        ("digest key", not os.path.exists(keys.path(home)), lambda: keys.ensure(home)),
        ("agent", not os.path.exists(program), lambda: _install(program, request["code"])),
        ("agent link", not os.path.lexists(link) or os.readlink(link) != os.path.basename(program),
         lambda: durable.replace_link(link, os.path.basename(program))),
        ("supervisor", not supervisor.running(), supervisor.ensure_running),
    ]


def _make_folders(folders: list[str]) -> None:
    for path in folders:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        durable.make_folder(path, 0o755)


def _content(path: str) -> bytes | None:
    if not os.path.exists(path):
        return None
    with open(path, "rb") as file:
        return file.read()


def _install(program: str, code: str | None) -> None:
    if not code:
        raise TetraError("the agent is not on this host and did not come along", hint="run playbooks/prepare.yml",
                         code=REFUSED)
    installation.install(program, base64.b64decode(code))


def _stopped(home: Home, check: bool) -> dict:
    if not os.path.exists(settings.path(home)):
        return {"changed": False, "changes": []}
    supervisor = open_supervisor(home, settings.load(home))
    alive = supervisor.alive()
    if alive and not check:
        supervisor.shutdown()
    return {"changed": alive, "changes": ["supervisor"] if alive else []}
