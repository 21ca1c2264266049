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

_FAILURE = re.compile(r"(FAILED|ERROR) \S+\.py::")
_LAST = 20
_SUMMARY = re.compile(r"=*\s*(?:\d+ [a-z]+(?:, )?)+ in \d")


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


def summaries(output: str) -> int:
    """How many runs of pytest with tests there are in some output."""
    return sum(counted(line) > 0 for line in map(_plain, output.splitlines()))


def counted(output: str, word: str = "passed") -> int:
    """How many tests pytest's last lines call ``passed`` (or skipped, ...), over all its runs in some output."""
    ends = [line for line in map(_plain, output.splitlines()) if _SUMMARY.match(line)]
    return sum(int(number) for line in ends for number in re.findall(rf"(\d+) {word}", line))


def reasons(output: str) -> list[str]:
    """Why a program failed, for who sees only the end of a log: the failures that pytest lists, or its last lines."""
    lines = [line for line in map(_plain, output.splitlines()) if line]
    return [line for line in lines if _FAILURE.match(line)] or lines[-_LAST:]


def _plain(line: str) -> str:
    """A line without the frame that molecule may draw around it."""
    return line.strip(" │")
