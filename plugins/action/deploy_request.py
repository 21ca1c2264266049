# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The first task of every playbook: what is asked for, for which hosts, and whether it can be done at all."""

from __future__ import annotations

import contextlib
import dataclasses
from pathlib import Path

from ansible.inventory.manager import InventoryManager
from ansible_collections.tetra.platform.plugins.module_utils.model import policy, units
from ansible_collections.tetra.platform.plugins.module_utils.model.errors import REFUSED, TetraError
from ansible_collections.tetra.platform.plugins.module_utils.model.ports import names as port_names
from ansible_collections.tetra.platform.plugins.plugin_utils import bundle, run, source
from ansible_collections.tetra.platform.plugins.plugin_utils.controller import ControllerAction

_KEEP = 5


class ActionModule(ControllerAction):
    """Resolve a request to an organization, environments, hosts and terms; nothing is asked of any host."""

    def work(self, task_vars: dict) -> dict:
        """The resolved request; see the documentation of the module."""
        action = self._task.args["action"]
        environments = self.environments(task_vars)
        if action == "rollout":
            return self._rollout(environments, task_vars)
        target = policy.find(environments, self.word(self._target(action, task_vars), task_vars))
        origin = self._source(action, environments, target, task_vars)
        return self._resolved(action, environments, target, origin, task_vars)

    def failed_details(self, task_vars: dict) -> dict:
        """Which request it was that could not be done."""
        return {"action": self._task.args["action"], "hosts": {}}

    def _rollout(self, environments: dict, task_vars: dict) -> dict:
        """The requests of a rollout, in order; what is wrong with any of them is said before any host is asked."""
        for name in ("tetra_plan", "tetra_plan_file"):
            if self.variable(name, task_vars):
                raise TetraError(f"{name} is set, but a plan is one of a single environment",
                                 hint="run push.yml and promote.yml with it", code=REFUSED)
        targets = policy.route(environments, _names(self.variable("tetra_envs", task_vars)))
        requests = [
            self._resolved("promote" if target.promotes_from else "push", environments, target,
                           environments.get(target.promotes_from or ""), task_vars)
            for target in targets
        ]
        if directory := requests[0]["directory"]:
            for target in targets[1:]:
                _check_ahead(requests[0]["org"], directory, target, policy.aliases(environments))
        names = [target.name for target in targets]
        return {
            "changed": False, "action": "rollout", "hosts": sorted({host for one in requests for host in one["hosts"]}),
            "requests": [{**one, "rollout": names} for one in requests],
        }  # fmt: skip

    def _resolved(
        self, action: str, environments: dict, target: policy.Environment, origin: policy.Environment | None,
        task_vars: dict,
    ) -> dict:  # fmt: skip
        hosts = _hosts(target, task_vars)
        source_hosts = _hosts(origin, task_vars) if origin else []
        every = sorted({*hosts, *source_hosts})
        self._check_limit(every, task_vars)
        org = self.org(task_vars)
        directory = self._directory(action, origin, org, task_vars)
        if action == "restore":
            self.free_place(org, task_vars)
        if action == "pull":
            _read(org, directory)
        if action == "push":
            _check_source(org, directory, target, policy.aliases(environments))
        return {
            "changed": False,
            "action": action,
            "org": org,
            "env": target.name,
            "source": origin.name if origin else None,
            "hosts": every,
            "target_hosts": hosts,
            "source_hosts": source_hosts,
            "directory": directory,
            "manifests": self._manifests(action, origin, task_vars),
            "release": self._release(action, task_vars),
            "removing": self._removing(action, hosts, task_vars),
            "resolve": self._resolve(action, task_vars),
            "transaction": run.new_transaction(),
            "port_range": target.port_range,
            "protected": target.protected,
            "aliases": policy.aliases(environments),
            "fleet": dataclasses.asdict(target.terms),
            "terms": self._terms(action, target, task_vars),
        }

    def _target(self, action: str, task_vars: dict) -> str:
        """The variable that names the environment; a diff without it is one of two environments."""
        between = action == "diff" and "tetra_env" not in task_vars
        return "tetra_to" if action == "promote" or between else "tetra_env"

    def _manifests(self, action: str, origin, task_vars: dict) -> list[str]:
        """The releases of an environment that are to be shown in full."""
        if action != "diff":
            return ["current", self._release(action, task_vars) or "previous"] if self._task.diff else []
        if origin:
            return ["current"]
        words = [str(self.variable(name, task_vars, default)).lower()
                 for name, default in (("tetra_from", "previous"), ("tetra_to", "current"))]
        try:
            return [word if word in ("current", "previous") else policy.release_name(word) for word in words]
        except TetraError as error:
            hint = f"{error.hint}; or current or previous; or leave out tetra_env and name two environments"
            raise TetraError(error.message, hint=hint) from error

    def _source(self, action: str, environments: dict, target: policy.Environment, task_vars: dict):
        if action == "push" and target.promotes_from and not target.allow_push:
            raise TetraError(
                f"{target.name} takes its bundles from {target.promotes_from}, a push into it is not allowed",
                hint=f"push to {target.promotes_from} and promote, or set allow_push for {target.name}",
                code=REFUSED,
            )
        if action == "drift" and target.promotes_from:
            return policy.find(environments, target.promotes_from)
        if action == "diff" and "tetra_env" not in task_vars:
            return policy.find(environments, self.word("tetra_from", task_vars))
        if action != "promote":
            return None
        origin = policy.find(environments, self.word("tetra_from", task_vars))
        if target.promotes_from != origin.name:
            place = f"takes its bundles from {target.promotes_from}" if target.promotes_from else "is only pushed to"
            raise TetraError(
                f"{target.name} {place}, not from {origin.name}", hint="follow the path of tetra_environments",
                code=REFUSED,
            )
        return origin

    def _directory(self, action: str, origin, org: str, task_vars: dict) -> str | None:
        """Where the organization is. To look for drift without it is possible: only what is pending is not known."""
        if action in ("push", "pull"):
            return self.org_directory(org, task_vars)
        if action == "drift" and origin is None:
            with contextlib.suppress(TetraError):
                return self.org_directory(org, task_vars)
        return None

    def _release(self, action: str, task_vars: dict) -> str:
        """How the name of the release begins that a rollback goes to; empty for the one before."""
        name = str(self.variable("tetra_release", task_vars, "") or "") if action == "rollback" else ""
        try:
            return policy.release_name(name) if name else ""
        except TetraError as error:
            raise TetraError(f"tetra_release: {error.message}", hint=error.hint) from error

    def _removing(self, action: str, hosts: list[str], task_vars: dict) -> str | None:
        if action != "remove_host":
            return None
        name = self.word("tetra_host", task_vars)
        if name not in hosts:
            near = units.nearest(name, hosts)
            hint = f"did you mean {near}? " if near else ""
            raise TetraError(f"{name} is not a host of the environment", hint=f"{hint}it has {', '.join(hosts)}")
        return name

    def _resolve(self, action: str, task_vars: dict) -> str:
        """What becomes of conflicts of the hosts' port registries; only who asks for ports asks for that."""
        if action != "ports":
            return port_names.REPORT
        word = str(self.variable("tetra_resolve", task_vars) or port_names.REPORT)
        if word not in port_names.RESOLUTIONS:
            raise TetraError(f"tetra_resolve is {word!r}", hint=f"write {', '.join(port_names.RESOLUTIONS)}")
        return word

    def _check_limit(self, hosts: list[str], task_vars: dict) -> None:
        limit = task_vars.get("ansible_limit")
        if not limit:
            return
        inventory = InventoryManager(loader=self._loader, sources=list(task_vars["ansible_inventory_sources"]))
        reached = {host.name for host in inventory.get_hosts(limit)}
        missing = [host for host in hosts if host not in reached]
        if missing or task_vars["inventory_hostname"] != "localhost":
            raise TetraError(
                f"--limit {limit} leaves out {', '.join(missing or ['localhost'])}",
                hint="an environment is moved as a whole; run without --limit",
                code=REFUSED,
            )

    def _terms(self, action: str, target: policy.Environment, task_vars: dict) -> dict:
        names = ("awx_user_name", "tower_user_name", "tetra_actor")
        return {
            "actor": run.actor({name: self.variable(name, task_vars) for name in names}),
            "reason": str(self.variable("tetra_reason", task_vars, "") or ""),
            "lift_hold": str(self.variable("tetra_lift_hold", task_vars, "") or ""),
            "lease": target.lease,
            "probe": {"passes": int(self.variable("tetra_probe_passes", task_vars, 3)), "spacing": 0.5},
            "keep": _KEEP,
            "pinned": list(target.pinned),
        }


def _check_source(org: str, directory: str, target: policy.Environment, aliases: dict) -> None:
    """Read the organization now, so that what is wrong with it is said before any host is asked."""
    bundle.services(_read(org, directory), target.name, aliases, target.protected)


def _check_ahead(org: str, directory: str, target: policy.Environment, aliases: dict) -> None:
    """The same for an environment that is not the first of a rollout, so that no other one moves in vain."""
    try:
        _check_source(org, directory, target, aliases)
    except TetraError as error:
        raise TetraError(f"{target.name}: {error.message}", hint=error.hint, code=error.code) from error


def _read(org: str, directory: str) -> source.Source:
    origin = source.read(Path(directory))
    if origin.org.name != org:
        raise TetraError(f"{directory}/org.toml names the organization {origin.org.name}, not {org}",
                         hint="ask for that name, or correct `name`")
    return origin


def _names(value: object) -> list[str]:
    """Names that are a list, or one text with commas or blanks between them."""
    if isinstance(value, list):
        return [str(name) for name in value]
    return str(value or "").replace(",", " ").split()


def _hosts(environment: policy.Environment, task_vars: dict) -> list[str]:
    hosts = sorted(task_vars["groups"].get(environment.group, []))
    if not hosts:
        raise TetraError(
            f"environment {environment.name} has no hosts: group {environment.group} is empty or missing",
            hint="add its hosts to the inventory, or set `hosts` of the environment in tetra_environments",
            code=REFUSED,
        )
    return hosts
