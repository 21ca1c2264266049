# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""How the services of an environment are, for a person: each on each host, as its definition has it checked."""

from __future__ import annotations

from ansible.utils.display import Display
from ansible_collections.tetra.platform.plugins.module_utils.model import table, transaction
from ansible_collections.tetra.platform.plugins.plugin_utils import registered, run
from ansible_collections.tetra.platform.plugins.plugin_utils.controller import ControllerAction


class ActionModule(ControllerAction):
    """Print what the checks came to; one that failed makes the outcome ``partial``."""

    def work(self, task_vars: dict) -> dict:
        """The checks by host; see the documentation of the module."""
        request = self._task.args["request"]
        hosts = registered.told(task_vars, "health_checked", request["target_hosts"], "checks",
                                lambda answer: {"checks": dict(answer["checks"])})
        silent = registered.silent(hosts)
        failed = [f"{name}: {service}: {check['detail']}" for name, host in hosts.items()
                  for service, check in host.get("checks", {}).items() if not check["ok"]]
        Display().display("\n".join([_table(hosts), *map(table.printable, silent)]))
        outcome = transaction.UNCONFIRMED if silent else transaction.PARTIAL if failed else transaction.UNCHANGED
        message = "\n".join([*silent, *failed]) or f"all services of {request['org']} in {request['env']} are healthy"
        return run.ended(outcome, message, self.result_file(task_vars), action="health", org=request["org"],
                         env=request["env"], hosts=hosts)


def _table(hosts: dict) -> str:
    rows = [["HOST", "SERVICE", "HEALTH", "CHECK", "DETAIL"]]
    for name, host in sorted(hosts.items()):
        for service, check in sorted(host.get("checks", {}).items()):
            rows.append([name, service, "ok" if check["ok"] else "FAILED", check["check"], check["detail"]])
    return table.table(rows)
