# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads the directory of an organization into a bundle, and a bundle back into the same form.

What the directory holds is data from its authors: no link is followed while it is read, nothing in it is run, and only
what belongs to an organization goes into the bundle.
"""

from __future__ import annotations

import dataclasses
import os
import stat
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ansible_collections.tetra.platform.plugins.module_utils.model import canonical, pack, release, units
from ansible_collections.tetra.platform.plugins.module_utils.model.errors import (
    ERROR,
    REFUSED,
    Finding,
    TetraError,
    raise_on_errors,
)
from ansible_collections.tetra.platform.plugins.plugin_utils import toml_file
from ansible_collections.tetra.platform.plugins.plugin_utils.toml_file import TomlFile

FOLDERS = ("environments", "files", "services", "templates")
FILES = ("org.toml", "ports.toml")

# Left behind by tools beside the sources: they differ from clone to clone and would give equal sources other names.
_IGNORED = frozenset((".git", "__pycache__"))
_ORG_KEYS = ("name", "description", "placement", "once", "origin")


@dataclasses.dataclass(frozen=True)
class SourceFile:
    """One entry of a bundle as in ``model.release``; ``read`` gives the bytes of a file and is None for the others."""

    entry: dict[str, Any]
    read: Callable[[], bytes] | None = None


@dataclasses.dataclass(frozen=True)
class Organization:
    """What ``org.toml`` says: ``placement`` is service to names of hosts or groups, ``once`` lists services."""

    name: str
    description: str
    placement: Mapping[str, tuple[str, ...]]
    once: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Source:
    """The sources of an organization at one moment.

    ``files`` is path to file; ``manifest`` and ``digest`` are those of the bundle; ``complete`` says that every file
    can be read, which is not so for a bundle of which only the missing files travelled; ``findings`` are remarks.
    """

    org: Organization
    files: Mapping[str, SourceFile]
    manifest: dict[str, Any]
    digest: str
    complete: bool
    findings: tuple[Finding, ...]

    def data(self, path: str) -> bytes:
        """The bytes of a file.

        :raises TetraError: when the path is that of a folder or a link.
        """
        return _data(path, self.files[path])

    def text(self, path: str) -> str:
        """The text of a file.

        :raises TetraError: when it is not UTF-8.
        """
        return toml_file.decode(self.data(path), path)

    def paths(self, folder: str) -> list[str]:
        """The paths of the files below a folder, sorted."""
        return sorted(path for path, file in self.files.items() if path.startswith(f"{folder}/") and file.read)


def read(directory: Path) -> Source:
    """Read the directory of an organization.

    ``org.toml``, ``ports.toml`` and the folders ``services``, ``environments``, ``templates`` and ``files`` are taken;
    anything else at the top, and ``.git`` and ``__pycache__`` anywhere, is left out. Links are taken in ``files`` only.

    :raises TetraError: listing everything that cannot go into a bundle.
    """
    hint = "give the directory of an organization"
    if not os.path.isdir(directory):
        raise TetraError(f"{directory} is not a directory", hint=hint)
    if not any(os.path.lexists(directory / name) for name in ("org.toml", "services")):
        raise TetraError(f"{directory} has neither org.toml nor services/", hint=hint)
    walk = _Walk(directory)
    walk.all()
    findings = walk.findings + _link_findings({path: file.entry for path, file in walk.files.items()})
    org = _organization(walk.files, directory.resolve().name, findings)
    raise_on_errors(findings)
    manifest = release.bundle_manifest(org.name, {path: walk.files[path].entry for path in sorted(walk.files)})
    return _source(org, walk.files, manifest, True, findings)


def from_blobs(manifest: Mapping[str, Any], read: Callable[[str], bytes]) -> Source:
    """The source that a bundle was made of.

    :param manifest: of the bundle, as it came from a host.
    :param read: gives the bytes of a blob by its sha256. Bytes are checked against their name. Those of ``files`` are
        not asked for before somebody reads such a file.
    :raises TetraError: for a manifest or a blob that is not what it says.
    """
    release.check_manifest(manifest)
    if manifest["kind"] != "bundle":
        raise TetraError(f"a {manifest['kind']} came where a bundle was expected", hint="run again", code=REFUSED)
    entries = manifest["files"]
    files = {path: _from_blob(path, entry, read) for path, entry in entries.items()}
    findings = _link_findings(entries)
    org = _organization(files, manifest["org"], findings)
    raise_on_errors(findings)
    if org.name != manifest["org"]:
        raise TetraError(f"the bundle of {manifest['org']} has the sources of {org.name}", hint="push it again")
    return _source(org, files, dict(manifest), False, findings)


def _source(
    org: Organization,
    files: Mapping[str, SourceFile],
    manifest: dict[str, Any],
    complete: bool,
    findings: list[Finding],
) -> Source:
    release.check_manifest(manifest)
    return Source(org, files, manifest, release.digest(manifest), complete, tuple(findings))


def _from_blob(path: str, entry: dict[str, Any], read: Callable[[str], bytes]) -> SourceFile:
    if entry["type"] != "file":
        return SourceFile(dict(entry))
    return SourceFile(dict(entry), lambda: _verified(read(entry["sha256"]), entry["sha256"], path))


def _data(path: str, file: SourceFile) -> bytes:
    if file.read is None:
        raise TetraError(f"{path} is not a file", hint="make it one, and push again")
    return file.read()


def _verified(data: bytes, sha256: str, path: str) -> bytes:
    if canonical.sha256(data) != sha256:
        raise TetraError(f"{path}: its content is no longer what it was", hint="run again", code=REFUSED)
    return data


class _Walk:
    """Collects the entries of a directory without following a link, and what cannot be taken."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.files: dict[str, SourceFile] = {}
        self.findings: list[Finding] = []
        self.pending: list[str] = []

    def all(self) -> None:
        """Walk over everything that belongs to an organization."""
        for name in (*FOLDERS, *FILES):
            if os.path.lexists(self.directory / name):
                self._top(name)
        while self.pending:
            self._folder(self.pending.pop())
        if len(self.files) > release.MAX_FILES:
            self._object("", f"there are more than {release.MAX_FILES} files", "keep build output out of the org")

    def _top(self, name: str) -> None:
        mode = os.lstat(self.directory / name).st_mode
        if name in FOLDERS and not stat.S_ISDIR(mode):
            self._object(name, "is not a folder", "make it a folder, or remove it")
        elif name in FILES and not stat.S_ISREG(mode):
            self._object(name, "is not a regular file", "make it a file, or remove it")
        else:
            self._named(name)

    def _folder(self, path: str) -> None:
        try:
            names = sorted(name for name in os.listdir(self.directory / path) if name not in _IGNORED)
        except OSError as error:
            self._object(path, f"cannot be read: {error.strerror}", "make it readable for the user who pushes")
            return
        for name in names:
            # Once too many are known there is no need to read the rest, however many they are.
            if len(self.files) <= release.MAX_FILES:
                self._named(f"{path}/{name}")
        if not names and path.startswith("files/"):
            self.files[path] = SourceFile({"type": "dir"})

    def _named(self, path: str) -> None:
        try:
            release.check_path(path)
            self._entry(path, os.lstat(self.directory / path).st_mode)
        except TetraError as error:
            self.findings.append(Finding(ERROR, "path", error.message, hint=error.hint))
        except OSError as error:
            self._object(path, f"cannot be read: {error.strerror}", "make it readable for the user who pushes")

    def _entry(self, path: str, mode: int) -> None:
        if stat.S_ISDIR(mode):
            self.pending.append(path)
        elif stat.S_ISREG(mode):
            self.files[path] = _read_entry(self.directory / path, path)
        elif not stat.S_ISLNK(mode):
            self._object(path, f"is {_kind(mode)}", "only regular files, folders and links can be pushed")
        elif not path.startswith("files/"):
            self._object(path, "is a link", "links are taken in files/ only; put a copy of the file here")
        else:
            target = release.check_link(path, os.readlink(self.directory / path))
            self.files[path] = SourceFile({"type": "link", "target": target})

    def _object(self, path: str, message: str, hint: str) -> None:
        self.findings.append(Finding(ERROR, "source", f"{path} {message}".strip(), hint=hint))


def _kind(mode: int) -> str:
    names = {stat.S_IFIFO: "a named pipe", stat.S_IFSOCK: "a socket"}
    return names.get(stat.S_IFMT(mode), "a device")


def _read_entry(place: Path, path: str) -> SourceFile:
    data, mode = read_file(place, path)
    sha256 = canonical.sha256(data)
    # The owner's bit, as git keeps it.
    entry = {"type": "file", "sha256": sha256, "size": len(data), "executable": bool(mode & stat.S_IXUSR)}
    # Read again when needed, so that a large tree is not held in memory; what was changed meanwhile is noticed.
    return SourceFile(entry, lambda: _verified(read_file(place, path)[0], sha256, path))


def read_file(place: Path, path: str) -> tuple[bytes, int]:
    """The bytes and the mode of a regular file; a link or pipe put in its place is neither followed nor waited for."""
    try:
        descriptor = os.open(place, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        hint = "make it a file that the user who pushes can read"
        raise TetraError(f"{path}: cannot be read: {error.strerror}", hint=hint) from error
    with open(descriptor, "rb") as stream:
        mode = os.fstat(descriptor).st_mode
        if not stat.S_ISREG(mode):
            raise TetraError(f"{path}: is no longer a regular file", hint="run again", code=REFUSED)
        data = stream.read(pack.MAX_BLOB + 1)
    if len(data) > pack.MAX_BLOB:
        raise TetraError(f"{path}: is larger than {pack.MAX_BLOB} bytes", hint="keep large data out of the org")
    return data, mode


def _link_findings(entries: Mapping[str, Mapping[str, Any]]) -> list[Finding]:
    """What is wrong with links once other links are followed; a link alone was checked by ``release.check_link``."""
    folders = {path.rsplit("/", count)[0] for path in entries for count in range(1, path.count("/") + 1)}
    findings = []
    for path, entry in entries.items():
        problem = _link_problem(path, entries, folders) if entry["type"] == "link" else ""
        if problem:
            hint = "a link leads to a file or a folder below files/"
            findings.append(Finding(ERROR, "link", f"link {path} -> {entry['target']} {problem}", hint=hint))
    return findings


def _link_problem(path: str, entries: Mapping[str, Mapping[str, Any]], folders: set[str]) -> str:
    try:
        reached = release.follow(path, entries)
    except TetraError as error:
        return f"is refused: {error.message}"
    # A release has nothing else at the places that the sources have.
    if reached.partition("/")[0] != "files":
        return "leaves files/"
    return "" if reached in entries or reached in folders else "leads to nothing"


def _organization(files: Mapping[str, SourceFile], default_name: str, findings: list[Finding]) -> Organization:
    """What ``org.toml`` says; without that file the organization is called like its directory."""
    try:
        data = _data("org.toml", files["org.toml"]) if "org.toml" in files else b""
        file = toml_file.parse(data, "org.toml")
        name = _name(file, default_name)
    except TetraError as error:
        findings.append(Finding(ERROR, "invalid", error.message, hint=error.hint))
        return Organization("", "", {}, ())
    findings += file.unknown_keys(_ORG_KEYS)
    description = file.table.get("description", "")
    if not isinstance(description, str):
        findings.append(file.error(("description",), "description is not a text", 'write description = "..."'))
    table = dict(file.subtable("placement", findings))
    # In TOML a key that is written below [placement] belongs to it, which is where people write `once`, too.
    once = _names(file, ("once",), file.table.get("once", []), findings)
    once += _names(file, ("placement", "once"), table.pop("once", []), findings)
    placement = {service: _names(file, ("placement", service), where, findings) for service, where in table.items()}
    return Organization(name, str(description), placement, once)


def _name(file: TomlFile, default_name: str) -> str:
    written = file.table.get("name", default_name)
    try:
        return units.check_name("organization", written)
    except TetraError as error:
        place = f"org.toml:{file.line('name')}: " if "name" in file.table else "org.toml: name is not set, and "
        raise TetraError(f"{place}{error.message}", hint=f"{error.hint}; set name in org.toml") from error


def _names(file: TomlFile, keys: tuple[str, ...], value: object, findings: list[Finding]) -> tuple[str, ...]:
    names = [value] if isinstance(value, str) and keys[0] == "placement" and keys[-1] != "once" else value
    if isinstance(names, list) and all(isinstance(name, str) and name for name in names) and (names or "once" in keys):
        return tuple(names)
    key = ".".join(keys)
    findings.append(file.error(keys, f"{key} is not a list of names", f'write {keys[-1]} = ["name"]'))
    return ()
