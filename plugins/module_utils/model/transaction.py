# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The transaction: one attempt to move one host to another release, as a state machine, and the outcomes it leads to.

The state of a transaction is the name of one file, ``<id>.<state>``, so a step from one state to the next is one
rename, and of two actors who rename the same file exactly one succeeds.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Container, Iterable, Mapping

FORMAT = 1

STAGED = "staged"
ARMED = "armed"
ACTIVATED = "activated"
PROBING = "probing"
CONFIRMED = "confirmed"
ROLLING_BACK = "rolling_back"
ROLLED_BACK = "rolled_back"
ROLLBACK_FAILED = "rollback_failed"
ABORTED = "aborted"

TRANSITIONS: Mapping[str, tuple[str, ...]] = {
    STAGED: (ARMED, ABORTED),
    ARMED: (ACTIVATED, ROLLING_BACK),
    ACTIVATED: (PROBING, ROLLING_BACK),
    PROBING: (CONFIRMED, ROLLING_BACK),
    ROLLING_BACK: (ROLLED_BACK, ROLLBACK_FAILED),
    CONFIRMED: (),
    ROLLED_BACK: (),
    ROLLBACK_FAILED: (),
    ABORTED: (),
}

STATES = tuple(TRANSITIONS)
OPEN = (ARMED, ACTIVATED, PROBING, ROLLING_BACK)
"""States in which a host is between two releases; nobody else may move it."""
REVERTIBLE = (ARMED, ACTIVATED, PROBING)
"""States that a revert may be started from."""
WRITTEN = (CONFIRMED, ROLLED_BACK, ROLLBACK_FAILED)
"""Ends that are written into the journal."""
IN_VAIN = (ABORTED, ROLLED_BACK, ROLLBACK_FAILED)
"""Ends of attempts whose release the host does not run."""

UNMOVED = "unmoved"
"""What a host tells that a run leaves as it is: no state of a transaction."""

APPLIED = "applied"
UNCHANGED = "unchanged"
REFUSED = "refused"
PARTIAL = "partial"
UNCONFIRMED = "unconfirmed"
INVALID = "invalid"

EXIT_CODES: Mapping[str, int] = {
    APPLIED: 0,
    UNCHANGED: 0,
    REFUSED: 10,
    ROLLED_BACK: 11,
    PARTIAL: 12,
    UNCONFIRMED: 13,
    ROLLBACK_FAILED: 14,
    INVALID: 15,
}
OUTCOMES = tuple(EXIT_CODES)

_HOST_OUTCOMES = {
    CONFIRMED: APPLIED,
    ROLLED_BACK: ROLLED_BACK,
    ROLLBACK_FAILED: ROLLBACK_FAILED,
    STAGED: REFUSED,
    ABORTED: REFUSED,
    UNMOVED: UNCHANGED,
}


def may_follow(state: str, following: str) -> bool:
    """Whether a transaction in ``state`` may be moved to ``following``."""
    return following in TRANSITIONS.get(state, ())


@dataclasses.dataclass(frozen=True)
class Standing:
    """How a transaction stands on a host: its ``state``, whether its lease ``runs`` still, and whether its services
    were ``proven`` healthy.
    """

    state: str
    runs: bool = False
    proven: bool = False


def may_wait(standing: Standing) -> bool:
    """Whether a host that was switched waits on, with a new lease, and is told what was decided for its fleet."""
    return standing.state == PROBING and standing.runs


def may_confirm(standing: Standing) -> bool:
    """Whether a switch may be made final."""
    return may_wait(standing) and standing.proven


def is_over(standing: Standing) -> bool:
    """Whether a host is between two releases and nobody may confirm any more, so that whoever sees it takes it back."""
    return standing.state in OPEN and not standing.runs


def longest(lease: float, batches: int) -> float:
    """Seconds to which a lease can be renewed: once for each batch and once for the decision, and what is left is for
    the way of the answers.
    """
    return lease * (batches + 2)


def unwritten(states: Mapping[str, str], written: Container[str]) -> list[str]:
    """The transactions that ended on a host whose run was killed before that was in the journal.

    :param states: id to state.
    :param written: the ids that the journal has.
    """
    return [identity for identity, state in states.items() if state in WRITTEN and identity not in written]


def file_name(identity: str, state: str) -> str:
    """The name of the file that is a transaction in a state."""
    return f"{identity}.{state}"


def parse_file_name(name: str) -> tuple[str, str] | None:
    """The id and the state that a file name stands for, or None when it is no transaction."""
    identity, separator, state = name.rpartition(".")
    return (identity, state) if separator and identity and state in TRANSITIONS else None


def host_outcome(state: str | None) -> str:
    """What one host ended as, from the last state that was read back from it; None means that nothing was read."""
    return _HOST_OUTCOMES.get(state or "", UNCONFIRMED)


def fleet_outcome(hosts: Iterable[str]) -> str:
    """The outcome of a whole run from the outcomes of its hosts.

    The worst thing that a person has to act on wins; hosts that disagree about the release make it ``partial``.
    """
    seen = set(hosts)
    for outcome in (ROLLBACK_FAILED, UNCONFIRMED, INVALID):
        if outcome in seen:
            return outcome
    if seen <= {UNCHANGED}:
        return UNCHANGED
    if seen <= {APPLIED, UNCHANGED}:
        return APPLIED
    if APPLIED in seen or PARTIAL in seen:
        return PARTIAL
    return ROLLED_BACK if ROLLED_BACK in seen else REFUSED
