# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""How what is on this host differs from what was put here. Nothing is written."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator, Mapping
from typing import Any

from ..model import drift, release, seal, transaction
from ..model.errors import TetraError
from . import durable, journal, running, store
from .scope import Scope

# What a clock that counts whole seconds may hide.
_CLOCK = 1.0


def examine(scope: Scope, services: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """What was edited by hand, what runs with older files, and what nobody put here.

    :param services: what ``running.observe`` returned.
    :returns: records ``{"kind", "what", "services"}``: one of ``model.drift``'s kinds, the path or the unit, and the
        services that have to be restarted for it.
    """
    found = [*_moved(scope), *_units(scope, services), *_launches(scope, services)]
    for name, used in _in_use(scope, services).items():
        damaged = list(_records(scope, name))
        found += damaged
        if not damaged:
            found += _tree(scope, name, used)
            found += _older(scope, name, used)
    unmanaged = scope.supervisor.unmanaged(scope.owner(""), scope.units(services))
    found += [drift.record(drift.EXTRA, f"unit {unit}", ()) for unit in unmanaged]
    return found


def to_restart(scope: Scope, services: Mapping[str, Mapping[str, Any]]) -> set[str]:
    """The services that have to be restarted to be what their release says, for what was done by hand."""
    return {name for found in examine(scope, services) for name in found["services"]}


def _moved(scope: Scope) -> Iterator[dict[str, Any]]:
    """Whether ``current`` names another release than the last transaction left."""
    ended = [record for record in journal.read(scope.environment) if record["kind"] == "transaction"]
    left = {transaction.CONFIRMED: "to", transaction.ROLLED_BACK: "from"}.get(ended[-1]["outcome"]) if ended else None
    current = store.current(scope.environment)
    if left and current != ended[-1][left]:
        yield drift.record(drift.EDITED, f"current -> {current}", ())


def _units(scope: Scope, services: Mapping[str, Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """Units that were edited or given drop-ins; those of stopped services are written anew when they start."""
    names = {scope.unit(name): name for name, service in services.items() if not service["stopped"]}
    for unit, paths in scope.supervisor.edited(list(names)).items():
        for path in paths:
            yield drift.record(drift.EDITED, path, [names[unit]])


def _launches(scope: Scope, services: Mapping[str, Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    for name, service in services.items():
        if service["stopped"]:
            continue
        if not _is_whole(scope, name):
            yield drift.record(drift.EDITED, f"run/{name}.json", [name])
        script = running.script_path(scope, name)
        if not seal.is_whole(_read(script)):
            yield drift.record(drift.EDITED, f"run/{name}.sh", [name])


def _is_whole(scope: Scope, service: str) -> bool:
    """Whether a launch file is as it was written."""
    try:
        record = running.launch_record(scope, service)
    except (FileNotFoundError, durable.DamagedError):
        return False
    return record.get("seal") == running.seal_of(record)


def _in_use(scope: Scope, services: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Mapping[str, Any]]]:
    """The releases whose trees are used: that which is current, and those that services were started under."""
    current = store.current(scope.environment)
    used: dict[str, dict[str, Mapping[str, Any]]] = {current: {}} if current else {}
    for name, service in services.items():
        if service["release"] != running.UNKNOWN:
            used.setdefault(service["release"], {})[name] = service
    return used


def _records(scope: Scope, name: str) -> Iterator[dict[str, Any]]:
    """What was kept of a release and is damaged or gone; no process needs it before the next switch."""
    environment = scope.environment
    for folder, read in ((environment.releases, store.manifest), (environment.private, store.private)):
        try:
            read(environment, name)
        except TetraError:
            yield drift.record(drift.EDITED, f"{os.path.basename(folder)}/{name[:12]}.json", ())


def _tree(scope: Scope, name: str, services: Mapping[str, Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """Files of a release that are not as its manifest says."""
    differing = store.verify_release(scope.environment, name)
    if not differing:
        return
    manifest = store.manifest(scope.environment, name)
    known = {".", *release.tree(manifest["files"])}
    users = {service: _used(manifest, service) for service in services}
    for path in differing:
        shown = path if name == store.current(scope.environment) else f"releases/{name[:12]}/{path}"
        if path not in known:
            yield drift.record(drift.EXTRA, shown, ())
            continue
        below = f"{path}/"
        using = [one for one, files in users.items()
                 if path == "." or any(file == path or file.startswith(below) for file in files)]
        yield drift.record(drift.EDITED, shown, using)


def _older(scope: Scope, name: str, services: Mapping[str, Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """Processes that started before their files were laid, or under what is not current any more."""
    wanted = _wanted(scope)
    tree = os.path.join(scope.environment.releases, name)
    manifest = store.manifest(scope.environment, name)
    for service, observed in services.items():
        if not observed["running"]:
            continue
        if service in wanted and wanted[service]["digest"] != observed["digest"]:
            yield drift.record(drift.OLDER, f"started under {name[:12]}", [service])
            continue
        # Two clocks: that of the files may have been set since, and a restart of the host brings no new launch file.
        begun = max(os.path.getmtime(running.launch_path(scope, service)), observed["started"] or 0) + _CLOCK
        # What was written by a clock that was ahead tells nothing.
        now = time.time() + _CLOCK
        newer = [path for path in _used(manifest, service) if begun < _changed(os.path.join(tree, path)) <= now]
        if newer:
            yield drift.record(drift.OLDER, f"started before {newer[0]} was written", [service])


def _wanted(scope: Scope) -> Mapping[str, Mapping[str, Any]]:
    """The services of what is current; none while that cannot be read, which is told for itself."""
    current = store.current(scope.environment)
    services: Mapping[str, Mapping[str, Any]] = {}
    with contextlib.suppress(TetraError):
        services = store.manifest(scope.environment, current)["services"] if current else {}
    return services


def _used(manifest: Mapping[str, Any], service: str) -> Mapping[str, Mapping[str, Any]]:
    """The files of a release that a service uses; none for one that the release does not have."""
    entry = manifest["services"].get(service)
    used = release.used_files(service, entry["definition"], manifest["files"]) if entry else {}
    # A folder changes with each file that comes and goes in it.
    return {path: file for path, file in used.items() if file["type"] != "dir"}


def _changed(path: str) -> float:
    try:
        return os.lstat(path).st_mtime
    except OSError:
        return 0.0


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""
