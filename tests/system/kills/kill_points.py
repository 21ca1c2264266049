# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A host whose own process is killed, or whose disk refuses, at the calls by which it changes files.

It needs little beside the collection, so that it can also be run as a program on a host that systemd started, where
standard input says what to do: ``python3 -m system.kills.kill_points FOLDER TETRA_DIR``.
"""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import itertools
import json
import os
import random
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from ansible_collections.tetra.platform.plugins.module_utils.host import (
    engine,
    keys,
    observation,
    store,
    transactions,
)
from ansible_collections.tetra.platform.plugins.module_utils.host.operations import preparation
from ansible_collections.tetra.platform.plugins.module_utils.host.scope import open_scope
from ansible_collections.tetra.platform.plugins.module_utils.host.supervisors.base import SYSTEMD
from ansible_collections.tetra.platform.plugins.module_utils.model import pack, plan, release, transaction
from ansible_collections.tetra.platform.plugins.plugin_utils import bundle, host_code, source

from .. import invariants, strace

T = TypeVar("T")
# Long enough for a machine with much else to do; it is said to be over when it is of no use any more.
LEASE, GRACE = 60.0, 60.0
SHORT_LEASE = 12.0
SECRET = "open-sesame-4711"
API = """\
TSM_COMMAND='exec python3 -m http.server $PORT --bind 127.0.0.1 --directory ${TETRA_RELEASE_DIR}/files/api'
TSM_PORT=auto
TSM_HEALTH_CHECK=http://127.0.0.1:${TSM_PORT}/page
TSM_MIN_HEALTHY=0s
export KEY=${secret:KEY}
"""
WORKER = "TSM_COMMAND='sleep 600'\nTSM_PORT=auto\nTSM_MIN_HEALTHY=0s\n"
# Several workers may do this at once.
_FIRST = 20000 + os.getpid() % 2000 * 4
_API, _WORKER = {"api": _FIRST}, {"worker": _FIRST + 2}
ORGS: Mapping[str, tuple[Mapping[str, int], str]] = {
    "a": (_API, "TSM_STOP_TIMEOUT=8s\n"),
    "b": ({"api": _FIRST + 1, **_WORKER}, "TSM_STOP_TIMEOUT=9s\n"),
}
"""Organizations by name: ports by service, and what else the definition of the API says.

The release that goes out has another page, another port, another unit, and a service less or more.
"""
STEPS = {
    "staged": ["staged"],
    "active": ["staged", "active"],
    "confirmed": ["staged", "active", "confirmed"],
    "rolled_back": ["staged", "active", "rolled_back"],
    "expired": ["staged", "active", "expired"],
}
"""What is put to the test, and the steps that lead to it; ``expired`` is the run of the deadman."""
ERRORS = ("ENOSPC", "EIO", "EROFS", "EDQUOT")
# After one of so many kills of an activation the real end of a short lease is waited for.
_PATIENT = 20


@dataclasses.dataclass
class Report:
    """What became of a host that something was done to again and again.

    ``before`` says how many of all points lie before the switch; ``missed`` how often the fault was not seen to happen
    in two attempts, which does not count as a try.
    """

    points: int
    before: int = 0
    tried: int = 0
    held: int = 0
    missed: int = 0
    problem: str = ""

    def fill(self, fault: str, known: Sequence[strace.Point], count: int, holds: Callable[[strace.Point, int], bool]):
        """Try points until one does not hold.

        :param known: all points.
        :param count: how many are tried; 0 for all, then with each of the errors.
        :param holds: called with a point and a number that says which error comes; whether the fault was seen to
            happen. It raises when the host is not as it has to be.
        """
        errors = len(ERRORS) if fault == "refused" and not count else 1
        for number, point in enumerate(evenly([point for point in known for _error in range(errors)], count)):
            try:
                # What an attempt finds to remove is not the same each time, and so not all of its calls come.
                hit = holds(point, number) or holds(point, number)
            except Exception:
                self.tried += 1
                self.problem = f"{fault} ({number}) at {point}\n{traceback.format_exc()}"
                return
            self.tried += hit
            self.held += hit
            self.missed += not hit

    def figures(self, what: str) -> str:
        """As text for the table of the guarantees."""
        arming = f", {self.before} of them before the switch" if self.before else ""
        missed = f", {self.missed} did not come" if self.missed else ""
        return f"{what} {self.held} of {self.tried} at {self.points} points{arming}{missed}"

    def mostly_tried(self) -> bool:
        """Whether most faults were seen; what earlier runs left to be removed is not the same for each run."""
        return self.missed <= max(1, 0.25 * self.tried)


@dataclasses.dataclass(frozen=True)
class Run:
    """A program of the host: its command line, and what it reads."""

    command: Sequence[str]
    request: str = ""
    state: str = ""

    def __call__(self) -> None:
        """Let it come to its end, which has to be ``state``."""
        done = subprocess.run(self.command, input=self.request, capture_output=True, text=True, check=True)
        assert json.loads(done.stdout)["result"]["state"] == self.state, done.stdout


class Host:
    """A prepared host whose environment goes from one release to another and back.

    :param folder: where its organizations are written.
    :param supervisor: what keeps its services alive.
    :param root: its ``tetra_dir``.
    """

    def __init__(self, folder: Path, supervisor: str, root: str) -> None:
        self.folder = folder
        self._numbers = itertools.count(1)
        self.supervisor = supervisor
        self._prepared = {
            "tetra_dir": root, "state": "present", "supervisor": supervisor, "supervisord": None, "address": None,
            "version": host_code.version(), "check": False,
            "code": base64.b64encode(host_code.zipapp()).decode("ascii"),
        }  # fmt: skip
        preparation.agent(self._prepared)
        self.scope = open_scope(root, "acme", "dev")
        self.scope.environment.prepare()
        self.places = invariants.places(self.scope)
        self.releases: dict[str, str] = {}
        self.answer: dict = {}
        self.ports: dict[str, Mapping[str, int]] = {}

    def down(self) -> None:
        """Stop everything that runs."""
        preparation.agent({**self._prepared, "state": "stopped"})

    def write_org(self, name: str, ports: Mapping[str, int], more: str) -> None:
        """Make an organization out of which a release can be made."""
        self.ports[name] = ports
        org = self.folder / name / "acme"
        (org / "services").mkdir(parents=True, exist_ok=True)
        (org / "services" / "api.tsm").write_text(API + more)
        if "worker" in ports:
            (org / "services" / "worker.tsm").write_text(WORKER)
        (org / "files" / "api").mkdir(parents=True, exist_ok=True)
        (org / "files" / "api" / "page").write_text(f"page {name}\n")
        (org / "files" / "api" / "large").write_bytes(random.Random(name).randbytes(200_000))

    @property
    def current(self) -> str | None:
        """The release that runs."""
        return store.current(self.scope.environment)

    @property
    def other(self) -> str:
        """The organization whose release does not run."""
        return "b" if self.current == self.releases.get("a") else "a"

    def stage_request(self, name: str, keep: int = 2, lease: float = LEASE) -> dict:
        """What a controller sends to stage a release, after it looked at the host."""
        origin = source.read(self.folder / name / "acme")
        known = keys.digests(self.scope.home, {"KEY": SECRET})
        services = bundle.services(origin, "dev")
        built = bundle.build(origin, "dev", services, self.ports[name], known["digests"], known["key"])
        manifest = built.manifest
        self.releases[name] = release.digest(manifest)
        names = sorted(manifest["services"])
        desired = plan.Desired(
            "acme", "dev", "push", origin.digest, self.releases[name],
            {one: entry["digest"] for one, entry in manifest["services"].items()}, {"here": names}, self.ports[name],
            manifest["secrets"],
        )  # fmt: skip
        contents = {file.entry["sha256"]: file.read() for file in origin.files.values() if file.read}
        index = pack.header((digest, len(data)) for digest, data in contents.items())
        observed = observation.observe(self.scope)
        return {
            "plan": plan.plan({"here": observed}, desired), "host": "here",
            "bundle": origin.manifest, "manifest": manifest, "pack": None,
            "pack_bytes": base64.b64encode(index + b"".join(contents.values())).decode("ascii"), "services": names,
            "secrets": {"KEY": SECRET}, "actor": "test", "reason": "", "lift_hold": "a test", "lease": lease,
            "probe": {"passes": 1, "spacing": 0.1}, "keep": keep, "pinned": [], "heads": {}, "seen": observed["staged"],
        }  # fmt: skip

    def identity(self) -> str:
        """The name of a new transaction; it comes after all others."""
        return f"{time.strftime('%Y%m%dt%H%M%S')}-{next(self._numbers):08x}"

    def runs(self, step: str, name: str = "", verdict: bool = False, **terms: float) -> list[Run]:
        """The runs of the host that lead to a step and through it.

        :param name: the organization whose release goes out; else that which does not run.
        :param verdict: whether it is taken back for what it is, so that it gets on hold.
        :param terms: as :meth:`stage_request` takes them.
        """
        identity = self.identity()
        agent = os.path.join(self.scope.home.bin, "tsm")
        common = {"tetra_dir": self.scope.home.root, "org": "acme", "env": "dev", "transaction": identity}
        more = {"staged": {"stage": self.stage_request(name or self.other, **terms)},
                "rolled_back": {"cause": {"reason": "a test", "verdict": verdict}}}
        ends = {"active": transaction.PROBING}
        made = [
            Run([agent, "run", "release"], json.dumps({**common, "state": state, **more.get(state, {})}),
                ends.get(state, state))
            for state in STEPS[step] if state != "expired"
        ]  # fmt: skip
        deadman = Run([agent, "deadman", self.scope.home.root, "acme", "dev", identity])
        return [*made, deadman] if step == "expired" else made

    def push(self, name: str = "", step: str = "confirmed", **terms: float) -> None:
        """Bring a release to the host, from its staging to its confirmation or to another step."""
        for run in self.runs(step, name, **terms):
            run()

    def open(self) -> list[transactions.Transaction]:
        """The transactions that are between two releases."""
        return transactions.in_states(self.scope.environment, transaction.OPEN)

    def expire(self) -> None:
        """Say that the leases of open transactions are over, and have systemd start what their timers would start."""
        for one in self.open():
            end_lease(self, one.identity)
            if self.supervisor == SYSTEMD:
                unit = f"{self.scope.deadman_unit(one.identity)}.service"
                subprocess.run(["systemctl", "start", "--no-block", unit], check=True)

    def settle(self, patient: bool = False) -> None:
        """Wait until the host has settled by itself, and do what every next run begins with.

        :param patient: whether leases are left to end by themselves.
        """
        if not patient:
            self.expire()
        end = time.monotonic() + LEASE + GRACE
        while self.open():
            assert time.monotonic() < end, f"the host did not settle by itself: {self._deadmen()}"
            time.sleep(0.02)
        self._age()
        with engine.locked(self.scope):
            engine.settle(self.scope)

    def _deadmen(self) -> dict[str, tuple[str, str]]:
        """What became of the deadmen of open transactions, and what they said last."""
        units = {self.scope.deadman_unit(one.identity): one.state for one in self.open()}
        states = self.scope.supervisor.states(units)
        return {unit: (f"{state}, {states[unit]}", self.scope.supervisor.tail(unit, 2000))
                for unit, state in units.items()}

    def _age(self) -> None:
        """Let what was left half-written be a day old."""
        for path in invariants.half_written(self.scope):
            # A deadman that closed its transaction may still be at work, and finish such a file.
            with contextlib.suppress(FileNotFoundError):
                os.utime(path, (time.time() - 86400,) * 2, follow_symlinks=False)

    def deadman(self) -> int | None:
        """The process that waits for the end of a lease; None while it is a timer that does."""
        units = [self.scope.deadman_unit(one.identity) for one in self.open()]
        return next((state.pid for state in self.scope.supervisor.states(units).values()), None)

    def problems(self, expected: set[str | None]) -> list[str]:
        """What is not as it has to be on a host that settled."""
        return [*invariants.broken(self.scope, expected, SECRET), *invariants.untidy(self.scope)]


@contextlib.contextmanager
def hosting(folder: Path, supervisor: str, root: str) -> Iterator[Host]:
    """A host, nothing of which runs any more when the block ends."""
    host = Host(folder, supervisor, root)
    try:
        yield host
    finally:
        host.down()


def push_both(host: Host) -> None:
    """Push the organizations of ``ORGS`` to a host, so that its release can go from one to the other."""
    for name, (ports, more) in ORGS.items():
        host.write_org(name, ports, more)
        host.push(name)


def evenly(things: Sequence, count: int) -> Sequence:
    """Some of many, at equal distances; all for 0."""
    if not count or count >= len(things):
        return things
    return [things[int((number + 0.5) * len(things) / count)] for number in range(count)]


def killed(host: Host, point: strace.Point, run: Run, _number: int) -> bool:
    """Kill a run at a point; whether it came to that."""
    done = strace.killed_at(run.command, point, run.request)
    return done.returncode in (-signal.SIGKILL, 128 + signal.SIGKILL)


def refused(host: Host, point: strace.Point, run: Run, number: int) -> bool:
    """Let the disk refuse a call of a run; whether it came to that. What the run answers has to be true."""
    log = host.folder / "refused.log"
    done = strace.failing_at(run.command, point, ERRORS[number % len(ERRORS)], run.request, log)
    assert "Traceback" not in done.stderr, done.stderr
    if run.request:
        host.answer = answer = json.loads(done.stdout)
        result = answer.get("result")
        assert result or answer["error"]["message"], answer
        if result and "release" in result:
            state = transactions.load(host.scope.environment, result["transaction"]).state
            assert (result["state"], result["release"]) == (state, host.current), answer
    return "(INJECTED)" in log.read_text()


FAULTS: Mapping[str, Callable[[Host, strace.Point, Run, int], bool]] = {"killed": killed, "refused": refused}


def end_lease(host: Host, identity: str) -> None:
    """Say that a lease is over; who holds the lock, as we do not, may sweep away what is half-written."""
    for last in (False, False, True):
        try:
            transactions.write_lease(host.scope.environment, identity, 0, 0)
            return
        except FileNotFoundError:
            if last:
                raise


@contextlib.contextmanager
def alone(host: Host) -> Iterator[None]:
    """Let a lease be over, and whoever waits for that stand still, so that another deadman can do its work."""
    waiting = host.deadman()
    if waiting:
        os.kill(waiting, signal.SIGSTOP)
    for one in host.open():
        end_lease(host, one.identity)
    try:
        yield
    finally:
        if waiting:
            os.kill(waiting, signal.SIGCONT)


def attempt(host: Host, step: str, act: Callable[[Run], T], lease: float = LEASE) -> T:
    """Bring a host to where a step begins, and do something with the run of that step."""
    *before, last = host.runs(step, lease=lease)
    for run in before:
        run()
    with alone(host) if step == "expired" else contextlib.nullcontext():
        return act(last)


def points(host: Host, step: str) -> list[strace.Point]:
    """The calls by which the run of a step changes files of the host."""
    found = attempt(host, step, lambda run: strace.calls(run.command, host.folder / "log", run.request))
    host.settle()
    return [point for point in found if point.below(*host.places) and not point.failed]


def matrix(host: Host, step: str, fault: str, count: int = 0) -> Report:
    """Let something go wrong in a step, at one point after the other, until something is not as it has to be.

    :param step: one of ``STEPS``.
    :param fault: one of ``FAULTS``.
    :param count: how many points are tried; 0 for all.
    """
    host.settle()
    begin = host.current
    known = points(host, step)
    switch = [number for number, point in enumerate(known) if point.paths()[-1] == host.scope.environment.current]
    report = Report(len(known), switch[0] if switch and step == "active" else 0)

    def holds(point: strace.Point, number: int) -> bool:
        if host.current != begin:
            # Each direction has points of its own.
            host.push()
        return _holds(host, step, fault, point, number)

    report.fill(fault, known, count, holds)
    if not report.problem:
        host.push()
    return report


def _holds(host: Host, step: str, fault: str, point: strace.Point, number: int) -> bool:
    """Let something go wrong at a point; whether it did. It raises when the host is not as it has to be."""
    old = host.current
    patient = (step, fault) == ("active", "killed") and number % _PATIENT == 2
    lease = SHORT_LEASE if patient else LEASE
    hit = attempt(host, step, lambda run: FAULTS[fault](host, point, run, number), lease)
    either = {old, *host.releases.values()}
    assert host.current in either, host.current
    assert invariants.watched(host.scope), "an open transaction is not watched"
    host.settle(patient)
    # A step that was not stopped may have come to its end.
    may_end = step == "confirmed" or fault == "refused"
    problems = host.problems(either if may_end else {old})
    assert not problems, problems
    return hit


def disorder(host: Host, step: str) -> list[str]:
    """What a loss of power could take of a step whose run has answered already."""
    names = [*strace.CHANGING, strace.CREATING]
    found = attempt(host, step, lambda run: strace.calls(run.command, host.folder / "log", run.request, names))
    host.settle()
    early = strace.early_answers(found, *host.places) if step != "expired" else []
    journal = {point.call for point in found if point.below(host.scope.environment.journal)}
    ends = step in ("confirmed", "rolled_back", "expired")
    told = [] if ({"write", "fsync"} <= journal) == ends else [f"its calls for the journal are {journal}"]
    return [*strace.unsynced(found, *host.places), *early, *told]


def serve(host: Host) -> None:
    """Call for a new host what standard input says, a line each: name and arguments, as JSON.

    Printed is, as JSON, what it returned and what went wrong.
    """
    push_both(host)
    functions = {"matrix": lambda *words: dataclasses.asdict(matrix(host, *words)),
                 "disorder": lambda *words: disorder(host, *words)}
    for line in sys.stdin:
        name, *words = json.loads(line)
        try:
            answer = (functions[name](*words), "")
        except Exception:
            answer = (None, traceback.format_exc())
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    serve(Host(Path(sys.argv[1]), SYSTEMD, sys.argv[2]))
