# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""How the hosts of an environment are moved together: in which batches, when to stop, and what becomes of each.

A host that was switched and proven healthy is ``probing`` until it is confirmed; one that failed takes itself back.
What is read back from hosts are states of their transactions; of a host that did not answer there is none.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from . import transaction

SWITCH = "active"
RENEW = "renewed"
DECIDE = "decided"
CONFIRM = "confirmed"
TAKE_BACK = "rolled_back"
ABORT = "aborted"
READ = "observed"
STAY = transaction.UNMOVED

ALL = "all"
BATCH = "batch"
STOP = "stop"
SCOPES = (ALL, BATCH, STOP)
"""What too many failures take back: all hosts, those of the batch in which it came to that, or only what failed."""


@dataclasses.dataclass(frozen=True)
class Terms:
    """How a fleet is moved: ``canary`` hosts first, then ``batch`` at a time (a number, a share such as ``25%``, or
    None for all); more than ``max_failures`` end the run, and so does any of a canary; then ``rollback_scope`` holds.
    """

    canary: int = 0
    batch: int | str | None = None
    max_failures: int = 0
    rollback_scope: str = ALL


def batches(hosts: Sequence[str], terms: Terms) -> list[list[str]]:
    """The hosts in the order in which they are switched, batch by batch; none is empty but the only one."""
    names = sorted(hosts)
    first, rest = names[: terms.canary], names[terms.canary :]
    step = _size(terms.batch, len(names)) or max(1, len(rest))
    found = [batch for batch in (first, *(rest[at : at + step] for at in range(0, len(rest), step))) if batch]
    return found or [[]]


def _size(batch: int | str | None, total: int) -> int:
    """How many hosts a batch has at most; nothing for all of them. A share of few hosts is one."""
    if isinstance(batch, str):
        return max(1, total * int(batch.rstrip("%")) // 100)
    return batch or 0


def switching(plan: Mapping[str, Any], states: Mapping[str, str], index: int, begun: int) -> dict[str, str]:
    """What hosts do when it is a batch's turn: its own switch, those of the batches before wait on with a new lease.

    :param plan: with ``batches`` and ``terms``.
    :param states: host to the state that was last read back from it.
    :param begun: how many batches were switched; no batch is once one before it was not.
    :returns: host to its step; nothing when not every host was staged, or when too many have failed.
    """
    if index != begun:
        return {}
    before = [host for batch in plan["batches"][:index] for host in batch]
    coming = [host for batch in plan["batches"][index:] for host in batch]
    if any(states.get(host) != transaction.STAGED for host in coming) or _ended_at(plan, states, index) is not None:
        return {}
    waiting = {host: RENEW for host in before if states.get(host) == transaction.PROBING}
    return {**waiting, **dict.fromkeys(plan["batches"][index], SWITCH)}


def ending(plan: Mapping[str, Any], states: Mapping[str, str], begun: int) -> dict[str, str]:
    """What becomes of each host at the end: confirmed, taken back, or given up before it was switched.

    None is confirmed unless every host that the plan leaves as it is has told that it is still so: another run may have
    moved it, and the fleet would be mixed.

    :param begun: how many batches were switched.
    :returns: host to its step; a host that took itself back, or that refused to be staged, has none.
    """
    return _ends(plan, states, begun, all(states.get(host) == STAY for host in _left(plan)))


def _left(plan: Mapping[str, Any]) -> list[str]:
    """The hosts that a plan leaves as they are."""
    moved = {host for batch in plan["batches"] for host in batch}
    return [host for host in plan["hosts"] if host not in moved]


def _ends(plan: Mapping[str, Any], states: Mapping[str, str], begun: int, of_one_mind: bool) -> dict[str, str]:
    ended = _ended_at(plan, states, begun)
    steps = {}
    for number, batch in enumerate(plan["batches"]):
        for host in batch:
            state = states.get(host)
            # Who was not asked to switch and is not known of can at most be staged.
            if state == transaction.STAGED or (state is None and number >= begun):
                steps[host] = ABORT
            elif number >= begun:
                continue
            elif state == transaction.PROBING and of_one_mind and _stays(plan, ended, number, begun):
                steps[host] = CONFIRM
            elif state is None or state not in transaction.TRANSITIONS or transaction.TRANSITIONS[state]:
                steps[host] = TAKE_BACK
    return steps


def deciding(plan: Mapping[str, Any], states: Mapping[str, str], begun: int) -> dict[str, str]:
    """The hosts that are told before any of them is confirmed, so that each can say later what was decided; and those
    that are asked whether they are still as the plan leaves them.
    """
    told = {host: DECIDE for host, step in _ends(plan, states, begun, True).items() if step == CONFIRM}
    return {**dict.fromkeys(_left(plan), STAY), **told} if told else {}


def reading(asked: Mapping[str, str], states: Mapping[str, str]) -> dict[str, str]:
    """The hosts whose answers to their last step were lost; what became of it is read back, it is not done again."""
    return {host: READ for host in asked if host not in states}


def again(asked: Mapping[str, str], states: Mapping[str, str]) -> dict[str, str]:
    """What is left to do on hosts whose answers were lost: the steps that they still wait for, by what was read back.

    :param asked: those hosts, with the steps whose answers were lost.
    """
    waiting = {CONFIRM: (transaction.PROBING,), TAKE_BACK: (transaction.STAGED, *transaction.OPEN),
               ABORT: (transaction.STAGED,)}
    return {host: step for host, step in asked.items() if states.get(host) in waiting[step]}


def _stays(plan: Mapping[str, Any], ended: int | None, number: int, begun: int) -> bool:
    """Whether a healthy host of a batch keeps what it was switched to."""
    if ended is None:
        return begun == len(plan["batches"])
    return {ALL: False, BATCH: number < ended, STOP: True}[plan["terms"]["rollback_scope"]]


def _ended_at(plan: Mapping[str, Any], states: Mapping[str, str], begun: int) -> int | None:
    """The number of the batch, of those that were switched, in which too many had failed; None when it never came to
    that.
    """
    failed = 0
    for number, batch in enumerate(plan["batches"][:begun]):
        here = sum(states.get(host) != transaction.PROBING for host in batch)
        failed += here
        if failed > plan["terms"]["max_failures"] or (here and number == 0 and plan["terms"]["canary"]):
            return number
    return None
