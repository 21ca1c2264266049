# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The last task of a run that moved hosts: what each host ended as, read back from it, and the outcome of all."""

from __future__ import annotations

from ansible.utils.display import Display
from ansible_collections.tetra.platform.plugins.module_utils.model import table, transaction
from ansible_collections.tetra.platform.plugins.plugin_utils import progress, run
from ansible_collections.tetra.platform.plugins.plugin_utils.controller import ControllerAction


class ActionModule(ControllerAction):
    """Add up the answers of the hosts to the outcome of the run, and print it."""

    def work(self, task_vars: dict) -> dict:
        """The outcome of the run; see the documentation of the module."""
        request, planned = self._task.args["request"], self._task.args["plan"]
        if "outcome" in planned:
            hosts, outcome, message = planned["hosts"], planned["outcome"], planned["message"]
        else:
            hosts = _hosts(request, planned, self._task.args["step"], task_vars)
            outcome = transaction.fleet_outcome(host["outcome"] for host in hosts.values())
            message = _message(request, outcome, hosts)
        record = planned.get("plan", {})
        result = run.ended(
            outcome, message, self.result_file(task_vars), action=request["action"], org=request["org"],
            env=request["env"], source=request["source"], transaction=request["transaction"],
            bundle=record.get("bundle"), release=record.get("release"), plan_id=planned.get("plan_id"),
            ports=record.get("ports", {}), findings=planned.get("findings", []), hosts=hosts,
        )
        Display().display(_table(result))
        return {**result, "changed": False}


def _hosts(request: dict, planned: dict, step: dict, task_vars: dict) -> dict[str, dict]:
    """What each host ended as, from the newest answer that came from it."""
    answers = {host: task_vars["hostvars"][host].get("tetra_finished") for host in step["steps"]}
    heard = progress.collect(step["heard"], answers, step["steps"])
    return {name: _host(name, planned, heard) for name in request["target_hosts"]}


def _host(name: str, planned: dict, heard: dict) -> dict:
    if name not in planned["moving"]:
        return {"outcome": transaction.UNCHANGED, "release": planned["plan"]["hosts"][name]["from"], "detail": ""}
    defaults = {"release": None, "check": "", "evidence": "", "services": {}, "reports": {}}
    return {**defaults, **heard[name], "outcome": progress.outcome(heard[name])}


def _message(request: dict, outcome: str, hosts: dict) -> str:
    lines = [f"{request['action']} of {request['org']} to {request['env']}: {outcome}"]
    lines += [f"{name}: {host['detail']}" for name, host in hosts.items() if host["detail"]]
    return "\n".join(lines)


def _table(result: dict) -> str:
    rows = [["HOST", "OUTCOME", "RELEASE", "DETAIL"]]
    for name, host in sorted(result["hosts"].items()):
        first = (host.get("detail") or "").partition("\n")[0]
        rows.append([name, host["outcome"], (host["release"] or "-")[:12], first])
    head = f"{result['action']} {result['org']} {result['env']}: {result['outcome']}"
    if not result["hosts"]:
        return f"{head}\n{result['message']}"
    return f"{head}\n{table.table(rows)}"
