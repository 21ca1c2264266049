# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""How the system says that something is wrong: errors that stop, and findings that are collected."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

INVALID = "invalid"
REFUSED = "refused"

ERROR = "error"
WARNING = "warning"


class TetraError(Exception):
    """Something a person has to know: what is wrong, and what to do about it.

    :param message: what, where and why, in one sentence.
    :param hint: what to do; may be empty.
    :param code: the outcome that this error leads to, one of the closed set in ``model.transaction``.
    :param findings: everything that was found, where the message is made of some of it.
    """

    def __init__(
        self, message: str, hint: str = "", code: str = INVALID, findings: Sequence[Finding] = ()
    ) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.code = code
        self.findings = findings

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message


@dataclasses.dataclass(frozen=True)
class Finding:
    """One remark on a file that was read; ``line`` and ``column`` count from 1, 0 means the whole file."""

    severity: str
    code: str
    message: str
    file: str = ""
    line: int = 0
    column: int = 0
    hint: str = ""

    def to_wire(self) -> dict[str, Any]:
        """The finding as plain data, with the keys that modules return."""
        return dataclasses.asdict(self)

    def __str__(self) -> str:
        place = ":".join(str(part) for part in (self.file, self.line, self.column) if part)
        text = f"{place}: {self.message}" if place else self.message
        return f"{text} ({self.hint})" if self.hint else text


def at(file: str, line: int, column: int, message: str, hint: str) -> TetraError:
    """An error at a place of a file, which its message names; ``line`` and ``column`` as in :class:`Finding`."""
    place = ":".join(str(part) for part in (file, line, column) if part)
    finding = Finding(ERROR, INVALID, message, file, line, column, hint)
    return TetraError(f"{place}: {message}", hint=hint, findings=[finding])


def raise_on_errors(findings: list[Finding]) -> None:
    """Raise one :class:`TetraError` that lists every finding of severity ``error``; return when there is none."""
    errors = [str(finding) for finding in findings if finding.severity == ERROR]
    if errors:
        raise TetraError("\n".join(errors), code=INVALID, findings=findings)
