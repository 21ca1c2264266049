# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the answers of hosts about their ports come to: table, result and outcome."""

from __future__ import annotations

import pytest
from ansible_collections.tetra.platform.plugins.plugin_utils import port_report

FINDING = {
    "severity": "warning", "code": "taken-port", "message": "port 4001 of acme/dev/web is taken",
    "file": "/t/ports.toml", "line": 3, "column": 1, "hint": "stop it",
}  # fmt: skip
REFUSED = {"failed": False, "msg": "port 4001 is taken (reallocate)", "code": "refused"}
LOST = {"failed": False, "msg": "the connection broke", "code": "unconfirmed"}
UNREACHABLE = {"unreachable": True, "msg": "no route"}
DONE, NOTHING = {"changed": True, "findings": []}, {"changed": False, "findings": []}


def listener(port, owner=None, address="0.0.0.0", **more):
    return {
        "address": address, "port": port, "protocol": "tcp", "state": "listen", "ipv6_only": False, "pid": 7,
        "command": "nc", "unit": "", "container": "", "owner": owner, **more,
    }  # fmt: skip


def looked(ports=None, listeners=(), findings=(), address="10.0.0.1", **more):
    owned = {"acme/dev": {"web": 4001} if ports is None else ports, "beta/dev": {"web": 9}}
    return {"ports": {"plain": {"web": 8}, "owned": owned}, "address": address, "listeners": list(listeners),
            "findings": list(findings), **more}  # fmt: skip


def report(answers, resolved=None, resolve="report", check=False):
    request = {"org": "acme", "env": "dev", "target_hosts": sorted(answers), "resolve": resolve}
    told = {name: (resolved or {}).get(name, {}) for name in answers}
    return port_report.report(request, answers, told, check)


def lines(found):
    return port_report.shown(found).splitlines()


def test_the_table_has_who_listens_where_the_service_would():
    found = report({
        "h1": looked({"web": 4001, "web/dns": "5353/udp"}, [
            listener(4001, "acme/dev/web"), listener(4001, address="10.0.0.9"), listener(5353),
            listener(5353, protocol="udp", pid=None, command="")]),
        "h2": looked(address=""),
    })  # fmt: skip
    assert lines(found) == [
        "SERVICE  NAME  PORT  PROTOCOL  HOST  ADDRESS   LISTENS NOW",
        "web      dns   5353  udp       h1    10.0.0.1  a program (pid unknown)",
        "web      main  4001  tcp       h1    10.0.0.1  acme/dev/web: nc (pid 7)",
        "web      main  4001  tcp       h2    h2        nobody",
    ]
    wire = {name: host.to_wire() for name, host in found.hosts.items()}
    assert wire["h2"] == {"changed": False, "findings": [], "listeners": {"web": []}}
    assert [one["owner"] for one in wire["h1"]["listeners"]["web"]] == ["acme/dev/web"]
    assert [(one["host"], one["port"], one["org"]) for one in found.ports] == [
        ("h1", 5353, "acme"), ("h1", 4001, "acme"), ("h2", 4001, "acme")
    ]  # fmt: skip
    assert (found.outcome, found.message) == ("unchanged", "ports of acme in dev")


def test_findings_and_differences_stand_below_and_nothing_steers_the_terminal():
    evil = {**FINDING, "message": "\x1b[2J"}
    found = report({"h1": looked(findings=[FINDING, evil]), "h2": looked({"web": 4002})})
    assert lines(found)[3:] == [
        "h1: warning: /t/ports.toml:3:1: port 4001 of acme/dev/web is taken (stop it)",
        "h1: warning: /t/ports.toml:3:1: \\u001b[2J (stop it)",
        f"port of acme/dev/web is 4002 on h2 and 4001 on h1 ({found.conflicts[0].hint})",
    ]
    assert found.outcome == "unchanged"
    assert found.hosts["h1"].to_wire()["findings"] == [FINDING, evil]


def test_an_environment_without_ports_has_no_table():
    assert lines(report({"h1": looked({})})) == ["no service has a port"]


@pytest.mark.parametrize(
    ("answer", "outcome", "told"),
    [
        ({}, "unconfirmed", "h1: the host did not answer"),
        (UNREACHABLE, "unconfirmed", "h1: no route"),
        (LOST, "unconfirmed", "h1: the connection broke"),
        ({"msg": "ports.toml: no UTF-8\nat all", "code": "refused"}, "refused", "h1: ports.toml: no UTF-8\nh1: at all"),
        ({"msg": "x", "code": "applied"}, "unconfirmed", "h1: x"),
        (looked({"web": "evil"}), "unconfirmed", "h1: host h1: ports.owned of acme/dev: 'evil' is not a port of web"),
        (looked(address="a b"), "unconfirmed", "h1: host h1: address: 'a b' is not an address"),
        (looked(listeners=[{"port": 1}]), "unconfirmed", "h1: host h1: what it tells as listeners is of another form"),
        (looked(listeners=[listener("4001")]), "unconfirmed",
         "h1: host h1: what it tells as listeners is of another form"),
        (looked(findings=["x"]), "unconfirmed", "h1: host h1: what it tells as findings is of another form"),
        ({**looked(), "findings": None}, "unconfirmed", "h1: host h1: what it tells as findings is of another form"),
    ],
)  # fmt: skip
def test_a_host_that_does_not_tell_is_named_and_the_others_are_shown(answer, outcome, told):
    found = report({"h1": answer, "h2": looked()})
    assert (found.outcome, found.message) == (outcome, told)
    assert [one["host"] for one in found.ports] == ["h2"]
    assert lines(found)[-len(told.splitlines()):] == told.splitlines()
    assert found.hosts["h1"].to_wire()["message"] == "\n".join(
        line.removeprefix("h1: ") for line in told.splitlines()
    )
    assert "message" not in found.hosts["h2"].to_wire()


CHANGED = "the port registry of h1 was changed; the next push or promotion moves the services"
WOULD = "check mode, nothing was done: the port registry of h1 would change"


@pytest.mark.parametrize(
    ("resolve", "h1", "h2", "check", "outcome", "message"),
    [
        ("reallocate", DONE, NOTHING, False, "applied", CHANGED),
        ("reallocate", DONE, NOTHING, True, "unchanged", WOULD),
        ("reallocate", NOTHING, NOTHING, False, "unchanged", "ports of acme in dev"),
        ("reallocate", DONE, REFUSED, False, "partial", "h2: port 4001 is taken (reallocate)"),
        ("reallocate", DONE, LOST, False, "unconfirmed", "h2: the connection broke"),
        ("reallocate", DONE, {}, False, "unconfirmed", "h2: the host did not answer"),
        ("fail", NOTHING, NOTHING, False, "unchanged", "ports of acme in dev"),
        ("fail", REFUSED, NOTHING, False, "refused", "h1: port 4001 is taken (reallocate)"),
        ("fail", REFUSED, NOTHING, True, "refused", "h1: port 4001 is taken (reallocate)"),
        ("fail", REFUSED, UNREACHABLE, False, "unconfirmed", "h1: port 4001 is taken (reallocate)\nh2: no route"),
        ("report", {"skipped": True}, {"skipped": True}, False, "unchanged", "ports of acme in dev"),
    ],
)
def test_what_became_of_conflicts_is_the_outcome(resolve, h1, h2, check, outcome, message):
    found = report({"h1": looked(), "h2": looked()}, {"h1": h1, "h2": h2}, resolve, check)
    assert (found.outcome, found.message) == (outcome, message)
    assert [found.hosts[name].changed for name in ("h1", "h2")] == [h1 is DONE, False]


def test_a_difference_between_hosts_is_a_failure_where_conflicts_are():
    answers = {"h1": looked(), "h2": looked({"web": 4002})}
    done = {"h1": NOTHING, "h2": NOTHING}
    found = report(answers, done, "fail")
    assert (found.outcome, found.message) == ("refused", str(found.conflicts[0]))
    assert (found.conflicts[0].code, found.conflicts[0].message) == (
        "different-port", "port of acme/dev/web is 4002 on h2 and 4001 on h1"
    )  # fmt: skip
    assert report(answers, {**done, "h1": REFUSED}, "fail").message.splitlines() == [
        "h1: port 4001 is taken (reallocate)", str(found.conflicts[0])
    ]  # fmt: skip
    assert report(answers, done, "reallocate").outcome == "unchanged"


def test_one_reason_is_told_once():
    found = report({"h1": UNREACHABLE}, {"h1": UNREACHABLE}, "reallocate")
    assert (found.outcome, found.message) == ("unconfirmed", "h1: no route")
