# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Drift: what an environment should run, what it was given, and what it really is, put side by side."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from . import listing, plan

PENDING = "pending change"
EDITED = "hand edit"
BOTH = "pending change and hand edit"
OLDER = "process runs older files"
EXTRA = "unmanaged extra"
DOWN = "not running"

ON_THE_HOST = (EDITED, BOTH, OLDER, EXTRA, DOWN)
"""The kinds that make a host something else than what it was given."""


def record(kind: str, what: str, services: Iterable[str]) -> dict[str, Any]:
    """One drift as plain data."""
    return {"kind": kind, "what": what, "services": sorted(services)}


def pending(observed: Mapping[str, Any], desired: plan.Desired, host: str) -> dict[str, str]:
    """The services of a host that the next push or promotion would change, and why; whatever was done by hand.

    :param observed: what the operation ``release_info`` returned.
    """
    current = observed["releases"].get(_given(observed)) or {"services": {}, "placed": []}
    given = {name: current["services"][name] for name in current["placed"]}
    wanted = {name: desired.services[name] for name in desired.placement.get(host, ())}
    words = {plan.START: "is new", plan.STOP: "is gone", plan.RESTART: "changed"}
    as_given = {name: {"digest": digest, "running": True, "stopped": False} for name, digest in given.items()}
    return {name: words[action] for name, action in plan.changes(as_given, wanted).items() if action in words}


def _given(observed: Mapping[str, Any]) -> str | None:
    """The release that the host was given last, whatever ``current`` names by now."""
    return observed["history"][-1]["release"] if observed["history"] else None


def of_host(
    observed: Mapping[str, Any], waiting: Mapping[str, str], following: str | None = None
) -> list[dict[str, Any]]:
    """All drifts of a host, those that have to do with each other as one.

    :param waiting: what :func:`pending` returned.
    :param following: the release that the host would get next, if that is known.
    """
    found = [_joined(one, waiting) for one in observed["drift"]]
    told = {name for one in found if one["kind"] == BOTH for name in one["services"]}
    found += [record(PENDING, f"service {name} {why}", [name]) for name, why in waiting.items() if name not in told]
    if following not in (None, _given(observed)) and not waiting:
        found.append(record(PENDING, f"release {listing.short(following)} follows, no service changes", []))
    return found + [record(DOWN, f"service {name} is {observed['services'][name]['state']}", [name])
                    for name in _down(observed, waiting)]


def _joined(one: Mapping[str, Any], waiting: Collection[str]) -> dict[str, Any]:
    """A hand edit of what is about to change anyway."""
    both = one["kind"] == EDITED and any(name in waiting for name in one["services"])
    return record(BOTH if both else one["kind"], one["what"], one["services"])


def _down(observed: Mapping[str, Any], waiting: Collection[str]) -> list[str]:
    """Services that should run; one that a person stopped should not."""
    services = observed["services"]
    return [name for name, service in services.items()
            if not service["running"] and not service["stopped"] and name not in waiting]
