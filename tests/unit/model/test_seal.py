# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Texts that tell whether somebody edited them."""

from __future__ import annotations

import pytest
from ansible_collections.tetra.platform.plugins.module_utils.model import seal
from hypothesis import given
from hypothesis import strategies as st

TEXT = "[Unit]\nDescription=x\n"


@given(st.text())
def test_what_was_sealed_is_whole(text):
    assert seal.is_whole(seal.sealed(text))


@pytest.mark.parametrize("edit", [
    lambda text: text.replace("x", "y"),
    lambda text: text + "Nice=5\n",
    lambda text: text[:-1],
    lambda text: text.partition("#")[0],
    lambda text: "",
])  # fmt: skip
def test_an_edit_is_seen(edit):
    assert not seal.is_whole(edit(seal.sealed(TEXT)))
