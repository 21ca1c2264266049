# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The controller's half of the module release_info: sends the host's own secrets along to get their keyed digests."""

from __future__ import annotations

from ansible_collections.tetra.platform.plugins.plugin_utils.executor import HostAction


class ActionModule(HostAction):
    """Observe one environment on a host."""

    operation = "release_info"

    def request(self, task_vars: dict) -> dict:
        """The task's arguments, and the secrets of the host unless the task names others."""
        secrets = self.variable("tetra_secrets", task_vars, {})
        return {**self.defaults(task_vars), "secrets": secrets, **self._task.args}
