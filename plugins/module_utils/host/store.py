# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Blobs, bundles and releases of an environment on this host; everything is named by what it holds and verified by it."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Iterable, Mapping

from ..model import canonical, pack, release
from ..model.errors import REFUSED, TetraError
from . import durable
from .layout import Environment

_CHUNK = 64 * 1024
_DIGEST = re.compile(r"^[0-9a-f]{64}$")


def current(environment: Environment) -> str | None:
    """The release that ``current`` names, or None."""
    try:
        return os.path.basename(os.readlink(environment.current))
    except FileNotFoundError:
        return None


def blobs(environment: Environment) -> list[str]:
    """The digests of the blobs that are here."""
    return [name for name in _names(environment.blobs) if _DIGEST.match(name)]


def unpack(environment: Environment, path: str) -> int:
    """Take the blobs of a pack file, verifying each before it gets its name.

    :returns: how many were new.
    :raises TetraError: code ``refused`` for a blob that is not what it is called; the ones before it stay.
    """
    durable.sweep(environment.blobs)
    with open(path, "rb") as file:
        wanted = pack.parse_header(file.readline(pack.MAX_HEADER))
        count = sum(_take(environment, file, digest, size) for digest, size in wanted)
        if file.read(1):
            raise TetraError("the pack is longer than its index says", hint="send it again", code=REFUSED)
    durable.sync_folder(environment.blobs)
    return count


def _take(environment: Environment, file, digest: str, size: int) -> bool:
    target = os.path.join(environment.blobs, digest)
    temporary = durable.temporary_path(target)
    seen = hashlib.sha256()
    with open(temporary, "xb") as copy:
        left = size
        while left:
            chunk = file.read(min(left, _CHUNK))
            if not chunk:
                break
            seen.update(chunk)
            copy.write(chunk)
            left -= len(chunk)
        copy.flush()
        os.fsync(copy.fileno())
    if left or seen.hexdigest() != digest:
        os.unlink(temporary)
        raise TetraError(f"blob {digest[:12]} was damaged on its way", hint="run again", code=REFUSED)
    existed = os.path.exists(target)
    os.rename(temporary, target)
    return not existed


def pack_of(environment: Environment, digests: Iterable[str]) -> bytes:
    """Some blobs as one pack."""
    contents = [_read_blob(environment, digest) for digest in digests]
    index = pack.header((canonical.sha256(data), len(data)) for data in contents)
    return index + b"".join(contents)


def _read_blob(environment: Environment, digest: str) -> bytes:
    path = os.path.join(environment.blobs, digest)
    try:
        with open(path, "rb") as file:
            data = file.read()
    except FileNotFoundError as error:
        raise TetraError(f"blob {digest[:12]} is not on this host", hint="push or promote again", code=REFUSED) from error
    if canonical.sha256(data) != digest:
        raise TetraError(f"{path} was changed", hint="remove it, then push or promote again", code=REFUSED)
    return data


def add_bundle(environment: Environment, manifest: Mapping) -> None:
    """Keep a bundle whose blobs are here."""
    release.check_manifest(manifest)
    _check_complete(environment, manifest)
    _write_manifest(environment.bundles, manifest)


def bundle(environment: Environment, digest: str) -> dict:
    """The manifest of a bundle that is here.

    :raises TetraError: code ``refused`` when it is not, or was changed.
    """
    return _read_manifest(environment.bundles, digest)


def add_release(environment: Environment, manifest: Mapping) -> None:
    """Keep a release, its tree included; a tree that is as it should be is left alone, any other is made anew."""
    release.check_manifest(manifest)
    name = release.digest(manifest)
    if not os.path.isdir(_tree(environment, name)) or _differing(environment, name, manifest):
        _check_complete(environment, manifest)
        _materialise(environment, name, manifest)
    _write_manifest(environment.releases, manifest)


def manifest(environment: Environment, digest: str) -> dict:
    """The manifest of a release that is here.

    :raises TetraError: code ``refused`` when it is not, or was changed.
    """
    return _read_manifest(environment.releases, digest)


def releases(environment: Environment) -> dict[str, dict]:
    """The manifests of all releases that are here, by digest."""
    names = (name[: -len(".json")] for name in _names(environment.releases) if name.endswith(".json"))
    return {name: manifest(environment, name) for name in names}


def verify_release(environment: Environment, digest: str) -> list[str]:
    """The paths in the tree of a release that are not what its manifest says."""
    return _differing(environment, digest, manifest(environment, digest))


def add_private(environment: Environment, digest: str, services: Iterable[str], secrets: Mapping[str, str]) -> None:
    """Keep what only this host needs of a release: the services it runs, and the secrets they use."""
    record = {"format": 1, "services": sorted(services), "secrets": dict(secrets)}
    path = os.path.join(environment.private, f"{digest}.json")
    if not os.path.exists(path) or durable.read_json(path) != record:
        durable.write_json(path, record, 0o600)


def private(environment: Environment, digest: str) -> dict:
    """What :func:`add_private` kept.

    :raises TetraError: code ``refused`` when it is not there.
    """
    try:
        return durable.read_json(os.path.join(environment.private, f"{digest}.json"))
    except FileNotFoundError as error:
        raise TetraError(f"release {digest[:12]} was never staged on this host", hint="promote again",
                         code=REFUSED) from error


def prune(environment: Environment, keep: set[str]) -> None:
    """Remove all releases but some, and the bundles and blobs that nothing kept needs."""
    kept = {name: record for name, record in releases(environment).items() if name in keep}
    for name in set(releases(environment)) - set(kept):
        shutil.rmtree(_tree(environment, name), ignore_errors=True)
        durable.remove(os.path.join(environment.private, f"{name}.json"))
        durable.remove(os.path.join(environment.releases, f"{name}.json"))
    bundles = {record["bundle"] for record in kept.values()}
    for name in _names(environment.bundles):
        if name[: -len(".json")] not in bundles:
            durable.remove(os.path.join(environment.bundles, name))
    needed = {digest for record in kept.values() for digest in release.blobs(record)}
    for name in bundles:
        needed |= set(release.blobs(bundle(environment, name)))
    for digest in set(blobs(environment)) - needed:
        os.unlink(os.path.join(environment.blobs, digest))


def _names(folder: str) -> list[str]:
    return sorted(os.listdir(folder)) if os.path.isdir(folder) else []


def _tree(environment: Environment, digest: str) -> str:
    return os.path.join(environment.releases, digest)


def _check_complete(environment: Environment, record: Mapping) -> None:
    missing = set(release.blobs(record)) - set(blobs(environment))
    if missing:
        raise TetraError(f"{len(missing)} blobs are missing, {min(missing)[:12]} for one", hint="run again",
                         code=REFUSED)


def _write_manifest(folder: str, record: Mapping) -> None:
    path = os.path.join(folder, f"{release.digest(record)}.json")
    if not os.path.exists(path):
        durable.write_file(path, canonical.dumps(record).encode("ascii"))


def _read_manifest(folder: str, digest: str) -> dict:
    path = os.path.join(folder, f"{digest}.json")
    try:
        record = durable.read_json(path)
    except FileNotFoundError as error:
        raise TetraError(f"{digest[:12]} is not on this host", hint="push or promote again", code=REFUSED) from error
    if release.digest(record) != digest:
        raise TetraError(f"{path} was changed", hint="remove it, then push or promote again", code=REFUSED)
    return record


def _materialise(environment: Environment, name: str, record: Mapping) -> None:
    for left in _names(environment.releases):
        if left.startswith(durable.TEMPORARY):
            shutil.rmtree(os.path.join(environment.releases, left))
    temporary = durable.temporary_path(_tree(environment, name))
    os.mkdir(temporary, 0o755)
    for path, entry in sorted(record["files"].items()):
        _make_entry(environment, os.path.join(temporary, path), entry)
    for folder, _folders, _files in os.walk(temporary):
        durable.sync_folder(folder)
    if os.path.lexists(_tree(environment, name)):
        os.rename(_tree(environment, name), durable.temporary_path(_tree(environment, name)))
    durable.rename(temporary, _tree(environment, name))


def _make_entry(environment: Environment, path: str, entry: Mapping) -> None:
    os.makedirs(path if entry["type"] == "dir" else os.path.dirname(path), mode=0o755, exist_ok=True)
    if entry["type"] == "link":
        os.symlink(entry["target"], path)
    elif entry["type"] == "file":
        with open(path, "xb") as file:
            file.write(_read_blob(environment, entry["sha256"]))
            os.fchmod(file.fileno(), 0o755 if entry["executable"] else 0o644)
            file.flush()
            os.fsync(file.fileno())


def _differing(environment: Environment, name: str, record: Mapping) -> list[str]:
    tree = _tree(environment, name)
    wrong = [path for path, entry in record["files"].items() if not _is_entry(os.path.join(tree, path), entry)]
    return sorted(wrong + _extra(tree, record))


def _is_entry(path: str, entry: Mapping) -> bool:
    if entry["type"] == "link":
        return os.path.islink(path) and os.readlink(path) == entry["target"]
    if os.path.islink(path):
        return False
    if entry["type"] == "dir":
        return os.path.isdir(path)
    return os.path.isfile(path) and _file_matches(path, entry)


def _file_matches(path: str, entry: Mapping) -> bool:
    status = os.stat(path)
    if status.st_size != entry["size"] or bool(status.st_mode & 0o100) != entry["executable"]:
        return False
    seen = hashlib.sha256()
    with open(path, "rb") as file:
        for chunk in iter(lambda: file.read(_CHUNK), b""):
            seen.update(chunk)
    return seen.hexdigest() == entry["sha256"]


def _extra(tree: str, record: Mapping) -> list[str]:
    """What lies in the tree and in no entry; folders that entries lie in need none of their own."""
    known = set(record["files"])
    for path in record["files"]:
        while path:
            path = os.path.dirname(path)
            known.add(path)
    found = []
    for folder, folders, files in os.walk(tree):
        base = os.path.relpath(folder, tree)
        found += [os.path.normpath(os.path.join(base, name)) for name in folders + files]
    return [path for path in found if path not in known]
