# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""How playbooks are run: with the settings of this repository, over connections that last as long as the run."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from hosts import Host, containers
from programs import run


def inventory(path: Path, groups: dict[str, list[Host]], variables: dict) -> Path:
    """Write an inventory of groups; the variables are for all of it."""
    connection = {"ansible_user": "root", "ansible_python_interpreter": "/usr/bin/python3",
                  "ansible_ssh_common_args": containers.SSH_OPTIONS}
    children = {
        name: {"hosts": {host.name: {"ansible_host": host.address, "ansible_ssh_private_key_file": str(host.key)}
                         for host in members}}
        for name, members in groups.items()
    }
    # Localhost is no host of ours, and keeps the connection that Ansible gives it.
    bench = {"children": children, "vars": connection}
    path.write_text(json.dumps({"all": {"children": {"bench": bench}, "vars": variables}}, indent=1))
    return path


def play(playbook: Path, inventory_file: Path, variables: dict) -> None:
    """Run a playbook to its end; no connection is open before, and none stays."""
    program = Path(sys.executable).with_name("ansible-playbook")
    with tempfile.TemporaryDirectory(prefix="cp-") as connections:
        try:
            run([program, "-i", inventory_file, playbook, "-e", json.dumps(variables)],
                {"ANSIBLE_SSH_CONTROL_PATH_DIR": connections})
        finally:
            for shared in Path(connections).iterdir():
                command = ["ssh", "-O", "exit", "-o", f"ControlPath={shared}", "any"]
                subprocess.run(command, capture_output=True, check=False)
