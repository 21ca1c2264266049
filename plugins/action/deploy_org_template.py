# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes the directory of a new organization out of a template; it appears as a whole, and only when it is valid."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

from ansible.utils.display import Display
from ansible_collections.tetra.platform.plugins.module_utils.model import table, transaction
from ansible_collections.tetra.platform.plugins.module_utils.model.errors import TetraError
from ansible_collections.tetra.platform.plugins.plugin_utils import org_template, questions, run, validation
from ansible_collections.tetra.platform.plugins.plugin_utils.controller import ControllerAction


class ActionModule(ControllerAction):
    """Answer the questions of a template, and write what comes of it."""

    def work(self, task_vars: dict) -> dict:
        """The new organization; see the documentation of the module."""
        org = self.org(task_vars)
        place = self.free_place(org, task_vars)
        name = str(self.variable("tetra_org_template", task_vars, "") or "simple")
        given = self.variable("tetra_answers", task_vars, {}) or {}
        if not isinstance(given, Mapping):
            raise TetraError("tetra_answers is not a mapping", hint="write tetra_answers: {question: answer}")
        found = org_template.read(org_template.find(name))
        answers = questions.answered(found.questions, given)
        files = org_template.render(found, org, answers)
        self._make(org, files, place, task_vars)
        rows = [["FILE", "BYTES"], *([path, str(len(data))] for path, (data, _executable) in files.items())]
        Display().display(f"{org}, from the template {found.name}: {place}\n{table.table(rows)}")
        return run.ended(
            transaction.APPLIED, f"{org} is in {place}; push it with playbooks/push.yml", self.result_file(task_vars),
            action="org_template", org=org, directory=os.fspath(place), template=found.name, digest=found.digest,
            answers=answers, files=sorted(files), diff=_diff(files),
        )  # fmt: skip

    def _make(self, org: str, files: dict, place: Path, task_vars: dict) -> None:
        """Write the files beside their place, look whether they are an organization that is valid, and move them."""
        beside = None if self._task.check_mode else place.parent
        try:
            if beside:
                beside.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(prefix=".new-", dir=beside) as made:
                org_template.write(files, Path(made, org))
                validation.check(os.path.join(made, org), org, self.environments(task_vars))
                if beside:
                    os.rename(Path(made, org), place)
        except OSError as error:
            raise TetraError(f"{place} cannot be written: {error.strerror}", hint="set tetra_orgs_dir to a folder that "
                             "you may write to") from error


def _diff(files: dict[str, tuple[bytes, bool]]) -> list[dict]:
    return [{"before": "", "after": data.decode("utf-8", "replace"), "before_header": "nothing", "after_header": path}
            for path, (data, _executable) in files.items()]
