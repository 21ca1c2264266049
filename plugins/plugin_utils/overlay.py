# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the files in ``environments/`` say about one environment, each file on top of the one that it inherits from."""

from __future__ import annotations

import dataclasses
import datetime
import math
import re
import shlex
from collections.abc import Mapping
from typing import Any

from ansible_collections.tetra.platform.plugins.module_utils.model import policy, service, units, values
from ansible_collections.tetra.platform.plugins.module_utils.model.errors import ERROR, WARNING, Finding, TetraError
from ansible_collections.tetra.platform.plugins.module_utils.model.values import Value
from ansible_collections.tetra.platform.plugins.plugin_utils import toml_file
from ansible_collections.tetra.platform.plugins.plugin_utils.source import Source
from ansible_collections.tetra.platform.plugins.plugin_utils.toml_file import TomlFile

BASE = "base"
RESERVED = ("env", "org", "ports", "services")
"""Names that a template is given besides the environment's own values."""

_KEYS = ("inherit", "values", "environment", "services")
_REFERENCE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_SECRET = "${secret:"
_DEEPEST = 20


@dataclasses.dataclass(frozen=True)
class EnvironmentValues:
    """What an environment gives to its services and templates.

    ``values`` are for templates, and as ``$NAME`` for definitions; ``environment`` is variables of every service;
    ``services`` is service to the keys of its definition that are replaced, with ``TSM_`` in front, and variables of
    its own. ``layers`` is ``("values", NAME)``, ``("environment", NAME)`` or ``("services", service, KEY)`` to every
    file and line that says it, the one that wins first. ``mentioned`` is name of a value to the files of other values
    that name it. ``folders`` are the names that a folder of templates of this
    environment may have, the nearest first, and then those of the environments that it inherits from.
    """

    values: dict[str, Any]
    environment: dict[str, Value]
    services: dict[str, dict[str, Value]]
    layers: dict[tuple[str, ...], list[tuple[str, int]]]
    mentioned: dict[str, list[str]]
    folders: tuple[str, ...]
    findings: tuple[Finding, ...]

    def place(self, *key: str) -> tuple[str, int]:
        """The file and line of what is in force, by a key of ``layers``; an empty path where no file says it."""
        return self.layers.get(key, [("", 0)])[0]

    def variables(self) -> dict[str, str]:
        """The values that a definition may refer to by name, as texts."""
        return {name: _scalar(value) for name, value in self.values.items() if not isinstance(value, (dict, list))}


def environment_values(source: Source, env: str, aliases: Mapping[str, str] = policy.ALIASES) -> EnvironmentValues:
    """Read the files of an environment.

    :param env: the name of the environment. Its file may also have an alias as its name. Without such a file
        ``base.toml`` is taken, and without that one the environment has no values.
    :param aliases: alias to environment.
    :returns: the values; what is wrong with the files is among its findings.
    """
    reader = _Reader(source)
    reader.read(_own_name(source, env, aliases, reader.findings))
    inherited = [name for name in map(_stem, reader.chain) if name != BASE]
    folders = dict.fromkeys([*_names(env, aliases), *inherited])
    return dataclasses.replace(reader.result(), folders=tuple(folders))


def own_path(source: Source, env: str, aliases: Mapping[str, str] = policy.ALIASES) -> str:
    """The file with the values of an environment alone, whether it is there or not."""
    found = [_path(name) for name in _names(env, aliases) if _path(name) in source.files]
    return found[0] if found else _path(env)


def folders_of_all(source: Source, aliases: Mapping[str, str] = policy.ALIASES) -> set[str]:
    """The names that a folder of files of some environment may have, as far as an organization knows environments."""
    return {*map(_stem, source.paths("environments")), *aliases, *aliases.values()} - {BASE}


def _path(name: str) -> str:
    return f"environments/{name}.toml"


def _stem(path: str) -> str:
    return path.removeprefix("environments/").removesuffix(".toml")


def _names(env: str, aliases: Mapping[str, str]) -> list[str]:
    return [env, *sorted(alias for alias, name in aliases.items() if name == env)]


def _own_name(source: Source, env: str, aliases: Mapping[str, str], findings: list[Finding]) -> str:
    """The name of the file that belongs to an environment."""
    found = [name for name in _names(env, aliases) if _path(name) in source.files]
    if len(found) > 1:
        text = " and ".join(_path(name) for name in found)
        findings.append(Finding(ERROR, "overlay", f"{text} are both for {env}", hint="keep one of them"))
    if not found and set(source.paths("environments")) - {_path(BASE)}:
        hint = f"write {_path(env)}, if the environment has values of its own"
        findings.append(Finding(WARNING, "overlay", f"there is no file for environment {env}", hint=hint))
    return found[0] if found else BASE


class _Reader:
    """Merges one file after the other; the one that was read first wins."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.findings: list[Finding] = []
        self.chain: list[str] = []
        self.values: dict[str, Any] = {}
        self.environment: dict[str, str] = {}
        self.services: dict[str, dict[str, str]] = {}
        self.layers: dict[tuple[str, ...], list[tuple[str, int]]] = {}
        self.mentioned: dict[str, list[str]] = {}

    def read(self, name: str) -> None:
        """Read a file and those that it inherits from."""
        while name and _path(name) in self.source.files:
            self.chain.append(_path(name))
            try:
                file = toml_file.parse(self.source.data(_path(name)), _path(name))
            except TetraError as error:
                self.findings.append(Finding(ERROR, "invalid", error.message, hint=error.hint))
                return
            self._merge(file)
            name = self._inherited(file, name)

    def _inherited(self, file: TomlFile, name: str) -> str:
        """The name of the file that one inherits from, or nothing."""
        if "inherit" not in file.table:
            return BASE if _path(BASE) not in self.chain else ""
        parent = file.table["inherit"]
        if parent == "":
            return ""
        problem = ""
        if not isinstance(parent, str) or _path(parent) not in self.source.files:
            problem = f"inherits from {parent!r}, and there is no such file"
        elif _path(parent) in self.chain:
            problem = f"inherits in a circle: {' -> '.join([*self.chain, _path(parent)])}"
        if problem:
            near = units.nearest(str(parent), [path[13:-5] for path in self.source.paths("environments")])
            hint = f'write the name of another file, such as "{near or BASE}", or "" for none'
            self.findings.append(file.error(("inherit",), problem, hint))
            return ""
        return str(parent)

    def _merge(self, file: TomlFile) -> None:
        self.findings += file.unknown_keys(_KEYS)
        own = {key: self._checked(file, key, value) for key, value in file.subtable("values", self.findings).items()}
        self.values = _on_top(self.values, own)
        for key in own:
            self._note(("values", key), file, ("values", key))
        for name, value in file.subtable("environment", self.findings).items():
            self._variable(file, ("environment", name), value, ("environment", name), self.environment)
        for name, table in file.subtable("services", self.findings).items():
            self._service(file, name, table)

    def _checked(self, file: TomlFile, key: str, value: object) -> object:
        keys = ("values", key)
        if key in RESERVED or key in values.HOST_VARIABLES:
            self.findings.append(file.error(keys, f"values.{key}: this name is given by tetra", "choose another name"))
        try:
            plain = _plain(value, 0)
        except TetraError as error:
            self.findings.append(file.error(keys, f"values.{key}: {error.message}", error.hint))
            return ""
        if _contains(plain, _SECRET):
            hint = "write it into [environment] or [services.<name>]; values go into files that everybody reads"
            self.findings.append(file.error(keys, f"values.{key}: a secret cannot stand here", hint))
        return plain

    def _service(self, file: TomlFile, written: str, table: object) -> None:
        keys = ("services", written)
        if not isinstance(table, dict):
            hint = f"write [services.{written}] and its keys below"
            self.findings.append(file.error(keys, f"services.{written} is not a table", hint))
            return
        name = service_name(written)
        own: dict[str, str] = {}
        for key, value in table.items():
            full = _full_key(key)
            if full in own:
                self.findings.append(file.error((*keys, key), f"{key} and {full} are the same key", "keep one of them"))
            own[full] = key
            self._variable(file, (*keys, key), value, ("services", name, full), self.services.setdefault(name, {}))

    def _note(self, place: tuple[str, ...], file: TomlFile, keys: tuple[str, ...]) -> None:
        self.layers.setdefault(place, []).append((file.path, file.line(*keys)))

    def _variable(
        self, file: TomlFile, keys: tuple[str, ...], value: object, place: tuple[str, ...], into: dict[str, str]
    ) -> None:
        """Keep the text of a value under the last name of its place, unless a file nearer to the environment has one.

        :param keys: what the file calls it.
        """
        problem = _name_problem(place[-1], keys[0])
        try:
            text = _scalar_or_words(value)
        except TetraError as error:
            problem = (error.message, error.hint)
        if problem:
            self.findings.append(file.error(keys, f"{'.'.join(keys)}: {problem[0]}", problem[1]))
        else:
            into.setdefault(place[-1], text)
            self._note(place, file, keys)

    def result(self) -> EnvironmentValues:
        """What was read, with the references in texts replaced."""
        known = {name: values.join([{"var": name}]) for name in values.HOST_VARIABLES}
        plain = EnvironmentValues(self.values, {}, {}, self.layers, {}, (), ())
        known.update(plain.variables())
        environment = {
            name: self._value(("environment", name), text, known) for name, text in self.environment.items()
        }
        services = {
            name: {key: self._value(("services", name, key), text, known) for key, text in table.items()}
            for name, table in self.services.items()
        }
        return dataclasses.replace(
            plain, environment=environment, services=services, mentioned=self.mentioned,
            findings=tuple(self.findings),
        )

    def _value(self, keys: tuple[str, ...], text: str, known: Mapping[str, Value]) -> Value:
        try:
            value = values.with_secrets(_replace(text, known))
        except TetraError as error:
            self._remark(ERROR, keys, error.message, error.hint)
            return ""
        names = _REFERENCE.findall(text)
        for name in names:
            self.mentioned.setdefault(name, []).append(self.layers[keys][0][0])
        left = [name for name in names if name not in known]
        if left and not keys[-1].startswith("TSM_"):
            self._remark(WARNING, keys, f"${{{left[0]}}} is not known and stays as it is", "set it in [values]")
        return value

    def _remark(self, severity: str, keys: tuple[str, ...], message: str, hint: str) -> None:
        file, line = self.layers[keys][0]
        self.findings.append(Finding(severity, "overlay", f"{'.'.join(keys)}: {message}", file, line, 0, hint))


def service_name(written: str) -> str:
    """The name of a service as an organization's TOML files write it; one that cannot be a name stays as it is."""
    try:
        return units.service_name(written)[0]
    except TetraError:
        return written


def _full_key(key: str) -> str:
    return f"TSM_{key}" if key in service.HONOURED | service.REPORTED else key


def _name_problem(name: str, table: str) -> tuple[str, str] | None:
    if not values.VARIABLE.fullmatch(name):
        return "is not a name of a variable", "write letters, digits and _, no digit first"
    if table == "environment" and name.startswith("TSM_"):
        return "is a key of a definition, not a variable", f"write it into [services.<name>] as {name[4:]}"
    if name == "TSM_NAME":
        return "an environment cannot rename a service", "set TSM_NAME in the definition"
    if name.startswith("TETRA_") or (table == "environment" and name == "PORT"):
        return "is set by tetra itself", "choose another name"
    return None


def _replace(text: str, known: Mapping[str, Value]) -> Value:
    """The text with each ``${NAME}`` of a known name replaced; anything else with a dollar stays as it is."""
    pieces = _REFERENCE.split(text)
    return values.join(
        (known.get(piece, f"${{{piece}}}") if index % 2 else piece) for index, piece in enumerate(pieces)
    )


def _scalar(value: object) -> str:
    """The text of a scalar as TOML writes it."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _scalar_or_words(value: object) -> str:
    if isinstance(value, list) and all(isinstance(item, (str, int)) for item in value):
        return shlex.join(_scalar(item) for item in value)
    if isinstance(value, (dict, list)):
        raise TetraError("is neither a text nor a number", hint='write name = "text"')
    return _scalar(_plain(value, 0))


def _plain(value: object, depth: int) -> object:
    """A TOML value as JSON has it; dates become their text."""
    if depth > _DEEPEST:
        raise TetraError("is nested too deeply", hint=f"at most {_DEEPEST} tables or lists in one another")
    if isinstance(value, dict):
        return {key: _plain(item, depth + 1) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item, depth + 1) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        raise TetraError(f"{value} is not a number that a file can hold", hint="write a number")
    return value.isoformat() if isinstance(value, (datetime.date, datetime.time)) else value


def _contains(value: object, text: str) -> bool:
    if isinstance(value, (dict, list)):
        return any(_contains(item, text) for item in (value.values() if isinstance(value, dict) else value))
    return isinstance(value, str) and text in value


def _on_top(upper: Mapping[str, Any], lower: Mapping[str, Any]) -> dict[str, Any]:
    """Two tables as one; tables in both are merged in the same way, anything else is the upper one's."""
    result = {**lower, **upper}
    for key in upper.keys() & lower.keys():
        if isinstance(upper[key], dict) and isinstance(lower[key], dict):
            result[key] = _on_top(upper[key], lower[key])
    return result
