# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which service gets which port, and every reason why it does not."""

from __future__ import annotations

import dataclasses

import pytest
from ansible_collections.tetra.platform.plugins.module_utils.model.errors import INVALID, REFUSED, TetraError
from ansible_collections.tetra.platform.plugins.module_utils.model.ports import allocation
from ansible_collections.tetra.platform.plugins.module_utils.model.ports.allocation import Range, Request
from ansible_collections.tetra.platform.plugins.module_utils.model.ports.registry import Registry, number_of
from ansible_collections.tetra.platform.plugins.module_utils.model.ports.space import HostPorts
from hypothesis import given, settings
from hypothesis import strategies as st

OWNER = "acme/dev"
DEFAULT = Range(4000, 4009, "the default", False)
ENFORCED = Range(4000, 4009, "port_range of environment dev", True)


def listener(port, address="0.0.0.0", owner=None, pid=4711, command="python3"):
    return {
        "address": address, "port": port, "protocol": "tcp", "state": "listen", "ipv6_only": False, "pid": pid,
        "command": command, "unit": "", "container": "", "owner": owner,
    }  # fmt: skip


def host(names=None, owned=None, reserved=None, listeners=(), address="", ranges=None):
    registry = Registry(names=names or {}, owned=owned or {}, reserved=reserved or {}, ranges=ranges or {})
    return HostPorts(registry, listeners, address)


def auto(service, pin=None):
    return Request(service, "auto", pin=pin)


def fixed(service, number):
    return Request(service, "fixed", number)


def at_least(service, number):
    return Request(service, "from", number)


def named(service, name):
    return Request(service, "named", name=name)


def allocate(requests, *hosts, port_range=DEFAULT):
    return allocation.allocate(requests, {f"h{index}": one for index, one in enumerate(hosts, 1)}, OWNER, port_range)


def refused(requests, *hosts, port_range=DEFAULT):
    with pytest.raises(TetraError) as caught:
        allocate(requests, *hosts, port_range=port_range)
    return caught.value


def test_services_without_a_port_get_none():
    assert allocate([Request("worker", "none"), Request("job", "none", pin=4001)], host()) == {}


def test_auto_takes_the_lowest_free_ports_in_the_order_of_names():
    assert allocate([auto("web"), auto("api")], host()) == {"api": 4000, "web": 4001}


@pytest.mark.parametrize(
    "other",
    [
        host(reserved={"system": [4000]}),
        host(names={"devpages": 4000}),
        host(owned={"acme/prod": {"api": 4000}}),
        host(owned={"acme/dev": {"gone": 4000}}),
        host(listeners=[listener(4000)]),
    ],
    ids=["reserved", "named", "owned", "own but not asked for", "listened on"],
)
def test_auto_never_takes_what_any_host_has_otherwise(other):
    assert allocate([auto("api")], host(), other) == {"api": 4001}


def test_a_port_is_free_on_all_hosts_or_not_given():
    hosts = [host(listeners=[listener(4000 + index)]) for index in range(3)]
    assert allocate([auto("api")], *hosts) == {"api": 4003}


def test_a_service_keeps_the_port_that_it_has():
    assert allocate([auto("api"), auto("aaa")], host(owned={OWNER: {"api": 4000}})) == {"aaa": 4001, "api": 4000}


def test_of_hosts_that_differ_the_first_by_name_decides():
    first, second = host(owned={OWNER: {"api": 4005}}), host(owned={OWNER: {"api": 4007}})
    assert allocate([auto("api")], first, second) == {"api": 4005}


def test_a_new_host_that_is_first_by_name_moves_nothing():
    assert allocate([auto("api")], host(), host(owned={OWNER: {"api": 4007}})) == {"api": 4007}


@pytest.mark.parametrize(
    "other",
    [
        host(reserved={"x": [4005]}),
        host(owned={"acme/qa": {"api": 4005}}),
        host(listeners=[listener(4005)]),
    ],
    ids=["reserved", "owned", "listened on"],
)
def test_a_kept_port_that_became_impossible_is_replaced(other):
    assert allocate([auto("api")], host(owned={OWNER: {"api": 4005}}), other) == {"api": 4000}


def test_a_kept_port_outside_the_range_is_replaced():
    assert allocate([auto("api")], host(owned={OWNER: {"api": 5000}})) == {"api": 4000}


def test_all_hosts_follow_one_where_a_service_had_to_leave_its_port():
    first = host(owned={OWNER: {"api": 4001}}, listeners=[listener(4001, owner=f"{OWNER}/api")])
    second = host(owned={OWNER: {"api": 4002}}, listeners=[listener(4001, command="nc")])
    assert allocate([auto("api")], first, second) == {"api": 4002}
    assert allocate([auto("api")], first, host(owned={OWNER: {"api": 4002}})) == {"api": 4001}


def test_a_service_that_listens_on_its_own_port_keeps_it():
    own = host(owned={OWNER: {"api": 4005}}, listeners=[listener(4005, owner=f"{OWNER}/api")])
    assert allocate([auto("api")], own) == {"api": 4005}


def test_a_service_takes_the_port_of_its_plain_name():
    place = host(names={"api": 4004, "web-dev": 4002})
    assert allocate([auto("api"), auto("web")], place) == {"api": 4004, "web": 4002}


def test_the_port_of_a_plain_name_outside_the_range_is_left():
    assert allocate([auto("api")], host(names={"api": 8400})) == {"api": 4000}


def test_a_stated_port_comes_before_a_kept_one():
    assert allocate([fixed("web", 4000), auto("api")], host(owned={OWNER: {"api": 4000}})) == {"api": 4001, "web": 4000}


def test_from_takes_the_lowest_free_port_from_there():
    assert allocate([at_least("api", 4003)], host(listeners=[listener(4003)])) == {"api": 4004}


def test_from_may_leave_a_range_that_nobody_enforces():
    assert allocate([at_least("api", 8000)], host()) == {"api": 8000}


def test_from_stays_in_an_enforced_range():
    assert allocate([at_least("api", 80)], host(), port_range=ENFORCED) == {"api": 4000}
    error = refused([at_least("api", 8000)], host(), port_range=ENFORCED)
    assert "service api finds no free port in 8000-4009 (port_range of environment dev)" in error.message


def test_from_gives_up_a_kept_port_below_it():
    assert allocate([at_least("api", 4005)], host(owned={OWNER: {"api": 4001}})) == {"api": 4005}


def test_a_full_range_is_refused():
    error = refused([auto("api")], host(listeners=[listener(port) for port in range(4000, 4010)]))
    assert (error.code, error.message) == (REFUSED, "service api finds no free port in 4000-4009 (the default)")


def test_a_fixed_port_is_taken_as_it_is():
    assert allocate([fixed("api", 80)], host()) == {"api": 80}


def test_a_pin_wins_over_everything():
    requests = [auto("a", pin=5001), Request("b", "fixed", 4000, pin=5002), Request("c", "named", name="x", pin=5003)]
    assert allocate(requests, host(owned={OWNER: {"a": 4000}})) == {"a": 5001, "b": 5002, "c": 5003}


@pytest.mark.parametrize("request_", [fixed("api", 5000), auto("api", pin=5000)], ids=["fixed", "pinned"])
def test_a_stated_port_outside_an_enforced_range_is_invalid(request_):
    error = refused([request_], host(), port_range=ENFORCED)
    assert error.code == INVALID
    assert error.message == "port 5000 of service api is outside 4000-4009 (port_range of environment dev)"


@pytest.mark.parametrize("number", [0, -1, 65536])
def test_a_number_that_is_no_port_is_invalid(number):
    error = refused([auto("api", pin=number)], host())
    assert (error.code, error.message) == (INVALID, f"{number} is out of range as the port of service api")


def test_a_named_port_is_that_of_the_registry_whatever_the_range():
    hosts = [host(), host(names={"devpages": 8400})]
    assert allocate([named("api", "devpages")], *hosts, port_range=ENFORCED) == {"api": 8400}


def test_a_name_with_different_ports_on_two_hosts_is_refused():
    error = refused([named("api", "x")], host(names={"x": 4100}), host(names={"x": 4200}))
    assert error.code == REFUSED
    assert error.message == "service api asks for the port of x, which is 4100 on host h1, 4200 on host h2"


def test_a_named_port_that_somebody_else_has_as_well_is_refused():
    error = refused([named("api", "x")], host(names={"x": 4100, "y": 4100}))
    assert error.message == "port 4100 of service api belongs to y in the registry of host h1"


def test_a_name_that_no_registry_has_is_invalid():
    error = refused([named("api", "devpages")], host(names={"other": 4000}), host())
    assert error.code == INVALID
    assert "service api asks for the port of devpages, and no registry has that name" in error.message
    assert "[ports]" in error.hint


def test_two_services_cannot_want_one_port():
    error = refused([fixed("web", 4000), auto("api", pin=4000)], host())
    assert (error.code, error.message) == (INVALID, "services api and web both want port 4000")


@pytest.mark.parametrize(
    ("other", "text"),
    [
        (host(reserved={"system": [4100]}), "is reserved on host h2 ([reserved] system)"),
        (host(names={"devpages": 4100}), "belongs to devpages in the registry of host h2"),
        (host(owned={"beta/dev": {"api": 4100}}), "belongs to beta/dev/api in the registry of host h2"),
        (host(listeners=[listener(4100)]), "is taken on host h2: python3 (pid 4711) listens on 0.0.0.0:4100"),
        (host(listeners=[listener(4100, "::")]), "is taken on host h2: python3 (pid 4711) listens on [::]:4100"),
        (
            host(listeners=[listener(4100, pid=None, command="")]),
            "is taken on host h2: a program that the agent may not look into listens on 0.0.0.0:4100",
        ),
        (
            host(listeners=[listener(4100, owner="beta/dev/api")]),
            "is taken on host h2: python3 (pid 4711) listens on 0.0.0.0:4100",
        ),
    ],
)
def test_who_has_a_stated_port_is_named(other, text):
    error = refused([fixed("api", 4100)], host(), other)
    assert (error.code, error.message) == (REFUSED, f"port 4100 of service api {text}")
    assert "give api another port" in error.hint


def test_all_conflicts_come_in_one_error():
    other = host(names={"x": 4100}, reserved={"system": [4200]}, listeners=[listener(4100), listener(4300)])
    error = refused([fixed("a", 4100), fixed("b", 4200), fixed("c", 4300), named("d", "nobody")], host(), other)
    assert error.message.split("\n") == [
        "port 4100 of service a belongs to x in the registry of host h2",
        "port 4100 of service a is taken on host h2: python3 (pid 4711) listens on 0.0.0.0:4100",
        "port 4200 of service b is reserved on host h2 ([reserved] system)",
        "port 4300 of service c is taken on host h2: python3 (pid 4711) listens on 0.0.0.0:4300",
        "service d asks for the port of nobody, and no registry has that name",
    ]
    assert error.code == INVALID


@pytest.mark.parametrize("name", ["api", "api-dev"])
def test_the_port_of_its_own_plain_name_is_not_somebody_else_s(name):
    assert allocate([fixed("api", 4100)], host(names={name: 4100})) == {"api": 4100}


@pytest.mark.parametrize(
    ("own", "others", "free"),
    [
        ("127.0.1.1", "127.0.1.2", True),
        ("127.0.1.1", "127.0.1.1", False),
        ("127.0.1.1", "::ffff:127.0.1.1", False),
        ("127.0.1.1", "0.0.0.0", False),
        ("127.0.1.1", "::", False),
        ("127.0.1.1", "::1", True),
        ("", "127.0.1.2", False),
        ("0.0.0.0", "127.0.1.2", False),
        ("::", "127.0.1.2", False),
        ("fd00::2", "FD00:0:0::2", False),
        ("fe80::1%eth0", "fe80::1", False),
        ("host.example", "127.0.1.2", False),
    ],
)
def test_only_a_listener_on_the_same_address_is_in_the_way(own, others, free):
    place = host(address=own, listeners=[listener(4100, others)])
    if free:
        assert allocate([fixed("api", 4100)], place) == {"api": 4100}
    else:
        assert refused([fixed("api", 4100)], place).code == REFUSED


def test_services_of_one_environment_may_exchange_ports():
    place = host(
        owned={OWNER: {"api": 4100, "web": 4200}},
        listeners=[listener(4100, owner=f"{OWNER}/api"), listener(4200, owner=f"{OWNER}/web")],
    )
    assert allocate([fixed("api", 4200), fixed("web", 4100)], place) == {"api": 4200, "web": 4100}


def test_a_renamed_service_takes_over_its_port():
    place = host(owned={OWNER: {"old": 4100}}, listeners=[listener(4100, owner=f"{OWNER}/old")])
    assert allocate([fixed("new", 4100)], place) == {"new": 4100}


def test_a_second_port_of_a_service_does_not_give_way():
    place = host(owned={OWNER: {"api": 4100}}, listeners=[listener(9100, owner=f"{OWNER}/api")])
    assert "is taken on host h1" in refused([fixed("metrics", 9100), auto("api")], place).message


def test_the_range_of_the_policy_comes_first():
    hosts = {"h": host(ranges={"dev": (3000, 3999)})}
    assert allocation.resolve_range("5000-5099", {"dev": "6000-6099"}, hosts, "dev") == Range(
        5000, 5099, "port_range of environment dev", True
    )


@pytest.mark.parametrize(
    ("wanted", "org_ranges", "expected"),
    [
        (None, {"dev": "6000-6099"}, (6000, 6099, "[port_ranges] dev of the org")),
        (None, {"development": "6000-6099"}, (6000, 6099, "[port_ranges] development of the org")),
        (None, {"prod": "6000-6099"}, (3000, 3999, "[port_ranges] development of host b")),
        ("special", {"special": "7000-7099", "dev": "6000-6099"}, (7000, 7099, "[port_ranges] special of the org")),
        ("extra", {}, (8000, 8099, "[port_ranges] extra of host c")),
    ],
)
def test_a_range_is_looked_for_in_the_org_and_then_on_the_hosts_by_name(wanted, org_ranges, expected):
    hosts = {
        "c": host(ranges={"development": (1, 2), "extra": (8000, 8099)}),
        "b": host(ranges={"development": (3000, 3999)}),
        "a": host(),
    }
    assert allocation.resolve_range(wanted, org_ranges, hosts, "dev") == Range(*expected, True)


def test_without_any_range_ports_are_chosen_from_the_allocation_and_nothing_is_enforced():
    hosts = {"b": host(), "a": HostPorts(Registry(allocation=(7000, 7999)), [], "")}
    assert allocation.resolve_range(None, {}, hosts, "dev") == Range(7000, 7999, "[allocation] of host a", False)


def test_the_name_of_no_range_is_an_error_that_lists_those_there_are():
    with pytest.raises(TetraError) as caught:
        allocation.resolve_range("nope", {"dev": "6000-6099"}, {"h": host(ranges={"prod": (1, 2)})}, "qa")
    assert "'nope' of environment qa" in caught.value.message
    assert "dev, prod" in caught.value.hint


def test_reserving_objects_to_what_somebody_else_got_in_between():
    registry = Registry(owned={"beta/dev": {"x": 4100}, OWNER: {"api": 4200, "web": 4300}}, reserved={"s": [4400]})
    place = HostPorts(registry, [listener(4300)], "")
    allocation.check_registered(place, OWNER, {"api": 4300, "web": 4200}, "h1")
    with pytest.raises(TetraError) as caught:
        allocation.check_registered(place, OWNER, {"api": 4100, "web": 4400}, "h1")
    assert caught.value.code == REFUSED
    assert caught.value.message.split("\n") == [
        "port 4100 of service api belongs to beta/dev/x in the registry of host h1",
        "port 4400 of service web is reserved on host h1 ([reserved] s)",
    ]


def test_further_ports_of_a_service_are_ports_of_their_own():
    udp = Request("api/dns", "fixed", 4000, protocol="udp")
    asked = [auto("api"), Request("api/admin", "auto"), udp, Request("web/stats", "auto", protocol="udp")]
    assert allocate(asked, host()) == {"api": 4000, "api/admin": 4001, "api/dns": "4000/udp", "web/stats": "4001/udp"}


def test_a_service_listens_on_its_further_ports_itself():
    own = host(owned={OWNER: {"api": 4000, "api/admin": 4005}}, listeners=[listener(4005, owner=f"{OWNER}/api")])
    assert allocate([auto("api"), Request("api/admin", "auto")], own) == {"api": 4000, "api/admin": 4005}


def test_a_name_of_the_other_protocol_is_refused():
    error = refused([named("api", "dns")], host(names={"dns": "53/udp"}))
    assert error.message == "service api asks for the port of dns, which is 53/udp, for tcp"


def test_what_somebody_gave_up_a_short_while_ago_is_not_chosen_but_may_be_stated():
    resting = dataclasses.replace(host(), released={"4000": {"by": "acme/prod/api", "held": False}})
    assert allocate([auto("api")], resting) == {"api": 4001}
    assert allocate([fixed("api", 4000)], resting) == {"api": 4000}


def test_what_the_service_gave_up_itself_it_gets_again():
    resting = dataclasses.replace(host(), released={"4000": {"by": f"{OWNER}/web", "held": False}})
    assert allocate([auto("api"), auto("web")], resting) == {"api": 4001, "web": 4000}


def test_what_is_held_for_another_environment_is_not_given_at_all():
    holding = dataclasses.replace(host(), released={"4000": {"by": "acme/prod/api", "held": True}})
    assert refused([fixed("api", 4000)], holding).message == (
        "port 4000 of service api is kept on host h1 for acme/prod/api, which may have to go back to it"
    )


def test_what_the_kernel_gives_to_connections_is_chosen_last():
    busy = dataclasses.replace(host(), ephemeral=(4000, 4008))
    assert allocate([auto("api"), auto("web")], busy) == {"api": 4009, "web": 4000}
    assert allocate([auto("api")], dataclasses.replace(busy, kept={4003})) == {"api": 4003}


def test_system_ports_are_not_chosen_unless_the_registry_says_so():
    low = Range(80, 1025, "x", True)
    assert allocate([auto("api")], host(), port_range=low) == {"api": 1024}
    allowing = HostPorts(Registry(system_ports=True), (), "")
    assert allocate([auto("api")], allowing, port_range=low) == {"api": 80}


def test_random_spreads_by_name_and_is_the_same_for_every_host_and_run():
    spread = dataclasses.replace(Range(4000, 4999, "x", True), strategy="random")
    asked = [auto(name) for name in ("a", "b", "c", "d")]
    given_ports = allocate(asked, host(), port_range=spread)
    assert allocate(reversed(asked), host(), host(), port_range=spread) == given_ports
    assert len(set(given_ports.values())) == 4
    assert max(given_ports.values()) - min(given_ports.values()) > 3


def test_random_goes_round_until_something_is_free():
    spread = dataclasses.replace(DEFAULT, strategy="random")
    full = host(names={f"n{port}": port for port in range(4000, 4010) if port != 4004})
    assert allocate([auto("api")], full, port_range=spread) == {"api": 4004}


def test_ports_of_ranges_only_need_a_range():
    strict = {"h1": HostPorts(Registry(strategy="range-based", ranges={"dev": (4000, 4009)}), (), "")}
    assert allocation.resolve_range(None, {}, strict, "dev").strategy == "range-based"
    with pytest.raises(TetraError, match="environment qa has no range of ports, and host h1 gives ports of ranges"):
        allocation.resolve_range(None, {}, strict, "qa")


SMALL = st.integers(4000, 4009)
SERVICES = st.sampled_from(["a", "b", "c", "d", "a/x", "b/x"])
VALUES = st.one_of(SMALL, st.builds("{}/udp".format, SMALL))
OWNED = st.dictionaries(st.sampled_from([OWNER, "beta/dev"]), st.dictionaries(SERVICES, VALUES, max_size=4), max_size=2)


RELEASED = st.fixed_dictionaries(
    {"by": st.sampled_from([f"{OWNER}/a", "beta/dev/a"]), "held": st.booleans()}
)


@st.composite
def hosts(draw):
    registry = Registry(
        names=draw(st.dictionaries(st.sampled_from(["a", "x", "b-dev"]), VALUES, max_size=2)),
        owned=draw(OWNED),
        reserved={"r": draw(st.lists(SMALL, max_size=2))},
    )
    owners = st.one_of(st.none(), st.sampled_from([f"{OWNER}/a", "beta/dev/a"]))
    found = draw(st.lists(st.tuples(SMALL, st.sampled_from(["0.0.0.0", "10.0.0.1", "10.0.0.2"]), owners), max_size=2))
    released = draw(st.dictionaries(VALUES.map(str), RELEASED, max_size=2))
    ephemeral = draw(st.sampled_from([(0, 0), (4003, 4006), (1, 65535)]))
    address = draw(st.sampled_from(["", "10.0.0.1"]))
    return HostPorts(registry, [listener(*one) for one in found], address, released, ephemeral)


REQUESTS = st.lists(
    st.one_of(
        st.builds(auto, SERVICES),
        st.builds(Request, SERVICES, st.just("auto"), protocol=st.just("udp")),
        st.builds(fixed, SERVICES, SMALL),
        st.builds(at_least, SERVICES, SMALL),
    ),
    unique_by=lambda request: request.key,
    max_size=4,
)
FLEETS = st.dictionaries(st.sampled_from(["h1", "h2", "h3"]), hosts(), min_size=1)


def outcome(requests, fleet, port_range=DEFAULT):
    try:
        return allocation.allocate(requests, fleet, OWNER, port_range)
    except TetraError as error:
        return error.message


@settings(max_examples=200, deadline=None)
@given(REQUESTS, FLEETS)
def test_what_is_given_is_distinct_and_nobody_else_s_on_any_host(requests, fleet):
    given_ports = outcome(requests, fleet)
    if isinstance(given_ports, str):
        return
    assert sorted(given_ports) == sorted(request.key for request in requests)
    assert len(set(given_ports.values())) == len(given_ports)
    for place in fleet.values():
        assert not set(map(number_of, given_ports.values())) & {
            port for found in place.registry.reserved.values() for port in found
        }
        assert not set(given_ports.values()) & set(place.registry.owned.get("beta/dev", {}).values())


@settings(max_examples=150, deadline=None)
@given(REQUESTS, FLEETS, st.randoms())
def test_the_order_of_the_requests_does_not_matter(requests, fleet, random):
    shuffled = list(requests)
    random.shuffle(shuffled)
    assert outcome(shuffled, fleet) == outcome(requests, fleet)


@settings(max_examples=150, deadline=None)
@given(REQUESTS, FLEETS)
def test_a_second_allocation_moves_nothing(requests, fleet):
    first = outcome(requests, fleet)
    if isinstance(first, str):
        return
    after = {
        name: HostPorts(
            Registry(place.registry.names, {**place.registry.owned, OWNER: first}, {}, place.registry.reserved),
            place.listeners,
            place.address,
            place.released,
            place.ephemeral,
        )
        for name, place in fleet.items()
    }
    assert outcome(requests, after) == first
