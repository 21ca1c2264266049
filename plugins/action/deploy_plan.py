# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""From what the hosts run and what is wanted to the plan of the run, once for all hosts."""

from __future__ import annotations

import base64
import io
import os
import tempfile
from pathlib import Path

from ansible import constants
from ansible_collections.tetra.platform.plugins.module_utils.model import (
    canonical,
    pack,
    placement,
    plan,
    ports,
    ports_file,
    release,
    transaction,
)
from ansible_collections.tetra.platform.plugins.module_utils.model.errors import REFUSED, TetraError
from ansible_collections.tetra.platform.plugins.plugin_utils import bundle, run, secrets, source
from ansible_collections.tetra.platform.plugins.plugin_utils.controller import ControllerAction


class ActionModule(ControllerAction):
    """Make the plan, and lay ready on the controller what the hosts lack."""

    def work(self, task_vars: dict) -> dict:
        """The plan with all that the next tasks send; see the documentation of the module."""
        request = self._task.args["request"]
        observed = self._observed("tetra_observed", request["target_hosts"], task_vars)
        rollback = request["action"] == "rollback"
        work = self._rollback(request, observed) if rollback else self._deploy(request, observed, task_vars)
        if not request["terms"]["lift_hold"]:
            plan.check_movable(observed, work["desired"].bundle)
        record = plan.plan(observed, work["desired"])
        common = {
            "plan": record,
            "plan_id": plan.plan_id(record),
            "moving": record["batches"][0],
            "diff": {"before": _before(observed), "after": plan.summary(record)} if self._task.diff else {},
        }
        if plan.unchanged(record) or self._task.check_mode:
            return self._not_run(request, common, task_vars)
        return {
            "changed": False,
            **common,
            "manifest": work["manifest"],
            "bundle_manifest": work["bundle_manifest"],
            "placement": work["desired"].placement,
            "folder": work["folder"],
            "missing": {name: self._missing(work, host) for name, host in observed.items()},
            "heads": {name: host["head"] for name, host in observed.items()},
            "terms": request["terms"],
        }

    def failed_details(self, task_vars: dict) -> dict:
        """Which request it was, and that no host was moved."""
        request = self._task.args["request"]
        return {key: request[key] for key in ("action", "org", "env", "source")} | {"hosts": {}, "moving": []}

    def _not_run(self, request: dict, common: dict, task_vars: dict) -> dict:
        record = common["plan"]
        same = plan.unchanged(record)
        text = "nothing to do" if same else f"check mode, nothing was done:\n{plan.summary(record).rstrip()}"
        hosts = {name: {"outcome": transaction.UNCHANGED, "release": host["from"]}
                 for name, host in record["hosts"].items()}
        details = {key: request[key] for key in ("action", "org", "env", "source")}
        result = run.ended(
            transaction.UNCHANGED, text, self.result_file(task_vars), **details, **common, hosts=hosts,
            bundle=record["bundle"], release=record["release"],
        )
        return {**result, "changed": not same}

    def _observed(self, name: str, hosts: list[str], task_vars: dict) -> dict[str, dict]:
        answers = {host: task_vars["hostvars"][host].get(name) or {} for host in hosts}
        silent = [
            f"{host}: {answer.get('msg', 'no answer')}" for host, answer in answers.items()
            if "epoch" not in answer
        ]
        if silent:
            raise TetraError("\n".join(silent), hint="every host of the environment must answer; nothing was changed",
                             code=REFUSED)
        return {host: dict(answer) for host, answer in answers.items()}

    def _rollback(self, request: dict, observed: dict) -> dict:
        target = plan.rollback_target(observed)
        summary = next(iter(observed.values()))["releases"][target]
        desired = plan.Desired(
            org=request["org"],
            env=request["env"],
            action="rollback",
            bundle=summary["bundle"],
            release=target,
            services=summary["services"],
            placement={name: host["releases"][target]["placed"] for name, host in observed.items()},
            ports=summary["ports"],
            secrets=summary["secrets"],
        )
        return {"desired": desired, "manifest": None, "bundle_manifest": None, "folder": None, "contents": {}}

    def _deploy(self, request: dict, observed: dict, task_vars: dict) -> dict:
        folder = tempfile.mkdtemp(prefix="tetra-", dir=constants.DEFAULT_LOCAL_TMP)
        origin = self._source(request, folder, task_vars)
        services = bundle.services(origin, request["env"], request["aliases"], request["protected"])
        self._check_secrets(services, task_vars, request)
        allocated = self._ports(services, observed, request)
        digests, key = _secret_digests(observed)
        built = bundle.build(origin, request["env"], services, allocated, digests, key)
        _lay_ready(folder, built.contents)
        manifest = built.manifest
        desired = plan.Desired(
            org=request["org"],
            env=request["env"],
            action=request["action"],
            bundle=origin.digest,
            release=release.digest(manifest),
            services={name: entry["digest"] for name, entry in manifest["services"].items()},
            placement=self._placement(services, observed, task_vars),
            ports=allocated,
            secrets=manifest["secrets"],
            source=request["source"],
        )
        return {"desired": desired, "manifest": manifest, "bundle_manifest": origin.manifest, "folder": folder}

    def _source(self, request: dict, folder: str, task_vars: dict) -> source.Source:
        if request["action"] == "push":
            origin = source.read(Path(request["directory"]))
            _lay_ready(folder, {file.entry["sha256"]: file.read for file in origin.files.values() if file.read})
            return origin
        observed = self._observed("tetra_source_observed", request["source_hosts"], task_vars)
        wanted = plan.promotable(observed, request["source"])
        answer = task_vars["hostvars"][request["source_hosts"][0]].get("tetra_pack") or {}
        if "manifest" not in answer:
            raise TetraError(
                f"{request['source_hosts'][0]} did not give its bundle: {answer.get('msg', 'no answer')}",
                hint="nothing was changed; look at the host, then promote again", code=REFUSED,
            )
        if release.digest(answer["manifest"]) != wanted:
            raise TetraError(f"the bundle that came is not {wanted[:12]}", hint="promote again", code=REFUSED)
        _unpack(folder, base64.b64decode(answer["pack"]))
        return source.from_blobs(answer["manifest"], lambda digest: (Path(folder) / digest).read_bytes())

    def _check_secrets(self, services: bundle.Services, task_vars: dict, request: dict) -> None:
        for host in request["target_hosts"]:
            known = self._templar.template(task_vars["hostvars"][host].get("tetra_secrets") or {})
            secrets.check_known(services.services, set(known), host, services.places)

    def _ports(self, services: bundle.Services, observed: dict, request: dict) -> dict[str, int]:
        hosts = {
            name: ports.HostPorts(ports_file.Registry.from_wire(host["registry"]), host["listeners"], host["address"])
            for name, host in observed.items()
        }
        port_range = ports.resolve_range(request["port_range"], services.port_ranges, hosts, request["env"])
        wanted = [
            ports.Request(name, service.port.kind, service.port.number, service.port.name, services.pins.get(name))
            for name, service in services.services.items()
        ]
        return ports.allocate(wanted, hosts, f"{request['org']}/{request['env']}", port_range)

    def _placement(self, services: bundle.Services, observed: dict, task_vars: dict) -> dict[str, list[str]]:
        groups = {name: list(task_vars["hostvars"][name]["group_names"]) for name in observed}
        return placement.place(list(services.services), services.placement, services.once, groups)

    def _missing(self, work: dict, host: dict) -> list[str]:
        if not work["manifest"]:
            return []
        needed = {*release.blobs(work["manifest"]), *release.blobs(work["bundle_manifest"])}
        return sorted(needed - set(host["blobs"]))


def _secret_digests(observed: dict) -> tuple[dict, str | None]:
    """The keyed digests to name secrets by: of the key that the running release was made with, where a host has it."""
    arbiter = observed[min(observed)]
    current = arbiter["releases"].get(arbiter["current"]) or {}
    by_key = {host["secret_digests"]["key"]: host["secret_digests"]["digests"] for host in observed.values()}
    key = current.get("secrets_key")
    if key not in by_key:
        key = arbiter["secret_digests"]["key"]
    return by_key[key], key


def _before(observed: dict) -> str:
    lines = [f"{name}: {(host['current'] or 'nothing')[:12]}" for name, host in sorted(observed.items())]
    return "\n".join(lines) + "\n"


def _lay_ready(folder: str, contents: dict) -> None:
    for digest, read in contents.items():
        Path(folder, digest).write_bytes(read())


def _unpack(folder: str, data: bytes) -> None:
    stream = io.BytesIO(data)
    for digest, size in pack.parse_header(stream.readline()):
        content = stream.read(size)
        if canonical.sha256(content) != digest:
            raise TetraError(f"blob {digest[:12]} was damaged on its way", hint="run again", code=REFUSED)
        Path(folder, os.path.basename(digest)).write_bytes(content)
