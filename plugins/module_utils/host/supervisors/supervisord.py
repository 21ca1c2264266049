# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Supervisord as the supervisor where there is no systemd: an instance of its own for each tetra_dir, without root.

It is spoken to over its socket alone; that it is the same Python package is not relied on.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import pwd
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from ...model import launch_script
from ...model.errors import REFUSED, TetraError
from .. import durable, processes
from ..layout import Home
from . import programs
from .base import (
    ABSENT,
    BACKOFF,
    EXITED,
    FAILED,
    RUNNING,
    STARTING,
    STOPPED,
    SUPERVISORD,
    ProcessState,
    Supervisor,
    UnitSpec,
)
from .rpc import Client, SilentError

# Numbers of supervisord's interface: states of processes, and faults that a race between two callers can bring.
_STOPPED, _STARTING, _RUNNING, _BACKOFF, _STOPPING, _EXITED = 0, 10, 20, 30, 40, 100
_TO_STOP = (_STARTING, _RUNNING, _BACKOFF)
_SHUTS_DOWN, _BAD_NAME, _NOT_RUNNING, _ALREADY_ADDED, _STILL_RUNNING = 6, 10, 70, 90, 91

_PATIENCE = 15.0
_ARMING_TIMEOUT = 10.0
_SPAWN_TIMEOUT = 15.0
_SETTLE_TIMEOUT = 15.0
_STOP_TIMEOUT = 600.0
_ORPHAN_TIMEOUT = 10.0
_PAUSE = 0.02
# How long a start is watched for a process that dies at once; whether it works is what probes are for.
_SETTLE = 0.2


class Supervisord(Supervisor):
    """The supervisord of one tetra_dir.

    :param executable: the program with its first arguments; None looks beside this Python, then in PATH.
    """

    name = SUPERVISORD
    honours = frozenset({
        "NAME", "DESCRIPTION", "ORG", "COMMAND", "ARGS", "CWD", "PORT", "ENV", "ENV_FILE", "ENV_FILES",
        "PRE_COMMAND", "PRE_START", "DEPENDS", "DEPS", "HEALTH_CHECK", "HEALTH_INTERVAL", "HEALTH_TIMEOUT",
        "HEALTH_RETRIES", "HEALTH_START_PERIOD", "MIN_HEALTHY", "RESTART_ON_FAILURE", "RESTART_POLICY",
        "MAX_RESTARTS", "STOP_TIMEOUT",
    })  # fmt: skip

    def __init__(self, home: Home, executable: list[str] | None) -> None:
        # One directory that has two names has one supervisord.
        root = os.path.realpath(home.root)
        self._folder = os.path.join(root, os.path.basename(home.supervisor))
        self._root = home.root
        self._executable = executable
        self._configuration = os.path.join(self._folder, "supervisord.conf")
        self._programs = os.path.join(self._folder, "programs")
        self._guard = os.path.join(self._folder, "guard")
        digest = hashlib.sha256(os.fsencode(root)).hexdigest()[:12]
        self._log = os.path.join(self._folder, "supervisord.log")
        self._client = Client(f"/tmp/tetra-{os.geteuid()}-{digest}", self._log)

    def running(self) -> bool:
        """Whether supervisord answers and is not about to end."""
        try:
            return self._client.call("supervisor.getState", timeout=2.0, accept=(_SHUTS_DOWN,)) is not None
        except SilentError:
            return False

    def alive(self) -> bool:
        """Whether supervisord lives, answering or not, or a program that a killed one has left."""
        return self._pid() is not None or any(map(processes.lives, self._identities(self._begun())))

    def ensure_running(self) -> None:
        """Start supervisord, free of this process, its session and its descriptors, unless it answers.

        One that lives and cannot be reached, because its socket was removed, is replaced; that restarts its programs.
        """
        if self.running():
            return
        with self._lock():
            if not self._answers():
                self._end()
                self._write_configuration()
                self._spawn()

    def shutdown(self) -> None:
        """End all programs at the same time, then supervisord, and wait until it is gone."""
        if self._pid() is not None or os.path.isdir(self._programs):
            with self._lock():
                self._end()

    def states(self, units: Iterable[str]) -> dict[str, ProcessState]:
        """The state of each unit; all are ``absent`` when supervisord does not run."""
        known = self._known()
        return {unit: self._state(unit, known.get(unit)) for unit in units}

    def start(self, specs: Sequence[UnitSpec]) -> None:
        """Write the programs of units and have supervisord start them, unless they run as they should."""
        texts = {spec.unit: programs.program(spec, self._command(spec)) for spec in specs}
        self.ensure_running()
        states = self.states(texts)
        new = {unit: text for unit, text in texts.items() if not self._runs_as(states[unit], text)}
        if not new:
            return
        self._stop(new, self._known())
        self._end_orphans(new)
        for spec in specs:
            durable.make_folder(os.path.dirname(spec.log), 0o700)
        if _read(self._guard) != programs.GUARD:
            durable.write_file(self._guard, programs.GUARD.encode(), 0o644)
        self._define(new)
        self._settle(new)

    def stop(self, units: Sequence[str], remove: bool = True) -> None:
        """Stop units at the same time and forget them, or leave them defined as stopped."""
        known = self._known()
        texts = {unit: _read(self._path(unit, "conf")) for unit in units}
        if remove:
            # First, so that one that is forgotten cannot come back, whenever this run gets killed.
            self._remove_files(units, "conf")
        self._stop(units, known)
        self._end_orphans(units)
        if not remove:
            left = {unit: text for unit, text in texts.items() if text and unit in known}
            self._define({unit: programs.without_autostart(text) for unit, text in left.items()})

    def arm(self, deadman: UnitSpec, lease: float, signed: Callable[[], bool]) -> bool:
        """Start a deadman as a program of its own, which waits for the end of the lease by itself."""
        self.ensure_running()
        self.start([deadman])
        deadline = time.monotonic() + _ARMING_TIMEOUT
        while time.monotonic() < deadline:
            if signed():
                return True
            time.sleep(_PAUSE)
        self.disarm([deadman.unit])
        return False

    def disarm(self, units: Iterable[str]) -> None:
        """Stop and forget deadmen, and what a run that was killed while it did so has left of them."""
        files = set(os.listdir(self._programs)) if os.path.isdir(self._programs) else set()
        states = self.states(units)
        self.stop([unit for unit, state in states.items()
                   if state.state != ABSENT or files & {f"{unit}.conf", f"{unit}.starts"}])

    def sweep(self, age: float) -> None:
        """Look in the folder of all programs."""
        if os.path.isdir(self._programs):
            durable.sweep(self._programs, age)

    def tail(self, unit: str, size: int) -> str:
        """The end of the log of a unit, over the last rotation if need be."""
        info = self._known().get(unit)
        return _tail(info["stdout_logfile"], size) if info else ""

    def _answers(self) -> bool:
        """Whether supervisord answers, now or when it is done with what keeps it from that.

        :raises TetraError: when it has a socket and hangs; to end it would end its programs, so that is not done.
        """
        deadline = time.monotonic() + _PATIENCE
        while not self.running():
            pid = self._pid()
            if pid is None or not os.path.exists(self._client.socket):
                return False
            if time.monotonic() > deadline:
                raise self._deaf(pid)
            time.sleep(_PAUSE)
        return True

    def _known(self) -> dict[str, dict[str, Any]]:
        """What supervisord knows of its programs, by name; nothing when it does not run."""
        deadline = time.monotonic() + _PATIENCE
        while True:
            with contextlib.suppress(SilentError):
                infos = self._client.call("supervisor.getAllProcessInfo", accept=(_SHUTS_DOWN,))
                if infos is not None:
                    return {info["name"]: info for info in infos}
            pid = self._pid()
            if pid is None:
                return {}
            if time.monotonic() > deadline:
                raise self._deaf(pid)
            # Another run may just have started it, or be about to end it.
            time.sleep(_PAUSE)

    def _deaf(self, pid: int) -> TetraError:
        if os.path.exists(self._client.socket):
            hint = f"look at {self._log}; if it hangs for good, kill it and run playbooks/prepare.yml"
        else:
            hint = "its folder in /tmp was removed; run playbooks/prepare.yml, which starts it and its services anew"
        return TetraError(f"supervisord (pid {pid}) does not answer on {self._client.socket}", hint=hint, code=REFUSED)

    def _call(self, method: str, *arguments: str | int, accept: Sequence[int] = ()) -> object:
        try:
            return self._client.call(method, *arguments, accept=accept)
        except SilentError as error:
            message = f"supervisord did not answer {method}: {error}"
            raise TetraError(message, hint=f"look at {self._log}", code=REFUSED) from error

    def _state(self, unit: str, info: Mapping[str, Any] | None) -> ProcessState:
        if info is None:
            return ProcessState(unit, ABSENT)
        raw, starts = info["state"], self._starts(unit)
        restarts = int(starts["restarts"]) if starts else 0
        if raw in (_STARTING, _RUNNING):
            started = float(info["start"])
            return ProcessState(unit, self._phase(info["pid"], restarts), info["pid"] or None, started, restarts)
        if raw == _EXITED and info["exitstatus"] != launch_script.GIVEN_UP:
            return ProcessState(unit, EXITED, restarts=restarts, exit_code=info["exitstatus"])
        # What is being stopped still lives, but nobody can rely on it any more.
        state = {_STOPPED: STOPPED, _STOPPING: STOPPED, _BACKOFF: BACKOFF}.get(raw, FAILED)
        return ProcessState(unit, state, restarts=restarts)

    def _phase(self, pid: int, restarts: int) -> str:
        """Whether the process is the program already; at first it is supervisord's own fork, then the guard."""
        arguments = processes.arguments(pid)
        if not arguments or self._guard in arguments[:2] or arguments[-1] == self._configuration:
            return BACKOFF if restarts else STARTING
        return RUNNING

    def _starts(self, unit: str) -> re.Match[str] | None:
        return programs.STARTS.fullmatch(_read(self._path(unit, "starts")) or "")

    def _runs_as(self, state: ProcessState, text: str) -> bool:
        return state.state in (RUNNING, STARTING) and _read(self._path(state.unit, "conf")) == text

    def _define(self, texts: Mapping[str, str]) -> None:
        """Give programs to supervisord that it does not have; it starts them by itself."""
        self._remove_files(texts, "starts")
        for unit, text in texts.items():
            with durable.replacing(self._path(unit, "conf"), 0o600) as file:
                file.write(text.encode())
        durable.sync_folder(self._programs)
        self._call("supervisor.reloadConfig")
        for unit in texts:
            self._call("supervisor.addProcessGroup", unit, accept=(_ALREADY_ADDED,))

    def _remove_files(self, units: Iterable[str], kind: str) -> None:
        for unit in units:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._path(unit, kind))
        if os.path.isdir(self._programs):
            durable.sync_folder(self._programs)

    def _settle(self, units: Iterable[str]) -> None:
        """Wait until units run, or have ended; supervisord begins with one that it got in its next round."""
        begun = time.monotonic()
        while time.monotonic() < begun + _SETTLE_TIMEOUT:
            states = {state.state for state in self.states(units).values()}
            if not states & {STARTING, STOPPED} and time.monotonic() > begun + _SETTLE:
                return
            time.sleep(_PAUSE)

    def _stop(self, units: Iterable[str], known: Mapping[str, Mapping[str, Any]]) -> None:
        """Stop units that supervisord knows and take them from it.

        One that crashes may be restarted between two calls, so what happened is looked at until all are gone.
        """
        left = [unit for unit in units if unit in known]
        deadline = time.monotonic() + _STOP_TIMEOUT
        while left:
            for unit in left:
                if known[unit]["state"] in _TO_STOP:
                    self._call("supervisor.stopProcess", unit, False, accept=(_NOT_RUNNING, _BAD_NAME))
                else:
                    self._call("supervisor.removeProcessGroup", unit, accept=(_STILL_RUNNING, _BAD_NAME))
            known = self._known()
            left = [unit for unit in left if unit in known]
            if left and time.monotonic() > deadline:
                message = f"{', '.join(left)}: the processes do not end"
                raise TetraError(message, hint=f"look at {self._log}", code=REFUSED)
            time.sleep(_PAUSE if left else 0)

    def _end(self) -> None:
        """End supervisord and its programs, or what is left of them; the caller holds the lock."""
        pid = self._pid()
        identity = processes.identity(pid) if pid is not None else None
        if pid is not None and identity is not None:
            if self.running():
                # One after the other is what supervisord would do.
                for unit, info in self._known().items():
                    if info["state"] in _TO_STOP:
                        self._call("supervisor.stopProcess", unit, False, accept=(_NOT_RUNNING, _BAD_NAME))
                self._call("supervisor.shutdown")
            else:
                os.kill(pid, signal.SIGTERM)
            if not _wait_for_end([identity], _STOP_TIMEOUT):
                message = f"supervisord (pid {pid}) does not end"
                raise TetraError(message, hint=f"look at {self._log}", code=REFUSED)
        self._client.remove_folder()
        self._end_orphans(self._begun())

    def _begun(self) -> list[str]:
        """The units that were started and not forgotten since."""
        names = os.listdir(self._programs) if os.path.isdir(self._programs) else []
        return [name[: -len(".starts")] for name in names if name.endswith(".starts")]

    def _identities(self, units: Iterable[str]) -> list[str]:
        return [starts["identity"] for starts in map(self._starts, units) if starts]

    def _end_orphans(self, units: Iterable[str]) -> None:
        """End what units have left behind, and forget how often they were started.

        Of a killed supervisord that is all of a unit; of one that went into the background, its children.
        """
        leaders = self._identities(units)
        for number in (signal.SIGTERM, signal.SIGKILL):
            left = [*filter(processes.lives, leaders), *filter(self._is_ours, processes.groups(leaders))]
            for one in left:
                with contextlib.suppress(ProcessLookupError):
                    # Supervisord made each of them the leader of a group.
                    (os.killpg if one in leaders else os.kill)(processes.pid(one), number)
            if _wait_for_end(left, _ORPHAN_TIMEOUT):
                break
        self._remove_files(units, "starts")

    def _is_ours(self, known: str) -> bool:
        """Whether a process was started by us; the group of a leader that is gone may be somebody else's by now."""
        marks = {f"TETRA_DIR={self._root}", f"SUPERVISOR_SERVER_URL=unix://{self._client.socket}"}
        return not marks.isdisjoint(processes.environment(processes.pid(known)))

    def _pid(self) -> int | None:
        """The pid of our supervisord, if it lives; no file is believed, which could be gone or name somebody else."""
        found = processes.ending_with(["-n", "-c", self._configuration])
        return found[0] if found else None

    @contextlib.contextmanager
    def _lock(self) -> Iterator[None]:
        durable.make_folder(self._folder)
        with durable.lock(os.path.join(self._folder, "lock"), timeout=30.0):
            yield

    def _write_configuration(self) -> None:
        text = programs.configuration(self._folder, self._client.socket)
        self._client.make_folder()
        durable.make_folder(self._programs, 0o700)
        durable.sweep(self._programs)
        durable.write_file(self._configuration, text.encode(), 0o600)

    def _spawn(self) -> None:
        """Start supervisord as the child of a shell that ends at once, in a session without a leader."""
        command = [*self._find(), "-n", "-c", self._configuration]
        said = os.path.join(self._folder, "start.log")
        environment = {"PATH": f"{os.defpath}:/usr/local/bin:/usr/sbin:/sbin", "LANG": "C.UTF-8", "HOME": _home()}
        with open(said, "wb") as output:
            subprocess.run(["/bin/sh", "-c", 'umask 022; "$@" &', "sh", *command], check=True, env=environment, cwd="/",
                           stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True)
        deadline = time.monotonic() + _SPAWN_TIMEOUT
        while not self.running():
            if time.monotonic() > deadline or (_read(said) and self._pid() is None):
                lines = (_read(said) or "it does not answer").splitlines()
                why = next((line for line in lines if line.startswith("Error: ")), lines[-1])
                hint = f"look at {said}, or run: {shlex.join(command)}"
                raise TetraError(f"supervisord did not start: {why}", hint=hint, code=REFUSED)
            time.sleep(_PAUSE)

    def _find(self) -> list[str]:
        beside = os.path.join(os.path.dirname(sys.executable), "supervisord")
        found = self._executable or [shutil.which(beside) or shutil.which("supervisord") or ""]
        if not shutil.which(found[0]):
            raise TetraError(
                f"supervisord was not found{f' at {found[0]}' if found[0] else ''}",
                hint="install it (pip install supervisor), or name its path with tetra_supervisord",
                code=REFUSED,
            )
        return found

    def _command(self, spec: UnitSpec) -> list[str]:
        # It runs as the owner of the script, and can read it for itself.
        words = [*spec.argv, *([spec.script] if spec.script else [])]
        return ["/bin/sh", self._guard, self._path(spec.unit, "starts"), str(spec.max_restarts), *words]

    def _path(self, unit: str, kind: str) -> str:
        return os.path.join(self._programs, f"{unit}.{kind}")


def _wait_for_end(identities: Iterable[str], seconds: float) -> bool:
    """Wait until processes are gone; whether they are."""
    deadline = time.monotonic() + seconds
    while any(map(processes.lives, identities)):
        if time.monotonic() > deadline:
            return False
        time.sleep(_PAUSE)
    return True


def _home() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_dir
    except KeyError:
        return "/"


def _read(path: str) -> str | None:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except FileNotFoundError:
        return None


def _tail(path: str, size: int) -> str:
    data = b""
    for name in (path, f"{path}.1"):
        with contextlib.suppress(FileNotFoundError), open(name, "rb") as file:
            begin = max(0, file.seek(0, os.SEEK_END) - (size - len(data)))
            file.seek(begin)
            data = file.read(size - len(data)) + data
    return data.decode("utf-8", "replace")
