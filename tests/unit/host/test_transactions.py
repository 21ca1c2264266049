# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Transactions as files."""

from __future__ import annotations

import os

import pytest
from ansible_collections.tetra.platform.plugins.module_utils.host import durable, processes, transactions
from ansible_collections.tetra.platform.plugins.module_utils.host.layout import Home

IDENTITY = "20260101t120000-0123abcd"


@pytest.fixture
def environment(tmp_path):
    found = Home(os.fspath(tmp_path)).environment("acme", "dev")
    found.prepare()
    return found


def test_a_deadman_signs_although_somebody_removes_what_is_half_written(environment, monkeypatch):
    left = [3]
    rename = os.rename

    def swept(old, new):
        if left[0]:
            left[0] -= 1
            environment.sweep()
        rename(old, new)

    monkeypatch.setattr(os, "rename", swept)
    transactions.sign(environment, IDENTITY, transactions.WATCHER)
    assert left == [0]
    assert transactions.signed(environment, IDENTITY, transactions.WATCHER) == processes.identity(os.getpid())
    assert [name for name in os.listdir(environment.tx) if name.startswith(durable.TEMPORARY)] == []


def test_who_cannot_sign_at_all_says_so(environment):
    os.rmdir(environment.tx)
    with pytest.raises(FileNotFoundError):
        transactions.sign(environment, IDENTITY, transactions.WATCHER)
