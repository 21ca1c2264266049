# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Systemd as the supervisor: a unit for each service, a timer for each deadman, the journal for what they say."""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping, Sequence

from ...model import seal
from ...model.errors import REFUSED, TetraError
from ...model.service import HONOURED
from .. import durable
from ..layout import Home
from . import units as unit_files
from .base import (
    ABSENT,
    BACKOFF,
    EXITED,
    FAILED,
    RUNNING,
    STARTING,
    STOPPED,
    SYSTEMD,
    ProcessState,
    Supervisor,
    UnitSpec,
)

LAUNCHER = ("/usr/bin/env", "-i", "/bin/sh", "-s")
"""A shell without the variables of systemd, which reads the launch script of a service."""

_FOLDER = "/etc/systemd/system"
_RUNTIME_FOLDER = "/run/systemd/system"
_SERVICES_WANTED = "multi-user.target.wants"
_TIMERS_WANTED = "timers.target.wants"
_BOOTED = "/run/systemd/system"
_BOOT = "tetra-boot.service"
_PROPERTIES = (
    "Id", "LoadState", "ActiveState", "SubState", "MainPID", "NRestarts", "Result", "Restart", "ExecMainCode",
    "ExecMainStatus", "ExecMainStartTimestampMonotonic", "FragmentPath", "NeedDaemonReload",
)  # fmt: skip
# Longer than any service may take to end.
_PATIENCE = 660.0
_LINES = "5000"
_KILLED = "2"
_TERM = "15"


class Systemd(Supervisor):
    """The systemd of this host.

    :param home: units belong to one directory of tetra; those of another one count as somebody else's.
    :param folder: where units are.
    """

    name = SYSTEMD
    honours = HONOURED
    own_users = True

    def __init__(self, home: Home, folder: str = _FOLDER) -> None:
        self._home = home
        self._folder = folder
        # Units whose files were newer than what systemd goes by, when it was asked last: a run was killed in between.
        self._unread: set[str] = set()

    def running(self) -> bool:
        """Whether systemd is what started this host, and units can be written."""
        return usable()

    def alive(self) -> bool:
        """Whether a service of this directory runs."""
        return any(state.state in (RUNNING, STARTING, BACKOFF) for state in self.states(self._own()).values())

    def ensure_running(self) -> None:
        """Object where systemd cannot be used; it is not ours to start."""
        if not self.running():
            raise TetraError(
                "services cannot be run with systemd here: it takes a host that systemd started, and root",
                hint="set ansible_become: true for the host, or tetra_supervisor: supervisord",
                code=REFUSED,
            )

    def shutdown(self) -> None:
        """Stop the services of this directory; they start again with the host, or with the next push."""
        self._systemctl("stop", [f"{unit}.service" for unit in self._own()])

    def states(self, units: Iterable[str]) -> dict[str, ProcessState]:
        """The state of each unit, in one question."""
        found = self._show(units, ".service")
        self._unread.update(unit for unit, shown in found.items() if shown["NeedDaemonReload"] == "yes")
        return {unit: _state(unit, shown) for unit, shown in found.items()}

    def start(self, specs: Sequence[UnitSpec]) -> None:
        """Define units and start them together."""
        texts = self._texts(specs)
        running = [unit for unit, state in self.states(texts).items() if state.state in (RUNNING, STARTING, BACKOFF)]
        self._stop([unit for unit in running if _read(self._path(f"{unit}.service")) != texts[unit]])
        self.replace([], [specs])

    def stop(self, units: Sequence[str], remove: bool = True) -> None:
        """Stop units, and forget them or keep them from starting with the host."""
        self._reset(units)
        self._stop(units)
        if not remove:
            self._unlink([self._wanted(_SERVICES_WANTED, f"{unit}.service") for unit in units])
        elif self._forget(units):
            self._systemctl("daemon-reload", [], bare=True)

    def tail(self, unit: str, size: int) -> str:
        """The end of what a unit, and systemd about it, wrote into the journal."""
        command = ["journalctl", "--quiet", "--no-pager", "--output=cat", f"--lines={_LINES}", f"--unit={unit}.service"]
        return _run(command).stdout[-size:].decode("utf-8", "replace")

    def replace(self, units: Sequence[str], levels: Sequence[Sequence[UnitSpec]]) -> None:
        """Stop units, forget those that are not started again, then start the others: one reload, one call a level.

        What is replaced is mostly stopped already, and its visitors wait: there is no call more than needed.
        """
        specs = [spec for level in levels for spec in level]
        texts = self._texts(specs)
        gone = [unit for unit in units if unit not in texts]
        self._stop(gone)
        changed = self._forget(gone)
        if self._define(specs, texts) or changed or self._unread.intersection(texts):
            self._systemctl("daemon-reload", [], bare=True)
            self._unread.clear()
        self._reset([unit for unit in texts if unit not in units])
        self._forget_starts(texts)
        for level in levels:
            self._start([spec.unit for spec in level], "restart" if units else "start")

    def _forget_starts(self, units: Iterable[str]) -> None:
        """Have units begin anew: a folder that is kept over restarts stays, too, when a unit is stopped between two."""
        for unit in units:
            # What a service has put there is its own; a folder only keeps it from being restarted.
            with contextlib.suppress(OSError):
                os.unlink(self.starts(unit))

    def sweep(self, age: float) -> None:
        """Look also where the links are that start units."""
        folders = [self._folder, *(self._wanted(target, "") for target in (_SERVICES_WANTED, _TIMERS_WANTED))]
        for folder in filter(os.path.isdir, folders):
            durable.sweep(folder, age)

    def launcher(self, agent: str) -> list[str]:
        """A shell is all that it takes."""
        return list(LAUNCHER)

    def starts(self, unit: str) -> str:
        """A file in the folder that systemd keeps over the restarts of a unit, and no longer."""
        return os.path.join("/run", unit, "starts")

    def arm(self, deadman: UnitSpec, lease: float, signed: Callable[[], bool]) -> bool:
        """Enable and start a timer on disk, and read back when it will elapse."""
        timer = f"{deadman.unit}.timer"
        self._write(f"{deadman.unit}.service", unit_files.deadman(deadman, self._home.root))
        self._write(timer, unit_files.timer(deadman, lease))
        self._link(_TIMERS_WANTED, timer)
        self._systemctl("start", [timer], may_fail=True)
        if _elapses(_shown(["show", "--property=ActiveState,SubState,NextElapseUSecMonotonic", timer])[0]):
            return True
        self.disarm([deadman.unit])
        return False

    def disarm(self, units: Iterable[str]) -> None:
        """Stop and forget timers; a deadman that runs sees for itself that there is nothing left to do."""
        # One that was killed before it had written both, or removed both, leaves the service alone.
        known = [unit for unit in units
                 if any(os.path.lexists(self._path(f"{unit}.{kind}")) for kind in ("timer", "service"))]
        self._systemctl("stop", [f"{unit}.timer" for unit in known], may_fail=True)
        self._unlink([self._wanted(_TIMERS_WANTED, f"{unit}.timer") for unit in known])
        self._unlink([self._path(f"{unit}.{kind}") for unit in known for kind in ("timer", "service")])

    def objections(self, owners: Mapping[str, str]) -> list[str]:
        """Units of somebody else that have the names, or run services of the names, of units to be defined."""
        if not owners:
            return []
        folders = _shown(["show", "--property=UnitPath"])[0]["UnitPath"].split()
        found = [reason for unit, owner in owners.items() for reason in self._against(unit, owner, folders)]
        names = [owner.rpartition("/")[2] for owner in owners.values()]
        running = [name for name, state in _listed(names).items() if state in ("active", "activating", "reloading")]
        for name, shown in self._show(running, ".service").items():
            found.append(
                f"service {name} runs already under the unit {name}.service ({shown['FragmentPath']}); "
                f"stop and disable that one first (systemctl disable --now {name}), or give ours another TSM_NAME"
            )
        return found

    def edited(self, defined: Iterable[str]) -> dict[str, list[str]]:
        """Units that were edited, that are gone, or that somebody gave drop-ins (``systemctl edit`` does)."""
        found = {unit: [*self._not_whole(unit), *self._drop_ins(unit)] for unit in defined}
        return {unit: paths for unit, paths in found.items() if paths}

    def unit_text(self, spec: UnitSpec) -> str:
        """The unit of a service."""
        return unit_files.service(spec, self._home.root)

    def unmanaged(self, owner: str, defined: Iterable[str]) -> list[str]:
        """Units with our marks, in the folder that is ours to write."""
        others = set(self._own()).difference(defined)
        texts = {unit: _read(self._path(f"{unit}.service")) or "" for unit in others}
        return [unit for unit, text in sorted(texts.items()) if unit_files.owner_of(text).startswith(owner)]

    def settles_at_boot(self, program: str) -> bool:
        """Whether the unit that settles transactions is in place."""
        link = self._wanted(_SERVICES_WANTED, _BOOT)
        return _read(self._path(_BOOT)) == unit_files.boot(program, self._home.root) and os.path.lexists(link)

    def settle_at_boot(self, program: str) -> None:
        """Put the unit that settles transactions in its place."""
        self._write(_BOOT, unit_files.boot(program, self._home.root))
        self._link(_SERVICES_WANTED, _BOOT)
        self._systemctl("daemon-reload", [], bare=True)

    def forget_boot(self) -> None:
        """Remove the unit that settles transactions."""
        self._unlink([self._wanted(_SERVICES_WANTED, _BOOT), self._path(_BOOT)])
        self._systemctl("daemon-reload", [], bare=True)

    def forget_all(self) -> None:
        """Stop and forget the services and the deadmen of this directory."""
        timers = [name[: -len(".timer")] for name in os.listdir(self._folder) if name.endswith(".timer")]
        texts = {name: _read(self._path(f"{name}.service")) or "" for name in timers}
        mine = [name for name, text in texts.items() if unit_files.is_of(text, self._home.root)]
        self.disarm(mine)
        self.stop(self._own())

    def _against(self, unit: str, owner: str, folders: Iterable[str]) -> list[str]:
        """What stands where systemd would look first for a unit, if that is not ours."""
        paths = (os.path.join(folder, f"{unit}.service") for folder in folders)
        path = next(filter(os.path.lexists, paths), None)
        if path is None:
            return []
        if os.path.realpath(path) == os.devnull:
            return [f"unit {unit}.service is masked; systemctl unmask it"]
        if unit_files.is_of(_read(path) or "", self._home.root, owner):
            return []
        return [f"unit {unit}.service ({path}) is not {owner} of {self._home.root}; remove it"]

    def _own(self) -> list[str]:
        """The units of services of this directory."""
        names = sorted(name for name in os.listdir(self._folder) if name.startswith("tetra-") and name != _BOOT)
        services = [name for name in names if name.endswith(".service")]
        mine = [name for name in services if unit_files.is_of(_read(self._path(name)) or "", self._home.root)]
        return [name[: -len(".service")] for name in mine]

    def _texts(self, specs: Iterable[UnitSpec]) -> dict[str, str]:
        return {spec.unit: unit_files.service(spec, self._home.root) for spec in specs}

    def _define(self, specs: Iterable[UnitSpec], texts: Mapping[str, str]) -> bool:
        """Write the units that differ; whether there were any."""
        changed = [unit for unit, text in texts.items() if _read(self._path(f"{unit}.service")) != text]
        for unit in changed:
            self._write(f"{unit}.service", texts[unit])
        drop_ins = [path for unit in texts for path in self._drop_ins(unit)]
        self._unlink(drop_ins)
        for spec in specs:
            if spec.autostart:
                self._link(_SERVICES_WANTED, f"{spec.unit}.service")
            else:
                self._unlink([self._wanted(_SERVICES_WANTED, f"{spec.unit}.service")])
        return bool(changed or drop_ins)

    def _not_whole(self, unit: str) -> list[str]:
        path = self._path(f"{unit}.service")
        return [] if seal.is_whole(_read(path) or "") else [path]

    def _drop_ins(self, unit: str) -> list[str]:
        """Files with which somebody changed a unit of ours; those for all units are the business of the host."""
        folders = [os.path.join(folder, f"{unit}.service.d") for folder in (self._folder, _RUNTIME_FOLDER)]
        return [os.path.join(folder, name) for folder in folders if os.path.isdir(folder)
                for name in sorted(os.listdir(folder)) if name.endswith(".conf")]

    def _forget(self, forgotten: Sequence[str]) -> bool:
        """Remove units from the disk; whether there were any."""
        known = [unit for unit in forgotten if os.path.lexists(self._path(f"{unit}.service"))]
        self._reset(known)
        self._unlink([self._wanted(_SERVICES_WANTED, f"{unit}.service") for unit in known])
        self._unlink([self._path(f"{unit}.service") for unit in known])
        return bool(known)

    def _reset(self, units: Sequence[str]) -> None:
        """Forget restarts that were counted and starts in a row, which would use up what a unit may be started."""
        self._systemctl("reset-failed", [f"{unit}.service" for unit in units], may_fail=True)

    def _start(self, starting: Sequence[str], verb: str) -> None:
        """Start units together. That one ended at once is for the checks to say, but systemd must know all of them."""
        self._systemctl(verb, [f"{unit}.service" for unit in starting], may_fail=True)
        listed = _listed(starting)
        # One that has ended already may be forgotten, until somebody asks for it by its name.
        states = self.states([unit for unit in starting if unit not in listed])
        absent = [unit for unit, state in states.items() if state.state == ABSENT]
        if absent:
            message = f"systemd does not take the unit {', '.join(absent)}"
            raise TetraError(message, hint=f"run systemd-analyze verify {absent[0]}.service", code=REFUSED)

    def _stop(self, stopping: Sequence[str]) -> None:
        known = [unit for unit in stopping if os.path.lexists(self._path(f"{unit}.service"))]
        self._systemctl("stop", [f"{unit}.service" for unit in known])

    def _show(self, names: Iterable[str], kind: str) -> dict[str, dict[str, str]]:
        names = list(names)
        if not names:
            return {}
        shown = _shown(["show", f"--property={','.join(_PROPERTIES)}", *(f"{name}{kind}" for name in names)])
        return dict(zip(names, shown))

    def _systemctl(self, verb: str, names: Sequence[str], bare: bool = False, may_fail: bool = False) -> None:
        if not names and not bare:
            return
        done = _run(["systemctl", verb, *names])
        if done.returncode and not may_fail:
            said = (done.stderr.decode("utf-8", "replace").strip() or f"exit code {done.returncode}").splitlines()[0]
            raise TetraError(f"systemctl {verb}: {said}", hint="look at systemctl status and journalctl", code=REFUSED)

    def _path(self, name: str) -> str:
        return os.path.join(self._folder, name)

    def _wanted(self, target: str, name: str) -> str:
        return os.path.join(self._folder, target, name)

    def _write(self, name: str, text: str) -> None:
        durable.write_file(self._path(name), text.encode())

    def _link(self, target: str, name: str) -> None:
        link = self._wanted(target, name)
        if not os.path.lexists(link):
            os.makedirs(os.path.dirname(link), exist_ok=True)
            durable.replace_link(link, self._path(name))

    def _unlink(self, paths: Iterable[str]) -> None:
        for path in filter(os.path.lexists, paths):
            durable.remove(path)


def usable() -> bool:
    """Whether services can be run with systemd on this host by this user."""
    return os.path.isdir(_BOOTED) and os.geteuid() == 0


def _state(unit: str, shown: Mapping[str, str]) -> ProcessState:
    active, sub = shown["ActiveState"], shown["SubState"]
    if shown["LoadState"] != "loaded" and active == "inactive":
        return ProcessState(unit, ABSENT)
    restarts = int(shown["NRestarts"])
    if active == "activating" and sub.startswith("auto-restart"):
        return ProcessState(unit, BACKOFF, restarts=restarts)
    if active in ("active", "activating", "reloading"):
        pid = int(shown["MainPID"])
        state = RUNNING if active != "activating" else STARTING
        return ProcessState(unit, state, pid or None, _started(shown), restarts)
    if active == "failed" and shown["Restart"] != "no":
        # Systemd counts the restart that was not allowed.
        return ProcessState(unit, FAILED, restarts=max(0, restarts - 1))
    code = shown["ExecMainCode"]
    on_request = code == _KILLED and shown["ExecMainStatus"] == _TERM
    if active == "deactivating" or code == "0" or (on_request and active != "failed"):
        return ProcessState(unit, STOPPED, restarts=restarts)
    exit_code = -1 if code == _KILLED else int(shown["ExecMainStatus"])
    return ProcessState(unit, EXITED, restarts=restarts, exit_code=exit_code)


def _started(shown: Mapping[str, str]) -> float | None:
    since_boot = int(shown["ExecMainStartTimestampMonotonic"] or 0) / 1_000_000
    return time.time() - (time.monotonic() - since_boot) if since_boot else None


def _listed(names: Iterable[str]) -> dict[str, str]:
    """The active state of each of some services that systemd has loaded; much cheaper than all of their properties."""
    patterns = [f"{name}.service" for name in names]
    if not patterns:
        return {}
    command = ["systemctl", "list-units", "--all", "--plain", "--no-legend", "--full", *patterns]
    rows = [line.split() for line in _run(command).stdout.decode("utf-8", "replace").splitlines()]
    return {row[0][: -len(".service")]: row[2] for row in rows if row[1] == "loaded"}


def _elapses(shown: Mapping[str, str]) -> bool:
    waits = shown["ActiveState"] == "active" and shown["SubState"] == "waiting"
    return waits and shown["NextElapseUSecMonotonic"] not in ("", "0", "infinity")


def _shown(arguments: list[str]) -> list[dict[str, str]]:
    """What systemctl show prints, a record for each unit in the order in which they were named."""
    text = _run(["systemctl", *arguments]).stdout.decode("utf-8", "replace")
    blocks = [block for block in text.split("\n\n") if block.strip()]
    records = [dict(line.partition("=")[::2] for line in block.splitlines()) for block in blocks]
    if not records:
        raise TetraError("systemd does not answer", hint="look at systemctl status", code=REFUSED)
    return records


def _run(command: list[str]) -> subprocess.CompletedProcess[bytes]:
    environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C", "SYSTEMD_COLORS": "0", "SYSTEMD_PAGER": ""}
    try:
        return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False, env=environment,
                              timeout=_PATIENCE)
    except (OSError, subprocess.TimeoutExpired) as error:
        hint = "look at systemctl status; a host without systemd takes tetra_supervisor: supervisord"
        raise TetraError(f"{command[0]} could not be run: {error}", hint=hint, code=REFUSED) from error


def _read(path: str) -> str | None:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return None
