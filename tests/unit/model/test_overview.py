# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
import pytest
from ansible_collections.tetra.platform.plugins.module_utils.model import overview

A, B = "a" * 64, "b" * 64


def host(bundle=A, time="2026-01-01T00:00:00Z", actor="eve", **more):
    history = [{"release": "r", "time": time, "actor": actor}] if bundle else []
    return {"epoch": 1, "bundle": bundle, "history": history, "drift": [], "holds": {}, "transaction": None,
            "services": {}, "releases": {}, "removed": {}, **more}  # fmt: skip


def test_what_is_known_of_an_environment():
    by_hand = {"kind": "hand edit", "what": "files/api/x", "services": []}
    going_on = {"id": "t1", "actor": "ann", "state": "probing"}
    found = overview.environment({
        "h1": host(time="2026-01-02T00:00:00Z", actor="ann", drift=[by_hand], holds={B: {}}),
        "h2": host(transaction=going_on), "h3": {"msg": "no route to host"},
    }, "dev")  # fmt: skip
    assert found == {
        "hosts": ["h1", "h2"], "from": "dev", "bundles": [A], "since": "2026-01-02T00:00:00Z", "actor": "ann",
        "drifts": ["h1: hand edit: files/api/x"], "holds": [B], "open": ["h2: transaction t1 of ann is probing"],
        "silent": ["h3: no route to host"],
    }  # fmt: skip


@pytest.mark.parametrize(("dev", "staging", "directory", "steps"), [
    ([A], [A], A, ("as its directory", "as dev")),
    ([A], [B], B, ("differs from its directory", "differs from dev")),
    ([A], [A, B], None, ("-", "its hosts differ")),
    ([A], [], None, ("-", "runs nothing")),
    ([""], [A], A, ("runs nothing", "differs from dev")),
])  # fmt: skip
def test_how_an_environment_stands_to_what_comes_next(dev, staging, directory, steps):
    found = {"dev": {"bundles": dev, "from": None}, "staging": {"bundles": staging, "from": "dev"}}
    assert tuple(overview.step(name, found, directory) for name in found) == steps


def test_values_that_are_not_the_same_everywhere():
    values = {"dev": {"a": "1", "b": "2", "c": "3"}, "prod": {"a": "1", "b": "3"}}
    assert overview.differences(values) == {"b": {"dev": "2", "prod": "3"}, "c": {"dev": "3", "prod": ""}}


@pytest.mark.parametrize(("comes_from", "ordered"), [
    ({"prod": "staging", "staging": "dev", "dev": None, "a": None}, ["a", "dev", "staging", "prod"]),
    ({"prod": "gone"}, ["prod"]),
    ({"a": "b", "b": "a"}, ["a", "b"]),
    ({}, []),
])  # fmt: skip
def test_environments_stand_in_the_order_of_their_bundles(comes_from, ordered):
    assert overview.in_order(comes_from) == ordered


def test_a_table_has_a_row_for_each():
    found = {"dev": overview.environment({"h1": host()}, None), "prod": overview.environment({"h2": {}}, "dev")}
    assert overview.rows(found, A)[1:] == [
        ["dev", "a" * 12, "2026-01-01T00:00:00Z", "eve", "1", "-", "-", "as its directory"],
        ["prod", "-", "-", "-", "0, 1 silent", "-", "-", "runs nothing"],
    ]
