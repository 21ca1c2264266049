# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is true of a host after every fault: one function for all tests that break something."""

from __future__ import annotations

import os
import stat
import subprocess
from collections.abc import Collection
from pathlib import Path

from ansible_collections.tetra.platform.plugins.module_utils.host import (
    durable,
    journal,
    observation,
    port_changes,
    registry,
    running,
    store,
    transactions,
)
from ansible_collections.tetra.platform.plugins.module_utils.host.scope import Scope
from ansible_collections.tetra.platform.plugins.module_utils.host.supervisors.base import RUNNING, STARTING, SYSTEMD
from ansible_collections.tetra.platform.plugins.module_utils.model import transaction
from ansible_collections.tetra.platform.plugins.module_utils.model.ports import conflicts

_PRIVATE = ("private", "run")
_UNITS = "/etc/systemd/system"


def places(scope: Scope) -> list[str]:
    """The folders in which a run on a host changes files."""
    return [scope.home.root, *([_UNITS] if scope.supervisor.name == SYSTEMD else [])]


def broken(scope: Scope, expected: Collection[str | None], secret: str) -> list[str]:
    """The invariants that do not hold on a host; none when all is well.

    :param expected: the releases of which one has to run.
    :param secret: a text that only private files may hold.
    """
    observed = observation.observe(scope)
    checks = {
        "I1 current is a whole release": _whole(scope, expected),
        "I2 what runs is what current says": _runs(scope, observed),
        "I3 an open transaction is watched": watched(scope),
        "I4 the journal ends with what runs": _told(scope),
        "I5 at most one transaction is open": len(transactions.in_states(scope.environment, transaction.OPEN)) < 2,
        "I6 secrets are where they may be": all(_private(Path(place), secret) for place in places(scope)),
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


def watched(scope: Scope) -> bool:
    """Whether each open transaction has somebody who will end it: a deadman that runs, or the timer that starts it."""
    found = {one.identity for one in transactions.in_states(scope.environment, transaction.OPEN)}
    alone = {identity for identity in found if not _has_deadman(scope, identity)}
    # One that ended in between needs nobody any more.
    return not alone.intersection(one.identity for one in transactions.in_states(scope.environment, transaction.OPEN))


def _has_deadman(scope: Scope, identity: str) -> bool:
    unit = scope.deadman_unit(identity)
    if scope.supervisor.states([unit])[unit].state in (RUNNING, STARTING):
        return True
    return scope.supervisor.name == SYSTEMD and _shown(f"{unit}.timer", "SubState") == "waiting"


def _shown(unit: str, name: str) -> str:
    command = ["systemctl", "show", "--value", f"--property={name}", unit]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


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


def untidy(scope: Scope) -> list[str]:
    """What is left of a run that was interrupted, after the next one: half-written files, units of nobody, or none.

    Files of systemd that it has not read, too: it would start something else than what they say.
    """
    systemd = scope.supervisor.name == SYSTEMD
    folder = Path(_UNITS if systemd else scope.home.supervisor)
    found = half_written(scope)
    units = scope.units(scope.environment.services())
    # What was staged and got a deadman, but no further, is given up by the next staging, with its deadman.
    waiting = [scope.deadman_unit(one.identity)
               for one in transactions.in_states(scope.environment, (transaction.STAGED, *transaction.OPEN))]
    ours = (scope.unit(""), scope.deadman_unit(""))
    found += [path for path in folder.rglob("*") if path.name.startswith(ours) and path.stem not in {*units, *waiting}]
    problems = [f"{path} is left" for path in found]
    if systemd:
        links = {path.name for path in (folder / "multi-user.target.wants").iterdir()}
        problems += [f"{unit} does not start with the host" for unit in units if f"{unit}.service" not in links]
        problems += [f"{unit} was not read again" for unit in units
                     if _shown(f"{unit}.service", "NeedDaemonReload") == "yes"]
    return problems


def half_written(scope: Scope) -> list[Path]:
    """What has a name that only a run gives to something that it is about to write."""
    return [path for place in places(scope) for path in Path(place).rglob(f"{durable.TEMPORARY}*")]
