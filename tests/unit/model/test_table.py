# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Text for people: columns are aligned, and what comes from files cannot steer a terminal."""

from __future__ import annotations

import pytest
from ansible_collections.tetra.platform.plugins.module_utils.model import table


def test_columns_are_aligned_and_lines_have_no_blanks_at_their_ends():
    assert table.table([["ID", "NAME", "STATE"], ["0", "a-long-name", "running"], ["10", "b", ""]]) == (
        "ID  NAME         STATE\n"
        "0   a-long-name  running\n"
        "10  b"
    )  # fmt: skip


@pytest.mark.parametrize(
    ("text", "shown"),
    [("plain", "plain"), ("tétra", "tétra"), ("\x1b[2Jx", "\\u001b[2Jx"), ("a\nb", "a\\nb"), ("\x9b", "\\u009b")],
)
def test_what_a_terminal_would_obey_is_escaped(text, shown):
    assert table.printable(text) == shown
    assert table.table([["A"], [text]]).splitlines()[1:] == [shown]
