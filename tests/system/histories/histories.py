# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether what runs said of themselves, what was read from hosts meanwhile and what hosts wrote down fit together.

Pure: a history comes in, what contradicts itself in it comes out. All times are seconds on one clock, that of who asks.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from ansible_collections.tetra.platform.plugins.module_utils.model import history, transaction

KILLED = "killed"
"""What became of a run that could not say it any more."""
EXPLAINS = (transaction.PARTIAL, transaction.UNCONFIRMED, transaction.ROLLBACK_FAILED, KILLED)
"""What a run has to say when its hosts end on different releases."""

_MOVES = ("push", "promote", "rollback")
_LEAVES_IT = (transaction.REFUSED, transaction.UNCHANGED, transaction.ROLLED_BACK, transaction.INVALID)


@dataclasses.dataclass(frozen=True)
class Operation:
    """One run of a playbook; ``name`` is the actor in the journals, ``hosts`` what it said of each host."""

    name: str
    action: str
    env: str
    begin: float
    end: float
    outcome: str
    hosts: Mapping[str, Mapping[str, Any]] = dataclasses.field(default_factory=dict)


class Read(NamedTuple):
    """Between two moments a host ran a release, or nothing."""

    begin: float
    end: float
    value: str | None


class Problem(NamedTuple):
    """What contradicts itself, and the run that it is about; no run where it is about a host."""

    operation: str
    text: str


@dataclasses.dataclass(frozen=True)
class History:
    """What is known of some environments.

    :param hosts: environment to its hosts.
    :param journals: host to the records of its journal, for its environment.
    :param reads: host to what was read of it, the last of them when all was over.
    """

    operations: Sequence[Operation]
    hosts: Mapping[str, Sequence[str]]
    journals: Mapping[str, Sequence[Mapping[str, Any]]]
    reads: Mapping[str, Sequence[Read]]


def problems(told: History) -> list[Problem]:
    """All that contradicts itself in a history; nothing when it can have been so."""
    by_name = {one.name: one for one in told.operations}
    found = [*_doubts(told), *_mixed(told, by_name), *_not_from_dev(told)]
    for operation in told.operations:
        for host in told.hosts[operation.env]:
            records = [record for record in told.journals[host] if record.get("actor") == operation.name]
            found += [Problem(operation.name, f"{host}: {text}") for text in _said(operation, host, records)]
    for host, records in told.journals.items():
        found += [Problem("", f"{host}: {text}") for text in _unconnected(records, told.reads[host][-1].value)]
        stuck = unordered(_changes(host, records, by_name), [*told.reads[host], *_told_reads(told, host)])
        found += [Problem("", f"{host}: no order of the runs explains what was read: {stuck}")] if stuck else []
    return found


def _said(operation: Operation, host: str, records: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """What a run said of a host, against the records that it left there."""
    if operation.outcome in EXPLAINS and host not in operation.hosts:
        return
    told = operation.hosts.get(host, {}).get("outcome", operation.outcome)
    ends = [record["outcome"] for record in records]
    if told == transaction.APPLIED and operation.action in _MOVES and ends != [transaction.CONFIRMED]:
        yield f"said applied, and the journal has {ends or 'nothing'}"
    if told in _LEAVES_IT and transaction.CONFIRMED in ends:
        yield f"said {told}, and the journal has it confirmed"
    if told == transaction.ROLLED_BACK and operation.action in _MOVES and ends != [transaction.ROLLED_BACK]:
        yield f"said rolled_back, and the journal has {ends or 'nothing'}"


def _unconnected(records: Iterable[Mapping[str, Any]], current: str | None) -> Iterator[str]:
    """Records that do not follow from those before, as when one was lost that had been confirmed."""
    runs = None
    for record in records:
        if record["kind"] != "transaction":
            continue
        if record["from"] != runs:
            yield f"record {record['seq']} goes from {_short(record['from'])}, the host ran {_short(runs)}"
        runs = record["to"] if record["outcome"] == transaction.CONFIRMED else record["from"]
    if runs != current:
        yield f"the journal ends with {_short(runs)}, the host runs {_short(current)}"


def _doubts(told: History) -> Iterator[Problem]:
    """Chains that are broken, and ends of journals that other hosts remember and that are gone."""
    for env, hosts in told.hosts.items():
        journals = {host: history.Journal(told.journals[host], current=told.reads[host][-1].value) for host in hosts}
        yield from (Problem("", f"{env}: {doubt}") for doubt in history.doubts(journals))


def _mixed(told: History, by_name: Mapping[str, Operation]) -> Iterator[Problem]:
    """Hosts of an environment that ran different releases, and nobody said so: a run that was confirmed on some."""
    for env, hosts in told.hosts.items():
        confirmed: dict[str, set[str]] = {}
        for host in hosts:
            for record in _confirmed(told.journals[host]):
                confirmed.setdefault(record["actor"], set()).add(host)
        for name, having in confirmed.items():
            operation = by_name.get(name)
            if operation is None:
                text = f"{env}: a run {name!r} that nobody began is confirmed on {', '.join(sorted(having))}"
                yield Problem("", text)
                continue
            lacking = {host for host in set(hosts) - having if not _stayed(operation, host)}
            if lacking and operation.outcome not in EXPLAINS:
                yield Problem(name, f"said {operation.outcome}; confirmed on {', '.join(sorted(having))} and not on "
                              f"{', '.join(sorted(lacking))}")


def _stayed(operation: Operation, host: str) -> bool:
    """Whether a host had nothing to do in a run, because it was where it should be, or another run was finished."""
    told = operation.hosts.get(host, {}).get("outcome")
    return told == transaction.UNCHANGED or (told == transaction.APPLIED and operation.action not in _MOVES)


def _not_from_dev(told: History) -> Iterator[Problem]:
    """Bundles that an environment confirmed before the one that it takes them from had."""
    if "dev" not in told.hosts:
        return
    first: dict[str, float] = {}
    begins = {one.name: one.begin for one in told.operations}
    for host in told.hosts["dev"]:
        for record in _confirmed(told.journals[host]):
            begin = begins.get(record["actor"], -math.inf)
            first[record["bundle"]] = min(begin, first.get(record["bundle"], math.inf))
    for operation in told.operations:
        for host in told.hosts[operation.env] if operation.env != "dev" else []:
            for record in _confirmed(told.journals[host]):
                if record["actor"] == operation.name and first.get(record["bundle"], math.inf) > operation.end:
                    text = f"{host}: bundle {_short(record['bundle'])} was never confirmed in dev"
                    yield Problem(operation.name, text)


def _confirmed(records: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    return [record for record in records if record.get("outcome") == transaction.CONFIRMED]


def _short(name: str | None) -> str:
    return (name or "nothing")[:12]


class Change(NamedTuple):
    """What a run may do to the release of a host.

    It goes through ``values`` from the first on; ``ends`` are the places in them where it may be in the end.
    """

    name: str
    begin: float
    end: float
    values: Sequence[str | None]
    ends: Sequence[int]


def _changes(
    host: str, records: Iterable[Mapping[str, Any]], by_name: Mapping[str, Operation]
) -> Iterator[Change]:
    """What runs did to a host; of those that could not say it any end will do, at any time after they began."""
    for record in records:
        operation = by_name.get(record.get("actor", ""))
        if operation is None or record["kind"] != "transaction":
            continue
        there_and_back = (record["from"], record["to"], record["from"])
        told = operation.hosts.get(host, {}).get("outcome", operation.outcome)
        if told == transaction.APPLIED and operation.action in _MOVES:
            yield Change(operation.name, operation.begin, operation.end, there_and_back[:2], [1])
        elif told in _LEAVES_IT:
            yield Change(operation.name, operation.begin, operation.end, there_and_back, [0, 2])
        else:
            yield Change(operation.name, operation.begin, math.inf, there_and_back, [0, 1, 2])


def _told_reads(told: History, host: str) -> Iterator[Read]:
    """What runs read back from a host and told."""
    for operation in told.operations:
        release = operation.hosts.get(host, {}).get("release")
        if release:
            yield Read(operation.begin, operation.end, release)


def unordered(changes: Iterable[Change], reads: Iterable[Read]) -> str:
    """Whether a release of a host is no linearizable register: no order of changes and reads makes sense of them all.

    Each step of a change and each read happens at one moment between its begin and its end; a step goes from the value
    that was there. After Wing and Gong, with a memory of what was tried.

    :returns: what was in the way when the search had come farthest; empty when there is an order.
    """
    items = sorted(
        [*changes, *(Change("", read.begin, read.end, (read.value, read.value), [1]) for read in reads)],
        key=lambda item: (item.end, item.begin),
    )
    start = (None, bytes(len(items)))
    waiting, seen = [start], {start}
    farthest, stuck = -1, ""
    while waiting:
        value, steps = waiting.pop()
        due = [item for item, step in zip(items, steps) if step not in item.ends]
        if not due:
            return ""
        latest = min(item.end for item in due)
        earliest = max((item.begin for item, step in zip(items, steps) if step), default=-math.inf)
        if len(items) - len(due) > farthest:
            farthest, stuck = len(items) - len(due), _blocking(due, value)
        # The last that is put in is tried first: what is due soon.
        for number in reversed(range(len(items))):
            item, step = items[number], steps[number]
            if step + 1 == len(item.values) or item.values[step] != value:
                continue
            if item.begin <= latest and earliest <= item.end:
                after = (item.values[step + 1], steps[:number] + bytes([step + 1]) + steps[number + 1:])
                if after not in seen:
                    seen.add(after)
                    waiting.append(after)
    return stuck


def _blocking(due: Sequence[Change], value: str | None) -> str:
    first = min(due, key=lambda item: item.end)
    what = f"{first.name} going from" if first.name else "a read of"
    return f"{what} {_short(first.values[0])} until {first.end:.2f} while it was {_short(value)}"
