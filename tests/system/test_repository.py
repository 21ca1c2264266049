# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""examples/repository as a team has it: away from the clone, with the built collection installed beside it."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from .conftest import ROOT, get

NETWORK = 77
PORT = 4500


class Repository:
    """A copy of the example with the collection, a home of its own and loopback addresses of its own."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "repository"
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("ANSIBLE_", "PYTHON"))}
        self.environment = {**kept, "HOME": os.fspath(folder), "ANSIBLE_INJECT_FACT_VARS": "false"}
        shutil.copytree(ROOT / "examples" / "repository", self.root,
                        ignore=shutil.ignore_patterns(".state", "ansible_collections"))
        for name in ("hosts.yml", "group_vars/all.yml"):
            file = self.root / "inventory" / name
            file.write_text(file.read_text().replace("127.0.2.", f"127.0.{NETWORK}."))

    def install(self, folder: Path) -> None:
        """Build the collection and install it; then what the repository asks for is there, or this fails."""
        self.run("ansible-galaxy", "collection", "build", ROOT, "--output-path", folder)
        (archive,) = folder.glob("*.tar.gz")
        place = ("--offline", "-p", "collections")
        self.run("ansible-galaxy", "collection", "install", *place, archive)
        self.run("ansible-galaxy", "collection", "install", *place, "-r", "collections/requirements.yml")

    def run(self, program: str, *arguments: str | Path) -> str:
        """What a program of Ansible says that is run in the repository."""
        command = [Path(sys.executable).with_name(program), *arguments]
        done = subprocess.run(command, cwd=self.root, env=self.environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    def play(self, name: str, *options: str) -> str:
        """What a playbook says."""
        return self.run("ansible-playbook", name, *options)

    def files(self) -> dict[Path, int]:
        """Every file of the repository and of its hosts with its time of change, without what was installed."""
        found = (path for path in self.root.rglob("*") if "ansible_collections" not in path.parts)
        return {path: path.lstat().st_mtime_ns for path in found}


@pytest.fixture(scope="module")
def repository(tmp_path_factory) -> Iterator[Repository]:
    folder = tmp_path_factory.mktemp("foreign")
    made = Repository(folder)
    made.install(folder)
    yield made
    made.play("tetra.platform.prepare", "-e", "tsm_state=stopped")


def changed(output: str) -> int:
    """How many tasks changed something, by the recap of a run."""
    return sum(map(int, re.findall(r"changed=(\d+)", output)))


def test_check_mode_tells_what_would_be_done_and_writes_nothing(repository):
    before = repository.files()
    output = repository.play("site.yml", "--check", "--diff")
    assert repository.files() == before
    assert changed(output) == 5, "two hosts, their ports, and a definition"
    assert '+export TSM_CWD="${TETRA_RELEASE_DIR}/files/web"' in output
    assert "+metrics = 9100" in output


def test_what_another_system_left_runs_as_a_service(repository):
    assert changed(repository.play("site.yml")) == 5
    assert "push shop dev: applied" in repository.play("push.yml", "-e", "tetra_env=dev")
    assert "Welcome to the shop" in get(f"http://127.0.{NETWORK}.1:{PORT}/")[1]


def checks(root: Path) -> list[list[str]]:
    """The steps of both examples of a check in git, as far as they are Ansible's own."""
    gitlab = yaml.safe_load((root / ".gitlab-ci.yml").read_text())["validate"]["script"]
    steps = yaml.safe_load((root / ".github/workflows/validate.yml").read_text())["jobs"]["validate"]["steps"]
    github = [step["run"] for step in steps if "run" in step]
    assert gitlab == github
    return [shlex.split(line) for line in gitlab if line.startswith("ansible-")]


def test_a_check_of_every_change_in_git_passes_and_fails_with_the_place(repository):
    _install, validate = checks(repository.root)
    repository.run(*validate)
    result = repository.root / "validate.json"
    assert json.loads(result.read_text())["outcome"] == "unchanged"
    wrong = repository.root / "orgs" / "shop" / "services" / "wrong.tsm"
    wrong.write_text("TSM_COMMAND=$(id)\n")
    with pytest.raises(AssertionError, match=r"services/wrong\.tsm:1:13"):
        repository.run(*validate)
    assert json.loads(result.read_text())["outcome"] == "invalid"
    for path in (wrong, result):
        path.unlink()


def test_the_second_run_changes_nothing_and_tells_about_hosts(repository):
    with socket.create_server((f"127.0.{NETWORK}.9", 5432)):
        output = repository.play("site.yml")
    assert changed(output) == 0
    assert output.count("missing: []") == 2
    assert f"- http://127.0.{NETWORK}.1:{PORT}" in output
    assert sorted(map(len, re.findall(r"release: (none|[0-9a-f]{64})$", output, re.MULTILINE))) == [4, 64]
