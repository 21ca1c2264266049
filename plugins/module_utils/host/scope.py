# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One environment of one organization on this host, with the supervisor that runs its services."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

from ..model.errors import INVALID, TetraError
from . import settings as settings_file
from .layout import Environment, Home
from .settings import Settings
from .supervisors.base import Supervisor
from .supervisors.supervisord import Supervisord

DEADMAN = "deadman"


@dataclasses.dataclass(frozen=True)
class Scope:
    """What the functions of the host side are about; made once for each operation."""

    home: Home
    environment: Environment
    settings: Settings
    supervisor: Supervisor
    org: str
    env: str

    def unit(self, service: str) -> str:
        """The name of the unit of a service, unique on the host."""
        return f"tetra-{self.org}-{self.env}-{service}"

    def units(self, services: Iterable[str]) -> list[str]:
        """The names of the units of several services."""
        return [self.unit(service) for service in services]

    def deadman_unit(self, transaction: str) -> str:
        """The name of the program that reverts a transaction; no service can have it, names hold no dot."""
        return f"tetra.{DEADMAN}.{self.org}.{self.env}.{transaction}"


def open_scope(tetra_dir: str, org: str, env: str) -> Scope:
    """The scope of an environment on a prepared host.

    :raises TetraError: when the host was not prepared, or a name is not valid.
    """
    home = Home(tetra_dir)
    settings = settings_file.load(home)
    return Scope(home, home.environment(org, env), settings, open_supervisor(home, settings), org, env)


def open_supervisor(home: Home, settings: Settings) -> Supervisor:
    """The supervisor that the settings name.

    :raises TetraError: code ``invalid`` for one that this version does not have.
    """
    if settings.supervisor != Supervisord.name:
        raise TetraError(
            f"supervisor {settings.supervisor!r} is not available in this version",
            hint="set tetra_supervisor: supervisord for the host",
            code=INVALID,
        )
    return Supervisord(home, [settings.supervisord] if settings.supervisord else None)
