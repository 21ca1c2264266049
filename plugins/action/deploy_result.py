# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The last task of a run that moved hosts: what each host ended as, read back from it, and the outcome of all."""

from __future__ import annotations

from ansible.utils.display import Display
from ansible_collections.tetra.platform.plugins.module_utils.model import table, transaction
from ansible_collections.tetra.platform.plugins.plugin_utils import progress, run, run_folder
from ansible_collections.tetra.platform.plugins.plugin_utils.controller import ControllerAction

_NOTHING = {"outcome": transaction.UNCHANGED, "release": None, "detail": ""}


class ActionModule(ControllerAction):
    """Add up the answers of the hosts to the outcome of the run, and print it."""

    def work(self, task_vars: dict) -> dict:
        """The outcome of the run; see the documentation of the module."""
        request, planned = self._task.args["request"], self._task.args.get("plan") or {}
        hosts = self._hosts(request, planned, task_vars)
        outcome, message = progress.fleet_outcome(request["action"], [host["outcome"] for host in hosts.values()]), ""
        if planned.get("outcome") not in (None, transaction.UNCHANGED):
            outcome, message = planned["outcome"], planned["message"]
        elif outcome == transaction.UNCHANGED:
            message = planned.get("message", "nothing to do")
        record = planned.get("plan", {})
        message = message or _message(request, outcome, hosts)
        details: dict = {}
        if request.get("rollout"):
            details["environments"] = _environments(request, outcome, task_vars)
            outcome = progress.fleet_outcome("rollout", filter(None, details["environments"].values()))
            message = f"{_so_far(details['environments'])}\n{message}"
        result = run.ended(
            outcome, message, self.result_file(task_vars), **details,
            action=request["action"], org=request["org"], env=request["env"], source=request["source"],
            transaction=request["transaction"], bundle=record.get("bundle"), release=record.get("release"),
            plan=record, plan_id=planned.get("plan_id"), ports=record.get("ports", {}),
            findings=planned.get("findings", []), hosts=hosts,
        )  # fmt: skip
        Display().display(_table(result))
        return {**result, "changed": False}

    def _hosts(self, request: dict, planned: dict, task_vars: dict) -> dict[str, dict]:
        """What each host ended as: by being moved, else by what was open being settled."""
        settled = {
            name: progress.settled(task_vars["hostvars"][name].get("tetra_settled") or {})
            for name in request["target_hosts"]
        }
        moved = _moved(request, planned, task_vars) if "folder" in planned else planned.get("hosts", {})
        still = {name for name, host in moved.items() if host["outcome"] == transaction.UNCHANGED}
        told = {name: host for name, host in settled.items() if host and (not planned or name in still)}
        base = moved if planned else dict.fromkeys(request["target_hosts"], _NOTHING)
        return {
            name: {**_NOTHING, **host, **told.get(name, {})}
            for name, host in base.items() if name != request["removing"]
        }  # fmt: skip


def _environments(request: dict, outcome: str, task_vars: dict) -> dict[str, str | None]:
    """What each environment of a rollout ended as, in order; None for one that was not reached."""
    names = request["rollout"]
    passed = names[: names.index(request["env"])]
    before = task_vars["tetra_result"]["environments"] if passed else {}
    return {**dict.fromkeys(names), **{name: before[name] for name in passed}, request["env"]: outcome}


def _so_far(environments: dict[str, str | None]) -> str:
    return "rollout: " + ", ".join(f"{name} {outcome or 'not yet'}" for name, outcome in environments.items())


def _moved(request: dict, planned: dict, task_vars: dict) -> dict[str, dict]:
    """What each host ended as that was to be moved, from the newest answer that came from it."""
    step = run_folder.progress(planned["folder"])
    answers = {host: task_vars["hostvars"][host].get("tetra_finished") for host in step["steps"]}
    heard = progress.collect(step["heard"], answers, step["steps"])
    return {name: _host(name, planned, heard) for name in request["target_hosts"] if name in planned["plan"]["hosts"]}


def _host(name: str, planned: dict, heard: dict) -> dict:
    if name not in heard:
        return {**_NOTHING, "release": planned["plan"]["hosts"][name]["from"]}
    defaults = {"release": None, "check": "", "evidence": "", "services": {}, "reports": {}}
    told = {key: value for key, value in heard[name].items() if key != "began"}
    return {**defaults, **told, "outcome": progress.outcome(heard[name])}


def _message(request: dict, outcome: str, hosts: dict) -> str:
    lines = [f"{request['action']} of {request['org']} to {request['env']}: {outcome}"]
    lines += [f"{name}: {host['detail']}" for name, host in hosts.items() if host["detail"]]
    return "\n".join(lines)


def _table(result: dict) -> str:
    rows = [["HOST", "OUTCOME", "RELEASE", "DETAIL"]]
    for name, host in sorted(result["hosts"].items()):
        first = (host.get("detail") or "").partition("\n")[0]
        rows.append([name, host["outcome"], (host["release"] or "-")[:12], first])
    environments = result.get("environments", {})
    outcome = environments.get(result["env"], result["outcome"])
    head = f"{result['action']} {result['org']} {result['env']}: {outcome}"
    if not result["hosts"]:
        return f"{head}\n{result['message']}"
    so_far = [_so_far(environments)] if environments else []
    return "\n".join([*so_far, head, table.table(rows)])
