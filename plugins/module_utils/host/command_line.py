# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The command line of ``tsm`` for people who are logged in on a host: words in, tables or one JSON document out.

What a command finds out is an :class:`Answer`; what cannot be had of one environment does not hide the others.
"""

from __future__ import annotations

import argparse
import dataclasses
import io
import itertools
import os
import pwd
import shlex
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NoReturn

from ..model import canonical, listing, lookup, table, transaction, units
from ..model.errors import ERROR, INVALID, REFUSED, TetraError
from . import command_ports, doctor, evidence, journal, observation, running
from . import settings as settings_file
from .answer import Answer
from .layout import Environment, Home
from .operations import deployment, index
from .scope import Scope, open_scope, open_supervisor

_DEFAULT_DIR = "/var/lib/tetra"
_TAIL = 64 * 1024
_LONGEST_TAIL = 16 * 1024 * 1024
_MOST_LINES = 1_000_000
# What comes of a file that says something else than it should; it must not hide other environments.
_DAMAGE = (TetraError, LookupError, TypeError, ValueError)

_USAGE = """\
usage: tsm COMMAND [SERVICE...] [--org ORG] [--env ENV] [--dir DIR] [--json]

  list                     all services of this host
  status [SERVICE...]      as list, with health, cpu, memory, restarts and address
  logs SERVICE... | --all  the last lines of services; -n LINES, 50 unless given
  start SERVICE...         start services
  stop SERVICE...          stop services; they stay stopped until somebody starts them
  restart SERVICE...       stop and start services
  ports [ACTION...]        the registered ports of this host, and who listens there; tsm ports help tells the rest
  history                  how pushes, promotions and rollbacks ended; -n RECORDS, 20 unless given
  doctor                   check this host; exit code 10 when something is wrong
  help                     this text

SERVICE is a number of tsm list, a name, env/name, org/env/name, a part of a name that one service alone has, or all.
--org and --env narrow what is looked at; --json prints one JSON document; --dir is the directory of tetra.
Exit codes: 0 good, 10 refused or something is wrong, 15 wrong use."""


def main(arguments: list[str]) -> int:
    """Carry out a command, and say what came of it.

    :param arguments: the words after the program's name.
    :returns: the exit code, one of ``model.transaction.EXIT_CODES``.
    """
    # A log or a name may hold what the terminal's encoding does not have.
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        return _show(_carry_out(arguments), "--json" in arguments)
    except BrokenPipeError:
        # Who read along has gone, as head does; Python would still write what is left, and complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return transaction.EXIT_CODES[transaction.UNCHANGED]
    except Exception as error:
        return _complain(_as_error(error, arguments), "--json" in arguments)


def _show(answer: Answer, as_json: bool) -> int:
    problems = [str(problem) for problem in answer.problems]
    if as_json:
        sys.stdout.write(canonical.dumps({**answer.document, "problems": problems}) + "\n")
    elif answer.text:
        sys.stdout.write(answer.text + "\n")
    sys.stdout.flush()
    for problem in () if as_json else problems:
        _say(problem)
    return transaction.EXIT_CODES[REFUSED if problems else answer.code]


def _complain(error: TetraError, as_json: bool) -> int:
    if as_json:
        document = {"error": {"message": error.message, "hint": error.hint, "code": error.code}}
        sys.stdout.write(canonical.dumps(document) + "\n")
    else:
        _say(error.message, error.hint)
    return transaction.EXIT_CODES.get(error.code, transaction.EXIT_CODES[INVALID])


def _say(message: str, hint: str = "") -> None:
    lines = [f"tsm: {message}", *([f"  {hint}"] if hint else [])]
    sys.stderr.writelines(table.printable(line) + "\n" for text in lines for line in text.split("\n"))


def _as_error(error: Exception, arguments: list[str]) -> TetraError:
    """What went wrong in words for people, who have no use for a traceback."""
    if isinstance(error, TetraError):
        return error
    if isinstance(error, PermissionError):
        return TetraError(
            f"{_user()} may not use {error.filename or 'what this needs'}: {error.strerror}",
            hint=f"run it as root: {shlex.join(['sudo', sys.argv[0], *arguments])}",
            code=REFUSED,
        )
    if isinstance(error, OSError):
        return TetraError(**index.disk_error(error))
    return TetraError(
        f"a file of tetra does not hold what it should, or tsm has a mistake ({type(error).__name__})",
        hint="tsm doctor looks at all files",
        code=REFUSED,
    )


def _user() -> str:
    return _user_name(os.geteuid())


def _user_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"#{uid}"


def _carry_out(arguments: list[str]) -> Answer:
    if not arguments:
        raise TetraError(f"which command?\n{_USAGE}")
    if arguments[0] == "help" or {"-h", "--help"} & set(arguments):
        return Answer({"usage": _USAGE}, _USAGE)
    name = arguments[0]
    if name not in _COMMANDS:
        near = units.nearest(name, _COMMANDS)
        hint = f"did you mean {near}? tsm help shows all" if near else "tsm help shows all"
        raise TetraError(f'there is no command "{name}"', hint=hint)
    command = _COMMANDS[name]
    options = _options(name, command, arguments[1:])
    home = Home(os.path.abspath(options.dir or _own_dir()))
    _check_user(home, command, arguments)
    if name != "doctor":
        settings_file.load(home)
    return command.act(home, options)


def _own_dir() -> str:
    """The directory that this program lies in, as ``bin/tsm-<digest>``."""
    program = os.path.realpath(sys.argv[0])
    folder = os.path.dirname(program)
    ours = os.path.basename(program).startswith("tsm-") and os.path.basename(folder) == "bin"
    return os.path.dirname(folder) if ours else _DEFAULT_DIR


def _check_user(home: Home, command: _Command, arguments: list[str]) -> None:
    """Refuse anybody but the user whose supervisor runs the services; to others all of them would seem absent."""
    try:
        owner = os.stat(settings_file.path(home)).st_uid
    except FileNotFoundError:
        return
    if command.private and os.geteuid() != owner:
        name = _user_name(owner)
        words = ["sudo", *(["-u", name] if owner else []), sys.argv[0], *arguments]
        raise TetraError(
            f"the services of {home.root} belong to {name}; {_user()} has no right to look at them or to change them",
            hint=f"run it as {name}: {shlex.join(words)}",
            code=REFUSED,
        )


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise TetraError(message, hint=f"{self.format_usage().strip()}; tsm help says more")


def _options(name: str, command: _Command, arguments: list[str]) -> argparse.Namespace:
    parser = _Parser(prog=f"tsm {name}", add_help=False, allow_abbrev=False)
    parser.add_argument("--org")
    parser.add_argument("--env")
    parser.add_argument("--dir")
    parser.add_argument("--json", action="store_true")
    if command.lines:
        parser.add_argument("-n", dest="lines", type=_count, default=command.lines, metavar="LINES")
    if name == "logs":
        parser.add_argument("--all", action="store_true")
    if name == "ports":
        command_ports.add_options(parser)
    if command.services:
        parser.add_argument("services", nargs="*", metavar="SERVICE")
    options = parser.parse_intermixed_args(arguments)
    if command.services == "some" and not options.services and not getattr(options, "all", False):
        parser.error("which services?")
    return options


def _count(text: str) -> int:
    try:
        return units.integer(text, 1, _MOST_LINES)
    except TetraError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _environments(home: Home, options: argparse.Namespace) -> list[Environment]:
    """The environments that were asked for.

    :raises TetraError: when a name was given that none of them has.
    """
    found = home.environments()
    for kind, wanted, known in (
        ("organization", options.org, {one.org for one in found}),
        ("environment", options.env, {one.env for one in found if options.org in (None, one.org)}),
    ):
        if wanted is not None and wanted not in known:
            raise TetraError(f'there is no {kind} "{wanted}" on this host',
                             hint=f"there is {', '.join(sorted(known)) or 'none'}")
    return [one for one in found if options.org in (None, one.org) and options.env in (None, one.env)]


def _chosen(home: Home, options: argparse.Namespace, words: Iterable[str]) -> list[lookup.Known]:
    """The services that words mean; their numbers are the same however narrow the view is."""
    _environments(home, options)
    everything = lookup.numbered((one.org, one.env, name) for one in home.environments() for name in one.services())
    return lookup.find(words, lookup.narrowed(everything, options.org, options.env))


def _by_environment(services: Iterable[lookup.Known]) -> list[tuple[tuple[str, str], list[lookup.Known]]]:
    groups = itertools.groupby(services, key=lambda one: (one.org, one.env))
    return [(place, list(members)) for place, members in groups]


def _looked_at(
    home: Home, chosen: Iterable[lookup.Known], look: Callable[[Scope], Mapping[str, Any]]
) -> tuple[list[dict[str, Any]], list[str]]:
    """What there is to say of services, and of the environments of which nothing can be said."""
    services: list[dict[str, Any]] = []
    problems: list[str] = []
    for (org, env), members in _by_environment(chosen):
        try:
            found = look(open_scope(home.root, org, env))
        except _DAMAGE as error:
            problems.append(f"{org}/{env}: {_as_error(error, [])}")
            continue
        services += [_named(one, found[one.name]) for one in members if one.name in found]
    return services, problems + _silence(home)


def _named(known: lookup.Known, found: Mapping[str, Any]) -> dict[str, Any]:
    started = found.get("started")
    since = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(started)) if started else ""
    return {**found, "id": known.number, "org": known.org, "env": known.env, "name": known.name, "since": since}


def _silence(home: Home) -> list[str]:
    supervisor = open_supervisor(home, settings_file.load(home))
    if supervisor.running():
        return []
    return [f"{supervisor.name} does not answer, so no state of a service is known; tsm doctor says more"]


def _list(home: Home, options: argparse.Namespace) -> Answer:
    services, problems = _looked_at(home, _chosen(home, options, ["all"]), _seen)
    text = table.or_nothing(listing.services(services), "no service runs here yet")
    return Answer({"services": services}, text, problems)


def _seen(scope: Scope) -> dict[str, Any]:
    services = running.observe(scope)
    return {name: {**one, "url": observation.url(scope, one)} for name, one in services.items()}


def _status(home: Home, options: argparse.Namespace) -> Answer:
    chosen = _chosen(home, options, options.services or ["all"])
    services, problems = _looked_at(home, chosen, _checked)
    text = table.or_nothing(listing.health(services), "no service runs here yet")
    return Answer({"services": services}, text, problems)


def _checked(scope: Scope) -> dict[str, Any]:
    services: dict[str, Any] = deployment.tsm_service_info(_request(scope.home, scope.org, scope.env))["services"]
    return services


def _request(home: Home, org: str, env: str) -> dict[str, Any]:
    return {"tetra_dir": home.root, "org": org, "env": env}


def _logs(home: Home, options: argparse.Namespace) -> Answer:
    if options.all and options.services:
        raise TetraError("--all and names of services do not go together", hint="leave one of them out")
    chosen = _chosen(home, options, options.services or ["all"])
    logs, problems = [], []
    for (org, env), members in _by_environment(chosen):
        scope = open_scope(home.root, org, env)
        for one in members:
            try:
                lines = _last_lines(scope, one.name, options.lines)
            except _DAMAGE as error:
                problems.append(f"{one.path}: {_as_error(error, [])}")
                continue
            logs.append({"id": one.number, "org": org, "env": env, "name": one.name, "lines": lines})
    return Answer({"services": logs}, _log_text(logs), problems)


def _log_text(logs: Sequence[Mapping[str, Any]]) -> str:
    """Lines as they were written; those of several services with the name of each in front."""
    if len(logs) == 1:
        return "\n".join(logs[0]["lines"])
    unique = len({log["name"] for log in logs}) == len(logs)
    names = [log["name"] if unique else listing.path(log) for log in logs]
    return "\n".join(f"{name}: {line}" for name, log in zip(names, logs) for line in log["lines"])


def _last_lines(scope: Scope, service: str, count: int) -> list[str]:
    # Lines are rarely longer than this on average; more is not read, for a log can be very large.
    size = min(max(_TAIL, count * 400), _LONGEST_TAIL)
    text = scope.supervisor.tail(scope.unit(service), size) or _file_end(scope, service, size)
    text = evidence.without_secrets(scope, running.started_with(scope, service)["release"], text)
    return text.rstrip("\n").split("\n")[-count:] if text else []


def _file_end(scope: Scope, service: str, size: int) -> str:
    """The end of a log when its supervisor is gone, which is when it is needed most."""
    try:
        with open(os.path.join(scope.environment.logs, f"{service}.log"), "rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - size))
            return file.read(size).decode("utf-8", "replace")
    except FileNotFoundError:
        return ""


def _bring_to(state: str) -> Callable[[Home, argparse.Namespace], Answer]:
    return lambda home, options: _change(home, options, state)


def _change(home: Home, options: argparse.Namespace, state: str) -> Answer:
    chosen = _chosen(home, options, options.services)
    if not chosen:
        raise TetraError("there is no service here", hint="push something to this host first")
    services, problems = [], []
    for (org, env), members in _by_environment(chosen):
        wanted = [{"name": one.name, "state": state} for one in members]
        try:
            done = deployment.tsm_service({**_request(home, org, env), "services": wanted})["services"]
            after = running.observe(open_scope(home.root, org, env))
        except _DAMAGE as error:
            problems.append(f"{org}/{env}: {_as_error(error, [])}")
            continue
        services += [{**_named(one, after[one.name]), "done": done[one.name]} for one in members]
    problems += [
        f"{listing.path(one)} is {one['state']}; tsm logs {listing.path(one)} may say why"
        for one in services if one["running"] == (state == "stopped")
    ]  # fmt: skip
    return Answer({"services": services}, table.or_nothing(listing.changes(services), ""), problems)


def _ports(home: Home, options: argparse.Namespace) -> Answer:
    places = [f"{one.org}/{one.env}" for one in _environments(home, options)]
    return command_ports.carry_out(home, options, places if options.org or options.env else None)


def _history(home: Home, options: argparse.Namespace) -> Answer:
    found, problems = [], []
    for environment in _environments(home, options):
        records, damage = journal.examine(environment)
        found += [_ended(environment, record) for record in records if record.get("kind") == "transaction"]
        if damage and not damage.torn:
            problems.append(f"{environment.org}/{environment.env}: the journal cannot be trusted from record "
                            f"{damage.seq} on; tsm doctor says more")
    newest = sorted(found, key=lambda one: (one["time"], one["transaction"]), reverse=True)[: options.lines]
    text = table.or_nothing(listing.history(newest), "nothing has happened yet")
    return Answer({"transactions": newest}, text, problems)


def _ended(environment: Environment, record: Mapping[str, Any]) -> dict[str, Any]:
    keys = ("seq", "time", "action", "outcome", "actor", "reason", "detail", "transaction", "seconds")
    return {**{key: record[key] for key in keys}, "release": record["to"], "org": environment.org,
            "env": environment.env}


def _doctor(home: Home, options: argparse.Namespace) -> Answer:
    checks = doctor.examine(home, _environments(home, options))
    rows = [["RESULT", "CHECK", "DETAIL"]]
    for one in checks:
        rows.append([one.status, one.check, one.detail])
        rows += [["", "", f"-> {one.hint}"]] if one.hint else []
    wrong = any(one.status == ERROR for one in checks)
    return Answer({"checks": [one.to_wire() for one in checks]}, table.table(rows),
                  code=REFUSED if wrong else transaction.UNCHANGED)


@dataclasses.dataclass(frozen=True)
class _Command:
    """``services`` it takes: "" none, "any" number of them, or "some"; ``lines`` to show unless told otherwise.

    ``private``: for the user alone whose services they are.
    """

    act: Callable[[Home, argparse.Namespace], Answer]
    services: str = ""
    lines: int = 0
    private: bool = True


_COMMANDS: Mapping[str, _Command] = {
    "list": _Command(_list),
    "status": _Command(_status, services="any"),
    "logs": _Command(_logs, services="some", lines=50),
    "start": _Command(_bring_to("started"), services="some"),
    "stop": _Command(_bring_to("stopped"), services="some"),
    "restart": _Command(_bring_to("restarted"), services="some"),
    "ports": _Command(_ports, private=False),
    "history": _Command(_history, lines=20, private=False),
    "doctor": _Command(_doctor),
}
