# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The units of services as text, and what the properties of a unit say of its process."""

from __future__ import annotations

import dataclasses

import pytest
from ansible_collections.tetra.platform.plugins.module_utils.host.supervisors import systemd, units
from ansible_collections.tetra.platform.plugins.module_utils.host.supervisors.base import UnitSpec

SPEC = UnitSpec(unit="tetra-acme-dev-api", argv=["/bin/sh", "-s"], log="", stop_timeout=10.0,
                restart="on-failure", max_restarts=3, owner="acme/dev/api", script="/t/run/api.sh",
                user="tetra-acme", writable="/t/home/acme")


def lines(**changes) -> list[str]:
    return units.service(dataclasses.replace(SPEC, **changes), "/t").splitlines()


def test_a_service_has_its_owner_its_user_and_its_launch_script():
    found = lines()
    for line in ("X-Tetra-Owner=acme/dev/api", "X-Tetra-Dir=/t", "User=tetra-acme", "Restart=on-failure",
                 "StandardInput=file:/t/run/api.sh", 'ExecStart="/bin/sh" "-s"', "TimeoutStopSec=10.000"):
        assert line in found


def test_it_is_told_from_units_of_others():
    text = "\n".join(lines())
    assert units.is_of(text, "/t", "acme/dev/api")
    assert units.is_of(text, "/t")
    assert not units.is_of(text, "/t", "acme/dev/ap")
    assert not units.is_of(text, "/elsewhere", "acme/dev/api")


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"memory_limit": 1024}, ["MemoryMax=1024", "MemorySwapMax=0"]),
        ({"cpu_limit": 0.5}, ["CPUQuota=50%"]),
        ({"cpu_limit": 0.001}, ["CPUQuota=1%"]),
        ({"after": ("tetra-acme-dev-db",)}, ["After=network.target tetra-acme-dev-db.service"]),
        ({"stop_timeout": 0}, ["TimeoutStopSec=0.100"]),
        ({"low_port": True}, ["AmbientCapabilities=CAP_NET_BIND_SERVICE"]),
        ({"low_port": True, "hardening": "strict"}, ["CapabilityBoundingSet=CAP_NET_BIND_SERVICE"]),
        ({"hardening": "strict"}, ['ReadWritePaths="/t/home/acme"', "ProtectSystem=strict", "CapabilityBoundingSet="]),
        ({"hardening": "standard"}, ["ProtectSystem=full", "NoNewPrivileges=yes"]),
        ({"max_restarts": 0}, ["StartLimitIntervalSec=22", "StartLimitBurst=4"]),
    ],
)
def test_what_a_definition_asks_for_stands_in_the_unit(changes, expected):
    assert set(expected) <= set(lines(**changes))


def test_without_hardening_nothing_is_forbidden():
    assert not any(line.startswith(("Protect", "Private", "Restrict", "Capability")) for line in lines()
                   if not line.startswith("RestartPrevent"))


LOADED = {"LoadState": "loaded", "NRestarts": "0", "MainPID": "0", "ExecMainCode": "0", "ExecMainStatus": "0",
          "ExecMainStartTimestampMonotonic": "0", "Restart": "on-failure"}


@pytest.mark.parametrize(
    ("shown", "state", "restarts", "exit_code"),
    [
        ({"LoadState": "not-found", "ActiveState": "inactive", "SubState": "dead"}, "absent", None, None),
        ({"ActiveState": "active", "SubState": "running", "MainPID": "7", "NRestarts": "2"}, "running", 2, None),
        ({"ActiveState": "activating", "SubState": "start"}, "starting", 0, None),
        ({"ActiveState": "activating", "SubState": "auto-restart", "NRestarts": "1"}, "backoff", 1, None),
        ({"ActiveState": "failed", "SubState": "failed", "NRestarts": "4", "ExecMainCode": "1"}, "failed", 3, None),
        ({"ActiveState": "failed", "SubState": "failed", "Restart": "no", "ExecMainCode": "1", "ExecMainStatus": "3"},
         "exited", 0, 3),
        ({"ActiveState": "failed", "SubState": "failed", "Restart": "no", "ExecMainCode": "2", "ExecMainStatus": "9"},
         "exited", 0, -1),
        ({"ActiveState": "inactive", "SubState": "dead", "ExecMainCode": "1"}, "exited", 0, 0),
        ({"ActiveState": "inactive", "SubState": "dead", "ExecMainCode": "2", "ExecMainStatus": "15"}, "stopped", 0,
         None),
        ({"ActiveState": "inactive", "SubState": "dead"}, "stopped", 0, None),
        ({"ActiveState": "deactivating", "SubState": "stop-sigterm", "MainPID": "7"}, "stopped", 0, None),
    ],
)
def test_what_systemd_shows_is_a_state(shown, state, restarts, exit_code):
    found = systemd._state("x", {**LOADED, **shown})
    assert (found.state, found.restarts, found.exit_code) == (state, restarts, exit_code)
    assert found.pid == (7 if state == "running" else None)


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        ({"ActiveState": "active", "SubState": "waiting", "NextElapseUSecMonotonic": "2h 3min"}, True),
        ({"ActiveState": "active", "SubState": "waiting", "NextElapseUSecMonotonic": "infinity"}, False),
        ({"ActiveState": "active", "SubState": "elapsed", "NextElapseUSecMonotonic": ""}, False),
        ({"ActiveState": "inactive", "SubState": "dead", "NextElapseUSecMonotonic": "1s"}, False),
    ],
)
def test_a_timer_is_armed_when_it_will_elapse(shown, expected):
    assert systemd._elapses(shown) is expected
