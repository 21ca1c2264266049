# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Transactions as files: ``tx/<id>.<state>`` holds the record and is the state; beside it lease and decision."""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Iterable, Mapping
from typing import Any

from ..model import transaction
from ..model.errors import REFUSED, TetraError
from . import durable, processes
from .layout import Environment

HOLDER = "holder"
"""The part of the run that works on a transaction under the lock."""
WATCHER = "watcher"
"""The part of the deadman, which signs once it can take the host back."""

_ATTEMPTS = 5
_FORMAT = 1
_BOOT_ID = "/proc/sys/kernel/random/boot_id"


@dataclasses.dataclass(frozen=True)
class Transaction:
    """A transaction as it stands on disk; ``record`` is what was staged and never changes."""

    identity: str
    state: str
    record: Mapping[str, Any]


def states(environment: Environment) -> dict[str, str]:
    """Every transaction of an environment on this host: id to state, oldest first."""
    names = _names(environment)
    for _attempt in range(_ATTEMPTS):
        # A file that is renamed while a folder is read may be seen twice, or not at all.
        before, names = names, _names(environment)
        if names == before:
            break
    return dict(item for item in map(transaction.parse_file_name, names) if item)


def _names(environment: Environment) -> list[str]:
    return sorted(os.listdir(environment.tx)) if os.path.isdir(environment.tx) else []


def load(environment: Environment, identity: str) -> Transaction:
    """Read one transaction, in whichever state it is.

    :raises TetraError: code ``refused`` when the host does not know it, it is damaged, or a newer version wrote it.
    """
    for _attempt in range(_ATTEMPTS):
        state = states(environment).get(identity)
        if state is None:
            break
        try:
            path = _path(environment, identity, state)
            # What the host was to go back to stood there, so a person has to say what becomes of it.
            hint = (f"rename it to {transaction.file_name(identity, transaction.ABORTED)}; a push or a rollback then "
                    "goes on from what current names")
            return Transaction(identity, state, durable.read_sealed(path, transaction.FORMAT, hint))
        except FileNotFoundError:
            continue
    raise TetraError(
        f"this host knows no transaction {identity} of {environment.org}/{environment.env}",
        hint="it was never staged here, or others went on meanwhile; run the promotion again",
        code=REFUSED,
    )


def in_states(environment: Environment, wanted: tuple[str, ...]) -> list[Transaction]:
    """The transactions that are in one of some states, oldest first."""
    return [load(environment, name) for name, state in states(environment).items() if state in wanted]


def unwritten(environment: Environment, records: Iterable[Mapping[str, Any]]) -> list[Transaction]:
    """The transactions that ended and are not in the journal, because the run that ended them was killed.

    :param records: those of the journal.
    """
    written = {str(record.get("transaction")) for record in records}
    return [load(environment, identity) for identity in transaction.unwritten(states(environment), written)]


def create(environment: Environment, record: Mapping[str, Any]) -> None:
    """Write a new transaction as ``staged``; it must not exist."""
    path = _path(environment, record["id"], transaction.STAGED)
    durable.create_file(path, durable.sealed(record), 0o600)


def prune(environment: Environment, identities: Iterable[str]) -> None:
    """Forget transactions that ended, with all that was kept beside them; what the journal says of them stays."""
    doomed = set(identities)
    names = os.listdir(environment.tx) if os.path.isdir(environment.tx) else []
    # The state last: without it nobody would know that the rest belongs to something that ended.
    for name in sorted(names, key=lambda name: transaction.parse_file_name(name) is not None):
        path = os.path.join(environment.tx, name)
        if name.rpartition(".")[0] in doomed and os.path.isdir(path):
            durable.remove_tree(path)
        elif name.rpartition(".")[0] in doomed:
            durable.remove(path)


def move(environment: Environment, identity: str, state: str, following: str) -> bool:
    """Take a transaction from one state to the next.

    :returns: whether this caller did it; False means that somebody else moved it first.
    """
    if not transaction.may_follow(state, following):
        raise ValueError(f"a transaction does not go from {state} to {following}")
    try:
        durable.rename(_path(environment, identity, state), _path(environment, identity, following))
    except FileNotFoundError:
        return False
    return True


def write_lease(environment: Environment, identity: str, seconds: float, most: float) -> None:
    """Start the lease of a transaction, on the clock that no one can set.

    :param most: seconds that it can be renewed to at most, from now on.
    """
    now = time.monotonic()
    lease = {"boot": boot_id(), "deadline": now + seconds, "limit": now + most}
    _write_beside(environment, identity, "lease", lease)


def renew_lease(environment: Environment, identity: str, seconds: float) -> None:
    """Let a lease that still runs end in so many seconds, though not after its limit."""
    lease = _read_beside(environment, identity, "lease")
    renewed = {**lease, "deadline": min(time.monotonic() + seconds, lease["limit"])}
    _write_beside(environment, identity, "lease", renewed)


def seconds_left(environment: Environment, identity: str) -> float:
    """How long the lease still runs; zero or less when it is over, missing, damaged or from before a reboot."""
    try:
        lease = _read_beside(environment, identity, "lease")
    except (TetraError, FileNotFoundError):
        return 0.0
    return float(lease["deadline"]) - time.monotonic() if lease["boot"] == boot_id() else 0.0


def sign(environment: Environment, identity: str, part: str) -> None:
    """Name this process as the one that plays a part in a transaction: ``HOLDER`` or ``WATCHER``."""
    record = {"identity": processes.identity(os.getpid()), "format": _FORMAT}
    _write_without_lock(_beside(environment, identity, part), durable.sealed(record))


def signed(environment: Environment, identity: str, part: str) -> str | None:
    """The process identity (``pid:start``) of who last played a part in a transaction, living or not."""
    try:
        return str(_read_beside(environment, identity, part)["identity"])
    except (TetraError, FileNotFoundError):
        return None


def write_proof(environment: Environment, identity: str) -> None:
    """Note that the services of a transaction were proven healthy; without it nothing is confirmed."""
    _write_without_lock(_beside(environment, identity, "proven"), b"")


def standing(environment: Environment, found: Transaction) -> transaction.Standing:
    """How a transaction stands, by its state as it was read and by what lies beside it now."""
    proven = os.path.exists(_beside(environment, found.identity, "proven"))
    return transaction.Standing(found.state, seconds_left(environment, found.identity) > 0, proven)


def write_decision(environment: Environment, identity: str, decision: Mapping[str, Any]) -> None:
    """Keep what was decided for the whole fleet, before any host acts on it."""
    _write_beside(environment, identity, "decision", decision)


def decision(environment: Environment, identity: str) -> dict[str, Any] | None:
    """What was decided for the whole fleet, if this host was told; others were told the same, if this is damaged."""
    try:
        return _read_beside(environment, identity, "decision")
    except (durable.DamagedError, FileNotFoundError):
        return None


def boot_id() -> str:
    """The id of this boot of the host; a monotonic deadline means nothing in another one.

    A container shares that of its machine, so the start of the first process belongs to it.
    """
    with open(_BOOT_ID, encoding="ascii") as file:
        return f"{file.read().strip()} {processes.identity(1)}"


def age(environment: Environment, found: Transaction) -> float:
    """Seconds since a transaction was staged; after a restart of the host by a clock that may have been set."""
    begun = found.record.get("begun") or {}
    if begun.get("boot") == boot_id():
        return time.monotonic() - float(begun["at"])
    return max(0.0, time.time() - float(found.record["created"]))


def moment() -> dict[str, Any]:
    """Now, on the clock that nobody can set; it means something until the host is started again."""
    return {"boot": boot_id(), "at": time.monotonic()}


def _path(environment: Environment, identity: str, state: str) -> str:
    return os.path.join(environment.tx, transaction.file_name(identity, state))


def _beside(environment: Environment, identity: str, kind: str) -> str:
    return os.path.join(environment.tx, f"{identity}.{kind}")


def _write_without_lock(path: str, data: bytes) -> None:
    """Write a file while others may hold the lock, who remove what is half-written."""
    for attempt in range(_ATTEMPTS):
        try:
            durable.write_file(path, data, 0o600)
            return
        except FileNotFoundError:
            if attempt == _ATTEMPTS - 1:
                raise


def _write_beside(environment: Environment, identity: str, kind: str, record: Mapping[str, Any]) -> None:
    path = _beside(environment, identity, kind)
    durable.write_file(path, durable.sealed({**record, "format": _FORMAT}), 0o600)


def _read_beside(environment: Environment, identity: str, kind: str) -> dict[str, Any]:
    return durable.read_sealed(_beside(environment, identity, kind), _FORMAT)
