# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run has heard of each host so far: the state that was read back last, and why it is that one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ansible_collections.tetra.platform.plugins.module_utils.model import transaction

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
        lost), ``detail`` and what else was told.
    """
    found = {host: dict(record) for host, record in so_far.items()}
    for host in asked:
        found[host] = _record(found.get(host, {}), answers.get(host) or {})
    return found


def states(so_far: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Host to the state that was read back last; a host whose answer was lost is missing."""
    return {host: record["state"] for host, record in so_far.items() if record["state"] != LOST}


def _record(before: Mapping[str, Any], answer: Mapping[str, Any]) -> dict[str, Any]:
    told = {key: answer[key] for key in _KEPT if answer.get(key)}
    record = {**before, **told, "detail": answer.get("detail") or before.get("detail", "")}
    if "state" in answer:
        return {**record, "state": answer["state"], "release": answer.get("release")}
    message = answer.get("msg") or "the host did not answer"
    record["detail"] = before.get("detail") or message
    if answer.get("code", transaction.UNCONFIRMED) == transaction.UNCONFIRMED:
        return {**record, "state": LOST, "release": None}
    return {**record, "state": before.get("state") or REFUSED}


def outcome(record: Mapping[str, Any]) -> str:
    """What a host ended as."""
    return REFUSED if record["state"] == REFUSED else transaction.host_outcome(record["state"] or None)
