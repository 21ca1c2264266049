# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A service: what a definition means, with every key checked and every default filled in."""

from __future__ import annotations

import dataclasses
import difflib
import posixpath
import re
import shlex
from collections.abc import Callable, Mapping

from . import definition as reader
from . import units, values
from .definition import Definition
from .errors import WARNING, Finding, TetraError
from .values import Value

RESTARTS = ("always", "on-failure", "no")
HARDENINGS = ("none", "standard", "strict")

_SHELL = set("|&;<>()$`*?[]#~={}!\n")
_URL = re.compile(r"^https?://\S+$")
_TCP = re.compile(r"^tcp://(?P<address>[^/:\s]+):(?P<port>\S+)$")
_CURL = re.compile(r"^curl(?:\s+-(?!-)[A-Za-z]+|\s+--(?:fail|silent|show-error))*\s+(?P<quote>[\"']?)(?P<url>https?://[^\s\"']+)"
                   r"(?P=quote)(?:\s*\|\|\s*exit\s+1)?$")
_VARIABLE_NAME = re.compile(r"^[A-Za-z_][A-Za-z0-9_]*$")
_HIJACKS = frozenset(("LD_PRELOAD", "LD_AUDIT", "BASH_ENV", "ENV", "PYTHONSTARTUP"))
_TEXT_KEYS = ("DESCRIPTION", "CWD", "USER", "ORG", "ENV", "ENV_FILE", "ENV_FILES", "DEPENDS")
_CHECKED_KEYS = (
    "NAME", "COMMAND", "ARGS", "PORT", "PRE_COMMAND", "PRE_START", "HEALTH_CHECK", "HEALTH_INTERVAL", "HEALTH_TIMEOUT",
    "HEALTH_RETRIES", "HEALTH_START_PERIOD", "MIN_HEALTHY", "AUTOSTART", "RESTART_ON_FAILURE", "RESTART_POLICY",
    "MAX_RESTARTS", "STOP_TIMEOUT", "MEMORY_LIMIT", "CPU_LIMIT", "SECURITY_HARDENING",
)
UNUSED = frozenset(("PORTS", "DEPS", "IMAGE", "PORT_TYPE", "ENV_SETUP", "AUTO_RELOAD", "WATCH_PATTERNS"))
"""Keys that this version knows and only reports."""
KEYS = frozenset((*_TEXT_KEYS, *_CHECKED_KEYS, *UNUSED))


@dataclasses.dataclass(frozen=True)
class PortWish:
    """Which port a service asks for: ``none``, ``auto``, ``from`` a number on, ``fixed`` or ``named``."""

    kind: str
    number: int | None = None
    name: str | None = None


@dataclasses.dataclass(frozen=True)
class Service:
    """A service as the rest of the system knows it; durations are seconds, sizes bytes.

    Commands are ``{"argv": [value, ...]}``, or ``{"shell": value}`` for text that only a shell understands.
    """

    name: str
    description: str
    command: Mapping
    pre_commands: list
    cwd: Value | None
    port: PortWish
    environment: Mapping[str, Value]
    depends: list
    health: Mapping | None
    min_healthy: float
    autostart: bool
    restart: str
    max_restarts: int
    stop_timeout: float
    user: str | None
    memory_limit: int | None
    cpu_limit: float | None
    hardening: str
    unused: list

    def to_wire(self) -> dict:
        """The service as plain data, every key present."""
        return dataclasses.asdict(self)

    @classmethod
    def from_wire(cls, record: Mapping) -> Service:
        """The service that :meth:`to_wire` gave."""
        return cls(**{**record, "port": PortWish(**record["port"])})


def env_files(definition: Definition) -> list[str]:
    """The files of variables that a definition names; the caller reads them and passes them as environment."""
    named = _Keys(definition, {})
    files = [named.text(key) for key in ("ENV_FILE", "ENV_FILES") if named.has(key)]
    env = named.text("ENV") if named.has("ENV") else ""
    if env and env != "none" and "=" not in env:
        files.append(env)
    return [word for text in files for word in text.split()]


def from_definition(
    definition: Definition, environment: Mapping[str, Value], overrides: Mapping[str, Value]
) -> tuple[Service, list[Finding]]:
    """What a definition means.

    :param environment: variables that every service of the environment gets; the definition's own win.
    :param overrides: keys, with or without ``TSM_``, whose values replace those of the definition.
    :returns: the service, and what is worth knowing about it.
    :raises TetraError: naming file, line, column and key of what is wrong.
    """
    keys = _Keys(definition, overrides)
    findings = keys.findings()
    service = Service(
        name=keys.name(),
        description=keys.text("DESCRIPTION"),
        command=keys.command(),
        pre_commands=[_command(keys.value(key)) for key in ("PRE_COMMAND", "PRE_START") if keys.has(key)],
        cwd=keys.value("CWD") if keys.has("CWD") else None,
        port=keys.port(),
        environment=keys.environment(environment),
        depends=[keys.convert("DEPENDS", units.service_name, word) for word in keys.text("DEPENDS").split()],
        health=keys.health(),
        min_healthy=keys.number("MIN_HEALTHY", units.duration, 3.0),
        autostart=keys.number("AUTOSTART", units.boolean, True),
        restart=keys.restart(),
        max_restarts=keys.number("MAX_RESTARTS", lambda text: units.whole_number(text, 0, 1000), 3),
        stop_timeout=keys.number("STOP_TIMEOUT", units.duration, 10.0),
        user=keys.text("USER") or None,
        memory_limit=keys.number("MEMORY_LIMIT", units.size, None),
        cpu_limit=keys.number("CPU_LIMIT", _cores, None),
        hardening=keys.choice("SECURITY_HARDENING", HARDENINGS, "none"),
        unused=sorted(key for key in UNUSED if keys.has(key)),
    )
    _check_secrets(service, keys)
    return service, findings


class _Keys:
    """The ``TSM_`` keys of one definition, with their places for messages."""

    def __init__(self, definition: Definition, overrides: Mapping[str, Value]) -> None:
        self.definition = definition
        self.own = {**definition.values}
        for key, value in overrides.items():
            plain = key[4:] if key.startswith("TSM_") else key
            self.own[f"TSM_{plain}" if plain in KEYS else key] = values.with_secrets(value)
        self.variables = {key for key in overrides if key not in KEYS and not key.startswith("TSM_")}

    def has(self, key: str) -> bool:
        return f"TSM_{key}" in self.own

    def value(self, key: str) -> Value:
        return self.own.get(f"TSM_{key}", "")

    def text(self, key: str) -> str:
        value = self.value(key)
        if not isinstance(value, str):
            self.fail(key, "must be known before the host is", "write the value itself")
        return value

    def fail(self, key: str, problem: str, hint: str = "") -> None:
        line, column = self.definition.places.get(f"TSM_{key}", (0, 0))
        place = f"{self.definition.path}:{line}:{column}" if line else self.definition.path
        raise TetraError(f"{place}: TSM_{key} {problem}", hint=hint)

    def convert(self, key: str, convert: Callable, text: str):
        try:
            return convert(text)
        except TetraError as error:
            return self.fail(key, f"= {text!r}: {error.message}", error.hint)

    def number(self, key: str, convert: Callable, default):
        text = self.text(key).strip()
        return self.convert(key, convert, text) if text else default

    def choice(self, key: str, choices: tuple, default: str) -> str:
        word = self.text(key).strip().lower() or default
        if word not in choices:
            self.fail(key, f"= {word!r} is not a choice", f"one of {', '.join(choices)}")
        return word

    def name(self) -> str:
        base = posixpath.basename(self.definition.path)
        default = base.removesuffix(".sh").removesuffix(".tsm")
        return self.convert("NAME", units.service_name, self.text("NAME") or default)

    def command(self) -> dict:
        if not self.has("COMMAND") or self.value("COMMAND") == "":
            self.fail("COMMAND", "is missing", "say what the service runs: TSM_COMMAND='python3 server.py'")
        words = self.definition.arrays.get("TSM_ARGS")
        if words is None and self.has("ARGS"):
            command = _command(values.join([self.value("COMMAND"), " ", self.value("ARGS")]))
        else:
            command = _command(self.value("COMMAND"))
        if words:
            if "shell" in command:
                self.fail("ARGS", "cannot follow a command with shell syntax", "write them into TSM_COMMAND")
            command["argv"] += words
        return command

    def port(self) -> PortWish:
        if not self.has("PORT"):
            return PortWish("none")
        text = self.text("PORT").strip()
        if text in ("", "auto"):
            return PortWish("auto")
        if text.endswith("+"):
            return PortWish("from", self.convert("PORT", units.port, text[:-1]))
        if re.match(r"^[A-Za-z][A-Za-z0-9_-]*$", text):
            return PortWish("named", None, text)
        return PortWish("fixed", self.convert("PORT", units.port, text))

    def restart(self) -> str:
        if self.has("RESTART_POLICY"):
            word = {"never": "no", "on_failure": "on-failure"}.get(self.text("RESTART_POLICY").strip().lower())
            return word or self.choice("RESTART_POLICY", RESTARTS, "on-failure")
        return "on-failure" if self.number("RESTART_ON_FAILURE", units.boolean, True) else "no"

    def environment(self, shared: Mapping[str, Value]) -> dict:
        own = {name: value for name, value in self.own.items() if self._is_variable(name)}
        result = {name: values.with_secrets(value) for name, value in shared.items()}
        result.update(self._inline())
        result.update(own)
        for name, value in result.items():
            self._check_variable(name, value)
        return dict(sorted(result.items()))

    def _is_variable(self, name: str) -> bool:
        return not name.startswith("TSM_") and (name in self.definition.exported or name in self.variables)

    def _inline(self) -> dict:
        """The pairs of ``TSM_ENV="A=1 B=2"``; any other form of it names a file, see :func:`env_files`."""
        text = values.text_of(self.value("ENV"))
        if "=" not in text:
            return {}
        try:
            pairs = [word.partition("=") for word in shlex.split(self.text("ENV"))]
        except ValueError as error:
            self.fail("ENV", f"cannot be split into words: {error}", "write A=1 B=2")
        return {name: values.with_secrets(value) for name, _separator, value in pairs}

    def _check_variable(self, name: str, value: Value) -> None:
        if not _VARIABLE_NAME.match(name):
            raise TetraError(f"{self.definition.path}: {name!r} is not a name of a variable",
                             hint="letters, digits and _ are, not beginning with a digit")
        if name in _HIJACKS:
            raise TetraError(f"{self.definition.path}: {name} would load code into every process of the service",
                             hint="leave it out")
        if "\0" in values.text_of([part for part in values.parts(value) if isinstance(part, str)]):
            raise TetraError(f"{self.definition.path}: the value of {name} has a NUL character", hint="remove it")

    def health(self) -> dict | None:
        value = self.value("HEALTH_CHECK")
        if value == "":
            return None
        check = _health(value)
        for key, name, default in (("INTERVAL", "interval", 5.0), ("TIMEOUT", "timeout", 2.0),
                                   ("START_PERIOD", "start_period", 10.0)):
            check[name] = self.number(f"HEALTH_{key}", units.duration, default)
        check["retries"] = self.number("HEALTH_RETRIES", lambda text: units.whole_number(text, 1, 1000), 3)
        return check

    def findings(self) -> list[Finding]:
        result = [self._unknown(name) for name in self.own
                  if name.startswith("TSM_") and name[4:] not in KEYS and not name.endswith("_DIR")]
        result += [self._finding(key, "unused-key", f"TSM_{key} is not honoured by this version")
                   for key in sorted(UNUSED) if self.has(key)]
        written = self.text("NAME")
        if written and written != units.service_name(written):
            result.append(self._finding("NAME", "mapped-name", f"{written} is known as {units.service_name(written)}"))
        return result

    def _unknown(self, name: str) -> Finding:
        near = difflib.get_close_matches(name[4:], sorted(KEYS), 1)
        hint = f"did you mean TSM_{near[0]}?" if near else "it is ignored"
        return self._finding(name[4:], "unknown-key", f"{name} is not a key of service definitions", hint)

    def _finding(self, key: str, code: str, message: str, hint: str = "") -> Finding:
        line, column = self.definition.places.get(f"TSM_{key}", (0, 0))
        return Finding(WARNING, code, message, self.definition.path, line, column, hint)


def _cores(text: str) -> float:
    """A share of cores, from ``1.5`` or ``150%``."""
    match = re.match(r"^(\d+(?:\.\d+)?)(%?)$", text)
    if not match or float(match.group(1)) <= 0:
        raise TetraError(f"{text!r} is not a number of cores", hint="write 1.5, or 150%")
    return float(match.group(1)) / (100 if match.group(2) else 1)


def _command(value: Value) -> dict:
    """A command as an argument vector, or as text for a shell when it has anything that only a shell understands."""
    if _SHELL.intersection(values.text_of(value)):
        return {"shell": value}
    words = _split(value)
    return {"argv": words} if words else {"shell": value}


def _split(value: Value) -> list[Value]:
    """Words of a value; a variable stays a part of its word, whatever its content turns out to be."""
    marks: list[dict] = []
    text = ""
    for part in values.parts(value):
        if isinstance(part, dict):
            text += f"\x01{len(marks)}\x02"
            marks.append(part)
        else:
            text += part
    try:
        words = shlex.split(text)
    except ValueError:
        return []
    return [values.join(marks[int(piece)] if index % 2 else piece
                        for index, piece in enumerate(re.split("\x01(\\d+)\x02", word))) for word in words]


def _health(value: Value) -> dict:
    """How a health check is made: over http, by connecting, or by a command."""
    plain = values.join(part if isinstance(part, str) else "${%s}" % part["var"] for part in values.parts(value)
                        if isinstance(part, str) or "var" in part)
    text = str(plain).strip()
    curl = _CURL.match(text)
    if _URL.match(text) or curl:
        url = curl.group("url") if curl else text
        return {"kind": "http", "url": _symbolic(url)}
    tcp = _TCP.match(text)
    if tcp:
        return {"kind": "tcp", "address": _symbolic(tcp.group("address")), "port": _symbolic(tcp.group("port"))}
    return {"kind": "command", "command": _command(value)}


def _symbolic(text: str) -> Value:
    return reader.reread(text, values.HOST_VARIABLES)


def _check_secrets(service: Service, keys: _Keys) -> None:
    """Secrets reach a process in its environment alone; anywhere else they would show in a list of processes."""
    for key in ("COMMAND", "ARGS", "PRE_COMMAND", "PRE_START", "CWD", "HEALTH_CHECK"):
        if values.secrets_in(keys.value(key)):
            keys.fail(key, "names a secret", "export it as a variable and let the program read that")
    for words in keys.definition.arrays.values():
        if any(values.secrets_in(word) for word in words):
            keys.fail("ARGS", "names a secret", "export it as a variable and let the program read that")
