# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Operations on the journal of one environment."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from ...model import journal as chain
from ...model import transaction
from .. import journal, store, transactions
from ..scope import open_scope


def journal_info(request: Mapping[str, Any]) -> dict[str, Any]:
    """The journal of an environment on this host, damaged or not; writes nothing.

    :param request: ``tetra_dir``, ``org``, ``env``.
    :returns: ``records`` up to the first damage, ``damage`` (``seq``, ``reason``, ``torn``) or None, ``head``, and what
        the journal should agree with: ``current``, the release that runs, and ``open``, whether a transaction is open.
    """
    environment = open_scope(request["tetra_dir"], request["org"], request["env"]).environment
    records, damage = journal.examine(environment)
    return {
        "changed": False,
        "records": records,
        "damage": dataclasses.asdict(damage) if damage else None,
        "head": chain.head(records),
        "current": store.current(environment),
        "open": any(True for _found in transactions.in_states(environment, transaction.OPEN)),
    }
