# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a command of ``tsm`` found out."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from ..model import transaction


@dataclasses.dataclass(frozen=True)
class Answer:
    """What a command found out: ``document`` for programs, ``text`` for people, ``problems`` it met on its way."""

    document: Mapping[str, Any]
    text: str
    problems: Sequence[str] = ()
    code: str = transaction.UNCHANGED
