# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""From what the hosts answered to the goal of a run: what its environment shall run, and the bytes that it needs."""

from __future__ import annotations

import base64
import dataclasses
import functools
import io
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from ansible_collections.tetra.platform.plugins.module_utils.model import (
    canonical,
    fleet,
    pack,
    placement,
    plan,
    recovery,
    release,
    rollback,
    service,
)
from ansible_collections.tetra.platform.plugins.module_utils.model.errors import REFUSED, WARNING, Finding, TetraError
from ansible_collections.tetra.platform.plugins.module_utils.model.ports import allocation, registry
from ansible_collections.tetra.platform.plugins.module_utils.model.ports import lists as port_lists
from ansible_collections.tetra.platform.plugins.module_utils.model.ports.registry import PortValue
from ansible_collections.tetra.platform.plugins.module_utils.model.ports.space import HostPorts
from ansible_collections.tetra.platform.plugins.plugin_utils import bundle, secrets, source


@dataclasses.dataclass(frozen=True)
class Answers:
    """What is known of the hosts before a plan is made.

    ``observed`` and ``origin`` are the answers of the operation ``release_info`` by host, for the environment itself
    and for the one that a promotion comes from; ``pack`` is the answer of ``deploy_pack``, or empty; ``groups``
    and ``secrets`` are, by host of the environment, its groups in the inventory and the names of its secrets.
    """

    observed: Mapping[str, Mapping[str, Any]]
    origin: Mapping[str, Mapping[str, Any]]
    pack: Mapping[str, Any]
    groups: Mapping[str, Sequence[str]]
    secrets: Mapping[str, Collection[str]]


@dataclasses.dataclass(frozen=True)
class Goal:
    """What an environment shall run, and what is remarked on it.

    ``manifest`` of the release and ``bundle_manifest`` are None where every host has them, as for a rollback;
    ``contents`` gives, by sha256, the bytes that the controller can send.
    """

    desired: plan.Desired
    manifest: dict[str, Any] | None = None
    bundle_manifest: dict[str, Any] | None = None
    contents: Mapping[str, Callable[[], bytes]] = dataclasses.field(default_factory=dict)
    findings: tuple[Finding, ...] = ()

    def missing(self, blobs: Collection[str]) -> list[str]:
        """The sha256 of what a host with these blobs lacks of the goal."""
        if self.manifest is None or self.bundle_manifest is None:
            return []
        return sorted({*release.blobs(self.manifest), *release.blobs(self.bundle_manifest)} - set(blobs))

    def reader(self, blob: str) -> Callable[[], bytes]:
        """What gives the bytes of a blob.

        :raises TetraError: code ``refused`` when the host that gave the bundle left them out.
        """
        if blob not in self.contents:
            raise TetraError(f"file {blob[:12]} of the bundle did not come", hint="run again", code=REFUSED)
        return self.contents[blob]


def goal(request: Mapping[str, Any], answers: Answers) -> Goal:
    """The goal of a run.

    :param request: the result of ``deploy_request``.
    :param answers: as :func:`checked` returns them.
    :raises TetraError: when there is nothing that can be run.
    """
    if request["action"] == "resume":
        return _resume(request, answers)
    _check_members(answers.observed)
    if request["action"] == "rollback":
        return _rollback(request, answers)
    return _deploy(request, answers)


def checked(answers: Answers) -> Answers:
    """The answers of those hosts that are part of their environments.

    :raises TetraError: code ``refused``, naming every host that did not answer.
    """
    origin = answered(answers.origin) if answers.origin else {}
    return dataclasses.replace(answers, observed=answered(answers.observed), origin=origin)


def answered(answers: Mapping[str, Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    """The answers of the hosts that are part of an environment.

    :raises TetraError: code ``refused``, naming every host that did not answer.
    """
    found = recovery.present(answers)
    silent = [f"{host}: {answer.get('msg', 'no answer')}" for host, answer in found.items() if "epoch" not in answer]
    if silent or not found:
        hint = "every host of the environment must answer; one that is dead is taken out with playbooks/remove_host.yml"
        raise TetraError("\n".join(silent) or "no host answered", hint=hint, code=REFUSED)
    return found


def _check_members(observed: Mapping[str, Mapping[str, Any]]) -> None:
    removed = {name: record for answer in observed.values() for name, record in answer["removed"].items()}
    back = [f"{name} was taken out by {record['actor']}: {record['reason'] or 'no reason was given'}"
            for name, record in sorted(removed.items()) if name in observed]
    if back:
        raise TetraError("\n".join(back), hint="it answers again; bring it to what the others run with "
                         "playbooks/resume.yml, or take it out of the inventory", code=REFUSED)


def _rollback(request: Mapping[str, Any], answers: Answers) -> Goal:
    target = rollback.target(answers.observed, request["release"])
    summary = _agreed(answers.observed, target)
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


def _agreed(observed: Mapping[str, Mapping[str, Any]], name: str) -> Mapping[str, Any]:
    """What all hosts tell of a release: its name stands for what is in it, but that is their word."""
    told = {host: {**answer["releases"][name], "placed": None} for host, answer in observed.items()}
    first = next(iter(told.values()))
    others = sorted(host for host, one in told.items() if one != first)
    if others:
        raise TetraError(f"{', '.join(others)} and {next(iter(told))} tell different things of release {name[:12]}",
                         hint="look at these hosts; nothing was changed", code=REFUSED)
    return first


def _resume(request: Mapping[str, Any], answers: Answers) -> Goal:
    """What the hosts that are behind need to run what was confirmed last; the others go on as they are."""
    observed = answers.observed
    wanted, origin = recovery.target(observed), recovery.origin(observed)
    pack_of_origin = _checked_pack(answers.pack, origin, request["org"])
    manifest = answers.pack.get("release")
    if manifest is None or release.digest(manifest) != wanted:
        raise TetraError(f"the release that came from {origin} is not {wanted[:12]}", hint="run again", code=REFUSED)
    _check_secrets(manifest, observed[origin], origin)
    bundled = source.from_blobs(answers.pack["manifest"], functools.partial(_blob, pack_of_origin))
    behind = sorted(host for host, answer in observed.items() if answer["current"] != wanted)
    services = bundle.services(bundled, request["env"], request["aliases"], request["protected"])
    groups = {host: answers.groups[host] for host in observed}
    computed = placement.place(list(services.services), services.placement, services.once, groups)
    placed, known = recovery.placed(observed, computed, list(services.once), behind), manifest["services"]
    return Goal(
        plan.Desired(
            org=request["org"],
            env=request["env"],
            action=request["action"],
            bundle=manifest["bundle"],
            release=wanted,
            services={name: entry["digest"] for name, entry in known.items()},
            placement={host: [name for name in names if name in known] for host, names in placed.items()},
            ports=release.ports_of(manifest),
            secrets=manifest["secrets"],
            terms=fleet.Terms(**request["fleet"]),
        ),
        manifest,
        answers.pack["manifest"],
        _readers(pack_of_origin),
    )


def _check_secrets(manifest: Mapping[str, Any], answer: Mapping[str, Any], host: str) -> None:
    """Refuse when the secrets of the inventory are no longer those that a host runs with."""
    given, known = answer["secret_digests"]["digests"], answer["current_secrets"]
    changed = sorted(name for name in manifest["secrets"] if given.get(name) != known.get(name))
    if changed:
        raise TetraError(
            f"secret {', '.join(changed)} is not the one that {host} runs with",
            hint="push or promote, so that all hosts get the new one",
            code=REFUSED,
        )


def _checked_pack(answer: Mapping[str, Any], host: str, org: str) -> dict[str, bytes]:
    if "manifest" not in answer:
        raise TetraError(f"{host} did not give its bundle: {answer.get('msg', 'no answer')}",
                         hint="nothing was changed; look at the host, then run again", code=REFUSED)
    if answer["manifest"]["org"] != org:
        raise TetraError(f"the bundle that {host} gave is one of {answer['manifest']['org']}, not of {org}",
                         hint="nothing was changed; look at the host", code=REFUSED)
    try:
        return _unpack(base64.b64decode(answer["pack"], validate=True))
    except ValueError as error:
        raise TetraError(f"the pack that {host} gave is not base64: {error}", hint="run again", code=REFUSED) from error


def _deploy(request: Mapping[str, Any], answers: Answers) -> Goal:
    origin, contents = _source(request, answers)
    services = bundle.services(origin, request["env"], request["aliases"], request["protected"])
    for host, known in answers.secrets.items():
        secrets.check_known(services.services, known, host, services.places)
    owner = f"{request['org']}/{request['env']}"
    allocated = ports_of(services, owner, request["port_range"], _hosts(answers.observed))
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
    findings = [*services.findings, *_unhonoured(services, answers.observed, placed), *_of_registries(answers.observed),
                *_done_by_hand(answers.origin)]
    return Goal(desired, manifest, origin.manifest, {**contents, **built.contents}, tuple(findings))


def _source(request: Mapping[str, Any], answers: Answers) -> tuple[source.Source, dict[str, Callable[[], bytes]]]:
    """The sources of a run, and by sha256 what gives the bytes of their files."""
    if request["action"] == "push":
        origin = source.read(Path(request["directory"]))
        return origin, {file.entry["sha256"]: file.read for file in origin.files.values() if file.read}
    wanted = plan.promotable(answers.origin, request["source"])
    blobs = _checked_pack(answers.pack, request["source_hosts"][0], request["org"])
    if release.digest(answers.pack["manifest"]) != wanted:
        raise TetraError(f"the bundle that came is not {wanted[:12]}", hint="promote again", code=REFUSED)
    return source.from_blobs(answers.pack["manifest"], functools.partial(_blob, blobs)), _readers(blobs)


def _readers(blobs: Mapping[str, bytes]) -> dict[str, Callable[[], bytes]]:
    return {digest: functools.partial(blobs.__getitem__, digest) for digest in blobs}


def _unpack(data: bytes) -> dict[str, bytes]:
    stream = io.BytesIO(data)
    blobs = {digest: stream.read(size) for digest, size in pack.parse_header(stream.readline())}
    for digest, content in blobs.items():
        if canonical.sha256(content) != digest:
            raise TetraError(f"blob {digest[:12]} was damaged on its way", hint="run again", code=REFUSED)
    if stream.read(1):
        raise TetraError("the pack is longer than its index says", hint="run again", code=REFUSED)
    return blobs


def _blob(blobs: Mapping[str, bytes], digest: str) -> bytes:
    if digest not in blobs:
        raise TetraError(f"file {digest[:12]} of the bundle did not come", hint="run again", code=REFUSED)
    return blobs[digest]


def _hosts(observed: Mapping[str, Mapping[str, Any]]) -> dict[str, HostPorts]:
    return {
        name: HostPorts(
            registry.Registry.from_wire(host["registry"]),
            host["listeners"],
            host["address"],
            host["released"],
            (host["ephemeral"][0], host["ephemeral"][1]),
            port_lists.parse(host["kept"]),
        )
        for name, host in observed.items()
    }


def ports_of(
    services: bundle.Services, owner: str, wanted_range: str | None, hosts: Mapping[str, HostPorts]
) -> dict[str, PortValue]:
    """The ports of the services, by key.

    :param owner: ``org/env``.
    :param wanted_range: ``port_range`` of the environment.
    :param hosts: what is known of the ports of each host.
    :raises TetraError: as ``allocation.allocate``.
    """
    port_range = allocation.resolve_range(wanted_range, services.port_ranges, hosts, owner.partition("/")[2])
    wanted = [
        allocation.Request(key, asked.kind, asked.number, asked.name, services.pins.get(key), asked.protocol)
        for found in services.services.values()
        for key, asked in found.port_requests().items()
    ]
    return allocation.allocate(wanted, hosts, owner, port_range)


def _secret_digests(observed: Mapping[str, Mapping[str, Any]]) -> tuple[dict[str, str], str | None]:
    """The keyed digests to name secrets by: of the key that the running release was made with, where a host has it."""
    arbiter = observed[min(observed)]
    current = arbiter["releases"].get(arbiter["current"]) or {}
    by_key = {host["secret_digests"]["key"]: host["secret_digests"]["digests"] for host in observed.values()}
    key = current.get("secrets_key")
    if key not in by_key:
        key = arbiter["secret_digests"]["key"]
    return by_key[key], key


def _unhonoured(
    services: bundle.Services, observed: Mapping[str, Mapping[str, Any]], placed: Mapping[str, Sequence[str]]
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


def _done_by_hand(origin: Mapping[str, Mapping[str, Any]]) -> list[Finding]:
    """Warnings on hosts where a bundle was not tried as it is, because somebody had changed what came of it."""
    hint = "what is promoted is the bundle itself; look with playbooks/drift.yml, and push to put it right"
    return [
        Finding(WARNING, "drift", f"{host}: {found['kind']}: {found['what']}", hint=hint)
        for host in sorted(origin)
        for found in origin[host]["drift"]
    ]


def _of_registries(observed: Mapping[str, Mapping[str, Any]]) -> list[Finding]:
    """What hosts remarked on their port registries."""
    return [
        dataclasses.replace(found, message=f"{host}: {found.message}")
        for host in sorted(observed)
        for found in registry.Registry.from_wire(observed[host]["registry"]).findings
    ]
