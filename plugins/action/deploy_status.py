# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an environment runs, for a person: services by host, the release each was started under, what is on hold."""

from __future__ import annotations

from ansible.utils.display import Display
from ansible_collections.tetra.platform.plugins.module_utils.model import table, transaction
from ansible_collections.tetra.platform.plugins.plugin_utils import registered, run
from ansible_collections.tetra.platform.plugins.plugin_utils.controller import ControllerAction

_KEYS = ("current", "bundle", "epoch", "head", "transaction", "holds", "services", "last", "history")


class ActionModule(ControllerAction):
    """Print what was observed; a host that did not answer makes the status ``unconfirmed``."""

    def work(self, task_vars: dict) -> dict:
        """The observations by host; see the documentation of the module."""
        request = self._task.args["request"]
        hosts = registered.told(task_vars, "tetra_observed", request["target_hosts"], "epoch",
                                lambda answer: {key: answer[key] for key in _KEYS})
        silent = registered.silent(hosts)
        outcome = transaction.UNCONFIRMED if silent else transaction.UNCHANGED
        message = "\n".join(silent) or f"status of {request['org']} in {request['env']}"
        Display().display(_table(hosts))
        return run.ended(outcome, message, self.result_file(task_vars), action="status", org=request["org"],
                         env=request["env"], hosts=hosts)


def _table(hosts: dict) -> str:
    rows = [["HOST", "SERVICE", "STATE", "RELEASE", "STARTED UNDER", "URL"]]
    notes = []
    for name, host in sorted(hosts.items()):
        if "message" in host:
            rows.append([name, "-", "no answer", "-", "-", host["message"].partition("\n")[0]])
            continue
        release = (host["current"] or "-")[:12]
        for service, found in host["services"].items():
            state = "stopped by hand" if found["stopped"] else found["state"]
            rows.append([name, service, state, release, found["release"][:12], found["url"]])
        notes += _notes(name, host)
    return "\n".join([table.table(rows), *notes])


def _notes(name: str, host: dict) -> list[str]:
    notes = [
        f"{name}: bundle {bundle[:12]} is on hold since transaction {hold['transaction']}: {hold['reason']}"
        for bundle, hold in sorted(host["holds"].items())
    ]
    found = host["transaction"]
    if found:
        since = f"since {found['age']:.0f} s"
        notes.append(f"{name}: transaction {found['id']} of {found['actor']} is {found['state']} {since}")
    return notes
