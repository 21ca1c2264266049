# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What happened to an environment, for a person: the journals of all hosts as one, and whether they can be trusted."""

from __future__ import annotations

from ansible.utils.display import Display
from ansible_collections.tetra.platform.plugins.module_utils.model import history, listing, table, transaction
from ansible_collections.tetra.platform.plugins.plugin_utils import run
from ansible_collections.tetra.platform.plugins.plugin_utils.controller import ControllerAction


class ActionModule(ControllerAction):
    """Print the merged history; a journal that cannot be trusted, or a host that does not answer, is a failure."""

    def work(self, task_vars: dict) -> dict:
        """The entries and the doubts; see the documentation of the module."""
        request = self._task.args["request"]
        answers = {name: task_vars["hostvars"][name].get("tetra_journal") or {} for name in request["target_hosts"]}
        journals = {name: _journal(answer) for name, answer in answers.items() if _is_journal(answer)}
        silent = [f"{name}: {answer.get('msg', 'the host did not answer')}" for name, answer in answers.items()
                  if name not in journals]
        entries = history.entries(journals)
        doubts = history.doubts(journals)
        lines = int(self._task.args.get("lines") or 0)
        Display().display("\n".join([_table(entries[-lines:]), *map(table.printable, (*map(str, doubts), *silent))]))
        return run.ended(
            _outcome(doubts, silent), "\n".join([*map(str, doubts), *silent]) or f"{len(entries)} entries",
            self.result_file(task_vars), action="history", org=request["org"], env=request["env"], entries=entries,
            doubts=[{"host": doubt.host, "seq": doubt.seq, "reason": doubt.reason} for doubt in doubts],
            hosts={name: {"records": len(said.records)} for name, said in journals.items()},
        )  # fmt: skip


def _is_journal(answer: dict) -> bool:
    return isinstance(answer.get("records"), list)


def _journal(answer: dict) -> history.Journal:
    current = str(answer["current"]) if answer.get("current") else None
    return history.Journal(answer["records"], answer.get("damage"), current, bool(answer.get("open")))


def _outcome(doubts: list, silent: list) -> str:
    if doubts:
        return transaction.REFUSED
    return transaction.UNCONFIRMED if silent else transaction.UNCHANGED


def _table(entries: list[dict]) -> str:
    rows = [["TIME", "ACTION", "OUTCOME", "ACTOR", "FROM", "TO", "SECONDS", "HOSTS", "REASON"]]
    for entry in entries:
        if "transaction" not in entry:
            action = entry["kind"].replace("_", " ")
            rows.append([entry["time"], action, "-", entry["actor"], "-", "-", "-", entry["host"], entry["reason"]])
            continue
        origin, target = ", ".join(map(listing.short, entry["from"])), listing.short(entry["to"])
        rows.append([entry["time"], entry["action"], entry["outcome"], entry["actor"], origin, target,
                     f"{entry['seconds']:.1f}", _hosts(entry), listing.line(entry["detail"] or entry["reason"])])
    return table.table(rows) if entries else "nothing has happened yet"


def _hosts(entry: dict) -> str:
    """The hosts; where they did not end alike, each with how it did."""
    if len(set(entry["hosts"].values())) == 1:
        return ", ".join(entry["hosts"])
    return ", ".join(f"{host} {outcome}" for host, outcome in entry["hosts"].items())
