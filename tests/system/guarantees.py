#!/usr/bin/env python
# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The table of the guarantees: how often each was put to the test by the last run of the system tests, and held.

A test counts by its marker ``guarantee("F08")``, once for each of its cases; one that tries many things in a loop calls
:func:`tell` instead. Run as a program it prints the table, and fails unless every row was tried and always held.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path

_NOTES = Path(__file__).resolve().parent.parent.parent / ".cache" / "guarantees.jsonl"

ROWS: Mapping[str, str] = {
    "K1": "a run on a host is killed at a call that changes a file; supervisord",
    "K2": "the same; systemd",
    "K3": "the same; releases that nobody needs are removed",
    "D1": "the disk refuses a call that changes a file; supervisord",
    "D2": "the same; systemd",
    "D3": "the same; releases that nobody needs are removed",
    "O1": "files are synced before what points to them, the journal before the answer",
    "C1": "the controller is killed, ended or interrupted between two tasks",
    "C2": "a controller that stood still goes on after others did",
    "R1": "confirmation and expiry race for one transaction",
    "M1": "random histories of three hosts and a lossy channel, in the model",
    "M2": "the same kinds of events on hosts",
    "N1": "clients push, promote, roll back and confirm under a nemesis; the history is checked",
    "P1": "the network breaks right after a switch: the host is safe within its lease and 10 s",
    "V1": "promotions, good and broken, while clients ask each service ten times a second",
    "F08": "a damaged state file",
    "F09": "a journal that ends in the middle of a record",
    "F10": "clocks that jump or differ",
    "F11": "a host restarts during a transaction",
    "F12": "a host cannot be reached before, during, after a switch",
    "F13": "the network heals just before or after the lease ends",
    "F14": "a confirmation whose answer is lost",
    "F16": "one slow host in a batch",
    "F17": "a lock whose holder died, whose file is gone",
    "F18": "two promotions at once, of one environment and of two that follow each other",
    "F19": "a run that stood still goes on after another ended",
    "F20": "a port that somebody takes between check and bind",
    "F21": "health end points that hang, lie, die, redirect, flap or send without end",
    "F22": "services that start slowly, crash, fork away or ignore the signal to end",
    "F23": "the way back fails, too",
    "F27": "a secret that is missing or changes in the middle of a promotion",
    "F28": "memory, descriptors or /proc are missing on the host",
    "A01": "template text in every value of an organization",
    "A02": "template text in names, comments, logs and results",
    "A03": "control, bidi and zero-width characters, broken template tags",
    "A04": "templates that reach for Python or never end",
    "A05": "definitions with commands for a shell",
    "A06": "commands with prefixes, specifiers and separators of systemd",
    "A07": "environment values that end a line of a unit; names that rule a process",
    "A08": "services with reserved, wrong or equal names",
    "A09": "links, devices and paths out of the organization",
    "A10": "folders of the host prepared by a local user",
    "A11": "archives that write outside, and packs that lie",
    "A12": "files that are too large, too deep or repeat a key",
    "A13": "binary, UTF-16 and truncated files",
    "A14": "sources that are options or other protocols",
    "A15": "answers of a hostile host",
    "A19": "files that change between plan, staging and switch",
    "A20": "journals that were edited, cut or replaced",
    "A21": "ways for a secret to get out",
    "A23": "port registries with impossible numbers",
    "A25": "health checks that reach elsewhere or send without end",
    "A29": "a way back to a release that is not for going back to",
}  # fmt: skip
"""What is put to the test: id and what happens. F and A are faults and attacks, counted by case."""

UNTESTED: Mapping[str, str] = {
    "a restart without a gap": "a service ends before its successor begins, which only a socket that outlives both "
    "could mend; V1 tells how long that is, and how long the program itself takes to start",
    "loss of power": "a container has none; the order of the calls that sync is looked at instead (O1)",
    "TPM 2.0": "there is no such device, and no use of one yet",
    "faults of kernel modules": "they would reach the machine that runs the tests",
    "archives (A11)": "none is read anywhere; what travels is a pack, whose form is attacked",
    "sources in git (A14)": "there are none; the names and folders that are asked for are attacked",
    "facts of hosts (A15)": "none are gathered; modules without an action of ours (service_definition, "
    "service_definition_info) answer to Ansible itself",
    "a host that never ends its answer (A15)": "Ansible waits for it as for any command; its lease takes hosts back",
}
"""What is not put to the test, and why."""


def tell(row: str, tried: int, held: int, figures: str = "") -> None:
    """Add to a row of the table.

    :param row: an id of ``ROWS``.
    :param figures: what else was measured, as text for the last column.
    """
    if row not in ROWS:
        raise ValueError(f"there is no row {row} in the table of guarantees")
    _NOTES.parent.mkdir(exist_ok=True)
    with _NOTES.open("a") as file:
        file.write(json.dumps([row, tried, held, figures]) + "\n")


def forget() -> None:
    """Begin anew."""
    _NOTES.unlink(missing_ok=True)


def table() -> tuple[str, bool]:
    """The table, and whether every row was tried and always held."""
    told = [json.loads(line) for line in _NOTES.read_text().splitlines()] if _NOTES.exists() else []
    lines, good = [f"{'':4} {'tried':>6} {'held':>6}  what"], True
    for row, what in ROWS.items():
        mine = [entry for entry in told if entry[0] == row]
        tried, held = (sum(entry[column] for entry in mine) for column in (1, 2))
        good = good and 0 < tried == held
        figures = "; ".join(entry[3] for entry in mine if entry[3])
        mark = "" if tried == held else "  <- BROKEN"
        lines.append(f"{row:4} {tried or 'NOT':>6} {held:>6}  {what}{': ' if figures else ''}{figures}{mark}")
    lines += [f"{'':4} {'not tested':>13}  {what}: {why}" for what, why in UNTESTED.items()]
    return "\n".join(lines), good


if __name__ == "__main__":
    _text, _good = table()
    print(_text)
    sys.exit(0 if _good else 1)
