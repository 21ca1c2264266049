# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Changes of one registry that a person asks for: plain names, ranges, reserved ports, and conflicts to be resolved."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

from .. import units
from ..errors import INVALID, REFUSED, TetraError
from . import conflicts as ports_conflicts
from . import registry as words
from . import space as port_space
from .conflicts import Conflict
from .registry import PortValue, Registry
from .space import HostPorts, Space

AUTO = "auto"
ABSENT = "absent"

REPORT, REALLOCATE, FAIL = RESOLUTIONS = ("report", "reallocate", "fail")


@dataclasses.dataclass(frozen=True)
class Wanted:
    """What a registry shall say; what is not named stays.

    ``names`` is plain name to port value, ``auto`` or ``absent``; ``ranges`` a name to first and last port, or None;
    ``reserved`` a category to ports, or None; ``exclusive`` takes out plain names that are not named; ``resolve`` is
    one of ``RESOLUTIONS``. With ``owner``, ``org/env``, only what that environment has to do with is resolved, and only
    its own ports move, into its ``port_range``: ``A-B``, the name of a range, or empty for what the registry says.
    """

    names: Mapping[str, PortValue]
    ranges: Mapping[str, tuple[int, int] | None]
    reserved: Mapping[str, list[int] | None]
    exclusive: bool = False
    resolve: str = REPORT
    owner: str = ""
    port_range: str = ""


def changes(wanted: Wanted, known: HostPorts, host: str) -> dict[str, Any]:
    """The changes that make a registry say what is wanted, as ``edit.edit`` takes them.

    A plain name may be that of a program of somebody else, so a stated port is not asked for listeners; a chosen one
    is free of them.

    :param host: what errors call the host.
    :raises TetraError: listing every port that cannot be had; code ``refused`` when somebody else has it.
    """
    names = {name: None if value == ABSENT else value for name, value in wanted.names.items() if value != AUTO}
    if wanted.exclusive:
        names.update({name: None for name in known.registry.names if name not in wanted.names})
    said = _with(known.registry, names, wanted)
    _check_stated(names, known, said, host)
    given = _chosen([name for name, value in wanted.names.items() if value == AUTO and name not in said.names],
                    dataclasses.replace(known, registry=said), host)
    result: dict[str, Any] = {"names": {**names, **given}, "ranges": wanted.ranges, "reserved": wanted.reserved}
    if wanted.resolve == REPORT:
        return result
    after = dataclasses.replace(known, registry=_with(said, given, wanted))
    moves = _resolved(after, wanted, host)
    result["names"].update(moves.pop("", {}))
    return {**result, "owned": moves}


def _with(said: Registry, names: Mapping[str, Any], wanted: Wanted) -> Registry:
    """What a registry says after plain names, ranges and reserved ports were changed."""
    return dataclasses.replace(
        said,
        names=_merged(said.names, names),
        ranges=_merged(said.ranges, wanted.ranges),
        reserved=_merged(said.reserved, wanted.reserved),
    )


def _merged(before: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in {**before, **new}.items() if value is not None}


def _check_stated(names: Mapping[str, Any], known: HostPorts, said: Registry, host: str) -> None:
    """Object to new ports only: what a file says already may be wrong, and is a finding."""
    space = Space(host, dataclasses.replace(known, registry=said, listeners=()), "")
    new = {name: value for name, value in names.items() if value and value != known.registry.names.get(name)}
    by_value: dict[PortValue, list[str]] = {}
    for name, value in new.items():
        by_value.setdefault(value, []).append(name)
    twice = [f"names {' and '.join(sorted(names))} both want port {value}"
             for value, names in by_value.items() if len(names) > 1]
    alone = ((names[0], value) for value, names in by_value.items() if len(names) == 1)
    objections = [text for name, value in alone for text, _hint in space.against(name, value)]
    if twice or objections:
        raise TetraError("\n".join([*objections, *twice]), hint="give another port, or auto",
                         code=INVALID if twice else REFUSED)


def _chosen(names: Iterable[str], known: HostPorts, host: str) -> dict[str, PortValue]:
    space = Space(host, known, "")
    given: dict[str, PortValue] = {}
    for name in sorted(names):
        given[name] = _free(space, name, words.TCP, set(given.values()), _bounds(known.registry, name))
    return given


def _free(
    space: Space, identity: str, protocol: str, given: set[PortValue], bounds: tuple[int, int]
) -> PortValue:
    """A free port for an identity, from the first to the last of ``bounds``."""
    low, high = bounds
    said = space.registry
    _owner, key = words.split_identity(identity)
    for value in port_space.choosable(port_space.candidates(low, high, said.strategy, identity), protocol, [space]):
        if value not in given and space.is_free(key, value):
            return value
    raise TetraError(f"there is no free port in {low}-{high} for {identity}", code=REFUSED,
                     hint="widen the range, or min_port and max_port in [allocation], or remove names nobody uses")


def _bounds(said: Registry, identity: str) -> tuple[int, int]:
    """The range of the environment that an identity says, where there is one."""
    env = words.environment_of(identity)
    found = words.range_for(said.ranges, env) if env else None
    if found:
        return found[1]
    if said.strategy == words.RANGE_BASED:
        raise TetraError(f"there is no range of ports for {identity}, and ports are given of ranges only",
                         hint="add its environment to [port_ranges], as in NAME-dev, or give it a number")
    return said.allocation


def _stated_bounds(said: Registry, port_range: str, host: str) -> tuple[int, int] | None:
    """The ports that an environment may use by its policy, as far as this registry knows."""
    if not port_range or port_range[0].isdigit():
        return units.port_range(port_range) if port_range else None
    found = words.range_for(said.ranges, port_range)
    if not found:
        raise TetraError(f"port_range {port_range!r} is the name of no range in the registry of host {host}",
                         hint="write it as 4000-4999, or add it to [port_ranges]", code=REFUSED)
    return found[1]


def _resolved(known: HostPorts, wanted: Wanted, host: str) -> dict[str, dict[str, PortValue]]:
    """Other ports for those whose ports are in conflict, by owner; plain names have the owner "".

    :raises TetraError: code ``refused``, listing all conflicts, when they are not to be resolved.
    """
    found = [one for one in ports_conflicts.find(known)
             if one.code in ports_conflicts.RESOLVABLE and _concerns(one, known.registry, wanted.owner)]
    if wanted.resolve == FAIL and found:
        raise TetraError("\n".join(one.message for one in found), code=REFUSED,
                         hint="resolve: reallocate gives other ports; --check --diff shows which")
    moves: dict[str, dict[str, PortValue]] = {}
    given: set[PortValue] = set()
    spaces: dict[str, Space] = {}
    stated = _stated_bounds(known.registry, wanted.port_range, host)
    for one in _movers(found, known) if wanted.resolve == REALLOCATE else ():
        owner, key = words.split_identity(one.identity)
        if wanted.owner in ("", owner):
            space = spaces.setdefault(owner, Space(host, known, owner))
            bounds = stated or _bounds(known.registry, one.identity)
            value = _free(space, one.identity, words.protocol_of(one.value), given, bounds)
            given.add(value)
            moves.setdefault(owner, {})[key] = value
    return moves


def _concerns(conflict: Conflict, said: Registry, owner: str) -> bool:
    """Whether an owner has to do with a conflict, if only as the one who stays; empty for everybody."""
    return not owner or any(words.split_identity(one)[0] == owner for one in said.registered[conflict.value])


def _movers(found: Iterable[Conflict], known: HostPorts) -> list[Conflict]:
    """One conflict for each identity that moves. Of those who share a port the one that listens on it stays."""
    listening = {(listener["owner"], words.value_of(listener["port"], listener["protocol"]))
                 for listener in known.listeners if listener["owner"]}
    movers: dict[str, Conflict] = {}
    for one in found:
        is_duplicate = one.code == ports_conflicts.DUPLICATE
        for mover in ports_conflicts.losers(one, known.registry, listening) if is_duplicate else [one]:
            movers.setdefault(mover.identity, mover)
    return list(movers.values())


def read(value: Any) -> PortValue:
    """The port of a plain name as a person gives it: a number, ``5353/udp``, ``auto`` or ``absent``.

    :raises TetraError: for anything else.
    """
    return value if value in (AUTO, ABSENT) else words.port_value(value)
