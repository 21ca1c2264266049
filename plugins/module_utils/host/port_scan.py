# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The files of this host in which ports are sought: read, never followed by link, never run."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator

from ..model.errors import REFUSED, TetraError
from ..model.ports import discovery as ports_discovery

_MOST_FILES = 10_000
_DEEPEST = 12
_LEFT_OUT = frozenset({".git", "node_modules", "__pycache__", ".venv", "venv", "site-packages"})


def needs(paths: Iterable[str]) -> list[ports_discovery.Need]:
    """The ports that files need.

    :param paths: of files, and of folders whose files are read as deep as they go; what begins with a dot only where it
        is named, and links in folders not at all.
    :raises TetraError: for a path that is not there, cannot be read, or has more files than anybody would look through.
    """
    found = []
    for count, path in enumerate(_files(paths)):
        if count >= _MOST_FILES:
            raise TetraError(f"there are more than {_MOST_FILES} files", hint="name the files or smaller folders",
                             code=REFUSED)
        found += ports_discovery.in_text(_text(path), path)
    return found


def _files(paths: Iterable[str]) -> Iterator[str]:
    for path in paths:
        if not os.path.exists(path):
            raise TetraError(f"there is no file or folder {path}", hint="give paths that are on this host")
        if not os.path.isdir(path):
            yield path
            continue
        for folder, folders, names in os.walk(path):
            deep = folder[len(path) :].count("/") >= _DEEPEST
            folders[:] = [] if deep else sorted(name for name in folders if name not in _LEFT_OUT)
            candidates = (os.path.join(folder, name) for name in sorted(names))
            yield from (one for one in candidates if stat.S_ISREG(os.lstat(one).st_mode))


def _text(path: str) -> str:
    """The beginning of a file; what is no text there is replaced."""
    try:
        # A pipe or a device would be waited for, or never end.
        if not stat.S_ISREG(os.stat(path).st_mode):
            return ""
        with open(path, "rb") as file:
            return file.read(ports_discovery.MAXIMUM_TEXT).decode("utf-8", "replace")
    except OSError as error:
        raise TetraError(f"{path} cannot be read: {error.strerror}", hint="run it as somebody who may read it",
                         code=REFUSED) from error
