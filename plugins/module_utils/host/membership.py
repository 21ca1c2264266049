# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which hosts a person took out of an environment; every other host of it keeps that, and writes down who and why."""

from __future__ import annotations

import os
import re
from typing import Any

from ..model.errors import TetraError
from . import durable, journal
from .layout import Environment

MEMBER = "member"
REMOVED = "removed"

_HOST = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:-]{0,252}")


def removed(environment: Environment) -> dict[str, dict[str, Any]]:
    """The hosts that were taken out: name to ``actor``, ``reason`` and ``time``."""
    folder = environment.removed
    names = sorted(os.listdir(folder)) if os.path.isdir(folder) else []
    return {name[: -len(".json")]: _read(os.path.join(folder, name)) for name in names if name.endswith(".json")}


def _read(path: str) -> dict[str, Any]:
    try:
        return durable.read_json(path)
    except durable.DamagedError as error:
        # Which host was taken out is certain: its file is there.
        return {"actor": "", "reason": error.message, "time": ""}


def change(environment: Environment, host: str, state: str, record: dict[str, Any]) -> bool:
    """Take a host out, or take it in again; the caller holds the lock of the environment.

    :param record: ``actor``, ``reason`` and ``time``, for the journal.
    :returns: whether that is new.
    """
    if not _HOST.fullmatch(host):
        raise TetraError(f"{host!r} is not the name of a host", hint="use its name in the inventory")
    path = os.path.join(environment.removed, f"{host}.json")
    if (state == REMOVED) == os.path.exists(path):
        return False
    durable.make_folder(environment.removed)
    journal.append(environment, {"kind": f"host_{state}", "host": host, **record})
    if state == REMOVED:
        durable.write_json(path, record)
    else:
        durable.remove_tree(path)
    return True
