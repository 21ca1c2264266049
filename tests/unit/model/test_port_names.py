# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a person asks of one registry: names, ranges, reserved ports, and conflicts that are to be resolved."""

from __future__ import annotations

import dataclasses

import pytest
from ansible_collections.tetra.platform.plugins.module_utils.model.errors import INVALID, REFUSED, TetraError
from ansible_collections.tetra.platform.plugins.module_utils.model.ports import edit as ports_edit
from ansible_collections.tetra.platform.plugins.module_utils.model.ports import file as ports_file
from ansible_collections.tetra.platform.plugins.module_utils.model.ports import names as port_names
from ansible_collections.tetra.platform.plugins.module_utils.model.ports import registry
from ansible_collections.tetra.platform.plugins.module_utils.model.ports.names import Wanted
from ansible_collections.tetra.platform.plugins.module_utils.model.ports.space import HostPorts
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

TEXT = """\
[ports]
web = 4000
web-dev = 3005

[ports.acme.dev]
api = 3100
"api/dns" = "3053/udp"

[port_ranges]
dev = "3000-3199"

[reserved]
system = [22, 4001]

[allocation]
min_port = 4000
max_port = 4009
"""


def listener(port, owner=None, protocol="tcp"):
    return {
        "address": "0.0.0.0", "port": port, "protocol": protocol, "state": "listen", "ipv6_only": False, "pid": 7,
        "command": "nc", "unit": "", "container": "", "owner": owner,
    }  # fmt: skip


def known(text=TEXT, listeners=(), **more):
    return HostPorts(ports_file.read(text, "ports.toml"), listeners, "", **more)


def changes(host=None, names=None, **more):
    wanted = Wanted(names or {}, more.pop("ranges", {}), more.pop("reserved", {}), **more)
    return port_names.changes(wanted, host or known(), "h1")


def refusal(host=None, names=None, **more):
    with pytest.raises(TetraError) as caught:
        changes(host, names, **more)
    return caught.value


def test_a_chosen_port_is_the_lowest_that_nobody_has():
    assert changes(names={"a": "auto", "b": "auto"})["names"] == {"a": 4002, "b": 4003}


def test_a_name_of_an_environment_gets_a_port_of_its_range():
    assert changes(names={"a-dev": "auto", "b-development": "auto"})["names"] == {"a-dev": 3000, "b-development": 3001}


def test_a_chosen_port_is_not_one_that_somebody_listens_on_or_gave_up():
    host = known(listeners=[listener(4002)], released={"4003": {"by": "old", "held": False}})
    assert changes(host, {"a": "auto"})["names"] == {"a": 4004}


def test_who_gave_a_port_up_gets_it_back():
    host = known(released={"4002": {"by": "a", "held": False}})
    assert changes(host, {"a": "auto"})["names"] == {"a": 4002}


def test_a_stated_port_may_be_one_that_a_program_listens_on_already():
    assert changes(known(listeners=[listener(5432)]), {"postgres": 5432})["names"] == {"postgres": 5432}


def test_a_name_that_has_a_port_keeps_it():
    assert changes(names={"web": "auto"})["names"] == {}


def test_the_name_decides_where_random_begins_and_the_second_run_comes_to_the_same():
    host = known(TEXT.replace("max_port = 4009", 'max_port = 8000\nallocation_strategy = "random"'))
    given = changes(host, {"a": "auto", "b": "auto"})["names"]
    assert given == changes(host, {"b": "auto", "a": "auto"})["names"]
    assert len(set(given.values()) - {4002, 4003}) == 2


def test_ports_of_ranges_only_are_refused_to_a_name_without_one():
    host = known(TEXT + 'allocation_strategy = "range-based"\n')
    assert changes(host, {"a-dev": "auto"})["names"] == {"a-dev": 3000}
    assert refusal(host, {"a": "auto"}).message.startswith("there is no range of ports for a, and ports are given of")


def test_the_protocol_tells_two_ports_of_one_number_apart():
    assert changes(names={"dns": 3053, "game": "4000/udp"})["names"] == {"dns": 3053, "game": "4000/udp"}
    assert refusal(names={"dns": "3053/udp"}).message == (
        "port 3053/udp of dns belongs to acme/dev/api/dns in the registry of host h1"
    )


def test_a_port_that_is_held_for_a_transaction_is_not_given_even_when_stated():
    host = known(released={"4005": {"by": "acme/dev/api", "held": True}})
    error = refusal(host, {"a": 4005})
    assert (error.code, error.message) == (
        REFUSED, "port 4005 of a is kept on host h1 for acme/dev/api, which may have to go back to it"
    )  # fmt: skip


def test_two_names_for_one_port_are_a_mistake_of_the_request():
    assert refusal(names={"a": 4005, "b": 4005}).code == INVALID


@pytest.mark.parametrize("value", [0, -1, 65536, "80.5", "4000; rm", "", None, True, "5353/sctp", 4000.0, [4000]])
def test_what_is_no_port_is_refused(value):
    with pytest.raises(TetraError, match="not a port"):
        port_names.read(value)


DOUBLE = """\
[ports]
a = 3100
b = 4001
c-dev = 3100
d-dev = 9000

[ports.acme.dev]
api = 3100

[ports.beta.dev]
web = 3101

[port_ranges]
dev = "3000-3199"

[reserved]
system = [4001]
"""


def test_conflicts_are_reported_unless_asked_otherwise():
    assert changes(known(DOUBLE)) == {"names": {}, "ranges": {}, "reserved": {}}


def test_conflicts_can_be_a_failure_that_lists_them_all():
    error = refusal(known(DOUBLE, [listener(3101)]), resolve="fail")
    assert error.code == REFUSED
    assert error.message.split("\n") == [
        "port 3100 of c-dev belongs to a as well",
        "port 3100 of acme/dev/api belongs to a as well",
        "port 4001 of b is reserved (system)",
        "port 9000 of d-dev is outside the range dev (3000-3199)",
        "port 3101 of beta/dev/web is taken: nc (pid 7) listens on 0.0.0.0:3101",
    ]


def test_without_conflicts_nothing_fails_and_nothing_moves():
    assert changes(resolve="fail") == {"names": {}, "ranges": {}, "reserved": {}, "owned": {}}
    assert changes(resolve="reallocate") == {"names": {}, "ranges": {}, "reserved": {}, "owned": {}}


def test_of_those_who_share_a_port_the_one_of_an_environment_stays():
    moved = changes(known(DOUBLE), resolve="reallocate")
    assert moved["owned"] == {}
    assert moved["names"] == {"a": 3000, "c-dev": 3001, "b": 3002, "d-dev": 3003}
    after = ports_file.read(ports_edit.edit(DOUBLE, moved), "ports.toml")
    assert after.findings == []
    assert after.owned["acme/dev"] == {"api": 3100}


def test_of_two_environments_the_one_that_listens_stays():
    text = '[ports.acme.dev]\napi = 3100\n[ports.beta.dev]\nweb = 3100\n[port_ranges]\ndev = "3000-3199"\n'
    assert changes(known(text), resolve="reallocate")["owned"] == {"beta/dev": {"web": 3000}}
    host = known(text, [listener(3100, owner="beta/dev/web")])
    assert changes(host, resolve="reallocate")["owned"] == {"acme/dev": {"api": 3000}}


def test_a_port_on_which_somebody_else_listens_is_left_to_him():
    moved = changes(known(DOUBLE, [listener(3101)]), resolve="reallocate")
    assert moved["owned"]["beta/dev"]["web"] not in (3100, 3101)


def test_udp_stays_udp():
    host = known('[ports.acme.dev]\n"api/dns" = "5353/udp"\n', [listener(5353, protocol="udp")])
    assert changes(host, resolve="reallocate")["owned"] == {"acme/dev": {"api/dns": "3000/udp"}}


def test_of_one_environment_only_its_own_ports_move():
    host = known(DOUBLE, [listener(3101)])
    assert changes(host, resolve="reallocate", owner="beta/dev") == {
        "names": {}, "ranges": {}, "reserved": {}, "owned": {"beta/dev": {"web": 3000}}
    }  # fmt: skip
    # It stays on the port that it shares, and who gives way to it is not its own.
    assert changes(host, resolve="reallocate", owner="acme/dev")["owned"] == {}
    assert changes(host, resolve="reallocate", owner="acme/dev")["names"] == {}


def test_what_one_environment_has_to_do_with_is_a_failure_and_nothing_else_is():
    host = known(DOUBLE, [listener(3101)])
    assert refusal(host, resolve="fail", owner="beta/dev").message == (
        "port 3101 of beta/dev/web is taken: nc (pid 7) listens on 0.0.0.0:3101"
    )
    assert refusal(host, resolve="fail", owner="acme/dev").message.split("\n") == [
        "port 3100 of c-dev belongs to a as well",
        "port 3100 of acme/dev/api belongs to a as well",
    ]
    assert changes(host, resolve="fail", owner="acme/prod")["owned"] == {}


@pytest.mark.parametrize(("port_range", "given"), [("3150-3160", 3150), ("dev", 3000), ("", 3000), ("wide", 5000)])
def test_a_port_moves_into_the_range_that_the_policy_of_its_environment_says(port_range, given):
    host = known(DOUBLE.replace("[port_ranges]", '[port_ranges]\nwide = "5000-5999"'), [listener(3101)])
    moved = changes(host, resolve="reallocate", owner="beta/dev", port_range=port_range)
    assert moved["owned"] == {"beta/dev": {"web": given}}


def test_a_range_that_the_host_does_not_know_is_refused():
    error = refusal(known(DOUBLE, [listener(3101)]), resolve="reallocate", owner="beta/dev", port_range="wide")
    assert (error.code, error.message) == (
        REFUSED, "port_range 'wide' is the name of no range in the registry of host h1"
    )  # fmt: skip


NAMES = st.sampled_from(["a", "b", "c-dev", "d-dev", "e"])


class Registers(RuleBasedStateMachine):
    """Any sequence of requests leaves a registry in which nobody has what somebody else has."""

    def __init__(self):
        super().__init__()
        self.text = '[port_ranges]\ndev = "5000-5009"\n[reserved]\ns = [4001]\n[allocation]\n' + (
            "min_port = 4000\nmax_port = 4009\n"
        )
        self.before = {}

    def ask(self, **more):
        host = HostPorts(ports_file.read(self.text, "p"), [listener(4003)], "")
        wanted = Wanted(**{"names": {}, "ranges": {}, "reserved": {}, **more})
        try:
            self.text = ports_edit.edit(self.text, port_names.changes(wanted, host, "h"), "p")
        except TetraError:
            return
        self.before = dict(ports_file.read(self.text, "p").names)

    @rule(names=st.dictionaries(NAMES, st.one_of(st.just("auto"), st.just("absent"), st.integers(4000, 4012))))
    def change(self, names):
        before = dict(self.before)
        self.ask(names=names)
        for name, value in names.items():
            if value == "auto" and name in before:
                assert self.before[name] == before[name]

    @rule(number=st.integers(4000, 4009))
    def reserve(self, number):
        self.ask(reserved={"more": [number]})

    @rule()
    def resolve(self):
        self.ask(resolve="reallocate")
        said = ports_file.read(self.text, "p")
        assert not said.findings

    @rule(exclusive=st.dictionaries(NAMES, st.just("auto"), max_size=3))
    def only(self, exclusive):
        text = self.text
        self.ask(names=exclusive, exclusive=True)
        assert set(self.before) == set(exclusive) or self.text == text

    @invariant()
    def unique(self):
        said = ports_file.read(self.text, "p")
        values = [value for _identity, value in said.identities()]
        assert len(set(values)) == len(values)

    @invariant()
    def whole(self):
        said = ports_file.read(self.text, "p")
        assert not [one for one in said.findings if one.severity == "error"]
        assert said.ranges == {"dev": (5000, 5009)}
        assert 4001 in said.reserved["s"]


TestRegisters = Registers.TestCase
TestRegisters.settings = settings(max_examples=40, stateful_step_count=15, deadline=None)


def test_a_chosen_port_is_in_range_and_not_reserved():
    said = dataclasses.replace(registry.Registry(), allocation=(4000, 4002), reserved={"r": [4000]})
    given = port_names.changes(Wanted({"a": "auto", "b": "auto"}, {}, {}), HostPorts(said, (), ""), "h")["names"]
    assert given == {"a": 4001, "b": 4002}
