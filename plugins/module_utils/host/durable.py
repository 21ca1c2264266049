# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files that are the old version or the new one, whatever kills the writer: temp file, fsync, rename, folder fsync.

An error of fsync is a failure like any other and is never tried again: after it nobody knows what is on the disk.
Parents are made by :func:`make_folder` alone.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import math
import os
import secrets
import shutil
import stat
import time
from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO

from ..model import canonical
from ..model.errors import REFUSED, TetraError

TEMPORARY = ".tmp-"
SEAL = "seal"
"""The key of a record with the digest of all the rest, by which a damaged record is known."""

_BACKUP = "restore it from a backup"
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_LOCK_PAUSE = 0.05


class DamagedError(TetraError):
    """A file does not hold what was written into it.

    :param hint: what to do about this kind of file.
    """

    def __init__(self, path: str, why: str, hint: str) -> None:
        super().__init__(f"{path} is damaged: {why}", hint=hint, code=REFUSED)


def write_file(path: str, data: bytes, mode: int = 0o644) -> None:
    """Replace a file, or make it; ``mode`` is its final mode and never wider in between.

    :raises OSError: when the disk refuses; unless it was the last fsync that failed, the old file is still there.
    """
    with replacing(path, mode) as file:
        file.write(data)
    sync_folder(os.path.dirname(path))


@contextlib.contextmanager
def replacing(path: str, mode: int = 0o644) -> Iterator[BinaryIO]:
    """A file to write to that takes the place of ``path`` when the block ends, and leaves nothing when it raises.

    For many files in one folder; the caller ends with one :func:`sync_folder`, before which the renames may get lost.
    """
    temporary = temporary_path(path)
    with _removed_on_error(temporary):
        # Who writes has a with statement, which ends this one, too.
        with new_file(temporary, mode) as file:  # pylint: disable=contextmanager-generator-missing-cleanup
            yield file
        os.rename(temporary, path)


@contextlib.contextmanager
def new_file(path: str, mode: int) -> Iterator[BinaryIO]:
    """A file to write to that must not exist yet, with its final mode whatever the umask; synced when the block ends.

    :raises FileExistsError: when something has the name, a link included.
    """
    descriptor = os.open(path, _CREATE, mode)
    with os.fdopen(descriptor, "wb") as file:
        os.fchmod(descriptor, mode)
        yield file
        file.flush()
        os.fsync(descriptor)


def write_json(path: str, record: Mapping[str, Any], mode: int = 0o644) -> None:
    """Replace a file by the canonical text of a record."""
    write_file(path, canonical.dumps(record).encode("ascii") + b"\n", mode)


def sealed(record: Mapping[str, Any]) -> bytes:
    """The text of a record by which it is known whether it was changed since."""
    return canonical.dumps({**record, SEAL: canonical.digest(record)}).encode("ascii") + b"\n"


def create_file(path: str, data: bytes, mode: int = 0o644) -> None:
    """Make a file that must not exist yet; it appears whole or not at all.

    :raises FileExistsError: when it exists.
    """
    temporary = temporary_path(path)
    with _removed_on_error(temporary):
        with new_file(temporary, mode) as file:
            file.write(data)
        os.link(temporary, path)
    os.unlink(temporary)
    sync_folder(os.path.dirname(path))


def temporary_path(path: str) -> str:
    """A name in the folder of ``path`` that nobody else uses and that :func:`sweep` knows."""
    return os.path.join(os.path.dirname(path), f"{TEMPORARY}{secrets.token_hex(8)}")


@contextlib.contextmanager
def _removed_on_error(path: str) -> Iterator[None]:
    try:
        yield
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(path)
        raise


def replace_link(path: str, target: str) -> None:
    """Make a symbolic link name another target, in one step."""
    temporary = temporary_path(path)
    with _removed_on_error(temporary):
        os.symlink(target, temporary)
        os.rename(temporary, path)
    sync_folder(os.path.dirname(path))


def rename(old: str, new: str) -> None:
    """Rename, durably.

    :raises FileNotFoundError: when ``old`` is gone, because somebody else renamed it first.
    """
    os.rename(old, new)
    for folder in sorted({os.path.dirname(old), os.path.dirname(new)}):
        sync_folder(folder)


def remove(path: str) -> None:
    """Remove a file or a link; one that is not there is fine."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
        sync_folder(os.path.dirname(path))


def remove_tree(path: str) -> None:
    """Remove whatever has a name: a folder with all that is in it, a file or a link; no link is followed.

    It first gets a temporary name, so that a folder is never half there under its own.
    """
    if not os.path.lexists(path):
        return
    temporary = temporary_path(path)
    os.rename(path, temporary)
    _unlink_all(temporary)
    sync_folder(os.path.dirname(path))


def _unlink_all(path: str) -> None:
    if os.path.islink(path) or not os.path.isdir(path):
        os.unlink(path)
        return
    # Somebody may have taken away the right to write, without which only root can empty a folder.
    os.chmod(path, 0o700)
    for folder, folders, _files in os.walk(path):
        for name in folders:
            if not os.path.islink(os.path.join(folder, name)):
                os.chmod(os.path.join(folder, name), 0o700)
    shutil.rmtree(path)


def make_folder(path: str, mode: int = 0o755) -> None:
    """Make a folder with its final mode, and with 0755 what is missing above it. One that is there keeps its mode.

    :raises TetraError: code ``refused`` when something else has the name, for example a link, or when the folder that
        is there can be changed by others: they could put a link in the way of what is written into it.
    """
    parent = os.path.dirname(path)
    if parent and not os.path.isdir(parent):
        make_folder(parent)
    try:
        os.mkdir(path, mode)
    except FileExistsError:
        check_folder(path)
        return
    os.chmod(path, mode)
    sync_folder(parent)


def check_folder(path: str) -> None:
    """Make sure that what is written into a folder stays where it was written.

    :raises TetraError: code ``refused`` when it is none, or others than its user and root can change it.
    """
    found = os.lstat(path)
    if not stat.S_ISDIR(found.st_mode):
        raise TetraError(f"{path} is not a folder", hint="remove what is there; a link is not followed", code=REFUSED)
    # Where every user has a group of their own, folders are often writable for it.
    others = stat.S_IWOTH if found.st_gid == os.getegid() else stat.S_IWOTH | stat.S_IWGRP
    if found.st_uid not in (0, os.geteuid()) or found.st_mode & others:
        raise TetraError(
            f"{path} belongs to another user, or others may write to it (mode {stat.S_IMODE(found.st_mode):04o})",
            hint="look at what is in it, then give it to the user who runs this, with mode 0755 or stricter",
            code=REFUSED,
        )


def check_place(path: str) -> None:
    """Make sure that nobody but root and this user can put something else in the place of what is in a folder.

    :raises TetraError: code ``refused`` when others can.
    """
    found = os.stat(path)
    open_to_others = found.st_mode & (stat.S_IWOTH | stat.S_IWGRP) and not found.st_mode & stat.S_ISVTX
    if found.st_uid not in (0, os.geteuid()) or open_to_others:
        raise TetraError(
            f"{path} belongs to another user, or others may write to it (mode {stat.S_IMODE(found.st_mode):04o}), who "
            "could replace what is in it",
            hint="choose another tetra_dir, or give the folder to root with mode 0755",
            code=REFUSED,
        )


def sync_folder(path: str) -> None:
    """Make renames in a folder last."""
    descriptor = os.open(path or os.curdir, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def append_line(path: str, line: bytes, mode: int = 0o644) -> None:
    """Add one line to a file, and make it last; the line comes without its end."""
    existed = os.path.exists(path)
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    with os.fdopen(descriptor, "ab") as file:
        file.write(line + b"\n")
        file.flush()
        os.fsync(descriptor)
    if not existed:
        sync_folder(os.path.dirname(path))


def cut(path: str, size: int) -> None:
    """Take away what a file has beyond ``size`` bytes; this needs no space, so it works on a full disk."""
    descriptor = os.open(path, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        os.ftruncate(descriptor, size)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sweep(folder: str, age: float = 0.0) -> None:
    """Remove what killed runs left in a folder; the caller holds the lock under which it is written.

    :param age: for a folder that others write to as well: how old, in seconds, something is that nobody works on.
    """
    limit = time.time() - age
    for name in os.listdir(folder):
        path = os.path.join(folder, name)
        if name.startswith(TEMPORARY) and (not age or _written(path) < limit):
            # A deadman signs without the lock, and may be done with it just now.
            with contextlib.suppress(FileNotFoundError):
                _unlink_all(path)


def _written(path: str) -> float:
    """When something was written; one that is gone counts as written just now."""
    try:
        return os.lstat(path).st_mtime
    except FileNotFoundError:
        return math.inf


def read_json(path: str, hint: str = _BACKUP) -> dict[str, Any]:
    """Read a record.

    :param hint: what to do when it is damaged.
    :raises FileNotFoundError: when it is not there.
    :raises DamagedError: when it is damaged.
    """
    try:
        with open(path, "rb") as file:
            data = file.read()
        record = json.loads(data, parse_constant=_no_constant)
    except IsADirectoryError as error:
        raise DamagedError(path, "it is a folder", hint) from error
    except (ValueError, RecursionError) as error:
        raise DamagedError(path, str(error), hint) from error
    if not isinstance(record, dict):
        raise DamagedError(path, "it holds no record", hint)
    return record


def read_record(path: str, known: int, hint: str = _BACKUP) -> dict[str, Any]:
    """Read a record that says which format it has.

    :param known: the newest format that this version reads.
    :param hint: what to do when it is damaged.
    :raises FileNotFoundError: when it is not there.
    :raises DamagedError: as :func:`read_json`.
    :raises TetraError: code ``refused`` for a newer format.
    """
    record = read_json(path, hint)
    version = record.get("format")
    if isinstance(version, bool) or not isinstance(version, int) or version < 1:
        raise DamagedError(path, f"its format is {version!r}", hint)
    if version > known:
        raise TetraError(
            f"{path} has format {version!r}, this version reads {known}",
            hint="use the version of the collection that wrote it, or a newer one",
            code=REFUSED,
        )
    return record


def read_sealed(path: str, known: int, hint: str = _BACKUP) -> dict[str, Any]:
    """Read what :func:`sealed` made, without its seal; one that an older version wrote has none.

    Parameters and errors are those of :func:`read_record`.

    :raises DamagedError: also when it is not what its seal says.
    """
    record = read_record(path, known, hint)
    seal = record.pop(SEAL, None)
    if seal is not None and seal != canonical.digest(record):
        raise DamagedError(path, "it is not what its seal says", hint)
    return record


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


@contextlib.contextmanager
def lock(path: str, timeout: float) -> Iterator[None]:
    """Hold a lock file; it is never written to or removed, and the kernel frees it when the holder dies.

    Its folder is locked with it: a person who removes the file lets nobody in while somebody holds it.

    :raises TetraError: code ``refused`` when somebody else holds it for longer than ``timeout`` seconds.
    """
    deadline = time.monotonic() + timeout
    with contextlib.ExitStack() as held:
        for place, flags in ((path, os.O_RDWR | os.O_CREAT), (os.path.dirname(path), os.O_RDONLY | os.O_DIRECTORY)):
            held.callback(os.close, _acquire(place, flags, deadline))
        yield


def _acquire(path: str, flags: int, deadline: float) -> int:
    while True:
        descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            held = _try_lock(descriptor) and _is_still(descriptor, path)
        except BaseException:
            os.close(descriptor)
            raise
        if held:
            return descriptor
        os.close(descriptor)
        if time.monotonic() >= deadline:
            raise TetraError(f"another run holds {path}", hint="wait until it ends, then run again", code=REFUSED)
        time.sleep(_LOCK_PAUSE)


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in (errno.EAGAIN, errno.EACCES):
            raise
        return False
    return True


def _is_still(descriptor: int, path: str) -> bool:
    """A lock on a file that was removed in between protects nothing."""
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return False
    held = os.fstat(descriptor)
    return (found.st_dev, found.st_ino) == (held.st_dev, held.st_ino)
