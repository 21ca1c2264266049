# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rows of the tables that tsm shows."""

from __future__ import annotations

import pytest
from ansible_collections.tetra.platform.plugins.module_utils.model import listing

RUNNING = {
    "id": 0, "org": "acme", "env": "dev", "name": "web", "state": "running", "running": True, "stopped": False,
    "pid": 7, "ports": {"main": 4100}, "release": "ab" * 32, "health": {"ok": True, "detail": "200"},
    "cpu_seconds": 1.25, "memory": 12 * 1024**2, "restarts": 0, "since": "2026-01-01T12:00:00Z", "url": "http://x:4100",
    "done": "restart",
}  # fmt: skip
STOPPED = {
    **RUNNING, "id": 1, "name": "worker", "state": "absent", "running": False, "stopped": True, "pid": None,
    "ports": {}, "health": {"ok": False, "detail": "the process is absent\nmore"}, "cpu_seconds": 0.0, "memory": 0,
    "restarts": None, "since": "", "url": "", "done": "stop",
}  # fmt: skip


def test_services_in_short():
    assert listing.services([RUNNING, STOPPED])[1:] == [
        ["0", "acme", "dev", "web", "running", "7", "4100", "abababababab"],
        ["1", "acme", "dev", "worker", "stopped by hand", "-", "-", "abababababab"],
    ]


def test_services_with_how_they_are():
    ended = {**STOPPED, "id": 2, "stopped": False}
    assert listing.health([RUNNING, STOPPED, ended])[1:] == [
        ["0", "acme/dev/web", "running", "ok", "1.2 s", "12 M", "0", "2026-01-01T12:00:00Z", "http://x:4100", ""],
        ["1", "acme/dev/worker", "stopped by hand", "-", "-", "-", "-", "-", "-", ""],
        ["2", "acme/dev/worker", "absent", "failed", "-", "-", "-", "-", "-", "the process is absent"],
    ]


def test_what_was_done():
    assert listing.changes([RUNNING])[1:] == [["0", "acme/dev/web", "restart", "running"]]


@pytest.mark.parametrize(
    ("listeners", "shown"),
    [
        ([], "nobody"),
        ([{"owner": None, "command": "nginx", "pid": 5}], "nginx (pid 5)"),
        ([{"owner": None, "command": "", "pid": None}], "a program (pid unknown)"),
        ([{"owner": "acme/dev/web", "command": "python3", "pid": 5}], "acme/dev/web: python3 (pid 5)"),
        ([{"owner": "acme/dev/web", "command": "p", "pid": 5, "unit": "u.service"}], "acme/dev/web: p (pid 5)"),
        ([{"owner": None, "command": "nginx", "pid": 5, "unit": "n.service"}], "nginx of n.service (pid 5)"),
        ([{"owner": None, "command": "", "pid": None, "container": "db"}], "container db"),
        ([{"owner": None, "command": "curl", "pid": 5, "state": "connection"}], "a connection of curl (pid 5)"),
    ],
)
def test_who_listens(listeners, shown):
    whole = [{"state": "listen", "unit": "", "container": "", **one} for one in listeners]
    row = {"port": 4100, "owner": "acme/dev", "service": "web", "listeners": whole}
    assert listing.ports([row])[1:] == [["4100", "acme/dev", "web", shown]]


@pytest.mark.parametrize(
    ("detail", "shown"), [("", "release 5"), ("web: it\ndied", "web: it"), ("x" * 99, "x" * 77 + "...")]
)
def test_history_shows_what_went_wrong_or_else_why(detail, shown):
    record = {"time": "T", "org": "acme", "env": "dev", "action": "push", "outcome": "confirmed", "actor": "eve",
              "release": None, "transaction": "ID", "detail": detail, "reason": "release 5"}
    assert listing.history([record])[1:] == [["T", "acme/dev", "push", "confirmed", "eve", "-", "ID", shown]]


@pytest.mark.parametrize(
    ("count", "shown"),
    [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 K"), (10 * 1024, "10 K"), (1536 * 1024, "1.5 M"),
     (5 * 1024**4, "5120 G")],
)  # fmt: skip
def test_sizes(count, shown):
    assert listing.size(count) == shown


def test_every_row_has_the_columns_of_its_heading():
    for rows in (listing.services([STOPPED]), listing.health([STOPPED]), listing.changes([STOPPED])):
        assert {len(row) for row in rows} == {len(rows[0])}
