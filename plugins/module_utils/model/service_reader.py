# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""From the keys of a definition to the service that it describes, with errors that say where they are."""

from __future__ import annotations

import dataclasses
import functools
import posixpath
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from . import checks, command, launch_script, units, values
from .definition import Definition, expand
from .errors import WARNING, Finding, TetraError, at
from .ports import registry
from .release import MAIN_PORT
from .service import HARDENING, HONOURED, REPORTED, RESTARTS, Service
from .units import PortRequest
from .values import Value

_T = TypeVar("_T")
_D = TypeVar("_D")

# Variables with which a definition would load code into programs that are not its own, such as the launcher.
_HIJACKING = frozenset({"LD_PRELOAD", "LD_LIBRARY_PATH", "LD_AUDIT", "BASH_ENV"})
_PAIR = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)=")
_WORD = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")
_MAXIMUM_COUNT = 1000


def from_definition(
    definition: Definition, environment: Mapping[str, Value], overrides: Mapping[str, Value]
) -> tuple[Service, list[Finding]]:
    """The service that a definition describes, and remarks on the way it does.

    :param environment: variables that every service of the environment gets; the definition's own exports win.
    :param overrides: what the environment sets instead: keys, with or without ``TSM_``, or variables.
    :raises TetraError: naming file, line, column and key, for whatever cannot be meant.
    """
    keys = _Keys(definition, overrides)
    name = _name(keys)
    env_files, pairs = _variables(keys)
    variables = _environment(keys, environment, pairs)
    service = Service(
        name=name,
        description=values.show(keys.value("TSM_DESCRIPTION") or ""),
        command=_command(keys),
        pre_commands=[keys.command(key) for key in ("TSM_PRE_COMMAND", "TSM_PRE_START") if keys.value(key)],
        cwd=_cwd(keys),
        port=_port(keys),
        environment=variables,
        depends=_depends(keys, name),
        health=_health(keys, variables),
        min_healthy=keys.parsed("TSM_MIN_HEALTHY", units.duration, 3.0),
        autostart=keys.parsed("TSM_AUTOSTART", units.boolean, True),
        restart=_restart(keys),
        max_restarts=keys.parsed("TSM_MAX_RESTARTS", _count, 3),
        stop_timeout=keys.parsed("TSM_STOP_TIMEOUT", units.duration, 10.0),
        user=keys.parsed("TSM_USER", units.user_name, None),
        memory_limit=keys.parsed("TSM_MEMORY_LIMIT", units.size, None),
        cpu_limit=keys.parsed("TSM_CPU_LIMIT", units.cores, None),
        hardening=keys.parsed("TSM_SECURITY_HARDENING", _hardening, "none"),
        image=keys.text("TSM_IMAGE") or None,
        unused=sorted(name for name in {*keys.given, *keys.arrays} if _key(name) in REPORTED),
        env_files=env_files,
        ports=_further_ports(keys),
    )
    _check_ports_are_there(keys, service)
    keys.remark_on_keys()
    return service, keys.findings


def _key(name: str) -> str:
    """The key that a name in a definition stands for: what follows ``TSM_``, or nothing."""
    return name[len("TSM_") :] if name.startswith("TSM_") else ""


def _is_key(name: str) -> bool:
    return _key(name) in HONOURED or _key(name) in REPORTED


def _full(key: str) -> str:
    """The name in a definition of what an environment calls ``key``: keys may come without their ``TSM_``."""
    return f"TSM_{key}" if key in HONOURED or key in REPORTED else key


def _checked(value: Value) -> Value:
    return values.with_secrets(values.check(value))


class _Keys:
    """The keys of a definition with an environment's overrides, and where each of them stands."""

    def __init__(self, definition: Definition, overrides: Mapping[str, Value]) -> None:
        self.definition = definition
        self.findings: list[Finding] = []
        self.overridden = frozenset(map(_full, overrides))
        self.given = dict(definition.values)
        for key, value in overrides.items():
            self.given[_full(key)] = self.located(_full(key), functools.partial(_checked, value))
        self.arrays = {name: words for name, words in definition.arrays.items() if name not in self.overridden}

    def value(self, name: str) -> Value | None:
        """The value of a key, or None when it is not there."""
        if name in self.arrays:
            raise self.error(name, "is an array", "write one text in quotes")
        value = self.given.get(name)
        if value is not None:
            self.check_open(name, value)
        return value

    def check_open(self, name: str, value: Value) -> None:
        """Secrets go nowhere but into the process's environment: command lines and plans are seen by others."""
        if values.secrets_in(value):
            hint = "export NAME=${secret:NAME}, and let the program read the variable NAME"
            raise self.error(name, "holds a secret, which only variables of the process may", hint)

    def words(self, name: str) -> list[Value]:
        """The words of a key: those of its array, or those that a shell would make of its text."""
        found = self.arrays.get(name)
        if found is None:
            found = self.located(name, lambda: command.split(self.given.get(name) or ""))
        if found is None:
            raise self.error(name, "has shell syntax", "write words, each in quotes where it has blanks or signs in it")
        return found

    def text(self, name: str) -> str:
        """The value of a key that must be known before a host is; empty when it is not there."""
        return self.known(name, self.value(name) or "").strip()

    def known(self, name: str, value: Value) -> str:
        """A value of a key that must be known before a host is."""
        if not isinstance(value, str):
            names = " and ".join(sorted(values.variables_in(value) | values.secrets_in(value)))
            raise self.error(name, f"depends on {names}, which only the host knows", "write the value itself")
        return value

    def parsed(self, name: str, parse: Callable[[str], _T], default: _D) -> _T | _D:
        """What ``parse`` makes of the text of a key, or the default when there is none."""
        text = self.text(name)
        if not text:
            return default
        return self.located(name, lambda: parse(text))

    def command(self, name: str) -> dict[str, Any]:
        """The command that a key holds."""
        value = self.value(name) or ""
        return self.located(name, lambda: command.read(value))

    def located(self, name: str, work: Callable[[], _T]) -> _T:
        """What ``work`` returns; its errors are made to say at which key they happened."""
        try:
            return work()
        except TetraError as error:
            raise self.error(name, error.message, error.hint) from error

    def error(self, name: str, message: str, hint: str) -> TetraError:
        if name in self.overridden:
            return at(self.definition.path, 0, 0, f"{name}, as set by the environment: {message}", hint)
        return at(self.definition.path, *self.definition.places.get(name, (0, 0)), f"{name}: {message}", hint)

    def remark(self, name: str, code: str, message: str, hint: str = "") -> None:
        """Keep a warning on a key."""
        line, column = (0, 0) if name in self.overridden else self.definition.places.get(name, (0, 0))
        self.findings.append(Finding(WARNING, code, message, self.definition.path, line, column, hint))

    def remark_on_keys(self) -> None:
        """Keep warnings on keys that are not known or do nothing, in the order of the file."""
        for name in [*self.given, *self.arrays]:
            key = _key(name)
            if not key:
                self._remark_on_variable(name)
            elif key in REPORTED:
                self.remark(name, "unused-key", f"{name} is known, but this version does nothing with it")
            elif not _is_key(name) and name not in self.definition.referenced:
                self._remark_unknown(name, f"{name} is not a key that is known here")

    def _remark_on_variable(self, name: str) -> None:
        if name in self.overridden and name not in self.definition.values:
            self._remark_unknown(name, f"{name} is set by the environment, and is neither a key nor in the definition")
        elif name not in self.definition.exported and name not in self.overridden | self.definition.referenced:
            hint = f"write export {name}=..., or take it out"
            self.remark(name, "not-exported", f"{name} is not exported: the process does not see it", hint)

    def _remark_unknown(self, name: str, message: str) -> None:
        known = sorted(HONOURED | REPORTED)
        closest = units.nearest(_key(name) or name, known)
        hint = f"did you mean TSM_{closest}?" if closest else "take it out, or give it a name without TSM_"
        self.remark(name, "unknown-key", message, hint)


def _name(keys: _Keys) -> str:
    written = keys.text("TSM_NAME")
    if not written:
        written = re.sub(r"(\.tsm)?(\.sh)?(\.tmpl)?$", "", posixpath.basename(keys.definition.path))
    name, warning = keys.located("TSM_NAME", lambda: units.service_name(written))
    if warning:
        keys.remark("TSM_NAME", "changed-name", warning, "use small letters, digits and -")
    return name


def _depends(keys: _Keys, name: str) -> list[str]:
    names = []
    for value in keys.words("TSM_DEPENDS"):
        for word in keys.known("TSM_DEPENDS", value).replace(",", " ").split():
            other, warning = keys.located("TSM_DEPENDS", functools.partial(units.service_name, word))
            if other == name:
                raise keys.error("TSM_DEPENDS", "the service depends on itself", "take its name out")
            if warning:
                keys.remark("TSM_DEPENDS", "changed-name", warning, "use small letters, digits and -")
            names.append(other)
    return list(dict.fromkeys(names))


def _command(keys: _Keys) -> dict[str, Any]:
    """The command with its arguments, which are an array of words or more text of the command."""
    text = keys.value("TSM_COMMAND")
    if not text:
        hint = "say what to run: TSM_COMMAND='python3 server.py'"
        raise keys.error("TSM_COMMAND", "the definition has no command", hint)
    words = keys.arrays.get("TSM_ARGS")
    if words is None:
        arguments = keys.value("TSM_ARGS")
        text = values.join([text, " ", arguments]) if arguments else text
        return keys.located("TSM_COMMAND", lambda: command.read(text))
    for word in words:
        keys.check_open("TSM_ARGS", word)
    return command.append(keys.command("TSM_COMMAND"), words)


def _cwd(keys: _Keys) -> Value | None:
    """The folder to run in, relative to the service's own; PWD, which is that folder, would only repeat it."""
    value = keys.value("TSM_CWD")
    if not value:
        return None
    if ".." in "".join(part if isinstance(part, str) else "$" for part in values.parts(value)).split("/"):
        hint = "name the folder from ${TETRA_RELEASE_DIR} or from /"
        raise keys.error("TSM_CWD", "has .. in its path", hint)
    return values.join("." if part == {"var": "PWD"} else part for part in values.parts(value))


def _port(keys: _Keys) -> PortRequest:
    """The port that is asked for. ``${PORT:-8090}`` in it is the default: what else should a port be called after?"""
    value = keys.value("TSM_PORT")
    if value is None:
        return units.port_request("none")
    pieces = values.parts(value)
    if len(pieces) == 1 and isinstance(pieces[0], dict) and pieces[0].get("var") in values.PORT_VARIABLES:
        value = pieces[0].get("default", value)
    text = keys.known("TSM_PORT", value)
    request = keys.located("TSM_PORT", lambda: units.port_request(text))
    return dataclasses.replace(request, protocol=keys.parsed("TSM_PORT_TYPE", _protocol, registry.TCP))


def _protocol(text: str) -> str:
    """The original also says what is spoken over TCP."""
    return registry.UDP if units.one_of(text, ("tcp", "udp", "http", "https")) == registry.UDP else registry.TCP


def _further_ports(keys: _Keys) -> dict[str, PortRequest]:
    ports: dict[str, PortRequest] = {}
    for value in keys.words("TSM_PORTS"):
        for word in keys.known("TSM_PORTS", value).replace(",", " ").split():
            name, request, more = keys.located("TSM_PORTS", functools.partial(units.further_port, word))
            if name == MAIN_PORT:
                hint = "TSM_PORT is that one; give this one another name: 9100:tcp:metrics"
                raise keys.error("TSM_PORTS", f"{name} is the name of the first port of every service", hint)
            if name in ports:
                raise keys.error("TSM_PORTS", f"two ports are called {name}", "give each a name: 9100:tcp:metrics")
            if more:
                message = f'TSM_PORTS: "{more}" of port {name} does nothing here'
                keys.remark("TSM_PORTS", "unused-key", message, "give it to the program in its own variables")
            ports[name] = request
    return ports


def _check_ports_are_there(keys: _Keys, service: Service) -> None:
    """A service cannot be told a port that it does not have; better to hear that now than on the host."""
    there = {values.port_variable(name) for name in service.ports}
    there |= set() if service.port.kind == "none" else values.PORT_VARIABLES
    used: dict[str, list[Value]] = {
        "TSM_COMMAND": _command_values([service.command]),
        "TSM_PRE_COMMAND": _command_values(service.pre_commands),
        "TSM_CWD": [service.cwd or ""],
        "TSM_HEALTH_CHECK": _health_values(service.health or {}),
    }
    used.update({name: [value] for name, value in service.environment.items()})
    for name, found in used.items():
        named = set().union(*map(values.required_in, found))
        missing = sorted(one for one in named - there if one in values.PORT_VARIABLES or values.is_port_variable(one))
        if missing and missing[0] in values.PORT_VARIABLES:
            hint = "set TSM_PORT to a number or auto"
            raise keys.error(name, f"refers to {missing[0]}, but the service has no port", hint)
        if missing:
            hint = f"add it, as auto:tcp:{missing[0][len('PORT_') :].lower().replace('_', '-')}, or set the variable"
            raise keys.error(name, f"refers to {missing[0]}, and TSM_PORTS names no such port", hint)


def _command_values(commands: Iterable[dict[str, Any]]) -> list[Value]:
    return [word for found in commands for word in found.get("argv", [found.get("shell", "")])]


def _health_values(health: dict[str, Any]) -> list[Value]:
    own = [health[key] for key in ("url", "address", "port") if key in health]
    return own + _command_values([health["command"]] if "command" in health else [])


def _restart(keys: _Keys) -> str:
    """What happens when the process ends. A policy says more than yes or no, so it wins."""
    on_failure = keys.parsed("TSM_RESTART_ON_FAILURE", units.boolean, True)
    return keys.parsed("TSM_RESTART_POLICY", _restart_policy, "on-failure" if on_failure else "no")


def _restart_policy(text: str) -> str:
    return units.one_of(text.replace("_", "-"), RESTARTS)


def _hardening(text: str) -> str:
    return units.one_of(text, HARDENING)


def _count(text: str) -> int:
    return units.integer(text, 0, _MAXIMUM_COUNT)


def _retries(text: str) -> int:
    return units.integer(text, 1, _MAXIMUM_COUNT)


def _variables(keys: _Keys) -> tuple[list[Value], dict[str, Value]]:
    """The files of variables that are named, and the variables that ``TSM_ENV`` holds itself, as ``A=1 B=2``."""
    files = [*keys.words("TSM_ENV_FILE"), *keys.words("TSM_ENV_FILES")]
    pairs = {}
    for word in keys.words("TSM_ENV"):
        first, *rest = values.parts(word) or [""]
        match = _PAIR.match(first) if isinstance(first, str) else None
        if match:
            pairs[match.group(1)] = values.join([match.string[match.end() :], *rest])
        elif isinstance(word, str) and _WORD.fullmatch(word):
            _remark_on_environment(keys, word)
        else:
            files.append(word)
    for word in files:
        keys.check_open("TSM_ENV_FILE", word)
    return files, pairs


def _remark_on_environment(keys: _Keys, word: str) -> None:
    """The original chose an environment by a word in the definition; here the definition is the same in all of them."""
    if word != "none":
        message = f"TSM_ENV={word} does nothing: a service belongs to the environment that it is pushed to"
        hint = f"put variables of {word} into [environment] of environments/{word}.toml"
        keys.remark("TSM_ENV", "unused-key", message, hint)


def _environment(keys: _Keys, shared: Mapping[str, Value], pairs: Mapping[str, Value]) -> dict[str, Value]:
    """The variables of the process: the environment's, then those of TSM_ENV, then what the definition exports."""
    exported = keys.definition.exported | keys.overridden
    own = {name: value for name, value in keys.given.items() if name in exported and not _is_key(name)}
    result = {}
    for name, value in {**shared, **pairs, **own}.items():
        result[name] = keys.located(name, functools.partial(_checked, value))
        _check_variable(keys, name)
    return result


def _check_variable(keys: _Keys, name: str) -> None:
    if not values.VARIABLE.fullmatch(name):
        raise keys.error(name, "is not the name of a variable", "use letters, digits and _, not a digit first")
    if name in _HIJACKING:
        hint = "if the program needs it, set it in the command: env NAME=value program"
        raise keys.error(name, "would be loaded into programs that are not the service's own", hint)
    if launch_script.is_kept(name):
        raise keys.error(name, "is kept by shells for themselves, and no service can be given it", "use another name")


def _health(keys: _Keys, variables: Mapping[str, Value]) -> dict[str, Any] | None:
    """The health check and its timing, or None when there is none."""
    value = keys.value("TSM_HEALTH_CHECK")
    timing = {
        "interval": keys.parsed("TSM_HEALTH_INTERVAL", units.duration, 5.0),
        "timeout": keys.parsed("TSM_HEALTH_TIMEOUT", units.duration, 2.0),
        "start_period": keys.parsed("TSM_HEALTH_START_PERIOD", units.duration, 10.0),
        "retries": keys.parsed("TSM_HEALTH_RETRIES", _retries, 3),
    }

    def expanded(text: str) -> Value:
        return expand(text, variables)

    if not value:
        return None
    return {**keys.located("TSM_HEALTH_CHECK", lambda: checks.read(value, expanded)), **timing}
