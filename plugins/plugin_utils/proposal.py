# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an environment really runs, put together with the files of its organization, for a person to look at.

Three things are compared: the bundle that the environment was given, what the hosts made of it by hand, and what the
organization's directory is by now. Where only one side changed something, that is taken; where both did, both are kept
between marks.
"""

from __future__ import annotations

import base64
import dataclasses
import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

from ansible_collections.tetra.platform.plugins.module_utils.model import canonical, listing, release, values
from ansible_collections.tetra.platform.plugins.module_utils.model.errors import REFUSED, TetraError
from ansible_collections.tetra.platform.plugins.module_utils.model.toml_edit import Editor
from ansible_collections.tetra.platform.plugins.plugin_utils import merge, overlay, toml_file
from ansible_collections.tetra.platform.plugins.plugin_utils.source import Source, SourceFile

OURS = "organization"
"""What a mark calls the side of the organization's directory."""

_MOST_FILES = 1000
_MOST_TEXT = 1024 * 1024
_AUTOSTART = "TSM_AUTOSTART"

File = SourceFile | None


@dataclasses.dataclass(frozen=True)
class Edit:
    """What some hosts made of a file: ``before`` is what they were given, ``after`` what they have; None is nothing."""

    path: str
    before: File
    after: File
    hosts: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Change:
    """A file that would change: its entries before and after, where that comes from, and whether it has marks."""

    path: str
    before: Mapping[str, Any] | None
    after: Mapping[str, Any] | None
    origins: tuple[str, ...]
    conflict: bool

    @property
    def kind(self) -> str:
        """What happens to the file, in one word."""
        if self.conflict:
            return "conflict"
        return "new" if self.before is None else "removed" if self.after is None else "changed"


@dataclasses.dataclass(frozen=True)
class Left:
    """Something that was done by hand and has no place in the files of an organization."""

    host: str
    what: str
    why: str


@dataclasses.dataclass(frozen=True)
class Proposal:
    """``files`` are all files of the organization as they would be."""

    files: Mapping[str, SourceFile]
    changes: tuple[Change, ...]
    left: tuple[Left, ...]


def propose(bundle: Source, earlier: Mapping[str, Collection[str]], mine: Source, edits: Iterable[Edit],
            left: Iterable[Left]) -> Proposal:  # fmt: skip
    """Put the three sides together.

    :param bundle: what the environment was given.
    :param earlier: path to the digests of entries that it had in bundles before that one, "" for none: a file that is
        like that in the directory was not changed there, it is only old.
    :param mine: the organization's directory.
    """
    files: dict[str, SourceFile] = dict(mine.files)
    origins: dict[str, list[str]] = {}
    clashes: set[str] = set()
    for path in sorted({*bundle.files, *mine.files}):
        if _digest(files.get(path)) in earlier.get(path, ()) and _differ(files.get(path), bundle.files.get(path)):
            _put(files, path, bundle.files.get(path))
            origins.setdefault(path, []).append(f"bundle {listing.short(bundle.digest)}")
    for edit in edits:
        file, clash = _together(edit, files.get(edit.path))
        _put(files, edit.path, file)
        origins.setdefault(edit.path, []).extend(edit.hosts)
        clashes.update([edit.path] if clash else [])
    changes = [
        Change(path, _entry(mine.files.get(path)), _entry(files.get(path)), tuple(origins[path]), path in clashes)
        for path in sorted(origins) if _differ(files.get(path), mine.files.get(path))
    ]  # fmt: skip
    release.check_manifest(release.bundle_manifest(bundle.org.name, {path: file.entry for path, file in files.items()}))
    return Proposal(dict(sorted(files.items())), tuple(changes), tuple(left))


def edits_of_files(
    answers: Mapping[str, Mapping[str, Any]], bundle: Source, templates: Mapping[str, str]
) -> tuple[list[Edit], list[Left]]:
    """What hosts made of the files of a release.

    :param answers: host to its answer to ``deploy_edits``.
    :param templates: path in the release to the template that it was made from.
    :raises TetraError: for an answer that no honest host gives.
    """
    found: dict[tuple[str, str], list[str]] = {}
    edits: dict[tuple[str, str], Edit] = {}
    left: list[Left] = []
    for host, answer in sorted(answers.items()):
        if len(answer["files"]) > _MOST_FILES:
            raise TetraError(f"{host} tells of {len(answer['files'])} edited files, at most {_MOST_FILES} are taken",
                             hint="look at the host", code=REFUSED)
        for record in answer["files"]:
            try:
                edit = _edit(record, bundle, templates)
            except TetraError as error:
                left.append(Left(host, repr(record["path"])[1:-1], error.message))
                continue
            key = (edit.path, _digest(edit.after))
            found.setdefault(key, []).append(host)
            edits[key] = edit
    return [dataclasses.replace(edits[key], hosts=tuple(hosts)) for key, hosts in found.items()], left


def edits_of_settings(
    answers: Mapping[str, Mapping[str, Any]], bundle: Source, path: str, started: Collection[str]
) -> tuple[list[Edit], list[Left]]:
    """What hosts made of units and variables, as edits of the file with an environment's values.

    :param path: that file, which may not be there.
    :param started: the services that start by themselves as their definitions say.
    """
    hosts: dict[str, list[str]] = {}
    left: list[Left] = []
    for host, answer in sorted(answers.items()):
        settings, odd = _settings(host, answer["settings"])
        left += odd
        for name in sorted(set(answer["stopped"]) & set(started)):
            settings.setdefault(name, {})[_AUTOSTART] = "false"
        left += [Left(host, f"service {name}", "it was stopped, but not with tsm: the next push starts it")
                 for name, remembered in sorted(answer["stopped"].items()) if not remembered]
        if settings:
            hosts.setdefault(json.dumps(settings, sort_keys=True), []).append(host)
    before = bundle.files.get(path)
    edits = []
    for text, names in hosts.items():
        try:
            after = _with_settings(before.read().decode() if before and before.read else "", path, json.loads(text))
            edits.append(Edit(path, before, _file(after.encode(), False), tuple(names)))
        except TetraError as error:
            left += [Left(name, path, error.message) for name in names]
    return edits, left


def _settings(host: str, told: Mapping[str, Mapping[str, str]]) -> tuple[dict[str, dict[str, str]], list[Left]]:
    """What a host tells of its services, without what is no key or no text of one line."""
    settings: dict[str, dict[str, str]] = {}
    left = []
    for service, keys in told.items():
        for key, value in keys.items():
            if values.VARIABLE.fullmatch(key) and value.isprintable() and len(value) <= _MOST_TEXT:
                settings.setdefault(service, {})[key] = value
            else:
                left.append(Left(host, f"service {service}", "it has a variable that no file can hold"))
    return settings, left


def _edit(record: Mapping[str, Any], bundle: Source, templates: Mapping[str, str]) -> Edit:
    path, after = release.check_path(record["path"]), _after(record)
    if path.startswith("files/"):
        return Edit(path, bundle.files.get(path), after, ())
    if path not in templates:
        raise TetraError("no file of the organization becomes this one")
    if after is None or after.read is None:
        raise TetraError(f"it was made from {templates[path]}, and is gone or a link")
    return Edit(templates[path], _file(_decoded(record["before"] or ""), False), after, ())


def _after(record: Mapping[str, Any]) -> File:
    entry = record["entry"]
    if entry is None:
        return None
    if entry["type"] == "link":
        return SourceFile({"type": "link", "target": release.check_link(record["path"], entry["target"])})
    return _file(_decoded(record["data"] or ""), bool(entry["executable"]))


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except ValueError as error:
        raise TetraError("what came is not base64") from error


def _file(data: bytes, executable: bool) -> SourceFile:
    entry = {"type": "file", "sha256": canonical.sha256(data), "size": len(data), "executable": executable}
    return SourceFile(entry, lambda: data)


def _with_settings(text: str, path: str, settings: Mapping[str, Mapping[str, str]]) -> str:
    """The file of an environment with keys and variables of services set."""
    table = toml_file.parse(text.encode(), path).table.get("services", {})
    known = table if isinstance(table, dict) else {}
    editor = Editor(text, path)
    for service, keys in settings.items():
        written = next((name for name in known if overlay.service_name(name) == service), service)
        own = known.get(written, {})
        for key, value in keys.items():
            short = key.removeprefix("TSM_")
            name = key if isinstance(own, dict) and key in own else short
            editor.set(("services", written, name), json.dumps(value, ensure_ascii=False))
    return editor.result()


def _together(edit: Edit, ours: File) -> tuple[File, bool]:
    """A file with what was changed on both sides, and whether it has marks."""
    if not _differ(edit.after, ours) or not _differ(edit.after, edit.before):
        return ours, False
    if not _differ(ours, edit.before):
        return edit.after, False
    names = (OURS, ", ".join(edit.hosts))
    base, mine, other = map(_text, (edit.before, ours, edit.after))
    if mine is None or other is None:
        mine, other = (f"({_told(one)})\n" for one in (ours, edit.after))
    text, clash = merge.merge(base or "", mine, other, names)
    return _file(text.encode(), any(bool(one and one.entry.get("executable")) for one in (ours, edit.after))), clash


def _text(file: File) -> str | None:
    """What can be merged line by line; None for what cannot. What is not there is an empty text."""
    if file is None:
        return ""
    if file.read is None or file.entry["size"] > _MOST_TEXT:
        return None
    data = file.read()
    try:
        return None if b"\0" in data else data.decode()
    except UnicodeDecodeError:
        return None


def _told(file: File) -> str:
    if file is None:
        return "nothing"
    entry = file.entry
    return f"a link to {entry['target']}" if entry["type"] == "link" else f"sha256 {entry.get('sha256', 'of a folder')}"


def _put(files: dict[str, SourceFile], path: str, file: File) -> None:
    if file is None:
        files.pop(path, None)
    else:
        files[path] = file


def _entry(file: File) -> dict[str, Any] | None:
    return file.entry if file else None


def _differ(one: File, other: File) -> bool:
    return _entry(one) != _entry(other)


def _digest(file: File) -> str:
    return canonical.digest(file.entry) if file else ""


def marked(data: bytes) -> int:
    """The first line of a file that is a mark; 0 where there is none."""
    signs = (f"{merge.BEGIN} ".encode(), f"{merge.END} ".encode(), f"{merge.MIDDLE}\n".encode())
    lines = data.splitlines(keepends=True)
    return next((number for number, line in enumerate(lines, 1) if line.startswith(signs)), 0)


def portions(sizes: Mapping[str, int], most: int) -> Iterator[Sequence[tuple[str, int, int]]]:
    """Files in portions that are asked for at once.

    :param sizes: sha256 to size in bytes.
    :param most: how many bytes a portion may have.
    :returns: lists of sha256, offset and length.
    """
    portion: list[tuple[str, int, int]] = []
    room = most
    for sha256, size in sorted(sizes.items()):
        offset = 0
        while offset < size:
            length = min(size - offset, room)
            portion.append((sha256, offset, length))
            offset, room = offset + length, room - length
            if not room:
                yield portion
                portion, room = [], most
    if portion:
        yield portion
