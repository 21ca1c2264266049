# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Random requests, doubled, late and killed, leases that end and restarts, on hosts; the model says what is allowed.

Seeds of histories that once ended badly are in ``cases/seeds.json`` and always come first.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import containers
import pytest
from ansible_collections.tetra.platform.plugins.module_utils.host.operations import preparation
from ansible_collections.tetra.platform.plugins.module_utils.host.scope import open_scope
from ansible_collections.tetra.platform.plugins.module_utils.model import transaction
from ansible_collections.tetra.platform.plugins.plugin_utils import host_code

from ..conftest import LONG, ROOT
from . import host_view, random_events

CASES = json.loads((Path(__file__).parent / "cases" / "seeds.json").read_text())
SEEDS = {"supervisord": range(1, 25) if LONG else range(1, 2), "systemd": range(101, 125) if LONG else range(101, 102)}
EVENTS = 25 if LONG else 10
AGENT = "/opt/agent.pyz"
CODE = "/opt/tetra-tests"
TETRA_DIR = "/var/lib/tetra"


def seeds(supervisor: str) -> list:
    """Those that failed once, and those that are tried now."""
    found = dict.fromkeys([*CASES[supervisor], *SEEDS[supervisor]])
    return [pytest.param(seed, id=f"M2-{supervisor}-{seed}") for seed in found]


def played(target: random_events.Target, seed: int) -> None:
    """Have the events of a seed happen, and everything come to rest."""
    player = random_events.Player(target, seed)
    try:
        player.play(EVENTS)
    finally:
        print(f"seed {seed}:", *player.history, sep="\n")
    end = time.monotonic() + random_events.GRACE
    while any(found["state"] in transaction.OPEN for found in target.look()["transactions"].values()):
        assert time.monotonic() < end, "a transaction stays open"
        time.sleep(0.2)


@pytest.mark.guarantee("M2")
@pytest.mark.parametrize("seed", seeds("supervisord"))
def test_random_events_on_a_host_with_supervisord(tmp_path, seed):
    root = os.fspath(tmp_path / "host")
    request = random_events.preparation(root, "supervisord")
    preparation.agent(request)
    try:
        scope = open_scope(root, "acme", "dev")
        scope.environment.prepare()
        played(random_events.Target(tmp_path, root, [], lambda: host_view.look(scope)), seed)
        assert host_view.broken(scope, random_events.SECRET) == []
    finally:
        preparation.agent({**request, "state": "stopped"})


@pytest.fixture
def container(tmp_path):
    """A host that systemd started, with the code of this collection and of the tests."""
    hosts = containers.Hosts(tmp_path / "hosts")
    try:
        host = hosts.up({"here": "bookworm"})["here"]
        package = f"{CODE}/ansible_collections/tetra/platform/plugins/module_utils"
        host.run(f"mkdir -p {package} {CODE}/system/histories")
        agent = tmp_path / "agent.pyz"
        agent.write_bytes(host_code.zipapp())
        for name in ("host", "model"):
            host.copy(ROOT / "plugins" / "module_utils" / name, package)
        for name in ("system/invariants.py", "system/histories/host_view.py"):
            host.copy(ROOT / "tests" / name, f"{CODE}/{name}")
        host.copy(agent, AGENT)
        request = random_events.preparation(TETRA_DIR, "systemd")
        told = host.run(f"python3 {AGENT} run agent", data=json.dumps(request))
        assert "result" in json.loads(told), told
        yield host
    finally:
        hosts.down()


@pytest.mark.guarantee("M2")
@pytest.mark.parametrize("seed", seeds("systemd"))
def test_random_events_and_restarts_on_a_host_with_systemd(tmp_path, container, seed):
    def view(*words: str):
        told = container.run(f"cd {CODE} && python3 -m system.histories.host_view {TETRA_DIR} {' '.join(words)}")
        return json.loads(told)

    prefix = ["docker", "exec", "--interactive", container.container]
    target = random_events.Target(tmp_path, TETRA_DIR, prefix, lambda: view("look"), container.reboot)
    played(target, seed)
    assert view("broken", random_events.SECRET) == []
