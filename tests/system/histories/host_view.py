# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is on a host, told by a program there: ``python3 -m system.histories.host_view TETRA_DIR look | broken``.

``look`` prints the transactions of an environment with all that lies beside them; ``broken`` the invariants that do not
hold after what every next run begins with.
"""

from __future__ import annotations

import dataclasses
import json
import sys
import time
from typing import Any

from ansible_collections.tetra.platform.plugins.module_utils.host import engine, holds, journal, store, transactions
from ansible_collections.tetra.platform.plugins.module_utils.host.scope import Scope, open_scope
from ansible_collections.tetra.platform.plugins.module_utils.model import transaction

from .. import invariants


def look(scope: Scope) -> dict[str, Any]:
    """The state of a host: ``current``, ``journal`` (ids and outcomes), ``transactions`` by id, ``holds``, ``now``."""
    environment = scope.environment
    return {
        "now": time.monotonic(),
        "current": store.current(environment),
        "journal": [[record.get("transaction"), record.get("outcome")] for record in journal.read(environment)],
        "transactions": {one: _transaction(scope, one) for one in transactions.states(environment)},
        "holds": sorted(holds.read(environment)),
    }


def _transaction(scope: Scope, identity: str) -> dict[str, Any]:
    found = transactions.load(scope.environment, identity)
    standing = transactions.standing(scope.environment, found)
    return {
        **dataclasses.asdict(standing),
        "left": transactions.seconds_left(scope.environment, identity),
        "decided": transactions.decision(scope.environment, identity) is not None,
    }


def broken(scope: Scope, secret: str) -> list[str]:
    """The invariants that do not hold once the next run has settled what others left."""
    with engine.locked(scope):
        engine.settle(scope)
    found = transactions.in_states(scope.environment, transaction.STATES)
    expected = {None, *(one.record["to"] for one in found), *(one.record["from"] for one in found)}
    return invariants.broken(scope, expected, secret)


if __name__ == "__main__":
    _scope = open_scope(sys.argv[1], "acme", "dev")
    print(json.dumps(look(_scope) if sys.argv[2] == "look" else broken(_scope, sys.argv[3])))
