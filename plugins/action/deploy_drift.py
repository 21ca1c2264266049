# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""How an environment differs from what it was given and from what it would be given next, for a person."""

from __future__ import annotations

from ansible.utils.display import Display
from ansible_collections.tetra.platform.plugins.module_utils.model import drift, recovery, table, transaction
from ansible_collections.tetra.platform.plugins.module_utils.model.errors import TetraError
from ansible_collections.tetra.platform.plugins.plugin_utils import planning, registered, run
from ansible_collections.tetra.platform.plugins.plugin_utils.controller import ControllerAction


class ActionModule(ControllerAction):
    """Print every drift by host; one that a host was brought to by hand is a failure, a pending change is none."""

    def work(self, task_vars: dict) -> dict:
        """The drifts by host; see the documentation of the module."""
        request = self._task.args["request"]
        known = registered.answers(self._templar, task_vars, request, self._task.args.get("origin", ""))
        desired, note = _desired(request, known)
        hosts = {name: _host(name, answer, desired) for name, answer in recovery.present(known.observed).items()}
        silent = registered.silent(hosts)
        notes = [*silent, *([note] if note else [])]
        Display().display(_table(hosts, notes))
        kinds = [found["kind"] for host in hosts.values() for found in host["drifts"]]
        message = "\n".join([*notes, _told(hosts) or f"{request['env']} of {request['org']} has no drift"])
        return run.ended(_outcome(kinds, silent), message, self.result_file(task_vars), action="drift",
                         org=request["org"], env=request["env"], hosts=hosts, note=note)


def _desired(request: dict, known: planning.Answers) -> tuple[object, str]:
    """What the next push or promotion would bring, or why nobody can say."""
    action = "promote" if request["source"] else "push"
    try:
        if action == "push" and not request["directory"]:
            raise TetraError("the directory of the organization is not here")
        return planning.goal({**request, "action": action}, planning.checked(known)).desired, ""
    except TetraError as error:
        return None, f"pending changes are not known: {error.message}"


def _host(name: str, answer: dict, desired) -> dict:
    if "drift" not in answer:
        return {"drifts": [], "message": answer.get("msg", "the host did not answer")}
    waiting = drift.pending(answer, desired, name) if desired else {}
    following = desired.release if desired else None
    return {"drifts": drift.of_host(answer, waiting, following), "release": answer["current"]}


def _outcome(kinds: list, silent: list) -> str:
    if silent:
        return transaction.UNCONFIRMED
    return transaction.PARTIAL if set(kinds) & set(drift.ON_THE_HOST) else transaction.UNCHANGED


def _told(hosts: dict) -> str:
    return "\n".join(
        table.printable(f"{name}: {found['kind']}: {found['what']}")
        for name, host in sorted(hosts.items()) for found in host["drifts"]
    )  # fmt: skip


def _table(hosts: dict, notes: list) -> str:
    rows = [["HOST", "DRIFT", "SERVICES", "WHAT"]]
    for name, host in sorted(hosts.items()):
        for found in host["drifts"]:
            rows.append([name, found["kind"], ", ".join(found["services"]) or "-", found["what"]])
        if not host["drifts"] and "message" not in host:
            rows.append([name, "none", "-", "-"])
    return "\n".join([table.table(rows), *map(table.printable, notes)])
