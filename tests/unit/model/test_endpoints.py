# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where services answer: in a fixed order, and nothing of it is what a host made up."""

from __future__ import annotations

import pytest
from ansible_collections.tetra.platform.plugins.module_utils.model.errors import TetraError
from ansible_collections.tetra.platform.plugins.module_utils.model.ports import endpoints
from ansible_collections.tetra.platform.plugins.module_utils.model.ports.endpoints import Selection
from hypothesis import given
from hypothesis import strategies as st


def answer(address="", **owned):
    return {"ports": {"plain": {"other": 9}, "owned": {name.replace("_", "/"): keys for name, keys in owned.items()}},
            "address": address}  # fmt: skip


HOSTS = {
    "b": answer("10.0.0.2", acme_dev={"web": 4001, "api": 4000, "api/dns": "4000/udp"}),
    "a": answer(acme_dev={"api/dns": "4000/udp", "api": 4000}, acme_prod={"api": 4100}, beta_dev={"api": 4200}),
}


def found(answers=None, addresses=None, **selection):
    return endpoints.endpoints(HOSTS if answers is None else answers, Selection(**selection), addresses or {})


def places(rows):
    return [(row["service"], row["name"], row["host"], row["address"], row["port"]) for row in rows]


def test_an_endpoint_has_all_that_a_template_needs():
    assert found({"h1": answer("10.0.0.1", acme_dev={"api/dns": "5353/udp"})}) == [{
        "service": "api", "name": "dns", "host": "h1", "address": "10.0.0.1", "port": 5353, "protocol": "udp",
        "org": "acme", "env": "dev",
    }]  # fmt: skip


def test_the_order_is_by_service_port_and_host():
    assert places(found(org="acme", env="dev")) == [
        ("api", "dns", "a", "a", 4000),
        ("api", "dns", "b", "10.0.0.2", 4000),
        ("api", "main", "a", "a", 4000),
        ("api", "main", "b", "10.0.0.2", 4000),
        ("web", "main", "b", "10.0.0.2", 4001),
    ]


@pytest.mark.parametrize(
    ("selection", "count"),
    [({}, 7), ({"org": "acme"}, 6), ({"env": "dev"}, 6), ({"org": "acme", "env": "dev"}, 5), ({"service": "web"}, 1),
     ({"env": "prod", "service": "api"}, 1), ({"org": "nobody"}, 0), ({"service": "other"}, 0)],
)  # fmt: skip
def test_only_what_is_asked_for_is_told(selection, count):
    rows = found(**selection)
    assert len(rows) == count
    assert all(row[key] == value for row in rows for key, value in selection.items())


@pytest.mark.parametrize(
    ("said", "given", "address"),
    [("", {}, "h1"), ("", {"h1": "192.0.2.1"}, "192.0.2.1"), ("0.0.0.0", {"h1": "h1.example.com"}, "h1.example.com"),
     ("::", {"other": "192.0.2.1"}, "h1"), ("10.0.0.1", {"h1": "192.0.2.1"}, "10.0.0.1"),
     ("2001:db8::1", {}, "2001:db8::1"), ("::1", {}, "::1"), ("fe80::1%eth0", {}, "fe80::1%eth0")],
)  # fmt: skip
def test_a_host_that_binds_to_every_address_has_the_given_one_or_its_name(said, given, address):
    assert [row["address"] for row in found({"h1": answer(said, acme_dev={"api": 1})}, given)] == [address]


def test_hosts_without_ports_are_no_mistake():
    assert found({}) == []
    assert found({"h1": answer()}) == []


EVIL = "10.0.0.1; } server { listen 80"


@pytest.mark.parametrize(
    ("record", "told"),
    [
        (None, "its result is None, not a mapping"),
        ([1], "its result is [1], not a mapping"),
        ({}, "its result has no ports: 'the host did not answer'"),
        ({"unreachable": True, "msg": "no\nroute"}, "its result has no ports: 'no\\nroute'"),
        ({"ports": 1}, "ports is 1, not a mapping"),
        ({"ports": {}}, "ports.owned is None, not a mapping"),
        ({"ports": {"owned": []}}, "ports.owned is [], not a mapping"),
        ({"ports": {"owned": {"acme": {}}}}, "ports.owned: 'acme' is not an org/env"),
        ({"ports": {"owned": {"acme/d ev": {}}}}, "ports.owned: 'acme/d ev' is not an org/env"),
        ({"ports": {"owned": {7: {}}}}, "ports.owned: 7 is not an org/env"),
        ({"ports": {"owned": {"acme/dev": 4000}}}, "ports.owned of acme/dev is 4000, not a mapping"),
        (answer(acme_dev={"a/b/c": 1}), "ports.owned of acme/dev: 'a/b/c' is not a service, or service/name"),
        (answer(acme_dev={"api\n": 1}), "ports.owned of acme/dev: 'api\\n' is not a service, or service/name"),
        (answer(acme_dev={"": 1}), "ports.owned of acme/dev: '' is not a service, or service/name"),
        (answer(acme_dev={"api": 0}), "ports.owned of acme/dev: 0 is not a port of api"),
        (answer(acme_dev={"api": True}), "ports.owned of acme/dev: True is not a port of api"),
        (answer(acme_dev={"api": "4000"}), "ports.owned of acme/dev: '4000' is not a port of api"),
        (answer(acme_dev={"api": EVIL}), f"ports.owned of acme/dev: '{EVIL}' is not a port of api"),
        (answer(acme_dev={"api": "x" * 999}), f"ports.owned of acme/dev: '{'x' * 196}... is not a port of api"),
        (answer(EVIL), f"address: '{EVIL}' is not an address"),
        (answer(f"fe80::1%{EVIL}"), f"address: 'fe80::1%{EVIL}' is not an address"),
        (answer("-x"), "address: '-x' is not an address"),
        ({**answer(), "address": None}, "address: None is not an address"),
        ({**answer(), "address": {}}, "address: {} is not an address"),
    ],
)
def test_what_is_no_answer_of_a_host_is_named_with_host_and_key(record, told):
    with pytest.raises(TetraError) as caught:
        found({"good": answer(), "h1": record})
    assert caught.value.message == f"host h1: {told}"
    assert "port_registry_info" in caught.value.hint


@pytest.mark.parametrize("address", [None, 7, "", EVIL])
def test_an_address_that_is_given_is_one(address):
    with pytest.raises(TetraError, match="host h1: addresses: .* is not an address"):
        found({"h1": answer()}, {"h1": address})


NAMES = st.from_regex(r"[a-z][a-z0-9-]{0,5}", fullmatch=True)
VALUES = st.one_of(st.integers(1, 65535), st.integers(1, 65535).map("{}/udp".format))
KEYS = st.one_of(NAMES, st.tuples(NAMES, NAMES).map("/".join))
ANSWERS = st.dictionaries(NAMES, st.builds(
    lambda owned: {"ports": {"owned": owned}, "address": ""},
    st.dictionaries(st.tuples(NAMES, NAMES).map("/".join), st.dictionaries(KEYS, VALUES, max_size=4), max_size=3),
), max_size=3)  # fmt: skip


@given(ANSWERS)
def test_every_port_is_told_once_and_the_order_of_hosts_does_not_matter(answers):
    rows = found(answers)
    assert rows == found(dict(reversed(answers.items())))
    said = sorted((host, owner, key, str(value)) for host, one in answers.items()
                  for owner, keys in one["ports"]["owned"].items() for key, value in keys.items()
                  if not key.endswith("/main"))  # fmt: skip
    told = sorted((row["host"], f"{row['org']}/{row['env']}",
                   row["service"] if row["name"] == "main" else f"{row['service']}/{row['name']}",
                   str(row["port"]) + ("/udp" if row["protocol"] == "udp" else ""))
                  for row in rows)  # fmt: skip
    assert set(said) <= set(told)
    assert len(told) == sum(len(keys) for one in answers.values() for keys in one["ports"]["owned"].values())


ANYTHING = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=8), st.sampled_from(["acme/dev", "api"])),
    lambda inner: st.one_of(
        st.lists(inner, max_size=2),
        st.dictionaries(st.sampled_from(["ports", "owned", "address", "acme/dev", "api", "x"]), inner, max_size=3),
    ),
)


@given(st.one_of(ANYTHING, st.builds(lambda one: {"ports": {"owned": {"acme/dev": one}}}, ANYTHING),
                 st.builds(lambda one: {"ports": {"owned": one}, "address": one}, ANYTHING)))  # fmt: skip
def test_whatever_a_host_says_is_an_endpoint_or_an_error(said):
    try:
        rows = found({"h1": said})
    except TetraError as error:
        assert error.message.startswith("host h1: ")
        return
    for row in rows:
        assert isinstance(row["port"], int)
        assert 1 <= row["port"] <= 65535
        assert all(character.isalnum() or character in "._:%-" for character in row["address"])
