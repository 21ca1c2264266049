# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What to do after a run that nobody finished, and for hosts that are behind: new ones, and ones that missed a run.

Everything is decided from what the hosts of an environment say themselves, as ``release_info`` observed them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from . import transaction
from .errors import REFUSED, TetraError

Observed = Mapping[str, Mapping[str, Any]]


def settle(observed: Observed) -> dict[str, dict[str, str]]:
    """How the open transactions of an environment end.

    What was confirmed on one host, or decided on all that were to be confirmed, is confirmed; the rest is taken back.

    :returns: host to ``transaction`` and ``state``, for each host that has one open.
    """
    steps = {}
    for host, answer in observed.items():
        open_one = answer["transaction"]
        if open_one:
            state = "confirmed" if is_committed(open_one["id"], observed) else "rolled_back"
            steps[host] = {"transaction": open_one["id"], "state": state}
    return steps


def give_up(observed: Observed) -> dict[str, dict[str, str]]:
    """As :func:`settle`, but everything is taken back.

    :raises TetraError: code ``refused`` when a host has confirmed already: then only a rollback leads back.
    """
    steps = {}
    for host, step in settle(observed).items():
        confirmed = sorted(name for name, other in observed.items() if _has_confirmed(other, step["transaction"]))
        if confirmed:
            raise TetraError(
                f"transaction {step['transaction']} is confirmed on {', '.join(confirmed)} already",
                hint="finish it with playbooks/resume.yml, then go back with playbooks/rollback.yml",
                code=REFUSED,
            )
        steps[host] = {**step, "state": "rolled_back"}
    return steps


def is_committed(identity: str, observed: Observed) -> bool:
    """Whether a fleet had decided to keep a transaction.

    One confirmation proves it. Before the first, only a decision on every host that it names does: otherwise the run
    may have seen that a host was missing, and have decided anew.
    """
    if any(_has_confirmed(answer, identity) for answer in observed.values()):
        return True
    decisions = {host: _decision(answer, identity) for host, answer in observed.items()}
    named = {host for decision in decisions.values() if decision for host in decision["hosts"]}
    return bool(named) and all(decisions.get(host) for host in named)


def target(observed: Observed) -> str:
    """The release that all hosts of an environment shall run: that of the newest transaction which was confirmed.

    Where a host has confirmed one after another, that tells which is newer, whatever the clocks of controllers said.

    :raises TetraError: code ``refused`` when there is none.
    """
    before = {entry["transaction"] for answer in observed.values() for entry in answer["history"][:-1]}
    last = [answer["history"][-1] for answer in observed.values() if answer["history"]]
    newest = [entry for entry in last if entry["transaction"] not in before] or last
    if not newest:
        raise TetraError("no host of the environment has a confirmed release", hint="push or promote a bundle first",
                         code=REFUSED)
    # The id of a transaction begins with its time.
    return str(max(newest, key=lambda entry: entry["transaction"])["release"])


def origin(observed: Observed) -> str:
    """The host that the others take the release of :func:`target` from: the first by name that runs it."""
    wanted = target(observed)
    having = sorted(host for host, answer in observed.items() if answer["current"] == wanted)
    if not having:
        raise TetraError(f"no host runs release {wanted[:12]}, which was confirmed last",
                         hint="push or promote a bundle", code=REFUSED)
    return having[0]


def present(answers: Observed) -> dict[str, Mapping[str, Any]]:
    """The hosts that are part of an environment: all but those that are silent and were taken out of it.

    A host counts as taken out when every host that answers says so.
    """
    speaking = [answer for answer in answers.values() if "epoch" in answer]
    removed = set.intersection(*(set(answer["removed"]) for answer in speaking)) if speaking else set()
    return {host: answer for host, answer in answers.items() if "epoch" in answer or host not in removed}


def placed(
    observed: Observed, computed: Mapping[str, list[str]], once: list[str], behind: list[str]
) -> dict[str, list[str]]:
    """Which host runs which services: those that are not behind go on as they are.

    :param computed: the placement as it would be made now.
    :param once: services that one host alone may run.
    :returns: host to its services.
    """
    result = {host: sorted(answer["services"]) for host, answer in observed.items() if host not in behind}
    taken = {name for services in result.values() for name in services if name in once}
    for host in sorted(behind):
        result[host] = [name for name in computed[host] if name not in taken]
        taken |= {name for name in result[host] if name in once}
    return result


def _has_confirmed(answer: Mapping[str, Any], identity: str) -> bool:
    return any(entry["transaction"] == identity for entry in answer["history"])


def _decision(answer: Mapping[str, Any], identity: str) -> Mapping[str, Any] | None:
    open_one = answer["transaction"]
    if open_one and open_one["id"] == identity and open_one["state"] == transaction.PROBING:
        decision: Mapping[str, Any] | None = open_one["decision"]
        return decision
    return None
