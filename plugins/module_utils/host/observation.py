# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The observed state of one environment on one host, as the planner takes it. Nothing is written."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

from ..model import transaction
from ..model.errors import TetraError
from ..model.ports import lists as port_lists
from ..model.ports.registry import TCP, UDP, Registry, number_of, protocol_of
from ..model.release import ports_of
from . import drift, engine, holds, journal, membership, registry, running, sockets, store, transactions
from .scope import Scope

FORMAT = 1


def observe(scope: Scope) -> dict[str, Any]:
    """Everything that a plan has to know of this host, as plain data."""
    environment = scope.environment
    current = store.current(environment)
    releases = dict(_summaries(scope))
    records = journal.read(environment)
    services = running.observe(scope)
    transaction_now = _open_transaction(scope)
    # In the middle of a transaction a host is what neither release says.
    drifts = [] if transaction_now else drift.examine(scope, services)
    known = registry.load(scope.home.root)
    for service in services.values():
        service["url"] = url(scope, service)
    return {
        "format": FORMAT,
        "supervisor": scope.supervisor.name,
        "honours": sorted(scope.supervisor.honours),
        "address": scope.settings.address,
        "current": current,
        "bundle": releases[current]["bundle"] if current in releases else None,
        "epoch": records[-1]["seq"] if records else 0,
        "head": {"seq": records[-1]["seq"], "hash": records[-1]["hash"]} if records else {"seq": 0, "hash": ""},
        "transaction": transaction_now,
        "staged": [found.identity for found in transactions.in_states(environment, (transaction.STAGED,))],
        "history": _history(scope, records),
        "holds": holds.read(scope.environment),
        "removed": membership.removed(scope.environment),
        "releases": releases,
        "services": services,
        "drift": drifts,
        "registry": known.registry.to_wire(),
        "released": known.released,
        "ephemeral": list(known.ephemeral),
        "kept": port_lists.text(known.kept),
        "listeners": _listeners(scope, services, known.registry),
        "blobs": store.blobs(environment),
        "last": _last(records),
    }


def url(scope: Scope, service: Mapping[str, Any]) -> str:
    """Where a service answers, or nothing for one without a port."""
    value = service["ports"].get("main")
    if value is None:
        return ""
    scheme = "http" if protocol_of(value) == TCP else UDP
    return f"{scheme}://{scope.settings.address or '127.0.0.1'}:{number_of(value)}"


def _summaries(scope: Scope) -> Iterator[tuple[str, dict[str, Any]]]:
    """The releases that can be gone back to; one of which something is damaged cannot, and one in use is a drift."""
    for name in store.release_digests(scope.environment):
        with contextlib.suppress(TetraError):
            yield name, _summary(scope, name, store.manifest(scope.environment, name))


def _summary(scope: Scope, name: str, manifest: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "bundle": manifest["bundle"],
        "services": {service: entry["digest"] for service, entry in manifest["services"].items()},
        "ports": ports_of(manifest),
        "secrets": manifest["secrets"],
        "secrets_key": manifest["secrets_key"],
        "placed": running.placed(scope, name),
    }


def _open_transaction(scope: Scope) -> dict[str, Any] | None:
    for found in transactions.in_states(scope.environment, transaction.OPEN):
        left = transactions.seconds_left(scope.environment, found.identity)
        return {
            "id": found.identity,
            "state": found.state,
            "actor": found.record["actor"],
            "age": transactions.age(scope.environment, found),
            "seconds_left": left,
            "decision": transactions.decision(scope.environment, found.identity),
        }
    return None


def _history(scope: Scope, records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    confirmed = [record for record in records if record.get("outcome") == transaction.CONFIRMED]
    owed = transactions.unwritten(scope.environment, records)
    if len(owed) == 1 and owed[0].state == transaction.CONFIRMED:
        # What others do depends on it at once, though the next run writes it down. More of them were lost.
        found = owed[0]
        confirmed.append({**found.record, "transaction": found.identity, "time": engine.utc(found.record["created"])})
    return [
        {"release": record["to"], "bundle": record["bundle"], "transaction": record["transaction"],
         "action": record["action"], "time": record["time"], "actor": record["actor"]}
        for record in confirmed
    ]


def _last(records: list[dict[str, Any]]) -> dict[str, Any] | None:
    ended = [record for record in records if record["kind"] == "transaction"]
    keys = ("transaction", "action", "outcome", "actor", "time", "detail", "check", "bundle")
    return {key: ended[-1][key] for key in keys} if ended else None


def _listeners(scope: Scope, services: Mapping[str, Mapping[str, Any]], said: Registry) -> list[dict[str, Any]]:
    """Who holds ports of this host; what our own services hold is named by its owner."""
    result = sockets.listeners(said.numbers())
    owners = {service["pid"]: f"{scope.org}/{scope.env}/{name}" for name, service in services.items() if service["pid"]}
    sockets.name_owners(result, owners)
    return result
