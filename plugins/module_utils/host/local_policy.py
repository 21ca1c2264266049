# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the owner of a host allows organizations to do on it: ``/etc/tetra/policy.json``, which only root can change."""

from __future__ import annotations

import os
from collections.abc import Mapping

from ..model import canonical
from ..model.errors import REFUSED, TetraError
from . import durable

FORMAT = 1
PATH = "/etc/tetra/policy.json"


def users(org: str) -> list[str]:
    """The users, besides its own, that an organization may run services as; none where there is no policy.

    :raises TetraError: code ``refused`` for a policy that is not understood, or that others than root can change.
    """
    if not os.path.exists(PATH):
        return []
    found = os.stat(PATH)
    if found.st_uid != 0 or found.st_mode & 0o022:
        raise TetraError(f"{PATH} can be changed by others than root", hint=f"chown root {PATH}; chmod 0644 {PATH}",
                         code=REFUSED)
    record = durable.read_json(PATH)
    if record.get("format") != FORMAT or not isinstance(record.get("users"), dict):
        raise TetraError(f"{PATH} has a form that this version does not read", hint="run playbooks/prepare.yml again",
                         code=REFUSED)
    return list(record["users"].get(org, []))


def encode(allowed: Mapping[str, list[str]]) -> bytes:
    """The text of the policy.

    :param allowed: organization to the users that it may run services as, besides its own.
    """
    record = {"format": FORMAT, "users": {org: sorted(names) for org, names in allowed.items()}}
    return canonical.dumps(record).encode("ascii") + b"\n"
