# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The journals of all hosts of an environment as one history, and what in them cannot be trusted.

What hosts send is text from outside: each chain is checked again here, and a record may lack any key.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from . import canonical, journal, transaction

_OF_THE_RUN = ("transaction", "action", "actor", "reason", "to", "bundle", "plan")
_OF_A_PERSON = ("kind", "host", "actor", "reason")


@dataclasses.dataclass(frozen=True)
class Journal:
    """What one host says: ``records``, the ``damage`` that it found itself, the release that it runs (``current``)."""

    records: Sequence[Mapping[str, Any]]
    damage: Mapping[str, Any] | None = None
    current: str | None = None
    open_transaction: bool = False


@dataclasses.dataclass(frozen=True)
class Doubt:
    """A host whose journal cannot be trusted from record ``seq`` on, and why."""

    host: str
    seq: int
    reason: str

    def __str__(self) -> str:
        return f"{self.host}: the journal cannot be trusted from record {self.seq} on: {self.reason}"


def entries(journals: Mapping[str, Journal]) -> list[dict[str, Any]]:
    """What happened, oldest first.

    :returns: for each run ``transaction``, ``action``, ``actor``, ``reason``, ``from`` (releases, mostly one), ``to``,
        ``bundle``, ``plan``, ``outcome`` (of all hosts), ``hosts`` (host to its own), ``detail``, ``time`` (when its
        first host ended) and ``seconds`` (of its slowest host); for a host that a person took out or in ``kind``,
        ``host``, ``actor``, ``reason``, ``time``.
    """
    runs: dict[str, list[tuple[str, Mapping[str, Any]]]] = {}
    changes: dict[tuple[str, str, int], list[Mapping[str, Any]]] = {}
    for host, said in sorted(journals.items()):
        seen: dict[tuple[str, str], int] = {}
        for record in _trusted(said)[0]:
            if record.get("kind") == "transaction":
                runs.setdefault(str(record.get("transaction")), []).append((host, record))
            else:
                key = (str(record.get("kind")), str(record.get("host")))
                # Each host has a record of its own of the same change.
                seen[key] = seen.get(key, 0) + 1
                changes.setdefault((*key, seen[key]), []).append(record)
    found = [*map(_run, runs.values()), *map(_change, changes.values())]
    return sorted(found, key=lambda entry: (entry["time"], entry.get("transaction", "")))


def _run(told: Sequence[tuple[str, Mapping[str, Any]]]) -> dict[str, Any]:
    records = [record for _host, record in told]
    hosts = {host: transaction.host_outcome(_text(record, "outcome")) for host, record in told}
    return {
        **{key: _text(records[0], key) for key in _OF_THE_RUN},
        "from": sorted({_text(record, "from") for record in records}),
        "outcome": transaction.fleet_outcome(hosts.values()),
        "hosts": hosts,
        "detail": next(filter(None, (_text(record, "detail") for record in records)), ""),
        "time": min(_text(record, "time") for record in records),
        "seconds": max(_number(record, "seconds") for record in records),
    }


def _change(records: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    first = {key: _text(records[0], key) for key in _OF_A_PERSON}
    return {**first, "time": min(_text(record, "time") for record in records)}


def doubts(journals: Mapping[str, Journal]) -> list[Doubt]:
    """The first place of each journal that cannot be trusted, by what is in it and by what the others keep of it."""
    found: dict[str, Doubt] = {}
    trusted = {host: dataclasses.replace(said, records=_trusted(said)[0]) for host, said in journals.items()}
    for doubt in [*_broken(journals), *_against_each_other(trusted), *_against_what_runs(trusted)]:
        if doubt.host not in found or doubt.seq < found[doubt.host].seq:
            found[doubt.host] = doubt
    return [found[host] for host in sorted(found)]


def _broken(journals: Mapping[str, Journal]) -> Iterator[Doubt]:
    """Chains that are broken, by the word of the host or by our own look at what it sent."""
    for host, said in journals.items():
        told = said.damage if isinstance(said.damage, dict) else {}
        if isinstance(told.get("seq"), int) and not told.get("torn"):
            yield Doubt(host, told["seq"], _text(told, "reason"))
        damage = _trusted(said)[1]
        if damage:
            yield Doubt(host, damage.seq, damage.reason)


def _trusted(said: Journal) -> tuple[list[dict[str, Any]], journal.Damage | None]:
    """The records whose chain is whole, whatever the host says of it."""
    return journal.verify(map(_line, said.records))


def _line(record: object) -> bytes:
    try:
        return canonical.dumps(record).encode("ascii") + b"\n"
    except (TypeError, ValueError, RecursionError):
        return b"\n"


def _against_each_other(journals: Mapping[str, Journal]) -> Iterator[Doubt]:
    """What each host keeps of the others: the heads of their journals, and who confirmed together with it."""
    known = {host: {_text(record, "transaction") for record in said.records} for host, said in journals.items()}
    for keeper, said in journals.items():
        for host, kept in _kept(said.records).items():
            if host == keeper or host not in journals:
                continue
            for head, by in kept["heads"]:
                if not journal.contains(journals[host].records, head):
                    reason = f"it is not the record that {keeper} kept in its own record {by}"
                    yield Doubt(host, min(head["seq"], len(journals[host].records) + 1), reason)
            for identity, by in kept["together"]:
                # One that is still on its way writes its record when it ends.
                if identity not in known[host] and not journals[host].open_transaction:
                    reason = f"it lacks transaction {identity}, which {keeper} confirmed with it in its own record {by}"
                    yield Doubt(host, len(journals[host].records) + 1, reason)


def _kept(records: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Host to what a journal says of it, since it was last taken out: its successor begins anew."""
    kept: dict[str, dict[str, Any]] = {}
    for record in records:
        if record.get("kind") == "host_removed":
            kept.pop(_text(record, "host"), None)
        heads = record.get("heads")
        for host, head in (heads if isinstance(heads, dict) else {}).items():
            if isinstance(head, dict) and isinstance(head.get("seq"), int) and "hash" in head:
                kept.setdefault(host, {"heads": [], "together": []})["heads"].append((head, record.get("seq")))
        together = record.get("hosts")
        for host in together if isinstance(together, list) else []:
            told = (_text(record, "transaction"), record.get("seq"))
            kept.setdefault(str(host), {"heads": [], "together": []})["together"].append(told)
    return kept


def _against_what_runs(journals: Mapping[str, Journal]) -> Iterator[Doubt]:
    """A host runs what its last confirmed record says, unless a transaction is open."""
    for host, said in journals.items():
        confirmed = [record for record in said.records if record.get("outcome") == transaction.CONFIRMED]
        last = confirmed[-1].get("to") if confirmed else None
        if not said.open_transaction and last != said.current:
            runs, told = (said.current or "nothing")[:12], (str(last) if last else "nothing")[:12]
            yield Doubt(host, len(said.records) + 1, f"the host runs {runs}, its last confirmed record says {told}")


def _text(record: Mapping[str, Any], key: str) -> str:
    value = record.get(key)
    return "" if value is None else str(value)


def _number(record: Mapping[str, Any], key: str) -> float:
    value = record.get(key)
    return float(value) if isinstance(value, (int, float)) else 0.0
