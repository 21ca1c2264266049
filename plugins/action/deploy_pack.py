# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fetch a bundle from a host that runs it: its manifest, and the bytes that the hosts ahead do not have."""

from __future__ import annotations

from ansible_collections.tetra.platform.plugins.plugin_utils.executor import HostAction


class ActionModule(HostAction):
    """Ask a host for the pack of its current bundle; the pack stays in the result, base64, and holds no secret."""

    operation = "deploy_pack"

    def request(self, task_vars: dict) -> dict:
        """The task's arguments, and which files every host ahead has already."""
        request = {**self.defaults(task_vars), **self._task.args}
        targets = self._task.args.get("targets") or []
        answers = [task_vars["hostvars"][host].get("tetra_observed") or {} for host in targets]
        sets = [set(answer.get("blobs") or []) for answer in answers]
        request.pop("targets", None)
        return {**request, "have": sorted(set.intersection(*sets)) if sets else []}
