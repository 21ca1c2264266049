# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The newest ansible-core that requirements.txt allows, on the Python of Debian 13: a host that is its own controller.

All other tests run on the ansible-core of .venv. The table of the versions is printed after the last test.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import containers
import pytest
import versions
import wheels

from .conftest import ROOT, copy_example

PYTHON = "3.13"
PACKAGES = ROOT / ".cache" / f"packages{PYTHON.replace('.', '')}"
HOST = "newest"
ENVIRONMENT = (
    "HOME=/root LANG=C.UTF-8 PYTHONPATH=/opt/ansible ANSIBLE_COLLECTIONS_PATH=/opt/collections ANSIBLE_NOCOLOR=1 "
    "ANSIBLE_DEPRECATION_WARNINGS=1 ANSIBLE_INJECT_FACT_VARS=0"
)
_SHARED = {
    "ansible_connection": "local", "ansible_python_interpreter": "{{ ansible_playbook_python }}",
    "tetra_org": "acme", "tetra_orgs_dir": "/opt/orgs", "tetra_address": "127.0.0.1",
    "tetra_secrets": {"API_TOKEN": "a token"},
    "tetra_environments": {"dev": {"port_range": "4100-4199"},
                           "staging": {"promotes_from": "dev", "port_range": "4200-4299"}},
}  # fmt: skip
_GROUPS = {env: {"hosts": {HOST: None}} for env in ("dev", "staging")}


@pytest.fixture(scope="module")
def host(tmp_path_factory) -> Iterator[containers.Host]:
    """A host with ansible-core, the collection as it was installed there, an organization and an inventory."""
    folder = tmp_path_factory.mktemp("newest")
    running = containers.Hosts(folder / "hosts")
    try:
        made = running.up({HOST: "trixie"})[HOST]
        furnish(made, folder)
        yield made
    finally:
        running.down()


def furnish(host: containers.Host, folder: Path) -> None:
    """Bring along what a controller needs."""
    requirements = (ROOT / "requirements.txt").read_text().splitlines()
    wheels.install(PACKAGES, PYTHON, [line for line in requirements if line.startswith("ansible-core")])
    things = folder / "things"
    copy_example(things / "orgs" / "acme")
    (things / "inventory.json").write_text(json.dumps({"all": {"vars": _SHARED, "children": _GROUPS}}))
    galaxy = [Path(sys.executable).with_name("ansible-galaxy"), "collection", "build", ROOT, "--output-path", things]
    subprocess.run(galaxy, check=True, capture_output=True)
    copy(host, things, "/opt")
    copy(host, PACKAGES, "/opt/ansible")
    ansible(host, "galaxy collection install --offline -p /opt/collections /opt/tetra-platform-*.tar.gz")


def copy(host: containers.Host, folder: Path, place: str) -> None:
    """Copy what is in a folder."""
    subprocess.run(["docker", "cp", "--quiet", f"{folder}/.", f"{host.container}:{place}"], check=True)


def ansible(host: containers.Host, command: str) -> str:
    """What a program of ansible-core says."""
    return host.run(f"cd /opt && {ENVIRONMENT} python3 -m ansible {command}")


def play(host: containers.Host, name: str) -> str:
    """What a playbook of the installed collection says, with its words; it has to end well."""
    return ansible(host, f"playbook -i inventory.json tetra.platform.{name}")


@pytest.fixture(scope="module")
def outputs(host) -> dict[str, str]:
    """What playbooks say, by name; there are two pushes, so that there is something to go back to."""
    found = {
        "prepare": play(host, "prepare"),
        "push": play(host, "push -e tetra_env=dev"),
        "promote": play(host, "promote -e tetra_from=dev -e tetra_to=staging"),
    }
    host.run("echo '# changed' >> /opt/orgs/acme/files/api/server.py")
    found["second push"] = play(host, "push -e tetra_env=dev")
    found["rollback"] = play(host, "rollback -e tetra_env=dev")
    core, python = host.run(
        "PYTHONPATH=/opt/ansible python3 -c 'import ansible, sys; print(ansible.__version__, sys.version.split()[0])'"
    ).split()
    versions.note("trixie, systemd, local", host.python(), core, python)
    return found


def test_a_release_is_promoted_and_taken_back(outputs):
    assert "push acme dev: applied" in outputs["push"]
    assert "promote acme staging: applied" in outputs["promote"]
    assert "push acme dev: applied" in outputs["second push"]
    assert "rollback acme dev: applied" in outputs["rollback"]


def test_nothing_that_we_use_is_deprecated(outputs):
    assert "PLAY RECAP" in outputs["prepare"]
    assert [output for output in outputs.values() if "DEPRECAT" in output or "[WARNING]" in output] == []
