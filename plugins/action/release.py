# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The controller's half of the module release: brings the bytes along, and confirms over a fresh connection."""

from __future__ import annotations

import base64
import os
import secrets
import tempfile
from pathlib import Path

from ansible.errors import AnsibleActionFail, AnsibleConnectionFailure
from ansible_collections.tetra.platform.plugins.module_utils.model import pack
from ansible_collections.tetra.platform.plugins.plugin_utils import run_folder
from ansible_collections.tetra.platform.plugins.plugin_utils.executor import HostAction

# More than this would have to be held in memory several times over.
_INLINE = 4 * 1024 * 1024


class ActionModule(HostAction):
    """Take a transaction on a host to a state."""

    operation = "release"

    def request(self, task_vars: dict) -> dict:
        """The task's arguments; those of a stage are made from the plan and from the host's own secrets."""
        arguments = dict(self._task.args)
        folder = arguments.pop("folder", None)
        request = {**self.defaults(task_vars), **arguments}
        if folder is not None:
            request["stage"] = self._stage(folder, task_vars)
        return request

    def ask(self, operation: str, request: dict, task_vars: dict, fresh: bool = False) -> dict:
        """Ask the agent; a stage first sees to it that the host has the agent of this version."""
        self._send_once()
        if request["state"] == "staged":
            return self._ask_to_stage(request, task_vars)
        return super().ask(operation, request, task_vars, fresh=request["state"] in ("confirmed", "observed"))

    def _send_once(self) -> None:
        # However often the user lets ssh try: it would also send again what was carried out and only not answered.
        if self._connection.transport == "ssh":
            self._connection.set_option("reconnection_retries", 0)

    def _ask_to_stage(self, request: dict, task_vars: dict) -> dict:
        stage = request["stage"]
        try:
            stage.update(self._pack(stage.pop("missing")))
        except AnsibleConnectionFailure as error:
            return self.lost(f"the connection broke while the release was sent: {error.message}")
        answer = self.ask_agent(self.operation, request)
        if answer is not None:
            return answer
        prepared = self.prepare(self.agent_request(task_vars), task_vars)
        if prepared.get("failed"):
            return prepared
        return self.ask_agent(self.operation, request) or self.lost("the agent is not there after it was installed")

    def _stage(self, folder: str, task_vars: dict) -> dict:
        plan = run_folder.plan(folder)
        host = task_vars["inventory_hostname"]
        values = self.variable("tetra_secrets", task_vars, {})
        manifest = plan["manifest"]
        names = manifest["secrets"] if manifest else {}
        missing = [name for name in names if name not in values]
        if missing:
            raise AnsibleActionFail(f"tetra_secrets does not have {', '.join(missing)} any more, which the plan needs")
        return {
            "plan": plan["plan"],
            "host": host,
            "bundle": plan["bundle_manifest"],
            "manifest": manifest,
            "services": plan["placement"][host],
            "secrets": {name: values[name] for name in names},
            "missing": [run_folder.blob(folder, digest) for digest in plan["missing"][host]],
            "heads": {name: head for name, head in plan["heads"].items() if name != host},
            "seen": plan["staged"][host],
            **plan["terms"],
        }

    def _pack(self, blobs: list[Path]) -> dict:
        """What the host lacks: as ``pack_bytes``, which spares a call, or where it was put on the host, as ``pack``."""
        index = pack.header((blob.name, blob.stat().st_size) for blob in blobs)
        if not blobs:
            return {"pack": None, "pack_bytes": None}
        if sum(blob.stat().st_size for blob in blobs) <= _INLINE:
            content = index + b"".join(blob.read_bytes() for blob in blobs)
            return {"pack": None, "pack_bytes": base64.b64encode(content).decode("ascii")}
        return {"pack": self._send(index, blobs), "pack_bytes": None}

    def _send(self, index: bytes, blobs: list[Path]) -> str:
        """Put a pack beside the temporary files of the host; its path there."""
        remote = pack.path(secrets.token_hex(16))
        with tempfile.NamedTemporaryFile(dir=blobs[0].parent) as local:
            local.write(index)
            for blob in blobs:
                local.write(blob.read_bytes())
            local.flush()
            self._put(local.name, remote)
        return remote

    def _put(self, local: str, remote: str) -> None:
        """Send a file that only its owner, and the user that the host works as, can read."""
        # A local connection makes the file by this process's own mask; the others take the mode of the file.
        before = os.umask(0o077)
        try:
            self._connection.put_file(local, remote)
        finally:
            os.umask(before)
        self._fixup_perms2([remote], execute=False)
