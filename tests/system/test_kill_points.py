# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The host's own process is killed, or its disk refuses, at the calls by which it changes files; it ends old or new.

All points with ``make test-long``, some of them with ``make test``. Each is tried with a real supervisord, a real agent
and a real deadman.
"""

from __future__ import annotations

import base64
import itertools
import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
from ansible_collections.tetra.platform.plugins.module_utils.host import (
    engine,
    keys,
    observation,
    store,
    transactions,
)
from ansible_collections.tetra.platform.plugins.module_utils.host.operations import preparation
from ansible_collections.tetra.platform.plugins.module_utils.host.scope import open_scope
from ansible_collections.tetra.platform.plugins.module_utils.model import pack, plan, release, transaction
from ansible_collections.tetra.platform.plugins.plugin_utils import bundle, host_code, source

from . import guarantees, invariants, strace
from .conftest import LONG

LEASE, GRACE = 4.0, 10.0
SECRET = "open-sesame-4711"
API = """\
TSM_COMMAND='exec python3 -m http.server $PORT --bind 127.0.0.1 --directory ${TETRA_RELEASE_DIR}/files/api'
TSM_PORT=auto
TSM_HEALTH_CHECK=http://127.0.0.1:${TSM_PORT}/page
TSM_MIN_HEALTHY=0s
export KEY=${secret:KEY}
"""
WORKER = "TSM_COMMAND='sleep 600'\nTSM_PORT=auto\nTSM_MIN_HEALTHY=0s\n"
# The release that goes out has another page, another port, and a service less or more.
# Several workers may do this at once.
_FIRST = 20000 + os.getpid() % 2000 * 4
PORTS = {"a": {"api": _FIRST}, "b": {"api": _FIRST + 1, "worker": _FIRST + 2}}
STEPS = {
    "staged": ["staged"],
    "active": ["staged", "active"],
    "confirmed": ["staged", "active", "confirmed"],
    "rolled_back": ["staged", "active", "rolled_back"],
}
ERRORS = ("ENOSPC", "EIO", "EROFS", "EDQUOT")
# Of how many points one is tried in the short form.
SHARE = {"staged": 9, "active": 20, "confirmed": 5, "rolled_back": 20}


class Host:
    """A prepared host whose environment goes from one release to the other and back."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._numbers = itertools.count(1)
        root = os.fspath(folder / "host")
        self._prepared = {
            "tetra_dir": root, "state": "present", "supervisor": "supervisord", "supervisord": None, "address": None,
            "version": host_code.version(), "check": False,
            "code": base64.b64encode(host_code.zipapp()).decode("ascii"),
        }  # fmt: skip
        preparation.agent(self._prepared)
        self.scope = open_scope(root, "acme", "dev")
        self.scope.environment.prepare()
        for name in PORTS:
            self._write_org(name)
        self.releases: dict[str, str] = {}

    def down(self) -> None:
        """Stop everything that runs."""
        preparation.agent({**self._prepared, "state": "stopped"})

    def _write_org(self, name: str) -> None:
        org = self._folder / name / "acme"
        (org / "services").mkdir(parents=True)
        (org / "services" / "api.tsm").write_text(API)
        if "worker" in PORTS[name]:
            (org / "services" / "worker.tsm").write_text(WORKER)
        (org / "files" / "api").mkdir(parents=True)
        (org / "files" / "api" / "page").write_text(f"page {name}\n")
        (org / "files" / "api" / "large").write_bytes(os.urandom(200_000))

    @property
    def other(self) -> str:
        """The organization whose release does not run."""
        return "b" if store.current(self.scope.environment) == self.releases.get("a") else "a"

    def stage_request(self, name: str) -> dict:
        """What a controller sends to stage a release, after it looked at the host."""
        origin = source.read(self._folder / name / "acme")
        known = keys.digests(self.scope.home, {"KEY": SECRET})
        services = bundle.services(origin, "dev")
        built = bundle.build(origin, "dev", services, PORTS[name], known["digests"], known["key"])
        manifest = built.manifest
        self.releases[name] = release.digest(manifest)
        names = sorted(manifest["services"])
        desired = plan.Desired(
            "acme", "dev", "push", origin.digest, self.releases[name],
            {one: entry["digest"] for one, entry in manifest["services"].items()}, {"here": names}, PORTS[name],
            manifest["secrets"],
        )  # fmt: skip
        contents = {file.entry["sha256"]: file.read() for file in origin.files.values() if file.read}
        index = pack.header((digest, len(data)) for digest, data in contents.items())
        return {
            "plan": plan.plan({"here": observation.observe(self.scope)}, desired), "host": "here",
            "bundle": origin.manifest, "manifest": manifest, "pack": None,
            "pack_bytes": base64.b64encode(index + b"".join(contents.values())).decode("ascii"), "services": names,
            "secrets": {"KEY": SECRET}, "actor": "test", "reason": "", "lift_hold": "a test", "lease": LEASE,
            "probe": {"passes": 1, "spacing": 0.1}, "keep": 2, "heads": {},
        }  # fmt: skip

    def requests(self, step: str) -> list[str]:
        """The requests, as text, that lead to a step and through it."""
        identity = f"20260101t000000-{next(self._numbers):08x}"
        common = {"tetra_dir": self.scope.home.root, "org": "acme", "env": "dev", "transaction": identity}
        more = {"staged": {"stage": self.stage_request(self.other)},
                "rolled_back": {"cause": {"reason": "a test", "verdict": False}}}
        return [json.dumps({**common, "state": state, **more.get(state, {})}) for state in STEPS[step]]

    @property
    def command(self) -> list[str]:
        """The program of the host that takes a request on its standard input."""
        return [os.path.join(self.scope.home.bin, "tsm"), "run", "release"]

    def run(self, requests: list[str]) -> None:
        """Carry out requests, each in a process of its own."""
        for request in requests:
            done = subprocess.run(self.command, input=request, capture_output=True, text=True, check=True)
            assert "result" in json.loads(done.stdout), done.stdout

    def settle(self) -> None:
        """Wait until the host has settled by itself, and do what every next run begins with."""
        end = time.monotonic() + LEASE + GRACE
        while transactions.in_states(self.scope.environment, transaction.OPEN):
            assert time.monotonic() < end, "the host did not settle by itself"
            time.sleep(0.05)
        with engine.locked(self.scope):
            engine.settle(self.scope)


@pytest.fixture
def host(tmp_path):
    made = Host(tmp_path)
    try:
        made.run(made.requests("confirmed"))
        made.run(made.requests("confirmed"))
        yield made
    finally:
        made.down()


@pytest.mark.guarantee("O1")
def test_what_is_answered_is_on_the_disk_in_the_right_order(host, tmp_path):
    root = Path(host.scope.home.root)
    for step in STEPS:
        *before, last = host.requests(step)
        host.run(before)
        found = strace.calls(host.command, tmp_path / "log", last)
        assert strace.unsynced(found, root) == [], step
        below = [number for number, point in enumerate(found) if os.fspath(root) in point.text]
        answers = [number for number, point in enumerate(found) if point.call == "write" and point.text[:2] == "1<"]
        assert len(answers) == 1, step
        assert below[-1] < answers[0], step
        journal = [number for number in below if "journal.jsonl" in found[number].text]
        assert ("fsync" in {found[number].call for number in journal}) == (step in ("confirmed", "rolled_back")), step
        host.settle()


def killed(host: Host, point: strace.Point, request: str) -> bool:
    """Kill a step at a point; whether it came to that."""
    done = strace.killed_at(host.command, point, request)
    return done.returncode in (-signal.SIGKILL, 128 + signal.SIGKILL)


def refused(host: Host, point: strace.Point, request: str) -> bool:
    """Let the disk refuse a call of a step; whether the step says so, or went on well in spite of it."""
    error = ERRORS[point.number % len(ERRORS)]
    done = strace.failing_at(host.command, point, error, request)
    assert "Traceback" not in done.stderr, (point, error, done.stderr)
    answer = json.loads(done.stdout) if done.stdout else {}
    return bool(answer.get("result") or answer.get("error", {}).get("message"))


@pytest.mark.parametrize("fault", [killed, refused])
@pytest.mark.parametrize("step", STEPS)
def test_whatever_goes_wrong_at_whatever_call_the_host_ends_old_or_new_and_goes_on(host, tmp_path, step, fault):
    *before, last = host.requests(step)
    host.run(before)
    points = strace.points(host.command, Path(host.scope.home.root), tmp_path / "log", last)
    host.settle()
    tried = points if LONG else points[:: SHARE[step]]
    done = 0
    for point in tried:
        old = store.current(host.scope.environment)
        *before, last = host.requests(step)
        host.run(before)
        done += fault(host, point, last)
        assert store.current(host.scope.environment) in {old, *host.releases.values()}, (step, point)
        host.settle()
        # A step that was not stopped may have come to its end.
        may_end = step == "confirmed" or fault is refused
        problems = invariants.broken(host.scope, {old, *host.releases.values()} if may_end else {old}, SECRET)
        assert problems == [], (step, point, problems)
    host.run(host.requests("confirmed"))
    assert invariants.broken(host.scope, set(host.releases.values()), SECRET) == []
    row = {killed: "K1", refused: "D1"}[fault]
    guarantees.tell(row, len(tried), len(tried), f"{step} {len(tried)} of {len(points)}")
    assert done >= 0.9 * len(tried)
