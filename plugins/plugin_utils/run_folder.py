# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The folder of one run on the controller: the plan, the files that hosts lack, and what was heard of them so far.

What tasks hand on as variables, Ansible walks through and templates for every task and every host again, which costs
more than the tasks themselves; so they hand on the folder. It is gone when the run ends.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ansible import constants

_PLAN = "plan.json"
_PROGRESS = "progress.json"


def make(plan: Mapping[str, Any], blobs: Mapping[str, Callable[[], bytes]]) -> str:
    """Lay a plan ready, with the files that some host lacks.

    :param plan: whatever the tasks after the plan need of it, as plain data.
    :param blobs: sha256 of a file to a function that reads it.
    :returns: the path of the folder.
    """
    folder = Path(tempfile.mkdtemp(prefix="tetra-", dir=constants.DEFAULT_LOCAL_TMP))
    (folder / _PLAN).write_text(json.dumps(plan))
    for digest, read in blobs.items():
        blob(folder, digest).write_bytes(read())
    return str(folder)


def plan(folder: str) -> dict[str, Any]:
    """The plan that was laid ready."""
    record: dict[str, Any] = json.loads(Path(folder, _PLAN).read_text())
    return record


def blob(folder: str | Path, digest: str) -> Path:
    """The file that holds a blob."""
    return Path(folder, digest)


def progress(folder: str) -> dict[str, Any]:
    """What was kept last; nothing has happened before that.

    :returns: ``steps`` (host to the state that its transaction was last taken to), ``asked`` (the same for the hosts
        whose last answer was lost), ``heard`` (see ``progress``) and ``begun``, how many batches were switched.
    """
    kept = Path(folder, _PROGRESS)
    if kept.exists():
        record: dict[str, Any] = json.loads(kept.read_text())
        return record
    return {"steps": dict.fromkeys(plan(folder)["moving"], "staged"), "asked": {}, "heard": {}, "begun": 0}


def keep_progress(folder: str, record: Mapping[str, Any]) -> None:
    """Keep what :func:`progress` tells from now on."""
    Path(folder, _PROGRESS).write_text(json.dumps(record))
