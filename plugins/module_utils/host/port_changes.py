# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""From what is asked of the port registry of this host to the changes that its file needs."""

from __future__ import annotations

import dataclasses
import os
import socket
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from ..model import transaction, units
from ..model.errors import ERROR, REFUSED, TetraError, raise_on_errors
from ..model.ports import discovery as ports_discovery
from ..model.ports import names as port_names
from ..model.ports import registry as words
from ..model.ports import transfer as ports_transfer
from ..model.ports.names import ABSENT, Wanted
from ..model.ports.registry import PortValue
from ..model.ports.space import HostPorts
from ..model.release import ports_of
from . import listeners, port_scan, registry, settings, store, transactions
from .layout import Environment, Home

_T = TypeVar("_T")


def of(request: Mapping[str, Any], now: HostPorts) -> registry.Decide:
    """What a request of the operation ``port_registry`` changes.

    :param now: what :func:`live` gave; who listens is looked at before the registry is locked, for that takes time.
    :raises TetraError: for what cannot be meant.
    """
    if request.get("import_from"):
        return _importing(request["import_from"])
    return _changing(request, now)


def live(tetra_dir: str, known: HostPorts) -> HostPorts:
    """What a host knows of its ports, with what listens now."""
    home = Home(tetra_dir)
    address = settings.load(home).address if os.path.exists(settings.path(home)) else ""
    return dataclasses.replace(known, address=address, listeners=listeners.named(home, known.registry))


def _changing(request: Mapping[str, Any], now: HostPorts) -> registry.Decide:
    home = Home(request["tetra_dir"])
    needs = _needs(request.get("adopt"), now)
    given = dict(request.get("ports") or {})
    gone = _gone(home, {identity: given.pop(identity) for identity in [*given] if "/" in identity})
    wanted = _wanted({**request, "ports": given})

    def decide(known: HostPorts) -> Mapping[str, Any]:
        known = dataclasses.replace(now, registry=known.registry, released=known.released)
        adopted = _adopted(needs, known)
        named = dataclasses.replace(wanted, names={**adopted, **wanted.names})
        changes = port_names.changes(named, known, socket.gethostname())
        owned = changes.get("owned", {})
        _check_settled(home, owned)
        owners = {*owned, *gone}
        return {**changes, "owned": {owner: {**owned.get(owner, {}), **gone.get(owner, {})} for owner in owners}}

    return decide


def _check_settled(home: Home, owners: Iterable[str]) -> None:
    """Refuse to move ports of an environment whose transaction may have to go back to them."""
    for owner in owners:
        environment = _environment(home, owner)
        for found in transactions.in_states(environment, transaction.OPEN) if environment else ():
            raise TetraError(f"transaction {found.identity} of {owner} is {found.state}, so its ports stay",
                             hint="it ends by itself when its lease is over; then run again", code=REFUSED)


def _environment(home: Home, owner: str) -> Environment | None:
    """The environment of an owner; None for one that somebody wrote by hand and that no environment can be called."""
    try:
        return home.environment(*owner.split("/"))
    except TetraError:
        return None


def _gone(home: Home, given: Mapping[str, Any]) -> dict[str, dict[str, None]]:
    """The ports of environments that are to be taken out, by owner and key.

    :raises TetraError: for any other value, and for a port that a release has.
    """
    gone: dict[str, dict[str, None]] = {}
    for identity, value in given.items():
        owner, key = words.split_identity(identity)
        if not owner or value != ABSENT:
            raise TetraError(f"port {identity}: ports of environments come with their releases",
                             hint="push, or pin the port in ports.toml of the organization; absent takes one out")
        environment = _environment(home, owner)
        current = store.current(environment) if environment else None
        if environment and current and key in ports_of(store.manifest(environment, current)):
            raise TetraError(f"port {identity}: the release that {owner} runs has it", code=REFUSED,
                             hint="take the service out of the organization and push")
        gone.setdefault(owner, {})[key] = None
    return gone


def _needs(adopt: list[str] | None, now: HostPorts) -> list[ports_discovery.Need]:
    """What is to be registered: what files need, or what listens when none are named."""
    if adopt is None:
        return []
    return port_scan.needs(adopt) if adopt else ports_discovery.from_listeners(now.listeners)


def _adopted(needs: Iterable[ports_discovery.Need], known: HostPorts) -> dict[str, PortValue]:
    """The names of what was found.

    :raises TetraError: code ``refused``, listing all that is in the way.
    """
    found = ports_discovery.propose(needs, known.registry)
    problems = [f"{_place(one)}: port {one.port} of {one.name}: {one.reason}" for one in found
                if one.state == ports_discovery.CONFLICT]
    if problems:
        raise TetraError("\n".join(problems), code=REFUSED,
                         hint="name these yourself, or adopt less; nothing was registered")
    return {one.name: words.value_of(one.port, one.protocol) for one in found if one.state == ports_discovery.NEW}


def proposals(needs: Iterable[ports_discovery.Need], known: HostPorts) -> list[ports_discovery.Proposal]:
    """The names that are proposed for what files need and what listens."""
    return ports_discovery.propose([*needs, *ports_discovery.from_listeners(known.listeners)], known.registry)


def _place(proposal: ports_discovery.Proposal) -> str:
    first = proposal.seen[0]
    return f"{first.file}:{first.line}" if first.file else f"{first.text} listens"


def _importing(path: str) -> registry.Decide:
    if not os.path.exists(path):
        raise TetraError(f"there is no file {path}", hint="give the path of a registry on this host")
    other, findings = ports_transfer.parse(registry.read_text(path), ports_transfer.AUTO, path)
    raise_on_errors(findings)

    def decide(known: HostPorts) -> Mapping[str, Any]:
        changes, conflicts = ports_transfer.merge(known.registry, other)
        conflicts = sorted(conflicts, key=lambda one: (one.line, one.column))
        refused = [str(dataclasses.replace(one, file=path)) for one in conflicts if one.severity == ERROR]
        if refused:
            raise TetraError("\n".join(refused), hint="nothing was imported", code=REFUSED)
        return changes

    return decide


def _wanted(request: Mapping[str, Any]) -> Wanted:
    """What a request wants, read from what a person wrote."""
    return Wanted(
        names=_values("port", request.get("ports"), port_names.read),
        ranges=_values("range", request.get("ranges"), lambda value: _or_absent(value, units.port_range)),
        reserved=_values("reserved", request.get("reserved"), lambda value: _or_absent(value, _numbers)),
        exclusive=bool(request.get("exclusive")),
        resolve=units.one_of(str(request.get("resolve") or port_names.REPORT), port_names.RESOLUTIONS),
        owner=_owner(request),
        port_range=str(request.get("port_range") or ""),
    )


def _owner(request: Mapping[str, Any]) -> str:
    """The environment that conflicts are resolved for; empty for all of them."""
    org, env = request.get("org") or "", request.get("env") or ""
    if bool(org) != bool(env) or (request.get("port_range") and not org):
        raise TetraError("org, env and port_range say together which environment it is", hint="give org and env")
    return f"{org}/{env}" if org else ""


def _values(kind: str, given: Mapping[str, Any] | None, read: Callable[[Any], _T]) -> dict[str, _T]:
    """The values of an option; an error says whose value it is."""
    result = {}
    for name, value in (given or {}).items():
        try:
            result[name] = read(value)
        except TetraError as error:
            raise TetraError(f"{kind} {name}: {error.message}", hint=error.hint, code=error.code) from error
    return result


def _or_absent(value: Any, read: Callable[[Any], _T]) -> _T | None:
    return None if value == ABSENT else read(value)


def _numbers(values: Iterable[units.Written]) -> list[int]:
    return sorted({units.port(value) for value in values})
