# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The agent as bytes: this collection's host code as one zipapp, named by the digest of its sources."""

from __future__ import annotations

import functools
import io
import os
import zipfile
from pathlib import Path

from ansible_collections.tetra.platform.plugins.module_utils.model import canonical

_PACKAGE = "tetra_host"
_LAYERS = ("model", "host")
_OLDEST = (3, 9)
# Even a Python that knows nothing of today's syntax reads this much.
_START = f"""\
import sys

if sys.version_info < {_OLDEST}:
    sys.exit("tsm: this is Python " + sys.version.split()[0] + ", it takes {_OLDEST[0]}.{_OLDEST[1]} or a newer one; "
             "put that at /usr/bin/python3, or prepare the host anew")

from {_PACKAGE}.host.agent import main

sys.exit(main(sys.argv[1:]))
"""
_EPOCH = (1980, 1, 1, 0, 0, 0)


@functools.lru_cache(maxsize=1)
def sources() -> dict[str, bytes]:
    """The files of the host code by their path in the zipapp."""
    root = Path(__file__).resolve().parent.parent / "module_utils"
    files = {"__main__.py": _START.encode(), f"{_PACKAGE}/__init__.py": b""}
    for layer in _LAYERS:
        for folder, _folders, names in os.walk(root / layer):
            package = f"{_PACKAGE}/{os.path.relpath(folder, root)}"
            python = [name for name in names if name.endswith(".py")]
            files.update({f"{package}/{name}": Path(folder, name).read_bytes() for name in python})
            # Python does not find a package in a zip file by its folder alone.
            if python:
                files.setdefault(f"{package}/__init__.py", b"")
    return files


@functools.lru_cache(maxsize=1)
def version() -> str:
    """The digest that names this version of the agent: the same sources have the same one everywhere."""
    return canonical.digest({path: canonical.sha256(data) for path, data in sources().items()})


@functools.lru_cache(maxsize=1)
def zipapp() -> bytes:
    """The agent without its start, which names the Python of the host; equal sources give equal bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, data in sorted(sources().items()):
            archive.writestr(zipfile.ZipInfo(path, _EPOCH), data, zipfile.ZIP_DEFLATED)
    return buffer.getvalue()
