# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Manifests: what a bundle and a release consist of, what a path in them may be, and the names made from them."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping

from . import canonical, pack, values
from .errors import TetraError

FORMAT = 1
MAX_FILES = 10_000
MAX_TOTAL = 4 * 1024**3

_KEYS = {
    "bundle": {"format", "kind", "org", "files"},
    "release": {"format", "kind", "org", "env", "bundle", "files", "services", "secrets", "secrets_key"},
}
_ENTRY_KEYS = {"file": {"type", "sha256", "size", "executable"}, "link": {"type", "target"}, "dir": {"type"}}
_DIGEST = re.compile(r"^[0-9a-f]{64}$")


def bundle_manifest(org: str, files: Mapping[str, Mapping]) -> dict:
    """The manifest of a bundle: the org's source files at one moment. It holds no secret and no time."""
    return {"format": FORMAT, "kind": "bundle", "org": org, "files": dict(files)}


def digest(manifest: Mapping) -> str:
    """The name of a bundle or a release."""
    return canonical.digest(manifest)


def blobs(manifest: Mapping) -> dict[str, int]:
    """The contents that a manifest needs: sha256 to size in bytes."""
    return {entry["sha256"]: entry["size"] for entry in manifest["files"].values() if entry["type"] == "file"}


def check_path(path: str) -> str:
    """A path within a tree, unchanged.

    :raises TetraError: for one that is absolute, leaves the tree, is not in its plain form or has odd characters.
    """
    problem = _path_problem(path)
    if problem:
        raise TetraError(f"path {path!r} {problem}", hint="only plain relative paths inside the tree are taken")
    return path


def _path_problem(path: str) -> str:
    if not path or len(path) > 4096:
        return "is empty or longer than 4096 characters"
    if not path.isprintable() or "\\" in path:
        return "has a control character or a backslash"
    if any(0xD800 <= ord(character) <= 0xDFFF for character in path):
        return "is not valid UTF-8"
    if path.startswith("/") or ".." in path.split("/"):
        return "leaves the tree"
    return "" if posixpath.normpath(path) == path and path != "." else "is not in its plain form"


def check_link(path: str, target: str) -> str:
    """The target of a symbolic link, unchanged.

    :raises TetraError: for one that is absolute or leaves the tree.
    """
    reached = posixpath.normpath(posixpath.join(posixpath.dirname(path), target))
    plain = target and target.isprintable() and "\\" not in target and not target.startswith("/")
    if not plain or reached == ".." or reached.startswith("../"):
        raise TetraError(f"link {path} -> {target!r} leaves the tree", hint="links are relative and stay inside")
    return target


def check_manifest(record: Mapping) -> None:
    """Check a manifest that came from outside.

    :raises TetraError: naming the key or the path that is wrong.
    """
    if record.get("format") != FORMAT:
        raise TetraError(f"the manifest has format {record.get('format')!r}, this version reads {FORMAT}",
                         hint="it was written by a newer version; upgrade the collection")
    expected = _KEYS.get(record.get("kind", ""))
    if expected is None or set(record) != expected:
        raise TetraError(f"the manifest does not have the keys of a bundle or a release: {', '.join(sorted(record))}")
    files = record["files"]
    if len(files) > MAX_FILES:
        raise TetraError(f"{len(files)} files are more than {MAX_FILES}", hint="keep build output out of the org")
    for path, entry in files.items():
        _check_entry(path, entry)
        _check_parents(path, files)
    total = sum(blobs(record).values())
    if total > MAX_TOTAL:
        raise TetraError(f"{total} bytes are more than {MAX_TOTAL}", hint="keep large data out of the org")


def _check_entry(path: str, entry: Mapping) -> None:
    check_path(path)
    keys = _ENTRY_KEYS.get(entry.get("type", ""))
    if keys is None or set(entry) != keys:
        raise TetraError(f"{path}: its entry is not one of a file, a folder or a link")
    if entry["type"] == "link":
        check_link(path, entry["target"])
    if entry["type"] == "file":
        size = entry["size"]
        if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size <= pack.MAX_BLOB:
            raise TetraError(f"{path}: {size!r} bytes, at most {pack.MAX_BLOB} are taken")
        if not isinstance(entry["sha256"], str) or not _DIGEST.match(entry["sha256"]):
            raise TetraError(f"{path}: {entry['sha256']!r} is not a sha256")
        if not isinstance(entry["executable"], bool):
            raise TetraError(f"{path}: executable is neither true nor false")


def _check_parents(path: str, files: Mapping[str, Mapping]) -> None:
    parent = posixpath.dirname(path)
    while parent:
        if files.get(parent, {"type": "dir"})["type"] != "dir":
            raise TetraError(f"{path} lies below {parent}, which is not a folder", hint="nothing lies below a link")
        parent = posixpath.dirname(parent)


def service_digest(
    definition: Mapping, ports: Mapping[str, int], files: Mapping[str, Mapping], secrets: Mapping[str, str]
) -> str:
    """The name of what a service is: while it stays the same, its process is left alone.

    It covers the definition, its ports, the keyed digests of the secrets it uses, and the files it uses: its own, the
    common ones, and the templates that it names. It leaves out the release, the host and the address.
    """
    used = used_files(definition["name"], definition, files)
    named = {name: secrets[name] for name in sorted(secrets_of(definition))}
    return canonical.digest({"definition": definition, "ports": dict(ports), "files": used, "secrets": named})


def secrets_of(definition: Mapping) -> set[str]:
    """The names of the secrets that a service uses."""
    found: set[str] = set()
    for value in definition["environment"].values():
        found |= values.secrets_in(value)
    return found


def used_files(name: str, definition: Mapping, files: Mapping[str, Mapping]) -> dict[str, Mapping]:
    """The entries of a release that a service uses."""
    text = "\n".join(_texts(definition))
    return {
        path: entry
        for path, entry in files.items()
        if path.startswith((f"files/{name}/", "files/common/")) or (path.startswith("templates/") and path in text)
    }


def _texts(node: object) -> list[str]:
    if isinstance(node, str):
        return [node]
    children = node.values() if isinstance(node, Mapping) else node if isinstance(node, list) else []
    return [text for child in children for text in _texts(child)]
