# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Packages of Debian that the tests need on this machine."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping


def ensure(programs: Mapping[str, str], purpose: str) -> None:
    """Install what brings programs that are not there.

    :param programs: name of a program to the package that it is in.
    :param purpose: who needs them, for the message.
    :raises SystemExit: saying what is missing and cannot be had.
    """
    missing = [package for program, package in programs.items() if not shutil.which(program)]
    if not missing:
        return
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        sys.exit(f"{purpose}: the packages {', '.join(missing)} are missing; to install them needs root and apt")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    subprocess.run(["apt-get", "update", "-qq"], check=True, env=environment)
    command = ["apt-get", "install", "-qq", "-y", "--no-install-recommends", *missing]
    subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL)
