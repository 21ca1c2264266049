# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A journal that ends in the middle of a record is made good and says so; one that was changed stops every step."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from ansible_collections.tetra.platform.plugins.module_utils.host import engine, journal, store, transactions
from ansible_collections.tetra.platform.plugins.module_utils.host.operations import index
from ansible_collections.tetra.platform.plugins.module_utils.model import transaction

from .. import guarantees, invariants
from ..conftest import LONG
from ..single import SECRET, Single, done

ADDRESS = "127.0.84.4"
PORT = 4300
SERVICE = "TSM_COMMAND='sleep 600'\nTSM_MIN_HEALTHY=0s\nexport TRY={number}\n"
RECORDS = 4
# Of how many bytes of the last record one is cut at in the short form.
SHARE = 1 if LONG else 12


@pytest.fixture(scope="module")
def host(tmp_path_factory):
    """A host with a journal of a few records."""
    made = Single(tmp_path_factory.mktemp("single"), ADDRESS)
    try:
        for number in range(RECORDS):
            write(made, number)
            made.apply({})
        yield made
    finally:
        made.down()


def write(host: Single, number: object) -> None:
    host.write({"worker.tsm": SERVICE.format(number=number)}, {})


def look(host: Single, operation: str) -> dict:
    """What the agent says about the host."""
    return index.run(operation, {"tetra_dir": os.fspath(host.root), "org": "acme", "env": "dev"})


def kept(text: bytes) -> list[dict]:
    """Records without their hashes and the time at which they were written."""
    left_out = ("hash", "time", "seconds", "after_torn_line")
    return [{key: value for key, value in json.loads(line).items() if key not in left_out}
            for line in text.splitlines()]  # fmt: skip


def test_a_journal_that_was_cut_at_any_byte_of_its_last_record_tells_the_same_again(host):
    path = Path(host.environment.journal)
    written = path.read_bytes()
    start = written.rindex(b"\n", 0, -1) + 1
    sizes = [start, start + 1, *range(start + 2, len(written) - 1, SHARE), len(written) - 1]
    for size in sizes:
        path.write_bytes(written[:size])
        seen = look(host, "journal_info")
        assert [record["seq"] for record in seen["records"]] == [1, 2, 3]
        assert (seen["damage"] or {}).get("torn", False) == (size > start)
        assert look(host, "release_info")["epoch"] == RECORDS - 1
        assert path.read_bytes() == written[:size], "who only looks changes nothing"
        # What every step begins with.
        with engine.locked(host.scope):
            engine.settle(host.scope)
        text = path.read_bytes()
        assert kept(text) == kept(written)
        last = journal.read(host.environment)[-1]
        aside = Path(host.environment.root, f"journal.torn-{RECORDS}")
        assert last.get("after_torn_line") == (aside.name if size > start else None)
        assert (aside.read_bytes() if aside.exists() else b"") == written[start:size]
        aside.unlink(missing_ok=True)
        assert invariants.broken(host.scope, {store.current(host.environment)}, SECRET) == []
        path.write_bytes(written)
    guarantees.tell("F09", len(sizes), len(sizes), f"cut at {len(sizes)} of {len(written) - start} bytes")


def changed(lines: list[bytes]) -> list[bytes]:
    return [lines[0], lines[1].replace(b'"actor":"test"', b'"actor":"tess"'), *lines[2:]]


DAMAGES = {
    "flipped": (changed, 2),
    "deleted": (lambda lines: [lines[0], *lines[2:]], 2),
    "swapped": (lambda lines: [lines[0], lines[2], lines[1], *lines[3:]], 2),
    "doubled": (lambda lines: [lines[0], lines[0], *lines[1:]], 2),
    "cut-in-the-middle": (lambda lines: [lines[0], lines[1][:-20], *lines[2:]], 2),
    "first-deleted": (lambda lines: lines[1:], 1),
    "last-two-deleted": (lambda lines: lines[:-2], 0),
    "all-deleted": (lambda _lines: [], 0),
}


STEPS = ("staged", "active", "confirmed")


@pytest.mark.parametrize(("name", "step"), [
    pytest.param(name, step, marks=pytest.mark.guarantee("F09"), id=f"F09-{name}-{step}")
    for number, name in enumerate(DAMAGES) for turn, step in enumerate(STEPS) if LONG or turn == number % 3
])  # fmt: skip
def test_a_journal_that_was_changed_stops_every_step_by_the_number_of_its_record(host, name, step):
    damage, seq = DAMAGES[name]
    before = store.current(host.environment)
    write(host, f"{name} {step}")
    request, identity = host.stage_request({}), host.identity()
    if step != "staged":
        done(host.step("staged", identity, stage=request))
    if step == "confirmed":
        assert done(host.step("active", identity))["state"] == transaction.PROBING
    path = Path(host.environment.journal)
    written = path.read_bytes()
    path.write_bytes(b"".join(damage(written.splitlines(keepends=True))))
    spoilt = path.read_bytes()
    error = host.step(step, identity, stage=request)["error"]
    assert error["code"] == transaction.REFUSED
    assert os.fspath(path) in error["message"]
    assert (f"record {seq} cannot be trusted" if seq else "has lost records") in error["message"] or "base moved" in (
        error["message"]
    )
    assert error["hint"]
    assert path.read_bytes() == spoilt
    # It can be looked at up to there.
    seen = look(host, "journal_info")
    assert [record["seq"] for record in seen["records"]] == list(range(1, seq or len(spoilt.splitlines()) + 1))
    path.write_bytes(written)
    host.step("aborted" if step != "confirmed" else "rolled_back", identity)
    host.settle()
    assert transactions.states(host.environment).get(identity) != transaction.CONFIRMED
    assert store.current(host.environment) == before
    assert invariants.broken(host.scope, {before}, SECRET) == []
