# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Playbooks in processes of their own, which tests kill, stop, and let go on at the boundaries between their tasks."""

from __future__ import annotations

import dataclasses
import itertools
import json
import os
import signal
import subprocess
import time
from collections.abc import Iterable
from pathlib import Path

from ansible_collections.tetra.platform.plugins.module_utils.host import processes, store, transactions
from ansible_collections.tetra.platform.plugins.module_utils.host.scope import Scope, open_scope
from ansible_collections.tetra.platform.plugins.module_utils.model import transaction

from ..conftest import ROOT, Fleet, Run, Team, wait_for

_PLUGINS = Path(__file__).parent / "plugins"
_NUMBERS = itertools.count(1)
RELEASE = "tetra.platform.release"
"""The action that takes hosts from state to state."""
LOST = ("request", "answer", "half")


@dataclasses.dataclass(frozen=True)
class Boundary:
    """A moment of a playbook: ``before`` a task, ``within`` it when the first of its hosts has answered, or ``after``
    the last one.
    """

    number: int
    where: str
    action: str
    task: str

    def __str__(self) -> str:
        return f"{self.number} {self.where} {self.task!r}"


class Controller:
    """A running playbook.

    :param boundary: where it gets a signal by itself, if it gets to it.
    :param rules: what becomes of requests and answers, for the connection ``lossy``.
    """

    def __init__(
        self, team: Team, playbook: str, boundary: Boundary | None = None, number: int = 0,
        rules: Iterable[dict] = (), **variables: object,
    ) -> None:  # fmt: skip
        folder = team.folder / f"controller-{next(_NUMBERS)}"
        folder.mkdir()
        self.result, self._passed, self._sent = folder / "result.json", folder / "boundaries", folder / "requests"
        self._passed.touch()
        self._said = (folder / "output").open("w+")
        rules = list(rules)
        environment = {
            "ANSIBLE_CALLBACK_PLUGINS": os.fspath(_PLUGINS / "callback"), "ANSIBLE_CALLBACKS_ENABLED": "at_boundary",
            "ANSIBLE_CONNECTION_PLUGINS": os.fspath(_PLUGINS / "connection"),
            "BOUNDARY_FILE": os.fspath(self._passed), "LOSSY_FILE": os.fspath(self._sent),
            "LOSSY_RULES": json.dumps(rules),
        }  # fmt: skip
        if boundary:
            environment |= {"BOUNDARY_NUMBER": str(boundary.number), "BOUNDARY_SIGNAL": str(int(number))}
        if rules:
            variables["ansible_connection"] = "lossy"
        command = team.command(playbook, tetra_result_file=os.fspath(self.result), **variables)
        self.process = subprocess.Popen(
            command, cwd=ROOT, env={**os.environ, **environment}, stdin=subprocess.DEVNULL, stdout=self._said,
            stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip

    def boundaries(self) -> list[Boundary]:
        """The boundaries that it came to so far."""
        lines = (line.split("\t") for line in self._passed.read_text().splitlines())
        return [Boundary(int(number), where, action, task) for number, where, action, task in lines]

    def requests(self) -> list[tuple[str, str, str]]:
        """What was sent over the connection ``lossy``: host, state that was asked for, and what became of it."""
        lines = self._sent.read_text().splitlines() if self._sent.exists() else []
        return [tuple(line.split("\t", 2)) for line in lines]

    def wait(self, seconds: float = 120) -> Run:
        """Wait until it ends, however it does."""
        code = self.process.wait(timeout=seconds)
        self._said.seek(0)
        found = json.loads(self.result.read_text()) if self.result.exists() else {}
        return Run(code, self._said.read(), found)

    def wait_or_end(self, seconds: float = 30) -> Run:
        """Wait until it ends, and end it where it does not.

        Ansible may wait for ever then, for the lock of a queue that a worker had when the interrupt ended it.
        """
        try:
            return self.wait(seconds)
        except subprocess.TimeoutExpired:
            self.end()
            return self.wait()

    def wait_until_stopped(self) -> None:
        """Wait until it stands still at its boundary."""
        assert wait_for(lambda: processes.stopped(self.process.pid) or self.process.poll() is not None)
        assert self.process.poll() is None, "it ended before it came to its boundary"

    def go_on(self) -> None:
        """Let it go on after it stood still."""
        os.killpg(self.process.pid, signal.SIGCONT)

    def end(self) -> None:
        """End what is left of it."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


def scope(fleet: Fleet, host: str) -> Scope:
    """The environment that a host serves, as the host itself sees it."""
    return open_scope(os.fspath(fleet.state / host), "acme", host.partition("-")[0])


def states(fleet: Fleet, host: str) -> dict[str, str]:
    """The transactions of a host: id to state."""
    return transactions.states(scope(fleet, host).environment)


def open_on(fleet: Fleet, hosts: Iterable[str]) -> dict[str, str]:
    """The hosts that are between two releases, with the state of the transaction that they are in."""
    return {host: state for host in hosts for state in states(fleet, host).values() if state in transaction.OPEN}


def expire(fleet: Fleet, hosts: Iterable[str]) -> None:
    """Say that the leases of hosts are over, so that a test need not wait for it."""
    for host in hosts:
        environment = scope(fleet, host).environment
        for one in transactions.in_states(environment, transaction.REVERTIBLE):
            transactions.write_lease(environment, one.identity, 0, 0)


def settled(fleet: Fleet, hosts: Iterable[str], seconds: float) -> float:
    """Wait until hosts are between two releases no more, at most for some seconds; how many it took."""
    begun = time.monotonic()
    assert wait_for(lambda: not open_on(fleet, hosts), seconds), open_on(fleet, hosts)
    return time.monotonic() - begun


def current(fleet: Fleet, host: str) -> str | None:
    """The release that a host runs."""
    return store.current(scope(fleet, host).environment)


def bundle(fleet: Fleet, host: str) -> str | None:
    """The bundle that the release of a host was made from."""
    release = current(fleet, host)
    return store.manifest(scope(fleet, host).environment, release)["bundle"] if release else None
