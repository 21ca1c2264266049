# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The controller's half of the module agent: brings the agent of this version along."""

from __future__ import annotations

from ansible.errors import AnsibleConnectionFailure
from ansible_collections.tetra.platform.plugins.plugin_utils.executor import HostAction


class ActionModule(HostAction):
    """Prepare a host, or stop what runs on it."""

    operation = "agent"

    def request(self, task_vars: dict) -> dict:
        """What the host is prepared with, unless the task says otherwise."""
        return {**self.agent_request(task_vars), **self._task.args}

    def ask(self, operation: str, request: dict, task_vars: dict, fresh: bool = False) -> dict:
        """Ask the agent; where there is none of this version, the module installs it."""
        try:
            return self.prepare(request, task_vars)
        except AnsibleConnectionFailure as error:
            return self.lost(f"the connection broke: {error.message}")
