# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What hosts may answer, by operation.

A host may be in the hands of somebody else. Until it was held against these forms, what it sends is text from outside:
Ansible itself takes variables, new hosts and much more from keys of a result that an operation never gives. (Of a
module it takes the warnings away before they come here.)
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ansible_collections.tetra.platform.plugins.module_utils.model import release, transaction, values
from ansible_collections.tetra.platform.plugins.module_utils.model.errors import TetraError
from ansible_collections.tetra.platform.plugins.module_utils.model.ports import lists, registry
from ansible_collections.tetra.platform.plugins.plugin_utils import forms
from ansible_collections.tetra.platform.plugins.plugin_utils.forms import (
    LINE,
    PLAIN,
    Matching,
    Maybe,
    Named,
    OneOf,
    OrNone,
    Pair,
    Where,
)

_MEMORY = 256 * 1024 * 1024
_MUCH_MEMORY = 1024 * 1024 * 1024
_LONG = ("deploy_pack", "journal_info")
_LITTLE_MEMORY = 64 * 1024 * 1024
_SHORT = ("deploy_blobs", "deploy_edits")

_HINT = "look at the host: its agent or its connection is not what playbooks/prepare.yml put there"


def _port_value(value: object) -> None:
    if not registry.is_port_value(value):
        raise TetraError("this is not a port")


def _manifest(record: Mapping[str, Any]) -> None:
    release.check_manifest(record)
    for name, entry in record.get("services", {}).items():
        definition = entry["definition"]
        environment, commands = definition.get("environment"), definition.get("pre_commands")
        if not isinstance(environment, Mapping):
            raise TetraError(f"service {name} has no environment")
        if not isinstance(commands, list) or not all(isinstance(command, Mapping) for command in commands):
            raise TetraError(f"service {name} has no list of commands that run before it")
        for value in environment.values():
            values.check(value)
        for part in (*commands, *(definition[key] for key in definition if key != "pre_commands")):
            _check_symbolic(part)


def _check_symbolic(part: object) -> None:
    """A list with anything but texts and lists in it is a text with variables."""
    if isinstance(part, list) and any(isinstance(item, Mapping) for item in part):
        values.check(part)
    for item in part.values() if isinstance(part, Mapping) else part if isinstance(part, list) else ():
        _check_symbolic(item)


def _release(record: Mapping[str, Any]) -> None:
    if not set(record["placed"]) <= set(record["services"]):
        raise TetraError("it places services that it does not have")


_NAME = r"[a-z][a-z0-9-]{0,62}"
_DIGEST = Matching(r"[0-9a-f]{64}")
_HEX = Matching(r"[0-9a-f]{0,64}")
_PORT = Where(PLAIN, _port_value)
_PORTS = Named(_PORT, rf"{_NAME}(?:/{_NAME})?")
_HEAD = {"seq": int, "hash": _HEX}
_MANIFEST = Where(PLAIN, _manifest)
_FINDING = {
    "severity": str, "code": str, "message": LINE, "file": LINE, "line": int, "column": int, "hint": LINE,
}  # fmt: skip
_LISTENER = {
    "address": LINE, "port": int, "protocol": LINE, "state": LINE, "ipv6_only": bool, "pid": OrNone(int),
    "command": LINE, "unit": LINE, "container": LINE, "owner": OrNone(LINE),
}  # fmt: skip
_SERVICE = {
    "digest": _DIGEST, "release": _DIGEST, "ports": Named(_PORT, _NAME), "state": LINE, "running": bool,
    "pid": OrNone(int), "started": OrNone(float), "restarts": OrNone(int), "stopped": bool, "url": LINE,
}  # fmt: skip
_OPEN_TRANSACTION = {
    "id": LINE, "state": OneOf(transaction.STATES), "actor": LINE, "age": float, "seconds_left": float,
    "decision": OrNone({"decision": Maybe(LINE), "hosts": [str]}),
}  # fmt: skip
_RELEASE = Where({
    "bundle": _DIGEST, "services": Named(_DIGEST, _NAME), "ports": _PORTS, "secrets": Named(str),
    "secrets_key": OrNone(str), "placed": [str],
}, _release)  # fmt: skip
_CONFIRMED = {
    "release": _DIGEST, "bundle": _DIGEST, "transaction": LINE, "action": LINE, "time": LINE, "actor": LINE,
}  # fmt: skip
_LAST = {
    "transaction": LINE, "action": LINE, "outcome": LINE, "actor": LINE, "time": LINE, "detail": LINE, "check": LINE,
    "bundle": OrNone(_DIGEST),
}  # fmt: skip
_HOLD = {"transaction": LINE, "reason": LINE, "check": LINE, "bundle": Maybe(_DIGEST), "format": Maybe(int)}
_REMOVED = {"actor": LINE, "reason": LINE, "time": Maybe(LINE)}
_REGISTRY = {
    "names": Named(_PORT), "owned": Named(_PORTS), "ranges": Named(Pair()), "reserved": Named([int]),
    "allocation": Pair(), "strategy": str, "system_ports": bool, "cooldown": float, "findings": [_FINDING],
}  # fmt: skip
_OBSERVED = {
    "format": int,
    "supervisor": LINE,
    "honours": [str],
    "address": LINE,
    "current": OrNone(_DIGEST),
    "bundle": OrNone(_DIGEST),
    "epoch": int,
    "head": _HEAD,
    "transaction": OrNone(_OPEN_TRANSACTION),
    "staged": [LINE],
    "history": [_CONFIRMED],
    "holds": Named(_HOLD, r"[0-9a-f]{64}"),
    "removed": Named(_REMOVED),
    "releases": Named(_RELEASE, r"[0-9a-f]{64}"),
    "services": Named(_SERVICE, _NAME),
    "drift": [{"kind": LINE, "what": LINE, "services": [str]}],
    "registry": _REGISTRY,
    "released": Named({"by": LINE, "until": float, "held": bool}),
    "ephemeral": Pair(),
    "kept": Where(str, lists.parse),
    "listeners": [_LISTENER],
    "blobs": [_DIGEST],
    "last": OrNone(_LAST),
    "secret_digests": {"key": str, "digests": Named(_HEX)},
    "current_secrets": Named(_HEX),
    "manifests": Named(_MANIFEST),
}
_EDITED = {
    "path": str, "data": OrNone(str), "before": OrNone(str), "entry": OrNone({
        "type": OneOf(("file", "link")), "sha256": Maybe(_DIGEST), "size": Maybe(int), "executable": Maybe(bool),
        "target": Maybe(str),
    }),
}  # fmt: skip
_REGISTRY_ROWS = {"ranges": Named(LINE), "reserved": Named([int]), "findings": [_FINDING]}

OPERATIONS: Mapping[str, Mapping[str, Any]] = {
    "agent": {"changes": [LINE]},
    "deploy_blobs": {"data": str},
    "deploy_edits": {
        "epoch": int, "current": _DIGEST, "bundle": _DIGEST, "removed": Named(_REMOVED), "manifest": _MANIFEST,
        "earlier": Named([_HEX]), "files": [_EDITED], "settings": Named(Named(str), _NAME),
        "stopped": Named(bool, _NAME), "left": [{"what": LINE, "why": LINE}],
    },
    "deploy_pack": {
        "manifest": _MANIFEST, "release": Maybe(_MANIFEST), "pack": str,
    },
    "environment_host": {"removed": Named(_REMOVED)},
    "health_check": {"healthy": bool, "checks": Named({"ok": bool, "detail": LINE, "check": LINE})},
    "journal_info": {
        "records": [PLAIN], "damage": OrNone({"seq": int, "reason": LINE, "torn": bool}), "head": _HEAD,
        "current": OrNone(_DIGEST), "open": bool,
    },
    "port_registry": {
        **_REGISTRY_ROWS, "ports": Named(_PORT), "warnings": Maybe([LINE]),
        "diff": Maybe({"before": LINE, "after": LINE}),
    },
    "port_registry_info": {
        **_REGISTRY_ROWS, "ports": {"plain": Named(_PORT), "owned": Named(_PORTS)}, "released": Named(LINE),
        "address": LINE, "listeners": [_LISTENER], "text": Maybe(str), "proposals": Maybe([PLAIN]),
    },
    "release": {
        "transaction": LINE, "state": OneOf((*transaction.STATES, transaction.UNMOVED)), "blobs": Maybe(int),
        "release": Maybe(OrNone(_DIGEST)), "services": Maybe(Named(LINE, _NAME)),
        "reports": Maybe(Named(PLAIN, _NAME)), "detail": Maybe(LINE), "check": Maybe(LINE), "evidence": Maybe(LINE),
    },
    "release_info": _OBSERVED,
    "tsm_service": {"services": Named(LINE, _NAME)},
    "tsm_service_info": {
        "services": Named({**_SERVICE, "health": {"ok": bool, "detail": LINE}, "cpu_seconds": float, "memory": int,
                           "log": Maybe([str])}, _NAME),
    },
}  # fmt: skip
"""Operation to the form of its result; each has ``changed`` besides."""

_ERROR = {"message": LINE, "hint": LINE, "code": OneOf(transaction.OUTCOMES)}


def memory(operation: str) -> int:
    """How many bytes of memory it may take to hear an answer, which is there several times on its way.

    Those that bring a bundle or a journal along are long. A connection of Ansible takes time with the square of what
    comes, so a host that sends without end is left the sooner the less this is.
    """
    if operation in _SHORT:
        return _LITTLE_MEMORY
    return _MUCH_MEMORY if operation in _LONG else _MEMORY


def decode(output: str) -> Any:
    """What an agent wrote, from JSON.

    :raises ValueError: for anything else, NaN and what is nested without end included.
    """
    try:
        return json.loads(output, parse_constant=_no_constant)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def result(operation: str, record: object) -> dict[str, Any]:
    """What an operation told, as its form has it; anything else that came with it is left out.

    :raises TetraError: code ``unconfirmed``: what the host did is not known.
    """
    try:
        found: dict[str, Any] = forms.shaped(record, {"changed": bool, **OPERATIONS[operation]})
    except TetraError as error:
        raise TetraError(f"what came is no answer to {operation}: {error.message}", hint=_HINT,
                         code=transaction.UNCONFIRMED) from error
    return found


def error(record: object) -> tuple[str, str, str]:
    """Message, hint and code of an error that an operation told.

    :raises TetraError: as :func:`result`.
    """
    try:
        found = forms.shaped(record, _ERROR)
    except TetraError as problem:
        raise TetraError(f"what came is no error of ours: {problem.message}", hint=_HINT,
                         code=transaction.UNCONFIRMED) from problem
    return found["message"], found["hint"], found["code"]


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")
