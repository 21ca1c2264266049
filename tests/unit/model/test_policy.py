# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The policy of environments."""

from __future__ import annotations

import pytest
from ansible_collections.tetra.platform.plugins.module_utils.model import policy
from ansible_collections.tetra.platform.plugins.module_utils.model.errors import INVALID, REFUSED, TetraError
from hypothesis import given, settings
from hypothesis import strategies as st

NO_GROUPS = frozenset()


def one(**keys):
    """The environment ``dev`` with some keys."""
    return policy.environments({"dev": keys}, NO_GROUPS)["dev"]


def problem(mapping):
    """What is said about a mapping that is wrong."""
    with pytest.raises(TetraError) as caught:
        policy.environments(mapping, NO_GROUPS)
    assert caught.value.code == "invalid"
    return str(caught.value)


def test_an_environment_without_keys_has_the_defaults():
    assert policy.environments({"dev": None}, NO_GROUPS) == {"dev": policy.Environment(name="dev", group="dev")}
    assert one().lease == 60.0
    assert one().rollback_scope == "all"
    assert one().promotes_from is None


@pytest.mark.parametrize(
    ("name", "groups", "keys", "group"),
    [
        ("us-east", [], {}, "us_east"),
        ("us-east", ["us-east"], {}, "us-east"),
        ("us-east", ["us-east"], {"hosts": "web"}, "web"),
        ("dev", ["dev"], {"hosts": None}, "dev"),
    ],
)
def test_the_group_is_the_one_that_is_named_or_follows_from_the_name(name, groups, keys, group):
    assert policy.environments({name: keys}, groups)[name].group == group


@pytest.mark.parametrize(
    ("key", "written", "value"),
    [
        ("allow_push", True, True),
        ("allow_push", "yes", True),
        ("port_range", "staging", "staging"),
        ("port_range", "4100-4199", "4100-4199"),
        ("lease", "30s", 30.0),
        ("lease", 90, 90.0),
        ("soak", "2h", 7200.0),
        ("batch", 2, 2),
        ("batch", "3", 3),
        ("batch", "25%", "25%"),
        ("canary", 1, 1),
        ("max_failures", "0", 0),
        ("rollback_scope", "batch", "batch"),
        ("approvals", 2, 2),
        ("gates", "validation", ("validation",)),
        ("gates", ["validation", {"command": "true"}], ("validation", {"command": "true"})),
        ("freeze", [], ()),
        ("pinned", ["ABCD", "0" * 64], ("abcd", "0" * 64)),
        ("pinned", "1234", ("1234",)),
        ("batch", None, None),
    ],
)
def test_a_key_is_understood(key, written, value):
    assert getattr(one(**{key: written}), key) == value


@pytest.mark.parametrize(
    ("key", "written"),
    [
        ("allow_push", "perhaps"),
        ("port_range", "4199-4100"),
        ("port_range", "0-10"),
        ("port_range", "80 to 90"),
        ("port_range", 4100),
        ("lease", "soon"),
        ("lease", 0),
        ("lease", True),
        ("soak", -1),
        ("batch", 0),
        ("batch", "0%"),
        ("batch", "101%"),
        ("batch", True),
        ("canary", -1),
        ("canary", 1.5),
        ("max_failures", "none"),
        ("rollback_scope", "some"),
        ("approvals", "two"),
        ("gates", 5),
        ("gates", ["", "x"]),
        ("freeze", [1]),
        ("pinned", [1234]),
        ("pinned", ["abc"]),
        ("pinned", {"abcd": 1}),
        ("hosts", ["a", "b"]),
        ("hosts", ""),
        ("promotes_from", 1),
    ],
)
def test_a_key_that_is_wrong_is_named(key, written):
    text = problem({"dev": {key: written}})
    assert text.startswith(f"tetra_environments.dev.{key}: ")


def test_an_unknown_key_is_refused_with_the_nearest_one():
    assert "tetra_environments.dev.promote_from" in problem({"dev": {"promote_from": "x"}})
    assert "did you mean promotes_from?" in problem({"dev": {"promote_from": "x"}})


@pytest.mark.parametrize("mapping", [None, {}, [], "dev"])
def test_an_inventory_without_environments_is_told_what_to_write(mapping):
    assert "group_vars/all" in problem(mapping)


def test_an_environment_that_is_no_mapping_is_named():
    assert problem({"dev": "staging"}).startswith("tetra_environments.dev: is not a mapping")


@pytest.mark.parametrize("name", ["Dev", "de_v", "-x", "../x", "x" * 64, "", 5])
def test_a_name_that_is_not_valid_is_refused(name):
    assert f"tetra_environments.{name}: " in problem({name: {}})


def test_everything_that_is_wrong_is_said_at_once():
    text = problem({"dev": {"lease": "soon", "batch": 0}, "prod": {"promotes_from": "devv"}})
    assert len(text.splitlines()) == 3
    assert "did you mean dev?" in text


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        ({"a": "a"}, "a <- a"),
        ({"a": "b", "b": "a"}, "a <- b <- a"),
        ({"a": "b", "b": "c", "c": "a", "d": "a"}, "a <- b <- c <- a"),
    ],
)
def test_a_circle_in_the_promotion_path_is_refused_once(path, shown):
    text = problem({name: {"promotes_from": before} for name, before in path.items()})
    assert shown in text
    assert len(text.splitlines()) == 1


@given(st.dictionaries(st.sampled_from("abcdef"), st.sampled_from("abcdef"), min_size=1))
@settings(max_examples=150)
def test_a_path_is_accepted_exactly_when_it_ends(path):
    mapping = {name: {} for name in "abcdef"}
    mapping.update({name: {"promotes_from": before} for name, before in path.items()})

    def ends(name):
        for _step in range(7):
            name = path.get(name)
            if name is None:
                return True
        return False

    if all(ends(name) for name in mapping):
        found = policy.environments(mapping, NO_GROUPS)
        assert {name: found[name].promotes_from for name in path} == path
    else:
        assert "circle" in problem(mapping)


def test_an_alias_finds_its_environment():
    found = policy.environments({"dev": {}, "staging": {"promotes_from": "development"}, "prod": {}}, NO_GROUPS)
    assert found["staging"].promotes_from == "dev"
    for alias, name in (("development", "dev"), ("qa", "staging"), ("production", "prod"), ("prod", "prod")):
        assert policy.find(found, alias).name == name


def test_an_alias_that_is_an_environment_itself_means_itself():
    found = policy.environments({"staging": {}, "qa": {"promotes_from": "staging"}}, NO_GROUPS)
    assert policy.find(found, "qa").name == "qa"
    assert policy.aliases(found) == {}


def test_an_unknown_environment_is_refused_with_the_nearest_one():
    found = policy.environments({"dev": {}, "staging": {}}, NO_GROUPS)
    with pytest.raises(TetraError) as caught:
        policy.find(found, "stagin")
    assert "did you mean staging?" in caught.value.hint


@pytest.mark.parametrize(
    ("keys", "protected"),
    [
        ({}, False),
        ({"promotes_from": "first"}, True),
        ({"promotes_from": "first", "allow_push": True}, False),
        ({"approvals": 1}, True),
        ({"promotes_from": "first", "allow_push": True, "approvals": 1}, True),
    ],
)
def test_an_environment_that_takes_only_what_was_promoted_or_approved_is_protected(keys, protected):
    found = policy.environments({"first": {}, "dev": keys}, NO_GROUPS)
    assert found["dev"].protected is protected


PATHS = {"dev": {}, "lab": {}, "staging": {"promotes_from": "dev"}, "edge": {"promotes_from": "dev"},
         "prod": {"promotes_from": "staging"}}  # fmt: skip


@pytest.mark.parametrize(
    "names",
    [["dev"], ["dev", "staging", "prod"], ["staging", "prod"], ["prod"], ["dev", "lab"], ["lab", "dev", "staging"],
     ["dev", "edge", "staging"], ["edge", "staging"], ["development", "qa", "production"]],
)  # fmt: skip
def test_a_route_gives_one_bundle_to_all(names):
    found = policy.environments(PATHS, NO_GROUPS)
    targets = policy.route(found, names)
    assert [target.name for target in targets] == [policy.find(found, name).name for name in names]


@pytest.mark.parametrize(
    ("names", "text", "code"),
    [
        ([], "no environment is named", INVALID),
        (["dev", "dev"], "twice", INVALID),
        (["staging", "dev"], "dev comes after an environment that it gives its bundle to", INVALID),
        (["prod", "dev", "staging"], "dev is only pushed to, but prod takes its bundles from staging", REFUSED),
        (["dev", "prod"], "prod takes its bundles from staging, which does not come before it", REFUSED),
        (["lab", "staging"], "staging takes its bundles from dev, which does not come before it", REFUSED),
        (["prod", "edge"], "edge takes its bundles from dev", REFUSED),
        (["staging", "lab"], "lab is only pushed to", REFUSED),
        (["dev", "test"], "environment 'test' is not defined", INVALID),
    ],
)
def test_a_route_on_which_an_environment_would_get_another_bundle_is_refused(names, text, code):
    with pytest.raises(TetraError) as caught:
        policy.route(policy.environments(PATHS, NO_GROUPS), names)
    assert text in caught.value.message
    assert caught.value.code == code
    assert caught.value.hint
