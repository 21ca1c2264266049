# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ports under many hands at once: no number twice, no entry lost, whoever asks for them."""

from __future__ import annotations

import collections
import json
import os
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

from ansible_collections.tetra.platform.plugins.module_utils.host import registry, store
from ansible_collections.tetra.platform.plugins.module_utils.host.layout import Home
from ansible_collections.tetra.platform.plugins.module_utils.model import release

from .conftest import Team

NETWORK = 79
PROCESSES = 64
CONTROLLERS = 8
ALLOCATE = """
import json, sys
from ansible_collections.tetra.platform.plugins.module_utils.host.operations import ports
tetra_dir, name = sys.argv[1:]
sys.stdin.readline()
result = ports.port_registry({"tetra_dir": tetra_dir, "ports": {name: "auto", f"{name}-dev": "auto"}, "check": False})
print(json.dumps({one: result["ports"][one] for one in (name, f"{name}-dev")}))
"""
SERVICE = """\
TSM_COMMAND='exec python3 -m http.server $PORT --bind ${TETRA_ADDRESS}'
TSM_PORT=auto
TSM_PORTS=auto:udp:stats
TSM_MIN_HEALTHY=0s
"""


def test_64_processes_that_allocate_on_one_host_get_128_ports(tmp_path):
    (tmp_path / "config").mkdir()
    file = tmp_path / "config" / "ports.toml"
    before = '# ours\n[ports]\nold = 4000  # kept\n\n[port_ranges]\ndev = "27000-27099"\n'
    before += "\n[allocation]\nmin_port = 28000\nmax_port = 28999\n"
    file.write_text(before)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", ALLOCATE, os.fspath(tmp_path)]
    running = [
        subprocess.Popen([*command, f"s{number}"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                         env=environment)
        for number in range(PROCESSES)
    ]  # fmt: skip
    for one in running:
        one.stdin.write("go\n")
        one.stdin.flush()
    begun = time.monotonic()
    answers = [one.communicate()[0] for one in running]
    print(f"{PROCESSES} processes, {2 * PROCESSES} ports: {time.monotonic() - begun:.1f} s")
    assert [one.returncode for one in running] == [0] * PROCESSES
    given = {name: port for answer in answers for name, port in json.loads(answer).items()}
    assert len(set(given.values())) == len(given) == 2 * PROCESSES
    assert {name: 27000 <= port <= 27099 for name, port in given.items()} == {
        name: name.endswith("-dev") for name in given
    }
    said = registry.load(os.fspath(tmp_path)).registry
    assert said.names == {"old": 4000, **given}
    assert said.findings == []
    text = file.read_text()
    assert [line for line in text.split("\n") if line.partition(" ")[0] not in given] == before.split("\n")


class Controllers:
    """Several people who push the same environment, each with a directory and a result file of their own."""

    def __init__(self, fleet: Team) -> None:
        self.teams = []
        for number in range(CONTROLLERS):
            team = Team(fleet.folder / f"controller-{number}", fleet.inventories)
            team.variables = fleet.variables
            shutil.rmtree(team.org / "services")
            services = team.org / "services"
            services.mkdir()
            (team.org / "org.toml").write_text('name = "acme"\n')
            (team.org / "environments" / "dev.toml").write_text("")
            shutil.rmtree(team.org / "templates", ignore_errors=True)
            for name in ("common", *(f"own-{number}-{one}" for one in range(2))):
                (services / f"{name}.tsm").write_text(SERVICE)
            self.teams.append(team)

    def push(self) -> list:
        """Push all at once; how each ended."""
        with ThreadPoolExecutor(CONTROLLERS) as pool:
            return list(pool.map(lambda team: team.push(), self.teams))


def test_8_controllers_for_one_environment_leave_the_ports_of_one_release(fleet):
    controllers = Controllers(fleet)
    runs = controllers.push()
    outcomes = [run.outcome for run in runs]
    print(f"{CONTROLLERS} controllers at once: {dict(collections.Counter(outcomes))}")
    assert set(outcomes) <= {"applied", "refused", "unchanged"}, [run.output for run in runs]
    assert "applied" in outcomes
    observed = fleet.status("dev")["dev-1"]
    home = fleet.state / "dev-1"
    owned = registry.load(os.fspath(home)).registry.owned["acme/dev"]
    environment = Home(os.fspath(home)).environment("acme", "dev")
    assert owned == release.ports_of(store.manifest(environment, store.current(environment)))
    assert len(set(owned.values())) == len(owned) == 6
    assert registry.load(os.fspath(home)).registry.findings == []
    assert all(service["running"] for service in observed["services"].values())
