# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The checker of histories finds what is wrong in hand-made ones, and nothing in those that can have been so."""

from __future__ import annotations

import dataclasses
import re

import pytest
from ansible_collections.tetra.platform.plugins.module_utils.model import journal

from .histories import KILLED, Change, History, Operation, Read, problems, unordered

HOSTS = {"dev": ["dev-1"], "prod": ["prod-1", "prod-2"]}


class Story:
    """A history that is written run by run; each takes two seconds and the next begins a second later."""

    def __init__(self) -> None:
        self.operations: list[Operation] = []
        self.journals: dict[str, list[dict]] = {host: [] for hosts in HOSTS.values() for host in hosts}
        self.reads: dict[str, list[Read]] = {host: [] for host in self.journals}
        self.runs: dict[str, str | None] = dict.fromkeys(self.journals)

    def run(self, action: str, env: str, to: str, outcome: str = "applied", ends: str = "confirmed", **hosts: str):
        """A run and what it left: ``hosts`` (``prod_1``) says how it ended on some, ``ends`` how on all others."""
        name, begin = f"{action} {len(self.operations)}", 3.0 * len(self.operations)
        told = {}
        for host in HOSTS[env]:
            end = hosts.get(host.replace("-", "_"), ends)
            if end in ("confirmed", "rolled_back"):
                self.write(host, name, to, end)
            told[host] = {"outcome": {"confirmed": "applied"}.get(end, end), "release": self.runs[host]}
        told = {} if outcome == KILLED else told
        self.operations.append(Operation(name, action, env, begin, begin + 2, outcome, told))
        self.look()
        return self

    def write(self, host: str, actor: str, to: str, outcome: str) -> None:
        """A record in the journal of a host, which goes to a release and may come back."""
        records = self.journals[host]
        payload = {"kind": "transaction", "transaction": actor, "actor": actor, "outcome": outcome, "heads": {},
                   "from": self.runs[host], "to": to, "bundle": to.partition("@")[0], "hosts": []}
        records.append(journal.append(records[-1] if records else None, payload))
        if outcome == "confirmed":
            self.runs[host] = to

    def look(self, **wrong: str | None) -> None:
        """Read all hosts after the last run; ``wrong`` (``prod_1``) is what was read instead."""
        begin = self.operations[-1].end + 0.5
        for host, value in self.runs.items():
            self.reads[host].append(Read(begin, begin + 0.1, wrong.get(host.replace("-", "_"), value)))

    def said(self, **changes: object):
        """Let the last run have said something else."""
        self.operations[-1] = dataclasses.replace(self.operations[-1], **changes)
        return self

    def told(self) -> History:
        """All of it."""
        return History(self.operations, HOSTS, self.journals, self.reads)


def begun() -> Story:
    """Two releases went through dev to prod."""
    story = Story()
    for bundle in ("a", "b"):
        story.run("push", "dev", f"{bundle}@dev").run("promote", "prod", f"{bundle}@prod")
    return story


def lost_record() -> Story:
    """A release was confirmed on a host, which forgot it and wrote its journal anew."""
    story = begun()
    story.journals["prod-2"] = []
    story.runs["prod-2"] = None
    story.write("prod-2", story.operations[1].name, "a@prod", "confirmed")
    story.look()
    return story


def read_too_late() -> Story:
    """A host still ran the old release after a run had said applied."""
    story = begun()
    story.look(prod_1="a@prod")
    story.look()
    return story


def read_too_early() -> Story:
    """A host ran a release before the run that brought it began."""
    story = begun()
    story.reads["prod-1"].insert(0, Read(0.5, 1.0, "b@prod"))
    return story


def out_of_order() -> Story:
    """Two releases changed their order between two looks at a host."""
    story = begun()
    story.reads["dev-1"][1:1] = [Read(4.0, 4.1, "b@dev"), Read(4.2, 4.3, "a@dev")]
    return story


def edited() -> Story:
    """A record was changed after it was written."""
    story = begun()
    story.journals["prod-1"][0]["reason"] = "edited"
    return story


def unknown_run() -> Story:
    """A release was confirmed by a run that nobody began."""
    story = begun()
    for host in HOSTS["prod"]:
        story.write(host, "nobody", "a@prod", "confirmed")
    story.look()
    return story


GOOD = {
    "nothing but runs that went well": begun,
    "one that was taken back": lambda: begun().run("push", "dev", "c@dev", "rolled_back", "rolled_back"),
    "one that was refused": lambda: begun().run("promote", "prod", "b@prod", "refused", "refused"),
    "a rollback": lambda: begun().run("rollback", "prod", "a@prod"),
    "hosts that differ after a partial run": lambda: begun().run("rollback", "prod", "a@prod", "partial",
                                                                 prod_2="rolled_back"),
    "hosts that differ after a killed run, and a resume": lambda: (
        begun().run("rollback", "prod", "a@prod", KILLED, prod_2="nothing")
        .run("resume", "prod", "a@prod", prod_1="unchanged")
    ),
    "a killed run of which nothing came": lambda: begun().run("rollback", "prod", "a@prod", KILLED, "nothing"),
}
BAD = {
    "a confirmed release was lost": (lost_record, "nothing, the host ran|said applied, and the journal has nothing"),
    "the old release after one that was applied": (read_too_late, "no order of the runs"),
    "the new release before its run": (read_too_early, "no order of the runs"),
    "two releases in the wrong order": (out_of_order, "no order of the runs"),
    "an edited journal": (edited, "cannot be trusted from record 1"),
    "a run that nobody began": (unknown_run, "that nobody began"),
    "refused, and yet confirmed": (
        lambda: begun().run("rollback", "prod", "a@prod").said(outcome="refused", hosts={}),
        "said refused, and the journal has it confirmed",
    ),
    "taken back, and yet confirmed": (
        lambda: begun().run("rollback", "prod", "a@prod").said(outcome="rolled_back", hosts={}),
        "said rolled_back, and the journal has",
    ),
    "applied, and yet taken back": (
        lambda: begun().run("rollback", "prod", "a@prod", prod_2="rolled_back").said(hosts={}),
        r"said applied, and the journal has \['rolled_back'\]",
    ),
    "mixed, and nobody said so": (
        lambda: begun().run("rollback", "prod", "a@prod", prod_2="nothing").said(hosts={}),
        "confirmed on prod-1 and not on prod-2",
    ),
    "a bundle that dev never had": (lambda: begun().run("promote", "prod", "c@prod"), "never confirmed in dev"),
    "a bundle that dev only tried": (
        lambda: (begun().run("push", "dev", "c@dev", "rolled_back", "rolled_back").run("promote", "prod", "c@prod")),
        "never confirmed in dev",
    ),
}


@pytest.mark.parametrize("name", GOOD)
def test_nothing_is_found_in_a_history_that_can_have_been_so(name):
    assert problems(GOOD[name]().told()) == []


@pytest.mark.parametrize("name", BAD)
def test_what_is_wrong_in_a_history_is_found(name):
    story, told = BAD[name]
    found = problems(story().told())
    assert any(re.search(told, problem.text) for problem in found), found


def change(name: str, begin: float, end: float, *values: str | None, ends=(1,)) -> Change:
    return Change(name, begin, end, values, ends)


@pytest.mark.parametrize(
    ("changes", "reads", "fits"),
    [
        ([change("x", 0, 1, None, "a")], [Read(2, 3, "a")], True),
        ([change("x", 0, 1, None, "a")], [Read(2, 3, None)], False),
        ([change("x", 0, 9, None, "a")], [Read(1, 2, "a"), Read(3, 4, "a")], True),
        ([change("x", 0, 9, None, "a")], [Read(1, 2, "a"), Read(3, 4, None)], False),
        # At the same time, either may be first; which one it was shows only in what follows.
        ([change("x", 0, 9, None, "a"), change("y", 0, 9, "a", "b")], [Read(1, 2, None), Read(10, 11, "b")], True),
        ([change("x", 0, 9, None, "a"), change("y", 0, 9, "a", "b")], [Read(10, 11, "a")], False),
        ([change("x", 0, 1, None, "a"), change("y", 2, 3, None, "b")], [], False),
        # There and back, seen or not; but not half of it, and not after its end.
        ([change("x", 0, 9, None, "a", None, ends=(0, 2))], [Read(1, 2, "a"), Read(3, 4, None)], True),
        ([change("x", 0, 9, None, "a", None, ends=(0, 2))], [Read(10, 11, None)], True),
        ([change("x", 0, 9, None, "a", None, ends=(0, 2))], [Read(10, 11, "a")], False),
        ([change("x", 0, 9, None, "a", None, ends=(0, 2))], [Read(10, 11, "a"), Read(12, 13, None)], False),
        # Of a run that was killed any end will do, and any time.
        ([change("x", 0, float("inf"), None, "a", None, ends=(0, 1, 2))], [Read(90, 91, "a")], True),
        ([change("x", 5, float("inf"), None, "a", None, ends=(0, 1, 2))], [Read(1, 2, "a")], False),
    ],
)  # fmt: skip
def test_an_order_is_found_exactly_when_there_is_one(changes, reads, fits):
    assert (unordered(changes, reads) == "") == fits
