# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""From what the hosts run and what is wanted to the plan of the run, once for all hosts."""

from __future__ import annotations

from ansible_collections.tetra.platform.plugins.module_utils.model import listing, plan, release_text, transaction
from ansible_collections.tetra.platform.plugins.plugin_utils import (
    forms,
    plan_file,
    planning,
    registered,
    run,
    run_folder,
)
from ansible_collections.tetra.platform.plugins.plugin_utils.controller import ControllerAction
from ansible_collections.tetra.platform.plugins.plugin_utils.planning import Answers

_OF_THE_REQUEST = ("action", "org", "env", "source")


class ActionModule(ControllerAction):
    """Make the plan, and lay ready on the controller what the hosts lack."""

    def work(self, task_vars: dict) -> dict:
        """The plan with all that the next tasks send; see the documentation of the module."""
        request = self._task.args["request"]
        answers = planning.checked(
            registered.answers(self._templar, task_vars, request, self._task.args.get("origin", ""))
        )
        goal = planning.goal(request, answers)
        if not request["terms"]["lift_hold"]:
            plan.check_movable(answers.observed, goal.desired.bundle)
        record = plan.plan(answers.observed, goal.desired)
        self._held_against_files(record, goal, task_vars)
        common = {
            "plan": record,
            "plan_id": plan.plan_id(record),
            "moving": sorted(host for batch in record["batches"] for host in batch),
            "findings": [finding.to_wire() for finding in goal.findings],
        }
        shown = {
            "warnings": [forms.shown(str(finding)) for finding in goal.findings],
            "diff": _diff(record, goal, answers, request["release"] or "previous") if self._task.diff else {},
        }
        if plan.unchanged(record) or self._task.check_mode:
            return {**self._not_run(request, common, task_vars), **shown}
        missing = {name: goal.missing(host["blobs"]) for name, host in answers.observed.items()}
        laid = {
            **common,
            "manifest": goal.manifest,
            "bundle_manifest": goal.bundle_manifest,
            "placement": goal.desired.placement,
            "missing": missing,
            "heads": {name: host["head"] for name, host in answers.observed.items()},
            "staged": {name: host["staged"] for name, host in answers.observed.items()},
            "terms": request["terms"],
        }
        blobs = {digest: goal.reader(digest) for digests in missing.values() for digest in digests}
        return {"changed": False, **common, **shown, "folder": run_folder.make(laid, blobs)}

    def _held_against_files(self, record: dict, goal: planning.Goal, task_vars: dict) -> None:
        """Keep the plan where the user wants it, and see to it that it is the one that the user has."""
        approved, wanted = self.variable("tetra_plan", task_vars), self.variable("tetra_plan_file", task_vars)
        if approved:
            plan_file.check(str(approved), record, goal.bundle_manifest)
        if wanted:
            plan_file.write(str(wanted), record, goal.bundle_manifest)

    def failed_details(self, task_vars: dict) -> dict:
        """Which request it was, and that no host was moved."""
        request = self._task.args["request"]
        return {key: request[key] for key in _OF_THE_REQUEST} | {"hosts": {}, "moving": []}

    def _not_run(self, request: dict, common: dict, task_vars: dict) -> dict:
        record = common["plan"]
        same = plan.unchanged(record)
        text = "nothing to do" if same else f"check mode, nothing was done:\n{plan.summary(record).rstrip()}"
        hosts = {name: {"outcome": transaction.UNCHANGED, "release": host["from"]}
                 for name, host in record["hosts"].items()}
        details = {key: request[key] for key in _OF_THE_REQUEST}
        result = run.ended(
            transaction.UNCHANGED, text, self.result_file(task_vars), **details, **common, hosts=hosts,
            bundle=record["bundle"], release=record["release"],
        )
        return {**result, "changed": not same}


def _diff(record: dict, goal: planning.Goal, answers: Answers, back: str) -> list[dict]:
    """The plan in full: what each host does, and for each release that runs now, how the new one differs from it.

    :param back: the word for the release that a rollback goes to.
    """
    diffs = [{"before": _before(answers), "after": plan.summary(record),
              "before_header": "what the hosts run", "after_header": "what they would do"}]
    same: dict = {}
    for name, host in sorted(answers.observed.items()):
        same.setdefault(host["current"], []).append(name)
    for current, names in same.items():
        manifests = answers.observed[names[0]].get("manifests") or {}
        before, after = release_text.describe(manifests.get("current"), goal.manifest or manifests.get(back))
        diffs.append({"before": before, "after": after,
                      "before_header": f"release {listing.short(current)} on {', '.join(names)}",
                      "after_header": f"release {listing.short(record['release'])}"})
    return diffs


def _before(answers: Answers) -> str:
    lines = [f"{name}: {listing.short(host['current'])}" for name, host in sorted(answers.observed.items())]
    return "\n".join(lines) + "\n"
