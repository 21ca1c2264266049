# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bundles that must not be tried again on this host until a person says so."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from . import durable, journal
from .layout import Environment

_FORMAT = 1


def read(environment: Environment) -> dict[str, dict[str, Any]]:
    """The bundles that are on hold: digest to ``transaction``, ``reason`` and ``check``."""
    folder = environment.holds
    names = sorted(os.listdir(folder)) if os.path.isdir(folder) else []
    bundles = [name[: -len(".json")] for name in names if name.endswith(".json")]
    return {bundle: _read(environment, bundle) for bundle in bundles}


def _read(environment: Environment, bundle: str) -> dict[str, Any]:
    try:
        return durable.read_sealed(_path(environment, bundle), _FORMAT)
    except durable.DamagedError as error:
        # That it is on hold is certain: its file is there.
        return {"format": _FORMAT, "bundle": bundle, "transaction": "", "reason": error.message, "check": ""}


def put(environment: Environment, bundle: str, why: Mapping[str, str]) -> None:
    """Put a bundle on hold.

    :param why: ``transaction``, ``reason`` and ``check``.
    """
    durable.write_file(_path(environment, bundle), durable.sealed({"format": _FORMAT, "bundle": bundle, **why}))


def lift(environment: Environment, bundle: str, record: Mapping[str, str]) -> None:
    """Take a hold away on a person's word, and write down whose; the caller holds the lock of the environment.

    :param record: ``actor``, ``reason`` and ``time``, for the journal.
    """
    path = _path(environment, bundle)
    if os.path.exists(path):
        hold = _read(environment, bundle)
        journal.append(environment, {"kind": "hold_lifted", "bundle": bundle, "hold": hold, **record})
        durable.remove_tree(path)


def _path(environment: Environment, bundle: str) -> str:
    return os.path.join(environment.holds, f"{bundle}.json")
