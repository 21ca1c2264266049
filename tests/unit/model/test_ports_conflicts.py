# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a registry contradicts another host's, and what listens."""

from __future__ import annotations

import pytest
from ansible_collections.tetra.platform.plugins.module_utils.model.ports import conflicts as ports_conflicts
from ansible_collections.tetra.platform.plugins.module_utils.model.ports.registry import Registry
from ansible_collections.tetra.platform.plugins.module_utils.model.ports.space import HostPorts


def listener(port, address="0.0.0.0", owner=None, protocol="tcp", ipv6_only=False):
    return {
        "address": address, "port": port, "protocol": protocol, "state": "listen", "ipv6_only": ipv6_only, "pid": 7,
        "command": "nc", "unit": "", "container": "", "owner": owner,
    }  # fmt: skip


OURS = Registry(names={"gate": 4000}, owned={"acme/dev": {"api": 4100, "api/dns": "5353/udp", "web": 4200}})


def taken(*listeners, address=""):
    found = ports_conflicts.live(HostPorts(OURS, listeners, address))
    return [(one.code, one.identity) for one in found]


@pytest.mark.parametrize(
    ("found", "conflicts"),
    [
        (listener(4100), ["acme/dev/api"]),
        (listener(4100, owner="beta/dev/api"), ["acme/dev/api"]),
        (listener(4100, owner="acme/dev/api"), []),
        # Another service of the environment is stopped before anything new starts, when the port was its own.
        (listener(4100, owner="acme/dev/web"), ["acme/dev/api"]),
        (listener(5353, protocol="udp"), ["acme/dev/api/dns"]),
        (listener(5353), []),
        (listener(5353, owner="acme/dev/api", protocol="udp"), []),
        # A plain name may well be that of the program that listens.
        (listener(4000), []),
        (listener(4001), []),
    ],
)
def test_who_listens_on_a_port_of_an_environment_is_in_conflict_unless_it_is_the_service(found, conflicts):
    assert taken(found) == [("taken-port", identity) for identity in conflicts]


@pytest.mark.parametrize(
    ("address", "found", "conflict"),
    [
        ("", listener(4100, "127.0.0.5"), True),
        ("", listener(4100, "::1"), True),
        ("10.0.0.1", listener(4100, "10.0.0.1"), True),
        ("10.0.0.1", listener(4100, "10.0.0.2"), False),
        ("10.0.0.1", listener(4100, "::1"), False),
        ("10.0.0.1", listener(4100, "::"), True),
        ("10.0.0.1", listener(4100, "::", ipv6_only=True), False),
        ("", listener(4100, "::", ipv6_only=True), True),
        ("fd00::1", listener(4100, "::", ipv6_only=True), True),
        ("10.0.0.1", listener(4100, "::ffff:10.0.0.1"), True),
    ],
)
def test_a_listener_on_another_address_is_no_conflict(address, found, conflict):
    assert bool(taken(found, address=address)) is conflict


def test_a_port_of_the_kernel_s_range_is_remarked_on_unless_it_is_kept_from_it():
    def found(kept):
        host = HostPorts(OURS, (), "", ephemeral=(4150, 5353), kept=kept)
        return [(one.code, one.identity) for one in ports_conflicts.live(host)]

    assert found(()) == [("ephemeral-port", "acme/dev/api/dns"), ("ephemeral-port", "acme/dev/web")]
    assert found({4200, 5353}) == []


def test_hosts_that_differ_are_told_by_the_first_one_by_name():
    registries = {
        "b": Registry(owned={"acme/dev": {"api": 4100, "web": 4201}}),
        "a": Registry(owned={"acme/dev": {"api": 4100, "web": 4200}, "acme/qa": {"api": 1}}),
        "c": Registry(owned={"acme/dev": {"job": 4300}, "acme/qa": {"api": 2}}),
    }
    (found,) = ports_conflicts.between_hosts(registries, "acme/dev")
    assert (found.code, found.identity, found.value) == ("different-port", "acme/dev/web", 4201)
    assert found.message == "port of acme/dev/web is 4201 on b and 4200 on a"


def test_hosts_that_say_the_same_have_no_conflict():
    assert ports_conflicts.between_hosts({"a": OURS, "b": OURS, "c": Registry()}, "acme/dev") == []
