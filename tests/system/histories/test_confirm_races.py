# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A confirmation and the end of the lease meet, thousands of times: one of them wins, and both say which.

The two are processes that run the functions of the agent on real files; only their pauses are shortened. What the host
keeps alive is nothing, so that a race takes milliseconds.
"""

from __future__ import annotations

import base64
import collections
import multiprocessing
import os
import random
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from multiprocessing.connection import Connection
from pathlib import Path

import pytest
from ansible_collections.tetra.platform.plugins.module_utils.host import (
    deadman,
    engine,
    journal,
    keys,
    staging,
    store,
    transactions,
)
from ansible_collections.tetra.platform.plugins.module_utils.host.layout import Home
from ansible_collections.tetra.platform.plugins.module_utils.host.scope import Scope
from ansible_collections.tetra.platform.plugins.module_utils.host.settings import Settings
from ansible_collections.tetra.platform.plugins.module_utils.host.supervisors.base import (
    ProcessState,
    Supervisor,
    UnitSpec,
)
from ansible_collections.tetra.platform.plugins.module_utils.model import pack, plan, release, transaction
from ansible_collections.tetra.platform.plugins.plugin_utils import bundle, source

from .. import guarantees
from ..conftest import LONG

RACES = 3000 if LONG else 100
# The journal of a host that has raced long takes more time to read than a race does.
RACES_OF_A_HOST = 100
SEED = 20260101
# Seconds that a lease runs while both get ready, and from its end on: when the confirmation begins, and when each takes
# its first step, because it was not given the processor since it found that it may.
LEASE = 0.030
BEGINS, STEPS = (-0.025, -0.001), (0.0, 0.004)
# Renames are what races here, and no disk is needed for that.
MEMORY = Path("/dev/shm")


class Nothing(Supervisor):
    """A supervisor that has nothing to keep alive."""

    name = "nothing"

    def running(self) -> bool:
        return True

    def alive(self) -> bool:
        return False

    def ensure_running(self) -> None:
        return

    def shutdown(self) -> None:
        return

    def states(self, units: Iterable[str]) -> dict[str, ProcessState]:
        return {}

    def start(self, specs: Sequence[UnitSpec]) -> None:
        assert not specs

    def stop(self, units: Sequence[str], remove: bool = True) -> None:
        return

    def tail(self, unit: str, size: int) -> str:
        return ""

    def arm(self, deadman: UnitSpec, lease: float, signed: Callable[[], bool]) -> bool:
        return True

    def disarm(self, units: Iterable[str]) -> None:
        return


class Racer:
    """A process of its own that waits for a moment and then acts on a transaction.

    :param act: takes a scope and the id of a transaction, and returns the state that it says it ended in.
    """

    def __init__(self, scope: Scope, act: Callable[[Scope, str], str]) -> None:
        self._pipe, other = multiprocessing.Pipe()
        self._process = multiprocessing.get_context("fork").Process(target=_race, args=(scope, act, other), daemon=True)
        self._process.start()

    def go(self, identity: str, moment: float, rename: float) -> None:
        """Have it act at a moment of the monotonic clock, and take its first step not before another."""
        self._pipe.send((identity, moment, rename))

    def ended(self) -> tuple[str, list[tuple[str, bool]]]:
        """The state that it told, and the steps that it tried: to which state, and whether it took it."""
        return self._pipe.recv()

    def down(self) -> None:
        """End it."""
        self._pipe.send(None)
        self._process.join()


def wait_until(moment: float) -> None:
    """Wait without a pause, which would end too late."""
    while time.monotonic() < moment:
        pass


def _race(scope: Scope, act: Callable[[Scope, str], str], pipe: Connection) -> None:
    pause, move = time.sleep, transactions.move
    tried: list[tuple[str, bool]] = []
    rename = 0.0

    def noted(environment, identity, state, following):
        wait_until(rename)
        done = move(environment, identity, state, following)
        tried.append((following, done))
        return done

    time.sleep = lambda seconds: pause(min(seconds, 0.001))
    transactions.move = noted
    deadman._INTERVAL = 0
    while job := pipe.recv():
        identity, moment, rename = job
        wait_until(moment)
        told = act(scope, identity)
        pipe.send((told, tried[:]))
        tried.clear()


def confirm(scope: Scope, identity: str) -> str:
    return engine.confirm(scope, identity)["state"]


class Host:
    """A host without services whose environment goes from one release to the other, as far as it comes."""

    def __init__(self, folder: Path) -> None:
        home = Home(os.fspath(folder / "host"))
        for path in (home.root, home.config, home.bin):
            os.makedirs(path)
        Path(home.bin, "tsm").touch()
        keys.ensure(home)
        self.scope = Scope(home, home.environment("acme", "dev"), Settings("nothing"), Nothing(), "acme", "dev")
        self.scope.environment.prepare()
        self._orgs = [folder / word / "acme" for word in "ab"]
        for number, org in enumerate(self._orgs):
            (org / "services").mkdir(parents=True)
            # It runs on other hosts.
            (org / "services" / "worker.tsm").write_text(f"TSM_COMMAND='sleep {number}'\n")
        self._built = [self._build(org) for org in self._orgs]

    def _build(self, org: Path) -> tuple[source.Source, Mapping]:
        origin = source.read(org)
        return origin, bundle.build(origin, "dev", bundle.services(origin, "dev"), {}, {}, None).manifest

    @staticmethod
    def _packed(origin: source.Source) -> str:
        contents = {file.entry["sha256"]: file.read() for file in origin.files.values() if file.read}
        index = pack.header((digest, len(data)) for digest, data in contents.items())
        return base64.b64encode(index + b"".join(contents.values())).decode("ascii")

    def probing(self, identity: str) -> transactions.Transaction:
        """A new transaction, switched and proven, with a lease that ends in a moment."""
        now = store.current(self.scope.environment)
        epoch = journal.head(self.scope.environment)["seq"]
        seen = {"current": now, "epoch": epoch, "services": {}, "drift": []}
        origin, manifest = next(one for one in self._built if release.digest(one[1]) != now)
        desired = plan.Desired("acme", "dev", "push", origin.digest, release.digest(manifest), {}, {"here": []}, {}, {})
        staging.stage(self.scope, identity, {
            "plan": plan.plan({"here": seen}, desired), "host": "here",
            "bundle": origin.manifest, "manifest": manifest, "pack": None,
            "pack_bytes": self._packed(origin), "services": [],
            "secrets": {}, "actor": "test", "reason": "", "lift_hold": "a race", "lease": 30.0,
            "probe": {"passes": 1, "spacing": 0.1}, "keep": 2, "pinned": [], "heads": {}, "seen": [],
        })  # fmt: skip
        assert engine.activate(self.scope, identity)["state"] == transaction.PROBING
        # That run was this process, which a deadman would end.
        Path(self.scope.environment.tx, f"{identity}.{transactions.HOLDER}").unlink()
        transactions.write_lease(self.scope.environment, identity, LEASE, LEASE)
        return transactions.load(self.scope.environment, identity)

    def ends(self, found: transactions.Transaction) -> set[object]:
        """How a transaction ended, by all that the host keeps of it; one state when all agree."""
        environment = self.scope.environment
        names = [name for name in os.listdir(environment.tx) if transaction.parse_file_name(name)]
        told = [one["outcome"] for one in journal.read(environment) if one["transaction"] == found.identity]
        sides = {found.record["to"]: transaction.CONFIRMED, found.record["from"]: transaction.ROLLED_BACK}
        return {
            *(name.rpartition(".")[2] for name in names if name.startswith(found.identity)),
            *told, len(told), sides[store.current(environment)],
        } - {1}  # fmt: skip


@pytest.fixture
def folder(tmp_path):
    """A folder in memory, where there is one."""
    with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else tmp_path) as name:
        yield Path(name)


def race(host: Host, racers: Sequence[Racer], identity: str, dice: random.Random) -> tuple[set[object], list[str]]:
    """Let a confirmation and the deadman meet.

    :returns: the states in which the transaction ended, by the word of both and by what the host keeps; and the steps
        that were tried, a mark before those that were taken.
    """
    found = host.probing(identity)
    over = time.monotonic() + transactions.seconds_left(host.scope.environment, identity)
    racers[0].go(identity, over + dice.uniform(*BEGINS), over + dice.uniform(*STEPS))
    racers[1].go(identity, 0.0, over + dice.uniform(*STEPS))
    told = [racer.ended() for racer in racers]
    steps = [f"{'+' if done else '-'}{state}" for _state, tried in told for state, done in tried]
    return {state for state, _tried in told} | host.ends(found), steps


def test_of_a_confirmation_and_the_end_of_the_lease_one_wins_and_both_say_which(folder):
    dice = random.Random(SEED)
    wins, steps = collections.Counter(), collections.Counter()
    problems = []
    for first in range(0, RACES, RACES_OF_A_HOST):
        host = Host(folder / str(first))
        racers = [Racer(host.scope, confirm), Racer(host.scope, deadman.watch)]
        try:
            for number in range(first, first + RACES_OF_A_HOST):
                ends, tried = race(host, racers, f"20260101t000000-{number:08x}", dice)
                won = {"+confirmed", "+rolling_back"} & set(tried)
                wins.update(ends)
                steps.update(tried)
                if len(ends) > 1 or len(won) != 1:
                    problems.append((number, ends, tried))
        finally:
            for racer in racers:
                racer.down()
    lost = [steps["-confirmed"], steps["-rolling_back"]]
    figures = f"{dict(wins)}, lost at the rename itself: {lost}, {len(problems)} without one winner"
    guarantees.tell("R1", RACES, RACES - len(problems), figures)
    print(f"{RACES} races, seed {SEED}: {figures}")
    assert problems == []
    assert min(wins[transaction.CONFIRMED], wins[transaction.ROLLED_BACK]) > RACES / 100
    assert min(lost) > RACES / 100
