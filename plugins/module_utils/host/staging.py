# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bring a release to a host and make it ready to be switched to; nothing that runs is touched."""

from __future__ import annotations

import base64
import contextlib
import io
import os
import time
from collections.abc import Container, Mapping
from typing import Any

from ..model import pack, plan, release, transaction
from ..model.errors import REFUSED, TetraError
from ..model.ports.registry import PortValue, service_of
from . import admission, engine, evidence, holds, journal, keys, reservations, running, store, transactions
from .scope import Scope

_PACK_LIFETIME = 3600
_SPARE_BYTES = 16 * 1024 * 1024


def stage(scope: Scope, identity: str, request: Mapping[str, Any]) -> dict[str, Any]:
    """Store a release, reserve its ports and create its transaction.

    :param request: ``plan`` (the plan record), ``host`` (this host's name in it), ``bundle`` and ``manifest``
        (manifests, or None when the host has them), ``pack`` (path of a pack file, or None) or ``pack_bytes`` (a pack
        itself, base64, or None), ``services`` (of this host), ``secrets`` (name to value), ``actor``, ``reason``,
        ``lift_hold``, ``lease``, ``probe``, ``keep``, ``pinned``, ``heads`` and ``seen``, the transactions that were
        staged here when the plan was made, which are given up.
    :returns: the transaction's state, and how many blobs were stored.
    :raises TetraError: code ``refused`` when the base moved, a transaction is open, or space or a port is missing.
    """
    record = request["plan"]
    part = record["hosts"][request["host"]]
    environment = scope.environment
    environment.prepare()
    _sweep_packs()
    with engine.locked(scope):
        engine.settle(scope)
        engine.check_no_open_transaction(scope)
        _check_new(scope, identity)
        _check_not_overtaken(scope, request["seen"])
        engine.check_base(scope, part)
        manifest = request["manifest"] or store.manifest(environment, record["release"])
        _check_target(scope, record, manifest)
        _check_manifests(scope, request, manifest)
        if request["manifest"]:
            _check_secrets(scope, manifest, request["secrets"])
        _check_hold(scope, record, request)
        admission.admit(scope, manifest, request["services"])
        engine.abort_staged(scope)
        engine.forget_failures(scope, request)
        _check_space(scope, request)
        stored = _take_pack(scope, request)
        _add(scope, identity, request, manifest)
        ports = {key: value for key, value in record["ports"].items() if service_of(key) in request["services"]}
        reservations.check_free(scope, ports, running.observe(scope))
        ports_before = reservations.before(scope, ports)
        transactions.create(environment, _record(scope, identity, request, ports_before))
        reservations.reserve(scope, ports)
    return {"transaction": identity, "state": transaction.STAGED, "blobs": stored}


def _sweep_packs() -> None:
    """Remove the packs of runs that ended before their host was asked to take them."""
    for name in filter(pack.is_name, os.listdir(pack.FOLDER)):
        path = os.path.join(pack.FOLDER, name)
        with contextlib.suppress(OSError):
            if time.time() - os.lstat(path).st_mtime > _PACK_LIFETIME:
                os.unlink(path)


def _take_pack(scope: Scope, request: Mapping[str, Any]) -> int:
    """Take the blobs that came along; how many of them were new."""
    if request["pack_bytes"]:
        return store.unpack(scope.environment, io.BytesIO(base64.b64decode(request["pack_bytes"])))
    if not request["pack"]:
        return 0
    folder, name = os.path.split(request["pack"])
    if folder != pack.FOLDER or not pack.is_name(name):
        raise TetraError(f"{request['pack']} is not where packs wait", hint="run again", code=REFUSED)
    try:
        # Whoever sent it could have put a link or a pipe in its place since.
        with open(os.open(request["pack"], os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            return store.unpack(scope.environment, file)
    finally:
        with contextlib.suppress(OSError):
            os.unlink(request["pack"])


def _check_new(scope: Scope, identity: str) -> None:
    state = transactions.states(scope.environment).get(identity)
    if state:
        raise TetraError(f"transaction {identity} was staged before, and is {state}",
                         hint="the request came twice, or late; nothing was changed", code=REFUSED)


def _check_not_overtaken(scope: Scope, seen: Container[str]) -> None:
    """Give up only what nobody goes on with: a run that staged something since this one looked is about to switch."""
    for found in transactions.in_states(scope.environment, (transaction.STAGED,)):
        if found.identity not in seen:
            raise TetraError(
                f"transaction {found.identity} of {found.record['actor']} was staged here since this run looked",
                hint="two runs began at the same moment; run again when the other one has ended",
                code=REFUSED,
            )


def _check_hold(scope: Scope, record: Mapping[str, Any], request: Mapping[str, Any]) -> None:
    if record["bundle"] in holds.read(scope.environment):
        if not request["lift_hold"]:
            raise TetraError(f"bundle {record['bundle'][:12]} is on hold", code=REFUSED)
        word = {"actor": request["actor"], "reason": request["lift_hold"], "time": engine.now()}
        holds.lift(scope.environment, record["bundle"], word)


def _check_target(scope: Scope, record: Mapping[str, Any], manifest: Mapping[str, Any]) -> None:
    """Nobody gets around a hold by naming another bundle, and who goes back goes to what was confirmed here."""
    if manifest["bundle"] != record["bundle"]:
        raise TetraError(f"release {record['release'][:12]} is not of bundle {record['bundle'][:12]}",
                         hint="run again, to plan from what is there", code=REFUSED)
    confirmed = {entry["to"] for entry in journal.read(scope.environment)
                 if entry.get("outcome") == transaction.CONFIRMED}
    if record["action"] == "rollback" and record["release"] not in confirmed:
        raise TetraError(f"release {record['release'][:12]} was never confirmed here, so nothing goes back to it",
                         hint="push or promote a good bundle instead", code=REFUSED)


def _check_secrets(scope: Scope, manifest: Mapping[str, Any], secrets: Mapping[str, str]) -> None:
    """Refuse secrets that are not those of the plan; the host tells whose key their digests were made with."""
    found = keys.digests(scope.home, secrets)
    if found["key"] != manifest["secrets_key"]:
        return
    changed = [name for name, digest in manifest["secrets"].items() if found["digests"].get(name) != digest]
    if changed:
        raise TetraError(
            f"secret {', '.join(changed)} is not what it was when the plan was made",
            hint="somebody changed it in between; run again, or promote again where a host was behind",
            code=REFUSED,
        )


def _check_space(scope: Scope, request: Mapping[str, Any]) -> None:
    if not request["manifest"]:
        return
    needed = 2 * sum(release.blobs(request["manifest"]).values()) + _SPARE_BYTES
    status = os.statvfs(scope.environment.root)
    free = status.f_bavail * status.f_frsize
    if free < needed:
        raise TetraError(
            f"{scope.environment.root} has {free // 2**20} MiB free, the release needs {needed // 2**20} MiB",
            hint="free some space; nothing was changed",
            code=REFUSED,
        )


def _check_manifests(scope: Scope, request: Mapping[str, Any], manifest: Mapping[str, Any]) -> None:
    """What came is what the plan names, and is for this environment."""
    record = request["plan"]
    for kind, name in (("bundle", record["bundle"]), ("manifest", record["release"])):
        if request[kind] is not None and release.digest(request[kind]) != name:
            raise TetraError(f"the manifest that came is not {name[:12]}", hint="run the promotion again", code=REFUSED)
    store.check_belongs(scope.environment, manifest, "release")


def _add(scope: Scope, identity: str, request: Mapping[str, Any], manifest: Mapping[str, Any]) -> None:
    record = request["plan"]
    if request["bundle"] is not None:
        store.add_bundle(scope.environment, request["bundle"])
    store.add_release(scope.environment, manifest, evidence.edited(scope, identity))
    if request["manifest"] is not None:
        store.add_private(scope.environment, record["release"], request["services"], request["secrets"])


def _record(
    scope: Scope, identity: str, request: Mapping[str, Any], ports_before: Mapping[str, PortValue | None]
) -> dict[str, Any]:
    record = request["plan"]
    current = store.current(scope.environment)
    return {
        "format": transaction.FORMAT,
        "id": identity,
        "org": scope.org,
        "env": scope.env,
        "action": record["action"],
        "from": current,
        "from_bundle": store.manifest(scope.environment, current)["bundle"] if current else None,
        "to": record["release"],
        "bundle": record["bundle"],
        "plan": dict(record),
        "plan_id": plan.plan_id(record),
        "actor": request["actor"],
        "reason": request["reason"],
        "lease": request["lease"],
        "probe": request["probe"],
        "keep": request["keep"],
        "pinned": request["pinned"],
        "heads": request["heads"],
        "ports_before": dict(ports_before),
        "created": time.time(),
        "begun": transactions.moment(),
    }
