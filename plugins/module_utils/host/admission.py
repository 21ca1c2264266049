# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a host lets services in: who they may run as, and whether their units would meet somebody else's."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ..model import units
from ..model.errors import REFUSED, TetraError
from ..model.service import Service
from . import accounts, local_policy
from .scope import Scope


def admit(scope: Scope, manifest: Mapping[str, Any], names: Iterable[str]) -> None:
    """Let services of a release in, and make the user of their organization where they run as one of their own.

    :param names: the services of this host.
    :raises TetraError: code ``refused``, listing everything that speaks against it; then nothing was made.
    """
    services = {name: Service.from_wire(manifest["services"][name]["definition"]) for name in names}
    owners = {scope.unit(name): scope.owner(name) for name in services}
    problems = [*_users(scope, services), *scope.supervisor.objections(owners)]
    if problems:
        raise TetraError("\n".join(problems), hint="nothing was changed on this host", code=REFUSED)
    if services and scope.supervisor.own_users:
        accounts.ensure(units.org_user(scope.org), scope.user_home)


def _users(scope: Scope, services: Mapping[str, Service]) -> list[str]:
    """Why services may not run as the users they name."""
    own = units.org_user(scope.org)
    named = {name: scope.user(service) for name, service in services.items() if scope.user(service) not in ("", own)}
    allowed = local_policy.users(scope.org) if named else []
    problems = []
    for name, user in sorted(named.items()):
        if user not in allowed:
            problems.append(
                f"service {name} wants to run as {user}, which {local_policy.PATH} does not allow {scope.org}; "
                f"allow it with tetra_users: {{{scope.org}: [{user}]}} and playbooks/prepare.yml, or leave out TSM_USER"
            )
        elif accounts.find(user) is None:
            problems.append(f"service {name} wants to run as {user}, and there is no such user on this host")
    return problems
