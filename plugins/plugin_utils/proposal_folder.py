# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The folder that a proposal is looked at in, and how it becomes the organization's directory.

It has the merged tree under the organization's name, ``changes.diff``, and ``proposal.json`` with what the directory
was when it was made. Nothing is written over: the folder is new, and a file of the directory is replaced only while it
is what it was then.
"""

from __future__ import annotations

import difflib
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ansible_collections.tetra.platform.plugins.module_utils.model import canonical, table
from ansible_collections.tetra.platform.plugins.module_utils.model.errors import REFUSED, TetraError
from ansible_collections.tetra.platform.plugins.plugin_utils import proposal, source
from ansible_collections.tetra.platform.plugins.plugin_utils.proposal import Change
from ansible_collections.tetra.platform.plugins.plugin_utils.source import Source, SourceFile

FORMAT = 1
_RECORD, _DIFF = "proposal.json", "changes.diff"
_KEYS = {"format": int, "org": str, "env": str, "bundle": str, "before": dict, "conflicts": list}
_MOST_SHOWN = 1024 * 1024


def write(folder: Path, mine: Source, found: proposal.Proposal, about: Mapping[str, str]) -> None:
    """Make the folder of a proposal; it appears as a whole.

    :param mine: the organization's directory as it is.
    :param about: ``org``, ``env`` and ``bundle``.
    """
    record = {
        "format": FORMAT, **about, "before": {path: file.entry for path, file in mine.files.items()},
        "conflicts": [change.path for change in found.changes if change.conflict],
    }  # fmt: skip
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".pull-", dir=folder.parent) as made:
        place = Path(made, "proposal")
        place.mkdir()
        write_tree(place / about["org"], found.files)
        (place / _DIFF).write_text("".join(diff(mine.files, found.files, found.changes)), encoding="utf-8")
        (place / _RECORD).write_text(canonical.dumps(record) + "\n", encoding="ascii")
        os.rename(place, folder)


def write_tree(folder: Path, files: Mapping[str, SourceFile]) -> None:
    """Write files into a new folder; what lies in the way, as a link does that leads elsewhere, ends it."""
    folder.mkdir()
    for path, file in files.items():
        _write(folder / path, file)


def read(folder: Path, org: str) -> tuple[dict[str, Any], Source]:
    """The record of a proposal, and its tree as a person left it.

    :raises TetraError: when the folder is no proposal for the organization, or marks are left in it.
    """
    try:
        record = json.loads((folder / _RECORD).read_text(encoding="ascii"))
    except (OSError, ValueError) as error:
        raise TetraError(f"{folder} is no proposal of playbooks/pull.yml: {_RECORD} cannot be read",
                         hint="name the folder that it has made with -e tetra_pull_dir=FOLDER") from error
    told = record if isinstance(record, dict) else {}
    wrong = [key for key, kind in _KEYS.items() if not isinstance(told.get(key), kind)]
    if wrong or record["format"] is True or record["format"] != FORMAT:
        raise TetraError(f"{folder / _RECORD} is not what playbooks/pull.yml writes", hint="pull again")
    if record["org"] != org:
        raise TetraError(f"{folder} is a proposal for {record['org']}, not for {org}", hint="name the other folder")
    tree = source.read(folder / org)
    left = [f"{path}:{line}" for path in record["conflicts"] if path in tree.files and tree.files[path].read
            for line in [proposal.marked(tree.data(path))] if line]
    if left:
        raise TetraError(f"marks are left where both sides changed something: {', '.join(left)}",
                         hint=f"write into the files of {folder / org} what shall be, without marks", code=REFUSED)
    return record, tree


def accepted(record: Mapping[str, Any], tree: Source, mine: Source) -> dict[str, SourceFile | None]:
    """What accepting a proposal changes in a directory: path to the file that comes, None for one that goes.

    :raises TetraError: code ``refused`` when the directory was changed since in the same places.
    """
    before = record["before"]
    wanted = {path: file.entry for path, file in tree.files.items()}
    changed = [path for path in sorted({*before, *wanted}) if before.get(path) != wanted.get(path)]
    now = {path: file.entry for path, file in mine.files.items()}
    moved = [path for path in changed if now.get(path) not in (before.get(path), wanted.get(path))]
    if moved:
        raise TetraError(f"changed in the directory since the proposal was made: {', '.join(moved)}",
                         hint="pull again, so that nothing of it is lost", code=REFUSED)
    return {path: tree.files.get(path) for path in changed if now.get(path) != wanted.get(path)}


def apply(directory: Path, changes: Mapping[str, SourceFile | None]) -> None:
    """Bring a directory to what was accepted; each file is the old or the new one, and a second run goes on.

    What comes is written before anything goes.
    """
    for path, file in changes.items():
        if file:
            _write(directory / path, file)
    for path in [path for path, file in changes.items() if file is None]:
        (directory / path).unlink(missing_ok=True)
        for parent in (directory / path).parents:
            if parent == directory or any(parent.iterdir()):
                break
            parent.rmdir()


def diff(
    before: Mapping[str, SourceFile], after: Mapping[str, SourceFile], changes: tuple[Change, ...]
) -> Iterator[str]:
    """The changes as a patch, without what a terminal would obey."""
    for change in changes:
        old, new = _lines(before.get(change.path)), _lines(after.get(change.path))
        names = ("/dev/null" if change.before is None else f"a/{change.path}",
                 "/dev/null" if change.after is None else f"b/{change.path}")
        if old is None or new is None:
            yield f"Files {names[0]} and {names[1]} differ\n"
            continue
        for line in difflib.unified_diff(old, new, *names):
            yield line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n"


def _lines(file: SourceFile | None) -> list[str] | None:
    """The lines of a text; None for what is none."""
    if file is None:
        return []
    if file.entry["type"] == "link":
        return [f"link to {file.entry['target']}\n"]
    data = file.read() if file.read and file.entry["size"] <= _MOST_SHOWN else b"\0"
    try:
        lines = data.decode().splitlines(keepends=True)
    except UnicodeDecodeError:
        return None
    return None if b"\0" in data else list(map(_printable, lines))


def _printable(line: str) -> str:
    text = line.rstrip("\n")
    return "\t".join(map(table.printable, text.split("\t"))) + line[len(text):]


def _write(place: Path, file: SourceFile) -> None:
    """Put an entry in its place by a rename; a folder that it lies in is never one that a link leads to."""
    _make_folders(place.parent)
    if file.entry["type"] == "dir":
        place.mkdir(exist_ok=True)
        return
    temporary = place.with_name(f".{place.name}.{os.getpid()}"[-200:])
    if file.entry["type"] == "link":
        os.symlink(file.entry["target"], temporary)
    else:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW,
                             0o777 if file.entry["executable"] else 0o666)
        with open(descriptor, "wb") as stream:
            stream.write(file.read() if file.read else b"")
    os.replace(temporary, place)


def _make_folders(folder: Path) -> None:
    if folder.is_symlink():
        raise TetraError(f"{folder} is a link", hint="links are taken in files/ only, and nothing is written over them")
    if not folder.is_dir():
        _make_folders(folder.parent)
        folder.mkdir()
