# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What happens when the host starts: what the kernel forgot is said again, interrupted transactions are taken back."""

from __future__ import annotations

from ..model import transaction
from ..model.errors import TetraError
from . import deadman, engine, kernel_ports, transactions
from .layout import Home
from .scope import Scope, open_scope


def settle(tetra_dir: str) -> list[str]:
    """Settle the open transactions of every environment of this host; their leases ended with the boot before.

    :returns: what could not be settled, a line for each environment; the others are settled nevertheless.
    """
    failures = []
    for found in Home(tetra_dir).environments():
        try:
            _settle(open_scope(tetra_dir, found.org, found.env))
        except (TetraError, OSError) as error:
            failures.append(f"{found.org}/{found.env}: {error}")
    return failures


def keep_ports(tetra_dir: str) -> str | None:
    """Keep the ports of services from outgoing connections, as it was before the restart.

    :returns: why it could not be done, else None.
    """
    return kernel_ports.again(Home(tetra_dir))


def _settle(scope: Scope) -> None:
    for found in transactions.in_states(scope.environment, transaction.OPEN):
        if transaction.is_over(transactions.standing(scope.environment, found)):
            deadman.expire(scope, found.identity)
    with engine.locked(scope):
        engine.settle(scope)
