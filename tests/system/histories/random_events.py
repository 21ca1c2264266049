# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Random events on a real host, and the model beside it: after each event the host is what the model allows."""

from __future__ import annotations

import base64
import dataclasses
import json
import os
import random
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ansible_collections.tetra.platform.plugins.module_utils.model import health, pack, plan, release, transaction
from ansible_collections.tetra.platform.plugins.plugin_utils import bundle, host_code, source

from . import transaction_model as model

NAME = "here"
SECRET = "open-sesame-4711"
LEASES = (4.0, 6.0)
GRACE = 20.0
# A lease that ends about now may be over for one who looks, and not for the other.
CLOSE = 0.3
KILLED = (0.02, 1.2)
DEFINITIONS = {
    "good": "TSM_COMMAND='sleep 600'\nTSM_MIN_HEALTHY=0s\n",
    "better": "TSM_COMMAND='sleep 601'\nTSM_MIN_HEALTHY=0s\n",
    "bad": "TSM_COMMAND='false'\nTSM_MIN_HEALTHY=1s\n",
}
LUCK = {
    "good": (health.HEALTHY, health.UNPROVEN),
    "better": (health.HEALTHY, health.UNPROVEN),
    "bad": (health.FAILED, health.UNPROVEN, "broken"),
}
_MANY = 60
_NEXT = {transaction.STAGED: ("active",), transaction.PROBING: ("renewed", "decided", "confirmed", "wait")}
_WEIGHTS = {"staged": 4, "active": 5, "renewed": 2, "decided": 2, "confirmed": 4, "rolled_back": 2, "aborted": 1,
            "wait": 2, "reboot": 1}  # fmt: skip


@dataclasses.dataclass
class Event:
    """Something that happens to a host.

    :param what: a state that a transaction is asked for, ``wait`` or ``reboot``.
    :param killed: seconds after which the run is killed.
    :param twice: the request comes twice, the second time while the first is carried out.
    """

    what: str
    request: Mapping[str, Any] | None = None
    org: str = ""
    killed: float | None = None
    twice: bool = False

    def __str__(self) -> str:
        identity = self.request["transaction"][-2:] if self.request else ""
        fate = f" killed after {self.killed:.2f} s" if self.killed is not None else ""
        return f"{self.what} {identity} {self.org}{fate}{' twice' if self.twice else ''}".strip()


class Target:
    """A prepared host that is asked by its agent.

    :param folder: where organizations are written.
    :param prefix: what runs a command on the host; nothing on this machine.
    :param look: what tells the state of the host, as ``host_view.look`` does.
    :param reboot: what restarts it, or None.
    """

    def __init__(
        self, folder: Path, root: str, prefix: Sequence[str], look: Callable[[], dict[str, Any]],
        reboot: Callable[[], None] | None = None,
    ) -> None:  # fmt: skip
        self.folder, self.root, self.prefix = folder, root, prefix
        self.look, self.reboot = look, reboot
        for name, definition in DEFINITIONS.items():
            services = folder / name / "acme" / "services"
            services.mkdir(parents=True)
            (services / "one.tsm").write_text(definition)

    def ask(self, operation: str, request: Mapping[str, Any], killed: float | None = None) -> subprocess.Popen:
        """Send a request to the agent, in a process of its own."""
        limit = ["timeout", "--signal=KILL", str(killed)] if killed is not None else []
        command = [*self.prefix, *limit, os.path.join(self.root, "bin", "tsm"), "run", operation]
        asked = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert asked.stdin is not None
        asked.stdin.write(json.dumps({"tetra_dir": self.root, "org": "acme", "env": "dev", **request}))
        asked.stdin.close()
        asked.stdin = None
        return asked

    def answer(self, asked: subprocess.Popen) -> dict[str, Any] | None:
        """What came back, or None."""
        output = asked.communicate()[0]
        return json.loads(output) if output else None

    def stage(self, name: str, lease: float) -> dict[str, Any]:
        """What a controller sends to stage the release of an organization, after it looked at the host."""
        observed = (self.answer(self.ask("release_info", {})) or {})["result"]
        origin = source.read(self.folder / name / "acme")
        services = bundle.services(origin, "dev")
        manifest = bundle.build(origin, "dev", services, {}, {}, observed["secret_digests"]["key"]).manifest
        digests = {one: entry["digest"] for one, entry in manifest["services"].items()}
        desired = plan.Desired("acme", "dev", "push", origin.digest, release.digest(manifest), digests,
                               {NAME: ["one"]}, {}, {})
        contents = {file.entry["sha256"]: file.read() for file in origin.files.values() if file.read}
        index = pack.header((digest, len(data)) for digest, data in contents.items())
        return {
            "plan": plan.plan({NAME: observed}, desired), "host": NAME, "bundle": origin.manifest,
            "manifest": manifest, "pack": None,
            "pack_bytes": base64.b64encode(index + b"".join(contents.values())).decode("ascii"), "services": ["one"],
            "secrets": {}, "actor": "test", "reason": "", "lift_hold": "a test", "lease": lease,
            "probe": {"passes": 1, "spacing": 0.1}, "keep": 2, "pinned": [], "heads": {}, "seen": observed["staged"],
        }  # fmt: skip


def preparation(root: str, supervisor: str) -> dict[str, Any]:
    """The request that prepares a host."""
    return {
        "tetra_dir": root, "state": "present", "supervisor": supervisor, "supervisord": None, "address": None,
        "users": {}, "journal_max": "", "version": host_code.version(), "check": False,
        "code": base64.b64encode(host_code.zipapp()).decode("ascii"),
    }  # fmt: skip


class Player:
    """Has events happen to a host, and to all states that the model thinks possible.

    :param seed: of the dice.
    """

    def __init__(self, target: Target, seed: int) -> None:
        self._target = target
        self._dice = random.Random(seed)
        self._seed = seed
        self._made = 0
        self._orgs: dict[str, str] = {}
        self._requests: dict[str, Mapping[str, Any]] = {}
        self.history: list[str] = []
        self.reboots = 0
        self._seen = target.look()
        self._possible = [_from_look(self._seen)]

    def play(self, count: int) -> None:
        """Have so many events happen.

        :raises AssertionError: with the seed and all events, when the host is what the model does not allow.
        """
        for _number in range(count):
            event = self._next()
            self.history.append(str(event))
            begun = time.monotonic()
            before = self._target.look()["now"]
            told = self._happen(event)
            seen = self._at_rest()
            found = list(self._matching(event, before, seen, told))
            self.history[-1] += f" ({time.monotonic() - begun:.1f} s): {_shown(seen)}"
            if not found:
                possible = {_differing(end, seen) for host in self._possible
                            for after, _answer in _after(host, event, before, seen["now"])
                            for end in _ends(after, seen["now"])}  # fmt: skip
                told_of = "\n".join([f"seed {self._seed}: {told} is not possible", *self.history, *sorted(possible)])
                raise AssertionError(told_of)
            self._possible, self._seen = found, seen

    def _next(self) -> Event:
        dice = self._dice
        weights = {what: weight for what, weight in _WEIGHTS.items() if what != "reboot" or self._target.reboot}
        what = dice.choices(list(weights), list(weights.values()))[0]
        killed = dice.uniform(*KILLED) if dice.random() < 0.3 else None
        twice = killed is None and dice.random() < 0.2
        names = list(self._orgs)
        newest = names[-1] if names else ""
        state = self._seen["transactions"].get(newest, {}).get("state", "")
        if dice.random() < 0.65:
            # What a controller would do.
            what = dice.choice(_NEXT.get(state, ("staged",)))
        if self._target.reboot and not self.reboots and state == transaction.PROBING:
            what = "reboot"
        if what in ("wait", "reboot"):
            return Event(what)
        if what == "staged" or not names:
            return self._new(killed, twice)
        identity = newest if dice.random() < 0.8 else dice.choice(names)
        if dice.random() < 0.05:
            # What was delayed for long.
            return Event("staged", self._requests[identity], self._orgs[identity], killed, twice)
        request = {"transaction": identity, "state": what, "decision": {"decision": "commit", "hosts": [NAME]},
                   "cause": {"reason": "a test", "verdict": False}}
        return Event(what, request, self._orgs[identity], killed, twice)

    def _new(self, killed: float | None, twice: bool) -> Event:
        org = self._dice.choice(["good", "better", "better", "good", "bad"])
        self._made += 1
        identity = f"{time.strftime('%Y%m%dt%H%M%S')}-{self._made:08x}"
        stage = self._target.stage(org, self._dice.choice(LEASES))
        self._orgs[identity] = org
        self._requests[identity] = {"transaction": identity, "state": "staged", "stage": stage}
        return Event("staged", self._requests[identity], org, killed, twice)

    def _happen(self, event: Event) -> dict[str, Any] | None:
        """The answer, if there is one that counts."""
        if event.what == "wait":
            left = [one["left"] for one in self._seen["transactions"].values() if one["state"] in transaction.OPEN]
            time.sleep(max(left, default=0.2) * self._dice.choice((0.5, 1.0)) + CLOSE)
            return None
        if event.what == "reboot":
            assert self._target.reboot
            self._target.reboot()
            self.reboots += 1
            return None
        assert event.request
        asked = [self._target.ask("release", event.request, event.killed) for _time in range(1 + event.twice)]
        told = [self._target.answer(one) for one in asked]
        return None if event.twice else told[0]

    def _at_rest(self) -> dict[str, Any]:
        """The state of the host, when nothing is over any more that a deadman takes back."""
        end = time.monotonic() + GRACE
        while True:
            seen = self._target.look()
            found = seen["transactions"].values()
            over = any(transaction.is_over(_standing(one)) for one in found)
            close = any(one["state"] in transaction.OPEN and abs(one["left"]) < CLOSE for one in found)
            if not over and not close:
                return seen
            assert time.monotonic() < end, f"seed {self._seed}: nobody takes back what is over: {_shown(seen)}"
            time.sleep(CLOSE)

    def _matching(
        self, event: Event, before: float, seen: dict[str, Any], told: dict[str, Any] | None
    ) -> Iterator[model.Host]:
        known = set()
        for host in self._possible:
            for after, answer in _after(host, event, before, seen["now"]):
                for end in _ends(after, seen["now"]):
                    if _same(end, seen) and _says(answer, told, event) and (mark := _mark(end)) not in known:
                        known.add(mark)
                        _follow(end, seen)
                        yield end


def _standing(one: Mapping[str, Any]) -> transaction.Standing:
    return transaction.Standing(one["state"], one["runs"], one["proven"])


def _from_look(seen: Mapping[str, Any]) -> model.Host:
    """The model of a host that runs nothing yet."""
    assert not seen["transactions"] and seen["current"] is None, "the host is not new"
    clock = model.Clock()
    clock.now = seen["now"]
    return model.Host(NAME, clock)


def _bare(host: model.Host) -> model.Host:
    """A copy without anything that runs."""
    clock = model.Clock()
    clock.now = host.clock.now
    made = model.Host(host.name, clock)
    made.boot, made.current = host.boot, host.current
    made.transactions = {one: dataclasses.replace(found, holder=None) for one, found in host.transactions.items()}
    made.journal, made.holds, made.releases = list(host.journal), dict(host.holds), dict(host.releases)
    return made


def _tend(host: model.Host, given_up: bool = True) -> None:
    """Have the deadmen do what is to be done now.

    :param given_up: whether they have come to what was never armed.
    """
    for identity, found in host.transactions.items():
        waits = found.state in transaction.OPEN or (given_up and found.state == transaction.STAGED and found.deadline)
        if waits and identity not in {run.watches for run in host.runs}:
            host.watch(identity)
    for run in [run for run in host.runs if run.watches]:
        for _step in range(_MANY):
            if run not in host.runs or host.step(run) in ("", model.WAIT):
                break


Outcome = tuple[model.Host, model.Answer | None]


def _after(host: model.Host, event: Event, before: float, now: float) -> Iterator[Outcome]:
    """What a host may be after an event, and what it may have answered."""
    if event.what == "wait":
        yield _bare(host), None
    elif event.what == "reboot":
        made = _bare(host)
        run = made.reboot()
        for _step in range(_MANY):
            made.step(run) if run in made.runs else None
        yield made, None
    else:
        for luck in LUCK[event.org]:
            for first in _runs(host, event, luck, before, now):
                yield from _runs(first[0], event, luck, before, now) if event.twice else [first]


def _runs(host: model.Host, event: Event, luck: str, before: float, now: float) -> Iterator[Outcome]:
    """The ways in which a run can go: when its time passes, when deadmen act, and where it is killed."""
    for late in range(_MANY):
        for disturbed in (False, True):
            made = _bare(host)
            made.clock.now = before
            assert event.request
            run = made.begin(event.request, luck)
            for number in range(_MANY):
                if number >= late:
                    made.clock.now = now
                    if disturbed:
                        _tend(made, given_up=False)
                if event.killed is not None:
                    yield _bare(made), None
                word = made.step(run) if run in made.runs else ""
                if word == model.WAIT:
                    made.clock.now = now
                    _tend(made)
                if not word:
                    break
            yield made, run.answer
        if number < late:
            return


def _ends(host: model.Host, now: float) -> Iterator[model.Host]:
    """What becomes of a host by the time at which one looks."""
    for given_up in (False, True):
        made = _bare(host)
        made.clock.now = now
        _tend(made, given_up)
        yield made


def _same(host: model.Host, seen: Mapping[str, Any]) -> bool:
    """Whether a host is what one sees."""
    return not _differing(host, seen)


def _differing(host: model.Host, seen: Mapping[str, Any]) -> str:
    """What of a host is not what one sees; transactions that ended long ago may be forgotten."""
    there = seen["transactions"]
    states = {one: state for one, state in host.states().items()
              if one in there or transaction.TRANSITIONS[state]}
    pairs = {
        "states": (states, {one: found["state"] for one, found in there.items()}),
        "current": (host.current, seen["current"]),
        "journal": ([[one.get("transaction"), one.get("outcome")] for one in host.journal], seen["journal"]),
        "holds": (sorted(host.holds), seen["holds"]),
        "proven": ({one: host.transactions[one].proven for one in states},
                   {one: found["proven"] for one, found in there.items()}),
        "decided": ({one: host.transactions[one].decision is not None for one in states},
                    {one: found["decided"] for one, found in there.items()}),
    }  # fmt: skip
    return "; ".join(f"{what}: {one} is not {other}" for what, (one, other) in pairs.items() if one != other)


def _says(answer: model.Answer | None, told: Mapping[str, Any] | None, event: Event) -> bool:
    """Whether the model answers as the host did."""
    if told is None:
        return True
    if answer is None or "error" in told:
        return bool(answer and answer.get("failed")) == ("error" in told)
    return not answer.get("failed") and answer["state"] == told["result"]["state"]


def _follow(host: model.Host, seen: Mapping[str, Any]) -> None:
    """Take over what one sees of leases, and forget what the host forgot."""
    host.transactions = {one: found for one, found in host.transactions.items() if one in seen["transactions"]}
    for one, found in host.transactions.items():
        told = seen["transactions"][one]
        if told["runs"]:
            found.deadline, found.boot = seen["now"] + told["left"], host.boot


def _mark(host: model.Host) -> str:
    return json.dumps([host.current, host.states(), host.releases, sorted(host.holds), len(host.journal),
                       [(one.proven, one.decision, one.deadline > 0) for one in host.transactions.values()]])


def _shown(seen: Mapping[str, Any]) -> str:
    states = {one[-2:]: found["state"] for one, found in seen["transactions"].items()}
    return f"{(seen['current'] or 'nothing')[:6]} {states}"
