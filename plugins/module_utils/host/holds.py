# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bundles that must not be tried again on this host until a person says so."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from . import durable, journal
from .layout import Environment


def read(environment: Environment) -> dict[str, dict[str, Any]]:
    """The bundles that are on hold: digest to ``transaction``, ``reason`` and ``check``."""
    folder = environment.holds
    names = sorted(os.listdir(folder)) if os.path.isdir(folder) else []
    found = [durable.read_json(os.path.join(folder, name)) for name in names if name.endswith(".json")]
    return {hold["bundle"]: hold for hold in found}


def put(environment: Environment, bundle: str, why: Mapping[str, str]) -> None:
    """Put a bundle on hold.

    :param why: ``transaction``, ``reason`` and ``check``.
    """
    durable.write_json(_path(environment, bundle), {"format": 1, "bundle": bundle, **why})


def lift(environment: Environment, bundle: str, record: Mapping[str, str]) -> None:
    """Take a hold away on a person's word, and write down whose; the caller holds the lock of the environment.

    :param record: ``actor``, ``reason`` and ``time``, for the journal.
    """
    path = _path(environment, bundle)
    if os.path.exists(path):
        hold = durable.read_json(path)
        journal.append(environment, {"kind": "hold_lifted", "bundle": bundle, "hold": hold, **record})
        durable.remove(path)


def _path(environment: Environment, bundle: str) -> str:
    return os.path.join(environment.holds, f"{bundle}.json")
