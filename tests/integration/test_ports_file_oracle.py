# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Two real TOML parsers judge our reader and our editor of registry files. Needs Python 3.11, as controllers do."""

from __future__ import annotations

import re
import tomllib

import pytest
import tomlkit
from ansible_collections.tetra.platform.plugins.module_utils.model import toml_text
from ansible_collections.tetra.platform.plugins.module_utils.model.errors import TetraError
from ansible_collections.tetra.platform.plugins.module_utils.model.ports import edit as ports_edit
from ansible_collections.tetra.platform.plugins.module_utils.model.ports import file as ports_file
from hypothesis import given, settings
from hypothesis import strategies as st

NAMES = st.from_regex(r"[a-z][a-z0-9_-]{0,5}", fullmatch=True)
PORTS = st.integers(1, 65535)
COMMENTS = st.sampled_from(["", " # why", "\t# [ports] \"x\" = 'y'", "  #"])
GAPS = st.sampled_from(["", "", "\n", "# note\n", "\n# [old]\n# a = 1\n", "   \n"])


def number(port: int) -> st.SearchStrategy:
    """The ways to write a number."""
    forms = {str(port), f"+{port}", re.sub(r"(?<=\d)(?=(\d{3})+$)", "_", str(port))}
    return st.sampled_from(sorted(forms))


KEYS = NAMES.flatmap(lambda name: st.sampled_from([name, f'"{name}"', f"'{name}'"]))
FURTHER = st.tuples(NAMES, NAMES).map('"{0[0]}/{0[1]}"'.format)
NUMBERS = PORTS.flatmap(number)
TEXTS = st.sampled_from(
    [
        '""',
        '"a # b"',
        '"\\u0041\\t\\"\\\\"',
        "'c \"d\" # e'",
        '"""\n[ports]\n"""',
        '"""a"b\\"""\n""c"""""',
        "'''\nx = 1\n'''",
        "'''a\n''b'''''",
    ]
)
ARRAYS = st.lists(NUMBERS, max_size=4).flatmap(
    lambda items: st.sampled_from(
        [
            f"[{', '.join(items)}]",
            "[" + "".join(f"\n  {item},  # n ]" for item in items) + "\n]",
            f"[ {' , '.join(items)} ]",
        ]
    )
)
OTHER = st.sampled_from(["true", "false", "1.5", "1e3", "2025-09-20T10:00:00Z", "2025-09-20 10:00:01", "07:32:00"])
UDP = PORTS.map("{}/udp".format)
VALUES = {
    "ports": st.one_of(NUMBERS, UDP.map('"{}"'.format)), "reserved": ARRAYS, "port_ranges": st.just('"3000-3999"'),
}  # fmt: skip


def _bare(key: str) -> str:
    return key.strip("\"'")


@st.composite
def documents(draw):
    """TOML of the shapes that a registry may have; now and then one that a parser must refuse."""
    text = ""
    tables = ["ports", "ports.acme.dev", "ports.acme.prod", 'ports."acme"."qa"', "reserved", "port_ranges", "metadata"]
    unique = draw(st.sampled_from([True, True, True, False]))
    for table in draw(st.lists(st.sampled_from(tables), unique=unique, max_size=5)):
        text += f"{draw(GAPS)}[{table}]{draw(COMMENTS)}\n"
        values = VALUES.get(table.split(".")[0], st.one_of(TEXTS, OTHER, ARRAYS))
        keys = st.one_of(KEYS, FURTHER) if table.startswith("ports.") else KEYS
        for key in draw(st.lists(keys, unique_by=_bare if unique else None, max_size=4)):
            text += f"{draw(GAPS)}{key}{draw(st.sampled_from([' = ', '=']))}{draw(values)}{draw(COMMENTS)}\n"
    return text[:-1] if text.endswith("\n") and draw(st.booleans()) else text


def parsed(text: str) -> dict | None:
    """What tomllib reads, or None where it refuses."""
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return None


def meaning(data: dict) -> tuple[dict, dict, dict]:
    """What a parsed file says: plain names, owned ports, reserved ports."""
    table = data.get("ports", {})
    names = {name: value for name, value in table.items() if isinstance(value, (int, str))}
    owned = {}
    for org, envs in table.items():
        for env, services in envs.items() if isinstance(envs, dict) else ():
            if isinstance(services, dict) and services:
                owned[f"{org}/{env}"] = services
            elif isinstance(services, (int, str)):
                owned.setdefault(org, {})[env] = services
    return names, owned, {name: set(ports) for name, ports in data.get("reserved", {}).items()}


def ours(text: str) -> tuple[dict, dict, dict]:
    registry = ports_file.read(text, "ports.toml")
    reserved = {category: set(ports) for category, ports in registry.reserved.items()}
    return registry.names, registry.owned, reserved


@settings(max_examples=200, deadline=None)
@given(documents())
def test_we_read_what_tomllib_reads(text):
    data = parsed(text)
    problems = toml_text.scan(text).problems
    assert (data is None) == bool(problems)
    if data is not None:
        assert ours(text) == meaning(data)


CHANGES = st.fixed_dictionaries(
    {
        "owned": st.dictionaries(
            st.sampled_from(["acme/dev", "acme/qa", "beta/new-env"]),
            st.dictionaries(
                st.one_of(NAMES, st.tuples(NAMES, NAMES).map("/".join)),
                st.one_of(PORTS, UDP, st.none()), min_size=1, max_size=3,
            ),
            max_size=2,
        ),
        "names": st.dictionaries(NAMES, st.one_of(PORTS, UDP, st.none()), max_size=3),
        "ranges": st.dictionaries(NAMES, st.sampled_from([[3000, 3999], [1, 65535], None]), max_size=1),
        "reserved": st.dictionaries(NAMES, st.one_of(st.lists(PORTS, max_size=3), st.none()), max_size=2),
    }
)


@settings(max_examples=200, deadline=None)
@given(documents(), CHANGES)
def test_what_we_write_is_toml_that_says_what_was_meant(text, changes):
    before = parsed(text)
    if before is None:
        return
    edited = ports_edit.edit(text, changes)
    names, owned, reserved = meaning(tomllib.loads(edited))
    names_before, owned_before, reserved_before = meaning(before)
    assert names == _merged(names_before, changes["names"])
    assert reserved == {name: set(ports) for name, ports in _merged(reserved_before, changes["reserved"]).items()}
    for owner, services in changes["owned"].items():
        assert owned.get(owner, {}) == _merged(owned_before.get(owner, {}), services)
    for owner in set(owned_before) - set(changes["owned"]):
        assert owned[owner] == owned_before[owner]


def _merged(before: dict, changes: dict) -> dict:
    return {name: value for name, value in {**before, **changes}.items() if value is not None}


@settings(max_examples=150, deadline=None)
@given(documents(), CHANGES)
def test_every_comment_of_a_line_that_stays_is_kept(text, changes):
    if parsed(text) is None:
        return
    keep = {kind: _without_removals(values) for kind, values in changes.items() if kind != "reserved"}
    edited = ports_edit.edit(text, keep)
    assert [line.strip() for line in text.split("\n") if line.strip().startswith("#")] == [
        line.strip() for line in edited.split("\n") if line.strip().startswith("#") and "Which name owns" not in line
    ]


def _without_removals(values: dict) -> dict:
    return {
        name: _without_removals(value) if isinstance(value, dict) else value
        for name, value in values.items()
        if value is not None
    }


@settings(max_examples=100, deadline=None)
@given(documents(), st.data())
def test_a_changed_port_gives_the_text_that_tomlkit_gives(text, data):
    names = meaning(parsed(text) or {})[0]
    if not names:
        return
    name = data.draw(st.sampled_from(sorted(names)))
    port = data.draw(st.one_of(PORTS, UDP).filter(lambda number: number != names[name]))
    document = tomlkit.parse(text)
    document["ports"][name] = port
    assert ports_edit.edit(text, {"names": {name: port}}) == tomlkit.dumps(document)


@pytest.mark.parametrize(
    "text",
    [
        "[ports]\ntetra = 4444\n",
        "[ports]\ntetra.dev.web = 4444\n",
        "ports.tetra.dev.web = 4444\n",
        "[ports.tetra]\ndev = 4444\n",
        "[ports.tetra.dev.web]\n",
        "ports = { tetra = { dev = { web = 4444 } } }\n",
        "[ports]\ntetra = { dev = { web = 4444 } }\n",
        "[[ports]]\nweb = 4444\n",
        "[ports.tetra]\n[ports]\n",
        "[ports.tetra.dev]\n",
        '[ports."tetra/dev"]\nweb = 4444\n',
        "[ports]\n[ports.tetra.dev.x]\ny = 1\n",
    ],
)
def test_a_new_service_leaves_valid_toml_or_is_refused(text):
    try:
        edited = ports_edit.edit(text, {"owned": {"tetra/dev": {"api": 4100}}})
    except TetraError as error:
        assert error.hint
    else:
        assert meaning(tomllib.loads(edited))[1]["tetra/dev"]["api"] == 4100
