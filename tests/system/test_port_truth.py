# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Somebody else has the port: he is found and named, and a promotion is refused before anything moves."""

from __future__ import annotations

import os
import socket
import subprocess

import images
import pytest

from .conftest import Servers

NETWORK = 80
GATE, STATS, EPHEMERAL = 4250, 4251, 40123
SERVICE = """\
TSM_COMMAND='exec python3 -m http.server $PORT --bind $HOST'
TSM_PORT=auto
TSM_PORTS=auto:udp:stats
TSM_MIN_HEALTHY=0s
"""
PINS = """\
[ports.dev]
gate = 4150
"gate/stats" = "4151/udp"

[ports.staging]
gate = {gate}
"gate/stats" = "{stats}/udp"
"""
# Each says that it is ready, and waits.
_SERVER = "s = socket.socket(socket.{family}, socket.{kind}); s.bind(({address!r}, {port})); {listen}"
LISTEN = "import socket, time; " + _SERVER + "; print('ready', flush=True); time.sleep(600)"
CONNECT = (
    "import socket, time; s = socket.create_connection(({to!r}, 22), source_address=('', {port})); "
    "print('ready', flush=True); time.sleep(600)"
)


def listen(address: str, port: int, kind: str = "SOCK_STREAM") -> str:
    """A program that listens on an address."""
    family = "AF_INET6" if ":" in address else "AF_INET"
    listening = "s.listen()" if kind == "SOCK_STREAM" else "pass"
    return LISTEN.format(family=family, kind=kind, address=address, port=port, listen=listening)


@pytest.fixture(scope="module")
def servers(tmp_path_factory):
    """Prepared hosts with IPv6, and a kernel that they may tell which ports to leave alone."""
    made = Servers(tmp_path_factory.mktemp("servers"), {"dev-1": "bookworm", "staging-1": "trixie"})
    try:
        org(made)
        for host in made.hosts.values():
            host.run("mount -o remount,rw /proc/sys && sysctl -qw net.ipv6.conf.lo.disable_ipv6=0 "
                     "net.ipv6.conf.all.disable_ipv6=0 net.ipv4.ip_local_reserved_ports=7000")
        for run in (made.play("prepare"), made.push(tetra_probe_passes=1)):
            assert run.code == 0, run.output
        yield made
    finally:
        made.down()


def org(team) -> None:
    """One service with a port of each protocol, which are pinned."""
    for folder in ("services", "files", "templates"):
        subprocess.run(["rm", "-rf", os.fspath(team.org / folder)], check=True)
    (team.org / "services").mkdir()
    (team.org / "services" / "gate.tsm").write_text(SERVICE)
    (team.org / "org.toml").write_text('name = "acme"\n')
    for env in ("dev", "staging"):
        (team.org / "environments" / f"{env}.toml").write_text("")
    (team.org / "ports.toml").write_text(PINS.format(gate=GATE, stats=STATS))


class Thief:
    """A program of somebody else on a host, in a unit of its own."""

    def __init__(self, host, name: str, program: str) -> None:
        self._host = host
        self._unit = f"thief-{name}"
        host.run(f"systemd-run --quiet --unit={self._unit} python3 -c \"{program}\"")
        host.run(f"until journalctl --quiet --unit={self._unit} | grep -q ready; do sleep 0.1; done")

    def __enter__(self) -> str:
        return f"{self._unit}.service"

    def __exit__(self, *_error: object) -> None:
        self._host.run(f"systemctl stop {self._unit}")


def state(host) -> str:
    """Everything that a promotion would change on a host."""
    return host.run("find /var/lib/tetra /etc/systemd/system -printf '%p %l %T@ %s\\n' | sort")


THIEVES = {
    "every": (listen("0.0.0.0", GATE), "python3 of {unit} (pid ", f" listens on 0.0.0.0:{GATE}"),
    "loopback6": (listen("::1", GATE), "python3 of {unit} (pid ", f" listens on [::1]:{GATE}"),
    "udp": (listen("0.0.0.0", STATS, "SOCK_DGRAM"), "python3 of {unit} (pid ", f" listens on 0.0.0.0:{STATS}/udp"),
    "source": ("{connect}", "an outgoing connection of python3 of {unit} (pid ", " as its source port"),
}


@pytest.mark.parametrize("name", THIEVES)
def test_who_has_the_port_is_named_and_nothing_moves(servers, name):
    program, *words = THIEVES[name]
    host = servers.hosts["staging-1"]
    connect = CONNECT.format(to=servers.hosts["dev-1"].address, port=GATE)
    with Thief(host, name, program.replace("{connect}", connect)) as unit:
        before = state(host)
        run = servers.promote(tetra_probe_passes=1)
        assert run.outcome == "refused", run.output
        message = run.result["message"]
        assert all(word.format(unit=unit) in message for word in words), message
        assert state(host) == before
        table = host.run("tsm ports scan")
        assert (unit.partition(".")[0] in table) == (name != "source"), table


def test_a_connection_on_a_port_of_the_kernel_s_range_is_named_when_the_release_comes(servers):
    host = servers.hosts["staging-1"]
    servers.policy("staging", port_range="4200-45000")
    (servers.org / "ports.toml").write_text(PINS.format(gate=EPHEMERAL, stats=STATS))
    assert servers.push(tetra_probe_passes=1).code == 0
    with Thief(host, "ephemeral", CONNECT.format(to=servers.hosts["dev-1"].address, port=EPHEMERAL)) as unit:
        run = servers.promote(tetra_probe_passes=1)
        assert run.outcome == "refused", run.output
        assert f"an outgoing connection of python3 of {unit} (pid " in run.result["message"]
        assert "staging" not in host.run("cat /var/lib/tetra/config/ports.toml", check=False)
        assert host.run("cat /proc/sys/net/ipv4/ip_local_reserved_ports").strip() == "7000"


def test_the_kernel_leaves_the_port_to_its_service_also_after_a_restart_until_the_host_is_given_back(servers):
    host = servers.hosts["staging-1"]
    run = servers.promote(tetra_probe_passes=1)
    assert run.outcome == "applied", run.output
    reserved = "cat /proc/sys/net/ipv4/ip_local_reserved_ports"
    assert host.run(reserved).strip() == f"7000,{EPHEMERAL}"
    assert servers.promote(tetra_probe_passes=1).outcome == "unchanged"
    # What a restart of the host does: the kernel has forgotten, and the unit for the start of the host runs.
    host.run("sysctl -qw net.ipv4.ip_local_reserved_ports=7001 && systemctl restart tetra-boot.service")
    host.run("for turn in $(seq 100); do systemctl -q is-active tetra-boot.service || break; sleep 0.1; done")
    assert host.run(reserved).strip() == f"7001,{EPHEMERAL}"
    run = servers.play("prepare", "--limit", "staging-1,localhost", tsm_state="absent")
    assert run.code == 0, run.output
    assert host.run(reserved).strip() == "7001"


def test_a_port_that_a_container_publishes_is_taken_and_the_same_port_elsewhere_is_not(fleet):
    org(fleet)
    run = fleet.push(tetra_probe_passes=1)
    assert run.code == 0, run.output
    images.ensure_docker()
    name = f"tetra-publisher-{os.getpid()}"
    publish = [f"--publish={fleet.addresses['staging-1']}:{GATE}:80", "--publish=127.0.99.1:4250:81"]
    image = images.image("bookworm")
    subprocess.run(["docker", "run", "--detach", "--rm", f"--name={name}", *publish, image, "sleep", "600"], check=True,
                   stdout=subprocess.DEVNULL)
    try:
        run = fleet.promote(tetra_probe_passes=1)
        assert run.outcome == "refused", run.output
        assert f"of container {name} " in run.result["message"], run.result["message"]
        assert f"{fleet.addresses['staging-1']}:{GATE}" in run.result["message"]
        assert "staging-2" not in run.result["message"]
        assert not list((fleet.environment("staging-1") / "tx").glob("*"))
    finally:
        subprocess.run(["docker", "rm", "--force", name], check=True, stdout=subprocess.DEVNULL)
    with socket.create_server(("127.0.99.2", GATE)):
        run = fleet.promote(tetra_probe_passes=1)
    assert run.outcome == "applied", run.output
