# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The registry file: what every kind of file means, and that an edit changes what was asked for and nothing else."""

from __future__ import annotations

import string

import pytest
from ansible_collections.tetra.platform.plugins.module_utils.model.errors import TetraError
from ansible_collections.tetra.platform.plugins.module_utils.model.ports import edit as ports_edit
from ansible_collections.tetra.platform.plugins.module_utils.model.ports import file as ports_file
from ansible_collections.tetra.platform.plugins.module_utils.model.ports import registry
from hypothesis import given, settings
from hypothesis import strategies as st

ORIGINAL = """\
[metadata]
version = "1.0"
last_updated = "2025-09-20T10:00:00Z"
auto_updated = true

# Named services
[ports]
devpages = 4000  # "pages" for developers
arcade = 8400
old-one = ""

[ports.acme.dev]
api = 3100

# By environment
[port_ranges]
development = "3000-3999"
staging = '4000-4999'

[allocation]
auto_allocate = "true"
allocation_strategy = "sequential"  # sequential, random
avoid_system_ports = true
min_port = 3000
max_port = 9999

[conflicts]
check_on_start = true
auto_resolve = "false"
prefer_named_services = true

[reserved]
system = [22, 80, 443]
development = "3000 8080 9000"
"""


def read(text: str) -> registry.Registry:
    return ports_file.read(text, "ports.toml")


def codes(text: str) -> list[tuple]:
    return [(finding.code, finding.line, finding.column) for finding in read(text).findings]


def test_a_file_of_the_original_is_read_whole():
    said = read(ORIGINAL)
    assert said.names == {"devpages": 4000, "arcade": 8400}
    assert said.owned == {"acme/dev": {"api": 3100}}
    assert said.ranges == {"development": (3000, 3999), "staging": (4000, 4999)}
    assert said.reserved == {"system": [22, 80, 443], "development": [3000, 8080, 9000]}
    assert said.allocation == (3000, 9999)
    assert said.findings == []


def test_a_removed_name_of_the_original_has_no_port():
    assert "old-one" not in read(ORIGINAL).names


def test_an_empty_file_is_an_empty_registry():
    assert read("") == registry.Registry()


def test_a_registry_survives_the_way_over_the_wire():
    said = read(ORIGINAL + "junk\n")
    assert said.findings
    assert registry.Registry.from_wire(said.to_wire()) == said


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("[ports]\napi = 4_100\n", {"api": 4100}),
        ("[ports]\napi=4100#c\n", {"api": 4100}),
        ("[ ports ] # c\n\tapi\t=\t4100 \n", {"api": 4100}),
        ("[ports]\r\napi = 4100\r\nweb = 4200", {"api": 4100, "web": 4200}),
        ("[ports]\n\"api\" = 4100\n'web' = 4200\n", {"api": 4100, "web": 4200}),
        ("[ports]\napi = \"4100\"\nweb = '4200'\n", {"api": 4100, "web": 4200}),
        ("ports.api = 4100\n", {"api": 4100}),
        ("ports = { api = 4100, web = 4200 } # c\n", {"api": 4100, "web": 4200}),
        ("\ufeff[ports]\napi = 4100\n", {"api": 4100}),
        ("[ports]\nmy-api-2 = 4100\n", {"my-api-2": 4100}),
        ('[metadata]\nnote = "[ports] # no"\n[ports]\napi = 4100\n', {"api": 4100}),
        ('[metadata]\nnote = """\n[ports]\nwrong = 1\n"""\n[ports]\napi = 4100\n', {"api": 4100}),
        ("[metadata]\nnote = '''\n[ports]\nwrong = 1\n'''\n[ports]\napi = 4100\n", {"api": 4100}),
        ('[metadata]\nwhen = 2025-09-20T10:00:00Z\nday = 2025-09-20\nx = 1.5\n[ports]\napi = 4100\n', {"api": 4100}),
        ('[metadata]\n"a \\"quoted\\" name" = "# \\\\"\n[ports]\napi = 4100\n', {"api": 4100}),
    ],
)
def test_every_way_to_write_a_plain_name_is_read(text, names):
    said = read(text)
    assert (said.names, said.findings) == (names, [])


@pytest.mark.parametrize(
    "text",
    [
        "[ports.my-org.my-env]\nmy-api = 4100\n",
        "[ports]\nmy-org.my-env.my-api = 4100\n",
        "[ports.my-org]\nmy-env.my-api = 4100\n",
        "ports.my-org.my-env = { my-api = 4100 }\n",
        '[ports."my-org/my-env"]\nmy-api = 4100\n',
        '[ports."my-org"."my-env"]\n"my-api" = 4100\n',
    ],
)
def test_every_way_to_write_the_port_of_an_environment_is_read(text):
    said = read(text)
    assert (said.owned, said.findings) == ({"my-org/my-env": {"my-api": 4100}}, [])


@pytest.mark.parametrize(
    ("value", "ports"),
    [
        ("[22, 80]", [22, 80]),
        ("[22, 80,]", [22, 80]),
        ("[\n  22, # ] ssh, \"1\"\n\n  80 # http\n]", [22, 80]),
        ("[]", []),
        ('"22 80"', [22, 80]),
        ("'22  80'", [22, 80]),
        ('"22, 80"', [22, 80]),
        ('""', []),
        ("22", [22]),
        ('["22", "80"]', [22, 80]),
        ("[22, 80, 22]", [22, 80]),
    ],
)
def test_reserved_ports_are_an_array_or_words_in_a_text(value, ports):
    said = read(f"[reserved]\nsystem = {value}\n")
    assert (said.reserved, said.findings) == ({"system": ports}, [])


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("[ports]\napi = 0x1F90\n", [("not-a-port", 2, 7)]),
        ("[ports]\napi = banana\n", [("not-a-port", 2, 7)]),
        ("[ports]\napi = true\n", [("not-a-port", 2, 7)]),
        ("[ports]\napi = 41.5\n", [("not-a-port", 2, 7)]),
        ("[ports]\napi = 0080\n", [("not-a-port", 2, 7)]),
        ("[ports]\napi = [4100]\n", [("not-a-port", 2, 7)]),
        ("[ports]\napi = 0\n", [("out-of-range", 2, 7)]),
        ("[ports]\napi = 65536\n", [("out-of-range", 2, 7)]),
        ("[ports]\napi = -1\n", [("out-of-range", 2, 7)]),
        (f"[ports]\napi = {'9' * 5000}\n", [("not-a-port", 2, 7)]),
        ("[ports]\napi = 4100\napi = 4200\n", [("duplicate-key", 3, 7)]),
        ("[ports]\napi = 4100\n[ports]\nweb = 4200\n", [("duplicate-table", 3, 1)]),
        ("[ports]\nacme = 4100\n[ports.acme.dev]\nweb = 4200\n", [("value-and-table", 3, 1)]),
        ("ports = {}\n[ports]\nweb = 4200\n", [("value-and-table", 2, 1)]),
        ("[ports]\napi = 4100\nweb = 4100\n", [("duplicate-port", 3, 7)]),
        ("[ports.a.b]\napi = 4100\n[ports.a.c]\napi = 4100\n", [("duplicate-port", 4, 7)]),
        ("[ports]\nweb = 4100\n[ports.a.b]\napi = 4100\n", [("duplicate-port", 4, 7)]),
        ("[ports]\nssh = 2222\n[reserved]\nmine = [2222]\n", [("reserved-port", 2, 7)]),
        ("[ports]\nweb = 443\n", [("system-port", 2, 7)]),
        ('[ports]\nweb-dev = 4100\n[port_ranges]\ndev = "3000-3999"\n', [("outside-range", 2, 11)]),
        ('[ports]\nweb-dev = 4100\n[port_ranges]\ndevelopment = "3000-3999"\n', [("outside-range", 2, 11)]),
        ('[ports.acme.prod]\nweb = 4100\n[port_ranges]\nproduction = "5000-5999"\n', [("outside-range", 2, 7)]),
        ("[ports.acme]\ndev = 4100\n", [("unknown-key", 2, 7)]),
        ('[ports."a/b/c"]\ndev = 4100\n', [("unknown-key", 2, 7)]),
        ("[prots]\napi = 4100\nweb = 4200\n", [("unknown-section", 1, 1)]),
        ("[[ports]]\napi = 4100\n", [("unknown-section", 1, 1)]),
        ("api = 4100\n", [("unknown-section", 1, 7)]),
        ('[port_ranges]\ndev = "3000"\n', [("not-a-range", 2, 7)]),
        ('[port_ranges]\ndev = "3999-3000"\n', [("not-a-range", 2, 7)]),
        ("[port_ranges]\ndev = 3000\n", [("not-a-range", 2, 7)]),
        ("[reserved]\nsystem = [22, 99999]\n", [("out-of-range", 2, 15)]),
        ('[reserved]\nsystem = [22, [80], "x"]\n', [("not-a-port", 2, 15), ("not-a-port", 2, 21)]),
        ('[reserved]\nsystem = "22 x"\n', [("not-a-port", 2, 10)]),
        ("[reserved]\nsystem = 2280443\n", [("out-of-range", 2, 10)]),
        ("[reserved]\nsystem = [22 80]\n", [("syntax", 2, 14)]),
        ("[reserved]\nsystem = [22, 80\n[ports]\napi = 4100\n", [("syntax", 3, 1)]),
        ("[ports]\napi\n", [("syntax", 2, 1)]),
        ("[ports]\napi =\n", [("syntax", 2, 5)]),
        ("[ports]\napi = # none\n", [("syntax", 2, 6)]),
        ("[ports]\napi = 41 00\n", [("syntax", 2, 10)]),
        ('[ports]\napi = "4100\n', [("syntax", 2, 7)]),
        ('[ports]\napi = "\\q"\n', [("syntax", 2, 7)]),
        ('[ports]\napi = "\\ud800"\n', [("syntax", 2, 7)]),
        ("[ports]\n= 4100\n", [("syntax", 2, 1)]),
        ("[ports\napi = 4100\n", [("syntax", 1, 1)]),
        ("[metadata]\nx = {\n", [("syntax", 2, 6)]),
        (f"[metadata]\nx = {'[' * 5000}\n", [("syntax", 2, 25)]),
        ("[allocation]\nmin_port = 5000\nmax_port = 4000\n", [("not-a-range", 3, 12)]),
        ("[allocation]\nmin_port = many\n", [("not-a-port", 2, 12)]),
        ("[allocation]\nauto_alocate = true\n", [("unknown-key", 2, 16)]),
        ("[allocation]\nauto_allocate = maybe\n", [("not-a-truth-value", 2, 17)]),
        ("[conflicts]\nauto_resolve = 1\n", [("not-a-truth-value", 2, 16)]),
        ('[allocation]\nallocation_strategy = "lucky"\n', [("not-a-strategy", 2, 23)]),
        ("[allocation]\ncooldown = soon\n", [("not-a-cooldown", 2, 12)]),
        ('[ports]\ndns = "0/udp"\n', [("not-a-port", 2, 7)]),
        ('[ports]\ndns = "53/sctp"\n', [("not-a-port", 2, 7)]),
        ('[ports]\n"a/b" = 4100\n', [("unknown-key", 2, 9)]),
        ('[ports.acme.dev]\n"a/b/c" = 4100\n', [("unknown-key", 2, 11)]),
        ('[ports]\na = "4100/udp"\nb = "4100/udp"\nc = 4100\n', [("duplicate-port", 3, 5)]),
        ('[port_ranges]\ndev = "3000-3999"\nqa = "3999-4100"\n', [("overlapping-ranges", 3, 6)]),
    ],
)
def test_what_is_wrong_is_a_finding_with_its_place(text, found):
    assert codes(text) == found
    assert all(finding.hint and finding.file == "ports.toml" for finding in read(text).findings)


@pytest.mark.parametrize(
    "junk", ["api = banana", "api = 70000", "api =", "?", 'api = "', "api = [", "[x", "web = 1 2", "[[x]]", "x = {a=1"]
)
def test_the_lines_around_a_wrong_one_still_count(junk):
    said = read(f"[ports]\nbefore = 4001\n{junk}\n[ports.acme.dev]\nafter = 4002\n")
    assert said.names["before"] == 4001
    assert said.owned == {"acme/dev": {"after": 4002}}
    assert said.findings


def test_lines_below_an_unreadable_table_belong_to_none():
    assert read("[ports]\na = 4001\n[reserved\nb = 4002\n").names == {"a": 4001}


def test_further_ports_and_protocols_are_read():
    said = read('[ports]\ngame = "27015/UDP"\nweb = "4100/tcp"\n[ports.acme.dev]\n"api/dns" = "5353/udp"\n')
    assert said.names == {"game": "27015/udp", "web": 4100}
    assert said.owned == {"acme/dev": {"api/dns": "5353/udp"}}
    assert said.findings == []


@pytest.mark.parametrize(
    ("line", "field", "value"),
    [
        ('allocation_strategy = "sequential"  # sequential, random, or range-based', "strategy", "sequential"),
        ('allocation_strategy = "random"', "strategy", "random"),
        ('allocation_strategy = "range_based"', "strategy", "range-based"),
        ("avoid_system_ports = true", "system_ports", False),
        ('avoid_system_ports = "false"', "system_ports", True),
        ("avoid_system_ports = false", "system_ports", True),
        ("cooldown = 30", "cooldown", 30.0),
        ('cooldown = "2h"', "cooldown", 7200.0),
        ("cooldown = 0", "cooldown", 0.0),
    ],
)
def test_how_ports_are_chosen_is_read(line, field, value):
    said = read(f"[allocation]\n{line}\n")
    assert (getattr(said, field), said.findings) == (value, [])


def test_a_truth_value_that_is_none_lets_nobody_have_system_ports():
    assert read("[allocation]\navoid_system_ports = 0\n").system_ports is False


EXAMPLE = """\
[ports]
tetra-dev = 4444
arcade = 5800
gone = ""
arcade-dev = "5800"
tetra = 4444
devpages-dev = 4000
also-gone = ''
[allocation]
allocation_strategy = "sequential"  # sequential, random, or range-based
avoid_system_ports = "true"
[port_ranges]
dev = "5000-5999"
staging = "6000-6999"
proxy = "7000-7999"
prod = "8000-8999"
[metadata]
auto_updated = "true"
last_updated = "2025-09-20T10:00:00Z"
[reserved]
system = "22 80 443 3306 5432 6379 27017"
development = [ 3000, 8080, 9000 ]"""


def test_a_file_that_the_original_wrote_again_is_read_whole_and_what_is_odd_in_it_is_told():
    said = read(EXAMPLE)
    assert said.names == {"tetra-dev": 4444, "arcade": 5800, "arcade-dev": 5800, "tetra": 4444, "devpages-dev": 4000}
    assert said.ranges == {"dev": (5000, 5999), "staging": (6000, 6999), "proxy": (7000, 7999), "prod": (8000, 8999)}
    assert said.reserved["system"] == [22, 80, 443, 3306, 5432, 6379, 27017]
    assert [(one.code, one.line) for one in said.findings] == [
        ("outside-range", 2), ("duplicate-port", 5), ("duplicate-port", 6), ("outside-range", 7),
    ]  # fmt: skip
    assert ports_edit.edit(EXAMPLE, {"names": {"gone": 5900}}) == EXAMPLE.replace('gone = ""', "gone = 5900", 1)


def test_two_names_of_one_range_may_say_the_same():
    assert read('[port_ranges]\ndev = "3000-3999"\ndevelopment = "3000-3999"\n').findings == []


def test_of_a_key_that_is_there_twice_the_last_counts():
    assert read("[ports]\napi = 4100\napi = 4200\n").names == {"api": 4200}


@pytest.mark.parametrize("name", ["api", "api-dev"])
def test_a_plain_name_may_share_the_port_of_the_service_that_it_names(name):
    assert read(f"[ports]\n{name} = 4100\n[ports.acme.dev]\napi = 4100\n").findings == []


@pytest.mark.parametrize(
    ("env", "found"),
    [
        ("dev", ("development", (1, 2))),
        ("development", ("development", (1, 2))),
        ("prod", ("prod", (3, 4))),
        ("production", ("prod", (3, 4))),
        ("qa", None),
    ],
)
def test_a_range_is_found_in_both_vocabularies(env, found):
    assert registry.range_for({"development": (1, 2), "prod": (3, 4)}, env) == found


def test_the_own_name_of_a_range_comes_before_the_other_vocabulary():
    assert registry.range_for({"development": (1, 2), "dev": (3, 4)}, "dev") == ("dev", (3, 4))


EDITS = {
    "a value changes where it stands": (
        {"names": {"devpages": 4001}},
        'devpages = 4000  # "pages" for developers',
        'devpages = 4001  # "pages" for developers',
    ),
    "a removed name of the original is filled again": ({"names": {"old-one": 4002}}, 'old-one = ""', "old-one = 4002"),
    "a new name follows the last one": (
        {"names": {"new": 4003}},
        'old-one = ""\n',
        'old-one = ""\nnew = 4003\n',
    ),
    "a name goes with its line": ({"names": {"arcade": None}}, "arcade = 8400\n", ""),
    "a service joins its environment": (
        {"owned": {"acme/dev": {"web": 3101}}},
        "api = 3100\n",
        "api = 3100\nweb = 3101\n",
    ),
    "a new environment follows the other tables of ports": (
        {"owned": {"acme/prod": {"web": 5101, "api": 5100}}},
        "api = 3100\n",
        "api = 3100\n\n[ports.acme.prod]\nweb = 5101\napi = 5100\n",
    ),
    "a further port stands in quotes": (
        {"owned": {"acme/dev": {"api/dns": "5353/udp", "api/x": 3102}}},
        "api = 3100\n",
        'api = 3100\n"api/dns" = "5353/udp"\n"api/x" = 3102\n',
    ),
    "a port changes its protocol": ({"names": {"arcade": "8400/udp"}}, "arcade = 8400\n", 'arcade = "8400/udp"\n'),
    "an environment goes with its last service": (
        {"owned": {"acme/dev": {"api": None}}},
        "\n[ports.acme.dev]\napi = 3100\n",
        "",
    ),
    "a range is written as text": (
        {"ranges": {"production": [5000, 5999]}},
        "staging = '4000-4999'\n",
        "staging = '4000-4999'\nproduction = \"5000-5999\"\n",
    ),
    "a range changes": ({"ranges": {"staging": [4000, 4500]}}, "'4000-4999'", '"4000-4500"'),
    "an array changes": ({"reserved": {"system": [22, 25]}}, "[22, 80, 443]", "[22, 25]"),
    "words in a text become an array": ({"reserved": {"development": [3000]}}, '"3000 8080 9000"', "[3000]"),
    "a category goes": ({"reserved": {"development": None}}, 'development = "3000 8080 9000"\n', ""),
    "a new category follows": (
        {"reserved": {"mine": [7000]}},
        '"3000 8080 9000"\n',
        '"3000 8080 9000"\nmine = [7000]\n',
    ),
}


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
@pytest.mark.parametrize("final", [True, False])
@pytest.mark.parametrize(("changes", "old", "new"), EDITS.values(), ids=list(EDITS))
def test_an_edit_changes_its_lines_and_nothing_else(changes, old, new, final, ending):
    assert ORIGINAL.count(old) == 1

    def form(text):
        return (text if final else text[:-1]).replace("\n", ending)

    assert ports_edit.edit(form(ORIGINAL), changes) == form(ORIGINAL.replace(old, new))


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"names": {"devpages": 4000, "old-one": None, "never-there": None}},
        {"owned": {"acme/dev": {"api": 3100}, "acme/qa": {"api": None}}},
        {"ranges": {"staging": [4000, 4999], "qa": None}},
        {"reserved": {"system": [443, 80, 22], "development": [9000, 8080, 3000], "none": None}},
    ],
)
def test_what_the_file_says_already_is_no_edit(changes):
    assert ports_edit.edit(ORIGINAL, changes) is ORIGINAL


def test_a_new_file_begins_with_its_format():
    text = ports_edit.edit("", {"owned": {"acme/dev": {"api": 3100}}})
    assert text.endswith('[metadata]\nversion = "1"\n\n[ports.acme.dev]\napi = 3100\n')


def test_nothing_to_say_makes_no_new_file():
    assert ports_edit.edit("", {"names": {"api": None}}) == ""


def test_a_table_is_appended_where_no_other_has_ports():
    text = "[metadata]\nversion = '1'"
    assert ports_edit.edit(text, {"names": {"api": 4100}}) == f"{text}\n\n[ports]\napi = 4100"


def test_tables_that_follow_each_other_directly_stay_so():
    text = '[ports]\napi = 4100\n[port_ranges]\ndev = "1-2"\n'
    new = '[ports]\napi = 4100\n[ports.a.b]\nx = 4200\n[port_ranges]\ndev = "1-2"\n'
    assert ports_edit.edit(text, {"owned": {"a/b": {"x": 4200}}}) == new


def test_a_comment_right_above_a_table_stays_with_that_table():
    text = "[ports]\napi = 4100\n# by environment\n[port_ranges]\n"
    new = "[ports]\napi = 4100\n[ports.a.b]\nx = 4300\n# by environment\n[port_ranges]\n"
    assert ports_edit.edit(text, {"owned": {"a/b": {"x": 4300}}}) == new
    assert ports_edit.edit(new, {"owned": {"a/b": {"x": None}}}) == text


def test_a_comment_below_the_last_name_stays_with_its_table():
    text = "[ports]\napi = 4100\n# web = 4200\n\n[reserved]\n"
    new = "[ports]\napi = 4100\n# web = 4200\n\n[ports.a.b]\nx = 4300\n\n[reserved]\n"
    assert ports_edit.edit(text, {"owned": {"a/b": {"x": 4300}}}) == new


def test_a_table_with_a_comment_outlives_its_last_service():
    text = "[ports.a.b]\n# ours\nx = 4300\n"
    assert ports_edit.edit(text, {"owned": {"a/b": {"x": None}}}) == "[ports.a.b]\n# ours\n"


def test_the_indent_and_the_dotted_name_of_a_neighbour_are_followed():
    text = "[ports]\n  acme.dev.api = 4100\n"
    new = "[ports]\n  acme.dev.api = 4100\n  acme.dev.web = 4200\n"
    assert ports_edit.edit(text, {"owned": {"acme/dev": {"web": 4200}}}) == new


def test_a_byte_order_mark_stays_first():
    assert ports_edit.edit("\ufeff[ports]\na = 4100\n", {"names": {"b": 4200}}) == "\ufeff[ports]\na = 4100\nb = 4200\n"


def test_an_array_over_several_lines_keeps_its_comments():
    text = "[reserved]\nsystem = [\n    22,  # ssh\n    80,\n    443  # https\n]  # all\n"
    new = "[reserved]\nsystem = [\n    22,  # ssh\n    443,  # https\n    25,\n]  # all\n"
    assert ports_edit.edit(text, {"reserved": {"system": [22, 443, 25]}}) == new


@pytest.mark.parametrize(
    ("array", "wanted", "new"),
    [
        ("[22,\n 80]", [22, 80, 90], "[22,\n 80, 90]"),
        ("[22,\n 80]", [22], "[22,\n ]"),
        ("[22,\n 80]", [80], "[\n 80]"),
        ("[22, 80,\n]", [22, 80, 90], "[22, 80, 90\n]"),
        ("[\n 22,\n 80,\n]", [22, 80, 90, 91], "[\n 22,\n 80,\n 90,\n 91,\n]"),
        ("[\n 22,\n 80\n]", [22, 90], "[\n 22,\n 90,\n]"),
        ("[\n 22,\n 80\n]", [90], "[90]"),
        ("[\n]", [90], "[90]"),
        ("[\n 22,\n 80\n]", [], "[]"),
    ],
)
def test_an_array_over_several_lines_changes_by_element(array, wanted, new):
    text = ports_edit.edit(f"[reserved]\na = {array}\n", {"reserved": {"a": wanted}})
    assert text == f"[reserved]\na = {new}\n"


def test_of_a_name_that_is_there_twice_every_line_is_removed():
    assert ports_edit.edit("[ports]\na = 4100\na = 4200\nb = 4300\n", {"names": {"a": None}}) == "[ports]\nb = 4300\n"


def test_a_value_that_is_no_port_is_replaced():
    assert ports_edit.edit("[ports]\na = banana # b\n", {"names": {"a": 4100}}) == "[ports]\na = 4100 # b\n"


def test_a_value_that_is_no_port_is_removed():
    assert ports_edit.edit("[ports]\na = banana\nb = 4300\n", {"names": {"a": None}}) == "[ports]\nb = 4300\n"


def test_an_organization_called_like_a_plain_name_gets_a_table_beside_it():
    text = ports_edit.edit("[ports]\ntetra = 4444\n", {"owned": {"tetra/dev": {"api": 3100}}})
    assert text == '[ports]\ntetra = 4444\n\n[ports."tetra/dev"]\napi = 3100\n'
    assert ports_edit.edit(text, {"owned": {"tetra/dev": {"api": 3200}}}) == text.replace("3100", "3200")
    assert ports_edit.edit(text, {"owned": {"tetra/dev": {"api": None}}}) == "[ports]\ntetra = 4444\n"


def test_a_plain_name_and_an_organization_of_that_name_may_come_at_once():
    text = ports_edit.edit("", {"names": {"acme": 4000}, "owned": {"acme/dev": {"api": 4001}}})
    assert read(text).names == {"acme": 4000}
    assert read(text).owned == {"acme/dev": {"api": 4001}}


def test_the_names_of_ranges_may_have_dots():
    said = read('[port_ranges]\n"a.b" = "1-5"\n"d.e" = "2-3"\nx.y = "7-8"\n')
    assert [(one.code, one.line) for one in said.findings] == [("overlapping-ranges", 3)]


def test_many_ranges_are_compared_quickly_and_all_that_meet_are_told():
    lines = [f'r{number} = "{number * 10 + 1}-{number * 10 + 10}"' for number in range(5000)]
    assert read("\n".join(["[port_ranges]", *lines])).findings == []
    found = read("\n".join(["[port_ranges]", *lines, 'all = "1-65535"'])).findings
    assert {one.code for one in found} == {"overlapping-ranges"}
    assert len(found) == 5000


@pytest.mark.parametrize(
    ("text", "changes", "words"),
    [
        ("[ports.acme.dev]\na = 4100\n", {"names": {"acme": 4200}}, "ports.toml:1:1: acme is an organization"),
        ("ports = { a = 4100 }\n", {"names": {"b": 4200}}, "cannot be extended"),
        ("ports = { a = 4100 }\n", {"names": {"a": None}}, "ports.toml:1:15: ports.a stands inside"),
        ("ports.acme.dev.a = 4100\n", {"names": {"b": 4200}}, "would not say, read again, what was meant"),
        ("", {"names": {"a b": 4100}}, "'a b' is not a name"),
        ("", {"names": {"a": 0}}, "0 is not a port for a"),
        ("", {"names": {"a": 65536}}, "65536 is not a port for a"),
        ("", {"names": {"a": True}}, "True is not a port for a"),
        ("", {"names": {"a": "4100"}}, "'4100' is not a port for a"),
        ("", {"owned": {"acme": {"a": 4100}}}, "'acme' is not an organization and an environment"),
        ("", {"owned": {"acme/d v": {"a": 4100}}}, "'d v' is not a name"),
        ("", {"ranges": {"a": [2, 1]}}, "range a ends before it begins"),
        ("", {"reserved": {"a": [70000]}}, "70000 is not a port for reserved a"),
        ("", {"prots": {}}, "no prots"),
    ],
)
def test_a_change_that_cannot_be_made_is_an_error(text, changes, words):
    with pytest.raises(TetraError) as caught:
        ports_edit.edit(text, changes)
    assert words in caught.value.message
    assert caught.value.hint


def test_a_value_inside_braces_changes_where_it_stands():
    assert ports_edit.edit("ports = { a = 4100 } # c\n", {"names": {"a": 4200}}) == "ports = { a = 4200 } # c\n"


NAMES = st.from_regex(r"[a-z][a-z0-9-]{0,6}", fullmatch=True)
PORTS = st.integers(1, 65535)
LINE_ENDS = st.sampled_from(["\n", "\r\n"])


@st.composite
def files(draw):
    """Valid files of the shapes that people write, with comments, blank lines and any order."""
    ending = draw(LINE_ENDS)
    lines = []
    orgs = draw(st.lists(st.tuples(st.sampled_from(["acme", "beta"]), NAMES), unique=True, max_size=3))
    sections = draw(st.permutations(["[ports]", "[reserved]", "[metadata]", *(f"[ports.{o}.{e}]" for o, e in orgs)]))
    comment = st.text(alphabet=string.ascii_letters + " =[]\"'", max_size=8).map(lambda text: f"# {text}")
    for section in sections[: draw(st.integers(0, len(sections)))]:
        lines += draw(st.lists(st.one_of(comment, st.just("")), max_size=2)) + [section]
        names = draw(st.lists(NAMES.filter(lambda name: name not in ("acme", "beta")), unique=True, max_size=3))
        for name in names:
            value = draw(PORTS) if section != "[reserved]" else draw(st.lists(PORTS, max_size=3))
            lines.append(f"{name} = {value}{draw(st.sampled_from(['', '  # why']))}")
            lines += draw(st.lists(st.one_of(comment, st.just("")), max_size=1))
    text = ending.join(lines)
    return text + draw(st.sampled_from(["", ending])) if text else ""


CHANGES = st.fixed_dictionaries(
    {
        "owned": st.dictionaries(
            st.sampled_from(["acme/dev", "beta/a"]),
            st.dictionaries(NAMES, st.one_of(PORTS, st.none()), max_size=3),
            max_size=2,
        ),
        "names": st.dictionaries(
            NAMES.filter(lambda name: name not in ("acme", "beta")), st.one_of(PORTS, st.none()), max_size=3
        ),
        "reserved": st.dictionaries(NAMES, st.one_of(st.lists(PORTS, max_size=3), st.none()), max_size=2),
    }
)


@settings(max_examples=80, deadline=None)
@given(files(), CHANGES)
def test_an_edited_file_says_what_was_meant(text, changes):
    before, after = read(text), read(ports_edit.edit(text, changes))
    names = {name: port for name, port in {**before.names, **changes["names"]}.items() if port is not None}
    assert after.names == names
    for owner, services in changes["owned"].items():
        wanted = {**before.owned.get(owner, {}), **services}
        assert after.owned.get(owner, {}) == {name: port for name, port in wanted.items() if port is not None}


@settings(max_examples=80, deadline=None)
@given(files(), CHANGES)
def test_a_second_edit_with_the_same_changes_does_nothing(text, changes):
    once = ports_edit.edit(text, changes)
    assert ports_edit.edit(once, changes) is once


@settings(max_examples=80, deadline=None)
@given(files(), st.dictionaries(NAMES, PORTS, min_size=1, max_size=3))
def test_taking_back_what_an_environment_got_restores_every_character(text, services):
    taken = ports_edit.edit(text or "[metadata]\n", {"owned": {"new/env": services}})
    back = ports_edit.edit(taken, {"owned": {"new/env": dict.fromkeys(services)}})
    assert back == (text or "[metadata]\n")


@settings(max_examples=150, deadline=None)
@given(st.text(alphabet="[]{}=#\"'\\,.ab1 \n\r\t-_", max_size=60))
def test_no_text_makes_the_reader_fail(text):
    ports_file.read(text, "ports.toml").to_wire()


@settings(max_examples=80, deadline=None)
@given(st.text(alphabet="[]{}=#\"'\\,.ab1 \n\r\t-_", max_size=40), st.integers(0, 40))
def test_whatever_the_file_an_edit_either_works_or_is_refused(junk, at):
    text = ORIGINAL[: at * 15] + junk + ORIGINAL[at * 15 :]
    try:
        edited = ports_edit.edit(text, {"owned": {"acme/dev": {"api": 3999}}})
    except TetraError:
        return
    assert read(edited).owned["acme/dev"]["api"] == 3999
