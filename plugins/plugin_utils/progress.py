# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run has heard of each host so far: the state that was read back last, and why it is that one; and what follows
from that for its next step and for its outcome."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ansible_collections.tetra.platform.plugins.module_utils.model import fleet, transaction

REFUSED = transaction.REFUSED
LOST = ""
_KEPT = ("release", "evidence", "check", "services", "reports")


def collect(
    so_far: Mapping[str, Mapping[str, Any]], answers: Mapping[str, Mapping[str, Any]], asked: Iterable[str]
) -> dict[str, dict[str, Any]]:
    """Add the answers to one step to what was heard before.

    :param so_far: host to its record, as this function returns it.
    :param answers: host to the result that its task registered.
    :param asked: the hosts that had something to do in this step; of the others nothing is new.
    :returns: host to ``state`` (of its transaction; ``refused`` when it never began one, empty when an answer was
        lost, or told of an error), ``began``, whether it ever told a state, ``detail`` and what else was told.
    """
    found = {host: dict(record) for host, record in so_far.items()}
    for host in asked:
        found[host] = _record(found.get(host, {}), answers.get(host) or {})
    return found


def states(so_far: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Host to the state that was read back last; a host of which none is known is missing."""
    return {host: record["state"] for host, record in so_far.items() if record["state"] != LOST}


def advance(
    plan: Mapping[str, Any], before: Mapping[str, Any], answers: Mapping[str, Mapping[str, Any]], phase: str, batch: int
) -> dict[str, Any]:
    """From what the hosts answered to what each of them does next.

    :param before: ``steps`` (host to what it was asked for last), ``asked`` (the same for the hosts whose last answer
        was lost), ``heard`` so far and ``begun``, how many batches were switched.
    :param answers: host to the result that its task registered.
    :param phase: ``switch`` for a ``batch``, ``decide`` before hosts are confirmed, ``end`` for how each ends, ``read``
        and ``again`` for those whose answers to that were lost.
    :returns: the same keys for the next time.
    """
    heard = collect(before["heard"], answers, before["steps"])
    found, begun, asked = states(heard), before["begun"], before["asked"]
    if phase == "switch":
        steps = fleet.switching(plan, found, batch, begun)
        begun += bool(steps)
    elif phase == "decide":
        steps = fleet.deciding(plan, found, begun)
    elif phase == "end":
        steps = fleet.ending(plan, found, begun)
    elif phase == "read":
        steps = fleet.reading(before["steps"], found)
        asked = {host: before["steps"][host] for host in steps}
    else:
        steps = fleet.again(asked, found)
    return {"steps": steps, "asked": asked, "heard": heard, "begun": begun}


def _record(before: Mapping[str, Any], answer: Mapping[str, Any]) -> dict[str, Any]:
    told = {key: answer[key] for key in _KEPT if answer.get(key)}
    record = {**before, **told, "detail": answer.get("detail") or before.get("detail", "")}
    if "state" in answer:
        return {**record, "state": answer["state"], "release": answer.get("release"), "began": True}
    message = answer.get("msg") or "the host did not answer"
    record["detail"] = before.get("detail") or message
    # What fails before anything was staged did nothing; nor did a host that never said that it had, and now refuses: it
    # was never asked to switch. Later a step may have failed halfway, as on a full disk.
    unknown = before.get("began", False) or answer.get("code", transaction.UNCONFIRMED) == transaction.UNCONFIRMED
    return {**record, "state": LOST if unknown else REFUSED, "release": None}


def outcome(record: Mapping[str, Any]) -> str:
    """What a host ended as."""
    return REFUSED if record["state"] == REFUSED else transaction.host_outcome(record["state"] or None)


def settled(answer: Mapping[str, Any]) -> dict[str, Any]:
    """What came of settling a host, or of telling it who was taken out; nothing where there was nothing to do."""
    if not answer or answer.get("skipped"):
        return {}
    if "state" in answer:
        return {"outcome": transaction.host_outcome(answer["state"]), "release": answer.get("release"),
                "detail": answer.get("detail", "")}
    if answer.get("failed") or answer.get("unreachable"):
        return {"outcome": answer.get("code", transaction.UNCONFIRMED), "release": None,
                "detail": answer.get("msg", "the host did not answer")}
    return {"outcome": transaction.APPLIED if answer.get("changed") else transaction.UNCHANGED}


def fleet_outcome(action: str, hosts: Iterable[str]) -> str:
    """The outcome of a whole run from those of its hosts.

    To take hosts back is what an abort is for; one that was confirmed meanwhile is not what was asked for.
    """
    wanted = {transaction.ROLLED_BACK: transaction.APPLIED, transaction.APPLIED: REFUSED} if action == "abort" else {}
    return transaction.fleet_outcome(wanted.get(outcome, outcome) for outcome in hosts)
