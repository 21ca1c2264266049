# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The merged history of a fleet, and every way to tamper with a journal: each is found with its record."""

from __future__ import annotations

import dataclasses

import pytest
from ansible_collections.tetra.platform.plugins.module_utils.model import canonical, history, journal
from ansible_collections.tetra.platform.plugins.module_utils.model.history import Doubt, Journal

HOSTS = ("a", "b", "c")
RUNS = 6


def record(number: int, host: str, heads: dict, outcome: str = "confirmed") -> dict:
    """What a host writes down about the run with a number."""
    return {
        "kind": "transaction", "transaction": f"t{number}", "action": "promote", "outcome": outcome, "actor": "ann",
        "from": f"r{number - 1}" if number > 1 else None, "to": f"r{number}", "bundle": f"b{number}", "plan": "p",
        "reason": "why", "detail": "" if outcome == "confirmed" else "api: 500", "check": "",
        "heads": {name: head for name, head in heads.items() if name != host},
        "hosts": list(HOSTS) if outcome == "confirmed" else [], "seconds": number + HOSTS.index(host),
        "time": f"2026-11-25T10:0{number}:0{HOSTS.index(host)}Z",
    }  # fmt: skip


def chains(runs: int = RUNS) -> dict[str, list[dict]]:
    """The journals of three hosts after some promotions."""
    found: dict[str, list[dict]] = {host: [] for host in HOSTS}
    for number in range(1, runs + 1):
        heads = {host: journal.head(records) for host, records in found.items()}
        for host, records in found.items():
            records.append(journal.append(records[-1] if records else None, record(number, host, heads)))
    return found


def lines(records: list[dict]) -> list[bytes]:
    return [canonical.dumps(one).encode() + b"\n" for one in records]


def said(written: list[bytes], current: str) -> Journal:
    """What a host says whose journal has these lines."""
    records, damage = journal.verify(written)
    return Journal(records, dataclasses.asdict(damage) if damage else None, current)


def fleet(written: list[bytes] | None = None, current: str = f"r{RUNS}") -> dict[str, Journal]:
    """Three hosts, of which the second may have been tampered with."""
    found = {host: said(lines(records), f"r{RUNS}") for host, records in chains().items()}
    return found if written is None else {**found, "b": said(written, current)}


def forged(records: list[dict], index: int) -> list[dict]:
    """A journal that was written anew from a record on, with a chain that is whole."""
    own = ("format", "seq", "prev", "hash")
    result = records[:index]
    for number, old in enumerate(records[index:]):
        payload = {key: value for key, value in old.items() if key not in own}
        payload["actor"] = payload["actor"] if number else "eve"
        result.append(journal.append(result[-1] if result else None, payload))
    return result


GOOD = chains()["b"]
WRITTEN = lines(GOOD)
ATTACKS = {
    "a byte is flipped": (WRITTEN[:2] + [WRITTEN[2].replace(b'"ann"', b'"eve"')] + WRITTEN[3:], f"r{RUNS}", 3),
    "a record is deleted": (WRITTEN[:2] + WRITTEN[3:], f"r{RUNS}", 3),
    "the first record is deleted": (WRITTEN[1:], f"r{RUNS}", 1),
    "two records change places": ([*WRITTEN[:2], WRITTEN[3], WRITTEN[2], *WRITTEN[4:]], f"r{RUNS}", 3),
    "a record is inserted": ([*WRITTEN[:2], WRITTEN[1], *WRITTEN[2:]], f"r{RUNS}", 3),
    "a line is no record": ([*WRITTEN[:4], b"[]\n", *WRITTEN[4:]], f"r{RUNS}", 5),
    "the end is cut off": (WRITTEN[:4], f"r{RUNS}", 5),
    "the last record is cut off": (WRITTEN[:-1], f"r{RUNS}", RUNS),
    "everything is cut off": ([], f"r{RUNS}", 1),
    "the last line is torn, and kept by others": ([*WRITTEN[:4], WRITTEN[4][:20]], f"r{RUNS}", 5),
    "the folder is replaced by an old copy": (WRITTEN[:3], "r3", 4),
    "the folder is replaced by the copy before the last run": (WRITTEN[:-1], f"r{RUNS - 1}", RUNS),
    "it is written anew with a whole chain": (lines(forged(GOOD, 2)), f"r{RUNS}", 3),
}


def test_journals_that_agree_leave_no_doubt():
    assert history.doubts(fleet()) == []


@pytest.mark.parametrize(("written", "current", "seq"), ATTACKS.values(), ids=ATTACKS)
def test_every_way_to_tamper_is_found_with_its_record(written, current, seq):
    found = history.doubts(fleet(written, current))
    assert [(doubt.host, doubt.seq) for doubt in found] == [("b", seq)]
    assert str(found[0]).startswith(f"b: the journal cannot be trusted from record {seq} on: ")


def test_the_only_host_is_compared_with_what_it_runs():
    alone = {"b": said(WRITTEN[:-1], f"r{RUNS}")}
    assert history.doubts(alone) == [
        Doubt("b", RUNS, f"the host runs r{RUNS}, its last confirmed record says r{RUNS - 1}")
    ]
    assert history.doubts({"b": dataclasses.replace(alone["b"], open_transaction=True)}) == []


def test_a_host_that_is_still_on_its_way_is_not_doubted():
    found = fleet(WRITTEN[:-1], f"r{RUNS}")
    assert history.doubts({**found, "b": dataclasses.replace(found["b"], open_transaction=True)}) == []


def test_a_line_that_a_killed_run_left_half_written_is_no_doubt():
    assert history.doubts(fleet([*WRITTEN, b'{"half'])) == []


def test_a_chain_that_a_host_only_says_is_whole_is_checked_again():
    records = [dict(one) for one in GOOD]
    records[3]["actor"] = "eve"
    found = history.doubts({**fleet(), "b": Journal(records, None, f"r{RUNS}")})
    assert [(doubt.host, doubt.seq) for doubt in found] == [("b", 4)]


def test_the_successor_of_a_host_that_was_taken_out_begins_anew():
    removal = {"kind": "host_removed", "host": "b", "actor": "ann", "reason": "dead", "time": "2026-11-25T11:00:00Z"}
    found = fleet([], "")
    journals = {}
    for host in ("a", "c"):
        records = [*found[host].records, journal.append(found[host].records[-1], removal)]
        journals[host] = dataclasses.replace(found[host], records=records)
    assert history.doubts({**journals, "b": Journal([], None, None)}) == []
    assert history.entries(journals)[-1] == removal


def test_a_run_is_one_entry_with_what_became_of_each_host():
    found = history.entries(fleet())
    assert [entry["transaction"] for entry in found] == [f"t{number}" for number in range(1, RUNS + 1)]
    assert found[1] == {
        "transaction": "t2", "action": "promote", "actor": "ann", "reason": "why", "from": ["r1"], "to": "r2",
        "bundle": "b2", "plan": "p", "outcome": "applied", "hosts": dict.fromkeys(HOSTS, "applied"), "detail": "",
        "time": "2026-11-25T10:02:00Z", "seconds": 4.0,
    }  # fmt: skip


def test_hosts_that_ended_differently_are_a_partial_run():
    good, bad = chains(1)["a"], journal.append(None, record(1, "b", {}, "rolled_back"))
    [entry] = history.entries({"a": Journal(good), "b": Journal([bad])})
    assert (entry["outcome"], entry["hosts"]) == ("partial", {"a": "applied", "b": "rolled_back"})
    assert entry["detail"] == "api: 500"


@pytest.mark.parametrize("junk", [{}, {"kind": "transaction"}, {"heads": 7}, {"heads": {"b": 7}}, {"hosts": "b"},
                                  {"kind": [], "host": {}, "seconds": "x", "time": None}])
def test_what_a_host_makes_up_is_no_accident(junk):
    journals = {**fleet(), "b": Journal([junk], junk, None)}
    assert [doubt.host for doubt in history.doubts(journals)] == ["b"]
    history.entries(journals)
