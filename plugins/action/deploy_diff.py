# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""How two releases differ, for a person: those of two environments, or two of one."""

from __future__ import annotations

from ansible.utils.display import Display
from ansible_collections.tetra.platform.plugins.module_utils.model import listing, release, release_text, transaction
from ansible_collections.tetra.platform.plugins.module_utils.model.errors import REFUSED, TetraError
from ansible_collections.tetra.platform.plugins.plugin_utils import planning, run
from ansible_collections.tetra.platform.plugins.plugin_utils.controller import ControllerAction


class ActionModule(ControllerAction):
    """Print the difference; nothing is changed anywhere."""

    def work(self, task_vars: dict) -> dict:
        """The difference as text; see the documentation of the module."""
        request = self._task.args["request"]
        words = request["manifests"]
        target = _observed(task_vars, "tetra_observed", request["target_hosts"])
        origin = target
        if request["source"]:
            origin = _observed(task_vars, "tetra_source_observed", request["source_hosts"])
        before = _manifest(origin, words[0], request["source"] or request["env"])
        after = _manifest(target, words[-1], request["env"])
        names = _name(request["source"] or request["env"], before), _name(request["env"], after)
        text = release_text.difference(before, after, names)
        told = text.rstrip() or f"{names[0]} and {names[1]} do not differ"
        Display().display(told)
        return run.ended(transaction.UNCHANGED, told, self.result_file(task_vars), action="diff", org=request["org"],
                         env=request["env"], source=request["source"], different=bool(text), difference=text)

    def failed_details(self, task_vars: dict) -> dict:
        """Which request it was."""
        request = self._task.args["request"]
        return {key: request[key] for key in ("org", "env", "source")} | {"action": "diff"}


def _observed(task_vars: dict, name: str, hosts: list[str]) -> dict[str, dict]:
    return planning.answered({host: dict(task_vars["hostvars"][host].get(name) or {}) for host in hosts})


def _manifest(observed: dict[str, dict], word: str, env: str) -> dict:
    """The release that a word stands for on all hosts of an environment.

    :raises TetraError: code ``refused`` where there is none, or not the same one everywhere.
    """
    found = {host: answer["manifests"].get(word) for host, answer in observed.items()}
    digests = {host: release.digest(manifest) if manifest else None for host, manifest in found.items()}
    if None in digests.values():
        where = ", ".join(sorted(host for host, digest in digests.items() if digest is None))
        raise TetraError(f"{env} has no release {word} on {where}", hint="status.yml shows what its hosts run, "
                         "history.yml what they ran; a few releases are kept", code=REFUSED)
    if len(set(digests.values())) > 1:
        told = ", ".join(f"{host}: {listing.short(digest)}" for host, digest in sorted(digests.items()))
        raise TetraError(f"{word} is not the same release on all hosts of {env} ({told})",
                         hint="name a release by the beginning of its digest", code=REFUSED)
    return next(iter(found.values()))


def _name(env: str, manifest: dict) -> str:
    return f"{env} {listing.short(release.digest(manifest))}"
