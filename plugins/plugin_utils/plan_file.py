# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A plan in a file: written before somebody approves it, and held against what would be done when it is applied."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible_collections.tetra.platform.plugins.module_utils.model import canonical, plan
from ansible_collections.tetra.platform.plugins.module_utils.model.errors import REFUSED, TetraError

_FORMAT = 1
_SHOWN = 50
_HINT = "playbooks/plan.yml writes one"


def write(path: str, record: Mapping[str, Any], bundle: Mapping[str, Any] | None) -> None:
    """Write a plan, with the sha256 of each file of its bundle where that is known.

    :raises TetraError: when the file cannot be written.
    """
    content = {"format": _FORMAT, "plan_id": plan.plan_id(record), "plan": record, "files": _files(bundle)}
    temporary = Path(f"{path}.{os.getpid()}.tmp")
    try:
        temporary.write_text(canonical.dumps(content) + "\n", encoding="ascii")
        temporary.replace(path)
    except OSError as error:
        raise TetraError(f"{path} cannot be written: {error.strerror}", hint="name another file") from error


def check(path: str, record: Mapping[str, Any], bundle: Mapping[str, Any] | None) -> None:
    """Make sure that what is about to be done is what a file says.

    :raises TetraError: code ``refused``, listing what changed since; and for a file that holds no plan.
    """
    written = _read(path)
    if plan.plan_id(record) == written["plan_id"]:
        return
    lines = [*plan.differences(written["plan"], record), *_changed_files(written["files"], _files(bundle))]
    more = [f"and {len(lines) - _SHOWN} more"] if len(lines) > _SHOWN else []
    raise TetraError(
        "\n".join([f"the plan in {path} is not what would be done now:", *lines[:_SHOWN], *more]),
        hint="make a new plan, look at it, and apply that one",
        code=REFUSED,
    )


def _read(path: str) -> dict[str, Any]:
    try:
        read = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise TetraError(f"the plan {path} cannot be read: {error.strerror}", hint=_HINT) from error
    except (ValueError, RecursionError) as error:
        raise TetraError(f"{path} holds no plan: {error}", hint=_HINT) from error
    content: dict[str, Any] = read if isinstance(read, dict) else {}
    record = content.get("plan") if content.get("format") == _FORMAT else None
    if not isinstance(record, dict) or not isinstance(content.get("files"), dict):
        raise TetraError(f"{path} holds no plan that this version reads", hint=_HINT)
    if plan.plan_id(record) != content.get("plan_id"):
        raise TetraError(f"{path} was changed: its plan is not the one that its plan_id names", hint=_HINT)
    return content


def _files(bundle: Mapping[str, Any] | None) -> dict[str, str]:
    """Path in the bundle to what tells one content from another."""
    files = bundle["files"] if bundle else {}
    return {path: canonical.digest(entry) for path, entry in files.items()}


def _changed_files(old: Mapping[str, str], new: Mapping[str, str]) -> list[str]:
    words = {True: "changed", False: "is new"}
    lines = [f"{path}: {words[path in old]}" for path in sorted(new) if old.get(path) != new[path]]
    return lines + [f"{path}: is gone" for path in sorted(old) if path not in new]
