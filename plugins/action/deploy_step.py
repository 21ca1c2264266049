# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Between two steps of a run: from what the hosts answered to what each of them does next."""

from __future__ import annotations

from ansible_collections.tetra.platform.plugins.plugin_utils import progress, run_folder
from ansible_collections.tetra.platform.plugins.plugin_utils.controller import ControllerAction


class ActionModule(ControllerAction):
    """Decide what every host does next; nothing is asked of any host."""

    def work(self, task_vars: dict) -> dict:
        """The next step of each host; see the documentation of the module."""
        arguments = self._task.args
        plan, before = run_folder.plan(arguments["folder"]), run_folder.progress(arguments["folder"])
        answers = {host: task_vars["hostvars"][host].get(arguments["answers"]) for host in before["steps"]}
        after = progress.advance(plan["plan"], before, answers, arguments["phase"], int(arguments.get("batch") or 0))
        run_folder.keep_progress(arguments["folder"], after)
        return {"changed": False, "steps": after["steps"], "cause": _cause(after["heard"])}


def _cause(heard: dict) -> dict:
    """Why hosts are taken back. A check that failed is a verdict on the bundle for all; a lost host is none."""
    told = [(host, record) for host, record in sorted(heard.items()) if record.get("detail") or record.get("check")]
    for host, record in sorted(told, key=lambda one: not one[1].get("check")):
        check = record.get("check", "")
        return {"reason": f"{host}: {record['detail']}", "check": check, "verdict": bool(check)}
    return {"reason": "not every host of the environment could be switched", "check": "", "verdict": False}
