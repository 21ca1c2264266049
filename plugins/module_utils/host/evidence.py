# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is kept of a failed release before it is taken away: why, the state of its services, the end of their logs."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Container, Mapping
from typing import Any

from ..model.errors import TetraError
from . import durable, running, store
from .scope import Scope
from .transactions import Transaction

_LOG_BYTES = 64 * 1024


def path(scope: Scope, identity: str) -> str:
    """The folder with the evidence of a transaction."""
    return os.path.join(scope.environment.evidence, identity)


def exists(scope: Scope, identity: str) -> bool:
    """Whether evidence of a transaction was kept."""
    return os.path.isdir(path(scope, identity))


def collect(scope: Scope, found: Transaction, cause: Mapping[str, Any]) -> None:
    """Keep the evidence of a transaction that is about to be reverted; values of its secrets are blacked out.

    A part that cannot be had is said to be missing. Neither that nor a disk that is full stops the revert.
    """
    with contextlib.suppress(TetraError, OSError):
        _collect(scope, found, cause)


def _collect(scope: Scope, found: Transaction, cause: Mapping[str, Any]) -> None:
    folder = path(scope, found.identity)
    durable.make_folder(folder, 0o700)
    # A revert that was killed may have begun with it.
    durable.sweep(folder)
    hidden = secrets(scope, found.record["to"])
    services = running.observe(scope)
    durable.write_json(
        os.path.join(folder, "summary.json"),
        {"format": 1, "transaction": found.identity, "cause": dict(cause), "services": services},
        0o600,
    )
    for name, service in services.items():
        if service["release"] == found.record["to"]:
            text = _black_out(_tail(scope, name), hidden)
            durable.write_file(os.path.join(folder, f"{name}.log"), text.encode("utf-8", "replace"), 0o600)


def edited(scope: Scope, identity: str) -> str:
    """The folder for what a person had put where a transaction puts something else; made when there is something."""
    return os.path.join(path(scope, identity), "edited")


def keep_edited(scope: Scope, identity: str) -> None:
    """Keep copies of the units that were edited by hand, before they are written anew."""
    units = scope.units(running.observe(scope))
    for source in (place for places in scope.supervisor.edited(units).values() for place in places):
        if os.path.isfile(source):
            target = os.path.join(edited(scope, identity), "units", os.path.basename(source))
            os.makedirs(os.path.dirname(target), mode=0o700, exist_ok=True)
            shutil.copyfile(source, target)


def prune(scope: Scope, keep: Container[str]) -> None:
    """Remove the evidence of all transactions but some."""
    folder = scope.environment.evidence
    for name in os.listdir(folder) if os.path.isdir(folder) else []:
        if name not in keep:
            durable.remove_tree(os.path.join(folder, name))


def without_secrets(scope: Scope, release: str, text: str) -> str:
    """A text that a service may have had a part in, with the values of its secrets blacked out."""
    return _black_out(text, secrets(scope, release))


def secrets(scope: Scope, release: str) -> list[str]:
    """The values of the secrets that a release runs with here, as far as they are known."""
    try:
        return [value for value in store.private(scope.environment, release)["secrets"].values() if value]
    except TetraError:
        return []


def _tail(scope: Scope, service: str) -> str:
    try:
        return scope.supervisor.tail(scope.unit(service), _LOG_BYTES)
    except TetraError as error:
        return f"(no log: {error})\n"


def _black_out(text: str, secrets: list[str]) -> str:
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, "********")
    return text
