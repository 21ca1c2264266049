# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Transactions as files, without a host."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from ansible_collections.tetra.platform.plugins.module_utils.host import durable, transactions
from ansible_collections.tetra.platform.plugins.module_utils.host.layout import Home

IDENTITY = "20260101t120000-0123abcd"


def test_the_state_of_an_old_transaction_goes_after_all_that_lies_beside_it(tmp_path, monkeypatch):
    environment = Home(os.fspath(tmp_path)).environment("acme", "dev")
    environment.prepare()
    for kind in ("confirmed", "lease", "proven", "watcher", "decision", "holder"):
        Path(environment.tx, f"{IDENTITY}.{kind}").write_text("")
    removed: list[str] = []
    monkeypatch.setattr(durable, "remove", removed.append)
    transactions.prune(environment, [IDENTITY])
    assert len(removed) == 6
    assert removed[-1].endswith(".confirmed")


@pytest.mark.parametrize(
    "seen",
    [
        [["probing"], ["probing"]],
        [[], ["rolling_back"], ["rolling_back"]],
        [["probing"], [], ["rolling_back"], ["rolling_back"]],
        [["probing", "rolling_back"], ["rolling_back"], ["rolling_back"]],
    ],
)
def test_a_transaction_that_is_renamed_while_its_folder_is_read_is_not_overlooked(tmp_path, monkeypatch, seen):
    environment = Home(os.fspath(tmp_path)).environment("acme", "dev")
    environment.prepare()
    listings = iter([[f"{IDENTITY}.{state}" for state in states] for states in seen])
    monkeypatch.setattr(transactions.os, "listdir", lambda _folder: next(listings))
    assert transactions.states(environment) == {IDENTITY: seen[-1][0]}
