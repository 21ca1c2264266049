# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The ports of an environment on two hosts: several of one service, and a stranger who takes one of them."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest

from .conftest import Fleet, Run

NETWORK = 78
DEV = ("dev-1", "dev-2")
QUICK = {"tetra_probe_passes": 1}
SERVER = """\
import http.server, json, os, socketserver, threading

class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        names = ("PORT", "TSM_PORT", "PORT_STATS", "PORT_ADMIN")
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps({name: os.environ.get(name) for name in names}).encode())

place = os.environ["HOST"]
further = []
if "PORT_ADMIN" in os.environ:
    further.append(http.server.ThreadingHTTPServer((place, int(os.environ["PORT_ADMIN"])), Page))
if "PORT_STATS" in os.environ:
    further.append(socketserver.UDPServer((place, int(os.environ["PORT_STATS"])), socketserver.BaseRequestHandler))
for server in further:
    threading.Thread(target=server.serve_forever, daemon=True).start()
http.server.ThreadingHTTPServer((place, int(os.environ["PORT"])), Page).serve_forever()
"""
DEFINITION = """\
export TSM_COMMAND="python3 ${TETRA_RELEASE_DIR}/files/common/serve.py"
export TSM_PORT="auto"
export TSM_HEALTH_CHECK="http://localhost:${TSM_PORT}/"
export TSM_MIN_HEALTHY="0s"
"""
STRANGER = """\
import socket, sys, time
taken = socket.create_server((sys.argv[1], int(sys.argv[2])))
print("listening", flush=True)
time.sleep(600)
"""


class Pair(Fleet):
    """A fleet whose dev has two hosts, and an organization with a service of three ports and one of one."""

    def __init__(self, folder, network: int) -> None:
        super().__init__(folder, network)
        hosts = self.inventory / "hosts.yml"
        first = "        dev-1:\n"
        second = f"        dev-2:\n          tetra_address: 127.0.{network}.4\n"
        hosts.write_text(hosts.read_text().replace(first, second + first))
        self.addresses["dev-2"] = f"127.0.{network}.4"
        self.variables["tetra_hosts"] = "dev"
        self.unprepared: Run | None = None
        shutil.rmtree(self.org)
        for path, text in {
            "org.toml": 'name = "acme"\n',
            "files/common/serve.py": SERVER,
            "services/hub.tsm": DEFINITION + 'export TSM_PORTS="auto:udp:stats auto:tcp:admin"\n',
            "services/web.tsm": DEFINITION,
        }.items():
            place = self.org / path
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(text)

    def ports(self, *options: str, **variables: object) -> Run:
        """Run ports.yml for dev."""
        return self.play("ports", *options, tetra_env="dev", **variables)

    def tsm(self, host: str, *words: str) -> str:
        """What the command on a host prints."""
        folder = self.state / host
        command = [folder / "bin" / "tsm", *words, "--dir", folder]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def registry(self, host: str) -> str:
        """The text of the port registry of a host."""
        return (self.state / host / "config" / "ports.toml").read_text()


@pytest.fixture(scope="module")
def pair(tmp_path_factory) -> Iterator[Pair]:
    """Two hosts to which the organization was pushed; ``unprepared`` is what they told before anything was there."""
    made = Pair(tmp_path_factory.mktemp("fleet"), NETWORK)
    try:
        made.unprepared = made.ports(tetra_resolve="reallocate")
        for run in (made.play("prepare"), made.push(**QUICK)):
            assert run.code == 0, run.output
        yield made
    finally:
        made.down()


@contextlib.contextmanager
def stranger(address: str, port: int) -> Iterator[int]:
    """A program of somebody else that listens; its pid."""
    command = [sys.executable, "-c", STRANGER, address, str(port)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout.readline() == "listening\n"
            yield process.pid
        finally:
            process.kill()


def numbers(run) -> dict[str, dict[str, int]]:
    """Host to the port of each name, by the result of a run."""
    found: dict[str, dict[str, int]] = {}
    for one in run.result["ports"]:
        found.setdefault(one["host"], {})[f"{one['service']}/{one['name']}"] = one["port"]
    return found


def test_hosts_without_a_registry_have_an_empty_table(pair):
    run = pair.unprepared
    assert (run.code, run.outcome, run.result["ports"]) == (0, "unchanged", []), run.output
    assert [one["findings"] for one in run.result["hosts"].values()] == [[], []]
    assert "no service has a port" in run.output


def test_a_table_has_every_port_of_every_host_and_who_listens(pair):
    run = pair.ports()
    assert (run.code, run.outcome) == (0, "unchanged"), run.output
    found = numbers(run)
    assert list(found) == list(DEV)
    assert found["dev-1"] == found["dev-2"]
    assert set(found["dev-1"]) == {"hub/main", "hub/admin", "hub/stats", "web/main"}
    assert [(one["protocol"], one["address"]) for one in run.result["ports"] if one["name"] == "stats"] == [
        ("udp", pair.addresses[host]) for host in DEV
    ]  # fmt: skip
    owners = {key: {one["owner"] for one in listeners}
              for key, listeners in run.result["hosts"]["dev-2"]["listeners"].items()}
    assert owners == {"hub": {"acme/dev/hub"}, "hub/admin": {"acme/dev/hub"}, "hub/stats": {"acme/dev/hub"},
                      "web": {"acme/dev/web"}}
    assert run.result["conflicts"] == []
    line = f"hub      admin  {found['dev-1']['hub/admin']}  tcp       dev-2  127.0.78.4  acme/dev/hub: python3 (pid "
    assert line in run.output
    assert "changed=0" in run.output


def test_a_process_finds_its_ports_in_its_environment(pair):
    found = numbers(pair.ports())["dev-2"]
    status, body = pair.ask("dev-2", found["hub/main"], "/")
    assert status == 200
    assert json.loads(body) == {"PORT": str(found["hub/main"]), "TSM_PORT": str(found["hub/main"]),
                                "PORT_STATS": str(found["hub/stats"]), "PORT_ADMIN": str(found["hub/admin"])}
    assert pair.ask("dev-2", found["hub/admin"], "/") == (200, body)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe, pytest.raises(OSError, match="in use"):
        probe.bind((pair.addresses["dev-2"], found["hub/stats"]))


def test_a_stranger_on_a_port_is_named_and_left_alone_and_everybody_follows_where_the_service_goes(pair):
    taken = numbers(pair.ports())["dev-2"]["web/main"]
    pair.tsm("dev-2", "stop", "web")
    with stranger(pair.addresses["dev-2"], taken) as pid:
        shown = pair.ports()
        assert (shown.code, shown.outcome) == (0, "unchanged")
        (found,) = shown.result["hosts"]["dev-2"]["findings"]
        assert found["code"] == "taken-port"
        assert f"port {taken} of acme/dev/web is taken: " in found["message"]
        assert f"(pid {pid}) listens on {pair.addresses['dev-2']}:{taken}" in found["message"]
        assert f"dev-2: warning: {found['file']}:" in shown.output
        assert shown.result["hosts"]["dev-1"]["findings"] == []

        refused = pair.ports(tetra_resolve="fail")
        assert (refused.code != 0, refused.outcome) == (True, "refused")
        assert refused.result["message"].startswith(f"dev-2: {found['message']}")

        before = {host: pair.registry(host) for host in DEV}
        checked = pair.ports("--check", "--diff", tetra_resolve="reallocate")
        assert (checked.code, checked.outcome) == (0, "unchanged"), checked.output
        assert [checked.result["hosts"][host]["changed"] for host in DEV] == [False, True]
        assert f"-web = {taken}\n" in checked.output
        assert {host: pair.registry(host) for host in DEV} == before

        moved = pair.ports(tetra_resolve="reallocate")
        assert (moved.code, moved.outcome) == (0, "applied"), moved.output
        new = numbers(moved)["dev-2"]["web/main"]
        assert f"+web = {new}\n" in checked.output
        assert 4100 <= new <= 4199
        assert pair.registry("dev-2") == before["dev-2"].replace(f"web = {taken}\n", f"web = {new}\n")
        assert pair.registry("dev-1") == before["dev-1"]
        assert moved.result["hosts"]["dev-2"]["findings"] == []
        (between,) = moved.result["conflicts"]
        assert between["message"] == f"port of acme/dev/web is {new} on dev-2 and {taken} on dev-1"
        assert pair.ports(tetra_resolve="fail").outcome == "refused"

        pushed = pair.push(**QUICK)
        assert (pushed.code, pushed.outcome) == (0, "applied"), pushed.output
        pair.tsm("dev-2", "start", "web")
        last = pair.ports(tetra_resolve="reallocate")
        assert (last.code, last.outcome, last.result["conflicts"]) == (0, "unchanged", []), last.output
        assert {host: found["web/main"] for host, found in numbers(last).items()} == dict.fromkeys(DEV, new)
        assert pair.play("health", tetra_env="dev").outcome == "unchanged"
        assert {host: pair.ask(host, new, "/")[0] for host in DEV} == dict.fromkeys(DEV, 200)
        os.kill(pid, 0)
        assert "changed=0" in last.output


def test_a_host_that_is_silent_leaves_the_run_unconfirmed_and_the_others_are_shown(pair):
    inventory = pair.inventory / "hosts.yml"
    text = inventory.read_text()
    dead = "\n          ".join(["ansible_connection: ssh", "ansible_host: 127.0.0.1", "ansible_port: 1"])
    inventory.write_text(text.replace("        dev-2:\n", f"        dev-2:\n          {dead}\n"))
    try:
        run = pair.ports(tetra_resolve="reallocate")
    finally:
        inventory.write_text(text)
    assert (run.code != 0, run.outcome) == (True, "unconfirmed"), run.output
    assert list(numbers(run)) == ["dev-1"]
    assert run.result["hosts"]["dev-2"]["message"]


def test_a_word_that_resolves_nothing_is_refused_before_any_host_is_asked(pair):
    run = pair.ports(tetra_resolve="realocate")
    assert (run.code != 0, run.outcome) == (True, "invalid")
    assert "tetra_resolve is 'realocate' (write report, reallocate, fail)" in run.result["message"]
    assert "dev-2" not in run.output
