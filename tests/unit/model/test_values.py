# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Values: what is text, what only the host knows, and what happens when it does not."""

from __future__ import annotations

import json

import pytest
from ansible_collections.tetra.platform.plugins.module_utils.model import values
from ansible_collections.tetra.platform.plugins.module_utils.model.errors import TetraError
from hypothesis import given
from hypothesis import strategies as st

HOME = {"var": "HOME"}
TOKEN = {"secret": "TOKEN"}

PARTS = st.recursive(
    st.one_of(
        st.text("ab$ {}", max_size=4),
        st.sampled_from(["HOME", "PORT"]).map(lambda name: {"var": name}),
        st.just(TOKEN),
    ),
    lambda inner: st.builds(
        lambda name, default: {"var": name, "default": default},
        st.sampled_from(["HOME", "NOPE"]),
        st.lists(inner, max_size=3).map(values.join),
    ),
    max_leaves=6,
)
VALUES = st.lists(PARTS, max_size=5).map(values.join)


@pytest.mark.parametrize(
    ("pieces", "joined"),
    [
        ([], ""),
        (["a", "", "b"], "ab"),
        ([HOME], [HOME]),
        (["a", "b", HOME, "", "c", "d"], ["ab", HOME, "cd"]),
        ([["a", HOME], "b"], ["a", HOME, "b"]),
        (["", HOME, ""], [HOME]),
    ],
)
def test_text_side_by_side_is_one_part(pieces, joined):
    assert values.join(pieces) == joined


@given(VALUES)
def test_joining_the_parts_of_a_value_gives_the_value(value):
    assert values.join(values.parts(value)) == value


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("plain", "plain"),
        (["a/", HOME, "/b"], "a//h/b"),
        ([{"var": "NOPE", "default": "x"}], "x"),
        ([{"var": "EMPTY", "default": "x"}], "x"),
        ([{"var": "HOME", "default": "x"}], "/h"),
        ([{"var": "NOPE", "default": ["<", {"var": "EMPTY", "default": [HOME]}, ">"]}], "</h>"),
        ([{"var": "EMPTY"}], ""),
        ([TOKEN], "s3cret"),
    ],
)
def test_a_value_is_resolved_as_bash_would(value, text):
    assert values.resolve(value, {"HOME": "/h", "EMPTY": ""}, {"TOKEN": "s3cret"}) == text


@pytest.mark.parametrize(("value", "name"), [([HOME], "HOME"), ([TOKEN], "TOKEN")])
def test_what_is_missing_is_named(value, name):
    with pytest.raises(TetraError, match=name):
        values.resolve(value, {}, {})


def test_names_are_found_inside_defaults():
    value = [{"var": "A", "default": [{"var": "B"}, TOKEN]}]
    assert (values.variables_in(value), values.required_in(value), values.secrets_in(value)) == (
        {"A", "B"},
        {"B"},
        {"TOKEN"},
    )


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("none", "none"),
        ("${secret:TOKEN}", [TOKEN]),
        ("a${secret:TOKEN}b${secret:x.y-z}", ["a", TOKEN, "b", {"secret": "x.y-z"}]),
        (["${secret:TOKEN}", HOME], [TOKEN, HOME]),
        ([{"var": "A", "default": "${secret:TOKEN}"}], [{"var": "A", "default": [TOKEN]}]),
        ("${secret}", "${secret}"),
    ],
)
def test_secrets_in_text_become_parts(text, value):
    assert values.with_secrets(text) == value


@pytest.mark.parametrize("text", ["${secret:}", "${secret:a b}", "${secret:1}", "x${secret:TOKEN"])
def test_a_secret_needs_a_name_and_a_brace(text):
    with pytest.raises(TetraError, match="secret"):
        values.with_secrets(text)


@given(VALUES)
def test_looking_for_secrets_twice_changes_nothing(value):
    assert values.with_secrets(values.with_secrets(value)) == values.with_secrets(value)


@pytest.mark.parametrize(
    ("value", "result"),
    [
        ("", "d"),
        ("x", "x"),
        ([HOME], [{"var": "HOME", "default": "d"}]),
        ([HOME, "/x"], [HOME, "/x"]),
        ([TOKEN], [TOKEN]),
        ([{"var": "A", "default": "x"}], [{"var": "A", "default": "x"}]),
        ([{"var": "A", "default": [HOME]}], [{"var": "A", "default": [{"var": "HOME", "default": "d"}]}]),
    ],
)
def test_a_default_is_for_what_is_empty(value, result):
    assert values.or_default(value, "d") == result


def test_a_default_that_no_value_can_say_is_refused():
    with pytest.raises(TetraError, match="several variables"):
        values.or_default([HOME, {"var": "USER"}], "d")


def test_the_path_has_a_default_for_hosts_that_do_not_say():
    assert values.resolve(values.variable("PATH"), {}, {}) == values.DEFAULT_PATH


def test_a_value_is_shown_as_one_would_write_it():
    value = ["a ", HOME, {"var": "A", "default": ["b", HOME]}, TOKEN]
    assert values.show(value) == "a ${HOME}${A:-b${HOME}}${secret:TOKEN}"


def test_weight_and_depth_see_into_defaults():
    value = [{"var": "A", "default": [{"var": "B", "default": "12345"}]}]
    assert (values.weight(value), values.depth(value)) == (16 + 16 + 5, 2)


@given(VALUES)
def test_a_value_survives_a_journey_as_json(value):
    assert values.check(json.loads(json.dumps(value))) == value


DEEP: list = ["x"]
for _step in range(values.MAXIMUM_DEPTH + 2):
    DEEP = [{"var": "A", "default": DEEP}]


@pytest.mark.parametrize(
    "record",
    [None, 1, True, {}, {"var": "A"}, ["a", 1], [["a"]], [{}], [{"var": 1}], [{"var": "A", "secret": "B"}],
     [{"default": "x"}], [{"secret": "A", "default": "x"}], [{"var": "A", "default": 1}], "a\0b", ["a\0", HOME], DEEP],
)  # fmt: skip
def test_what_is_no_value_is_not_taken_for_one(record):
    with pytest.raises(TetraError):
        values.check(record)
