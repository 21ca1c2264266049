# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Is this host well: checks that change nothing, each with what to do. One that fails does not end the rest."""

from __future__ import annotations

import dataclasses
import os
import stat
from collections.abc import Callable
from typing import Any

from ..model import listing, transaction
from ..model.errors import ERROR, WARNING, TetraError
from ..model.ports import conflicts as ports_conflicts
from . import durable, holds, journal, keys, port_changes, registry, running, store, transactions
from . import settings as settings_file
from .layout import Environment, Home
from .scope import Scope, open_scope, open_supervisor
from .settings import Settings

OK = "ok"

_MIB = 1024 * 1024
_LEAST_SPACE = 100 * _MIB
_LITTLE_SPACE = 1024 * _MIB
_LITTLE_SHARE = 0.05
_PREPARE = "run playbooks/prepare.yml for this host"


@dataclasses.dataclass(frozen=True)
class Check:
    """What one check came to: ``status`` is ok, warning or error; ``hint`` says what to do."""

    check: str
    status: str
    detail: str
    hint: str = ""

    def to_wire(self) -> dict[str, Any]:
        """The check as plain data."""
        return dataclasses.asdict(self)


def examine(home: Home, environments: list[Environment]) -> list[Check]:
    """Check a host and some of its environments; without preparation there is nothing else to look at."""
    try:
        settings = settings_file.load(home)
    except (TetraError, TypeError, KeyError) as error:
        return [_failed("host", error)]
    checks = [Check("host", OK, f"{home.root} is prepared, with {settings.supervisor}")]
    checks += _made("agent", lambda: _agent(home))
    checks += _made("supervisor", lambda: _supervisor(home, settings))
    checks += _made("disk", lambda: _disk(home))
    checks += _made("folders", lambda: _folders(home))
    checks += _made("ports", lambda: _ports(home))
    for environment in environments:
        checks += _environment(home, environment)
    return checks


def _environment(home: Home, environment: Environment) -> list[Check]:
    name = f"{environment.org}/{environment.env}"
    checks = _made(f"folders {name}", lambda: _private(environment))
    checks += _made(f"journal {name}", lambda: _journal(environment))
    checks += _made(f"release {name}", lambda: _release(environment))
    checks += _made(f"transactions {name}", lambda: _transactions(environment))
    checks += _made(f"services {name}", lambda: _services(open_scope(home.root, environment.org, environment.env)))
    checks += _made(f"holds {name}", lambda: _holds(open_scope(home.root, environment.org, environment.env)))
    return checks


def _made(name: str, check: Callable[[], list[Check]]) -> list[Check]:
    """The remarks of a check under its name; what keeps a check from being made is an error of that check."""
    try:
        return [dataclasses.replace(found, check=name) for found in check()]
    except (TetraError, OSError, ValueError, LookupError, TypeError) as error:
        return [_failed(name, error)]


def _failed(name: str, error: Exception) -> Check:
    if isinstance(error, TetraError):
        return Check(name, ERROR, error.message, error.hint)
    if isinstance(error, OSError):
        return Check(name, ERROR, f"{error.filename or 'the host'}: {error.strerror or error}",
                     "look at the disk and at the owner of the file")
    # A file that says something else than it should; its words could be private.
    return Check(name, ERROR, f"a file of it does not hold what it should ({type(error).__name__})",
                 "compare with a backup, or push again")


def _ok(detail: str) -> Check:
    return Check("", OK, detail)


def _warning(detail: str, hint: str) -> Check:
    return Check("", WARNING, detail, hint)


def _error(detail: str, hint: str) -> Check:
    return Check("", ERROR, detail, hint)


def _agent(home: Home) -> list[Check]:
    link = os.path.join(home.bin, "tsm")
    program = os.path.realpath(link)
    if not os.path.islink(link) or not os.path.isfile(program) or not os.access(program, os.X_OK):
        return [_error(f"{link} does not lead to a program", _PREPARE)]
    if os.path.dirname(program) != os.path.realpath(home.bin):
        return [_error(f"{link} leads out of {home.bin}, to {program}", _PREPARE)]
    return [_ok(os.path.basename(program)[:len("tsm-") + 12])]


def _supervisor(home: Home, settings: Settings) -> list[Check]:
    supervisor = open_supervisor(home, settings)
    if supervisor.running():
        return [_ok(f"{supervisor.name} answers")]
    what = "does not answer, but it or what it kept alive is still there" if supervisor.alive() else "does not run"
    return [_error(f"{supervisor.name} {what}", f"{_PREPARE}, or start a service with tsm start")]


def _ports(home: Home) -> list[Check]:
    known = port_changes.live(home.root, registry.load(home.root))
    found = ports_conflicts.findings(known, "")
    checks = [Check("", one.severity, one.message, one.hint) for one in found]
    return checks or [_ok(f"{len(list(known.registry.identities()))} registered, none in conflict")]


def _disk(home: Home) -> list[Check]:
    found = os.statvfs(home.root)
    free, total = found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize
    detail = f"{listing.size(free)} of {listing.size(total)} are free"
    hint = f"make room on the disk of {home.root}; logs and old releases are below orgs/"
    # Some file systems make inodes as they are needed, and say that they have none.
    inodes = found.f_favail / found.f_files if found.f_files else 1.0
    if free < _LEAST_SPACE or inodes < 0.01:
        return [_error(f"{detail}, and {inodes:.0%} of the inodes", hint)]
    if free < _LITTLE_SPACE or free < total * _LITTLE_SHARE or inodes < _LITTLE_SHARE:
        return [_warning(f"{detail}, and {inodes:.0%} of the inodes", hint)]
    return [_ok(detail)]


def _folders(home: Home) -> list[Check]:
    # Only supervisord needs a folder of its own; that it is missing is for the check of the supervisor to say.
    paths = [home.root, home.config, home.bin, *filter(os.path.lexists, [home.supervisor])]
    found = [check for path in paths for check in _folder(path, 0o755)]
    found += _file(keys.path(home))
    return found or [_ok("nobody else can write to them")]


def _private(environment: Environment) -> list[Check]:
    """Nobody else may write anywhere, or read what can hold secrets."""
    found = [check for path in environment.parents()[1:] for check in _folder(path, 0o755)]
    for path, mode in environment.folders().items():
        if not os.path.lexists(path):
            found.append(_warning(f"{path} is missing", "the next push or promotion makes it"))
            continue
        found += _folder(path, mode)
    for folder in (environment.private, environment.run):
        names = sorted(os.listdir(folder)) if os.path.isdir(folder) else []
        found += [check for name in names for check in _file(os.path.join(folder, name))]
    return found or [_ok("nobody else can write to them or read secrets")]


def _folder(path: str, mode: int) -> list[Check]:
    if not os.path.lexists(path):
        return [_error(f"{path} is missing", _PREPARE)]
    try:
        durable.check_folder(path)
    except TetraError as error:
        return [_error(error.message, error.hint)]
    return _readers(path, mode)


def _file(path: str) -> list[Check]:
    if not os.path.lexists(path):
        return [_error(f"{path} is missing", _PREPARE)]
    return _readers(path, 0o600)


def _readers(path: str, mode: int) -> list[Check]:
    """Whether others may read or do what they should not."""
    found = os.lstat(path)
    if found.st_uid not in (0, os.geteuid()):
        return [_error(f"{path} belongs to another user", f"look at what is in it, then: chown {os.geteuid()} {path}")]
    actual = stat.S_IMODE(found.st_mode)
    if actual & 0o077 and not mode & 0o077:
        return [_error(f"others may read {path} (mode {actual:04o})", f"chmod {mode:04o} {path}; change its secrets")]
    return []


def _journal(environment: Environment) -> list[Check]:
    records, damage = journal.examine(environment)
    if damage is None:
        return [_ok(f"{len(records)} records, in a chain")]
    if damage.torn:
        return [_warning(f"record {damage.seq} was not written to its end", "the next run sets it aside")]
    return [_error(
        f"{environment.journal}: record {damage.seq} cannot be trusted: {damage.reason}",
        "compare with the heads that other hosts of the environment keep, and restore the file from a backup",
    )]


def _release(environment: Environment) -> list[Check]:
    current = store.current(environment)
    if current is None:
        return [_ok("nothing was released yet")]
    differing = store.verify_release(environment, current)
    if not differing:
        return [_ok(f"{listing.short(current)} is as its manifest says")]
    more = f" and {len(differing) - 5} more" if len(differing) > 5 else ""
    return [_error(
        f"{listing.short(current)} was changed on the host: {', '.join(differing[:5])}{more}",
        "bring the change into the organization if it is wanted; the next push or promotion lays the release anew",
    )]


def _transactions(environment: Environment) -> list[Check]:
    found = transactions.in_states(environment, transaction.OPEN)
    return [_open(environment, one) for one in found] or [_ok("none is open")]


def _open(environment: Environment, found: transactions.Transaction) -> Check:
    left = transactions.seconds_left(environment, found.identity)
    name = f"{found.identity} of {found.record['actor']} is {found.state}"
    if left > 0:
        return _ok(f"{name}, its lease ends in {left:.0f} s")
    if found.state == transaction.ROLLING_BACK:
        return _warning(f"{name}", "the host is being taken back; look again in a minute")
    return _error(f"{name}, and its lease is over", "its deadman does not work; the next run takes the host back")


def _services(scope: Scope) -> list[Check]:
    observed = running.observe(scope)
    codes = scope.supervisor.states(scope.units(observed)) if observed else {}
    found = [_service(scope, name, one, codes[scope.unit(name)].exit_code) for name, one in observed.items()]
    found += [_launch(scope, name) for name in observed]
    current = store.current(scope.environment)
    found += [
        _error(f"{name} is part of the release and was never started", "push or promote again")
        for name in running.placed(scope, current) if name not in observed
    ]  # fmt: skip
    return [one for one in found if one] or [_ok(f"{len(observed)} run")]


def _service(scope: Scope, name: str, observed: dict[str, Any], exit_code: int | None) -> Check | None:
    """What is wrong with a service, or None."""
    path = f"{scope.org}/{scope.env}/{name}"
    if observed["running"]:
        return None
    if observed["stopped"]:
        return _warning(f"{name} was stopped by hand", f"tsm start {path}")
    if observed["state"] == "exited" and exit_code == 0:
        return _warning(f"{name} ended by itself, and its definition does not have it restarted", f"tsm start {path}")
    return _error(f"{name} should run and is {observed['state']}", f"tsm logs {path}")


def _launch(scope: Scope, name: str) -> Check | None:
    """What is wrong with the file that a service is started with, or None."""
    try:
        running.launch_record(scope, name)
    except durable.DamagedError as error:
        return _error(error.message, error.hint)
    except FileNotFoundError as error:
        return _error(f"{error.filename} is missing", "push or promote again, which writes it anew")
    return None


def _holds(scope: Scope) -> list[Check]:
    return [
        _warning(f"bundle {listing.short(bundle)} must not move: {listing.line(hold['reason'])}",
                 "push something better, or lift it with tetra_lift_hold")
        for bundle, hold in sorted(holds.read(scope.environment).items())
    ] or [_ok("none")]
