# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""pyinfra, from PyPI, in an environment of its own; what it does is in pyinfra_deploy.py."""

from __future__ import annotations

import sys
from pathlib import Path

from case import Case
from programs import ROOT, run
from workload import PLACE, PROGRAM, UNIT_PREFIX

_REQUIREMENTS = Path(__file__).with_name("requirements.txt")
_VENV = ROOT / ".cache" / "benchmark" / "venv"
_PROGRAM = _VENV / "bin" / "pyinfra"


def prepare(case: Case) -> None:
    """Install pyinfra where it is not there yet, and write the inventory."""
    install()
    data = {
        "ssh_user": "root", "ssh_strict_host_key_checking": "no", "ssh_known_hosts_file": "/dev/null",
        "services": case.load.names, "program": PROGRAM, "source": str(case.load.files), "place": PLACE,
        "prefix": UNIT_PREFIX, "unit": str(case.folder / "unit.j2"),
    }  # fmt: skip
    hosts = [(host.address, {**data, "ssh_key": str(host.key)}) for host in case.hosts]
    (case.folder / "inventory.py").write_text(f"hosts = {hosts!r}\n")


def push(case: Case) -> None:
    """Carry out the deploy on all hosts."""
    run([_PROGRAM, "--yes", case.folder / "inventory.py", Path(__file__).with_name("pyinfra_deploy.py")])


def install() -> str:
    """Make the environment unless it is there; which version of pyinfra it has."""
    installed = _VENV / "installed"
    wanted = f"{_VENV}\n{_REQUIREMENTS.read_text()}"
    if not installed.exists() or installed.read_text() != wanted:
        run([sys.executable, "-m", "venv", "--clear", _VENV])
        run([_VENV / "bin" / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r",
             _REQUIREMENTS])
        installed.write_text(wanted)
    return run([_PROGRAM, "--version"]).split()[-1].lstrip("v")
