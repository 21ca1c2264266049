# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""From what the hosts answered to the goal of a run: what its environment shall run, and the bytes that it needs."""

from __future__ import annotations

import base64
import dataclasses
import io
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

from ansible_collections.tetra.platform.plugins.module_utils.model import (
    canonical,
    fleet,
    pack,
    placement,
    plan,
    ports,
    ports_file,
    release,
    service,
)
from ansible_collections.tetra.platform.plugins.module_utils.model.errors import REFUSED, WARNING, Finding, TetraError
from ansible_collections.tetra.platform.plugins.plugin_utils import bundle, secrets, source


@dataclasses.dataclass(frozen=True)
class Answers:
    """What is known of the hosts before a plan is made.

    ``observed`` and ``origin`` are the answers of the operation ``release_info`` by host, for the environment itself
    and for the one that a promotion comes from; ``pack`` is the answer of ``deploy_pack``, or empty; ``groups``
    and ``secrets`` are, by host of the environment, its groups in the inventory and the names of its secrets.
    """

    observed: Mapping[str, Mapping]
    origin: Mapping[str, Mapping]
    pack: Mapping
    groups: Mapping[str, Sequence[str]]
    secrets: Mapping[str, Collection[str]]


@dataclasses.dataclass(frozen=True)
class Goal:
    """What an environment shall run, and what is remarked on it.

    ``manifest`` of the release and ``bundle_manifest`` are None where every host has them, as for a rollback;
    ``contents`` gives, by sha256, the bytes that the controller can send.
    """

    desired: plan.Desired
    manifest: dict | None = None
    bundle_manifest: dict | None = None
    contents: Mapping[str, Callable[[], bytes]] = dataclasses.field(default_factory=dict)
    findings: tuple[Finding, ...] = ()

    def missing(self, blobs: Collection[str]) -> list[str]:
        """The sha256 of what a host with these blobs lacks of the goal."""
        if self.manifest is None or self.bundle_manifest is None:
            return []
        return sorted({*release.blobs(self.manifest), *release.blobs(self.bundle_manifest)} - set(blobs))


def goal(request: Mapping, answers: Answers) -> Goal:
    """The goal of a run.

    :param request: the result of ``deploy_request``.
    :raises TetraError: when a host did not answer, or when there is nothing that can be run.
    """
    _check_answered(answers.observed)
    if request["action"] == "rollback":
        return _rollback(request, answers)
    return _deploy(request, answers)


def _check_answered(answers: Mapping[str, Mapping]) -> None:
    silent = [f"{host}: {answer.get('msg', 'no answer')}" for host, answer in answers.items() if "epoch" not in answer]
    if silent:
        hint = "every host of the environment must answer; nothing was changed"
        raise TetraError("\n".join(silent), hint=hint, code=REFUSED)


def _rollback(request: Mapping, answers: Answers) -> Goal:
    target = plan.rollback_target(answers.observed)
    summary = next(iter(answers.observed.values()))["releases"][target]
    return Goal(plan.Desired(
        org=request["org"],
        env=request["env"],
        action="rollback",
        bundle=summary["bundle"],
        release=target,
        services=summary["services"],
        placement={name: host["releases"][target]["placed"] for name, host in answers.observed.items()},
        ports=summary["ports"],
        secrets=summary["secrets"],
        terms=fleet.Terms(**request["fleet"]),
    ))  # fmt: skip


def _deploy(request: Mapping, answers: Answers) -> Goal:
    origin, contents = _source(request, answers)
    services = bundle.services(origin, request["env"], request["aliases"], request["protected"])
    for host, known in answers.secrets.items():
        secrets.check_known(services.services, known, host, services.places)
    allocated = _ports(services, request, answers)
    built = bundle.build(origin, request["env"], services, allocated, *_secret_digests(answers.observed))
    placed = placement.place(list(services.services), services.placement, services.once, answers.groups)
    manifest = built.manifest
    desired = plan.Desired(
        org=request["org"],
        env=request["env"],
        action=request["action"],
        bundle=origin.digest,
        release=release.digest(manifest),
        services={name: entry["digest"] for name, entry in manifest["services"].items()},
        placement=placed,
        ports=allocated,
        secrets=manifest["secrets"],
        source=request["source"],
        terms=fleet.Terms(**request["fleet"]),
    )
    findings = [*services.findings, *_unhonoured(services, answers.observed, placed), *_of_registries(answers.observed)]
    return Goal(desired, manifest, origin.manifest, {**contents, **built.contents}, tuple(findings))


def _source(request: Mapping, answers: Answers) -> tuple[source.Source, dict[str, Callable[[], bytes]]]:
    """The sources of a run, and by sha256 what gives the bytes of their files."""
    if request["action"] == "push":
        origin = source.read(Path(request["directory"]))
        return origin, {file.entry["sha256"]: file.read for file in origin.files.values() if file.read}
    _check_answered(answers.origin)
    wanted = plan.promotable(answers.origin, request["source"])
    if "manifest" not in answers.pack:
        raise TetraError(
            f"{request['source_hosts'][0]} did not give its bundle: {answers.pack.get('msg', 'no answer')}",
            hint="nothing was changed; look at the host, then promote again", code=REFUSED,
        )  # fmt: skip
    if release.digest(answers.pack["manifest"]) != wanted:
        raise TetraError(f"the bundle that came is not {wanted[:12]}", hint="promote again", code=REFUSED)
    blobs = _unpack(base64.b64decode(answers.pack["pack"]))
    contents = {digest: lambda data=data: data for digest, data in blobs.items()}
    return source.from_blobs(answers.pack["manifest"], blobs.__getitem__), contents


def _unpack(data: bytes) -> dict[str, bytes]:
    stream = io.BytesIO(data)
    blobs = {digest: stream.read(size) for digest, size in pack.parse_header(stream.readline())}
    for digest, content in blobs.items():
        if canonical.sha256(content) != digest:
            raise TetraError(f"blob {digest[:12]} was damaged on its way", hint="run again", code=REFUSED)
    return blobs


def _ports(services: bundle.Services, request: Mapping, answers: Answers) -> dict[str, int]:
    hosts = {
        name: ports.HostPorts(ports_file.Registry.from_wire(host["registry"]), host["listeners"], host["address"])
        for name, host in answers.observed.items()
    }
    port_range = ports.resolve_range(request["port_range"], services.port_ranges, hosts, request["env"])
    wanted = [
        ports.Request(name, found.port.kind, found.port.number, found.port.name, services.pins.get(name))
        for name, found in services.services.items()
    ]
    return ports.allocate(wanted, hosts, f"{request['org']}/{request['env']}", port_range)


def _secret_digests(observed: Mapping[str, Mapping]) -> tuple[dict, str | None]:
    """The keyed digests to name secrets by: of the key that the running release was made with, where a host has it."""
    arbiter = observed[min(observed)]
    current = arbiter["releases"].get(arbiter["current"]) or {}
    by_key = {host["secret_digests"]["key"]: host["secret_digests"]["digests"] for host in observed.values()}
    key = current.get("secrets_key")
    if key not in by_key:
        key = arbiter["secret_digests"]["key"]
    return by_key[key], key


def _unhonoured(
    services: bundle.Services, observed: Mapping[str, Mapping], placed: Mapping[str, Sequence[str]]
) -> list[Finding]:
    """Warnings on what services ask of a supervisor that the one of their hosts does not do.

    :param observed: host to its ``supervisor`` and to what it ``honours``.
    :param placed: host to the services that it runs.
    """
    findings = []
    for name, found in services.services.items():
        for key in service.needs(found):
            hosts = [host for host in sorted(placed) if name in placed[host] and key not in observed[host]["honours"]]
            if hosts:
                kinds = " and ".join(sorted({observed[host]["supervisor"] for host in hosts}))
                message = f"{name}: TSM_{key} has no effect on {', '.join(hosts)}, as {kinds} cannot honour it"
                file, line = services.places.get((name, f"TSM_{key}"), ("", 0))
                hint = "take it out, or run the service where the supervisor can"
                findings.append(Finding(WARNING, "unhonoured-key", message, file, line, hint=hint))
    return findings


def _of_registries(observed: Mapping[str, Mapping]) -> list[Finding]:
    """What hosts remarked on their port registries."""
    return [
        dataclasses.replace(found, message=f"{host}: {found.message}")
        for host in sorted(observed)
        for found in ports_file.Registry.from_wire(observed[host]["registry"]).findings
    ]
