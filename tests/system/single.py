# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One prepared host with a real agent, supervisord and deadman, which is asked as a controller asks it."""

from __future__ import annotations

import base64
import itertools
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from ansible_collections.tetra.platform.plugins.module_utils.host import engine, keys, observation, transactions
from ansible_collections.tetra.platform.plugins.module_utils.host.operations import preparation
from ansible_collections.tetra.platform.plugins.module_utils.host.scope import open_scope
from ansible_collections.tetra.platform.plugins.module_utils.model import pack, plan, release, transaction
from ansible_collections.tetra.platform.plugins.plugin_utils import bundle, host_code, source

GRACE = 20.0
SECRET = "open-sesame-4711"


class Single:
    """A host that serves ``acme/dev``.

    A test may set for what comes next: ``lease`` in seconds, ``passes`` of a check in a row, the ``secrets``, and a
    ``wrapper``, the words of a program that runs the agent.

    :param address: where its services bind, so that hosts of several tests may use the same ports.
    """

    def __init__(self, folder: Path, address: str) -> None:
        self.org = folder / "acme"
        self.address = address
        self.lease = 20.0
        self.passes = 1
        self.wrapper: list[str] = []
        self.secrets = {"KEY": SECRET}
        self._numbers = itertools.count(1)
        self.root = folder / "host"
        self.prepared = {
            "tetra_dir": os.fspath(self.root), "state": "present", "supervisor": "supervisord",
            "supervisord": os.fspath(Path(sys.executable).with_name("supervisord")),
            "address": address, "version": host_code.version(), "check": False,
            "code": base64.b64encode(host_code.zipapp()).decode("ascii"),
        }  # fmt: skip
        preparation.agent(self.prepared)
        self.scope = open_scope(os.fspath(self.root), "acme", "dev")
        self.environment = self.scope.environment
        self.environment.prepare()

    def down(self) -> None:
        """Stop everything that runs."""
        preparation.agent({**self.prepared, "state": "stopped"})

    def write(self, services: Mapping[str, str], files: Mapping[str, str]) -> None:
        """Make these services and files the organization, which :meth:`stage` takes to the host."""
        shutil.rmtree(self.org, ignore_errors=True)
        for folder, texts in ((self.org / "services", services), (self.org / "files", files)):
            for name, text in texts.items():
                path = folder / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text)

    @property
    def command(self) -> list[str]:
        """The program of the host that takes a request on its standard input."""
        return [*self.wrapper, os.path.join(self.scope.home.bin, "tsm"), "run"]

    def ask(self, operation: str, request: Mapping[str, object]) -> dict:
        """The answer of the agent: ``result``, or ``error`` with what a person is told."""
        return answer_of(self.begin(operation, request))

    def begin(self, operation: str, request: Mapping[str, object]) -> subprocess.Popen[str]:
        """An agent that was asked; see :func:`answer_of`."""
        whole = {"tetra_dir": self.scope.home.root, "org": "acme", "env": "dev", **request}
        with tempfile.TemporaryFile("w+") as file:
            file.write(json.dumps(whole))
            file.seek(0)
            return subprocess.Popen([*self.command, operation], stdin=file, stdout=subprocess.PIPE,
                                    stderr=subprocess.PIPE, text=True)

    def step(self, state: str, identity: str, **more: object) -> dict:
        """The answer to the wish to take a transaction to a state."""
        return self.ask("release", {"state": state, "transaction": identity, **more})

    def identity(self) -> str:
        """The id of a transaction that was not there before."""
        return f"20260101t000000-{next(self._numbers):08x}"

    def stage_request(self, ports: Mapping[str, int], observed: Mapping[str, object] | None = None) -> dict:
        """What a controller sends to stage the organization, after it looked at the host."""
        origin = source.read(self.org)
        known = keys.digests(self.scope.home, self.secrets)
        services = bundle.services(origin, "dev")
        manifest = bundle.build(origin, "dev", services, ports, known["digests"], known["key"]).manifest
        names = sorted(manifest["services"])
        desired = plan.Desired(
            "acme", "dev", "push", origin.digest, release.digest(manifest),
            {one: entry["digest"] for one, entry in manifest["services"].items()}, {"here": names}, dict(ports),
            manifest["secrets"],
        )  # fmt: skip
        contents = {file.entry["sha256"]: file.read() for file in origin.files.values() if file.read}
        index = pack.header((digest, len(data)) for digest, data in contents.items())
        observed = observed or observation.observe(self.scope)
        return {
            "plan": plan.plan({"here": observed}, desired), "host": "here",
            "bundle": origin.manifest, "manifest": manifest, "pack": None,
            "pack_bytes": base64.b64encode(index + b"".join(contents.values())).decode("ascii"), "services": names,
            "secrets": self.secrets, "actor": "test", "reason": "", "lift_hold": "a test", "lease": self.lease,
            "probe": {"passes": self.passes, "spacing": 0.1}, "keep": 3, "pinned": [],
            "heads": {}, "seen": observed["staged"],
        }  # fmt: skip

    def stage(self, ports: Mapping[str, int]) -> str:
        """Stage the organization; the id of the transaction."""
        identity = self.identity()
        done(self.step("staged", identity, stage=self.stage_request(ports)))
        return identity

    def switch(self, ports: Mapping[str, int]) -> dict:
        """Stage the organization and switch to it; what the host answered."""
        return done(self.step("active", self.stage(ports)))

    def apply(self, ports: Mapping[str, int]) -> None:
        """Bring the organization to the host, for good."""
        switched = self.switch(ports)
        confirmed = done(self.step("confirmed", switched["transaction"]))
        assert confirmed["state"] == transaction.CONFIRMED, (switched, confirmed)

    def settle(self) -> None:
        """Wait until the host has settled by itself, and do what every next run begins with."""
        self.wait_until_closed()
        with engine.locked(self.scope):
            engine.settle(self.scope)

    def wait_until_closed(self) -> None:
        """Wait until no transaction is open."""
        end = time.monotonic() + self.lease + GRACE
        while set(transactions.states(self.environment).values()) & set(transaction.OPEN):
            assert time.monotonic() < end, "the host did not settle by itself"
            time.sleep(0.05)


def answer_of(agent: subprocess.Popen[str]) -> dict:
    """What an agent answers, when it has ended."""
    said, complaint = agent.communicate(timeout=120)
    assert "Traceback" not in complaint, complaint
    assert said, complaint
    return json.loads(said)


def done(answer: dict) -> dict:
    """The result of an answer that is no error."""
    assert "result" in answer, answer
    return answer["result"]
