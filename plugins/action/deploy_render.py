# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the templates and values of an organization become in an environment, without asking any host."""

from __future__ import annotations

import os
from pathlib import Path

from ansible.utils.display import Display
from ansible_collections.tetra.platform.plugins.module_utils.model import canonical, policy, table, transaction, units
from ansible_collections.tetra.platform.plugins.module_utils.model.errors import TetraError
from ansible_collections.tetra.platform.plugins.plugin_utils import bundle, explain, run, source, validation
from ansible_collections.tetra.platform.plugins.plugin_utils.controller import ControllerAction
from ansible_collections.tetra.platform.plugins.plugin_utils.explain import Explained

_WIDTH = 60


class ActionModule(ControllerAction):
    """Render for one environment, and say of each value where it comes from and who uses it."""

    def work(self, task_vars: dict) -> dict:
        """Files and values; see the documentation of the module."""
        groups, environments = task_vars["groups"], self.environments(task_vars)
        environment = policy.find(environments, self.word("tetra_env", task_vars))
        org = self.org(task_vars)
        origin = source.read(Path(self.org_directory(org, task_vars)))
        services = bundle.services(origin, environment.name, policy.aliases(environments), environment.protected)
        ports = validation.ports(services, org, environment, groups.get(environment.group, []))
        built = validation.build(origin, environment.name, services, ports)
        files = {**services.definitions.files, **built.templates.files}
        origins = {**services.definitions.origins, **built.templates.origins}
        found = _chosen(explain.values(services, built.templates.names), self.variable("tetra_value", task_vars))
        written = self._write(files, task_vars)
        Display().display(_text(files, origins, found))
        place = f" into {self.variable('tetra_render_dir', task_vars)}" if written else ""
        return run.ended(
            transaction.APPLIED if written else transaction.UNCHANGED,
            f"{len(files)} templates of {org} were rendered for {environment.name}{place}", self.result_file(task_vars),
            action="render", org=org, env=environment.name, ports=ports,
            findings=[finding.to_wire() for finding in services.findings],
            files={path: {"template": origins[path], "size": len(data), "sha256": canonical.sha256(data)}
                   for path, data in files.items()},
            values={name: {"value": one.value, "used_by": one.used_by,
                           "layers": [{"file": file, "line": line} for file, line in one.layers]}
                    for name, one in found.items()},
        )  # fmt: skip

    def _write(self, files: dict[str, bytes], task_vars: dict) -> bool:
        """Write the files where the user wants them; whether that was done."""
        place = self.variable("tetra_render_dir", task_vars)
        if not place:
            return False
        folder = Path(str(place))
        if folder.is_symlink() or (folder.exists() and (not folder.is_dir() or os.listdir(folder))):
            raise TetraError(f"tetra_render_dir {folder} is there already", hint="name a folder that is new, or empty")
        for path, data in {} if self._task.check_mode else files.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(data)
        return True


def _chosen(found: dict[str, Explained], name: object) -> dict[str, Explained]:
    """All values, or the one that is asked for."""
    if not name:
        return found
    if name not in found:
        near = units.nearest(str(name), found)
        hint = f"did you mean {near}?" if near else f"the values are {', '.join(found) or 'none'}"
        raise TetraError(f"tetra_value {name} is not a value of the environment", hint=hint)
    return {str(name): found[str(name)]}


def _text(files: dict[str, bytes], origins: dict[str, str], found: dict[str, Explained]) -> str:
    rows = [["VALUE", "IS", "FROM", "INSTEAD OF", "USED BY"]]
    for name, one in found.items():
        first, *others = [f"{file}:{line}" for file, line in one.layers]
        shown = canonical.dumps(one.value)
        shown = shown if len(shown) <= _WIDTH else f"{shown[:_WIDTH]}..."
        rows.append([name, shown, first, ", ".join(others) or "-", ", ".join(one.used_by) or "nobody"])
    written = [["FILE", "BYTES", "TEMPLATE"]]
    written += [[path, str(len(data)), origins[path]] for path, data in sorted(files.items())]
    return f"{table.or_nothing(rows, 'no values')}\n\n{table.or_nothing(written, 'no templates')}"
