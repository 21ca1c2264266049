# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""How the scripts of this folder run programs: the output is shown as it comes, and read for what pytest counted."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

_SUMMARY = re.compile(r"^=*\s*(?:\d+ [a-z]+(?:, )?)+ in \d", re.MULTILINE)


def run(arguments: Sequence[str], environment: Mapping[str, str] | None = None, cwd: Path = ROOT) -> tuple[int, str]:
    """Run a program and show what it says.

    :returns: its exit code and all that it said.
    """
    lines = []
    with subprocess.Popen(
        arguments, cwd=cwd, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, errors="replace",
    ) as process:  # fmt: skip
        for line in process.stdout:
            sys.stdout.write(line)
            sys.stdout.flush()
            lines.append(line)
    return process.returncode, "".join(lines)


def counted(output: str, word: str = "passed") -> int:
    """How many tests pytest's last lines call ``passed`` (or skipped, ...), over all its runs in some output."""
    summaries = [output[found.start() :].splitlines()[0] for found in _SUMMARY.finditer(output)]
    return sum(int(number) for line in summaries for number in re.findall(rf"(\d+) {word}", line))
