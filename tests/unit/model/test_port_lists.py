# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lists of ports as the kernel writes them, and which of its entries are ours."""

from __future__ import annotations

import pytest
from ansible_collections.tetra.platform.plugins.module_utils.model.errors import TetraError
from ansible_collections.tetra.platform.plugins.module_utils.model.ports import lists as port_lists
from hypothesis import given
from hypothesis import strategies as st

PORTS = st.sets(st.integers(1, 65535))
FEW = st.sets(st.integers(1, 12))


@pytest.mark.parametrize(
    ("text", "ports"),
    [("", set()), ("\n", set()), ("1\n", {1}), ("1,2,10-12\n", {1, 2, 10, 11, 12}), ("0,65535", {0, 65535})],
)
def test_a_list_of_the_kernel_is_read(text, ports):
    assert port_lists.parse(text) == ports


@pytest.mark.parametrize("text", ["a", "1 2", "-1", "65536", "1-2-3", "1-65536", "1;2"])
def test_what_is_no_list_of_ports_is_refused(text):
    with pytest.raises(TetraError):
        port_lists.parse(text)


@pytest.mark.parametrize(
    ("ports", "text"), [((), ""), ((3, 1, 2), "1-3"), ((7, 7, 9), "7,9"), ((4000, 4001, 65535), "4000-4001,65535")]
)
def test_ports_are_written_in_order_with_ranges(ports, text):
    assert port_lists.text(ports) == text


@given(PORTS)
def test_what_is_written_is_read_again(ports):
    assert port_lists.parse(port_lists.text(ports)) == ports


@given(PORTS, st.integers(12, 60))
def test_a_list_is_cut_into_pieces_that_each_are_whole(ports, size):
    pieces = port_lists.pieces(ports, size)
    assert "".join(pieces) == f"{port_lists.text(ports)}\n"
    assert all(0 < len(piece) <= size for piece in pieces)
    assert set().union(*(port_lists.parse(piece) for piece in pieces)) == ports


@given(ours=FEW, kernel=FEW, wanted=FEW)
def test_what_others_put_on_the_list_stays_and_never_becomes_ours(ours, kernel, wanted):
    kept = port_lists.keep(ours, kernel, wanted)
    others = kernel - ours
    assert kept.kernel == others | wanted
    assert kept.ours == wanted - others


@given(ours=FEW, kernel=FEW, wanted=FEW)
def test_once_kept_nothing_changes_until_nothing_is_wanted_and_only_the_others_are_left(ours, kernel, wanted):
    kept = port_lists.keep(ours, kernel, wanted)
    assert port_lists.keep(kept.ours, kept.kernel, wanted) == kept
    assert port_lists.keep(kept.ours, kept.kernel, ()) == port_lists.Kept(frozenset(), frozenset(kernel - ours))
