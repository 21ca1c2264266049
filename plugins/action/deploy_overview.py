# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Shows an organization over all its environments: what each runs, what is behind, and how their values differ."""

from __future__ import annotations

import contextlib
from pathlib import Path

from ansible.utils.display import Display
from ansible_collections.tetra.platform.plugins.module_utils.model import (
    canonical,
    overview,
    plain_secrets,
    policy,
    table,
    transaction,
    values,
)
from ansible_collections.tetra.platform.plugins.module_utils.model.errors import REFUSED, TetraError
from ansible_collections.tetra.platform.plugins.plugin_utils import overlay, run, source
from ansible_collections.tetra.platform.plugins.plugin_utils.controller import ControllerAction
from ansible_collections.tetra.platform.plugins.plugin_utils.source import Source

_WIDTH = 40
_HIDDEN = "(hidden)"


class ActionModule(ControllerAction):
    """First says which hosts to ask about which environments, then makes a table of what they answered."""

    def work(self, task_vars: dict) -> dict:
        """The environments, or the overview; see the documentation of the module."""
        org, groups = self.org(task_vars), task_vars["groups"]
        environments = self.environments(task_vars)
        hosts = {name: sorted(groups.get(one.group, [])) for name, one in environments.items()}
        hosts = {name: names for name, names in hosts.items() if names}
        if not hosts:
            raise TetraError("no environment of the inventory has hosts", hint="add hosts to their groups",
                             code=REFUSED)
        if self._task.args["phase"] == "environments":
            every = sorted({host for names in hosts.values() for host in names})
            return {"changed": False, "org": org, "environments": hosts, "hosts": every}
        return self._show(org, environments, hosts, task_vars)

    def _show(self, org: str, environments: dict, hosts: dict, task_vars: dict) -> dict:
        comes_from = {name: environments[name].promotes_from for name in hosts}
        found = {name: overview.environment({host: _answer(task_vars, host, name) for host in hosts[name]},
                                            comes_from[name]) for name in overview.in_order(comes_from)}
        directory = None
        with contextlib.suppress(TetraError):
            directory = source.read(Path(self.org_directory(org, task_vars)))
        aliases = policy.aliases(environments)
        known = {name: _values(directory, name, aliases) for name in found} if directory else {}
        different = overview.differences(known)
        steps = {name: overview.step(name, found, directory.digest if directory else None) for name in found}
        silent = [line for own in found.values() for line in own["silent"]]
        Display().display(_text(found, directory, different))
        return run.ended(
            transaction.UNCONFIRMED if silent else transaction.UNCHANGED, "\n".join(silent) or f"overview of {org}",
            self.result_file(task_vars), action="overview", org=org, differences=different,
            environments={name: {**own, "step": steps[name]} for name, own in found.items()},
        )  # fmt: skip


def _answer(task_vars: dict, host: str, env: str) -> dict:
    """What a host answered about an environment."""
    told = task_vars["hostvars"][host].get("tetra_overview") or {}
    answers = {one.get("item"): one for one in told.get("results") or []}
    return dict(answers.get(env) or {"msg": told.get("msg", "the host did not answer")})


def _values(directory: Source, env: str, aliases: dict) -> dict[str, str]:
    """The values that an environment has by its files, as texts; what looks like a secret is not shown."""
    found = overlay.environment_values(directory, env, aliases)
    texts = {f"values.{name}": canonical.dumps(value) for name, value in found.values.items()}
    texts |= {f"environment.{name}": _shown(name, value) for name, value in found.environment.items()}
    return texts | {f"services.{service}.{key}": _shown(key, value)
                    for service, keys in found.services.items() for key, value in keys.items()}  # fmt: skip


def _shown(name: str, value: values.Value) -> str:
    return _HIDDEN if plain_secrets.looks_secret(name, value) else values.show(value)


def _text(found: dict, directory: Source | None, different: dict) -> str:
    parts = [table.table(overview.rows(found, directory.digest if directory else None))]
    lines = [line for own in found.values() for line in (*own["open"], *own["drifts"], *own["silent"])]
    parts += map(table.printable, lines)
    if different:
        rows = [["VALUE", *found], *([name, *(_cut(texts[env]) for env in found)] for name, texts in different.items())]
        parts += ["", table.table(rows)]
    return "\n".join(parts)


def _cut(text: str) -> str:
    return (text if len(text) <= _WIDTH else f"{text[:_WIDTH]}...") or "-"
