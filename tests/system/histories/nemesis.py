# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Clients that run playbooks at the same time, a nemesis that breaks what it can, and a watch over the hosts."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import random
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import containers
import packages
from ansible_collections.tetra.platform.plugins.module_utils.host import processes
from ansible_collections.tetra.platform.plugins.module_utils.model import transaction

from ..conftest import ROOT, Servers, Team
from .histories import KILLED, Operation, Read

DISK = "prod-3"
"""The host whose disk is small enough to be filled; it would not outlive a restart."""
LIMIT = 240
_INTERVAL = 0.05
_LIBRARY = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1"
# Programs of the host that we start, and those alone, begin with these words. Faketime would move the clock that nobody
# can set, too: without that a Python from 3.11 on cannot sleep.
_MOVED_PYTHON = """\
echo 'import runpy, sys, time
moved = float(open("/etc/moved").read())
now, gmtime = time.time, time.gmtime
time.time = lambda: now() + moved
time.gmtime = lambda seconds=None: gmtime(time.time() if seconds is None else seconds)
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")' > /root/moved.py
python=$(readlink -f /usr/bin/python3)
[ -e $python.real ] || {{ cp $python $python.real && echo '#!/bin/sh
if [ "$1" = -IS ] && [ -e /etc/moved ]; then shift; exec '$python'.real -IS /root/moved.py "$@"; fi
exec '$python'.real "$@"' > /root/python && chmod 755 /root/python && mv /root/python $python; }}
echo {offset} > /etc/moved
"""
_ORG = "var/lib/tetra/orgs/acme"
_MOMENT = 60.0


def small_disk(host: containers.Host) -> None:
    """Give a host a disk that can be filled; before it is prepared."""
    host.run("mkdir -p /var/lib/tetra && mount -t tmpfs -o size=64m,mode=0755 tmpfs /var/lib/tetra")


class Open(NamedTuple):
    """A transaction that is between two releases: where, in which state, and the run that it is of."""

    host: str
    state: str
    actor: str


class Watch(threading.Thread):
    """Looks all the time at which release each host runs, from beside the host and not through it."""

    def __init__(self, servers: Servers) -> None:
        super().__init__(daemon=True)
        self._hosts = servers.hosts
        self._roots = {name: host.root() for name, host in servers.hosts.items()}
        self.reads: dict[str, list[Read]] = {name: [] for name in servers.hosts}
        self._over = threading.Event()
        self._looking = threading.Lock()

    def restarted(self, host: str) -> None:
        """Look at the host anew, after it was started again."""
        self._roots[host] = self._hosts[host].root()

    def run(self) -> None:
        """Look until told to end."""
        while not self._over.wait(_INTERVAL):
            self.look()

    def look(self) -> None:
        """Look at all hosts once; of reads that saw the same only the first and the last are kept."""
        with self._looking:
            for name, reads in self.reads.items():
                begin = time.monotonic()
                # A host that is being restarted has no files.
                with contextlib.suppress(FileNotFoundError, ProcessLookupError, NotADirectoryError):
                    release = os.readlink(self._environment(name) / "current").rpartition("/")[2]
                    if len(reads) > 1 and reads[-1].value == reads[-2].value == release:
                        reads.pop()
                    reads.append(Read(begin, time.monotonic(), release))

    def end(self) -> None:
        """Look no more."""
        self._over.set()
        self.join()

    def journal(self, host: str) -> list[dict]:
        """The records of a host's journal."""
        return [json.loads(line) for line in (self._environment(host) / "journal.jsonl").read_text().splitlines()]

    def open(self) -> list[Open]:
        """The transactions that are open now."""
        found = []
        for name in self.reads:
            with contextlib.suppress(OSError, ValueError):
                folder = self._environment(name) / "tx"
                for file in os.listdir(folder):
                    state = file.rpartition(".")[2]
                    if state in transaction.OPEN:
                        found.append(Open(name, state, json.loads((folder / file).read_text())["actor"]))
        return found

    def _environment(self, host: str) -> Path:
        return self._roots[host] / _ORG / host.partition("-")[0]


class Client:
    """Somebody who runs playbooks, the same ones again and again, with an organization of their own.

    :param habit: the playbooks, each with its environment.
    """

    def __init__(self, name: str, servers: Servers, habit: Sequence[tuple[str, str]] = ()) -> None:
        folder = servers.folder / name
        folder.mkdir()
        self.name = name
        self.team = Team(folder, servers.inventories)
        self.operations: list[Operation] = []
        self.current = ""
        self.process: subprocess.Popen | None = None
        self.environment: dict[str, str] = {}
        self._habit = habit
        self._numbers = itertools.count(1)

    def work(self, over: Callable[[], bool]) -> None:
        """Run playbooks until it is over; the last one to its end."""
        for action, env in itertools.cycle(self._habit):
            if over():
                break
            self.run(action, env)

    def run(self, action: str, env: str) -> Operation:
        """Run a playbook and keep what it said, or that it could not.

        :raises AssertionError: for a run that was left alone and said nothing.
        """
        self.begin(action, env)
        return self.end()

    def begin(self, action: str, env: str) -> None:
        """Begin to run a playbook; a push brings something new."""
        name = f"{self.name}-{next(self._numbers)}"
        if action == "push":
            self.team.touch(f"{name} {time.time()}")
        where = {"tetra_from": "dev", "tetra_to": env} if action == "promote" else {"tetra_env": env}
        self._result().unlink(missing_ok=True)
        command = self.team.command(action, tetra_actor=name, tetra_reason=name, tetra_probe_passes=1, **where)
        self._begun = (name, action, env, time.monotonic())
        with (self.team.folder / f"{name}.log").open("w") as output:
            self.process = subprocess.Popen(
                command, cwd=ROOT, env={**os.environ, **self.environment}, stdin=subprocess.DEVNULL, stdout=output,
                stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip
        self.current = name

    def end(self) -> Operation:
        """Wait for the end of what was begun; see :meth:`run`."""
        code = self.process.wait(timeout=LIMIT)
        self.current = ""
        result, log = self._result(), self.team.folder / f"{self._begun[0]}.log"
        told = json.loads(result.read_text()) if result.exists() else {}
        assert told or code == -signal.SIGKILL, (self._begun, code, log.read_text())
        operation = Operation(*self._begun, time.monotonic(), told.get("outcome", KILLED), told.get("hosts", {}))
        self.operations.append(operation)
        return operation

    def _result(self) -> Path:
        return self.team.folder / "result.json"


class Strike(NamedTuple):
    """Something that the nemesis did: to whom, for how many seconds, and which transactions were open then."""

    kind: str
    victim: str
    seconds: float
    open: list[Open]


class Nemesis:
    """Breaks one thing after the other, at moments when it hurts, and asserts each time that it is broken.

    :param durations: seconds of which it chooses how long something stays broken.
    """

    def __init__(
        self, servers: Servers, clients: list[Client], watch: Watch, seed: int, durations: Sequence[float]
    ) -> None:
        packages.ensure({"faketime": "faketime"}, "hosts and controllers with another date")
        self._servers = servers
        self._clients = clients
        self._watch = watch
        self._random = random.Random(seed)
        self._durations = durations
        self.strikes: list[Strike] = []
        self.kinds: dict[str, Callable[[list[Open]], tuple[str, float]]] = {
            "kill -9 of a controller": self._kill, "SIGSTOP of a controller": self._stop, "network cut": self._cut,
            "docker pause": self._pause, "restart of a host": self._restart, "full disk": self._fill,
            "date of a host": self._host_date, "date of controllers": self._controller_date,
        }  # fmt: skip

    def work(self, until: float) -> None:
        """Break things until a moment, each kind once before any comes again."""
        while time.monotonic() < until or len(self.strikes) < len(self.kinds):
            for kind in self._random.sample(list(self.kinds), len(self.kinds)):
                if time.monotonic() < until or len(self.strikes) < len(self.kinds):
                    self._strike(kind)

    def _strike(self, kind: str) -> None:
        wanted = {DISK} if kind == "full disk" else set(self._watch.reads)
        found = self._moment(wanted, 0.0 if kind.startswith("date") else _MOMENT)
        victim, seconds = self.kinds[kind](found)
        self.strikes.append(Strike(kind, victim, seconds, found))

    def _moment(self, hosts: Collection[str], seconds: float) -> list[Open]:
        """Wait a while for a moment at which a transaction is open on one of some hosts; any moment has to do then."""
        end = time.monotonic() + seconds
        while not (found := [one for one in self._watch.open() if one.host in hosts]) and time.monotonic() < end:
            time.sleep(0.01)
        return found

    def _seconds(self) -> float:
        return self._random.choice(self._durations)

    def _host(self, found: list[Open], but: str = "") -> containers.Host:
        names = [one.host for one in found if one.host != but] or [name for name in self._servers.hosts if name != but]
        return self._servers.hosts[self._random.choice(names)]

    def _controllers(self, found: list[Open]) -> Iterator[tuple[str, subprocess.Popen]]:
        """Runs of playbooks, first of all those that have a transaction open, as long as there are any."""
        actors, end = {one.actor for one in found}, time.monotonic() + LIMIT
        while time.monotonic() < end:
            busy = [client for client in self._clients if client.current and client.process]
            for client in sorted(busy, key=lambda client: client.current not in actors):
                yield client.current, client.process
            time.sleep(0.01)

    def _kill(self, found: list[Open]) -> tuple[str, float]:
        for name, process in self._controllers(found):
            _signal(process, signal.SIGKILL)
            if process.wait() == -signal.SIGKILL:
                return name, 0.0
        raise AssertionError("nobody runs a playbook any more")

    def _stop(self, found: list[Open]) -> tuple[str, float]:
        seconds = self._seconds()
        for name, process in self._controllers(found):
            _signal(process, signal.SIGSTOP)
            if process.poll() is None:
                time.sleep(seconds)
                _signal(process, signal.SIGCONT)
                return name, seconds
        raise AssertionError("nobody runs a playbook any more")

    def _cut(self, found: list[Open]) -> tuple[str, float]:
        host, seconds = self._host(found), self._seconds()
        host.cut()
        assert host.run("cat /sys/class/net/eth0/operstate").strip() == "down"
        time.sleep(seconds)
        host.heal()
        return host.name, seconds

    def _pause(self, found: list[Open]) -> tuple[str, float]:
        host, seconds = self._host(found), self._seconds()
        host.pause()
        time.sleep(seconds)
        host.unpause()
        return host.name, seconds

    def _restart(self, found: list[Open]) -> tuple[str, float]:
        host, begin = self._host(found, but=DISK), time.monotonic()
        before = host.root()
        host.reboot()
        self._watch.restarted(host.name)
        assert host.root() != before
        return host.name, time.monotonic() - begin

    def _fill(self, found: list[Open]) -> tuple[str, float]:
        host, seconds = self._servers.hosts[DISK], self._seconds()
        host.run("dd if=/dev/zero of=/var/lib/tetra/ballast bs=1M 2> /dev/null", check=False)
        status = os.statvfs(host.root() / "var/lib/tetra")
        assert status.f_bavail == 0
        time.sleep(seconds)
        host.run("rm /var/lib/tetra/ballast")
        return host.name, seconds

    def _host_date(self, found: list[Open]) -> tuple[str, float]:
        """What the host runs of ours has another date, and the clock that nobody can set as it was."""
        host, seconds, offset = self._host(found), self._seconds(), self._random.choice([30, -30])
        host.run(_MOVED_PYTHON.format(offset=offset * 86400))
        said = float(host.run("echo 'import time; print(time.time())' > /root/date.py; python3 -IS /root/date.py"))
        assert abs(said - time.time()) > 86400
        time.sleep(seconds)
        host.run("rm /etc/moved")
        return f"{host.name} {offset:+} days", seconds

    def _controller_date(self, found: list[Open]) -> tuple[str, float]:
        """The runs that begin in the next seconds have another date."""
        seconds, offset = self._seconds(), self._random.choice(["+30d", "-30d"])
        environment = {"LD_PRELOAD": _LIBRARY, "FAKETIME": offset}
        said = subprocess.run(["date", "+%s"], env={**os.environ, **environment}, capture_output=True, check=True)
        assert abs(int(said.stdout) - time.time()) > 86400
        for client in self._clients:
            client.environment = environment
        time.sleep(seconds)
        for client in self._clients:
            client.environment = {}
        return f"all {offset}", seconds


def _signal(process: subprocess.Popen, number: int) -> None:
    """Send a signal to a run of a playbook and all that it has started, wherever that went."""
    for pid in sorted(processes.family(process.pid)):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
