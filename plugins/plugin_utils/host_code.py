# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The agent as bytes: this collection's host code as one zipapp, named by the digest of its sources."""

from __future__ import annotations

import functools
import io
import zipfile
from pathlib import Path, PurePosixPath

from ansible_collections.tetra.platform.plugins.module_utils.model import canonical

_PACKAGE = "tetra_host"
_LAYERS = ("model", "host")
_START = f"import sys\n\nfrom {_PACKAGE}.host.agent import main\n\nsys.exit(main(sys.argv[1:]))\n"
_EPOCH = (1980, 1, 1, 0, 0, 0)


@functools.lru_cache(maxsize=1)
def sources() -> dict[str, bytes]:
    """The files of the host code by their path in the zipapp."""
    root = Path(__file__).resolve().parent.parent / "module_utils"
    files = {"__main__.py": _START.encode()}
    for layer in _LAYERS:
        for path in sorted((root / layer).rglob("*.py")):
            files[f"{_PACKAGE}/{path.relative_to(root).as_posix()}"] = path.read_bytes()
    # Python does not find a package in a zip file by its folder alone.
    packages = {parent.as_posix() for path in files for parent in PurePosixPath(path).parents if parent.name}
    files.update({f"{package}/__init__.py": b"" for package in packages})
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
