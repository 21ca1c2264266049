# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A server as teams have them: dev and staging on one machine, reached through a bastion, on a port of its own, by an
administrator who may sudo.
"""

from __future__ import annotations

import json

import pytest

from .conftest import Servers

SSHD = "/etc/ssh/sshd_config.d/tests.conf"
QUICK = {"tetra_probe_passes": 1}


@pytest.fixture(scope="module")
def servers(tmp_path_factory):
    """One server for two environments; only the bastion may log in to it, on port 2222."""
    folder = tmp_path_factory.mktemp("servers")
    releases = {"bastion": "bookworm", "server": "bookworm"}
    made = Servers(folder, releases, {"dev": ["server"], "staging": ["server"], "prod": []}, "admin")
    try:
        bastion, server = made.hosts["bastion"], made.hosts["server"]
        server.run(f"printf 'Port 2222\\nAllowUsers admin@{bastion.address}\\n' >> {SSHD}; systemctl restart ssh")
        config = folder / "ssh_config"
        config.write_text(
            f"StrictHostKeyChecking no\nUserKnownHostsFile /dev/null\nLogLevel ERROR\nIdentityFile {made.running.key}\n"
            f"User admin\nMatch host {server.address}\nProxyJump admin@{bastion.address}\n"
        )
        made.variables = {"ansible_port": 2222, "ansible_ssh_common_args": f"-F {config}"}
        prepared = made.play("prepare", tetra_hosts="server")
        assert prepared.code == 0, prepared.output
        yield made
    finally:
        made.down()


def logins(servers) -> list[str]:
    """Who logged in to the server so far."""
    said = servers.hosts["server"].run("journalctl --quiet --no-pager --unit=ssh --output=cat | grep Accepted")
    return said.splitlines()


def test_two_environments_share_a_machine_behind_a_bastion(servers):
    before = len(logins(servers))
    for run in (servers.push(**QUICK), servers.promote(**QUICK)):
        assert run.outcome == "applied", run.output
    new = logins(servers)[before:]
    assert all(f"for admin from {servers.hosts['bastion'].address}" in line for line in new)
    # The connection of the tasks was open already; each confirmation came over one of its own.
    assert len(new) >= 2
    said = json.loads(servers.hosts["server"].run("tsm status --json"))
    found = {(service["env"], service["name"]): service for service in said["services"]}
    assert {env for env, _name in found} == {"dev", "staging"}
    assert all(service["health"]["ok"] for service in found.values())
    ports = [service["ports"]["main"] for service in found.values() if service["ports"]]
    assert len(ports) == len(set(ports)) == 6


def test_an_environment_goes_back_without_touching_its_neighbour(servers):
    server = servers.hosts["server"]
    pid = "systemctl show --property=MainPID tetra-acme-staging-api"
    servers.touch("only in dev")
    assert servers.push(**QUICK).outcome == "applied"
    before = server.run(pid)
    assert servers.play("rollback", tetra_env="dev", **QUICK).outcome == "applied"
    assert server.run(pid) == before


def test_the_logs_of_all_services_come_with_one_command(servers):
    run = servers.play("logs", tetra_env="staging", tetra_log_lines=3)
    assert run.code == 0, run.output
    lines = [line for line in run.output.splitlines() if line.startswith("server ") and "ok=" not in line]
    shown = [line.split(": ")[0] for line in lines]
    assert {f"server {name}" for name in ("api", "report", "site", "worker")} == set(shown)
    assert max(map(shown.count, shown)) <= 3


def test_without_sudo_the_missing_right_is_named(servers):
    run = servers.play("prepare", tetra_hosts="server", ansible_become=False, tetra_supervisor="systemd")
    assert run.code != 0
    assert "set ansible_become: true" in run.output.replace("\n", " ")
