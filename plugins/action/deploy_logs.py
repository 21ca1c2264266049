# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The last lines of all services of an environment, for a person: host and service before each."""

from __future__ import annotations

from collections.abc import Mapping

from ansible.utils.display import Display
from ansible_collections.tetra.platform.plugins.module_utils.model import table, transaction
from ansible_collections.tetra.platform.plugins.plugin_utils import registered, run
from ansible_collections.tetra.platform.plugins.plugin_utils.controller import ControllerAction


class ActionModule(ControllerAction):
    """Print what services said; a host that did not answer makes the outcome ``unconfirmed``."""

    def work(self, task_vars: dict) -> dict:
        """The lines by host and service; see the documentation of the module."""
        request = self._task.args["request"]
        hosts = registered.told(task_vars, "tetra_services", request["target_hosts"], "services", _logs)
        silent = registered.silent(hosts)
        Display().display("\n".join(_lines(hosts)))
        outcome = transaction.UNCONFIRMED if silent else transaction.UNCHANGED
        return run.ended(outcome, "\n".join(silent) or f"logs of {request['org']} in {request['env']}",
                         self.result_file(task_vars), action="logs", org=request["org"], env=request["env"],
                         hosts=hosts)


def _logs(answer: Mapping) -> dict:
    return {"services": {service: found.get("log", []) for service, found in answer["services"].items()}}


def _lines(hosts: dict) -> list[str]:
    return [
        f"{name} {service}: {table.printable(line)}"
        for name, host in sorted(hosts.items())
        for service, lines in sorted(host.get("services", {}).items())
        for line in lines
    ]
