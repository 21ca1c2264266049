# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a person does first: make demo in a clone that lies deep in a folder with a blank, with a home of their own."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from .conftest import ROOT, command_lines, get

NETWORK = 75
LENGTH = 150
LEFT_OUT = (
    ".git", ".venv", ".cache", ".collections", ".demo", ".hypothesis", ".mypy_cache", ".pytest_cache", ".ruff_cache",
)  # fmt: skip


class Clone:
    """A copy of this tree without anything that was made in it, and a home without caches."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.root = folder / f"a blank {'x' * max(1, LENGTH - len(os.fspath(folder)) - 9)}"
        shutil.copytree(ROOT, self.root, symlinks=True, ignore=shutil.ignore_patterns(*LEFT_OUT))
        hosts = self.root / "inventories" / "demo" / "hosts.yml"
        # A demo that already runs on this machine goes on in peace.
        hosts.write_text(hosts.read_text().replace("127.0.1.", f"127.0.{NETWORK}."))
        self.home = folder / "home"
        self.home.mkdir()

    def run(self, *command: str) -> subprocess.CompletedProcess:
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("ANSIBLE_", "VIRTUAL_ENV"))}
        return subprocess.run(command, cwd=self.root, env={**kept, "HOME": os.fspath(self.home)}, capture_output=True,
                              text=True, check=False, stdin=subprocess.DEVNULL)


@pytest.fixture(scope="module")
def clone(tmp_path_factory) -> Iterator[Clone]:
    made = Clone(tmp_path_factory.mktemp("clone"))
    yield made
    made.run("make", "demo-down")


@pytest.fixture(scope="module")
def shown(clone) -> str:
    """What the demo printed."""
    done = clone.run("make", "demo")
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def processes_of(clone: Clone) -> list[list[str]]:
    """The command lines of processes that belong to a clone."""
    return [words for words in command_lines().values() if any(os.fspath(clone.root) in word for word in words)]


def test_the_demo_prints_addresses_that_answer_with_release_and_environment(clone, shown):
    assert len(os.fspath(clone.root)) >= LENGTH
    assert " " in os.fspath(clone.root)
    rows = re.findall(r"^(staging-\d) +api +running +([0-9a-f]{12}) +(http://\S+)$", shown, re.MULTILINE)
    assert [row[0] for row in rows] == ["staging-1", "staging-2"]
    for _host, release, url in rows:
        page = json.loads(get(url)[1])
        assert page["env"] == "staging"
        assert page["release"].startswith(release)
    print("\n".join(line for line in shown.splitlines() if "after" in line))


def test_after_demo_down_nothing_is_left(clone, shown):
    assert processes_of(clone)
    done = clone.run("make", "demo-down")
    assert done.returncode == 0, done.stdout + done.stderr
    assert not processes_of(clone)
    assert not (clone.root / ".demo").exists()
