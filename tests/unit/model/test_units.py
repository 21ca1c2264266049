# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""How durations, sizes, ports and names are written, and what is refused."""

from __future__ import annotations

import re

import pytest
from ansible_collections.tetra.platform.plugins.module_utils.model import units
from ansible_collections.tetra.platform.plugins.module_utils.model.errors import TetraError
from hypothesis import given
from hypothesis import strategies as st


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("5", 5.0), (5, 5.0), (0.5, 0.5), (" 30s ", 30.0), ("500ms", 0.5), ("1.5s", 1.5), ("5m", 300.0), ("2h", 7200.0),
     ("1d", 86400.0), ("1m30s", 90.0), ("1h 30m", 5400.0), ("0", 0.0)],
)  # fmt: skip
def test_durations_are_seconds_or_have_units(text, seconds):
    assert units.duration(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "s", "5 parsecs", "-5", "1e3", "5S", "1,5", "\u0665s", "9" * 5000, "inf", True, "4000d", "5m30"]
)
def test_other_durations_are_refused_with_the_forms_that_work(text):
    with pytest.raises(TetraError) as caught:
        units.duration(text)
    assert "is not a duration" in caught.value.message
    assert "1m30s" in caught.value.hint or "ten years" in caught.value.hint


@pytest.mark.parametrize(
    ("text", "count"),
    [("1024", 1024), (7, 7), ("512K", 524288), ("256m", 268435456), ("1.5G", 1610612736), ("1 TiB", 1024**4),
     ("10kb", 10240), ("5B", 5)],
)  # fmt: skip
def test_sizes_are_bytes_or_have_units(text, count):
    assert units.size(text) == count


@pytest.mark.parametrize("text", ["", "G", "1P", "-1", "1 2", "0x10", False])
def test_other_sizes_are_refused(text):
    with pytest.raises(TetraError, match="is not a size"):
        units.size(text)


@pytest.mark.parametrize(
    ("text", "answer"),
    [("true", True), ("Yes", True), ("on", True), ("1", True), (True, True), ("false", False), ("NO", False),
     ("off", False), ("0", False), (False, False), (" true ", True)],
)  # fmt: skip
def test_yes_and_no_have_several_words(text, answer):
    assert units.boolean(text) is answer


@pytest.mark.parametrize("text", ["", "y", "maybe", "2", "truee"])
def test_other_words_are_neither_yes_nor_no(text):
    with pytest.raises(TetraError, match="is not yes or no"):
        units.boolean(text)


@pytest.mark.parametrize(("text", "number"), [("1", 1), ("65535", 65535), (8000, 8000), ("08000", 8000)])
def test_a_port_is_a_number(text, number):
    assert units.port(text) == number


@pytest.mark.parametrize("text", ["0", "65536", "-1", "", "http", "80.5", "8_0", "\u0668\u0660", "9" * 99, True])
def test_other_ports_are_refused(text):
    with pytest.raises(TetraError, match="is not a port"):
        units.port(text)


def test_a_range_of_ports_has_two_ends():
    assert units.port_range("4100-4199") == (4100, 4199)


@pytest.mark.parametrize("text", ["4100", "4199-4100", "a-b", "1-2-3", "-5", "0-9"])
def test_other_ranges_are_refused(text):
    with pytest.raises(TetraError, match="port"):
        units.port_range(text)


@pytest.mark.parametrize(
    ("text", "kind", "number", "name"),
    [
        ("8000", "fixed", 8000, None),
        (" 8000 ", "fixed", 8000, None),
        ("8000+", "from", 8000, None),
        ("auto", "auto", None, None),
        ("", "auto", None, None),
        ("none", "none", None, None),
        ("api", "named", None, "api"),
        ("tetra_web-1", "named", None, "tetra_web-1"),
    ],
)
def test_a_port_is_asked_for_in_five_ways(text, kind, number, name):
    assert units.port_request(text) == units.PortRequest(kind, number, name)


@pytest.mark.parametrize(
    "text", ["8000++", "+8000", "70000", "70000+", "0", "8000 9000", "a b", "-", "8000,8001", "n" * 64]
)
def test_a_port_is_asked_for_in_no_other_way(text):
    with pytest.raises(TetraError, match="is not a port"):
        units.port_request(text)


@pytest.mark.parametrize(("text", "number"), [("0", 0), ("10", 10), (3, 3)])
def test_a_whole_number_has_bounds(text, number):
    assert units.integer(text, 0, 10) == number


@pytest.mark.parametrize("text", ["11", "-1", "1.0", "x", "", "9" * 5000, True])
def test_a_number_out_of_bounds_is_told_them(text):
    with pytest.raises(TetraError) as caught:
        units.integer(text, 0, 10)
    assert "from 0 to 10" in caught.value.hint


@pytest.mark.parametrize(("text", "number"), [("0.5", 0.5), ("2", 2.0), ("150%", 1.5), (1, 1.0)])
def test_cores_are_a_number_or_per_cent(text, number):
    assert units.cores(text) == number


@pytest.mark.parametrize("text", ["0", "0%", "", "a", "-1", "500m", "99999", True])
def test_other_cores_are_refused(text):
    with pytest.raises(TetraError, match="processor cores"):
        units.cores(text)


@pytest.mark.parametrize(
    ("written", "name", "changed"),
    [("api", "api", False), ("My_API", "my-api", True), ("web-2", "web-2", False), ("a_b", "a-b", True)],
)
def test_names_of_the_original_are_mapped_with_a_warning(written, name, changed):
    mapped, warning = units.service_name(written)
    assert (mapped, warning is not None) == (name, changed)


@pytest.mark.parametrize("text", ["", "1a", "-a", "a b", "a/b", "..", "a.b", "caf\u00e9", "a" * 64, "a\n", "_a"])
def test_other_names_are_refused(text):
    with pytest.raises(TetraError, match="is not a name for the service"):
        units.service_name(text)


@pytest.mark.parametrize("text", ["a\n", "A", "a_b", None, 5])
def test_a_checked_name_is_written_exactly(text):
    with pytest.raises(TetraError, match="is not a name for the organization"):
        units.check_name("organization", text)


def test_a_name_that_is_right_is_given_back():
    assert units.check_name("organization", "acme-2") == "acme-2"


@given(st.text(max_size=70))
def test_every_name_that_is_accepted_is_a_name(text):
    try:
        name, _warning = units.service_name(text)
    except TetraError:
        return
    assert re.fullmatch("[a-z][a-z0-9-]{0,62}", name)


@pytest.mark.parametrize("text", ["root", "tetra-acme", "_apt", "www-data"])
def test_a_user_is_an_account(text):
    assert units.user_name(text) == text


@pytest.mark.parametrize("text", ["", "Root", "1a", "a b", "a:b", "-x", "u" * 33])
def test_other_users_are_refused(text):
    with pytest.raises(TetraError, match="is not the name of a user"):
        units.user_name(text)


def test_a_choice_is_one_of_the_words():
    assert units.one_of(" Always ", ("always", "no")) == "always"


def test_another_choice_is_told_the_words():
    with pytest.raises(TetraError) as caught:
        units.one_of("allways", ("always", "no"))
    assert caught.value.hint == "write always, no"


def test_the_nearest_name_is_the_one_that_was_meant():
    assert units.nearest("COMAND", ["COMMAND", "CWD"]) == "COMMAND"


def test_nothing_is_near_to_everything():
    assert units.nearest("zzz", ["COMMAND", "CWD"]) is None


def test_long_text_is_shortened_in_errors():
    with pytest.raises(TetraError) as caught:
        units.port("x" * 5000)
    assert len(caught.value.message) < 100
