# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Manifests: what a bundle and a release consist of, what a path in them may be, and the names made from them.

A manifest maps paths to entries: ``{"type": "file", "sha256", "size", "executable"}``, ``{"type": "link", "target"}``
or ``{"type": "dir"}``. A folder that only has to be there for what lies in it needs no entry of its own.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Mapping
from typing import Any

from . import canonical, pack, units, values
from .errors import TetraError
from .ports import registry
from .ports.registry import PortValue

FORMAT = 1
MAX_FILES = 10_000
MAX_TOTAL = 4 * 1024**3
MAIN_PORT = "main"
"""What a manifest calls the one port that a service has, or the first of several."""

_MAX_PATH = 4096
# What Linux takes as one part of a path, and how many links it follows on the way to a file.
_MAX_NAME = 255
_MAX_LINKS = 40

_KEYS = {
    "bundle": {"format", "kind", "org", "files"},
    "release": {"format", "kind", "org", "env", "bundle", "files", "services", "secrets", "secrets_key"},
}
_ENTRY_KEYS = {"file": {"type", "sha256", "size", "executable"}, "link": {"type", "target"}, "dir": {"type"}}
_SERVICE_KEYS = {"digest", "definition", "ports"}
_FOLDER = {"type": "dir"}
_DIGEST = re.compile(r"[0-9a-f]{64}")
_TEMPLATES = re.compile(r"templates(?:/[\w./@+-]*)?")


def bundle_manifest(org: str, files: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The manifest of a bundle: the org's source files at one moment. It holds no secret and no time."""
    return {"format": FORMAT, "kind": "bundle", "org": org, "files": dict(files)}


def digest(manifest: Mapping[str, Any]) -> str:
    """The name of a bundle or a release."""
    return canonical.digest(manifest)


def is_digest(text: object) -> bool:
    """Whether something is the name of a blob, a bundle or a release: 64 lower-case hex digits."""
    return isinstance(text, str) and _DIGEST.fullmatch(text) is not None


def blobs(manifest: Mapping[str, Any]) -> dict[str, int]:
    """The contents that a manifest needs: sha256 to size in bytes."""
    return {entry["sha256"]: entry["size"] for entry in manifest["files"].values() if entry["type"] == "file"}


def tree(files: Mapping[str, Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    """Everything that a tree made of these entries consists of: the entries, and the folders that they lie in."""
    return {**{folder: _FOLDER for path in files for folder in _parents(path)}, **files}


def _parents(path: str) -> Iterator[str]:
    while "/" in path:
        path = posixpath.dirname(path)
        yield path


def check_path(path: str) -> str:
    """A path within a tree, unchanged.

    :raises TetraError: for one that is absolute, leaves the tree, is not in its plain form or has odd characters.
    """
    problem = _path_problem(path)
    if problem:
        raise TetraError(f"path {path!r} {problem}", hint="only plain relative paths inside the tree are taken")
    return path


def _path_problem(path: object) -> str:
    if not isinstance(path, str) or not path:
        return "is empty"
    if not _is_plain_text(path):
        return "has a control character, a backslash or something that is not UTF-8"
    if len(path.encode()) > _MAX_PATH or any(len(part.encode()) > _MAX_NAME for part in path.split("/")):
        return f"is longer than {_MAX_PATH} bytes, or a part of it than {_MAX_NAME}"
    if path.startswith("/") or ".." in path.split("/"):
        return "leaves the tree"
    return "" if posixpath.normpath(path) == path and path != "." else "is not in its plain form"


def _is_plain_text(text: str) -> bool:
    # Text that came from bytes that are not UTF-8 holds surrogates, which are not printable either.
    return text.isprintable() and "\\" not in text


def check_link(path: str, target: str) -> str:
    """The target of a symbolic link, unchanged. Other links that it leads over are left to :func:`check_manifest`.

    :raises TetraError: for one that is absolute or leaves the tree.
    """
    plain = isinstance(target, str) and _is_plain_text(target) and 0 < len(target.encode()) < _MAX_PATH
    reached = posixpath.normpath(posixpath.join(posixpath.dirname(path), target)) if plain else ".."
    if reached == ".." or reached.startswith(("../", "/")):
        raise TetraError(f"link {path} -> {target!r} leaves the tree", hint="links are relative and stay inside")
    return target


def check_manifest(record: Mapping[str, Any]) -> None:
    """Check a manifest that came from outside.

    :raises TetraError: naming the key or the path that is wrong.
    """
    if not isinstance(record, Mapping):
        raise TetraError("the manifest is not a record", hint="it was damaged on its way; run again")
    _check_format(record.get("format"))
    kind = record.get("kind")
    if kind not in ("bundle", "release"):
        raise TetraError(f"the manifest is of the kind {kind!r}", hint="it is one of bundle and release")
    _check_keys(f"the manifest of a {kind}", record, _KEYS[kind])
    units.check_name("organization", record["org"])
    _check_files(record["files"])
    if kind == "release":
        _check_release(record)


def _check_format(version: object) -> None:
    if isinstance(version, bool) or not isinstance(version, int) or version < 1:
        raise TetraError(f"the manifest has the format {version!r}", hint=f"this version reads format {FORMAT}")
    if version > FORMAT:
        raise TetraError(
            f"the manifest has format {version}, it was written by a newer version",
            hint=f"this version reads format {FORMAT}; upgrade the collection here",
        )


def _check_keys(what: str, record: object, expected: set[str]) -> None:
    if not isinstance(record, Mapping):
        raise TetraError(f"{what} is not a record")
    for problem, keys in (("unknown", set(record) - expected), ("missing", expected - set(record))):
        if keys:
            raise TetraError(f"{what}: the key {', '.join(sorted(map(str, keys)))} is {problem}")


def _check_files(files: object) -> None:
    if not isinstance(files, Mapping):
        raise TetraError("the manifest has no mapping of files")
    if len(files) > MAX_FILES:
        raise TetraError(f"{len(files)} files are more than {MAX_FILES}", hint="keep build output out of the org")
    sizes: dict[str, int] = {}
    total = 0
    for path, entry in files.items():
        _check_entry(path, entry)
        _check_parents(path, files)
        if entry["type"] == "file":
            total += entry["size"]
            if sizes.setdefault(entry["sha256"], entry["size"]) != entry["size"]:
                raise TetraError(f"{path}: the blob {entry['sha256'][:12]} has two sizes")
    # Every file is a copy in the tree, also of a blob that is there already.
    if total > MAX_TOTAL:
        raise TetraError(f"{total} bytes are more than {MAX_TOTAL}", hint="keep large data out of the org")
    for path, entry in files.items():
        if entry["type"] == "link":
            follow(path, files)


def _check_entry(path: str, entry: Mapping[str, Any]) -> None:
    check_path(path)
    kind = entry.get("type") if isinstance(entry, Mapping) else None
    if kind not in ("file", "link", "dir"):
        raise TetraError(f"{path}: its entry is not one of a file, a folder or a link")
    _check_keys(path, entry, _ENTRY_KEYS[kind])
    if kind == "link":
        check_link(path, entry["target"])
    if kind == "file":
        size = entry["size"]
        if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size <= pack.MAX_BLOB:
            raise TetraError(f"{path}: {size!r} bytes, at most {pack.MAX_BLOB} are taken")
        _check_digest(f"{path}: sha256", entry["sha256"])
        if not isinstance(entry["executable"], bool):
            raise TetraError(f"{path}: executable is neither true nor false")


def _check_digest(what: str, text: object) -> None:
    if not is_digest(text):
        raise TetraError(f"{what} is {text!r}, not 64 hex digits")


def _check_parents(path: str, files: Mapping[str, Mapping[str, Any]]) -> None:
    for parent in _parents(path):
        if files.get(parent, _FOLDER) != _FOLDER:
            raise TetraError(f"{path} lies below {parent}, which is not a folder", hint="nothing lies below a link")


def _check_release(record: Mapping[str, Any]) -> None:
    units.check_name("environment", record["env"])
    _check_digest("the bundle of the release", record["bundle"])
    for key in ("services", "secrets"):
        if not isinstance(record[key], Mapping):
            raise TetraError(f"the manifest has no mapping of {key}")
    for name, service in record["services"].items():
        _check_service(name, service)
    for name, keyed in record["secrets"].items():
        if not name or not isinstance(name, str) or not keyed or not isinstance(keyed, str):
            raise TetraError(f"secrets: {name!r} has the digest {keyed!r}")
    if record["secrets_key"] is not None and not isinstance(record["secrets_key"], str):
        raise TetraError(f"secrets_key is {record['secrets_key']!r}, not the id of a key")


def _check_service(name: str, service: Mapping[str, Any]) -> None:
    units.check_name("service", name)
    _check_keys(f"service {name}", service, _SERVICE_KEYS)
    _check_digest(f"service {name}: digest", service["digest"])
    definition, ports = service["definition"], service["ports"]
    if not isinstance(definition, Mapping) or definition.get("name") != name:
        raise TetraError(f"service {name} does not have a definition of its name")
    if not isinstance(ports, Mapping):
        raise TetraError(f"service {name}: its ports are {ports!r}", hint="there is main, and further ones by name")
    for key, value in ports.items():
        units.check_name(f"port of service {name}", str(key))
        if not registry.is_port_value(value):
            raise TetraError(f"service {name}: port {value!r} is not one of 1 to 65535")


def ports_of(manifest: Mapping[str, Any]) -> dict[str, PortValue]:
    """All ports of a release by their key in the port registry: ``service``, or ``service/name``."""
    return {
        service if name == MAIN_PORT else f"{service}/{name}": value
        for service, entry in manifest["services"].items()
        for name, value in entry["ports"].items()
    }


def ports_of_service(ports: Mapping[str, PortValue], service: str) -> dict[str, PortValue]:
    """The ports of one service as its entry in a manifest has them: the way back from :func:`ports_of`."""
    own = {MAIN_PORT: ports[service]} if service in ports else {}
    further = {key.partition("/")[2]: value for key, value in ports.items() if key.startswith(f"{service}/")}
    return {**own, **further}


def follow(path: str, files: Mapping[str, Mapping[str, Any]]) -> str:
    """Where a path leads within a tree when every link on its way is followed, as the kernel would.

    What is not in the tree is taken for a folder. The answer "" is the tree itself.

    :raises TetraError: when it leaves the tree on its way, or leads in a circle.
    """
    at: list[str] = []
    pending = path.split("/")[::-1]
    links = 0
    while pending:
        part = pending.pop()
        if part == ".." and not at:
            raise TetraError(f"link {path} leaves the tree over another link", hint="links stay inside")
        if part == "..":
            at.pop()
        elif part not in ("", "."):
            at.append(part)
        entry = files.get("/".join(at), _FOLDER)
        if entry["type"] == "link":
            at.pop()
            pending += entry["target"].split("/")[::-1]
            links += 1
        if links > _MAX_LINKS:
            raise TetraError(
                f"link {path} leads in a circle, or over more than {_MAX_LINKS} links",
                hint="let it lead to a file or a folder",
            )
    return "/".join(at)


def service_digest(
    definition: Mapping[str, Any],
    ports: Mapping[str, PortValue],
    files: Mapping[str, Mapping[str, Any]],
    secrets: Mapping[str, str],
) -> str:
    """The name of what a service is: while it stays the same, its process is left alone.

    It covers the definition, its ports, the keyed digests of the secrets it uses, and the files it uses. It leaves out
    the release, the host and the address.

    :param definition: the wire form of the service.
    :param files: all entries of the release.
    :param secrets: name of a secret to its keyed digest; those that the service does not use are left out.
    :raises TetraError: when there is no digest of a secret that it uses.
    """
    names = sorted(secrets_of(definition))
    missing = [name for name in names if name not in secrets]
    if missing:
        raise TetraError(
            f"service {definition['name']}: there is no digest of the secret {', '.join(missing)}",
            hint="add it to tetra_secrets of this environment",
        )
    used = used_files(definition["name"], definition, files)
    named = {name: secrets[name] for name in names}
    return canonical.digest({"definition": definition, "ports": dict(ports), "files": used, "secrets": named})


def secrets_of(definition: Mapping[str, Any]) -> set[str]:
    """The names of the secrets that a service uses; they stand in its environment alone."""
    found: set[str] = set()
    for value in definition["environment"].values():
        found |= values.secrets_in(value)
    return found


def used_files(
    name: str, definition: Mapping[str, Any], files: Mapping[str, Mapping[str, Any]]
) -> dict[str, Mapping[str, Any]]:
    """The entries of a release that a service uses.

    They are its own, the common ones, the templates that it names, and what links among these lead to. A template is
    named by text that contains its path, or that of its folder, or the beginning of either: the rest may be a variable
    or a pattern of a shell. So a service may restart once too often, never once too seldom.
    """
    own = {f"files/{name}", "files/common"}
    text = "\n".join(_texts(definition))
    mentions = tuple({posixpath.normpath(mention) for mention in _TEMPLATES.findall(text)})
    wanted = {
        path
        for path in files
        if _is_below(path, own) or (path.startswith("templates/") and (path in text or path.startswith(mentions)))
    }
    return {path: files[path] for path in sorted(_with_linked(wanted, files))}


def _with_linked(wanted: set[str], files: Mapping[str, Mapping[str, Any]]) -> set[str]:
    found: set[str] = set()
    while wanted:
        found |= wanted
        targets = {follow(path, files) for path in wanted if files[path]["type"] == "link"}
        wanted = {path for path in files if _is_below(path, targets)} - found
    return found


def _is_below(path: str, folders: set[str]) -> bool:
    """Whether a path is one of some folders, or lies in one; "" is the folder that everything lies in."""
    return "" in folders or path in folders or any(parent in folders for parent in _parents(path))


def _texts(node: object) -> list[str]:
    if isinstance(node, str):
        return [node]
    children = node.values() if isinstance(node, Mapping) else node if isinstance(node, list) else []
    return [text for child in children for text in _texts(child)]
