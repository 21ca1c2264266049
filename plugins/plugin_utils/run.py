# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the tasks of one run tell each other, and how the run's outcome reaches a person, AWX and a file."""

from __future__ import annotations

import getpass
import os
import secrets
import time
from pathlib import Path
from typing import Any

from ansible_collections.tetra.platform.plugins.module_utils.model import canonical, transaction
from ansible_collections.tetra.platform.plugins.plugin_utils import forms

_ACTORS = ("awx_user_name", "tower_user_name", "tetra_actor")


def new_transaction() -> str:
    """An id that sorts by time and is unique over all hosts."""
    return f"{time.strftime('%Y%m%dt%H%M%S', time.gmtime())}-{secrets.token_hex(4)}"


def actor(variables: dict[str, Any]) -> str:
    """Who acts, for the journal: the AWX user, else ``tetra_actor``, else the user who runs the controller.

    :param variables: variable name to its value, templates resolved.
    """
    named = next((str(variables[name]) for name in _ACTORS if variables.get(name)), None)
    return named or getpass.getuser()


def ended(outcome: str, message: str, result_file: str | None, **details: object) -> dict[str, Any]:
    """The result of a task that knows how the run ended; a later task fails with ``message`` when that is not good.

    The outcome goes into ``set_stats`` and, when asked for, as canonical JSON into a file.
    """
    # It is printed by Ansible as it is, and may tell what a file or a host says.
    shown = forms.shown(message)
    result = {"outcome": outcome, "exit_code": transaction.EXIT_CODES[outcome], "message": shown, **details}
    if result_file:
        _write(Path(result_file), canonical.dumps(result) + "\n")
    stats = {"data": {"tetra_outcome": outcome, "tetra_result": result}, "per_host": False, "aggregate": False}
    return {**result, "changed": outcome == transaction.APPLIED, "ansible_stats": stats}


def _write(path: Path, text: str) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(text, encoding="ascii")
    temporary.replace(path)
