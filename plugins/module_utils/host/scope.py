# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One environment of one organization on this host, with the supervisor that runs its services."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable

from ..model import units
from ..model.errors import INVALID, REFUSED, TetraError
from ..model.service import Service
from . import settings as settings_file
from .layout import Environment, Home
from .settings import Settings
from .supervisors.base import SUPERVISORD, SYSTEMD, Supervisor

DEADMAN = "deadman"
_OWN = "/proc/self/stat"


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
        return units.process_unit(self.org, self.env, service)

    def units(self, services: Iterable[str]) -> list[str]:
        """The names of the units of several services."""
        return [self.unit(service) for service in services]

    def owner(self, service: str) -> str:
        """The name of a service that is unique on the host and can be read back into its parts."""
        return f"{self.org}/{self.env}/{service}"

    def user(self, service: Service) -> str:
        """The user that a service runs as; empty for the one that all run as."""
        if not self.supervisor.own_users:
            return ""
        return service.user or units.org_user(self.org)

    @property
    def user_home(self) -> str:
        """The folder that services of the organization may write to, where they run as a user of their own."""
        return os.path.join(self.home.homes, self.org) if self.supervisor.own_users else ""

    def deadman_unit(self, transaction: str) -> str:
        """The name of the program that reverts a transaction; no service can have it, names hold no dot."""
        return f"tetra.{DEADMAN}.{self.org}.{self.env}.{transaction}"


def open_scope(tetra_dir: str, org: str, env: str) -> Scope:
    """The scope of an environment on a prepared host.

    :raises TetraError: when the host was not prepared, or a name is not valid.
    """
    home = Home(tetra_dir)
    if not os.path.exists(_OWN):
        raise TetraError("/proc is not mounted, and shows what runs on this host", hint="mount -t proc proc /proc",
                         code=REFUSED)
    settings = settings_file.load(home)
    return Scope(home, home.environment(org, env), settings, open_supervisor(home, settings), org, env)


def open_supervisor(home: Home, settings: Settings) -> Supervisor:
    """The supervisor that the settings name.

    :raises TetraError: code ``invalid`` for one that this version does not have.
    """
    # Each call of the agent would wait for the one that it does not need.
    if settings.supervisor == SYSTEMD:
        from .supervisors.systemd import Systemd

        return Systemd(home)
    if settings.supervisor == SUPERVISORD:
        from .supervisors.supervisord import Supervisord

        return Supervisord(home, [settings.supervisord] if settings.supervisord else None)
    raise TetraError(
        f"supervisor {settings.supervisor!r} is not available in this version",
        hint="set tetra_supervisor: systemd or supervisord for the host",
        code=INVALID,
    )
