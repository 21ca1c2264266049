# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Texts that tell whether somebody edited them: the last line, a comment, holds the sha256 of all lines before it.

So an edit is told from what another version of us has written, which differs too. It is no protection against somebody
who wants to hide an edit.
"""

from __future__ import annotations

from . import canonical

_MARK = "# sha256 "


def sealed(text: str) -> str:
    """A text of whole lines with its seal; for files in which ``#`` begins a comment."""
    return f"{text}{_MARK}{canonical.sha256(text.encode())}\n"


def is_whole(text: str) -> bool:
    """Whether a text is as it was when it got its seal."""
    content, _mark, _digest = text.rpartition(_MARK)
    return sealed(content) == text
