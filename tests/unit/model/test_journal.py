# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The chain of a journal: whatever is done to it is found, by the number of the first record that is wrong."""

from __future__ import annotations

import json

import pytest
from ansible_collections.tetra.platform.plugins.module_utils.model import canonical, journal
from hypothesis import given, settings
from hypothesis import strategies as st

COUNT = 5


def chain(count=COUNT, actor="ann"):
    records = []
    for number in range(count):
        payload = {"actor": actor, "number": number, "text": "é\n"}
        records.append(journal.append(records[-1] if records else None, payload))
    return records


def encode(records):
    return [canonical.dumps(record).encode() + b"\n" for record in records]


def rehash(record):
    content = {key: value for key, value in record.items() if key != "hash"}
    return {**content, "hash": canonical.digest(content)}


LINES = encode(chain())


def test_a_chain_is_read_as_it_was_written():
    assert journal.verify(LINES) == (chain(), None)


def test_text_is_read_as_bytes_are():
    assert journal.verify([line.decode() for line in LINES]) == (chain(), None)


def test_an_empty_journal_is_sound():
    assert journal.verify([]) == ([], None)


def test_records_are_numbered_and_hold_the_hash_of_the_one_before():
    records = chain(3)
    assert [record["seq"] for record in records] == [1, 2, 3]
    assert [record["prev"] for record in records] == ["", records[0]["hash"], records[1]["hash"]]
    assert {record["format"] for record in records} == {1}


@pytest.mark.parametrize("key", ["format", "seq", "prev", "hash"])
def test_a_payload_cannot_set_what_belongs_to_the_journal(key):
    with pytest.raises(ValueError, match=key):
        journal.append(None, {key: 1})


def test_a_payload_that_json_cannot_hold_is_refused():
    with pytest.raises(ValueError, match="JSON"):
        journal.append(None, {"number": float("nan")})


SCALARS = st.one_of(st.text(max_size=20), st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.none())


@given(st.dictionaries(st.text(max_size=5), SCALARS, max_size=4))
@settings(max_examples=100)
def test_no_payload_can_add_a_line_or_break_the_chain(payload):
    payload = {key: value for key, value in payload.items() if key not in ("format", "seq", "prev", "hash")}
    first = journal.append(None, payload)
    lines = encode([first, journal.append(first, payload)])
    assert [line.count(b"\n") for line in lines] == [1, 1]
    assert journal.verify(lines) == ([first, journal.append(first, payload)], None)


def first_bad(lines):
    records, damage = journal.verify(lines)
    assert damage is not None
    assert len(records) == damage.seq - 1
    return damage


@pytest.mark.parametrize("index", range(COUNT))
def test_a_flipped_bit_is_found_wherever_it_is(index):
    line = LINES[index]
    for place in range(len(line) - 1):
        edited = line[:place] + bytes([line[place] ^ 1]) + line[place + 1 :]
        damage = first_bad([*LINES[:index], *edited.splitlines(keepends=True), *LINES[index + 1 :]])
        assert damage.seq == index + 1


@pytest.mark.parametrize("index", range(COUNT - 1))
def test_a_deleted_record_is_found(index):
    damage = first_bad(LINES[:index] + LINES[index + 1 :])
    assert (damage.seq, damage.torn) == (index + 1, False)
    assert damage.reason.startswith("seq:")


@pytest.mark.parametrize("index", range(COUNT))
def test_an_inserted_record_is_found(index):
    previous = chain()[index - 1] if index else None
    forged = encode([journal.append(previous, {"actor": "eve"})])
    assert first_bad(LINES[:index] + forged + LINES[index:]).seq == index + 2


@pytest.mark.parametrize("index", range(COUNT - 1))
def test_records_that_changed_places_are_found(index):
    lines = LINES[:index] + [LINES[index + 1], LINES[index]] + LINES[index + 2 :]
    assert first_bad(lines).seq == index + 1


@pytest.mark.parametrize("index", range(COUNT))
def test_an_edit_is_found_by_the_hash(index):
    records = chain()
    records[index]["actor"] = "eve"
    damage = first_bad(encode(records))
    assert damage.seq == index + 1
    assert damage.reason.startswith("hash:")


@pytest.mark.parametrize("index", range(COUNT - 1))
def test_an_edit_with_a_hash_of_its_own_is_found_in_the_next_record(index):
    records = chain()
    records[index] = rehash({**records[index], "actor": "eve"})
    damage = first_bad(encode(records))
    assert damage.seq == index + 2
    assert damage.reason.startswith("prev:")


def test_a_record_of_another_chain_is_found():
    damage = first_bad(LINES[:2] + encode(chain(actor="eve"))[2:])
    assert (damage.seq, damage.reason[:5]) == (3, "prev:")


@pytest.mark.parametrize(
    "line",
    [
        b"\n", b"{\n", b"[]\n", b"null\n", b"1\n", b'"text"\n', b"\xff\n", b"\0\0\n", b"[" * 100_000 + b"\n",
        b'{"a": NaN}\n',
    ],
)  # fmt: skip
def test_what_is_no_record_is_found(line):
    damage = first_bad([LINES[0], line, *LINES[1:]])
    assert (damage.seq, damage.torn) == (2, False)


@pytest.mark.parametrize("line", [b"\n", b"{\n", b"[]\n", b"\xff\n", b"[" * 100_000 + b"\n"])
def test_what_is_no_record_is_called_so(line):
    assert "not JSON" in first_bad([line]).reason


def test_a_number_that_json_does_not_have_is_found():
    line = canonical.dumps({**chain(1)[0], "number": "NUMBER"}).replace('"NUMBER"', "NaN").encode() + b"\n"
    assert "not JSON" in first_bad([line]).reason


@pytest.mark.parametrize(
    "edit",
    [
        lambda text: text.replace('"actor":"ann"', '"actor":"eve","actor":"ann"'),
        lambda text: text.replace(":", ": ", 1),
        lambda text: text.replace("\\u00e9", "\\u00E9"),
        lambda text: json.dumps(json.loads(text), sort_keys=False) + "\n",
        lambda text: f" {text}",
    ],
)
def test_the_same_content_in_other_bytes_is_found(edit):
    edited = edit(LINES[1].decode())
    assert edited.encode() != LINES[1]
    damage = first_bad([LINES[0], edited.encode(), *LINES[2:]])
    assert (damage.seq, damage.reason[:5]) == (2, "hash:")


def test_a_newer_format_is_found():
    newer = rehash({**chain(2)[1], "format": 2})
    assert "newer version" in first_bad([LINES[0], *encode([newer])]).reason


@pytest.mark.parametrize("size", range(1, len(LINES[-1])))
def test_a_last_line_that_was_not_written_to_its_end_is_told_from_damage(size):
    records, damage = journal.verify([*LINES[:-1], LINES[-1][:size]])
    assert records == chain()[:-1]
    assert (damage.seq, damage.torn) == (COUNT, True)
    assert "torn tail" in damage.reason


def test_a_line_without_an_end_in_the_middle_is_damage():
    damage = first_bad([LINES[0], LINES[1][:-1], *LINES[2:]])
    assert (damage.seq, damage.torn) == (2, False)


def test_a_cut_end_is_not_seen_in_the_chain_alone():
    assert journal.verify(LINES[:3]) == (chain(3), None)


def test_a_cut_end_is_seen_by_a_head_that_somebody_kept():
    kept = journal.head(chain())
    assert journal.contains(chain(), kept)
    assert not journal.contains(chain(3), kept)


def test_a_journal_that_was_written_anew_is_seen_by_a_head_that_somebody_kept():
    assert not journal.contains(chain(actor="eve"), journal.head(chain()))


def test_a_journal_that_went_on_still_has_its_old_head():
    assert journal.contains(chain(), journal.head(chain(2)))


def test_the_head_of_an_empty_journal_is_in_every_journal():
    assert journal.head([]) == {"seq": 0, "hash": ""}
    assert journal.contains([], journal.head([]))
    assert journal.contains(chain(), journal.head([]))
