# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""After a run that nobody finished: how its transactions end, and where hosts that are behind get their release."""

from __future__ import annotations

from ansible_collections.tetra.platform.plugins.module_utils.model import recovery
from ansible_collections.tetra.platform.plugins.module_utils.model.errors import REFUSED, TetraError
from ansible_collections.tetra.platform.plugins.plugin_utils import planning
from ansible_collections.tetra.platform.plugins.plugin_utils.controller import ControllerAction


class ActionModule(ControllerAction):
    """Decide from the observations of the hosts; nothing is asked of any host."""

    def work(self, task_vars: dict) -> dict:
        """The end of each open transaction, or the host to take the release from; see the documentation."""
        request = self._task.args["request"]
        answers = {
            host: dict(task_vars["hostvars"][host].get("tetra_observed") or {}) for host in request["target_hosts"]
        }
        if self._task.args["phase"] == "removal":
            return {"changed": False, **_removal(request["removing"], answers)}
        observed = planning.answered(answers)
        result = {"changed": False, "steps": {}, "returning": _returning(observed)}
        if self._task.args["phase"] == "origin":
            return {**result, "origin": recovery.origin(observed), "release": recovery.target(observed)}
        settle = recovery.give_up if request["action"] == "abort" else recovery.settle
        return {**result, "steps": settle(observed)}

    def failed_details(self, task_vars: dict) -> dict:
        """Which request it was, and that nothing is to be done on any host."""
        request = self._task.args["request"]
        keys = ("action", "org", "env", "source")
        return {**{key: request[key] for key in keys}, "hosts": {}, "moving": [], "steps": {}, "returning": []}


def _removal(name: str, answers: dict) -> dict:
    others = planning.answered({host: answer for host, answer in answers.items() if host != name})
    if "epoch" in answers[name]:
        raise TetraError(f"{name} answers, so it is not taken out by name alone",
                         hint="stop it: playbooks/prepare.yml -e tsm_state=absent; then take it out of the inventory",
                         code=REFUSED)
    return {"answering": sorted(host for host, answer in others.items() if "epoch" in answer)}


def _returning(observed: dict) -> list[str]:
    removed = {name for answer in observed.values() for name in answer["removed"]}
    return sorted(removed & set(observed))
