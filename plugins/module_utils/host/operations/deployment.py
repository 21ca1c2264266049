# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Operations on the releases of one environment: what is there, stage, activate, decide, confirm, revert, pack.

What only one of them needs is imported there: a transaction is several calls, and each would wait for it.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from typing import Any

from ...model import release as model_release
from ...model import rollback
from ...model.errors import REFUSED, TetraError
from .. import engine, evidence, keys, membership, probing, processes, running, store
from ..scope import Scope, open_scope

_IDENTITY = re.compile(r"^[0-9]{8}t[0-9]{6}-[0-9a-f]{8}$")


def release_info(request: Mapping[str, Any]) -> dict[str, Any]:
    """What an environment runs on this host, and all that a plan has to know of it; writes nothing.

    :param request: ``tetra_dir``, ``org``, ``env``, and ``secrets`` (name to value) whose keyed digests are wanted,
        as ``secret_digests`` beside those of the secrets that run now, ``current_secrets``; and ``manifests``, words
        for releases (``current``, ``previous``, or how the name of one begins) whose manifests are wanted, by word.
    """
    from .. import observation

    scope = _scope(request)
    result = observation.observe(scope)
    result["secret_digests"] = keys.digests(scope.home, request.get("secrets") or {})
    known = result["current"] in result["releases"]
    running_with = store.private(scope.environment, result["current"])["secrets"] if known else {}
    result["current_secrets"] = keys.digests(scope.home, running_with)["digests"]
    named = {word: _release_of(result, word) for word in request.get("manifests") or []}
    manifests = {word: store.manifest(scope.environment, name) for word, name in named.items() if name}
    return {"changed": False, **result, "manifests": manifests}


def _release_of(observed: Mapping[str, Any], word: str) -> str | None:
    """The release that a word stands for, or None where the host has no such release."""
    current: str | None = observed["current"]
    if word == "current":
        return current
    if word == "previous":
        return rollback.previous(observed)
    found = [str(name) for name in observed["releases"] if name.startswith(word)]
    return found[0] if len(found) == 1 else None


def release(request: Mapping[str, Any]) -> dict[str, Any]:
    """Take a transaction to a state.

    :param request: ``tetra_dir``, ``org``, ``env``, ``transaction``, ``state`` (staged, active, renewed, decided,
        confirmed, rolled_back, aborted; observed, which only tells, or unmoved for a host that has none), and
        ``stage``, ``decision``, ``cause`` or ``base`` where the state needs it.
    """
    scope = _scope(request)
    identity = _identity(request)
    step = _STEPS.get(request["state"])
    if step is None:
        raise TetraError(f"state {request['state']!r} is unknown", hint=f"one of {', '.join(_STEPS)}")
    result = step(scope, identity, request)
    return {"changed": request["state"] not in _QUIET, **result}


def deploy_pack(request: Mapping[str, Any]) -> dict[str, Any]:
    """The current bundle of an environment as one pack: all its sources, and the files that the receiver lacks.

    :param request: ``tetra_dir``, ``org``, ``env``, ``have`` (digests that every receiver has), ``rendered`` (whether
        the receiver is of the same environment, and needs what was rendered for it too).
    :returns: ``manifest``, that of the bundle, ``release``, that of the release if it is wanted, and ``pack``, base64.
    """
    scope = _scope(request)
    current = store.current(scope.environment)
    if current is None:
        raise TetraError(f"{scope.org}/{scope.env} runs nothing here", hint="push something first", code=REFUSED)
    rendered = store.manifest(scope.environment, current)
    manifest = store.bundle(scope.environment, rendered["bundle"])
    have = set(request.get("have") or [])
    # The controller reads all sources but the files, which it only passes on.
    wanted = {
        entry["sha256"]
        for path, entry in manifest["files"].items()
        if entry["type"] == "file" and not (path.startswith("files/") and entry["sha256"] in have)
    }
    result = {"changed": False, "manifest": manifest}
    if request.get("rendered"):
        wanted |= set(model_release.blobs(rendered)) - have
        result["release"] = rendered
    content = store.pack_of(scope.environment, sorted(wanted))
    return {**result, "pack": base64.b64encode(content).decode("ascii")}


def environment_host(request: Mapping[str, Any]) -> dict[str, Any]:
    """Remember that a host was taken out of an environment, or is a member again.

    :param request: ``tetra_dir``, ``org``, ``env``, ``host``, ``state`` (member or removed), ``actor``, ``reason``.
    :returns: ``changed``, and ``removed``, the hosts that are taken out then.
    """
    scope = _scope(request)
    record = {"actor": request["actor"], "reason": request.get("reason", ""), "time": engine.now()}
    with engine.locked(scope):
        known = membership.removed(scope.environment)
        if request.get("check"):
            changed = (request["state"] == membership.REMOVED) != (request["host"] in known)
        else:
            changed = membership.change(scope.environment, request["host"], request["state"], record)
        return {"changed": changed, "removed": membership.removed(scope.environment)}


def tsm_service_info(request: Mapping[str, Any]) -> dict[str, Any]:
    """The services of an environment here, with state, health, use of the machine, and the end of logs if asked for."""
    from .. import observation

    scope = _scope(request)
    services = running.observe(scope)
    samples = probing.check_once(scope, services)
    for name, service in services.items():
        service["url"] = observation.url(scope, service)
        service["health"] = {"ok": samples[name].good, "detail": samples[name].detail}
        service.update(processes.usage(service["pid"] or 0))
        if request.get("log_lines"):
            text = scope.supervisor.tail(scope.unit(name), 64 * 1024)
            text = evidence.without_secrets(scope, service["release"], text)
            service["log"] = text.splitlines()[-request["log_lines"]:]
    return {"changed": False, "services": services}


def tsm_service(request: Mapping[str, Any]) -> dict[str, Any]:
    """Bring services of an environment to a state: ``started``, ``stopped`` (remembered) or ``restarted``."""
    scope = _scope(request)
    services = request["services"]
    known = running.observe(scope)
    unknown = sorted({service["name"] for service in services} - set(known))
    if unknown:
        raise TetraError(
            f"{scope.org}/{scope.env} has no service {', '.join(unknown)} on this host",
            hint=f"it has {', '.join(sorted(known)) or 'none'}",
        )
    with engine.locked(scope):
        engine.check_no_open_transaction(scope)
        return running.bring_to(scope, running.observe(scope), services, bool(request.get("check")))


def _stage(scope: Scope, identity: str, request: Mapping[str, Any]) -> dict[str, Any]:
    from .. import staging

    return staging.stage(scope, identity, request["stage"])


def _activate(scope: Scope, identity: str, request: Mapping[str, Any]) -> dict[str, Any]:
    return engine.activate(scope, identity)


def _renew(scope: Scope, identity: str, request: Mapping[str, Any]) -> dict[str, Any]:
    return engine.renew(scope, identity)


def _decide(scope: Scope, identity: str, request: Mapping[str, Any]) -> dict[str, Any]:
    return engine.decide(scope, identity, request["decision"])


def _confirm(scope: Scope, identity: str, request: Mapping[str, Any]) -> dict[str, Any]:
    return engine.confirm(scope, identity)


def _revert(scope: Scope, identity: str, request: Mapping[str, Any]) -> dict[str, Any]:
    cause = request.get("cause") or {"reason": "taken back by hand", "verdict": True}
    return engine.revert(scope, identity, engine.Cause(cause["reason"], cause["verdict"], cause.get("check", "")))


def _abort(scope: Scope, identity: str, request: Mapping[str, Any]) -> dict[str, Any]:
    return engine.abort(scope, identity)


def _observe(scope: Scope, identity: str, request: Mapping[str, Any]) -> dict[str, Any]:
    return engine.observe(scope, identity)


def _stay(scope: Scope, identity: str, request: Mapping[str, Any]) -> dict[str, Any]:
    return engine.stay(scope, identity, request["base"])


_QUIET = ("renewed", "decided", "observed", "unmoved")
_STEPS = {
    "staged": _stage,
    "active": _activate,
    "renewed": _renew,
    "decided": _decide,
    "confirmed": _confirm,
    "rolled_back": _revert,
    "aborted": _abort,
    "observed": _observe,
    "unmoved": _stay,
}


def _scope(request: Mapping[str, Any]) -> Scope:
    return open_scope(request["tetra_dir"], request["org"], request["env"])


def _identity(request: Mapping[str, Any]) -> str:
    identity = str(request["transaction"])
    if not _IDENTITY.match(identity):
        raise TetraError(f"{identity!r} is not a transaction id", hint="it looks like 20260101t120000-0123abcd")
    return identity
