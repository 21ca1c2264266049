# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Everything that can be said of an organization before any host is asked, for every environment at once."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from ansible_collections.tetra.platform.plugins.module_utils.model import placement, policy
from ansible_collections.tetra.platform.plugins.module_utils.model.errors import (
    ERROR,
    WARNING,
    Finding,
    TetraError,
    raise_on_errors,
)
from ansible_collections.tetra.platform.plugins.module_utils.model.ports.registry import PortValue, Registry
from ansible_collections.tetra.platform.plugins.module_utils.model.ports.space import HostPorts
from ansible_collections.tetra.platform.plugins.plugin_utils import bundle, explain, planning, secrets, source
from ansible_collections.tetra.platform.plugins.plugin_utils.explain import Explained
from ansible_collections.tetra.platform.plugins.plugin_utils.source import Source

_T = TypeVar("_T")

# Digests are made on hosts; what a template or a manifest looks like does not depend on them.
_NO_DIGEST = "0" * 64
_ANY_ENVIRONMENT = {"dev": policy.Environment("dev", "dev")}


@dataclasses.dataclass(frozen=True)
class Host:
    """What the inventory says of a host: its groups, and the names in its ``tetra_secrets``."""

    groups: Sequence[str]
    secrets: Collection[str]


def validate(
    directory: str, org: str, environments: Mapping[str, policy.Environment], hosts: Mapping[str, Mapping[str, Host]]
) -> dict[str, list[Finding]]:
    """Look at an organization as each environment would have it.

    :param hosts: environment to its hosts; without any, only what does not depend on hosts is looked at.
    :returns: environment to what was found, errors first. What only a running host can tell is not among it.
    """
    try:
        origin = source.read(Path(directory))
    except TetraError as error:
        return {name: _findings(error) for name in environments}
    aliases = policy.aliases(environments)
    looks = {name: _Look(origin, org, found, aliases, hosts.get(name, {})) for name, found in environments.items()}
    findings = {name: look.findings() for name, look in looks.items()}
    for name, unused in _unused(looks).items():
        findings[name] += unused
    return {name: sorted(found, key=_order) for name, found in findings.items()}


def check(directory: str, org: str, environments: Mapping[str, policy.Environment]) -> None:
    """See whether a directory is a valid organization for every environment; for ``dev`` where there is none.

    :raises TetraError: listing what is wrong.
    """
    found = validate(directory, org, environments or _ANY_ENVIRONMENT, {})
    errors = {str(one): one for findings in found.values() for one in findings if one.severity == ERROR}
    raise_on_errors(list(errors.values()))


def _unused(looks: Mapping[str, _Look]) -> dict[str, list[Finding]]:
    """By environment, the values that none of them uses; where one has errors it is not known what that would use."""
    explained = {name: look.values for name, look in looks.items()}
    if None in explained.values():
        return {}
    known = {name: found or {} for name, found in explained.items()}
    used = {value for found in known.values() for value, one in found.items() if one.used_by}
    return {
        name: explain.unused({value: one for value, one in found.items() if value not in used})
        for name, found in known.items()
    }


@dataclasses.dataclass
class _Look:
    """One organization, one environment; ``values`` are known once everything could be rendered."""

    origin: Source
    org: str
    environment: policy.Environment
    aliases: Mapping[str, str]
    hosts: Mapping[str, Host]
    values: dict[str, Explained] | None = None

    def findings(self) -> list[Finding]:
        """What is wrong; a step that fails does not keep the next from being tried, unless that needs it."""
        if self.origin.org.name != self.org:
            hint = "ask for that name, or correct `name`"
            message = f"it names the organization {self.origin.org.name}, not {self.org}"
            return [Finding(ERROR, "name", message, "org.toml", hint=hint)]
        found: list[Finding] = []
        services = _tried(found, self._services)
        if services is None:
            return found
        found += services.findings
        _tried(found, lambda: self._placed(services))
        # Templates name ports, so that they are to be looked at as well takes some.
        some: dict[str, PortValue] = {
            key: 1 for one in services.services.values() for key, asked in one.port_requests().items()
            if asked.kind != "none"
        }  # fmt: skip
        allocated = _tried(found, lambda: ports(services, self.org, self.environment, self.hosts))
        found += self._secrets(services)
        _tried(found, lambda: self._built(services, some if allocated is None else allocated))
        return found

    def _services(self) -> bundle.Services:
        return bundle.services(self.origin, self.environment.name, self.aliases, self.environment.protected)

    def _placed(self, services: bundle.Services) -> None:
        groups = {name: host.groups for name, host in self.hosts.items()}
        if groups:
            placement.place(list(services.services), services.placement, services.once, groups)

    def _secrets(self, services: bundle.Services) -> list[Finding]:
        """A vault may be closed to whoever validates, so a secret that is not there is only a warning."""
        found: list[Finding] = []
        for name, host in self.hosts.items():
            _tried(found, functools.partial(
                secrets.check_known, services.services, host.secrets, name, services.places))
        return [dataclasses.replace(finding, severity=WARNING) for finding in found]

    def _built(self, services: bundle.Services, allocated: Mapping[str, PortValue]) -> None:
        built = build(self.origin, self.environment.name, services, allocated)
        self.values = explain.values(services, built.templates.names)


def ports(
    services: bundle.Services, org: str, environment: policy.Environment, hosts: Collection[str]
) -> dict[str, PortValue]:
    """The ports that hosts would give on which nothing else is.

    :raises TetraError: as ``allocation.allocate``.
    """
    empty = HostPorts(Registry(), [], "")
    owner = f"{org}/{environment.name}"
    return planning.ports_of(services, owner, environment.port_range, dict.fromkeys(hosts or ["any"], empty))


def build(origin: Source, env: str, services: bundle.Services, ports: Mapping[str, PortValue]) -> bundle.Built:
    """The release of an environment, but for the digests of secrets, which no host was asked for.

    :raises TetraError: for templates that cannot be rendered.
    """
    digests = dict.fromkeys(secrets.used(services.services), _NO_DIGEST)
    return bundle.build(origin, env, services, ports, digests, None)


def _tried(found: list[Finding], work: Callable[[], _T]) -> _T | None:
    """What ``work`` returns, or None when it fails, which is then a finding."""
    try:
        return work()
    except TetraError as error:
        found += _findings(error)
        return None


def _findings(error: TetraError) -> list[Finding]:
    return list(error.findings) or [Finding(ERROR, error.code, error.message, hint=error.hint)]


def _order(finding: Finding) -> tuple[bool, str, int, int]:
    return finding.severity != ERROR, finding.file, finding.line, finding.column
