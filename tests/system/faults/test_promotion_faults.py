# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Promotions of which one host cannot go back, or whose secrets fail in the middle: whole runs on a fleet."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from ansible_collections.tetra.platform.plugins.module_utils.model import transaction

NETWORK = 85
API = 4200
STAGING = ("staging-1", "staging-2")
QUICK = {"tetra_probe_passes": 1}
# It destroys on one host what could be gone back to, and ends.
WRECK = """\
import os, pathlib, sys
if os.environ["TETRA_ENV"] == "staging" and os.environ["HOST"].endswith(".3"):
    own = pathlib.Path(os.environ["TETRA_RELEASE_DIR"])
    for tree in own.parent.iterdir():
        if tree.is_dir() and tree.name != own.name:
            (tree / "files" / "api" / "server.py").write_text("")
    for blob in (own.parent.parent / "blobs").iterdir():
        if b"http" in blob.read_bytes():
            blob.write_bytes(b"wrecked")
if os.environ["TETRA_ENV"] == "staging":
    sys.exit(3)
"""


@pytest.mark.guarantee("F23")
def test_a_fleet_of_which_one_host_cannot_go_back_says_so_and_the_next_promotion_ends_it(promoted):
    before = {name: host["current"] for name, host in promoted.status("staging").items()}
    server = promoted.org / "files" / "api" / "server.py"
    server.write_text(WRECK + server.read_text().replace("from __future__ import annotations\n", ""))
    assert promoted.push(**QUICK).outcome == "applied"
    run = promoted.promote(**QUICK)
    assert run.outcome == "rollback_failed", run.output
    assert run.code != 0
    assert transaction.EXIT_CODES[run.outcome] == 14
    ends = {name: run.result["hosts"][name]["outcome"] for name in STAGING}
    assert ends == {"staging-1": "rolled_back", "staging-2": "rollback_failed"}
    assert "going back failed" in run.output
    assert promoted.ask("staging-1", API)[0] == 200
    assert Path(run.result["hosts"]["staging-2"]["evidence"]).is_dir()
    assert promoted.promote(**QUICK).outcome == "refused", "the bundle is on hold"
    promoted.restore()
    promoted.touch("something better")
    assert promoted.push(**QUICK).outcome == "applied"
    good = promoted.promote(**QUICK)
    if good.outcome == "refused":
        # What was wrecked is found when it is needed, and sent by the next run.
        good = promoted.promote(**QUICK)
    assert good.outcome == "applied", good.output
    after = {name: host["current"] for name, host in promoted.status("staging").items()}
    assert len(set(after.values())) == 1
    assert after != before
    assert all(promoted.ask(name, API)[0] == 200 for name in STAGING)


class Provider:
    """A program that gives a secret, counts how often it was asked, and may fail or give another each time."""

    def __init__(self, folder: Path) -> None:
        self._count = folder / "count"
        self._rule = folder / "rule"
        self.program = folder / "provider"
        self.program.write_text(
            f"#!/bin/sh\necho >> {self._count}\nasked=$(wc -l < {self._count})\n. {self._rule}\necho $secret\n"
        )
        self.program.chmod(0o755)
        self.rule("secret=steady")

    def rule(self, text: str) -> None:
        """Begin to count anew, with a rule that sets ``secret``, by how often it was ``asked``."""
        self._count.write_text("")
        self._rule.write_text(f"{text}\n")

    def asked(self) -> int:
        return len(self._count.read_text().splitlines())


def running(fleet) -> dict:
    """What each staging host runs, and with which processes."""
    return {name: (host["current"], {key: one["pid"] for key, one in host["services"].items()})
            for name, host in fleet.status("staging").items()}  # fmt: skip


@pytest.mark.guarantee("F27")
def test_a_provider_that_fails_or_changes_its_mind_in_the_middle_of_a_promotion_moves_nothing(promoted, tmp_path):
    provider = Provider(tmp_path)
    plain = promoted.secrets
    given = {"API_TOKEN": f"{{{{ lookup('pipe', '{os.fspath(provider.program)}') }}}}"}
    promoted.touch("with a provider")
    assert promoted.push(**QUICK).outcome == "applied"
    promoted.secrets = given
    assert promoted.promote(**QUICK).outcome == "applied"
    most = provider.asked()
    assert most >= 2 * len(STAGING), "once to plan and once to stage, for each host"
    promoted.secrets = plain
    promoted.touch("while the provider is ill")
    assert promoted.push(**QUICK).outcome == "applied"
    promoted.secrets = given
    before = running(promoted)
    for rule in (f'[ "$asked" -lt {most} ] || exit 7; secret=steady', "secret=turn-$asked"):
        provider.rule(rule)
        run = promoted.promote(**QUICK)
        assert run.outcome in ("refused", "invalid"), run.output
        assert run.code != 0
        assert provider.asked() >= most
        provider.rule("secret=steady")
        assert running(promoted) == before
    promoted.secrets = {}
    run = promoted.promote(**QUICK)
    assert run.outcome == "invalid", run.output
    assert "API_TOKEN" in run.output
    promoted.secrets = given
    assert promoted.promote(**QUICK).outcome == "applied"
    promoted.secrets = plain
