# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Random histories of three hosts, two controllers and a network that loses, delays and doubles, in the model.

Histories that once ended badly are in ``cases/machine.json`` and always come first.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.tetra.platform.plugins.module_utils.model import fleet, health, history, transaction
from hypothesis import HealthCheck, note, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from .. import guarantees
from ..conftest import LONG
from . import transaction_model as model

EXAMPLES = 20_000 if LONG else 300
CASES = json.loads((Path(__file__).parent / "cases" / "machine.json").read_text())
ACTIONS = ("push", "push", "push", "rollback", "resume", "abort")
LUCK = (health.HEALTHY, health.HEALTHY, health.HEALTHY, health.FAILED, health.UNPROVEN, "broken")
TERMS = (
    fleet.Terms(),
    fleet.Terms(batch=1),
    fleet.Terms(canary=1),
    fleet.Terms(batch=1, max_failures=1),
    fleet.Terms(batch=1, max_failures=2, rollback_scope=fleet.STOP),
    fleet.Terms(canary=1, batch=1, max_failures=1, rollback_scope=fleet.BATCH),
    fleet.Terms(max_failures=1, rollback_scope=fleet.STOP),
)
# Clocks of controllers, in seconds.
SKEWS = (0, 0, 3600, -3600)
# No run on a host has more effects than this.
MANY = 60
FOREVER = 10_000.0

NUMBERS = st.integers(0, 11)
FLAGS = st.booleans()


class Controller:
    """A run of a playbook, and what it waits for."""

    def __init__(self, wish: model.Wish, confirmed: set[str]) -> None:
        self.wish = wish
        # What some host had confirmed when it began.
        self.confirmed = confirmed
        self.script = model.controller(wish)
        self.waiting: dict[str, int] = {}
        self.answers: dict[str, model.Answer] = {}
        self.report: model.Report | None = None
        self.asked: Mapping[str, Mapping[str, Any]] = {}
        self.moved: dict[str, set[str]] = {host: set() for host in model.HOSTS}
        self.unended: set[str] = set()
        self.objected: set[str] = set()


class Fleet:
    """Three hosts, two controllers, and all that is on its way between them."""

    def __init__(self) -> None:
        self.clock = model.Clock()
        self.hosts = {name: model.Host(name, self.clock) for name in model.HOSTS}
        self.controllers: list[Controller | None] = [None, None]
        self.ended: list[Controller] = []
        self.lost: set[str] = set()
        self.calls = 0
        self.started = 0
        self.requests: list[tuple[int, str, Mapping[str, Any]]] = []
        self.replies: list[tuple[int, model.Answer]] = []
        self.answering: dict[int, model.Run] = {}

    # Controllers.

    def start(self, slot: int, wish: model.Wish) -> None:
        """A controller begins, unless the one of that slot is at work."""
        if self.controllers[slot] is None:
            self.controllers[slot] = Controller(wish, self._confirmed())
            self._send(slot, None)

    def new_wish(self, action: str, **more: Any) -> model.Wish:
        """A wish with a transaction id of its own."""
        self.started += 1
        skew = more.pop("skew", 0)
        return model.Wish(action, model.identity(self.clock.now + skew, self.started), **more)

    def go_on(self, slot: int, give_up: bool = False) -> None:
        """A controller that has all answers, or gives up to wait, does what follows."""
        found = self.controllers[slot]
        if found and (give_up or not set(found.waiting) - set(found.answers)):
            self._send(slot, {host: found.answers.get(host, model.LOST) for host in found.waiting})

    def _send(self, slot: int, answers: Mapping[str, model.Answer] | None) -> None:
        found = self.controllers[slot]
        assert found is not None
        found.objected |= {host for host, request in found.asked.items() if request["state"] == fleet.STAY
                           and "state" not in (answers or {}).get(host, {})}
        try:
            found.asked = found.script.send(answers) if answers is not None else next(found.script)
        except StopIteration as end:
            self.controllers[slot] = None
            found.report = end.value
            self.ended.append(found)
            self._check_report(found)
            return
        found.waiting, found.answers = {}, {}
        for host, request in found.asked.items():
            self.calls += 1
            found.waiting[host] = self.calls
            found.moved[host].add(request.get("transaction", ""))
            if request["state"] == fleet.SWITCH:
                found.unended.add(host)
            elif request["state"] in (fleet.CONFIRM, fleet.TAKE_BACK, fleet.ABORT):
                found.unended.discard(host)
            self.requests.append((self.calls, host, request))
            if request["state"] == fleet.CONFIRM:
                self._check_decided(request["transaction"], found)
            if request["state"] == fleet.TAKE_BACK:
                assert request["transaction"] not in found.confirmed, "what is confirmed elsewhere is taken back"

    def kill(self, slot: int) -> None:
        """A controller dies; what it sent is still on its way."""
        found = self.controllers[slot]
        if found:
            self.lost.add(found.wish.identity)
            self.controllers[slot] = None

    def _check_decided(self, identity: str, found: Controller) -> None:
        """Before the first host is confirmed, all that will be were told of the decision."""
        known = {host.name: host.transactions[identity].decision for host in self.hosts.values()
                 if identity in host.transactions}
        if identity == found.wish.identity:
            assert not found.objected, "a confirmation although a host that was left alone did not say that it stayed"
            asked = {host for host, request in found.asked.items() if request["state"] == fleet.CONFIRM}
        elif identity in self._confirmed():
            return
        else:
            # Somebody finishes what another run left.
            asked = {name for decision in known.values() if decision for name in decision["hosts"]}
        assert asked and all(known.get(name) for name in asked), "a confirmation before all knew of the decision"

    def _confirmed(self) -> set[str]:
        """The transactions that some host has confirmed."""
        return {identity for host in self.hosts.values() for identity, _state, following in host.moved
                if following == transaction.CONFIRMED}

    # The network.

    def deliver(self, index: int, luck: str, steps: int, twice: bool) -> None:
        """A request arrives; its run goes on for so many steps.

        :param twice: it stays on its way, and arrives again.
        """
        if not self.requests:
            return
        number = index % len(self.requests)
        call, name, request = self.requests[number] if twice else self.requests.pop(number)
        host = self.hosts[name]
        with Unmoved(host, request):
            run = host.begin(request, luck)
            self.answering[call] = run
            self._walk(host, run, steps)

    def _walk(self, host: model.Host, run: model.Run, steps: int) -> None:
        for _number in range(steps):
            word = host.step(run) if run in host.runs else ""
            if word in ("", model.WAIT):
                break
        self._collect()

    def _collect(self) -> None:
        """Send the answers of runs that have ended."""
        for call, run in list(self.answering.items()):
            if run.answer is not None:
                self.replies.append((call, run.answer))
                del self.answering[call]

    def bring(self, index: int) -> None:
        """An answer arrives."""
        if self.replies:
            call, answer = self.replies.pop(index % len(self.replies))
            for found in filter(None, self.controllers):
                for host, wanted in found.waiting.items():
                    if wanted == call:
                        found.answers[host] = answer

    def lose(self, index: int, reply: bool) -> None:
        """A request or an answer is lost."""
        found: list[Any] = self.replies if reply else self.requests
        if found:
            found.pop(index % len(found))

    # Hosts.

    def walk(self, index: int, which: int, steps: int) -> None:
        """A run on a host goes on."""
        host = self._host(index)
        if host.runs:
            self._walk(host, host.runs[which % len(host.runs)], steps)

    def break_off(self, index: int, which: int, refused: bool) -> None:
        """A run on a host is killed, or its disk refuses what it would do next. A deadman is started again."""
        host = self._host(index)
        runs = [run for run in host.runs if not run.watches]
        if not runs:
            return
        run = runs[which % len(runs)]
        # What has not begun cannot fail.
        if refused and run.steps.gi_frame.f_lasti > 0:
            host.step(run, refused=True)
        else:
            host.end(run)
        self._collect()

    def busy(self) -> bool:
        """Whether anything runs on a host."""
        return any(host.runs for host in self.hosts.values())

    def reboot(self, index: int, steps: int) -> None:
        """A host loses its power, and settles what was interrupted, as far as it comes."""
        host = self._host(index)
        self._walk(host, host.reboot(), steps)

    def pass_time(self, seconds: float) -> None:
        """Time passes; whoever waits may act."""
        self.clock.now += seconds

    def deadmen(self, index: int) -> None:
        """The deadmen of a host do what is to be done."""
        host = self._host(index)
        for run in [run for run in host.runs if run.watches]:
            self._walk(host, run, MANY)

    def _host(self, index: int) -> model.Host:
        return self.hosts[model.HOSTS[index % len(model.HOSTS)]]

    # Without disturbance.

    def smooth(self, slot: int, phases: int) -> None:
        """All that a controller asks arrives at once and is done, for so many of its steps."""
        for _phase in range(phases):
            found = self.controllers[slot]
            if found is None:
                return
            mine = set(found.waiting.values())
            for call, name, request in [one for one in self.requests if one[0] in mine]:
                self.requests.remove((call, name, request))
                run = self.hosts[name].begin(request)
                self.answering[call] = run
                self._walk(self.hosts[name], run, MANY)
            for call, answer in [one for one in self.replies if one[0] in mine]:
                self.replies.remove((call, answer))
                found.answers.update({host: answer for host, wanted in found.waiting.items() if wanted == call})
            self.go_on(slot)

    def rest(self) -> None:
        """Nobody asks for anything any more, and time passes until everything has ended."""
        for slot in range(len(self.controllers)):
            self.kill(slot)
        self.requests.clear()
        for _round in range(8):
            self.pass_time(FOREVER)
            for host in self.hosts.values():
                for run in list(host.runs):
                    self._walk(host, run, MANY)

    def finish(self) -> None:
        """After everything came to rest, a resume brings all hosts to one release, and the next finds nothing to do."""
        self.rest()
        for host in self.hosts.values():
            host.way_back_breaks = False
            left = [one for one in host.transactions.values() if one.deadline and transaction.TRANSITIONS[one.state]]
            assert not left, f"{host.name}: {host.states()}"
        self._check_mixture()
        newest = self._newest()
        for expected in (("applied", "unchanged"), ("unchanged",)) if newest else (("refused",),):
            self.start(0, self.new_wish("resume", lift_hold=True))
            self.smooth(0, MANY)
            report = self.ended[-1].report
            assert report and report[0] in expected, report
        current, *others = {host.current for host in self.hosts.values()}
        assert not others and current in (newest or {None}), "what was confirmed last is lost"
        for host in self.hosts.values():
            # What a run owes the journal is written by the next one.
            self._walk(host, host.settling(), MANY)
        doubts = history.doubts({host.name: host.told() for host in self.hosts.values()})
        assert doubts == [], doubts

    def _newest(self) -> set[str]:
        """The releases that no host confirmed another one after."""
        histories = [host.observed()["history"] for host in self.hosts.values()]
        before = {entry["transaction"] for entries in histories for entry in entries[:-1]}
        last = [entries[-1] for entries in histories if entries]
        return {entry["release"] for entry in last if entry["transaction"] not in before} or {
            entry["release"] for entry in last
        }

    # What is always so.

    def check(self) -> None:
        """What is true of every host at every moment."""
        for host in self.hosts.values():
            states = host.states()
            opened = [identity for identity, state in states.items() if state in transaction.OPEN]
            assert len(opened) < 2, "two transactions are open"
            confirmed = [identity for identity, _state, following in host.moved if following == transaction.CONFIRMED]
            last = host.transactions[confirmed[-1]].record["to"] if confirmed else None
            if opened:
                record = host.transactions[opened[0]].record
                assert record["from"] == last, "the base is not what was confirmed"
                assert host.current in (record["from"], record["to"]), "neither the old nor the new release"
                assert states[opened[0]] != transaction.PROBING or host.current == record["to"]
            else:
                assert host.current == last, "what runs is not what was confirmed last"
            ends = [identity for identity, _state, following in host.moved if not transaction.TRANSITIONS[following]]
            assert len(ends) == len(set(ends)), "a transaction ended twice"
            assert len(host.unwritten()) < 2

    def _check_report(self, found: Controller) -> None:
        """What a controller reports is what hosts will read back."""
        assert found.report is not None
        outcome, hosts = found.report
        states = {name: host.states().get(found.wish.identity) for name, host in self.hosts.items()}
        if found.wish.action == "abort":
            self._check_abort(found)
            return
        left = {name for name in found.unended if states[name] in transaction.OPEN}
        assert not left, f"{left} were switched, and nobody says how they end"
        for name, told in hosts.items():
            if told == transaction.APPLIED:
                ends = {self.hosts[name].states().get(identity) for identity in found.moved[name]}
                assert transaction.CONFIRMED in ends, (name, ends)
            if told in (transaction.ROLLED_BACK, transaction.REFUSED):
                assert states[name] != transaction.CONFIRMED, (name, told)
            if told == transaction.ROLLED_BACK and states[name]:
                assert states[name] == transaction.ROLLED_BACK
        if outcome in (transaction.ROLLED_BACK, transaction.REFUSED):
            assert transaction.CONFIRMED not in states.values(), (outcome, states)
        if outcome == transaction.APPLIED and found.wish.action != "resume":
            assert {states[name] for name, told in hosts.items() if told == transaction.APPLIED} == {"confirmed"}

    def _check_abort(self, found: Controller) -> None:
        assert found.report is not None
        if found.report[0] == transaction.APPLIED:
            for name, request in found.asked.items():
                state = self.hosts[name].states()[request["transaction"]]
                assert state in (transaction.ROLLED_BACK, transaction.ABORTED), (name, state)

    def _check_mixture(self) -> None:
        """A fleet that is mixed is explained: a run said so, or died before it could."""
        if len({host.current for host in self.hosts.values()}) == 1:
            return
        told = {found.report[0] for found in self.ended if found.report}
        explained = {transaction.PARTIAL, transaction.UNCONFIRMED, transaction.ROLLBACK_FAILED}
        assert self.lost or told & explained, "a mixed fleet that nobody was told of"


class Unmoved:
    """Around a request: one for a transaction that ended changes nothing on a host, but that what it owes is written.

    So it is with one that was staged before.
    """

    def __init__(self, host: model.Host, request: Mapping[str, Any]) -> None:
        self._host = host
        identity = request.get("transaction", "")
        state = host.states().get(identity)
        late = state is not None and (not transaction.TRANSITIONS[state] or request["state"] == "staged")
        self._before = self._seen() if late and not host.unwritten() and not self._is_over() else None

    def _is_over(self) -> bool:
        """Whether any run would first settle what is over."""
        return any(transaction.is_over(self._host.standing(identity)) for identity in self._host.open())

    def _seen(self) -> tuple:
        host = self._host
        return host.current, host.states(), len(host.journal), dict(host.holds), dict(host.releases)

    def __enter__(self) -> None:
        return

    def __exit__(self, kind: type[BaseException] | None, *_more: object) -> None:
        if kind is None and self._before is not None:
            assert self._seen() == self._before, "a late request changed something"


class Machine(RuleBasedStateMachine):
    """Random histories of a fleet."""

    def __init__(self) -> None:
        super().__init__()
        self.fleet = Fleet()
        self.taken: list[list[Any]] = []

    def _do(self, name: str, *arguments: Any) -> None:
        self.taken.append([name, *arguments])
        with self._shown():
            act(self.fleet, name, *arguments)
            self.fleet.check()

    @contextlib.contextmanager
    def _shown(self):
        """Show the history when it ends badly, in the form of the cases that are kept."""
        try:
            yield
        except Exception:
            note(json.dumps(self.taken))
            raise

    @initialize(running=FLAGS)
    def begin(self, running):
        if running:
            self._do("start", 0, 0, 0, 0, 0)
            self._do("smooth", 0, 11)

    @rule(slot=st.integers(0, 1), action=NUMBERS, bundle=st.integers(0, 2), terms=NUMBERS, skew=st.integers(0, 3))
    def start(self, slot, action, bundle, terms, skew):
        self._do("start", slot, action, bundle, terms, skew)

    @precondition(lambda self: any(self.fleet.controllers))
    @rule(slot=st.integers(0, 1), give_up=FLAGS)
    def go_on(self, slot, give_up):
        self._do("go_on", slot, give_up)

    @precondition(lambda self: any(self.fleet.controllers))
    @rule(slot=st.integers(0, 1), phases=st.integers(1, 11))
    def smooth(self, slot, phases):
        self._do("smooth", slot, phases)

    @precondition(lambda self: any(self.fleet.controllers))
    @rule(slot=st.integers(0, 1))
    def kill(self, slot):
        self._do("kill", slot)

    @precondition(lambda self: self.fleet.requests)
    @rule(index=NUMBERS, luck=NUMBERS, steps=st.integers(0, 20), twice=FLAGS)
    def deliver(self, index, luck, steps, twice):
        self._do("deliver", index, luck, steps, twice)

    @precondition(lambda self: self.fleet.replies)
    @rule(index=NUMBERS)
    def bring(self, index):
        self._do("bring", index)

    @precondition(lambda self: self.fleet.requests or self.fleet.replies)
    @rule(index=NUMBERS, reply=FLAGS)
    def lose(self, index, reply):
        self._do("lose", index, reply)

    @precondition(lambda self: self.fleet.busy())
    @rule(index=st.integers(0, 2), which=NUMBERS, steps=st.integers(1, 20))
    def walk(self, index, which, steps):
        self._do("walk", index, which, steps)

    @precondition(lambda self: self.fleet.busy())
    @rule(index=st.integers(0, 2), which=NUMBERS, refused=FLAGS)
    def break_off(self, index, which, refused):
        self._do("break_off", index, which, refused)

    @rule(index=st.integers(0, 2), steps=st.integers(0, 20))
    def reboot(self, index, steps):
        self._do("reboot", index, steps)

    @rule(seconds=st.integers(1, 12))
    def pass_time(self, seconds):
        self._do("pass_time", seconds)

    @precondition(lambda self: self.fleet.busy())
    @rule(index=st.integers(0, 2))
    def deadmen(self, index):
        self._do("deadmen", index)

    @rule(index=st.integers(0, 2))
    def break_way_back(self, index):
        self._do("break_way_back", index)

    def teardown(self):
        with self._shown():
            self.fleet.finish()


def act(found: Fleet, name: str, *arguments: Any) -> None:
    """Have one event of a history happen."""
    if name == "start":
        slot, action, bundle, terms, skew = arguments
        found.start(slot, found.new_wish(
            ACTIONS[action % len(ACTIONS)], bundle=f"bundle {bundle}", terms=TERMS[terms % len(TERMS)],
            skew=SKEWS[skew], lift_hold=bool(action % 2),
        ))  # fmt: skip
    elif name == "deliver":
        index, luck, steps, twice = arguments
        found.deliver(index, LUCK[luck % len(LUCK)], steps, twice)
    elif name == "break_way_back":
        host = found.hosts[model.HOSTS[arguments[0]]]
        host.way_back_breaks = not host.way_back_breaks
    else:
        getattr(found, name)(*arguments)


@pytest.mark.guarantee("M1")
@pytest.mark.parametrize("events", CASES.values(), ids=CASES)
def test_a_history_that_once_ended_badly(events):
    found = Fleet()
    for event in events:
        act(found, *event)
        found.check()
    found.finish()


def test_no_history_of_a_fleet_breaks_what_is_promised():
    tried = [0]

    class Counted(Machine):
        def teardown(self):
            tried[0] += 1
            super().teardown()

    run_state_machine_as_test(Counted, settings=settings(
        max_examples=EXAMPLES, stateful_step_count=60, deadline=None, database=None, derandomize=not LONG,
        suppress_health_check=list(HealthCheck), print_blob=True,
    ))  # fmt: skip
    guarantees.tell("M1", tried[0], tried[0], f"{tried[0]} random histories")
    assert tried[0] >= EXAMPLES
