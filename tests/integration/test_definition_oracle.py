# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Definitions and commands are read as bash reads them. Bash itself says how that is."""

from __future__ import annotations

import re
import subprocess

import pytest
from ansible_collections.tetra.platform.plugins.module_utils.model import command, definition, definition_text, values
from ansible_collections.tetra.platform.plugins.module_utils.model.errors import TetraError
from bash_oracle import BASH, GIVEN, HOST, assert_same, bash_sets, ours
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("definitions")


def text_of(alphabet: str):
    return st.text(alphabet, min_size=1, max_size=6)


PLAIN = text_of("abcXZ059_-./,@%+=^!?*[]:}#\u00e9\u4e2d")
DOUBLE = text_of("abZ 0\t\n'#;&|<>(){}~!*:\u00e9")
ESCAPES = st.sampled_from(['\\"', "\\\\", "\\$", "\\`", "\\a", "\\\n", "\\'", "$ ", "\\}"])
HOSTS = sorted(HOST)


@st.composite
def references(draw, known, quoted: bool, level: int = 0) -> str:
    name = draw(st.sampled_from([*known, *HOSTS, *GIVEN]))
    form = draw(st.sampled_from(["plain", "braces", "default", "unknown"]))
    if form == "plain":
        return f"${name}" + draw(st.sampled_from(["/", ".", "-", ":"]))
    if form == "braces":
        return f"${{{name}}}"
    parts = draw(st.lists(quoted_pieces(known, level + 1) if quoted else pieces(known, level + 1), max_size=3))
    return f"${{{name if form == 'default' else 'NOT_SET'}:-{''.join(parts)}}}"


def quoted_pieces(known, level: int = 0):
    # A brace would end the default it stands in.
    alphabet = DOUBLE.map(lambda text: re.sub("[}'<>]", "", text)) if level else DOUBLE
    kinds = [alphabet, ESCAPES.filter(lambda text: level == 0 or text != "\\'")]
    if level < 3:
        kinds.append(references(known, True, level))
    return st.one_of(kinds)


def pieces(known, level: int = 0):
    plain = PLAIN.map(lambda text: text.replace("}", "")) if level else PLAIN
    kinds = [
        plain,
        st.text("ab \t\n\"$`\\#;~*{}\u00e9", max_size=6).map(lambda text: f"'{text}'"),
        st.lists(quoted_pieces(known, level and level + 1), max_size=4).map(lambda parts: '"' + "".join(parts) + '"'),
        st.sampled_from(["\\ ", "\\\\", "\\'", '\\"', "\\$", "\\#", "\\;", "\\a", "\\\n", "\\*", "\\~"]),
    ]
    if level < 3:
        kinds.append(references(known, False, level))
    return st.one_of(kinds)


@st.composite
def words(draw, known) -> str:
    start = draw(st.sampled_from(["", "", "", "~", "~/", "~/a:~/b"]))
    rest = "" if start == "~" else "".join(draw(st.lists(pieces(known), max_size=5)))
    return start + rest


@st.composite
def elements(draw, known) -> str:
    quoted = st.lists(quoted_pieces(known), max_size=4).map(lambda parts: '"' + "".join(parts) + '"')
    single = st.text("ab \n$\\*", max_size=5).map(lambda text: f"'{text}'")
    return "".join(draw(st.lists(st.one_of(text_of("ab0-./=,:+%"), quoted, single), min_size=1, max_size=3)))


@st.composite
def files(draw) -> str:
    """The text of a definition: statements of all forms, each free to refer to what was set above it."""
    known: list[str] = []
    lines = draw(st.sampled_from(["", "#!/usr/bin/env bash\n", "# a comment with 'quotes\n\n"]))
    for number in range(draw(st.integers(1, 5))):
        name = draw(st.sampled_from(["A", "B", "TSM_COMMAND", "long_Name_2"]))
        form = draw(st.sampled_from(["plain", "export", "pair", "exported pair", "array", "late export", "semicolon"]))
        word = draw(words(known))
        if form == "array":
            separator = draw(st.sampled_from([" ", "  ", "\n", " # comment\n  ", "\t"]))
            lines += f"ARGS_{number}=({separator.join(draw(st.lists(elements(known), max_size=4)))}{separator})"
        elif form == "pair":
            lines += f"{name}={word} OTHER=${name}"
            known += [name, "OTHER"]
        elif form == "exported pair":
            lines += f"export  {name}={word}\tOTHER={draw(words(known))}"
            known += [name, "OTHER"]
        else:
            ends = {"plain": "{}", "export": "export {}", "late export": "{}\nexport " + name, "semicolon": "{}; X=1"}
            lines += ends[form].format("@").replace("@", f"{name}={word}")
            known.append(name)
        lines += draw(st.sampled_from(["\n", "\n\n", "  # a comment; with $(things)\n", ";\n", " \\\n\n"]))
    return lines


@settings(max_examples=100, suppress_health_check=list(HealthCheck))
@given(text=files())
@example(text="A=~\nB=~/x:~/y\nC='~'\nD=\"~\"\nE=x~\nF=\\~\nG=~\"/x\"\nH=\"${NO:-~}\"\nI=${NO:-~/x}\n")
@example(text='A="a\n  b \\"c\\" \\\\ \\$HOME \\` \\n $HOME"\n')
@example(text="TSM_ARGS=('a' \"b $HOME\" c\n  # comment\n  'd e' ) ; B=1\n")
@example(text="A=\\a\\ b\\\nc\nB='x'\"y\"z # c\n\texport C=$A$B D=\"${A}x\"\n")
@example(text="A=${NO:-${NOT:-\"a b\" 'c' \\} d}} B=\"${NO:-x \"y z\" \\} \\\"}\"\n")
@example(text="A=\nB=\"\"\nC=${A:-x}\nD=${B:-}\nE=#x\nF=a#b\n")
def test_a_definition_sets_what_bash_sets(folder, text):
    try:
        definition.parse(text, "service.tsm", GIVEN)
    except TetraError as error:
        # The only valid text here that is refused: what it means depends on the host in a way that no value can say.
        assume("several variables" not in error.message)
        raise
    assert_same(folder, text)


@settings(max_examples=100, suppress_health_check=list(HealthCheck))
@given(text=files())
@example(text="A=${HOME}~\nC=\\~\nexport HOME=\"$PWD\" PWD=$HOME\nD=\nE=()\nexport F\n")
@example(text='A=${NO:-"a b" \'c\'}${HOST:-"it\'s } \\" <(x)"}\n')
@example(text="ARGS=(\"$HOME\" \"${HOST:-a b}\" '' '$x')\nTSM_CWD=$(dirname $BASH_SOURCE)\nT=${secret:TOKEN}x\n")
def test_what_was_read_is_written_so_that_it_is_read_again(folder, text):
    try:
        read = definition.parse(text, "service.tsm", GIVEN)
    except TetraError as error:
        assume("several variables" not in error.message)
        raise
    written = definition_text.to_tsm(read)
    again = definition.parse(written, "service.tsm", {})
    assert (again.values, again.arrays) == (read.values, read.arrays), written
    assert again.exported >= read.exported
    if not any(map(values.secrets_in, read.values.values())):
        assert_same(folder, written)


@settings(max_examples=100, suppress_health_check=list(HealthCheck))
@given(texts=st.dictionaries(st.sampled_from(["A", "B", "TSM_COMMAND"]), st.text("a $`\\\"'{}~#é\n", max_size=12)))
@example(texts={"A": "\\\\${HOME}"})
@example(texts={"PATH": ["${HOME}/bin"], "A": "${PATH}", "HOME": "x"})
@example(texts={"A": "\\$HOME '${HOST:-x}'"})
def test_texts_for_people_say_the_same(texts):
    try:
        written = definition_text.to_tsm(definition_text.from_texts(texts))
    except TetraError:
        return
    read = definition.parse(written, "service.tsm", {})
    try:
        shown = definition_text.as_texts(read)
    except TetraError as error:
        assert "a backslash before a variable" in error.message
        return
    assert definition_text.from_texts(shown).values == read.values


SHELL_PIECES = st.sampled_from(
    ["A", "=", "B=", "export ", "$A", "${A:-", "${NO:-", "}", "'", '"', "\\", "\\\n", "~", "/", ":", " ", "\t", "\n",
     ";", "#", "(", ")", "x", "1", "$", "{", ",", "*", "[", "!", "-", "+", "&", "|", "<", ">", "`", "a b", "%", "."]
)  # fmt: skip
STARTS = st.sampled_from(["A=", "A=x\nB=", "export A=", "X=(", 'A="', 'B="${NO:-', ""])
ENDS = st.sampled_from(["", '"', "}", '}"', ")", "'"])


@settings(max_examples=150, suppress_health_check=list(HealthCheck))
@given(start=STARTS, middle=st.lists(SHELL_PIECES, max_size=10).map("".join), end=ENDS)
@example(start='B="${NO:-', middle="it's", end='}"')
@example(start="A=~", middle="\\\n", end=":")
@example(start="A=${NO:-", middle="~\t", end="}")
@example(start="A=", middle="$\\\n", end="{B}")
@example(start="B=x\nA=", middle="$B\\\n", end="1")
@example(start="X=()\n", middle="export ", end="# all")
@example(start="", middle="=", end="")
def test_what_is_not_refused_means_the_same_to_bash(folder, start, middle, end):
    try:
        definition.parse(start + middle + end, "service.tsm", GIVEN)
    except TetraError:
        return
    assert_same(folder, start + middle + end)


@pytest.mark.parametrize("text", ["A=1\r\nexport B=\"two\r\nlines\"\r\n# comment\r\nC=('no' \\\r\n b)\r\n", "A=x\r\n"])
def test_line_ends_of_windows_are_those_of_unix(folder, text):
    mine, arrays = ours(text, folder)
    theirs, their_arrays = bash_sets(folder, text.replace("\r\n", "\n"), tuple(arrays))
    assert (mine, arrays) == ({name: theirs[name] for name in mine}, their_arrays)


def bash_words(folder, text: str) -> list[str]:
    script = f"printf '%s\\0' {text.strip()}"
    result = subprocess.run([BASH, "-c", script], cwd=folder, capture_output=True, check=True, timeout=20, env={})
    return result.stdout.decode().split("\0")[:-1]


@settings(max_examples=150, suppress_health_check=list(HealthCheck))
@given(text=st.text("ab \t'\"\\-=/.,:%@+^?*[{}~#!$|\n", min_size=1, max_size=14))
@example(text="a\\ b 'c d'\"e \\\" \\x\" \\\\ ''")
def test_a_command_is_split_as_bash_splits_it(folder, text):
    try:
        split = command.split(text)
    except TetraError:
        return
    if split:
        assert split == bash_words(folder, text), text


@settings(max_examples=50, suppress_health_check=list(HealthCheck))
@given(words=st.lists(st.text("ab '\"$`\\!*~\n;\u00e9", max_size=6), min_size=1, max_size=3))
def test_words_after_a_shell_command_stay_as_they_are(folder, words):
    text = command.append({"shell": "true &&  printf '%s\\0'"}, words)["shell"]
    result = subprocess.run([BASH, "-c", text], cwd=folder, capture_output=True, check=True, timeout=20, env={})
    assert result.stdout.decode().split("\0")[:-1] == words
