# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Registries go out and come back the same in every form; what comes in is told line by line, and merged or refused."""

from __future__ import annotations

import json
import re

import pytest
import tomlkit
from ansible_collections.tetra.platform.plugins.module_utils.model.errors import TetraError
from ansible_collections.tetra.platform.plugins.module_utils.model.ports import edit as ports_edit
from ansible_collections.tetra.platform.plugins.module_utils.model.ports import entries as ports_entries
from ansible_collections.tetra.platform.plugins.module_utils.model.ports import file as ports_file
from ansible_collections.tetra.platform.plugins.module_utils.model.ports import transfer as ports_transfer
from ansible_collections.tetra.platform.plugins.module_utils.model.ports.registry import Registry
from hypothesis import given
from hypothesis import strategies as st

EXAMPLE = Registry(
    names={"acme": 4000, "dev_pages": 4001, "dns": "5353/udp"},
    owned={"acme/dev": {"api": 4100, "api/metrics": 4101}, "zoo/prod": {"web": 80}},
    ranges={"dev": (4000, 4999)},
    reserved={"system": [80, 22], "none": []},
)


def parse(text: str, form: str = "auto", path: str = "x") -> tuple[Registry, list[tuple]]:
    """The registry, and severity, code, line and column of each finding."""
    said, findings = ports_transfer.parse(text, form, path)
    assert all(finding.file == path for finding in findings)
    assert all(finding.message and finding.hint for finding in findings)
    assert said.findings == []
    return said, [(one.severity, one.code, one.line, one.column) for one in findings]


def errors(text: str, form: str = "env") -> list[tuple]:
    return [tuple(rest) for severity, *rest in parse(text, form)[1] if severity == "error"]


def test_toml_is_a_file_that_people_can_read():
    assert (
        ports_transfer.export(EXAMPLE, "toml")
        == """\
# Which name owns which port.
[metadata]
version = "1"

[ports]
acme = 4000
dev_pages = 4001
dns = "5353/udp"

[ports."acme/dev"]
api = 4100
"api/metrics" = 4101

[ports.zoo.prod]
web = 80

[port_ranges]
dev = "4000-4999"

[reserved]
none = []
system = [80, 22]
"""
    )


def test_json_has_a_version_and_is_sorted():
    text = ports_transfer.export(EXAMPLE, "json")
    assert json.loads(text) == {
        "version": 1,
        "names": {"acme": 4000, "dev_pages": 4001, "dns": "5353/udp"},
        "owned": {"acme/dev": {"api": 4100, "api/metrics": 4101}, "zoo/prod": {"web": 80}},
        "ranges": {"dev": "4000-4999"},
        "reserved": {"none": [], "system": [80, 22]},
    }
    assert text == json.dumps(json.loads(text), sort_keys=True, indent=2) + "\n"


def test_variables_say_in_comments_whose_they_are():
    lines = ports_transfer.export(EXAMPLE, "env").splitlines()
    assert lines[1:] == [
        "# port: acme", "ACME_PORT=4000",
        "# port: dev_pages", "DEV_PAGES_PORT=4001",
        "# port: dns udp", "DNS_PORT=5353",
        "# port: acme/dev/api", "ACME_DEV_API_PORT=4100",
        "# port: acme/dev/api/metrics", "ACME_DEV_API_METRICS_PORT=4101",
        "# port: zoo/prod/web", "ZOO_PROD_WEB_PORT=80",
        "# range: dev", 'PORT_RANGE_DEV="4000-4999"',
        "# reserved: none", 'PORT_RESERVED_NONE=""',
        "# reserved: system", 'PORT_RESERVED_SYSTEM="80 22"',
    ]  # fmt: skip


def test_ports_env_has_plain_names_and_says_what_it_leaves_out():
    assert ports_transfer.export(EXAMPLE, "ports.env") == (
        "# Left out, for this form has plain names only: 3 ports of environments, 1 ranges, 2 reserved categories\n"
        "acme=4000\ndev_pages=4001\ndns=5353/udp\n"
    )
    assert ports_transfer.export(Registry(names={"a": 1}), "ports.env") == "a=1\n"


def test_names_that_make_one_variable_get_several():
    registry = Registry(
        names={"a-b": 1, "a_b": 2, "A-B": 3, "a-b-port-2": 4, "a.b": 5, "3d": 6},
        owned={"a/b": {"c": 7}, "a-b/c": {"c": 8}},
    )
    text = ports_transfer.export(registry, "env")
    variables = re.findall(r"^(\w+)=", text, re.MULTILINE)
    assert variables == [
        "_3D_PORT", "A_B_PORT", "A_B_PORT_2", "A_B_PORT_2_PORT", "A_B_PORT_3", "A_B_PORT_4", "A_B_C_C_PORT",
        "A_B_C_PORT",
    ]  # fmt: skip
    assert ports_transfer.parse(text, "env", "x")[0] == registry


def test_the_same_registry_makes_the_same_text_whatever_its_order():
    shuffled = Registry(
        names=dict(reversed(EXAMPLE.names.items())),
        owned={owner: dict(reversed(keys.items())) for owner, keys in reversed(EXAMPLE.owned.items())},
        ranges=EXAMPLE.ranges,
        reserved=dict(reversed(EXAMPLE.reserved.items())),
    )
    for form in ports_transfer.FORMS:
        assert ports_transfer.export(shuffled, form) == ports_transfer.export(EXAMPLE, form)


NUMBERS = st.integers(1, 65535)
PORTS = st.one_of(NUMBERS, NUMBERS.map("{}/udp".format))
BARE = st.one_of(
    st.sampled_from(["a", "A", "a-b", "a_b", "A_B", "dev", "acme", "-", "_"]),
    st.from_regex(r"[A-Za-z0-9_-]{1,6}", fullmatch=True),
)
# A name in quotes may have anything in it but a slash.
NAMES = st.one_of(
    BARE, BARE, st.text(st.characters(exclude_characters="/", exclude_categories=["Cs"]), min_size=1, max_size=5)
)
KEYS = st.one_of(BARE, st.tuples(BARE, BARE).map("/".join))
BOUNDS = st.tuples(NUMBERS, NUMBERS).map(sorted).map(tuple)


def registries(names=NAMES) -> st.SearchStrategy:
    return st.builds(
        Registry,
        names=st.dictionaries(names, PORTS, max_size=8),
        owned=st.dictionaries(
            st.tuples(BARE, BARE).map("/".join), st.dictionaries(KEYS, PORTS, min_size=1, max_size=5), max_size=4
        ),
        ranges=st.dictionaries(names, BOUNDS, max_size=3),
        reserved=st.dictionaries(names, st.lists(NUMBERS, unique=True, max_size=4), max_size=3),
        allocation=st.one_of(st.just((3000, 9999)), BOUNDS),
        strategy=st.sampled_from(["sequential", "random", "range-based"]),
        system_ports=st.booleans(),
        cooldown=st.sampled_from([600.0, 0.0, 1.5, 86400.0]),
    )


@given(registries(), st.sampled_from(["toml", "json", "env"]), st.booleans())
def test_what_goes_out_comes_back_the_same(registry, form, knows_its_form):
    text = ports_transfer.export(registry, form)
    said, findings = ports_transfer.parse(text, form if knows_its_form else "auto", "x")
    assert said == registry
    assert [finding for finding in findings if finding.severity == "error"] == []


@given(registries())
def test_plain_names_come_back_from_ports_env(registry):
    text = ports_transfer.export(registry, "ports.env")
    said, _findings = ports_transfer.parse(text, "auto", "config/ports.env")
    bare = {name: port for name, port in registry.names.items() if re.fullmatch(r"[A-Za-z0-9_-]+", name)}
    assert said == Registry(names=bare)


@given(registries())
def test_toml_is_what_a_toml_parser_reads_too(registry):
    record = tomlkit.parse(ports_transfer.export(registry, "toml")).unwrap()
    plain = {name: value for name, value in record.get("ports", {}).items() if not isinstance(value, dict)}
    assert plain == registry.names


@given(registries(), st.sampled_from(["json", "env"]))
def test_each_port_knows_its_place_in_the_text(registry, form):
    text = ports_transfer.export(registry, form)
    said, _findings = ports_transfer.parse(text, form, "x")
    lines = text.split("\n")
    for identity, port in registry.identities():
        line, column = said.places[identity]
        shown = str(port).partition("/")[0] if form == "env" else json.dumps(port)
        assert lines[line - 1][column - 1 :].startswith(shown)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("export API_PORT=4000", {"api": 4000}),
        ("API_PORT=4000\nMY_APP=4001\n", {"api": 4000, "my-app": 4001}),
        ("tetra=4444\nmy_app=4445\n", {"tetra": 4444, "my_app": 4445}),
        ("\ufeffA='4000'\r\n  export  B=\"4001\"  # why\r\n\r\n# no\r\nC_PORT=4002", {"a": 4000, "b": 4001, "c": 4002}),
        ("A=5353/udp\nB=80/tcp\n", {"a": "5353/udp", "b": 80}),
        ("A_PORT=\nB=''\nC=1 # removed names\n", {"c": 1}),
        ("# port: x/y/z\n# port: Api\nANY=1\nOTHER=2", {"Api": 1, "other": 2}),
        ('# port: "a b"\nANY=1', {"a b": 1}),
        ("_PORT=1\nPORT=2\n", {"_port": 1, "port": 2}),
    ],
)
def test_lines_with_ports_are_read(text, names):
    said, findings = parse(text, "env")
    assert said.names == names
    assert [finding for finding in findings if finding[0] == "error"] == []


@pytest.mark.parametrize(
    ("line", "code", "column"),
    [
        ("A=$(cat /etc/passwd)", "shell", 3),
        ("A=`id`", "shell", 3),
        ('A="$(id)"', "shell", 4),
        ("A=4000; rm -rf x", "shell", 7),
        ("A=${B:-4000}", "shell", 3),
        ("A=$B", "shell", 3),
        ("source other.env && x", "shell", 18),
        ("A=4000&", "shell", 7),
        ("A=4000 B=4001", "syntax", 7),
        ("A = 4000", "syntax", 1),
        ("  if true", "syntax", 3),
        ("A=4000#c", "not-a-port", 3),
        ("A='4000'#c", "syntax", 9),
        ("A='4000", "syntax", 3),
        ("export A", "syntax", 1),
        ("A='4000; rm'", "not-a-port", 3),
        ("A=-1", "not-a-port", 3),
        ("A=80.5", "not-a-port", 3),
        ("A=100000", "not-a-port", 3),
        ("A=4000-4999", "not-a-port", 3),
        ("NODE_ENV=dev", "not-a-port", 10),
        ("A=0", "out-of-range", 3),
        ("A=65536", "out-of-range", 3),
        ("A=0/udp", "not-a-port", 3),
        ("A=٤٠٠٠", "not-a-port", 3),
    ],
)
def test_a_bad_line_is_one_error_at_its_place(line, code, column):
    said, _findings = parse(f"X=1\n{line}\nY=2\n", "env")
    assert errors(f"X=1\n{line}\nY=2\n") == [(code, 2, column)]
    assert said.names == {"x": 1, "y": 2}


def test_an_error_does_not_show_what_may_be_a_secret():
    _said, findings = ports_transfer.parse("DB_PASSWORD=hunter2\nPIN='12 34'\nA='$(hunter2)'\n", "env", "x")
    assert len(findings) == 3
    assert "hunter2" not in repr(findings)
    assert "34" not in repr(findings)


@pytest.mark.parametrize(
    ("text", "code", "line", "column"),
    [
        ("# port: a/b\nA=1\n", "not-an-identity", 1, 9),
        ("# port: a/b/c/d/e\nA=1\n", "not-an-identity", 1, 9),
        ("# port: a//c\nA=1\n", "not-an-identity", 1, 9),
        ('# port: "a/b/c"\nA=1\n', "not-an-identity", 1, 9),
        ('# port: "a\nA=1\n', "not-an-identity", 1, 9),
        ("# range: dev\nA=5-4\n", "not-a-range", 2, 3),
        ("# reserved: system\nA='22 x'\n", "not-a-port", 2, 3),
        ("# port: api\nA=1\n# port: api\nB=1\n", "duplicate-key", 4, 3),
        ("API_PORT=1\napi=2\n", "duplicate-key", 2, 5),
    ],
)
def test_a_wrong_comment_or_a_name_given_twice_is_an_error(text, code, line, column):
    assert errors(text) == [(code, line, column)]


def test_a_comment_that_no_variable_follows_is_remarked():
    text = "# port: a/b/c\n\nA=1\n# port: d\n"
    said, findings = parse(text, "env")
    assert said.names == {"a": 1}
    assert [finding for finding in findings if finding[1] == "stray-comment"] == [
        ("warning", "stray-comment", 1, 1),
        ("warning", "stray-comment", 4, 1),
    ]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", ("syntax", 1, 1)),
        ("[1]", ("syntax", 1, 1)),
        ('{"names": {"a": 1}', ("syntax", 1, 19)),
        ('{"names": {"a": 1}} x', ("syntax", 1, 21)),
        ('{"names": {"a" 1}}', ("syntax", 1, 16)),
        ('{"names": {"a": 1,}}', ("syntax", 1, 19)),
        ('{"names":\n {"a": 01}}', ("syntax", 2, 9)),
        ('{"names": []}', ("syntax", 1, 11)),
        ('{"x": ' + "[" * 100_000, ("syntax", 1, 1)),
        ('{"names": {"a": ' + "1" * 5000 + "}}", None),
        ('{"names": {\n"a": 0}}', ("out-of-range", 2, 6)),
        ('{"names": {"a": 65536}}', ("out-of-range", 1, 17)),
        ('{"names": {"a": -1}}', ("out-of-range", 1, 17)),
        ('{"names": {"a": 80.5}}', ("not-a-port", 1, 17)),
        ('{"names": {"a": true}}', ("not-a-port", 1, 17)),
        ('{"names": {"a": null}}', ("not-a-port", 1, 17)),
        ('{"names": {"a": {"b": 1}}}', ("not-a-port", 1, 17)),
        ('{"names": {"a": "4000; rm"}}', ("not-a-port", 1, 17)),
        ('{"names": {"a/b": 1}}', ("not-an-identity", 1, 19)),
        ('{"owned": {"a": {"b": 1}}}', ("not-an-identity", 1, 23)),
        ('{"owned": {"a/b": {"c/d/e": 1}}}', ("not-an-identity", 1, 29)),
        ('{"names": {"a": 1,\n"a": 2}}', ("duplicate-key", 2, 6)),
        ('{"ranges": {"dev": "2-1"}}', ("not-a-range", 1, 20)),
        ('{"ranges": {"dev": {}}}', ("not-a-value", 1, 20)),
        ('{"reserved": {"s": [0]}}', ("out-of-range", 1, 20)),
        ('{"reserved": {"s": ["a"]}}', ("not-a-value", 1, 20)),
        ('{"version": 2}', ("unknown-version", 1, 13)),
        ('{"devpages": 4000}', ("unknown-key", 1, 14)),
    ],
)
def test_bad_json_is_an_error_at_its_place(text, found):
    where = errors(text, "json")
    assert len(where) == 1
    assert found is None or where == [found]


@pytest.mark.parametrize(
    ("text", "path", "form"),
    [
        ('{"names": {"a": 1}}', "a.env", "json"),
        ("[ports]\na = 1\n", "ports.toml.backup.17", "toml"),
        ("# c\n[ports.acme.dev]\na = 1\n", "x", "toml"),
        ("ports.a = 1\n", "x.toml", "toml"),
        ("A_B=1\n", "x", "env"),
        ("A_B=1\n", "config/ports.env", "ports.env"),
        ("# port: x\r\nA_B=1\r\n", "config/ports.env", "env"),
    ],
)
def test_the_form_is_known_by_content_and_path(text, path, form):
    said, _findings = parse(text, "auto", path)
    assert said == parse(text, form, path)[0]
    assert said != Registry()
    assert said.names == {"env": {"x": 1} if "x" in text else {"a-b": 1}, "ports.env": {"A_B": 1}}.get(form, said.names)


@pytest.mark.parametrize("path", ["../config/ports.env", "/home/a b/tetra/ports.env\n", "ports.toml", "~/x", "./x"])
@pytest.mark.parametrize("form", [*ports_transfer.FORMS, "auto"])
def test_a_link_that_was_stored_as_a_file_is_told(path, form):
    said, findings = ports_transfer.parse(path, form, "config/ports.env")
    assert said == Registry()
    (finding,) = findings
    assert finding.code == "only-a-path"
    assert finding.severity == "error"
    assert path.strip() in finding.message


def test_binary_data_is_refused_with_its_place():
    for mark in ("\0", "\udc80"):
        with pytest.raises(TetraError, match=r"^x:2:3: .*binary"):
            ports_transfer.parse(f"A=1\nB={mark}", "auto", "x")


def test_too_much_text_is_refused():
    for text in ("é" * (ports_transfer.MAXIMUM_TEXT // 2 + 1), "\n" * 500_001):
        with pytest.raises(TetraError, match="more than|larger than"):
            ports_transfer.parse(text, "auto", "x")


def test_reading_stops_where_nothing_is_right():
    _said, findings = ports_transfer.parse("x\n" * (ports_entries.MOST_FINDINGS + 10), "env", "x")
    assert len(findings) == ports_entries.MOST_FINDINGS + 1
    assert "not read" in findings[-1].message


def test_an_unknown_form_is_an_error():
    with pytest.raises(TetraError, match="yaml"):
        ports_transfer.parse("", "yaml", "x")
    with pytest.raises(TetraError, match="auto"):
        ports_transfer.export(Registry(), "auto")


@given(
    st.one_of(
        st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])),
        st.from_regex(r"(\{|# port: |A=|\[ports\]\n).*"),
    ),
    st.sampled_from([*ports_transfer.FORMS, "auto"]),
)
def test_no_text_makes_it_raise(text, form):
    text = text.replace("\0", "")
    said, findings = ports_transfer.parse(text, form, "x")
    assert said.findings == []
    assert findings == sorted(findings, key=lambda finding: (finding.line, finding.column))


def merged(into: Registry, other: Registry) -> tuple[dict, list[tuple]]:
    changes, findings = ports_transfer.merge(into, other)
    return changes, [(one.severity, one.code, one.message) for one in findings]


@given(registries())
def test_a_registry_has_nothing_to_add_to_itself(registry):
    assert ports_transfer.merge(registry, registry) == ({}, [])


def distinct(registry: Registry) -> Registry:
    """The registry without ports that two have, and plain names that are those of organizations."""
    organizations = {owner.partition("/")[0] for owner in registry.owned}
    seen: set = set()
    keep = {identity: value for identity, value in registry.identities() if not (value in seen or seen.add(value))}
    owned = {
        owner: {key: value for key, value in keys.items() if f"{owner}/{key}" in keep}
        for owner, keys in registry.owned.items()
    }
    return Registry(
        names={name: value for name, value in registry.names.items() if name in keep and name not in organizations},
        owned={owner: keys for owner, keys in owned.items() if keys},
        ranges=registry.ranges,
        reserved={name: sorted(ports) for name, ports in registry.reserved.items()},
    )


@given(registries(BARE).map(distinct))
def test_what_comes_into_an_empty_registry_makes_the_same_one(registry):
    changes, findings = ports_transfer.merge(Registry(), registry)
    assert [finding for finding in findings if finding.severity == "error"] == []
    said = ports_file.read(ports_edit.edit("", changes), "x")
    assert (said.names, said.owned, said.ranges, said.reserved) == (
        registry.names, registry.owned, registry.ranges, registry.reserved,
    )  # fmt: skip
    assert ports_transfer.merge(said, registry) == ({}, [])


HERE = Registry(
    names={"api": 4000, "dns": "53/udp"},
    owned={"acme/dev": {"web": 4100}},
    ranges={"development": (4000, 4999)},
    reserved={"system": [22, 80]},
)


@pytest.mark.parametrize(
    ("other", "code", "words"),
    [
        (Registry(names={"api": 4001}), "different-port", ["api has port 4000 here", "4001"]),
        (Registry(names={"dns": 53}), "different-port", ["53/udp"]),
        (Registry(owned={"acme/dev": {"web": 1}}), "different-port", ["acme/dev/web"]),
        (Registry(names={"new": 4000}), "duplicate-port", ["new", "api here"]),
        (Registry(names={"new": "53/udp"}), "duplicate-port", ["dns here"]),
        (Registry(names={"new": 4100}), "duplicate-port", ["acme/dev/web here"]),
        (Registry(owned={"acme/dev": {"new": 4100}}), "duplicate-port", ["acme/dev/web here"]),
        (Registry(owned={"zoo/dev": {"web": 4100}}), "duplicate-port", ["acme/dev/web here"]),
        (Registry(names={"a": 1, "b": 1}), "duplicate-port", ["port 1 of b", "a in what comes in"]),
        (Registry(names={"new": 80}), "reserved-port", ["reserved here (system)"]),
        (Registry(names={"new": "80/udp"}), "reserved-port", ["80/udp"]),
        (Registry(ranges={"development": (4000, 5000)}), "different-range", ["4000-5000", "4000-4999"]),
        (Registry(ranges={"dev": (4000, 5000)}), "different-range", ["development"]),
        (Registry(names={"a b": 1}), "not-a-name", ["'a b'"]),
        (Registry(ranges={"a.b": (1, 2)}), "not-a-name", ["'a.b'"]),
    ],
)
def test_a_conflict_is_an_error_and_nothing_is_changed(other, code, words):
    changes, findings = merged(
        HERE, Registry(names={"fine": 7777, **other.names}, owned=other.owned, ranges=other.ranges)
    )
    assert changes == {}
    assert [(severity, found) for severity, found, _message in findings] == [("error", code)]
    assert all(word in findings[0][2] for word in words)


def test_all_conflicts_are_told_at_once_with_their_places():
    text = "API_PORT=1\nNEW=4000\nSSH=22\nA=9\nB=9\n"
    other, _findings = ports_transfer.parse(text, "env", "x")
    changes, findings = ports_transfer.merge(HERE, other)
    assert changes == {}
    assert sorted((one.line, one.column, one.code) for one in findings) == [
        (1, 10, "different-port"), (2, 5, "duplicate-port"), (3, 5, "reserved-port"), (5, 3, "duplicate-port"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("other", "changes"),
    [
        (HERE, {}),
        (Registry(), {}),
        (Registry(names={"new": 53}), {"names": {"new": 53}}),
        (Registry(names={"web": 4100}), {"names": {"web": 4100}}),
        (Registry(names={"web-dev": 4100}), {"names": {"web-dev": 4100}}),
        (Registry(owned={"acme/dev": {"api": 4000}}), {"owned": {"acme/dev": {"api": 4000}}}),
        (Registry(ranges={"prod": (5000, 5999)}), {"ranges": {"prod": [5000, 5999]}}),
        (Registry(ranges={"dev": (4000, 4999)}), {"ranges": {"dev": [4000, 4999]}}),
        (Registry(reserved={"system": [80]}), {}),
        (Registry(reserved={"system": [443, 80], "x": []}), {"reserved": {"system": [22, 80, 443], "x": []}}),
    ],
)
def test_what_is_new_is_added(other, changes):
    assert merged(HERE, other) == (changes, [])


def test_a_port_that_somebody_has_can_be_reserved_with_a_warning():
    changes, findings = merged(HERE, Registry(reserved={"x": [4000]}))
    assert changes == {"reserved": {"x": [4000]}}
    assert findings == [("warning", "reserved-port", "port 4000 of api will be reserved (x)")]


def test_how_ports_are_chosen_stays_a_matter_of_the_host():
    changes, findings = merged(HERE, Registry(allocation=(1, 2)))
    assert (changes, [finding[:2] for finding in findings]) == ({}, [("warning", "other-allocation")])
    assert merged(Registry(cooldown=1.0), Registry(cooldown=1.0)) == ({}, [])


def test_merging_leaves_what_is_there_alone():
    before = HERE.to_wire(), dict(HERE.registered)
    ports_transfer.merge(HERE, Registry(owned={"acme/dev": {"api": 4000}}))
    assert (HERE.to_wire(), {value: [*holders] for value, holders in HERE.registered.items()}) == before
