# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""How programs are run: quietly, and with all that they said when they fail."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent

_SHOWN = 4000


class BenchmarkError(Exception):
    """Something did not work, so there is no figure."""


def run(command: Sequence[object], environment: Mapping[str, str] | None = None, data: bytes = b"") -> str:
    """What a program says on its standard output.

    :param environment: variables besides those of this process.
    :param data: its standard input.
    :raises BenchmarkError: when its exit code is not 0.
    """
    words = [str(word) for word in command]
    done = subprocess.run(
        words, cwd=ROOT, env={**os.environ, **(environment or {})}, input=data, capture_output=True, check=False
    )
    output = done.stdout.decode("utf-8", "replace")
    if done.returncode:
        said = (output + done.stderr.decode("utf-8", "replace"))[-_SHOWN:]
        raise BenchmarkError(f"{' '.join(words)[:200]}: exit code {done.returncode}\n{said}")
    return output
