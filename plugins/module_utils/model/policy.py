# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The policy of environments: what the inventory says in ``tetra_environments``, checked, with its defaults."""

from __future__ import annotations

import dataclasses
import re
import types
from collections.abc import Callable, Container, Iterable, Mapping
from typing import Any

from . import fleet, units
from .errors import ERROR, REFUSED, Finding, TetraError, raise_on_errors

ALIASES = types.MappingProxyType({"development": "dev", "production": "prod", "qa": "staging"})
"""Other names of environments; one that is an environment itself means itself."""

VARIABLE = "tetra_environments"

_RANGE_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")
_PERCENT = re.compile(r"([0-9]{1,3})%")
_MOST_HOSTS = 100_000
_RELEASE = re.compile(r"[0-9a-f]{4,64}")


@dataclasses.dataclass(frozen=True)
class Environment:
    """One environment: where it is in the promotion path, and on which terms it changes.

    ``group`` is the inventory group of its hosts; ``port_range`` is ``A-B`` or the name of a range of the port
    registry; ``lease`` and ``soak`` are seconds; ``batch`` is a number of hosts, a share such as ``25%``, or None for
    all hosts at once; ``approvals`` is how many people have to agree; ``pinned`` are releases that hosts keep for ever.
    """

    name: str
    group: str
    promotes_from: str | None = None
    allow_push: bool = False
    port_range: str | None = None
    lease: float = 60.0
    batch: int | str | None = None
    canary: int = 0
    max_failures: int = 0
    rollback_scope: str = "all"
    gates: tuple[str | Mapping[str, Any], ...] = ()
    approvals: int = 0
    freeze: tuple[str | Mapping[str, Any], ...] = ()
    soak: float = 0.0
    pinned: tuple[str, ...] = ()

    @property
    def terms(self) -> fleet.Terms:
        """How its hosts are moved."""
        return fleet.Terms(self.canary, self.batch, self.max_failures, self.rollback_scope)

    @property
    def protected(self) -> bool:
        """Whether it only takes what was promoted or approved, so that a remark on its files counts as an error."""
        return self.approvals > 0 or (self.promotes_from is not None and not self.allow_push)


def environments(mapping: object, groups: Container[str]) -> dict[str, Environment]:
    """The environments of an inventory by name.

    :param mapping: the value of ``tetra_environments``.
    :param groups: the groups of the inventory. They only decide the group of an environment that does not name one: a
        group of exactly its name, else its name with ``-`` as ``_``. Whether the group has hosts is for the caller,
        who knows which environment is wanted.
    :raises TetraError: listing everything that is wrong with it.
    """
    if not isinstance(mapping, Mapping) or not mapping:
        raise TetraError(
            f"{VARIABLE} does not define any environment",
            hint=f"write {VARIABLE}: {{dev: {{}}, staging: {{promotes_from: dev}}}} into group_vars/all",
        )
    names = [str(name) for name in mapping]
    findings: list[Finding] = []
    found = {str(name): _environment(str(name), record, groups, names, findings) for name, record in mapping.items()}
    findings += _path_findings(found)
    raise_on_errors(findings)
    return found


def aliases(names: Iterable[str]) -> dict[str, str]:
    """The aliases that are in force among environments: alias to the name of the environment."""
    known = set(names)
    return {alias: name for alias, name in ALIASES.items() if alias not in known and name in known}


def find(environments: Mapping[str, Environment], name: str) -> Environment:
    """The environment of a name or of an alias.

    :raises TetraError: when there is none, with the nearest name.
    """
    found = environments.get(aliases(environments).get(name, name))
    if found is None:
        near = units.nearest(name, environments)
        raise TetraError(
            f"environment {name!r} is not defined",
            hint=(f"did you mean {near}? " if near else "") + f"{VARIABLE} has {', '.join(sorted(environments))}",
        )
    return found


def route(environments: Mapping[str, Environment], names: Iterable[str]) -> list[Environment]:
    """The environments that one bundle is brought to, one after the other.

    :raises TetraError: when one of them would not get the bundle that went to those before it.
    """
    targets = [find(environments, name) for name in names]
    if not targets:
        raise TetraError("no environment is named", hint="write them in order: -e tetra_envs=dev,staging,prod")
    first, sources = targets[0], {targets[0].promotes_from}
    for target in targets:
        if target.name in sources:
            raise TetraError(f"{target.name} comes after an environment that it gives its bundle to, or twice",
                             hint="write each environment once, and in the order of the promotion path")
        if target.promotes_from not in sources:
            raise _elsewhere(target, first)
        sources.add(target.name)
    return targets


def _elsewhere(target: Environment, first: Environment) -> TetraError:
    if target.promotes_from is None:
        return TetraError(f"{target.name} is only pushed to, but {first.name} takes its bundles from "
                          f"{first.promotes_from}", hint=f"push to {target.name} in a run of its own", code=REFUSED)
    return TetraError(f"{target.name} takes its bundles from {target.promotes_from}, which does not come before it",
                      hint=f"name {target.promotes_from} before {target.name}", code=REFUSED)


def _environment(
    name: str, record: object, groups: Container[str], names: list[str], findings: list[Finding]
) -> Environment:
    try:
        units.check_name("environment", name)
    except TetraError as error:
        findings.append(_finding(f"{VARIABLE}.{name}", error))
    settings = {} if record is None else record
    if not isinstance(settings, Mapping):
        problem = TetraError("is not a mapping", hint="write key: value pairs below it, or {}")
        findings.append(_finding(f"{VARIABLE}.{name}", problem))
        settings = {}
    own_group = name if name in groups else name.replace("-", "_")
    fields = {"group": own_group, **_settings(name, settings, findings)}
    before = fields.get("promotes_from")
    if before is not None:
        fields["promotes_from"] = aliases(names).get(before, before)
    return Environment(name=name, **fields)


def _settings(name: str, settings: Mapping[str, Any], findings: list[Finding]) -> dict[str, Any]:
    """The fields that the settings of one environment give; what is wrong with them goes to the findings."""
    fields = {}
    for key, value in settings.items():
        place = f"{VARIABLE}.{name}.{key}"
        if key not in _READERS:
            near = units.nearest(str(key), _READERS)
            hint = f"did you mean {near}?" if near else f"the keys are {', '.join(sorted(_READERS))}"
            findings.append(_finding(place, TetraError("is not a key of an environment", hint=hint)))
            continue
        # A key without a value (`lease:`) means its default, as in any other YAML of Ansible.
        if value is not None:
            try:
                fields["group" if key == "hosts" else key] = _READERS[key](value)
            except TetraError as error:
                findings.append(_finding(place, error))
    return fields


def _path_findings(found: Mapping[str, Environment]) -> list[Finding]:
    """What is wrong with the promotion path: environments that are not there, and circles."""
    findings = []
    for name, environment in found.items():
        before = environment.promotes_from
        place = f"{VARIABLE}.{name}.promotes_from"
        if before is not None and before not in found:
            near = units.nearest(before, found)
            hint = f"did you mean {near}?" if near else f"write one of {', '.join(sorted(found))}"
            findings.append(_finding(place, TetraError(f"{before!r} is not an environment", hint=hint)))
        circle = _circle(name, found)
        if circle and name == min(circle):
            text = " <- ".join([*circle, name])
            error = TetraError(f"the promotion path is a circle: {text}", hint="one environment must come first")
            findings.append(_finding(place, error))
    return findings


def _circle(start: str, found: Mapping[str, Environment]) -> list[str]:
    """The environments of the circle that leads back to ``start``, or nothing."""
    path = [start]
    while True:
        before = found[path[-1]].promotes_from
        if before == start:
            return path
        if before is None or before not in found or before in path:
            return []
        path.append(before)


def _finding(place: str, error: TetraError) -> Finding:
    return Finding(ERROR, "policy", error.message, file=place, hint=error.hint)


def _text(value: object) -> str:
    if not isinstance(value, str) or not value.strip():
        raise TetraError(f"{value!r} is not a name", hint="write a text that is not empty")
    return str(value)


def _yes_or_no(value: object) -> bool:
    return units.boolean(str(value))


def _range(value: object) -> str:
    text = _text(value).strip()
    if _RANGE_NAME.fullmatch(text):
        return text
    low, high = units.port_range(text)
    return f"{low}-{high}"


def _count(value: Any) -> int:
    return units.integer(value, 0, _MOST_HOSTS)


def _batch(value: Any) -> int | str:
    match = _PERCENT.fullmatch(str(value).strip())
    if match and 1 <= int(match.group(1)) <= 100:
        return f"{int(match.group(1))}%"
    try:
        return units.integer(value, 1, _MOST_HOSTS)
    except TetraError as error:
        hint = "write a number of hosts, or a share: 25%"
        raise TetraError(f"{value!r} is not a size of a batch", hint=hint) from error


def _lease(value: Any) -> float:
    seconds = units.duration(value)
    if seconds < 1:
        raise TetraError(f"{value!r} is too short for a lease", hint="a host needs at least 1s, 60s is usual")
    return seconds


def _scope(value: object) -> str:
    return units.one_of(_text(value), fleet.SCOPES)


def _list(value: object) -> tuple[str | Mapping[str, Any], ...]:
    """Texts or mappings; one of them alone may stand without the list around it."""
    items = [value] if isinstance(value, (str, Mapping)) else value
    if not isinstance(items, (list, tuple)) or not all(isinstance(item, (str, Mapping)) and item for item in items):
        raise TetraError(f"{value!r} is not a list of texts or mappings", hint="write a list, or [] for none")
    return tuple(items)


def release_name(value: object) -> str:
    """The beginning of the name of a release, as a person writes it.

    :raises TetraError: when it cannot be one.
    """
    name = value.strip().lower() if isinstance(value, str) else ""
    if not _RELEASE.fullmatch(name):
        raise TetraError(f"{value!r} is no release", hint="write at least four digits of its name as a text, which "
                         "status.yml and history.yml show")
    return name


def _releases(value: object) -> tuple[str, ...]:
    items = [value] if isinstance(value, str) else value
    if not isinstance(items, (list, tuple)):
        raise TetraError(f"{value!r} is not a list of releases", hint="write a list, or [] for none")
    return tuple(map(release_name, items))


_READERS: dict[str, Callable[[Any], Any]] = {
    "hosts": _text,
    "promotes_from": _text,
    "allow_push": _yes_or_no,
    "port_range": _range,
    "gates": _list,
    "approvals": _count,
    "freeze": _list,
    "soak": units.duration,
    "batch": _batch,
    "canary": _count,
    "max_failures": _count,
    "rollback_scope": _scope,
    "lease": _lease,
    "pinned": _releases,
}
