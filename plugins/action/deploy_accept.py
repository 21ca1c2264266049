# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Brings an organization's directory to what a proposal of playbooks/pull.yml says, once a person has looked at it."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from ansible.utils.display import Display
from ansible_collections.tetra.platform.plugins.module_utils.model import table, transaction
from ansible_collections.tetra.platform.plugins.module_utils.model.errors import REFUSED, TetraError
from ansible_collections.tetra.platform.plugins.plugin_utils import proposal_folder, run, source, validation
from ansible_collections.tetra.platform.plugins.plugin_utils.controller import ControllerAction
from ansible_collections.tetra.platform.plugins.plugin_utils.proposal import Change
from ansible_collections.tetra.platform.plugins.plugin_utils.source import Source


class ActionModule(ControllerAction):
    """Change the files that the proposal changes, if the directory is still what it was there and stays valid."""

    def work(self, task_vars: dict) -> dict:
        """What was changed; see the documentation of the module."""
        org = self.org(task_vars)
        directory = Path(self.org_directory(org, task_vars))
        folder = Path(self.word("tetra_pull_dir", task_vars)).expanduser().absolute()
        record, tree = proposal_folder.read(folder, org)
        mine = source.read(directory)
        changes = proposal_folder.accepted(record, tree, mine)
        result = {**mine.files, **{path: file for path, file in changes.items() if file}}
        result = {path: file for path, file in result.items() if changes.get(path, file)}
        try:
            self._validate(result, org, task_vars)
        except OSError as error:
            raise TetraError(f"{error.filename}: {error.strerror}", hint="nothing was changed; look at the disk",
                             code=REFUSED) from error
        shown = [Change(path, _entry(mine, path), file.entry if file else None, (), False)
                 for path, file in changes.items()]
        # While the files are what they were.
        text = "".join(proposal_folder.diff(mine.files, result, tuple(shown)))
        if not self._task.check_mode:
            _apply(directory, changes)
        rows = [["FILE", "CHANGE"], *([one.path, one.kind] for one in shown)]
        Display().display(table.or_nothing(rows, "nothing to change"))
        return run.ended(
            transaction.APPLIED if changes else transaction.UNCHANGED,
            f"{len(changes)} files of {directory} {'would be' if self._task.check_mode else 'were'} changed",
            self.result_file(task_vars), action="accept", org=org, env=record["env"], directory=os.fspath(directory),
            files=sorted(changes), diff=[{"prepared": text}] if self._task.diff else [],
        )  # fmt: skip

    def _validate(self, files: dict, org: str, task_vars: dict) -> None:
        """See whether the directory would be valid, from a copy.

        :raises TetraError: listing what is wrong.
        """
        with tempfile.TemporaryDirectory(prefix="tetra-") as made:
            proposal_folder.write_tree(Path(made, org), files)
            validation.check(os.path.join(made, org), org, self.environments(task_vars))


def _apply(directory: Path, changes: dict) -> None:
    try:
        proposal_folder.apply(directory, changes)
    except OSError as error:
        raise TetraError(f"{error.filename or directory}: {error.strerror}", hint="files before it are changed; run "
                         "again once it can be written", code=REFUSED) from error


def _entry(mine: Source, path: str) -> dict | None:
    return mine.files[path].entry if path in mine.files else None
