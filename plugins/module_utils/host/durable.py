# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files that are the old version or the new one, whatever kills the writer: temp file, fsync, rename, fsync of the folder."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import secrets
import time
from collections.abc import Iterator, Mapping

from ..model import canonical
from ..model.errors import REFUSED, TetraError

TEMPORARY = ".tmp-"
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def write_file(path: str, data: bytes, mode: int = 0o644) -> None:
    """Replace a file, or make it; ``mode`` is its final mode and never wider in between.

    :raises OSError: when the disk refuses; the old file is then still there.
    """
    temporary = temporary_path(path)
    try:
        _write_new(temporary, data, mode)
        os.rename(temporary, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise
    sync_folder(os.path.dirname(path))


def write_json(path: str, record: Mapping, mode: int = 0o644) -> None:
    """Replace a file by the canonical text of a record."""
    write_file(path, canonical.dumps(record).encode("ascii") + b"\n", mode)


def create_file(path: str, data: bytes, mode: int = 0o644) -> None:
    """Make a file that must not exist yet; it appears whole or not at all.

    :raises FileExistsError: when it exists.
    """
    temporary = temporary_path(path)
    try:
        _write_new(temporary, data, mode)
        os.link(temporary, path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
    sync_folder(os.path.dirname(path))


def temporary_path(path: str) -> str:
    """A name in the folder of ``path`` that nobody else uses and that :func:`sweep` knows."""
    return os.path.join(os.path.dirname(path), f"{TEMPORARY}{secrets.token_hex(8)}")


def _write_new(path: str, data: bytes, mode: int) -> None:
    descriptor = os.open(path, _CREATE, mode)
    with os.fdopen(descriptor, "wb") as file:
        os.fchmod(descriptor, mode)
        file.write(data)
        file.flush()
        os.fsync(descriptor)


def replace_link(path: str, target: str) -> None:
    """Make a symbolic link name another target, in one step."""
    temporary = temporary_path(path)
    os.symlink(target, temporary)
    try:
        os.rename(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
    sync_folder(os.path.dirname(path))


def rename(old: str, new: str) -> None:
    """Rename within a folder, durably.

    :raises FileNotFoundError: when ``old`` is gone, because somebody else renamed it first.
    """
    os.rename(old, new)
    sync_folder(os.path.dirname(new))


def remove(path: str) -> None:
    """Remove a file or a link; one that is not there is fine."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
        sync_folder(os.path.dirname(path))


def make_folder(path: str, mode: int = 0o755) -> None:
    """Make a folder with its final mode; its parent must exist. One that is there is left as it is.

    :raises TetraError: code ``refused`` when something else has the name, for example a link.
    """
    if os.path.lexists(path):
        if os.path.islink(path) or not os.path.isdir(path):
            raise TetraError(f"{path} is not a folder", hint="remove what is there; a link is not followed", code=REFUSED)
        return
    os.mkdir(path, mode)
    os.chmod(path, mode)
    sync_folder(os.path.dirname(path))


def sync_folder(path: str) -> None:
    """Make renames in a folder last."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def append_line(path: str, line: bytes, mode: int = 0o644) -> None:
    """Add one line to a file, and make it last."""
    existed = os.path.exists(path)
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    with os.fdopen(descriptor, "ab") as file:
        file.write(line + b"\n")
        file.flush()
        os.fsync(descriptor)
    if not existed:
        sync_folder(os.path.dirname(path))


def sweep(folder: str) -> None:
    """Remove what killed runs left in a folder; the caller holds the lock under which it is written."""
    for name in os.listdir(folder):
        path = os.path.join(folder, name)
        if name.startswith(TEMPORARY) and not os.path.isdir(path):
            os.unlink(path)


def read_json(path: str) -> dict:
    """Read a record.

    :raises FileNotFoundError: when it is not there.
    :raises TetraError: code ``refused`` when it is damaged.
    """
    with open(path, "rb") as file:
        data = file.read()
    try:
        record = json.loads(data)
    except ValueError as error:
        raise TetraError(f"{path} is damaged: {error}", hint="restore it from a backup", code=REFUSED) from error
    if not isinstance(record, dict):
        raise TetraError(f"{path} is damaged: it holds no record", hint="restore it from a backup", code=REFUSED)
    return record


@contextlib.contextmanager
def lock(path: str, timeout: float) -> Iterator[None]:
    """Hold a lock file; it is never removed, and the kernel frees it when the holder dies.

    :raises TetraError: code ``refused`` when somebody else holds it for longer than ``timeout`` seconds.
    """
    descriptor = _acquire(path, time.monotonic() + timeout)
    try:
        yield
    finally:
        os.close(descriptor)


def _acquire(path: str, deadline: float) -> int:
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        if _try_lock(descriptor) and _is_still(descriptor, path):
            return descriptor
        os.close(descriptor)
        if time.monotonic() >= deadline:
            raise TetraError(f"another run holds {path}", hint="wait until it ends, then run again", code=REFUSED)
        time.sleep(0.05)


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
        found = os.stat(path)
    except FileNotFoundError:
        return False
    held = os.fstat(descriptor)
    return (found.st_dev, found.st_ino) == (held.st_dev, held.st_ino)
