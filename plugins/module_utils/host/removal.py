# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Take a host out of service: stop what runs on it, or take tetra away from it."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Mapping
from typing import Any

from ..model import transaction
from ..model.errors import REFUSED, TetraError
from . import durable, journald, kernel_ports, keys, local_policy, settings, transactions
from .layout import Home
from .scope import open_supervisor
from .supervisors.base import Supervisor

Step = tuple[str, bool, Callable[[], object]]
"""What is done to a host: its name, whether it is needed, and how it is done."""

SHORTCUT = "/usr/local/bin/tsm"
"""Where people find the agent in their PATH; a link."""


def remove(home: Home, request: Mapping[str, Any]) -> dict[str, Any]:
    """Stop the services of a host (state ``stopped``), or take tetra away (state ``absent``).

    :param request: as for the operation ``agent``. ``services: keep`` leaves units, releases and the agent that starts
        them, so that they go on over restarts of the host; the homes of services and, unless ``registry`` is
        ``remove``, the port registry always stay.
    :returns: ``changed``, and ``changes``, what was (or in check mode would be) done.
    """
    if not os.path.exists(settings.path(home)):
        return {"changed": False, "changes": []}
    supervisor = open_supervisor(home, settings.load(home))
    steps = [step for step in _steps(home, supervisor, request) if step[1]]
    if not request["check"]:
        for _name, _needed, act in steps:
            act()
    return {"changed": bool(steps), "changes": [name for name, _needed, _act in steps]}


def _steps(home: Home, supervisor: Supervisor, request: Mapping[str, Any]) -> list[Step]:
    if request["state"] == "stopped":
        return [("supervisor", supervisor.alive(), supervisor.shutdown)]
    _check_settled(home)
    if request.get("services") == "keep":
        return [*_of_the_system(home, supervisor), _settings(home)]
    services = ("services", True, supervisor.forget_all)
    kept = os.path.exists(kernel_ports.path(home))
    ports = ("ports kept from connections", kept, lambda: kernel_ports.forget(home))
    return [services, ports, *_of_the_system(home, supervisor), *_folders(home, request), _settings(home)]


def _check_settled(home: Home) -> None:
    for environment in home.environments():
        for found in transactions.in_states(environment, transaction.OPEN):
            raise TetraError(
                f"transaction {found.identity} of {environment.org}/{environment.env} is {found.state}",
                hint="it ends by itself when its lease is over; then run again",
                code=REFUSED,
            )


def _of_the_system(home: Home, supervisor: Supervisor) -> list[Step]:
    """What lies outside of ``tetra_dir`` and does not run services."""
    target = os.path.join(home.bin, "tsm")
    linked = os.path.islink(SHORTCUT) and os.readlink(SHORTCUT) == target
    files = {"policy": local_policy.PATH, "limit of the journal": journald.PATH} if supervisor.own_users else {}
    return [
        ("unit for the start of the host", supervisor.own_users, supervisor.forget_boot),
        ("command tsm", linked, lambda: durable.remove(SHORTCUT)),
        *((name, os.path.exists(path), functools.partial(durable.remove, path)) for name, path in files.items()),
    ]


def _folders(home: Home, request: Mapping[str, Any]) -> list[Step]:
    registry = os.path.join(home.config, "ports.toml")
    trees = [os.path.join(home.root, "orgs"), home.bin, home.supervisor]
    if request.get("registry") == "remove" or not os.path.exists(registry):
        trees.append(home.config)
    return [
        *((f"folder {path}", os.path.isdir(path), functools.partial(durable.remove_tree, path)) for path in trees),
        ("digest key", os.path.exists(keys.path(home)), lambda: durable.remove(keys.path(home))),
    ]


def _settings(home: Home) -> Step:
    # The last step: until then a run that was killed can be repeated.
    return "settings", True, lambda: durable.remove(settings.path(home))
