# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fetch those files of a bundle that the controller lacks, in portions, into a folder of the run."""

from __future__ import annotations

import base64
import hashlib
import tempfile
from pathlib import Path

from ansible import constants
from ansible_collections.tetra.platform.plugins.module_utils.model import pack, release
from ansible_collections.tetra.platform.plugins.module_utils.model.errors import TetraError
from ansible_collections.tetra.platform.plugins.plugin_utils import proposal, run_folder, source
from ansible_collections.tetra.platform.plugins.plugin_utils.executor import HostAction, failure

_CHUNK = 1024 * 1024


class ActionModule(HostAction):
    """What comes goes to the disk at once, and is held against its name when it is whole."""

    operation = "deploy_blobs"

    def request(self, task_vars: dict) -> dict:
        """The task's arguments, without the directory, which is the controller's."""
        request = super().request(task_vars)
        request.pop("directory", None)
        return request

    def ask(self, operation: str, request: dict, task_vars: dict, fresh: bool = False) -> dict:
        """Ask until all is there."""
        manifest = (task_vars.get("tetra_edits") or {}).get("manifest")
        if not manifest:
            return self.lost("it did not tell what it runs")
        wanted = release.blobs(manifest)
        try:
            here = _digests(str(self._task.args.get("directory") or ""))
        except TetraError as error:
            return failure(error.message, error.hint, error.code)
        wanted = {digest: size for digest, size in wanted.items() if digest not in here}
        folder = tempfile.mkdtemp(prefix="tetra-", dir=constants.DEFAULT_LOCAL_TMP)
        for digest in wanted:
            run_folder.blob(folder, digest).touch()
        for parts in proposal.portions(wanted, pack.MAX_PART):
            answer = super().ask(operation, {**request, "parts": [list(part) for part in parts]}, task_vars)
            if answer.get("failed"):
                return answer
            if not _keep(folder, parts, answer["data"]):
                return self.lost("what came is not what was asked for")
        damaged = [digest for digest in wanted if _digest(run_folder.blob(folder, digest)) != digest]
        if damaged:
            return self.lost(f"file {min(damaged)[:12]} is not what its name says")
        return {"changed": False, "folder": folder, "count": len(wanted)}


def _digests(directory: str) -> set[str]:
    """The files that a directory of an organization has; none where there is no directory."""
    files = source.read(Path(directory)).files.values() if directory else ()
    return {str(file.entry.get("sha256")) for file in files}


def _keep(folder: str, parts, text: str) -> bool:
    """Add the parts that came to their files; whether they are as long as they have to be."""
    try:
        data = base64.b64decode(text, validate=True)
    except ValueError:
        return False
    if len(data) != sum(length for _digest_of, _offset, length in parts):
        return False
    at = 0
    for digest, _offset, length in parts:
        with open(run_folder.blob(folder, digest), "ab") as file:
            file.write(data[at:at + length])
        at += length
    return True


def _digest(path: Path) -> str:
    seen = hashlib.sha256()
    with open(path, "rb") as file:
        while chunk := file.read(_CHUNK):
            seen.update(chunk)
    return seen.hexdigest()
