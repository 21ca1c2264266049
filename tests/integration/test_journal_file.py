# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The journal as a file: what a killed run leaves is made good, and what somebody changed stops every write."""

from __future__ import annotations

import errno
import os
import random
import signal
import time

import pytest
from ansible_collections.tetra.platform.plugins.module_utils.host import journal
from ansible_collections.tetra.platform.plugins.module_utils.host.layout import Home
from ansible_collections.tetra.platform.plugins.module_utils.model.errors import REFUSED, TetraError


@pytest.fixture
def environment(tmp_path):
    environment = Home(os.fspath(tmp_path / "tetra")).environment("acme", "dev")
    environment.prepare()
    return environment


@pytest.fixture
def filled(environment):
    for number in range(3):
        journal.append(environment, {"kind": "test", "number": number})
    return environment


def contents(path):
    with open(path, "rb") as file:
        return file.read()


def write(environment, data):
    with open(environment.journal, "wb") as file:
        file.write(data)


def test_records_are_read_as_they_were_appended(environment):
    written = [journal.append(environment, {"kind": "test", "number": number}) for number in range(3)]
    assert journal.read(environment) == written
    assert [record["seq"] for record in written] == [1, 2, 3]


def test_a_journal_that_was_never_written_is_empty(environment):
    assert journal.read(environment) == []
    assert journal.head(environment) == {"seq": 0, "hash": ""}
    assert not os.path.exists(environment.journal)


def test_the_head_is_that_of_the_last_record(filled):
    last = journal.read(filled)[-1]
    assert journal.head(filled) == {"seq": 3, "hash": last["hash"]}


def test_a_line_break_in_a_payload_adds_no_line(environment):
    journal.append(environment, {"reason": 'x\n{"seq":2}\n'})
    assert contents(environment.journal).count(b"\n") == 1
    assert journal.read(environment)[0]["reason"] == 'x\n{"seq":2}\n'


def test_a_payload_that_cannot_be_written_writes_nothing(filled):
    before = contents(filled.journal)
    with pytest.raises(ValueError, match="JSON"):
        journal.append(filled, {"number": float("inf")})
    assert contents(filled.journal) == before


def test_a_last_line_that_was_cut_anywhere_is_set_aside_and_journalled(filled):
    whole = contents(filled.journal)
    start = whole.rindex(b"\n", 0, -1) + 1
    for size in range(start + 1, len(whole)):
        write(filled, whole[:size])
        assert [record["seq"] for record in journal.read(filled)] == [1, 2]
        record = journal.append(filled, {"kind": "next"})
        assert (record["seq"], record["after_torn_line"]) == (3, "journal.torn-3")
        assert contents(os.path.join(filled.root, "journal.torn-3")) == whole[start:size]
        assert journal.read(filled)[-1] == record


def test_a_last_line_that_was_cut_away_whole_leaves_a_sound_journal(filled):
    whole = contents(filled.journal)
    write(filled, whole[: whole.rindex(b"\n", 0, -1) + 1])
    assert "after_torn_line" not in journal.append(filled, {"kind": "next"})


def test_a_first_line_that_was_torn_is_set_aside(environment):
    write(environment, b'{"actor":')
    assert journal.append(environment, {"kind": "next"})["after_torn_line"] == "journal.torn-1"
    assert len(journal.read(environment)) == 1


def test_a_tail_of_zeros_as_a_power_cut_leaves_is_torn(filled):
    write(filled, contents(filled.journal) + b"\0" * 100)
    assert journal.append(filled, {"kind": "next"})["after_torn_line"] == "journal.torn-4"


def test_reading_does_not_repair(filled):
    torn = contents(filled.journal)[:-5]
    write(filled, torn)
    journal.read(filled)
    journal.head(filled)
    assert contents(filled.journal) == torn
    assert "journal.torn-3" not in os.listdir(filled.root)


def damage(environment):
    lines = contents(environment.journal).splitlines(keepends=True)
    lines[1] = lines[1].replace(b'"number":1', b'"number":7')
    write(environment, b"".join(lines))


def test_damage_in_the_middle_stops_every_write(filled):
    damage(filled)
    before = contents(filled.journal)
    with pytest.raises(TetraError, match="record 2 cannot be trusted: hash") as caught:
        journal.append(filled, {"kind": "next"})
    assert caught.value.code == REFUSED
    assert contents(filled.journal) == before


@pytest.mark.parametrize("read", [journal.read, journal.head])
def test_damage_in_the_middle_is_not_read_over(filled, read):
    damage(filled)
    with pytest.raises(TetraError, match="record 2 cannot be trusted"):
        read(filled)


def test_a_damaged_journal_can_be_shown_up_to_the_damage(filled):
    damage(filled)
    records, found = journal.examine(filled)
    assert [record["number"] for record in records] == [0]
    assert (found.seq, found.torn) == (2, False)


@pytest.mark.parametrize("error", [errno.EIO, errno.ENOSPC])
def test_a_disk_that_refuses_a_record_is_a_failure_and_the_next_run_goes_on(filled, monkeypatch, error):
    def fail(_descriptor):
        raise OSError(error, os.strerror(error))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match=os.strerror(error)):
        journal.append(filled, {"kind": "lost"})
    monkeypatch.undo()
    journal.append(filled, {"kind": "next"})
    assert journal.read(filled)[-1]["kind"] == "next"


def test_a_killed_writer_leaves_a_journal_that_goes_on(environment):
    for _kill in range(40):
        child = os.fork()
        if child == 0:
            try:
                while True:
                    journal.append(environment, {"kind": "test", "text": "x" * 20_000})
            finally:
                os._exit(1)
        time.sleep(random.uniform(0.001, 0.01))
        os.kill(child, signal.SIGKILL)
        assert os.WIFSIGNALED(os.waitpid(child, 0)[1])
    journal.append(environment, {"kind": "last"})
    records = journal.read(environment)
    assert [record["seq"] for record in records] == list(range(1, len(records) + 1))
    assert records[-1]["kind"] == "last"
