# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""How the controller asks a host: one call of the agent over Ansible's own connection, JSON in and JSON out.

Where the host has no agent of this version, the module of the operation's name does the same. A host that was asked
and did not answer is never asked twice: what happened is unknown until it is read back.
"""

from __future__ import annotations

import base64
import json
import shlex
from typing import Any

from ansible.errors import AnsibleConnectionFailure, AnsibleError
from ansible.plugins.action import ActionBase
from ansible_collections.tetra.platform.plugins.module_utils.model import transaction
from ansible_collections.tetra.platform.plugins.module_utils.model.errors import TetraError
from ansible_collections.tetra.platform.plugins.plugin_utils import answers, forms, host_code, memory

_NO_AGENT = "tetra: no agent of this version"
# A host that says nothing for 20 s counts as gone; one that works for long says that it is there all the while.
_NOTICING_SILENCE = "-o ServerAliveInterval=5 -o ServerAliveCountMax=4"
_ONE_CONNECTION = "-o ControlMaster=no -o ControlPath=none -o ControlPersist=no"


class HostAction(ActionBase):  # type: ignore[misc]  # ansible-core has no type hints
    """An action whose work is an operation on the host; subclasses name it and may shape the request."""

    operation = ""
    _limit = memory.Limit(None)
    _supports_check_mode = True
    _supports_async = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Ask the host and give Ansible the answer; an operation's error becomes a failed task."""
        super().run(tmp, task_vars)
        task_vars = task_vars or {}
        try:
            request = self.request(task_vars)
        except AnsibleError as error:
            # A lookup of secrets, for example, that gives no answer now.
            return failure(str(error.message), "nothing was asked of the host by this step", transaction.INVALID)
        self._notice_silence()
        most = answers.memory(self.operation)
        try:
            with memory.limited(most) as self._limit:
                return self.ask(self.operation, request, task_vars)
        except MemoryError:
            return self.lost(f"what the host sent takes more than {most >> 20} MiB of memory")

    def request(self, task_vars: dict[str, Any]) -> dict[str, Any]:
        """What the host is asked: the arguments of the task, with the directory of the host and the check flag."""
        return {**self.defaults(task_vars), **self._task.args}

    def defaults(self, task_vars: dict[str, Any]) -> dict[str, Any]:
        """What every request carries."""
        directory = self.variable("tetra_dir", task_vars, "/var/lib/tetra")
        return {"tetra_dir": directory, "check": bool(self._task.check_mode)}

    def variable(self, name: str, task_vars: dict[str, Any], default: object = None) -> object:
        """A variable of the task's host with its templates resolved."""
        return self._templar.template(task_vars[name]) if name in task_vars else default

    def ask(
        self, operation: str, request: dict[str, Any], task_vars: dict[str, Any], fresh: bool = False
    ) -> dict[str, Any]:
        """Carry out an operation on the host.

        :param fresh: use a connection of its own, which proves that the host can still be reached.
        :returns: an Ansible result; a lost answer has ``failed`` and the code ``unconfirmed``.
        """
        if fresh:
            self._leave_shared_connection()
        try:
            answer = self.ask_agent(operation, request)
        except AnsibleConnectionFailure as error:
            return self.lost(f"the connection broke: {error.message}")
        if answer is None:
            return self._ask_module(operation, request, task_vars)
        return answer

    def ask_agent(self, operation: str, request: dict[str, Any]) -> dict[str, Any] | None:
        """Ask the agent of exactly this version; None when the host does not have it, and nothing was done then."""
        agent = shlex.quote(f"{request['tetra_dir']}/bin/tsm-{host_code.version()}")
        command = f"if [ -x {agent} ]; then exec {agent} run {operation}; else echo {shlex.quote(_NO_AGENT)}; fi"
        raw = self._low_level_execute_command(command, in_data=json.dumps(request).encode())
        output = raw["stdout"].strip()
        if output == _NO_AGENT:
            return None
        with self._limit.at_once():
            try:
                answer = answers.decode(output[output.rfind("\n") + 1:])
            except ValueError:
                return self.lost(f"no answer came (exit code {raw['rc']}): {raw['stderr'].strip()[-500:]}")
            return self._checked(operation, answer)

    def _checked(self, operation: str, answer: object) -> dict[str, Any]:
        """The answer of an agent, as a result of Ansible; nothing but what the operation tells is left of it."""
        told = answer if isinstance(answer, dict) else {}
        try:
            if "error" in told:
                return failure(*answers.error(told["error"]))
            return answers.result(operation, told.get("result"))
        except TetraError as error:
            return failure(error.message, error.hint, error.code)

    def _ask_module(self, operation: str, request: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        arguments = {key: value for key, value in request.items() if key != "check"}
        found: dict[str, Any] = self._execute_module(f"tetra.platform.{operation}", arguments, task_vars=task_vars)
        if not found.get("failed"):
            return self._checked(operation, {"result": found})
        if "code" in found:
            return self._checked(operation, {"error": found})
        # The module itself failed: there is no Python, for example.
        said = [str(found[key]).strip()[-500:] for key in ("msg", "module_stderr", "module_stdout") if found.get(key)]
        return self.lost("\n".join(said) or "the module told nothing")

    def _notice_silence(self) -> None:
        # Else a run waits for a host whose network is gone until TCP gives up, which takes many minutes.
        # ssh takes the first value that it is given for an option, so the user's own options stay in force.
        if self._connection.transport == "ssh":
            own = self._connection.get_option("ssh_extra_args") or ""
            self._connection.set_option("ssh_extra_args", f"{own} {_NOTICING_SILENCE}".strip())

    def _leave_shared_connection(self) -> None:
        if self._connection.transport == "ssh":
            own = self._connection.get_option("ssh_args") or ""
            self._connection.set_option("ssh_args", f"{_ONE_CONNECTION} {own}".strip())

    def lost(self, why: str) -> dict[str, Any]:
        """The result of a task whose answer did not come: what happened on the host is not known."""
        return failure(why, "look with playbooks/status.yml at what the host does now", transaction.UNCONFIRMED)

    def prepare(self, request: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        """Prepare the host with a request that :meth:`agent_request` made; an absent agent is brought along."""
        answer = self.ask_agent("agent", request)
        if answer is None:
            code = base64.b64encode(host_code.zipapp()).decode("ascii")
            answer = self._ask_module("agent", {**request, "code": code}, task_vars)
        return answer

    def agent_request(self, task_vars: dict[str, Any]) -> dict[str, Any]:
        """What a host is prepared with: its own variables, and the version of the agent that this collection brings."""
        return {
            **self.defaults(task_vars),
            "state": "present",
            "supervisor": self.variable("tetra_supervisor", task_vars, "auto"),
            "supervisord": self.variable("tetra_supervisord", task_vars, ""),
            "address": self.variable("tetra_address", task_vars, ""),
            "users": self.variable("tetra_users", task_vars, {}),
            "journal_max": self.variable("tetra_journal_max", task_vars, "1G"),
            "version": host_code.version(),
            "code": None,
        }


def failure(message: str, hint: str, code: str) -> dict[str, Any]:
    """The result of a task that failed, as every action of the collection gives it."""
    message, hint = forms.shown(message), forms.shown(hint)
    text = f"{message} ({hint})" if hint else message
    return {"failed": True, "msg": text, "message": message, "hint": hint, "code": code}
