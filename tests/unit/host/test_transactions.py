# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Transactions as files, without a host."""

from __future__ import annotations

import os
from pathlib import Path

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
