# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Definitions: what is read, what is refused and where, and that no text does harm. Bash's say: the oracle test."""

from __future__ import annotations

import contextlib
import time

import pytest
from ansible_collections.tetra.platform.plugins.module_utils.model import definition, values
from ansible_collections.tetra.platform.plugins.module_utils.model.errors import TetraError
from hypothesis import given
from hypothesis import strategies as st

HOME = {"var": "HOME"}
PORT = {"var": "TSM_PORT"}
TOKEN = {"secret": "TOKEN"}


def read(text: str, **variables: str) -> definition.Definition:
    return definition.parse(text, "api.tsm", variables)


def error_of(text: str) -> TetraError:
    with pytest.raises(TetraError) as caught:
        read(text)
    return caught.value


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("A=1", {"A": "1"}),
        ("A=", {"A": ""}),
        ("export A=1", {"A": "1"}),
        ("export A=1 B=2", {"A": "1", "B": "2"}),
        ("A=1 B=$A", {"A": "1", "B": "1"}),
        ("A=1; B=2;", {"A": "1", "B": "2"}),
        ("\t A=1 # x\n# B=2\n", {"A": "1"}),
        ("A=a#b", {"A": "a#b"}),
        ("A='a $HOME \\ \"b\"'", {"A": 'a $HOME \\ "b"'}),
        ('A="a \\"b\\" \\\\ \\$HOME \\x"', {"A": 'a "b" \\ $HOME \\x'}),
        ("A=a\\ b\\\nc", {"A": "a bc"}),
        ("A='x y'\"z\"w", {"A": "x yzw"}),
        ('A="one\ntwo\\\nthree"', {"A": "one\ntwothree"}),
        ("A=8000+\nB=auto", {"A": "8000+", "B": "auto"}),
        ("A=${NO:-8090}", {"A": "8090"}),
        ("A=${NO:-${NOT:-x}}", {"A": "x"}),
        ("A=$given/${given}", {"A": "G/G"}),
        ("A=x\nA=$A$A", {"A": "xx"}),
        ("\ufeffA=1\r\nB='2\r\n3'\r\n", {"A": "1", "B": "2\n3"}),
        ("A=~/x", {"A": [HOME, "/x"]}),
        ("A=$HOME/x", {"A": [HOME, "/x"]}),
        ('A="${HOME}/x"\nB="<$A>"', {"A": [HOME, "/x"], "B": ["<", HOME, "/x>"]}),
        ("A=${HOME:-/root}", {"A": [{"var": "HOME", "default": "/root"}]}),
        ("A=$", {"A": "$"}),
        ("", {}),
    ],
)
def test_assignments_are_read_as_bash_reads_them(text, expected):
    assert read(text, given="G").values == expected


@pytest.mark.parametrize(
    "text", ["A=${secret:TOKEN}", 'A="${secret:TOKEN}"', "A='${secret:TOKEN}'", "A=${NO:-${secret:TOKEN}}"]
)
def test_a_secret_is_a_secret_in_all_quotes(text):
    assert read(text).values == {"A": [TOKEN]}


def test_an_escaped_secret_is_text():
    assert read('A="\\${secret:TOKEN}"').values == {"A": "${secret:TOKEN}"}


@pytest.mark.parametrize("name", ["TSM_PORT", "PORT"])
def test_a_port_is_known_only_later(name):
    assert read("TSM_PORT=8000\nA=$" + name).values["A"] == [{"var": name}]


def test_a_port_variable_that_the_file_sets_itself_is_known():
    assert read("PORT=$TSM_PORT\nA=$PORT").values["A"] == [PORT]


def test_what_the_file_sets_wins_over_what_it_is_given():
    assert read("given=mine\nHOME=/x\nA=$given~\nB=~", given="G").values["B"] == "/x"


def test_arrays_hold_words():
    text = "export TSM_ARGS=('a b' \"$HOME/c\" # first\n  d\\ e ''\n)\nB=()"
    assert read(text).arrays == {"TSM_ARGS": ["a b", [HOME, "/c"], "d e", ""], "B": []}


def test_exported_names_are_told_from_private_ones():
    read_file = read("export A=1\nB=2\nC=3\nexport C\nexport D\nD=4\n")
    assert (read_file.exported, set(read_file.values)) == ({"A", "C", "D"}, {"A", "B", "C", "D"})


def test_as_in_bash_an_export_reads_all_its_values_before_it_sets_one():
    assert read("A=old\nexport A=new B=$A").values == {"A": "new", "B": "old"}


def test_places_are_lines_and_columns():
    assert read("# c\n  A=1; export B='\n'\nC=(1)").places == {"A": (2, 3), "B": (2, 15), "C": (4, 1)}


def test_names_that_the_file_refers_to_are_kept():
    assert read("A=1\nB=$A/$HOME").referenced == {"A", "HOME"}


@pytest.mark.parametrize(
    ("text", "what", "place"),
    [
        ("A=$(date)", "a command substitution", "1:3"),
        ('A="x $(date)"', "a command substitution", "1:6"),
        ("A=`date`", "a command substitution", "1:3"),
        ('A="`date`"', "a command substitution", "1:4"),
        ("A=$((1+1))", "shell arithmetic", "1:3"),
        ("A=1\n\nstart() {\n:\n}", "a shell function", "3:1"),
        ("function f", "a shell function", "1:1"),
        ("if true; then", "shell control flow", "1:1"),
        ("for i in 1", "shell control flow", "1:1"),
        ("while :; do", "shell control flow", "1:1"),
        ("case x in", "shell control flow", "1:1"),
        ("[[ -d x ]]", "shell control flow", "1:1"),
        ("source ./x", "another file being read", "1:1"),
        (". ./x", "another file being read", "1:1"),
        ("A=1 <<EOF", "a here-document", "1:5"),
        ("cat <<EOF", "a command", "1:1"),
        ("A=1 cmd", "a command after an assignment", "1:5"),
        ("A=python3 app.py", "a command after an assignment", "1:11"),
        ("rm -rf /", "a command", "1:1"),
        ("set -e", "a command", "1:1"),
        ("A=1; rm x", "a command", "1:6"),
        ("A=1 && B=2", "a chain of commands", "1:5"),
        ("A=1||B=2", "a chain of commands", "1:4"),
        ("A=1 | x", "a pipe", "1:5"),
        ("A=1 &", "a background command", "1:5"),
        ("A=http://x/?a=1&b=2", "a background command", "1:16"),
        ("A=1 > x", "a redirection", "1:5"),
        ("A=1 2> x", "a redirection", "1:5"),
        ("A=<(x)", "a process substitution", "1:3"),
        ("A=\"${B:-<(x)}\"", "a process substitution", "1:9"),
        ("A=\"${B:-it's}\"", "a single quote in a default in double quotes", "1:11"),
        ("A=\"${B:-\"a\\)\"}\"", "in double quotes in double quotes", "1:11"),
        ("A=\"${B:-$'x'}\"", "a special shell quotation", "1:9"),
        ("A=$HO\\\nME", "the name HO going on in the next line", "1:3"),
        ("A=$\\\nHOME", "a dollar sign at the end of a line", "1:3"),
        ("A=(1)B=2", "a command: B=2", "1:6"),
        ("A=(1)#x", "a command: #x", "1:6"),
        ("A=${B#x}", "a shell expansion that is not known here: ${B#x", "1:3"),
        ("A=1\nB=${A:1}", "a shell expansion that is not known here", "2:3"),
        ("A=${#B}", "a shell expansion that is not known here", "1:3"),
        ("A=${!B}", "a shell expansion that is not known here", "1:3"),
        ("A=${B-x}", "a shell expansion that is not known here", "1:3"),
        ("A=${BASH_SOURCE[0]}", "a shell expansion that is not known here", "1:3"),
        ("A=$1", "a parameter of a shell: $1", "1:3"),
        ("A=$@", "a parameter of a shell: $@", "1:3"),
        ("A=$'x'", "a special shell quotation", "1:3"),
        ("A = 1", "blanks before an equals sign", "1:1"),
        ("A+=1", "text being appended to a variable", "1:1"),
        ("A[0]=1", "an element of an array", "1:1"),
        ("declare -x A=1", "a shell declaration", "1:1"),
        ("export -n A", "an option of a command", "1:8"),
        ("export", "a command: export", "1:1"),
        ("export # x", "export without a name", "1:8"),
        ("; A=1", "a semicolon without an assignment before it", "1:1"),
        ("A=1;;B=2", "a semicolon without an assignment before it", "1:5"),
        ("A=(1)(2)", "a shell group", "1:6"),
        ("A=(1; 2)", "a semicolon without", "1:5"),
        ("A=(*.py)", "outside quotes", "1:4"),
        ("A={a,b}", "outside quotes", "1:3"),
        ("A=~root/x", "the home of another user", "1:3"),
        ("'A'=1", "a quoted or computed command or name", "1:1"),
        ("=1", "a command: =1", "1:1"),
        ("1A=2", "a command: 1A=2", "1:1"),
        ("A='x", "a single quote that is never closed", "1:3"),
        ('A=1\nB="x\ny', "a double quote that is never closed", "2:3"),
        ("A=(1\n2", "an array that is never closed", "1:3"),
        ("A=${B:-x", "a brace that is never closed", "1:3"),
        ("A=x\\", "a backslash at the end of the file", "1:4"),
        ("A=${secret:TOKEN", "without a closing brace", "1:3"),
        ("A=\"${secret:a b}\"", "is not the name of a secret", "1:4"),
        ("A='${secret:}'", "is not the name of a secret", "1:3"),
        ("A=(1)\nB=$A", "A is an array", "2:3"),
        ("A=(1)\nA=2", "A is both an array and a text", "2:1"),
        ("A=1\nA=(2)", "A is both an array and a text", "2:1"),
        ("V='a b'\nA=($V)", "would split this variable", "2:4"),
        ("V=\nA=($V)", "would split this variable", "2:4"),
        ("A=1\0", "the control character U+0000", "1:4"),
        ("# \x1b[1m", "the control character U+001B", "1:3"),
        ("A='\x07'", "the control character U+0007", "1:4"),
        ("A=1\rB=2", "the control character U+000D", "1:4"),
        ("A='x\u202ey'", "the control character U+202E", "1:5"),
        ("A='\ud800'", "the control character U+D800", "1:4"),
    ],
)
def test_what_is_no_assignment_is_refused_with_its_place(text, what, place):
    error = error_of(text)
    assert error.message.startswith(f"api.tsm:{place}: ")
    assert what in error.message
    assert error.hint


def test_a_variable_that_nobody_set_is_told_its_nearest_name():
    error = error_of("GREETING=1\nA=$GRETING")
    assert error.message == "api.tsm:2:3: GRETING is not set; did you mean GREETING?"
    assert "${GRETING:-text}" in error.hint


def test_a_tab_is_welcome_in_quotes_and_between_words():
    assert read("export\tA='\t'").values == {"A": "\t"}


@pytest.mark.parametrize("tail", ["", "\n", " ", " # x", ";", "\r\n"])
def test_a_value_ends_where_the_file_does(tail):
    assert read("A=1" + tail).values == {"A": "1"}


@given(st.text(max_size=200))
def test_no_text_does_more_than_be_refused(text):
    with contextlib.suppress(TetraError):
        read(text)


@given(st.binary(max_size=200), st.sampled_from(["A=", 'A="', "A=(", "A=${B:-", "export "]))
def test_no_bytes_do_more_than_be_refused(data, start):
    with contextlib.suppress(TetraError):
        read(start + data.decode("latin-1"))


SIZE = definition.MAXIMUM_FILE - 10
GREAT = {
    "braces": "A=" + "${A:-" * (SIZE // 5),
    "quoted braces": 'A="' + '${A:-"' * (SIZE // 6),
    "backslashes": "A=" + "\\" * SIZE,
    "continuations": "A=" + "\\\n" * (SIZE // 2 - 2) + "`",
    "quotes": "A=" + "''" * (SIZE // 2 - 2) + "`",
    "parts": "A=" + "$HOME" * (SIZE // 5),
    "one value": "A=" + "x" * SIZE,
    "one name": "A" * SIZE + "=1",
    "one unknown name": "A=$" + "B" * SIZE,
    "words": "A=(" + "a " * (SIZE // 2),
    "blanks": " " * SIZE + "x",
    "parentheses": "A=" + "(" * SIZE,
    "semicolons": "A=1" + ";\n" * (SIZE // 2) + "B=$C",
    "doubling": "A0=xxxxxxxxxxxxxxxx\n" + "".join(f"A{n + 1}=$A{n}$A{n}\n" for n in range(5000)),
    "copies": "A=" + "x" * 60000 + "\n" + "".join(f"B{n}=y$A\n" for n in range(5000)),
    "unused defaults": "A=" + "x" * 60000 + "\nB=1\nC=" + "${B:-$A}" * 50000,
    "a chain of defaults": "A0=${HOME:-$USER}\n" + "".join(f"A{n + 1}=${{A{n}:-$HOST}}\n" for n in range(5000)),
    "many names": "".join(f"N{n}=1\n" for n in range(90000)) + "A=$N" + "x" * 100,
}


@pytest.mark.parametrize("text", GREAT.values(), ids=GREAT)
def test_a_hostile_file_is_soon_refused(text):
    start = time.monotonic()
    error_of(text)
    # Generous, because machines are busy: what grows faster than the text takes minutes.
    assert time.monotonic() - start < 30


def test_a_file_has_a_largest_size():
    assert "is larger than" in error_of("#" + "\u00e9" * (definition.MAXIMUM_FILE // 2)).message


def test_a_value_has_a_largest_size():
    longest = "x" * definition.MAXIMUM_VALUE
    assert read(f"A={longest}").values == {"A": longest}
    assert "a value is longer" in error_of(f"A={longest}x").message


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("http://x:${TSM_PORT}/", ["http://x:", PORT, "/"]),
        ("$TSM_PORT", [PORT]),
        ("${greeting}", "Hi"),
        ('say "$greeting"', 'say "Hi"'),
        ("cost \\$5 \\x", "cost $5 \\x"),
        ("a 'b' (c) # d", "a 'b' (c) # d"),
    ],
)
def test_text_is_read_once_more_as_if_in_double_quotes(text, value):
    assert definition.expand(text, {"greeting": "Hi"}) == value


def test_an_error_in_text_read_once_more_has_no_place_of_its_own():
    with pytest.raises(TetraError, match="^NOPE is not set"):
        definition.expand("a\nb\n$NOPE", {})


def test_every_host_variable_may_be_referred_to():
    text = "".join(f"A{number}=${name}\n" for number, name in enumerate(sorted(values.HOST_VARIABLES)))
    mentioned = set().union(*map(values.variables_in, read(text).values.values()))
    assert mentioned == values.HOST_VARIABLES


def test_a_path_may_be_added_to():
    value = read("PATH=$HOME/bin:$PATH").values["PATH"]
    assert values.resolve(value, {"HOME": "/h"}, {}) == f"/h/bin:{values.DEFAULT_PATH}"
