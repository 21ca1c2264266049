# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Networks that break after a switch; and clients that push, promote, roll back and settle under a nemesis.

Ten minutes with ``make test-long``. What is asserted was read from the hosts.
"""

from __future__ import annotations

import collections
import concurrent.futures
import dataclasses
import json
import statistics
import time

import containers
import pytest
from ansible_collections.tetra.platform.plugins.module_utils.model import transaction

from .. import guarantees
from ..conftest import LONG, Servers
from . import histories, nemesis

PROD = ("prod-1", "prod-2", "prod-3")
HOSTS = {"dev": ["dev-1"], "prod": list(PROD)}
PORT = 4300
LEASE = 10
PATIENT = 60
"""The lease while nobody is to lose a race with it, however busy this machine is."""
GRACE = 10
SECONDS = 600 if LONG else 20
ROUNDS = 7 if LONG else 1
SEED = 20261128
HABITS = [
    [("push", "dev"), ("promote", "prod")],
    [("promote", "prod"), ("push", "dev")],
    [("rollback", "prod"), ("push", "dev"), ("promote", "prod")],
    [("resume", "prod"), ("promote", "prod"), ("abort", "prod"), ("resume", "dev")],
]
DURATIONS = (2.0, 5.0, 8.0, LEASE + 2.0) if LONG else (2.0, 4.0, LEASE + 1.0)
# Says when a host answers with a release again, and with which ones until then.
ANSWERS = f"""
import http.client, json, time, urllib.request
seen = []
while not seen or seen[-1] != RELEASE:
    try:
        answer = urllib.request.urlopen("http://127.0.0.1:{PORT}/health", timeout=1)
        found = json.load(answer)["release"]
    except (OSError, ValueError, http.client.HTTPException):
        found = "nothing"
    seen += [found] if found not in seen[-1:] else []
    time.sleep(0.02)
print(json.dumps([time.monotonic(), seen]))
"""


@dataclasses.dataclass
class Lab:
    """Hosts, a watch over them, and a client who is left in peace."""

    servers: Servers
    watch: nemesis.Watch
    calm: nemesis.Client

    def lease(self, seconds: int) -> None:
        """Set how long armed hosts wait in the next runs."""
        for env in HOSTS:
            self.servers.policy(env, lease=f"{seconds}s")

    def goes_on(self, *habit: tuple[str, str]) -> None:
        """Run playbooks that nobody disturbs; they go well."""
        self.lease(PATIENT)
        assert [self.calm.run(*what).outcome for what in habit] == ["applied"] * len(habit)

    def run(self) -> dict[str, str | None]:
        """The release of each host, as it is now."""
        self.watch.look()
        return {name: reads[-1].value for name, reads in self.watch.reads.items()}


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """Hosts that run a release; one has a small disk."""
    servers = Servers(tmp_path_factory.mktemp("servers"), dict.fromkeys(("dev-1", *PROD), "bookworm"))
    try:
        nemesis.small_disk(servers.hosts[nemesis.DISK])
        assert servers.play("prepare").code == 0
        servers.policy("prod", promotes_from="dev", canary=0, batch=3)
        made = Lab(servers, nemesis.Watch(servers), nemesis.Client("calm", servers))
        made.watch.start()
        made.goes_on(("push", "dev"), ("promote", "prod"))
        yield made
        made.watch.end()
    finally:
        servers.down()


def wait_until_closed(watch: nemesis.Watch) -> None:
    end = time.monotonic() + LEASE + 40
    while found := watch.open():
        assert time.monotonic() < end, f"transactions stay open: {found}"
        time.sleep(0.2)


def test_hosts_that_are_cut_off_after_a_switch_are_safe_within_their_lease_and_ten_seconds(lab):
    seconds = [one for _round in range(ROUNDS) for one in cut_off(lab)]
    held = sum(one <= LEASE + GRACE for one in seconds)
    figures = f"lease {LEASE} s, {len(seconds)} hosts: p50 {statistics.median(seconds):.1f} s, max {max(seconds):.1f} s"
    print(f"from the break of the network to the old release answering again: {figures}")
    guarantees.tell("P1", len(seconds), held, figures)
    assert held == len(seconds)


def cut_off(lab: Lab) -> list[float]:
    """Cut off all production hosts when they have been switched; seconds until each runs its old release again."""
    lab.goes_on(("push", "dev"))
    old = lab.run()
    lab.lease(LEASE)
    # On a busy machine the lease of one host may be over before another was switched.
    assert any(switched(lab) for _attempt in range(8)), "the hosts were never switched at the same time"
    with concurrent.futures.ThreadPoolExecutor() as pool:
        hosts = [lab.servers.hosts[name] for name in PROD]
        cut = time.monotonic()
        list(pool.map(containers.Host.cut, hosts))
        try:
            told = list(pool.map(answers_again, hosts, [old[name] for name in PROD]))
        finally:
            list(pool.map(containers.Host.heal, hosts))
    outcome = lab.calm.end().outcome
    print(f"the run said {outcome}; the hosts answered with {[len(seen) for _at, seen in told]} releases in turn")
    assert outcome in ("unconfirmed", "rolled_back")
    # They had been switched.
    assert all(seen[0] != old[name] for name, (_at, seen) in zip(PROD, told))
    wait_until_closed(lab.watch)
    assert lab.run() == old
    # Something new: on a machine that is very busy a service may not have come up in its lease, which is a verdict.
    lab.goes_on(("push", "dev"), ("promote", "prod"))
    return [at - cut for at, _seen in told]


def switched(lab: Lab) -> bool:
    """Begin a promotion; whether it came to a moment at which all hosts were switched and wait for a word."""
    lab.calm.begin("promote", "prod")
    while lab.calm.process.poll() is None:
        if sum(one.state == transaction.PROBING for one in lab.watch.open()) == len(PROD):
            return True
        time.sleep(0.005)
    lab.calm.end()
    return False


def answers_again(host, release: str) -> tuple[float, list[str]]:
    """When a host answers with a release again, on the clock of this machine, and with which others until then."""
    return json.loads(host.run("timeout 60 python3 -", data=f"RELEASE = {release!r}\n{ANSWERS}"))


def outcomes(operations) -> str:
    """How often each kind of run ended in which way, as lines of a table."""
    count: dict[str, collections.Counter] = collections.defaultdict(collections.Counter)
    for one in operations:
        count[f"{one.action} {one.env}"][one.outcome] += 1
    return "\n".join(f"{kind:14} {sum(found.values()):4}  " + ", ".join(f"{name} {number}" for name, number in
                     sorted(found.items())) for kind, found in sorted(count.items()))


def test_whatever_a_nemesis_does_what_runs_said_explains_what_hosts_run(lab):
    servers, watch, calm = lab.servers, lab.watch, lab.calm
    clients = [nemesis.Client(f"client-{number}", servers, habit) for number, habit in enumerate(HABITS)]
    breaker = nemesis.Nemesis(servers, clients, watch, SEED, DURATIONS)
    lab.lease(LEASE)
    until = time.monotonic() + SECONDS
    with concurrent.futures.ThreadPoolExecutor() as pool:
        breaking = pool.submit(breaker.work, until)
        working = [pool.submit(client.work, breaking.done) for client in clients]
        for future in [breaking, *working]:
            future.result()
    wait_until_closed(watch)
    mixed = len({lab.run()[name] for name in PROD}) > 1
    # What could not be written into a journal is written by the next run.
    lab.lease(PATIENT)
    resumed = calm.run("resume", "prod")
    lab.goes_on(("push", "dev"), ("promote", "prod"))
    watch.end()
    operations = sorted((one for client in [calm, *clients] for one in client.operations), key=lambda one: one.begin)
    told = histories.History(operations, HOSTS, {name: watch.journal(name) for name in servers.hosts}, watch.reads)
    problems = histories.problems(told)
    wrong = {problem.operation for problem in problems}
    during = [one for one in operations if one.name.startswith("client")]
    promotions = collections.Counter(one.outcome for one in during if one.action == "promote")
    hit = sum(bool(strike.open) for strike in breaker.strikes)
    figures = (f"seed {SEED}, {SECONDS} s, {len(breaker.strikes)} strikes, {hit} while a transaction was open; "
               f"promotions: {', '.join(f'{name} {number}' for name, number in sorted(promotions.items()))}")
    print(f"{figures}\n{outcomes(operations)}")
    for strike in breaker.strikes:
        print(f"{strike.kind:24} {strike.victim:16} {strike.seconds:4.1f} s  open:",
              ", ".join(f"{one.host} {one.state}" for one in strike.open) or "none")
    print(f"mixed before the resume: {mixed}; resume: {resumed.outcome}")
    guarantees.tell("N1", len(operations), len(operations) - max(len(wrong), bool(problems)), figures)
    assert problems == []
    assert resumed.outcome in ("applied", "unchanged")
    assert len({lab.run()[name] for name in PROD}) == 1
    assert all(servers.ask(name, PORT)[0] == 200 for name in PROD)
    assert {strike.kind for strike in breaker.strikes} == set(breaker.kinds)
    assert hit >= len(breaker.kinds) / 2
