# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is true of a host after every fault: one function for all tests that break something."""

from __future__ import annotations

import os
import stat
from collections.abc import Collection
from pathlib import Path

from ansible_collections.tetra.platform.plugins.module_utils.host import (
    journal,
    observation,
    port_changes,
    registry,
    running,
    store,
    transactions,
)
from ansible_collections.tetra.platform.plugins.module_utils.host.scope import Scope
from ansible_collections.tetra.platform.plugins.module_utils.model import transaction
from ansible_collections.tetra.platform.plugins.module_utils.model.ports import conflicts

_PRIVATE = ("private", "run")


def broken(scope: Scope, expected: Collection[str | None], secret: str) -> list[str]:
    """The invariants that do not hold on a host; none when all is well.

    :param expected: the releases of which one has to run.
    :param secret: a text that only private files may hold.
    """
    observed = observation.observe(scope)
    checks = {
        "I1 current is a whole release": _whole(scope, expected),
        "I2 what runs is what current says": _runs(scope, observed),
        "I3 an open transaction is watched": _watched(scope),
        "I4 the journal ends with what runs": _told(scope),
        "I5 at most one transaction is open": len(transactions.in_states(scope.environment, transaction.OPEN)) < 2,
        "I6 secrets are where they may be": _private(Path(scope.home.root), secret),
        "I9 registry, units and listeners agree": _ports(scope),
    }
    return [name for name, holds in checks.items() if not holds]


def _whole(scope: Scope, expected: Collection[str | None]) -> bool:
    current = store.current(scope.environment)
    return current in expected and (current is None or not store.verify_release(scope.environment, current))


def _runs(scope: Scope, observed: dict) -> bool:
    current = store.current(scope.environment)
    wanted = store.manifest(scope.environment, current)["services"] if current else {}
    there = {name: service["digest"] for name, service in running.observe(scope).items() if service["running"]}
    return there == {name: entry["digest"] for name, entry in wanted.items()} and not observed["drift"]


def _watched(scope: Scope) -> bool:
    found = transactions.in_states(scope.environment, transaction.OPEN)
    return all(transactions.signed(scope.environment, one.identity, transactions.WATCHER) for one in found)


def _told(scope: Scope) -> bool:
    records, damage = journal.examine(scope.environment)
    confirmed = [record["to"] for record in records if record.get("outcome") == transaction.CONFIRMED]
    return damage is None and (confirmed[-1:] or [None])[0] == store.current(scope.environment)


def _private(root: Path, secret: str) -> bool:
    for folder, _folders, names in os.walk(root):
        for name in names:
            path = Path(folder, name)
            if not stat.S_ISREG(path.lstat().st_mode) or secret.encode() not in path.read_bytes():
                continue
            if not set(_PRIVATE) & set(path.relative_to(root).parts) or path.stat().st_mode & 0o077:
                return False
    return True


def _ports(scope: Scope) -> bool:
    known = port_changes.live(scope.home.root, registry.load(scope.home.root))
    owned = known.registry.owned.get(f"{scope.org}/{scope.env}", {})
    here = running.ports(scope, store.current(scope.environment))
    staged = transactions.in_states(scope.environment, (transaction.STAGED,))
    agree = owned == here or bool(staged)
    return agree and not known.registry.findings and not conflicts.live(known)
