# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hosts and controllers without files, processes and networks: who does what in which order, as the engine and the
playbooks do it. What may be done is decided by the functions that these call, too.

A run on a host is a generator that stops before every effect, so that it can be ended there, or others act in between.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Generator, Iterator, Mapping
from typing import Any

from ansible_collections.tetra.platform.plugins.module_utils.model import (
    fleet,
    health,
    history,
    journal,
    plan,
    recovery,
    rollback,
    transaction,
)
from ansible_collections.tetra.platform.plugins.module_utils.model.errors import REFUSED, TetraError
from ansible_collections.tetra.platform.plugins.plugin_utils import planning, progress

HOSTS = ("a", "b", "c")
WAIT = "wait"
"""What a run says that can do nothing now: somebody holds the lock, or a lease runs."""
LOOK = {"state": "look"}
LOST = {"failed": True, "msg": "the host did not answer", "code": transaction.UNCONFIRMED}

_LOCK_TIMEOUT = 30.0
_EPOCH = 1767225600
_SWITCHED = ((transaction.ARMED, transaction.ACTIVATED), (transaction.ACTIVATED, transaction.PROBING))
_EXPIRED = {"reason": "the lease ended", "verdict": False}

Answer = dict[str, Any]
Steps = Generator[str, None, Any]


class Clock:
    """The one clock of all."""

    def __init__(self) -> None:
        self.now = 0.0


@dataclasses.dataclass
class Transaction:
    """What a host keeps of a transaction."""

    record: Mapping[str, Any]
    state: str = transaction.STAGED
    deadline: float = 0.0
    limit: float = 0.0
    boot: int = 0
    proven: bool = False
    decision: Mapping[str, Any] | None = None
    holder: Run | None = None


class Run:
    """One run on a host, or its deadman.

    :param luck: what becomes of services that it starts: a verdict of ``health``, or ``broken`` when they cannot be
        started.
    :param watches: the transaction whose deadman it is.
    """

    def __init__(self, luck: str = health.HEALTHY, watches: str = "") -> None:
        self.luck = luck
        self.watches = watches
        self.steps: Steps = iter(())  # type: ignore[assignment]
        self.answer: Answer | None = None


class Host:
    """A host."""

    def __init__(self, name: str, clock: Clock) -> None:
        self.name, self.clock = name, clock
        self.boot = 1
        self.current: str | None = None
        self.transactions: dict[str, Transaction] = {}
        self.journal: list[dict[str, Any]] = []
        self.holds: dict[str, Mapping[str, Any]] = {}
        self.releases: dict[str, str] = {}
        self.runs: list[Run] = []
        self.lock: Run | None = None
        self.way_back_breaks = False
        self.moved: list[tuple[str, str, str]] = []

    # What is there.

    def states(self) -> dict[str, str]:
        """Every transaction and its state, as file names say it."""
        return {identity: self.transactions[identity].state for identity in sorted(self.transactions)}

    def open(self) -> list[str]:
        """The transactions that are open."""
        return [identity for identity, state in self.states().items() if state in transaction.OPEN]

    def standing(self, identity: str) -> transaction.Standing:
        """How a transaction stands."""
        found = self.transactions[identity]
        runs = found.boot == self.boot and found.deadline > self.clock.now
        return transaction.Standing(found.state, runs, found.proven)

    def unwritten(self) -> list[str]:
        """What ended and is not in the journal."""
        return transaction.unwritten(self.states(), {record.get("transaction") for record in self.journal})

    def observed(self) -> Answer:
        """What an operation tells of this host."""
        opened = self.open()
        found = self.transactions[opened[0]] if opened else None
        confirmed = [record for record in self.journal if record.get("outcome") == transaction.CONFIRMED]
        confirmed += [{**self.transactions[name].record, "transaction": name} for name in self.unwritten()
                      if self.transactions[name].state == transaction.CONFIRMED]
        return {
            "current": self.current,
            "bundle": self.releases.get(self.current or ""),
            "epoch": len(self.journal),
            "head": journal.head(self.journal),
            "transaction": {"id": opened[0], "state": found.state, "actor": "test", "age": 0.0,
                            "decision": found.decision} if found else None,
            "staged": [name for name, state in self.states().items() if state == transaction.STAGED],
            "history": [{"release": one["to"], "transaction": one["transaction"]} for one in confirmed],
            "holds": dict(self.holds),
            "removed": {},
            "releases": {name: {"bundle": bundle} for name, bundle in self.releases.items()},
            "services": {"one": {"digest": self.current, "running": True, "stopped": False}} if self.current else {},
            "drift": [],
        }  # fmt: skip

    def told(self) -> history.Journal:
        """What it tells of its journal."""
        return history.Journal(self.journal, None, self.current, bool(self.open()))

    # What a run does.

    def begin(self, request: Mapping[str, Any], luck: str = health.HEALTHY) -> Run:
        """A new run that carries out a request."""
        run = Run(luck)
        run.steps = getattr(self, f"_{request['state']}")(run, request)
        self.runs.append(run)
        return run

    def _look(self, run: Run, request: Mapping[str, Any]) -> Steps:
        yield "look"
        return self.observed()

    def _staged(self, run: Run, request: Mapping[str, Any]) -> Steps:
        identity, record = request["transaction"], request["stage"]["plan"]
        part = record["hosts"][self.name]
        yield from self._locked(run)
        yield from self._settle(run)
        self._check_no_open()
        _check(identity not in self.transactions, "it was staged before")
        for other, state in self.states().items():
            _check(state != transaction.STAGED or other in request["stage"]["seen"], "another was staged since")
        self._check_base(part)
        if record["bundle"] in self.holds:
            _check(request["stage"]["lift_hold"], "it is on hold")
            yield "journal"
            last = self.journal[-1] if self.journal else None
            self.journal.append(journal.append(last, {"kind": "hold_lifted", "bundle": record["bundle"]}))
            yield "lift"
            del self.holds[record["bundle"]]
        for other, state in self.states().items():
            if state == transaction.STAGED:
                yield "abort"
                self._move(other, state, transaction.ABORTED)
        yield "store"
        self.releases[record["release"]] = record["bundle"]
        yield "create"
        self.transactions[identity] = Transaction({
            "from": part["from"], "to": record["release"], "bundle": record["bundle"], "action": record["action"],
            "from_bundle": self.releases.get(part["from"] or ""), "batches": len(record["batches"]),
            "lease": request["stage"]["lease"], "heads": request["stage"]["heads"],
        })  # fmt: skip
        self.lock = None
        return {"state": transaction.STAGED}

    def _active(self, run: Run, request: Mapping[str, Any]) -> Steps:
        identity = request["transaction"]
        yield from self._locked(run)
        yield from self._settle(run)
        found = self._load(identity)
        _check(found.state == transaction.STAGED, f"it is {found.state}")
        self._check_no_open()
        _check(self.current == found.record["from"], "the base moved")
        _check(found.record["to"] in self.releases, "the release is gone")
        yield from self._arm(run, identity, found)
        if run.luck == "broken":
            self.lock = None
            return (yield from self._reverted(run, identity, {"reason": "it does not start", "verdict": True}))
        yield "point"
        self.current = found.record["to"]
        for state, following in _SWITCHED:
            yield following
            self._move(identity, state, following)
        self.lock = None
        yield "probe"
        if found.state != transaction.PROBING:
            return self._result(identity)
        if run.luck != health.HEALTHY or not self.standing(identity).runs:
            cause = {"reason": "it is not well", "verdict": run.luck == health.FAILED}
            return (yield from self._reverted(run, identity, cause))
        yield "prove"
        found.proven = True
        return self._result(identity)

    def _arm(self, run: Run, identity: str, found: Transaction) -> Steps:
        yield "lease"
        found.holder, found.boot = run, self.boot
        found.deadline = self.clock.now + found.record["lease"]
        found.limit = self.clock.now + transaction.longest(found.record["lease"], found.record["batches"])
        self.watch(identity)
        yield "arm"
        self._move(identity, transaction.STAGED, transaction.ARMED)

    def _renewed(self, run: Run, request: Mapping[str, Any]) -> Steps:
        return (yield from self._wait_on(run, request["transaction"], None))

    def _decided(self, run: Run, request: Mapping[str, Any]) -> Steps:
        return (yield from self._wait_on(run, request["transaction"], request["decision"]))

    def _wait_on(self, run: Run, identity: str, decision: Mapping[str, Any] | None) -> Steps:
        yield from self._locked(run)
        yield from self._settle_open()
        found = self._load(identity)
        if transaction.may_wait(self.standing(identity)):
            yield "renew"
            found.deadline = min(self.clock.now + found.record["lease"], found.limit)
            if decision:
                yield "decide"
                found.decision = decision
        self.lock = None
        return self._result(identity)

    def _unmoved(self, run: Run, request: Mapping[str, Any]) -> Steps:
        yield from self._locked(run)
        self._check_no_open()
        self._check_base(request["base"])
        self.lock = None
        return {"state": transaction.UNMOVED, "release": self.current}

    def _confirmed(self, run: Run, request: Mapping[str, Any]) -> Steps:
        identity = request["transaction"]
        yield from self._locked(run)
        yield from self._settle_open()
        self._load(identity)
        if transaction.may_confirm(self.standing(identity)):
            yield "confirm"
            self._move(identity, transaction.PROBING, transaction.CONFIRMED)
        if self.transactions[identity].state == transaction.CONFIRMED and identity in self.unwritten():
            yield from self._finish_confirmed(identity)
        self.lock = None
        begun = self.clock.now
        while self.transactions[identity].state in transaction.OPEN and self.clock.now < begun + _LOCK_TIMEOUT:
            yield WAIT
        return self._result(identity)

    def _observed(self, run: Run, request: Mapping[str, Any]) -> Steps:
        yield "look"
        self._load(request["transaction"])
        return self._result(request["transaction"])

    def _rolled_back(self, run: Run, request: Mapping[str, Any]) -> Steps:
        found = self._load(request["transaction"])
        yield from self._take_back(run, request["transaction"], request["cause"])
        if found.state == transaction.STAGED:
            return (yield from self._aborted(run, request))
        return self._result(request["transaction"])

    def _reverted(self, run: Run, identity: str, cause: Mapping[str, Any]) -> Steps:
        yield from self._take_back(run, identity, cause)
        return self._result(identity)

    def _aborted(self, run: Run, request: Mapping[str, Any]) -> Steps:
        identity = request["transaction"]
        yield from self._locked(run)
        if self._load(identity).state == transaction.STAGED:
            yield "abort"
            self._move(identity, transaction.STAGED, transaction.ABORTED)
        self.lock = None
        return self._result(identity)

    # What runs do together.

    def _take_back(self, run: Run, identity: str, cause: Mapping[str, Any]) -> Steps:
        yield "claim"
        self._claim(identity)
        yield from self._locked(run)
        if self.transactions[identity].state == transaction.ROLLING_BACK:
            yield from self._finish_revert(identity, cause)
        self.lock = None

    def _claim(self, identity: str) -> bool:
        state = self.transactions[identity].state
        if state in transaction.REVERTIBLE:
            self._move(identity, state, transaction.ROLLING_BACK)
        return self.transactions[identity].state == transaction.ROLLING_BACK

    def _finish_revert(self, identity: str, cause: Mapping[str, Any]) -> Steps:
        record = self.transactions[identity].record
        yield "point back"
        self.current = record["from"]
        broken = self.way_back_breaks or record["from"] not in {None, *self.releases}
        state = transaction.ROLLBACK_FAILED if broken else transaction.ROLLED_BACK
        if cause["verdict"]:
            yield "hold"
            self._hold(record["bundle"], identity, cause["reason"])
        yield "journal"
        self._write(identity, state)
        yield state
        self._move(identity, transaction.ROLLING_BACK, state)

    def _finish_confirmed(self, identity: str) -> Steps:
        record = self.transactions[identity].record
        if record["action"] == "rollback" and record["from_bundle"]:
            yield "hold"
            self._hold(record["from_bundle"], identity, "rolled back")
        yield "journal"
        self._write(identity, transaction.CONFIRMED)
        yield "retain"
        confirmed = [one["to"] for one in self.journal if one.get("outcome") == transaction.CONFIRMED]
        kept = {*list(dict.fromkeys(reversed(confirmed)))[:2], self.current}
        self.releases = {name: bundle for name, bundle in self.releases.items() if name in kept}

    def _settle_open(self) -> Steps:
        for identity in self.open():
            if transaction.is_over(self.standing(identity)):
                yield "claim"
                self._claim(identity)
                yield from self._finish_revert(identity, _EXPIRED)

    def _settle(self, run: Run) -> Steps:
        yield from self._settle_open()
        for identity in self.unwritten():
            if self.transactions[identity].state == transaction.CONFIRMED:
                yield from self._finish_confirmed(identity)
            else:
                yield "journal"
                self._write(identity, self.transactions[identity].state)

    def watch(self, identity: str) -> None:
        """Start a deadman."""
        run = Run(watches=identity)
        run.steps = self._deadman(run, identity)
        self.runs.append(run)

    def _deadman(self, run: Run, identity: str) -> Steps:
        found = self.transactions[identity]
        while transaction.TRANSITIONS[found.state]:
            if found.state == transaction.STAGED and not self.standing(identity).runs and self.lock is None:
                self.lock = run
                yield "abort"
                self._move(identity, transaction.STAGED, transaction.ABORTED)
                self.lock = None
            elif transaction.is_over(self.standing(identity)):
                yield from self._expire(run, identity)
            else:
                yield WAIT

    def _expire(self, run: Run, identity: str) -> Steps:
        yield "claim"
        if self._claim(identity):
            yield "end the holder"
            holder = self.transactions[identity].holder
            if holder and holder in self.runs:
                self.end(holder)
        yield from self._take_back(run, identity, _EXPIRED)

    def _locked(self, run: Run) -> Steps:
        begun = self.clock.now
        while self.lock is not None:
            _check(self.clock.now < begun + _LOCK_TIMEOUT, "another run holds the lock")
            yield WAIT
        self.lock = run

    def _check_no_open(self) -> None:
        _check(not self.open(), "a transaction is open")

    def _check_base(self, part: Mapping[str, Any]) -> None:
        _check((self.current, len(self.journal)) == (part["from"], part["epoch"]), "the base moved")

    def _load(self, identity: str) -> Transaction:
        _check(identity in self.transactions, "this host knows no such transaction")
        return self.transactions[identity]

    def _move(self, identity: str, state: str, following: str) -> bool:
        assert transaction.may_follow(state, following), (identity, state, following)
        if self.transactions[identity].state != state:
            return False
        self.transactions[identity].state = following
        self.moved.append((identity, state, following))
        return True

    def _hold(self, bundle: str, identity: str, reason: str) -> None:
        self.holds.setdefault(bundle, {"transaction": identity, "reason": reason, "check": ""})

    def _write(self, identity: str, outcome: str) -> None:
        found = self.transactions[identity]
        if any(record.get("transaction") == identity for record in self.journal):
            return
        together = (found.decision or {}).get("hosts", []) if outcome == transaction.CONFIRMED else []
        self.journal.append(journal.append(self.journal[-1] if self.journal else None, {
            "kind": "transaction", "transaction": identity, "outcome": outcome, "from": found.record["from"],
            "to": found.record["to"], "bundle": found.record["bundle"], "heads": found.record["heads"],
            "hosts": together,
        }))  # fmt: skip

    def _result(self, identity: str) -> Answer:
        return {"state": self.transactions[identity].state, "release": self.current}

    # What happens to it.

    def step(self, run: Run, refused: bool = False) -> str:
        """Have a run do what it stopped before, and go on to the next effect.

        :param refused: the disk refuses what the run would do.
        :returns: what that next effect is, or nothing when the run has come to its end.
        """
        try:
            return run.steps.throw(TetraError("the disk is full", code=REFUSED)) if refused else next(run.steps)
        except StopIteration as end:
            run.answer = end.value
        except TetraError as error:
            run.answer = {"failed": True, "msg": str(error), "code": error.code}
            if run.watches:
                # Its supervisor starts it again.
                self.watch(run.watches)
        self.end(run)
        return ""

    def end(self, run: Run) -> None:
        """Kill a run; the kernel frees its lock."""
        self.runs.remove(run)
        if self.lock is run:
            self.lock = None

    def reboot(self) -> Run:
        """Lose everything that runs; the run that settles what was interrupted."""
        watched = [run.watches for run in self.runs if run.watches]
        for run in list(self.runs):
            self.end(run)
        self.boot += 1
        settling = self.settling()
        # Deadmen are started again as well, beside it.
        for identity in watched:
            self.watch(identity)
        return settling

    def settling(self) -> Run:
        """A run that settles what was interrupted."""
        run = Run()
        run.steps = self._boot(run)
        self.runs.append(run)
        return run

    def _boot(self, run: Run) -> Steps:
        for identity in self.open():
            if transaction.is_over(self.standing(identity)):
                yield from self._expire(run, identity)
        yield from self._locked(run)
        yield from self._settle(run)
        self.lock = None


def _check(holds: object, message: str) -> None:
    if not holds:
        raise TetraError(message, code=REFUSED)


Asked = Mapping[str, Mapping[str, Any]]
Report = tuple[str, dict[str, str]]
Script = Generator[Asked, Mapping[str, Answer], Report]


@dataclasses.dataclass(frozen=True)
class Wish:
    """What somebody asks a controller for.

    :param action: push, rollback, resume or abort.
    :param identity: the transaction that it will be.
    """

    action: str
    identity: str
    bundle: str = ""
    terms: fleet.Terms = fleet.Terms()
    lease: float = 10.0
    lift_hold: bool = False


def identity(now: float, number: int) -> str:
    """A transaction id that a controller makes by its own clock."""
    return f"{time.strftime('%Y%m%dt%H%M%S', time.gmtime(_EPOCH + now))}-{number:08x}"


def controller(wish: Wish) -> Script:
    """A run of a playbook: a generator of what hosts are asked, which is sent their answers.

    :returns: the outcome of the run, and those of its hosts.
    """
    answers = yield dict.fromkeys(HOSTS, LOOK)
    try:
        observed = planning.answered(answers)
        if wish.action in ("resume", "abort"):
            return (yield from _recover(wish, observed))
        return (yield from _deploy(wish, observed, {}))
    except TetraError as error:
        return error.code, {}


def _recover(wish: Wish, observed: Mapping[str, Any]) -> Script:
    settle = recovery.give_up if wish.action == "abort" else recovery.settle
    cause = {"reason": "given up", "verdict": False}
    steps = {host: {**step, "cause": cause} for host, step in settle(observed).items()}
    answers = yield steps
    settled = {host: progress.settled(answers.get(host, {})) for host in HOSTS}
    if wish.action == "abort":
        return _told(wish, {host: found or {"outcome": transaction.UNCHANGED} for host, found in settled.items()})
    answers = yield dict.fromkeys(HOSTS, LOOK)
    return (yield from _deploy(wish, planning.answered(answers), settled))


def _deploy(wish: Wish, observed: Mapping[str, Any], settled: Mapping[str, Answer]) -> Script:
    if wish.action == "resume":
        release = recovery.target(observed)
        bundle = observed[recovery.origin(observed)]["releases"][release]["bundle"]
    elif wish.action == "rollback":
        release = rollback.target(observed)
        bundle = observed["a"]["releases"][release]["bundle"]
    else:
        bundle, release = wish.bundle, f"release of {wish.bundle}"
    if not wish.lift_hold:
        plan.check_movable(observed, bundle)
    desired = plan.Desired(
        "acme", "dev", wish.action, bundle, release, {"one": release}, dict.fromkeys(HOSTS, ["one"]), {}, {},
        terms=wish.terms,
    )  # fmt: skip
    record = plan.plan(observed, desired)
    unchanged = {host: {"outcome": transaction.UNCHANGED} for host in HOSTS}
    if plan.unchanged(record):
        return _told(wish, {**unchanged, **{host: found for host, found in settled.items() if found}})
    moved = yield from _move(wish, record, observed)
    still = {host: settled[host] for host in settled if host not in moved and settled[host]}
    return _told(wish, {**unchanged, **still, **moved})


def _move(wish: Wish, record: Mapping[str, Any], observed: Mapping[str, Answer]) -> Script:
    moving = sorted(host for batch in record["batches"] for host in batch)
    heads = {host: answer["head"] for host, answer in observed.items()}
    stage = {"plan": record, "lease": wish.lease, "heads": heads, "lift_hold": wish.lift_hold}
    common = {"transaction": wish.identity, "cause": {"reason": "the run failed", "verdict": False}}
    so_far: dict[str, Any] = {"steps": dict.fromkeys(moving, "staged"), "asked": {}, "heard": {}, "begun": 0}
    answers = yield {host: {**common, "state": "staged", "stage": {**stage, "seen": observed[host]["staged"]}}
                     for host in moving}
    for phase, batch in _phases(record):
        so_far = progress.advance(record, so_far, answers, phase, batch)
        if phase in ("read", "again") and not so_far["steps"]:
            break
        told = sorted(host for host, step in so_far["steps"].items() if step == fleet.DECIDE)
        answers = yield {host: {**common, "state": state, "decision": {"decision": "commit", "hosts": told},
                                "base": record["hosts"][host]} for host, state in so_far["steps"].items()}
    heard = progress.collect(so_far["heard"], answers, so_far["steps"])
    return {host: {"outcome": progress.outcome(found)} for host, found in heard.items()}


def _phases(record: Mapping[str, Any]) -> Iterator[tuple[str, int]]:
    yield from (("switch", number) for number in range(len(record["batches"])))
    yield from ((phase, 0) for phase in ("decide", "end", "read", "again"))


def _told(wish: Wish, hosts: Mapping[str, Answer]) -> Report:
    outcomes = {host: found["outcome"] for host, found in hosts.items()}
    return progress.fleet_outcome(wish.action, outcomes.values()), outcomes
