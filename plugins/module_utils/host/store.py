# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Blobs, bundles and releases of an environment on this host.

Everything is named by what it holds and verified by its name. The order of writing is: blobs, tree, manifest; that of
removing: tree, manifest, blobs. Whoever changes something holds the lock of the environment, and so what killed runs
left is removed first.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import os
import stat
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any, BinaryIO

from ..model import canonical, pack, release
from ..model.errors import REFUSED, TetraError
from . import durable
from .layout import Environment

_CHUNK = 64 * 1024
_AGAIN = "push or promote again"
_ANEW = (
    "push or promote again what it was made of, which writes it anew; that of a release is on every host of its "
    "environment, and may be copied from there"
)
_PRIVATE_FORMAT = 1
_RECORD = ".json"
# A named pipe that somebody put in the place of a file is not waited for.
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def current(environment: Environment) -> str | None:
    """The release that ``current`` names, or None.

    :raises DamagedError: when ``current`` is something else than a link to a release.
    """
    try:
        name = os.path.basename(os.readlink(environment.current))
    except FileNotFoundError:
        return None
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        raise durable.DamagedError(environment.current, "it is not a link", f"move it away, then {_AGAIN}") from error
    if not release.is_digest(name):
        raise durable.DamagedError(environment.current, f"it names {name!r}", f"remove it, then {_AGAIN}")
    return name


def blobs(environment: Environment) -> list[str]:
    """The digests of the blobs that are here."""
    return [name for name in _names(environment.blobs) if release.is_digest(name)]


def missing(environment: Environment, digests: Iterable[str]) -> list[str]:
    """Those of some blobs that are not here, sorted."""
    return sorted(set(digests) - set(blobs(environment)))


def verify_blob(environment: Environment, digest: str) -> bool:
    """Whether a blob is here and holds what its name says."""
    try:
        _copy_blob(environment, digest, None)
    except TetraError:
        return False
    return True


def unpack(environment: Environment, file: BinaryIO) -> int:
    """Take the blobs of a pack, verifying each before it gets its name.

    :returns: how many were new.
    :raises TetraError: code ``refused`` for a blob that is not what it is called, of which nothing stays, while those
        before it stay; and when the disk refuses.
    """
    with _disk(environment):
        environment.sweep()
        wanted = pack.parse_header(file.readline(pack.MAX_HEADER))
        count = sum(_take(environment, file, digest, size) for digest, size in wanted)
        if file.read(1):
            raise TetraError("the pack is longer than its index says", hint="send it again", code=REFUSED)
        durable.sync_folder(environment.blobs)
    return count


@contextlib.contextmanager
def _disk(environment: Environment) -> Iterator[None]:
    """What the disk refuses is told as any other reason is, so that a revert that meets it ends as one that failed."""
    try:
        yield
    except OSError as error:
        raise TetraError(
            f"{error.filename or environment.root}: {error.strerror}",
            hint="look at the space, the inodes, the mount options and the rights there",
            code=REFUSED,
        ) from error


def _take(environment: Environment, file: BinaryIO, digest: str, size: int) -> bool:
    """Take one blob; whether it was new."""
    target = _blob(environment, digest)
    if _size(target) == size:
        _receive(file, None, digest, size)
        return False
    existed = os.path.lexists(target)
    with durable.replacing(target) as blob:
        _receive(file, blob, digest, size)
    return not existed


def _receive(file: BinaryIO, sink: BinaryIO | None, digest: str, size: int) -> None:
    if _copy(file, sink, size) != (size, digest):
        raise TetraError(f"blob {digest} was damaged on its way", hint="run again", code=REFUSED)


def _copy(source: BinaryIO, sink: BinaryIO | None, limit: int) -> tuple[int, str]:
    """Copy at most ``limit`` bytes; how many there were, and their sha256."""
    seen = hashlib.sha256()
    left = limit
    while left:
        chunk = source.read(min(left, _CHUNK))
        if not chunk:
            break
        seen.update(chunk)
        left -= len(chunk)
        if sink:
            sink.write(chunk)
    return limit - left, seen.hexdigest()


def pack_of(environment: Environment, digests: Iterable[str]) -> bytes:
    """Some blobs as one pack.

    :raises TetraError: code ``refused`` for a blob that is not here or was changed.
    """
    stream = io.BytesIO()
    sizes: dict[str, int] = {}
    for digest in digests:
        size = _size(_blob(environment, digest))
        if size is None:
            raise TetraError(f"blob {digest} is not on this host", hint=_AGAIN, code=REFUSED)
        sizes[digest] = size
    stream.write(pack.header(sizes.items()))
    for digest in sizes:
        _copy_blob(environment, digest, stream)
    return stream.getvalue()


def blob(environment: Environment, digest: str) -> bytes:
    """The content of a blob.

    :raises TetraError: code ``refused`` for one that is not here or was changed.
    """
    stream = io.BytesIO()
    _copy_blob(environment, digest, stream)
    return stream.getvalue()


def part(environment: Environment, digest: str, offset: int, length: int) -> bytes:
    """Some bytes of a blob, which whoever puts them together verifies.

    :raises TetraError: code ``refused`` for one that is not here.
    """
    path = _blob(environment, digest)
    if _size(path) is None:
        raise TetraError(f"blob {digest} is not on this host", hint=_AGAIN, code=REFUSED)
    with open(os.open(path, _READ), "rb") as file:
        file.seek(offset)
        return file.read(length)


def _copy_blob(environment: Environment, digest: str, sink: BinaryIO | None) -> None:
    """Copy a blob somewhere, or only read it.

    :raises TetraError: code ``refused`` when it is not here or was changed; what was copied is then worth nothing.
    """
    path = _blob(environment, digest)
    if _size(path) is None:
        raise TetraError(f"blob {digest} is not on this host", hint=_AGAIN, code=REFUSED)
    with open(os.open(path, _READ), "rb") as file:
        _size_read, found = _copy(file, sink, pack.MAX_BLOB)
    if found != digest:
        raise durable.DamagedError(path, "it is not what its name says", f"{_AGAIN}, which brings it anew")


def add_bundle(environment: Environment, manifest: Mapping[str, Any]) -> None:
    """Keep a bundle whose blobs are here.

    :raises TetraError: for a manifest that is not one of this organization, and code ``refused`` when a blob is missing
        or the disk refuses.
    """
    check_belongs(environment, manifest, "bundle")
    with _disk(environment):
        _check_complete(environment, manifest)
        _write_manifest(environment.bundles, manifest)


def bundle(environment: Environment, digest: str) -> dict[str, Any]:
    """The manifest of a bundle that is here.

    :raises TetraError: code ``refused`` when it is not, or was changed.
    """
    return _read_manifest(environment.bundles, digest)


def bundle_digests(environment: Environment) -> list[str]:
    """The digests of the bundles whose manifests are here, whole or not."""
    return _records(environment.bundles)


def add_release(environment: Environment, manifest: Mapping[str, Any], aside: str) -> None:
    """Keep a release, its tree included; in a tree that is there already, only what is not as it should be is made.

    :param aside: a folder where what a person had put there goes; made when there is something.
    :raises TetraError: for a manifest that is not one of this environment, and code ``refused`` when a blob is missing
        or the disk refuses.
    """
    check_belongs(environment, manifest, "release")
    name = release.digest(manifest)
    with _disk(environment):
        environment.sweep()
        differing = _differing(_tree(environment, name), manifest)
        if differing:
            _check_complete(environment, manifest)
            if "." in differing:
                _materialise(environment, name, manifest)
            else:
                _repair(environment, manifest, differing, aside)
        _write_manifest(environment.releases, manifest)


def manifest(environment: Environment, digest: str) -> dict[str, Any]:
    """The manifest of a release that is here.

    :raises TetraError: code ``refused`` when it is not, or was changed.
    """
    return _read_manifest(environment.releases, digest)


def releases(environment: Environment) -> dict[str, dict[str, Any]]:
    """The manifests of all releases that are here, by digest.

    :raises TetraError: code ``refused`` when one was changed.
    """
    return {name: manifest(environment, name) for name in release_digests(environment)}


def release_digests(environment: Environment) -> list[str]:
    """The digests of the releases whose manifests are here, whole or not."""
    return _records(environment.releases)


def verify_release(environment: Environment, digest: str) -> list[str]:
    """The paths in the tree of a release that are not what its manifest says, sorted; "." is the tree itself.

    Compared are type, size, sha256, executable bit and target of a link; a path of which the manifest knows nothing
    differs.

    :raises TetraError: code ``refused`` when there is no such manifest, or it was changed.
    """
    return _differing(_tree(environment, digest), manifest(environment, digest))


def add_private(environment: Environment, digest: str, services: Iterable[str], secrets: Mapping[str, str]) -> None:
    """Keep what only this host needs of a release: the services it runs, and the secrets they use."""
    record = {"format": _PRIVATE_FORMAT, "services": sorted(services), "secrets": dict(secrets)}
    with _disk(environment):
        _write_text(os.path.join(environment.private, f"{digest}{_RECORD}"), durable.sealed(record), 0o600)


def private(environment: Environment, digest: str) -> dict[str, Any]:
    """What :func:`add_private` kept.

    :raises TetraError: code ``refused`` when it is not there, or damaged.
    """
    try:
        return durable.read_sealed(os.path.join(environment.private, f"{digest}{_RECORD}"), _PRIVATE_FORMAT, _ANEW)
    except FileNotFoundError as error:
        raise TetraError(
            f"what this host needs of release {digest[:12]} is not here", hint=_ANEW, code=REFUSED
        ) from error


def prune(
    environment: Environment, keep_releases: Iterable[str], keep_bundles: Iterable[str] = (),
    keep_blobs: Collection[str] = (),
) -> None:
    """Remove all releases, bundles and blobs but some, and what killed runs left.

    The bundles of the kept releases are kept, and all blobs that something kept needs. While something that is to be
    kept cannot be read, nobody knows what it needs, so all bundles and blobs stay.
    """
    environment.sweep()
    kept = set(keep_releases)
    for name in _release_names(environment) - kept:
        durable.remove_tree(_tree(environment, name))
        durable.remove_tree(os.path.join(environment.private, f"{name}{_RECORD}"))
        durable.remove_tree(os.path.join(environment.releases, f"{name}{_RECORD}"))
    try:
        manifests = releases(environment)
        bundles = set(keep_bundles) | {record["bundle"] for record in manifests.values()}
        kept_bundles = [bundle(environment, name) for name in bundles.intersection(_records(environment.bundles))]
    except TetraError:
        return
    for name in set(_records(environment.bundles)) - bundles:
        durable.remove_tree(os.path.join(environment.bundles, f"{name}{_RECORD}"))
    needed = {digest for record in (*manifests.values(), *kept_bundles) for digest in release.blobs(record)}
    needed.update(keep_blobs)
    for path in (_blob(environment, digest) for digest in set(blobs(environment)) - needed):
        if _size(path) is None:
            durable.remove_tree(path)
        else:
            os.unlink(path)


def _release_names(environment: Environment) -> set[str]:
    """Every digest that something of a release is named by, so that what a killed run left of it is found."""
    trees = {name for name in _names(environment.releases) if release.is_digest(name)}
    return trees.union(_records(environment.releases), _records(environment.private))


def _records(folder: str) -> list[str]:
    """The digests that the records in a folder are named by."""
    stems = (name[: -len(_RECORD)] for name in _names(folder) if name.endswith(_RECORD))
    return [stem for stem in stems if release.is_digest(stem)]


def _names(folder: str) -> list[str]:
    return sorted(os.listdir(folder)) if os.path.isdir(folder) else []


def _blob(environment: Environment, digest: str) -> str:
    return os.path.join(environment.blobs, digest)


def _tree(environment: Environment, digest: str) -> str:
    return os.path.join(environment.releases, digest)


def _size(path: str) -> int | None:
    """The size of a regular file; None for anything else, links included, and for nothing."""
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return None
    return found.st_size if stat.S_ISREG(found.st_mode) else None


def check_belongs(environment: Environment, record: Mapping[str, Any], kind: str) -> None:
    release.check_manifest(record)
    own = {"kind": kind, "org": environment.org, "env": environment.env}
    for key, value in own.items():
        if record.get(key, value) != value:
            raise TetraError(
                f"a manifest with the {key} {record[key]} came to {environment.org}/{environment.env}",
                hint=f"its {key} must be {value}",
            )


def _check_complete(environment: Environment, record: Mapping[str, Any]) -> None:
    absent = [name for name, size in release.blobs(record).items() if _size(_blob(environment, name)) != size]
    for name in absent:
        # One that was cut short would be taken for one that is here, and never be sent again.
        durable.remove_tree(_blob(environment, name))
    if absent:
        raise TetraError(f"{len(absent)} blobs are missing, {min(absent)} for one", hint="run again", code=REFUSED)


def _write_manifest(folder: str, record: Mapping[str, Any]) -> None:
    text = canonical.dumps(record).encode("ascii") + b"\n"
    _write_text(os.path.join(folder, f"{release.digest(record)}{_RECORD}"), text, 0o644)


def _write_text(path: str, text: bytes, mode: int) -> None:
    """Write a record unless it is there already, so that a second run touches nothing."""
    if _size(path) is None:
        durable.remove_tree(path)
    elif stat.S_IMODE(os.lstat(path).st_mode) == mode and _content(path) == text:
        return
    durable.write_file(path, text, mode)


def _content(path: str) -> bytes:
    with open(os.open(path, _READ), "rb") as file:
        return file.read()


def _read_manifest(folder: str, digest: str) -> dict[str, Any]:
    path = os.path.join(folder, f"{digest}{_RECORD}")
    try:
        record = durable.read_json(path, _ANEW)
    except FileNotFoundError as error:
        raise TetraError(f"{path} is not on this host", hint=_ANEW, code=REFUSED) from error
    if release.digest(record) != digest:
        raise durable.DamagedError(path, "it is not what its name says", _ANEW)
    return record


def _materialise(environment: Environment, name: str, record: Mapping[str, Any]) -> None:
    tree = _tree(environment, name)
    temporary = durable.temporary_path(tree)
    try:
        _build(environment, temporary, record)
        if os.path.lexists(tree):
            os.rename(tree, durable.temporary_path(tree))
        durable.rename(temporary, tree)
    finally:
        # The tree that was there before, or the half of the new one when that failed.
        durable.sweep(environment.releases)


def _repair(environment: Environment, record: Mapping[str, Any], differing: list[str], aside: str) -> None:
    """Put right what differs in a tree, and nothing else: processes that use the rest shall not notice."""
    tree, wanted = _tree(environment, release.digest(record)), release.tree(record["files"])
    folders = set()
    # They are sorted, so that a folder comes before what lies in it.
    for path in differing:
        place, entry = os.path.join(tree, path), wanted.get(path)
        if os.path.lexists(place):
            _keep(place, os.path.join(aside, path))
        _put(environment, place, entry)
        folders.add(os.path.dirname(place))
    for folder in filter(os.path.isdir, folders):
        durable.sync_folder(folder)


def _keep(place: str, aside: str) -> None:
    """Keep what is in a place elsewhere too, unless something from there was kept already."""
    os.makedirs(os.path.dirname(aside), mode=0o700, exist_ok=True)
    if os.path.lexists(aside):
        return
    if stat.S_ISREG(os.lstat(place).st_mode):
        os.link(place, aside)
    else:
        os.rename(place, aside)


def _put(environment: Environment, place: str, entry: Mapping[str, Any] | None) -> None:
    """Bring a place to what it should be; a file that another one replaces is never away."""
    if entry is None or entry["type"] != "file":
        durable.remove_tree(place)
        if entry is not None:
            _make_entry(environment, place, entry)
        return
    if _size(place) is None:
        durable.remove_tree(place)
    with durable.replacing(place, 0o755 if entry["executable"] else 0o644) as file:
        _lay(environment, entry["sha256"], file)


def _lay(environment: Environment, digest: str, file: BinaryIO) -> None:
    """Copy a blob into a tree; one that was changed goes, so that it is sent again."""
    try:
        _copy_blob(environment, digest, file)
    except durable.DamagedError:
        durable.remove_tree(_blob(environment, digest))
        raise


def _build(environment: Environment, tree: str, record: Mapping[str, Any]) -> None:
    _make_folder(tree)
    for path, entry in sorted(release.tree(record["files"]).items()):
        _make_entry(environment, os.path.join(tree, path), entry)
    for folder, _folders, _files in os.walk(tree):
        durable.sync_folder(folder)


def _make_entry(environment: Environment, path: str, entry: Mapping[str, Any]) -> None:
    if entry["type"] == "dir":
        _make_folder(path)
    elif entry["type"] == "link":
        os.symlink(entry["target"], path)
    else:
        with durable.new_file(path, 0o755 if entry["executable"] else 0o644) as file:
            _lay(environment, entry["sha256"], file)


def _make_folder(path: str) -> None:
    os.mkdir(path, 0o755)
    os.chmod(path, 0o755)


def _differing(tree: str, record: Mapping[str, Any]) -> list[str]:
    wanted = {".": {"type": "dir"}, **release.tree(record["files"])}
    found = _walk(tree)
    return sorted(path for path in {*wanted, *found} if not _matches(tree, path, wanted.get(path), found.get(path)))


def _walk(tree: str) -> dict[str, os.stat_result]:
    """What is in a tree, by path; no link is followed, the tree itself included."""
    if not os.path.lexists(tree):
        return {}
    found = {".": os.lstat(tree)}
    if stat.S_ISDIR(found["."].st_mode):
        for folder, folders, files in os.walk(tree):
            for name in folders + files:
                path = os.path.join(folder, name)
                found[os.path.relpath(path, tree)] = os.lstat(path)
    return found


def _matches(tree: str, path: str, entry: Mapping[str, Any] | None, found: os.stat_result | None) -> bool:
    if entry is None or found is None:
        return False
    place = os.path.join(tree, path)
    if entry["type"] == "dir":
        return stat.S_ISDIR(found.st_mode)
    if entry["type"] == "link":
        return stat.S_ISLNK(found.st_mode) and os.readlink(place) == entry["target"]
    executable = bool(found.st_mode & stat.S_IXUSR)
    if not stat.S_ISREG(found.st_mode) or (found.st_size, executable) != (entry["size"], entry["executable"]):
        return False
    with open(os.open(place, _READ), "rb") as file:
        return _copy(file, None, entry["size"]) == (entry["size"], entry["sha256"])
