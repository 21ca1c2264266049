# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
import pytest
from ansible_collections.tetra.platform.plugins.plugin_utils import merge
from hypothesis import given
from hypothesis import strategies as st

NAMES = ("organization", "dev-1")
LINES = st.lists(st.sampled_from(["a\n", "b\n", "c\n", "d\n", "\n"]), max_size=8)
TEXTS = LINES.map("".join) | LINES.map(lambda lines: "".join(lines).rstrip("\n"))


@given(TEXTS, TEXTS)
def test_what_only_one_side_changed_is_taken(base, other):
    assert merge.merge(base, other, base, NAMES) == (other, False)
    assert merge.merge(base, base, other, NAMES) == (other, False)
    assert merge.merge(base, other, other, NAMES) == (other, False)


@given(TEXTS, TEXTS, TEXTS)
def test_nothing_that_a_side_added_is_lost(base, ours, theirs):
    text, clash = merge.merge(base, ours, theirs, NAMES)
    merged = text.splitlines()
    for side in (ours, theirs):
        for line in set(side.splitlines()) - set(base.splitlines()):
            assert line in merged
    assert clash == any(line.startswith(merge.BEGIN) for line in merged)
    mirrored, same = merge.merge(base, theirs, ours, NAMES)
    assert same == clash
    if not clash:
        assert mirrored == text


@pytest.mark.parametrize(
    ("base", "ours", "theirs", "merged"),
    [
        ("a\nb\nc\nd\n", "A\nb\nc\nd\n", "a\nb\nc\nD\n", "A\nb\nc\nD\n"),
        ("a\nb\nc\n", "b\nc\n", "a\nb\nc\nd\n", "b\nc\nd\n"),
        ("a\nb\nc\n", "a\nx\nc\n", "a\ny\nc\n", "a\n<<<<<<< organization\nx\n=======\ny\n>>>>>>> dev-1\nc\n"),
        ("", "x\n", "y", "<<<<<<< organization\nx\n=======\ny\n>>>>>>> dev-1\n"),
        ("a\n", "", "a\nb\n", "<<<<<<< organization\n=======\na\nb\n>>>>>>> dev-1\n"),
    ],
)
def test_lines_are_put_together(base, ours, theirs, merged):
    assert merge.merge(base, ours, theirs, NAMES) == (merged, merge.BEGIN in merged)
