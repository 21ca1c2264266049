# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Three promotions at once: two of one environment, and one that takes on what that environment runs. One of the two is
first, the other is refused or comes after it, or both are refused; and nothing goes on that was not confirmed before.
50 offsets with ``make test-long``.
"""

from __future__ import annotations

import datetime
import json
import random
import time
from pathlib import Path

import pytest
import yaml
from ansible_collections.tetra.platform.plugins.module_utils.host import journal, transactions
from ansible_collections.tetra.platform.plugins.module_utils.model import transaction

from .. import guarantees, invariants
from ..conftest import HOSTS, LONG, ROOT, Fleet
from .controllers import Controller, bundle, current, scope, settled

NETWORK = 83
LEASE, GRACE = 30, 10
STAGING, PROD = HOSTS[1:], "prod-1"
UP, ON = {"tetra_from": "dev", "tetra_to": "staging"}, {"tetra_from": "staging", "tetra_to": "prod"}
SEEDS = range(50 if LONG else 2)
BOTH_REFUSED = ["refused", "refused"]


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """A fleet with a production host, on all of which the API of the example organization runs."""
    made = Fleet(tmp_path_factory.mktemp("fleet"), NETWORK)
    extend(made.inventory / "hosts.yml", ["all", "children", "prod"],
           {"hosts": {PROD: {"tetra_address": f"127.0.{NETWORK}.4"}}})
    extend(made.inventory / "group_vars" / "all.yml", ["tetra_environments", "prod"],
           {"promotes_from": "staging", "port_range": "4300-4399", "lease": f"{LEASE}s"})  # fmt: skip
    made.variables["tetra_probe_passes"] = 1
    made.only("api")
    try:
        assert made.play("prepare").code == 0
        for run in (made.push(), made.promote(), made.promote(**ON)):
            assert run.outcome == "applied", run.output
        yield made
    finally:
        made.down()


def extend(path: Path, keys: list[str], value: object) -> None:
    """Add a value to a YAML file."""
    record = yaml.safe_load(path.read_text())
    place = record
    for key in keys[:-1]:
        place = place[key]
    place[keys[-1]] = value
    path.write_text(yaml.safe_dump(record))


def confirmed(fleet: Fleet, host: str) -> dict[str, float]:
    """The bundles that a host ever confirmed, with the time at which it did so first."""
    times: dict[str, float] = {}
    for record in journal.read(scope(fleet, host).environment):
        if record.get("outcome") == transaction.CONFIRMED:
            moment = datetime.datetime.fromisoformat(record["time"].replace("Z", "+00:00"))
            times.setdefault(record["bundle"], moment.timestamp())
    return times


def at_once(fleet: Fleet, seed: int) -> list[str]:
    """Start three promotions at moments of a seed; how they ended, two to staging, then the one to production."""
    chance = random.Random(seed)
    broken = seed % 2 == 1
    fleet.restore()
    fleet.only("api")
    if broken:
        text = (ROOT / "examples" / "broken" / "server.py").read_text()
        # One check is all that these promotions make, so it is not even well once.
        (fleet.org / "files" / "api" / "server.py").write_text(text.replace("or next(_REQUESTS) == 1", ""))
    fleet.touch(f"seed {seed}")
    assert fleet.push().outcome == "applied"
    old, fresh = bundle(fleet, STAGING[0]), bundle(fleet, "dev-1")
    starts = sorted(zip((0.0, chance.uniform(0, 0.5), chance.uniform(0, 4.0)), range(3)))
    running, begun = {}, time.monotonic()
    for moment, number in starts:
        time.sleep(max(0.0, begun + moment - time.monotonic()))
        running[number] = Controller(fleet, "promote", **(ON if number == 2 else UP))
    runs = [running[number].wait() for number in range(3)]
    outcomes = [str(run.outcome) for run in runs]
    case = f"seed {seed}, {'broken' if broken else 'good'}, {[f'{start[0]:.2f}' for start in starts]}: {outcomes}"
    print(case)
    settled(fleet, (*STAGING, PROD), LEASE + GRACE)
    good = {"applied", "unchanged", "refused", "rolled_back"}
    assert set(outcomes) <= good, (case, [run.output for run in runs])
    up = outcomes[:2]
    assert {bundle(fleet, host) for host in STAGING} == {fresh if "applied" in up else old}, case
    # Each may have staged first on another host: then both are told so, and nothing moved.
    assert up == BOTH_REFUSED or ("applied" in up) != broken, (case, [run.output for run in runs[:2]])
    came_from = [confirmed(fleet, host) for host in STAGING]
    for identity, state in transactions.states(scope(fleet, PROD).environment).items():
        record = transactions.load(scope(fleet, PROD).environment, identity).record
        # The journal tells whole seconds.
        early = [times.get(record["bundle"], record["created"]) < record["created"] for times in came_from]
        assert all(early), (case, identity, state)
    for host in (*STAGING, PROD):
        assert invariants.broken(scope(fleet, host), {current(fleet, host)}, "first-token") == [], (case, host)
    return outcomes


def test_of_promotions_at_once_one_is_first_and_nothing_unconfirmed_goes_on(path):
    ends = [at_once(path, seed) for seed in SEEDS]
    counted = {word: sum(end.count(word) for end in ends) for word in sorted({word for end in ends for word in end})}
    nobody = sum(end[:2] == BOTH_REFUSED for end in ends)
    guarantees.tell("F18", len(ends), len(ends), f"three at once, {json.dumps(counted)}; both refused: {nobody}")
