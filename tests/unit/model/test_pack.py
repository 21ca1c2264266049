# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The index of a pack: what it says, and what is refused."""

from __future__ import annotations

import json

import pytest
from ansible_collections.tetra.platform.plugins.module_utils.model import pack
from ansible_collections.tetra.platform.plugins.module_utils.model.errors import TetraError
from hypothesis import given, settings
from hypothesis import strategies as st

SHA = "a" * 64
DIGESTS = st.integers(min_value=0, max_value=2**256 - 1).map("{:064x}".format)
SIZES = st.integers(min_value=0, max_value=pack.MAX_BLOB)


def line(record):
    return json.dumps(record).encode() + b"\n"


@given(st.dictionaries(DIGESTS, SIZES, max_size=20).map(lambda blobs: list(blobs.items())))
@settings(max_examples=100)
def test_an_index_is_read_as_it_was_written(blobs):
    assert pack.parse_header(pack.header(blobs)) == blobs


def test_an_index_is_one_line():
    assert pack.header([(SHA, 1)]) == b'{"blobs":[["%s",1]],"format":1}\n' % SHA.encode()


@given(st.binary(max_size=40))
@settings(max_examples=100)
def test_other_bytes_are_refused(data):
    with pytest.raises(TetraError):
        pack.parse_header(data + b"\n")


@pytest.mark.parametrize("record", [None, [], 1, "text", {}, {"blobs": []}])
def test_what_is_no_index_is_refused(record):
    with pytest.raises(TetraError, match="does not begin with an index"):
        pack.parse_header(line(record))


def test_an_index_that_nests_without_end_is_refused():
    with pytest.raises(TetraError, match="does not begin with an index"):
        pack.parse_header(b"[" * 100_000 + b"\n")


@pytest.mark.parametrize("size", [0, 1, 40, -1])
def test_an_index_that_was_cut_short_is_refused(size):
    with pytest.raises(TetraError, match="does not begin with an index"):
        pack.parse_header(pack.header([(SHA, 1)])[:size])


@pytest.mark.parametrize(
    ("version", "match"),
    [(2, "written by a newer version"), (0, "format 0"), (True, "format True"), ("1", "format '1'"), (None, "None")],
)
def test_another_format_is_refused(version, match):
    with pytest.raises(TetraError, match=match):
        pack.parse_header(line({"format": version, "blobs": []}))


@pytest.mark.parametrize("change", [{"extra": 1}, {"blobs": {}}, {"blobs": None}])
def test_an_index_of_another_form_is_refused(change):
    with pytest.raises(TetraError, match="does not consist of format and blobs"):
        pack.parse_header(line({"format": 1, "blobs": [], **change}))


@pytest.mark.parametrize("item", [[], [SHA], [SHA, 1, 2], SHA, None, {SHA: 1, "b": 2}, "ab"])
def test_an_item_that_is_no_pair_is_refused(item):
    with pytest.raises(TetraError, match="does not list pairs"):
        pack.parse_header(line({"format": 1, "blobs": [item]}))


@pytest.mark.parametrize(
    "digest", ["", "a" * 63, "a" * 65, "A" * 64, "g" * 64, SHA + "\n", "../" + "a" * 61, None, 1, []]
)
def test_a_name_that_is_no_sha256_is_refused(digest):
    with pytest.raises(TetraError, match="is no sha256"):
        pack.parse_header(line({"format": 1, "blobs": [[digest, 1]]}))


@pytest.mark.parametrize("size", [-1, pack.MAX_BLOB + 1, True, 1.5, "1", None, []])
def test_a_size_that_no_blob_may_have_is_refused(size):
    with pytest.raises(TetraError, match="has the size"):
        pack.parse_header(line({"format": 1, "blobs": [[SHA, size]]}))


def test_a_blob_is_announced_once():
    with pytest.raises(TetraError, match="twice"):
        pack.parse_header(pack.header([(SHA, 1), (SHA, 1)]))


def test_too_many_bytes_are_refused():
    blobs = [(f"{number:064x}", pack.MAX_BLOB) for number in range(128)]
    pack.parse_header(pack.header(blobs))
    with pytest.raises(TetraError, match="at most"):
        pack.parse_header(pack.header([*blobs, (SHA, 1)]))
