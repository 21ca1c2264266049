# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The built collection: what is in it, and that it works where nothing but itself is installed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
PROGRAMS = Path(sys.executable).parent

# Everything that an installed collection has at its top. LICENSE and README.md are what galaxy.yml names.
TOP = {"FILES.json", "LICENSE", "MANIFEST.json", "README.md", "meta", "playbooks", "plugins", "roles"}
MODULES = [
    "health_check", "port_registry", "port_registry_info", "release", "release_info", "service_definition_info",
    "tsm_service", "tsm_service_info",
]  # fmt: skip
ROLES = ["org", "tsm"]
PLAYBOOKS = ["promote", "push", "rollback", "status"]


@pytest.fixture(scope="module")
def ansible(tmp_path_factory):
    """Runs a program of Ansible away from the clone, with collections from a folder that is empty at first."""
    folder = tmp_path_factory.mktemp("galaxy")
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("ANSIBLE_", "PYTHON"))}
    environment = {
        **kept,
        "ANSIBLE_COLLECTIONS_PATH": os.fspath(folder / "installed"),
        "ANSIBLE_LOCAL_TEMP": os.fspath(folder / "temporary"),
        "ANSIBLE_NOCOLOR": "1",
        "HOME": os.fspath(folder),
    }

    def run(program: str, *arguments: str | Path, cwd: Path = folder) -> str:
        command = [sys.executable, PROGRAMS / program, *arguments]
        done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run


@pytest.fixture(scope="module")
def archive(ansible, tmp_path_factory):
    """The file that ``ansible-galaxy collection build`` makes of the clone."""
    folder = tmp_path_factory.mktemp("built")
    ansible("ansible-galaxy", "collection", "build", ROOT, "--output-path", folder)
    (built,) = folder.glob("tetra-platform-*.tar.gz")
    return built


@pytest.fixture(scope="module")
def installed(ansible, archive):
    """The programs of Ansible after the archive was installed."""
    ansible("ansible-galaxy", "collection", "install", "--offline", archive)
    return ansible


def names(archive: Path) -> list[str]:
    """The paths of all files in the archive."""
    with tarfile.open(archive) as tar:
        return [member.name for member in tar.getmembers() if not member.isdir()]


def test_the_archive_has_what_is_needed_and_nothing_else(archive):
    assert {name.split("/")[0] for name in names(archive)} == TOP


def test_the_archive_has_no_file_that_a_run_left_behind(archive):
    assert [name for name in names(archive) if "__pycache__" in name or "/." in name or name.endswith(".pyc")] == []


def test_the_archive_has_every_file_of_the_plugins(archive):
    own = [path.relative_to(ROOT).as_posix() for path in (ROOT / "plugins").rglob("*.py")]
    assert set(own) <= set(names(archive))


def test_the_manifest_names_the_collection(archive):
    with tarfile.open(archive) as tar:
        info = json.load(tar.extractfile("MANIFEST.json"))["collection_info"]
    assert (info["namespace"], info["name"], info["dependencies"]) == ("tetra", "platform", {})


def test_every_module_of_the_installed_collection_is_documented(installed):
    listed = [f"tetra.platform.{module}" for module in MODULES]
    documents = json.loads(installed("ansible-doc", "--type", "module", "--json", *listed))
    assert [name for name in listed if not documents[name]["doc"]["short_description"]] == []


def test_every_role_of_the_installed_collection_is_documented(installed):
    listed = [f"tetra.platform.{role}" for role in ROLES]
    documents = json.loads(installed("ansible-doc", "--type", "role", "--json", *listed))
    assert sorted(documents) == listed


@pytest.mark.parametrize("playbook", PLAYBOOKS)
def test_a_playbook_of_the_installed_collection_is_found_by_its_name(installed, playbook):
    output = installed("ansible-playbook", "--syntax-check", "-i", "localhost,", f"tetra.platform.{playbook}")
    assert f"installed/ansible_collections/tetra/platform/playbooks/{playbook}.yml" in output
