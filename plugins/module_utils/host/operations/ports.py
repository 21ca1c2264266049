# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Operations on the port registry of a host, or on any ports.toml."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from typing import Any

from ...model.errors import TetraError
from ...model.ports import conflicts as ports_conflicts
from ...model.ports import holder
from ...model.ports import registry as words
from ...model.ports import transfer as ports_transfer
from ...model.ports.registry import Registry
from ...model.ports.space import HostPorts
from .. import port_changes, port_scan
from .. import registry as registry_file


def port_registry(request: Mapping[str, Any]) -> dict[str, Any]:
    """Make a registry say what is wanted, and leave the rest of the file as it is.

    :param request: ``tetra_dir``; ``path`` (default: the registry of that directory); ``ports``: plain name to a port
        value, ``auto`` or ``absent``; ``ranges``: name to ``A-B`` or ``absent``; ``reserved``: category to numbers or
        ``absent``; ``exclusive``: remove plain names that ``ports`` does not list; ``resolve``: ``report``,
        ``reallocate`` or ``fail``, with ``org`` and ``env`` what one environment has to do with, into its
        ``port_range``; ``import_from``: path of a registry in any form that is taken over; ``adopt``: paths of files
        whose ports get the names that are proposed, none of them for what listens; ``check``: write nothing. ``ports``
        may also have ``org/env/service`` with ``absent``, where no release of the environment has that port any more.
    :returns: ``changed``, ``diff`` with the text ``before`` and ``after``, ``ports``, ``ranges`` and ``reserved`` as
        they are then, ``findings``, and ``warnings``: who listens already on a port that was given to a plain name.
    :raises TetraError: listing every port that cannot be had, or saying why the file cannot be changed.
    """
    path = request.get("path") or registry_file.default_path(request["tetra_dir"])
    known = registry_file.read_file(path)
    if not request.get("path") and not request.get("import_from"):
        registry_file.check_not_lost(request["tetra_dir"], known)
    now = port_changes.live(request["tetra_dir"], known)
    decide = port_changes.of(request, now)
    update = registry_file.preview_file(path, decide)
    if update.changed and not request["check"]:
        update = _write(request, path, decide)
    return {
        "changed": update.changed,
        "diff": {"before": update.before, "after": update.after},
        "ports": dict(update.registry.names),
        "ranges": _ranges(update.registry),
        "reserved": _reserved(update.registry),
        "findings": _findings(path, dataclasses.replace(now, registry=update.registry)),
        "warnings": _met(update, now),
    }


def _write(request: Mapping[str, Any], path: str, decide: registry_file.Decide) -> registry_file.Update:
    if request.get("path"):
        return registry_file.update_file(path, decide)
    registry_file.make_folder(path)
    return registry_file.update(request["tetra_dir"], decide, anew=bool(request.get("import_from")))


def _met(update: registry_file.Update, now: HostPorts) -> list[str]:
    """Who listens already on ports that were given to plain names; it may well be the program that a name means."""
    new = {value: name for name, value in update.registry.names.items() if update.said.names.get(name) != value}
    holders = ((words.value_of(one["port"], one["protocol"]), one) for one in now.listeners)
    return [f"port {value} of {new[value]}: {holder.text(one)}" for value, one in holders if value in new]


def port_registry_info(request: Mapping[str, Any]) -> dict[str, Any]:
    """Read a registry, and who listens on this host.

    :param request: ``tetra_dir``, or ``path`` of a registry file, which must exist; ``export``: a form to write it in;
        ``scan``: paths of files in which ports are sought.
    :returns: ``ports``: ``plain`` (name to port value) and ``owned`` (``org/env`` to key to port value); ``ranges``,
        ``reserved``, ``released``, ``listeners``, ``findings``, and ``address``, where services of this host bind;
        ``text`` in the form of ``export``; ``proposals`` of names for what was found in ``scan`` and listens.
    """
    path = request.get("path")
    if path and not os.path.exists(path):
        raise TetraError(f"there is no file {path}", hint="give the path of a ports.toml on this host")
    read = registry_file.read_file(path) if path else registry_file.load(request["tetra_dir"])
    path = path or registry_file.default_path(request["tetra_dir"])
    known = port_changes.live(request["tetra_dir"], read)
    said = known.registry
    more: dict[str, Any] = {}
    if request.get("export"):
        more["text"] = ports_transfer.export(said, request["export"])
    if request.get("scan") is not None:
        found = port_changes.proposals(port_scan.needs(request["scan"]), known)
        more["proposals"] = [dataclasses.asdict(one) for one in found]
    return {
        **more,
        "changed": False,
        "ports": {
            "plain": dict(said.names),
            "owned": {owner: dict(keys) for owner, keys in said.owned.items()},
        },
        "ranges": _ranges(said),
        "reserved": _reserved(said),
        "released": {value: one["by"] for value, one in known.released.items()},
        "address": known.address,
        "listeners": list(known.listeners),
        "findings": _findings(path, known),
    }


def _findings(path: str, known: HostPorts) -> list[dict[str, Any]]:
    return [finding.to_wire() for finding in ports_conflicts.findings(known, path)]


def _ranges(registry: Registry) -> dict[str, str]:
    return {name: f"{low}-{high}" for name, (low, high) in registry.ranges.items()}


def _reserved(registry: Registry) -> dict[str, list[int]]:
    return {category: list(ports) for category, ports in registry.reserved.items()}
