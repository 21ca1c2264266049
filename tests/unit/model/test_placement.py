# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which service runs on which host."""

from __future__ import annotations

import pytest
from ansible_collections.tetra.platform.plugins.module_utils.model import placement
from ansible_collections.tetra.platform.plugins.module_utils.model.errors import TetraError
from hypothesis import given, settings
from hypothesis import strategies as st

HOSTS = {"web-2": ["web", "dev"], "db-1": ["db", "dev"], "web-1": ["web", "dev"]}


@pytest.mark.parametrize(
    ("patterns", "once", "hosts"),
    [
        (None, False, ["db-1", "web-1", "web-2"]),
        (["web"], False, ["web-1", "web-2"]),
        (["db-1"], False, ["db-1"]),
        (["db", "web-2"], False, ["db-1", "web-2"]),
        (["web-?"], False, ["web-1", "web-2"]),
        (["*"], False, ["db-1", "web-1", "web-2"]),
        (None, True, ["db-1"]),
        (["web"], True, ["web-1"]),
        (["web", "db"], True, ["db-1"]),
    ],
)
def test_a_service_runs_where_its_patterns_say(patterns, once, hosts):
    places = {} if patterns is None else {"api": patterns}
    result = placement.place(["api"], places, ["api"] if once else [], HOSTS)
    assert [host for host, services in result.items() if services] == hosts


def test_every_host_is_in_the_result_with_its_services_sorted():
    result = placement.place(["web", "api"], {"web": ["web"]}, [], HOSTS)
    assert result == {"db-1": ["api"], "web-1": ["api", "web"], "web-2": ["api", "web"]}


def test_every_name_that_matches_no_host_is_named():
    with pytest.raises(TetraError) as caught:
        placement.place(["api", "web"], {"api": ["wbe", "db"], "web": ["cache"]}, [], HOSTS)
    assert "placement of api" in caught.value.message
    assert "'wbe'" in caught.value.message
    assert "'cache'" in caught.value.message
    assert "'db'" not in caught.value.message
    assert "db-1, web-1, web-2" in caught.value.hint


def test_a_placement_of_a_service_that_is_not_there_places_nothing():
    assert placement.place(["api"], {"gone": ["nowhere"]}, [], {"h": []}) == {"h": ["api"]}


@given(st.dictionaries(st.text("abc", min_size=1), st.just([]), min_size=1), st.sets(st.sampled_from("xyz")))
@settings(max_examples=100)
def test_a_service_that_runs_once_is_on_the_first_host_by_name(hosts, services):
    result = placement.place(services, {}, services, hosts)
    assert result == {host: sorted(services) if host == min(hosts) else [] for host in hosts}
