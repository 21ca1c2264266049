# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes a proposal of what an environment really runs, or an organization's directory out of it where that is lost."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ansible.utils.display import Display
from ansible_collections.tetra.platform.plugins.module_utils.model import listing, policy, release, table, transaction
from ansible_collections.tetra.platform.plugins.module_utils.model.errors import REFUSED, TetraError
from ansible_collections.tetra.platform.plugins.plugin_utils import (
    bundle,
    overlay,
    planning,
    proposal,
    proposal_folder,
    run,
    run_folder,
    source,
    validation,
)
from ansible_collections.tetra.platform.plugins.plugin_utils.controller import ControllerAction
from ansible_collections.tetra.platform.plugins.plugin_utils.source import Source


class ActionModule(ControllerAction):
    """Put together what came from the hosts, the bundle and the directory; nothing is asked of any host here."""

    def work(self, task_vars: dict) -> dict:
        """The proposal; see the documentation of the module."""
        request, origin = self._task.args["request"], self._task.args["origin"]
        answers = planning.answered(
            {host: dict(task_vars["hostvars"][host].get("tetra_edits") or {}) for host in request["target_hosts"]}
        )
        _check_agreed(answers)
        fetched = dict(task_vars["hostvars"][origin].get("tetra_blobs") or {})
        if "folder" not in fetched:
            raise TetraError(f"{origin} did not give its files: {fetched.get('msg', 'no answer')}",
                             hint="nothing was written; look at the host, then run again", code=REFUSED)
        mine = source.read(Path(request["directory"])) if request["directory"] else None
        given = source.from_blobs(_manifest(answers[origin], request["org"], origin), _reader(fetched["folder"], mine))
        try:
            if mine is None:
                return self._restore(request, given, task_vars)
            return self._propose(request, answers, given, mine, task_vars)
        except OSError as error:
            raise TetraError(f"{error.filename}: {error.strerror}", hint="nothing was left there; name a folder that "
                             "you may write to", code=REFUSED) from error

    def _propose(self, request: dict, answers: Mapping, given: Source, mine: Source, task_vars: dict) -> dict:
        environment = self.environments(task_vars)[request["env"]]
        found = _proposal(request, answers, given, mine, environment)
        folder = self._folder(request, task_vars)
        about = {"org": request["org"], "env": request["env"], "bundle": given.digest}
        if found.changes and not self._task.check_mode:
            proposal_folder.write(folder, mine, found, about)
        conflicts = [change.path for change in found.changes if change.conflict]
        outcome = transaction.PARTIAL if conflicts else transaction.APPLIED if found.changes else transaction.UNCHANGED
        Display().display(_table(found))
        text = "".join(proposal_folder.diff(mine.files, found.files, found.changes))
        result = run.ended(
            outcome, _message(request, found, folder, conflicts), self.result_file(task_vars), action="pull", **about,
            folder=os.fspath(folder) if found.changes else None, conflicts=conflicts,
            changes=[{"path": change.path, "from": list(change.origins), "conflict": change.conflict}
                     for change in found.changes],
            left=[{"host": one.host, "what": one.what, "why": one.why} for one in found.left],
            patch=text, diff=[{"prepared": text}] if self._task.diff else [],
        )  # fmt: skip
        return {**result, "changed": bool(found.changes)}

    def _folder(self, request: dict, task_vars: dict) -> Path:
        """Where the proposal is written.

        :raises TetraError: when there is something.
        """
        name = self.variable("tetra_pull_dir", task_vars) or f"pull-{request['org']}-{request['env']}"
        folder = Path(str(name)).expanduser().absolute()
        if os.path.lexists(folder):
            raise TetraError(f"{folder} is there already", hint="look at it, and accept or remove it; or name another "
                             "one with -e tetra_pull_dir=FOLDER", code=REFUSED)
        return folder

    def _restore(self, request: dict, given: Source, task_vars: dict) -> dict:
        place = self.free_place(request["org"], task_vars)
        if not self._task.check_mode:
            place.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(prefix=".restore-", dir=place.parent) as made:
                proposal_folder.write_tree(Path(made, request["org"]), given.files)
                if source.read(Path(made, request["org"])).digest != given.digest:
                    raise TetraError("what was written is not the bundle", hint="look at the disk, then run again")
                os.rename(Path(made, request["org"]), place)
        rows = [["FILE", "BYTES"], *([path, str(file.entry.get("size", "-"))] for path, file in given.files.items())]
        Display().display(f"{request['org']}, as {request['env']} was given it: {place}\n{table.table(rows)}")
        return run.ended(
            transaction.APPLIED, f"{request['org']} is in {place}, as bundle {listing.short(given.digest)} had it",
            self.result_file(task_vars), action="restore", org=request["org"], env=request["env"],
            bundle=given.digest, directory=os.fspath(place), files=sorted(given.files),
        )  # fmt: skip


def _check_agreed(answers: Mapping[str, Mapping[str, Any]]) -> None:
    told = {host: answer["current"] for host, answer in answers.items()}
    if len(set(told.values())) > 1:
        raise TetraError("the hosts do not run the same release: "
                         + ", ".join(f"{host}: {listing.short(digest)}" for host, digest in sorted(told.items())),
                         hint="bring them into line first, with playbooks/resume.yml", code=REFUSED)


def _manifest(answer: Mapping[str, Any], org: str, host: str) -> Mapping[str, Any]:
    manifest: Mapping[str, Any] = answer["manifest"]
    if manifest["org"] != org or release.digest(manifest) != answer["bundle"]:
        raise TetraError(f"the bundle that {host} gave is not the one that it runs, or not of {org}",
                         hint="nothing was written; look at the host", code=REFUSED)
    return manifest


def _reader(folder: str, mine: Source | None) -> Callable[[str], bytes]:
    """What gives the bytes of a file of the bundle: from the directory where it has them, else as they came."""
    here = {file.entry["sha256"]: file.read for file in (mine.files.values() if mine else ()) if file.read}

    def read(digest: str) -> bytes:
        if digest in here:
            return here[digest]()
        if not run_folder.blob(folder, digest).is_file():
            raise TetraError(f"file {digest[:12]} of the bundle did not come", hint="run again", code=REFUSED)
        return run_folder.blob(folder, digest).read_bytes()

    return read


def _proposal(
    request: dict, answers: Mapping[str, Mapping[str, Any]], given: Source, mine: Source,
    environment: policy.Environment,
) -> proposal.Proposal:  # fmt: skip
    aliases = request["aliases"]
    services = bundle.services(given, environment.name, aliases, environment.protected)
    ports = validation.ports(services, request["org"], environment, request["target_hosts"])
    made = validation.build(given, environment.name, services, ports).templates.origins
    starting = [name for name, service in services.services.items() if service.autostart]
    own = overlay.own_path(given, environment.name, aliases)
    found = [proposal.edits_of_files(answers, given, made),
             proposal.edits_of_settings(answers, given, own, starting)]
    told = [proposal.Left(host, one["what"], one["why"]) for host, answer in answers.items() for one in answer["left"]]
    earlier: dict[str, set[str]] = {}
    for answer in answers.values():
        for path, digests in answer["earlier"].items():
            earlier.setdefault(path, set()).update(digests)
    edits, left = ([one for part in found for one in part[index]] for index in (0, 1))
    return proposal.propose(given, earlier, mine, edits, [*told, *left])


def _message(request: dict, found: proposal.Proposal, folder: Path, conflicts: list[str]) -> str:
    env, org = request["env"], request["org"]
    if not found.changes:
        text = f"{env} runs what the directory of {org} says"
    elif conflicts:
        text = f"{', '.join(conflicts)} cannot be put together without a person; write there what shall be, then accept"
    else:
        text = f"{folder} has what {env} runs"
    how = f"\nlook at {folder}, then: playbooks/accept.yml -e tetra_org={org} -e tetra_pull_dir={folder}"
    left = [f"{one.host}: {one.what}: {one.why}" for one in found.left]
    return "\n".join([text + (how if found.changes else ""), *left])


def _table(found: proposal.Proposal) -> str:
    rows = [["FILE", "CHANGE", "FROM"],
            *([change.path, change.kind, ", ".join(change.origins)] for change in found.changes)]
    left = [["HOST", "NOT TAKEN OVER", "WHY"], *([one.host, one.what, one.why] for one in found.left)]
    return "\n\n".join([table.or_nothing(rows, "nothing to propose"), *([table.table(left)] if found.left else [])])
