# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""How values become lines of a unit, read back by the rules of systemd.syntax(7)."""

from __future__ import annotations

import re

import pytest
from ansible_collections.tetra.platform.plugins.module_utils.model import unit_file
from ansible_collections.tetra.platform.plugins.module_utils.model.errors import TetraError
from hypothesis import given
from hypothesis import strategies as st

WORDS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20)
_PART = re.compile(r'\\x([0-9a-f]{2})|\\(["\\])|(%%)|(\$\$)|([^\\"%$])', re.DOTALL)


def read(line: str) -> list[str]:
    """The words of a line of quoted words, as systemd reads them; it fails on what would mean more than itself."""
    words = []
    for quoted in re.findall(r'"((?:[^"\\]|\\.)*)"', line, re.DOTALL):
        data, end = b"", 0
        for part in _PART.finditer(quoted):
            assert part.start() == end, f"{quoted!r} means something else at {end}"
            end = part.end()
            byte, escaped, percent, dollar, plain = part.groups()
            data += bytes([int(byte, 16)]) if byte else (escaped or (percent or dollar or "")[:1] or plain).encode()
        assert end == len(quoted)
        words.append(data.decode())
    return words


@given(st.lists(WORDS, max_size=5))
def test_every_word_is_read_back_as_it_was(words):
    line = unit_file.command(["/bin/x", *words])
    assert read(line) == ["/bin/x", *words]
    assert line.isprintable()


@given(WORDS)
def test_no_value_can_begin_a_line_of_its_own(text):
    unit = unit_file.text({"Unit": {"Description": unit_file.plain(text), "X-Tetra-Owner": "a/b/c"}}, text)
    assert [line for line in unit.splitlines() if line.startswith("[")] == ["[Unit]"]
    assert unit.splitlines()[-1] == "X-Tetra-Owner=a/b/c"
    assert all(not line.endswith("\\") for line in unit.splitlines())


@pytest.mark.parametrize("program", ["bin/x", "", "-/bin/x", "+/bin/x", "@/bin/x", "/bin/$x"])
def test_a_program_needs_a_plain_absolute_path(program):
    with pytest.raises(TetraError, match="systemd cannot be told to run"):
        unit_file.command([program])


@pytest.mark.parametrize("word", ["a\0b", "\udc80"])
def test_what_no_program_can_be_given_is_refused(word):
    with pytest.raises(TetraError):
        unit_file.command(["/bin/x", word])


@pytest.mark.parametrize(
    ("path", "expected"),
    [("/a/b c", "/a/b c"), ("/100%/x", "/100%%/x"), ("/a\\b", "/a\\b")],
)
def test_a_path_stands_alone(path, expected):
    assert unit_file.path(path) == expected


@pytest.mark.parametrize("path", ["a", "/a\nb", "/a ", "/a\\", "/\x07"])
def test_a_path_that_would_be_misread_is_refused(path):
    with pytest.raises(TetraError, match="systemd cannot be told the path"):
        unit_file.path(path)


def test_a_path_among_others_is_quoted():
    assert unit_file.path_word('/a "b" %h\\c') == '"/a \\"b\\" %%h\\\\c"'


@pytest.mark.parametrize(
    ("text", "expected"),
    [("a\nExecStart=+/bin/x", "a ExecStart=+/bin/x"), ("100 %", "100 %%"), ("end\\", "end"), ("end \\ \\", "end"),
     (" \t", "")],
)
def test_a_text_for_people_is_one_line(text, expected):
    assert unit_file.plain(text) == expected


@pytest.mark.parametrize(("key", "value"), [("bad key", "x"), ("User", "a\nb"), ("User", "a\\"), ("", "x")])
def test_a_line_that_none_of_the_functions_made_is_a_mistake(key, value):
    with pytest.raises(ValueError, match="cannot have the value"):
        unit_file.text({"Service": {key: value}}, "x")


def test_a_key_can_stand_several_times_or_not_at_all():
    assert unit_file.text({"Service": {"A": ["1", "2"], "B": None}}, "x") == "# x\n\n[Service]\nA=1\nA=2\n"
