# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is wrong with an organization, for every environment, without asking any host."""

from __future__ import annotations

from ansible.utils.display import Display
from ansible_collections.tetra.platform.plugins.module_utils.model import policy, table, transaction
from ansible_collections.tetra.platform.plugins.module_utils.model.errors import ERROR, Finding
from ansible_collections.tetra.platform.plugins.plugin_utils import run, validation
from ansible_collections.tetra.platform.plugins.plugin_utils.controller import ControllerAction


class ActionModule(ControllerAction):
    """Look at the directory of an organization as each environment would have it."""

    def work(self, task_vars: dict) -> dict:
        """The findings by environment; see the documentation of the module."""
        groups, environments = task_vars["groups"], self.environments(task_vars)
        only = self.variable("tetra_env", task_vars)
        if only:
            found = policy.find(environments, str(only))
            environments = {found.name: found}
        org = self.org(task_vars)
        hosts = {name: self._hosts(groups.get(one.group, []), task_vars) for name, one in environments.items()}
        findings = validation.validate(self.org_directory(org, task_vars), org, environments, hosts)
        Display().display(_text(findings))
        wrong = [name for name, found in findings.items() if any(one.severity == ERROR for one in found)]
        message = f"{org} cannot go to {', '.join(wrong)}" if wrong else f"{org} is valid for {', '.join(findings)}"
        return run.ended(
            transaction.INVALID if wrong else transaction.UNCHANGED, message, self.result_file(task_vars),
            action="validate", org=org, environments={
                name: {"valid": name not in wrong, "findings": [one.to_wire() for one in found]}
                for name, found in findings.items()
            },
        )  # fmt: skip

    def _hosts(self, names: list[str], task_vars: dict) -> dict[str, validation.Host]:
        variables = task_vars["hostvars"]
        return {
            name: validation.Host(
                list(variables[name]["group_names"]),
                set(self._templar.template(variables[name].get("tetra_secrets") or {})),
            )
            for name in sorted(names)
        }


def _text(findings: dict[str, list[Finding]]) -> str:
    lines = []
    for name, found in findings.items():
        errors = sum(one.severity == ERROR for one in found)
        lines.append(f"{name}: {errors} errors, {len(found) - errors} warnings")
        lines += [f"  {one.severity}: {table.printable(line)}" for one in found for line in str(one).splitlines()]
    return "\n".join(lines)
