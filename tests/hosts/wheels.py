# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Packages from PyPI for a Python that is not the one that runs pip."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path


def install(target: Path, python: str, requirements: Sequence[str]) -> None:
    """Put packages into a folder, unless it is there.

    :param python: version of the Python that will import them, as 3.9.
    """
    if target.exists():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    options = ["--only-binary=:all:", "--python-version", python]
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
        wheels, packages = Path(scratch, "wheels"), Path(scratch, "packages")
        # Only a download heeds which Python a package says it is for; an install asks the Python that runs it.
        subprocess.run([*pip, "download", *options, "--dest", wheels, *requirements], check=True)
        options += ["--no-index", "--no-deps", "--ignore-requires-python"]
        files = sorted(wheels.glob("*.whl"))
        subprocess.run([*pip, "install", *options, "--target", packages, *files], check=True)
        packages.rename(target)
