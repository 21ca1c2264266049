# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The users that services run as: one for each organization, with a home that only it can enter."""

from __future__ import annotations

import grp
import os
import pwd
import subprocess
from typing import Any

from ..model.errors import REFUSED, TetraError
from . import durable

_SHELLS = ("/usr/sbin/nologin", "/sbin/nologin", "/bin/false")


def find(name: str) -> pwd.struct_passwd | None:
    """The account of a name, if there is one."""
    try:
        return pwd.getpwnam(name)
    except KeyError:
        return None


def credentials(name: str) -> dict[str, Any]:
    """What ``subprocess`` needs to run a program as a user, with all groups of that user.

    :raises TetraError: code ``refused`` when there is no such user.
    """
    account = find(name)
    if account is None:
        raise TetraError(f"there is no user {name}", hint=f"useradd --system {name}, or push again", code=REFUSED)
    groups = os.getgrouplist(name, account.pw_gid)
    return {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": groups}


def ensure(name: str, home: str) -> None:
    """Make the user of an organization, and its home, unless they are there; an existing user keeps its own home.

    :raises TetraError: code ``refused`` when the system does not make it.
    """
    account = find(name) or _make(name, home)
    if account.pw_dir == home:
        durable.make_folder(os.path.dirname(home), 0o755)
        _make_home(home, account)


def _make(name: str, home: str) -> pwd.struct_passwd:
    shell = next((path for path in _SHELLS if os.path.exists(path)), _SHELLS[-1])
    group = ["--gid", name] if _has_group(name) else ["--user-group"]
    command = ["useradd", "--system", *group, "--no-create-home", "--home-dir", home, "--shell", shell, name]
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    except OSError as error:
        raise TetraError(f"useradd could not be run: {error.strerror}", hint=f"make the user {name} by hand",
                         code=REFUSED) from error
    account = find(name)
    if account is None:
        said = done.stderr.strip() or f"exit code {done.returncode}"
        raise TetraError(f"user {name} was not made: {said}", hint=f"make the user {name} by hand", code=REFUSED)
    return account


def _has_group(name: str) -> bool:
    try:
        grp.getgrnam(name)
    except KeyError:
        return False
    return True


def _make_home(home: str, account: pwd.struct_passwd) -> None:
    if not os.path.isdir(home):
        os.mkdir(home, 0o700)
    found = os.lstat(home)
    if found.st_uid != account.pw_uid:
        # A run that was killed before it could give the folder away.
        os.chown(home, account.pw_uid, account.pw_gid, follow_symlinks=False)
