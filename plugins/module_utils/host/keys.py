# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keyed digests of secrets: they tell that a secret changed and tell nothing about it to who does not have the key.

The key is made when a host is prepared and never leaves it.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
from collections.abc import Mapping
from typing import Any

from ..model import canonical
from . import durable
from .layout import Home

_BYTES = 32


def path(home: Home) -> str:
    """The file of the key of a host; readable by its owner alone."""
    return os.path.join(home.config, "digest.key")


def ensure(home: Home) -> bool:
    """Make the key of a host if it has none that is whole; whether it was made."""
    if is_whole(home):
        return False
    durable.remove_tree(path(home))
    durable.create_file(path(home), secrets.token_bytes(_BYTES), 0o600)
    return True


def is_whole(home: Home) -> bool:
    """Whether a host has its key; with a shorter one digests would tell something about secrets."""
    try:
        return len(_key(home)) == _BYTES
    except OSError:
        return False


def _key(home: Home) -> bytes:
    with open(path(home), "rb") as file:
        return file.read()


def digests(home: Home, values: Mapping[str, str]) -> dict[str, Any]:
    """The keyed digests of secrets, and the id of the key that they were made with.

    :returns: ``{"key": id, "digests": {name: hex}}``
    :raises DamagedError: when the key is missing or damaged.
    """
    if not is_whole(home):
        raise durable.DamagedError(path(home), f"it does not hold {_BYTES} bytes", "run playbooks/prepare.yml, which "
                                   "makes another; services that use secrets are then restarted by the next push")
    key = _key(home)
    return {
        "key": canonical.sha256(b"tetra digest key id" + key)[:16],
        "digests": {
            name: hmac.new(key, f"{name}\0{value}".encode(), hashlib.sha256).hexdigest()
            for name, value in sorted(values.items())
        },
    }
