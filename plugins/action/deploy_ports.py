# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The ports of an environment, for a person: of each service on each host, who listens there, and what is wrong."""

from __future__ import annotations

from ansible.utils.display import Display
from ansible_collections.tetra.platform.plugins.plugin_utils import port_report, run
from ansible_collections.tetra.platform.plugins.plugin_utils.controller import ControllerAction


class ActionModule(ControllerAction):
    """Print the ports; a host that did not answer makes the outcome ``unconfirmed``."""

    def work(self, task_vars: dict) -> dict:
        """The ports, and what the hosts told of them; see the documentation of the module."""
        request = self._task.args["request"]
        looked, resolved = (
            {name: task_vars["hostvars"][name].get(variable) or {} for name in request["target_hosts"]}
            for variable in ("tetra_ports", "tetra_resolved")
        )
        found = port_report.report(request, looked, resolved, bool(self._task.check_mode))
        Display().display(port_report.shown(found))
        result = run.ended(
            found.outcome, found.message, self.result_file(task_vars), action="ports", org=request["org"],
            env=request["env"], ports=found.ports, conflicts=[one.to_wire() for one in found.conflicts],
            hosts={name: host.to_wire() for name, host in found.hosts.items()},
        )  # fmt: skip
        return {**result, "changed": False}
