# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The base of actions that work on the controller alone and never touch a host."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from ansible.plugins.action import ActionBase
from ansible_collections.tetra.platform.plugins.module_utils.model import policy, units
from ansible_collections.tetra.platform.plugins.module_utils.model.errors import REFUSED, TetraError
from ansible_collections.tetra.platform.plugins.plugin_utils import run


class ControllerAction(ActionBase):  # type: ignore[misc]  # ansible-core has no type hints
    """An action on the controller; what is wrong becomes the outcome of the run, which a later task fails with."""

    _supports_check_mode = True
    _supports_async = False
    _requires_connection = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Do the work; a :class:`TetraError` ends the run with its code as the outcome."""
        super().run(tmp, task_vars)
        task_vars = task_vars or {}
        try:
            return self.work(task_vars)
        except TetraError as error:
            return run.ended(error.code, str(error), self.result_file(task_vars), **self.failed_details(task_vars))

    def work(self, task_vars: dict[str, Any]) -> dict[str, Any]:
        """What the action does; subclasses say."""
        raise NotImplementedError

    def failed_details(self, task_vars: dict[str, Any]) -> dict[str, Any]:
        """What the result tells besides the outcome when the run ends here."""
        return {}

    def variable(self, name: str, task_vars: dict[str, Any], default: object = None) -> object:
        """A variable with its templates resolved, or a default where it is not set."""
        return self._templar.template(task_vars[name]) if name in task_vars else default

    def word(self, name: str, task_vars: dict[str, Any]) -> str:
        """A variable that has to be set.

        :raises TetraError: when it is not.
        """
        word = self.variable(name, task_vars)
        if not word:
            raise TetraError(f"{name} is not set", hint=f"say which one with -e {name}=NAME")
        return str(word)

    def environments(self, task_vars: dict[str, Any]) -> dict[str, policy.Environment]:
        """The environments of the inventory, by name.

        :raises TetraError: for what is wrong with ``tetra_environments``.
        """
        return policy.environments(self.variable("tetra_environments", task_vars, {}) or {}, set(task_vars["groups"]))

    def result_file(self, task_vars: dict[str, Any]) -> str | None:
        """Where the user wants the result as JSON, if anywhere."""
        path = self.variable("tetra_result_file", task_vars)
        return str(path) if path else None

    def org(self, task_vars: dict[str, Any]) -> str:
        """The name of the organization that is asked for."""
        org = self.variable("tetra_org", task_vars)
        if not org:
            raise TetraError("tetra_org is not set", hint="say which organization with -e tetra_org=NAME")
        units.check_name("organization", str(org))
        return str(org)

    def free_place(self, org: str, task_vars: dict[str, Any]) -> Path:
        """Where the directory of an organization will be that has none yet.

        :raises TetraError: code ``refused`` when there is one.
        """
        try:
            there = self.org_directory(org, task_vars)
        except TetraError:
            there = ""
        place = Path(str(self.variable("tetra_orgs_dir", task_vars, "") or "orgs")).absolute() / org
        if there or os.path.lexists(place):
            raise TetraError(f"organization {org} is there already: {there or place}", hint="choose another name, or "
                             "remove it first", code=REFUSED)
        return place

    def org_directory(self, org: str, task_vars: dict[str, Any]) -> str:
        """The directory of an organization.

        :raises TetraError: listing the places that were tried.
        """
        places = [self.variable("tetra_orgs_dir", task_vars), os.path.join(os.getcwd(), "orgs")]
        inventories = task_vars.get("ansible_inventory_sources") or []
        places += [os.path.join(path if os.path.isdir(path) else os.path.dirname(path), "orgs") for path in inventories]
        tried = [os.path.normpath(os.path.join(str(place), org)) for place in places if place]
        for path in tried:
            if os.path.isdir(path):
                return path
        raise TetraError(
            f"organization {org} was not found; tried {', '.join(tried)}",
            hint="set tetra_orgs_dir to the folder that holds the directories of your organizations",
        )
