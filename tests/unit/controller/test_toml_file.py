# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""TOML that would cost the controller more than it is worth."""

from __future__ import annotations

import pytest
from ansible_collections.tetra.platform.plugins.module_utils.model import toml_text
from ansible_collections.tetra.platform.plugins.module_utils.model.errors import TetraError
from ansible_collections.tetra.platform.plugins.plugin_utils import toml_file

MANY = "a" + ".a" * toml_text.MOST_PARTS


@pytest.mark.parametrize("text", [f"[{MANY}]\n", f"{MANY} = 1\n", f"x = {{{MANY} = 1}}\n", f'"b c".{MANY} = 1\n'])
def test_a_name_of_very_many_parts_is_refused_with_its_line(text):
    with pytest.raises(TetraError, match=r"^x\.toml:2:\d+: a name has more than 20 parts"):
        toml_file.parse(f"# first\n{text}".encode(), "x.toml")


@pytest.mark.parametrize("text", [f'x = "{MANY}"\n', f"x = '''\n{MANY}\n'''\n", f"# {MANY}\nx = 1\n",
                                  "a" + ".a" * (toml_text.MOST_PARTS - 1) + " = 1\n"])
def test_dots_elsewhere_are_no_parts_of_a_name(text):
    assert toml_file.parse(text.encode(), "x.toml").table
