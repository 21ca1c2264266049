# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who listens on this host, with the services of all environments by their names."""

from __future__ import annotations

from typing import Any

from ..model.errors import TetraError
from ..model.ports.registry import Registry
from . import running, sockets
from .layout import Home
from .scope import open_scope


def named(home: Home, said: Registry) -> list[dict[str, Any]]:
    """The listeners of a host; a service of ours is the ``owner`` of what it listens on.

    :param said: the registry; connections that use a port of it as their own are told as well.
    """
    found = sockets.listeners(said.numbers())
    sockets.name_owners(found, _services(home))
    return found


def _services(home: Home) -> dict[int, str]:
    """The processes of all services, as far as this user may know them."""
    result = {}
    for environment in home.environments():
        try:
            services = running.observe(open_scope(home.root, environment.org, environment.env))
        except (TetraError, LookupError, TypeError, ValueError, OSError):
            # What is wrong with one environment is for others to tell; its listeners stay without a name.
            continue
        place = f"{environment.org}/{environment.env}"
        result.update({one["pid"]: f"{place}/{name}" for name, one in services.items() if one["pid"]})
    return result
