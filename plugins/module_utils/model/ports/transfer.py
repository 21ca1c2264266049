# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Takes port registries out of a host and into another: as TOML, JSON, variables of a shell, or ``ports.env``.

What comes in is text from outside. It is read, never run, and what is wrong with it is told line by line.
"""

from __future__ import annotations

import dataclasses
import itertools
import posixpath
import re
from typing import Any

from ..errors import ERROR, WARNING, Finding, TetraError, at
from . import entries as ports_entries
from . import env_form as ports_env
from . import file as ports_file
from . import json_form as ports_json
from . import registry
from .entries import Remarks
from .registry import PortValue, Registry

TOML, JSON, ENV, PORTS_ENV = FORMS = ("toml", "json", "env", "ports.env")
AUTO = "auto"

MAXIMUM_TEXT = 16 * 1024 * 1024
_MAXIMUM_LINES = 500_000

_HEAD = """\
# Which name owns which port.
[metadata]
version = "1"
"""
_TABLE = re.compile(r"^[ \t]*\[[ \t]*(?:ports|port_ranges|reserved|allocation|conflicts|metadata)\b", re.MULTILINE)
_PATH = re.compile(r"""[^\n='"{}\[\]#]+""")
_BEGINS_PATH = ("/", "./", "../", "~/")
_ENDS_PATH = (".env", ".toml", ".json")
_LONGEST_PATH = 4096
_MOST_NAMED = 3


def export(said: Registry, form: str) -> str:
    """A registry as text that :func:`parse` reads back as the same registry; of ``ports.env`` its plain names.

    :param form: one of ``FORMS``.
    :raises TetraError: for another form.
    """
    entries = ports_entries.of_registry(said)
    if form == TOML:
        text = ports_entries.to_toml(entries)[0]
        return f"{_HEAD}\n{text}" if text else _HEAD
    if form == JSON:
        return ports_json.write(entries)
    if form == ENV:
        return ports_env.write(entries)
    if form == PORTS_ENV:
        return ports_env.write_plain(entries)
    raise _unknown_form(form, FORMS)


def parse(text: str, form: str, path: str) -> tuple[Registry, list[Finding]]:
    """The registry that a text says, and everything that is wrong with it.

    The registry has what could be read. It should be used only when no finding is an error.

    :param form: one of ``FORMS``, or ``auto``: what the text looks like, else what its path says.
    :param path: what findings call the text.
    :returns: the registry, its own ``findings`` empty, ``places`` those of the text; and the findings, by place.
    :raises TetraError: for another form, and for what is no text, or too much of it.
    """
    if form not in (*FORMS, AUTO):
        raise _unknown_form(form, (*FORMS, AUTO))
    _check_text(text, path)
    text = text.lstrip("\ufeff")
    remarks = Remarks(path)
    if _is_path(text):
        message = f"this file holds only a path: {text.strip()[:200]}"
        remarks.add(ERROR, "only-a-path", message, (1, 1), "give that file instead")
        return Registry(), remarks.findings
    said = _read(text, _form_of(text, path) if form == AUTO else form, remarks)
    return said, sorted(remarks.findings, key=lambda finding: (finding.line, finding.column))


def _read(text: str, form: str, remarks: Remarks) -> Registry:
    if form == TOML:
        said = ports_file.read(text, remarks.path)
        remarks.findings += said.findings
        return dataclasses.replace(said, findings=[])
    if form == JSON:
        return ports_entries.read(ports_json.read(text, remarks), remarks)
    return ports_entries.read(ports_env.read(text, remarks, form == PORTS_ENV), remarks)


def _unknown_form(form: str, forms: tuple[str, ...]) -> TetraError:
    return TetraError(f"{form!r} is no form of a port registry", hint=f"use {', '.join(forms)}")


def _check_text(text: str, path: str) -> None:
    # A character takes a byte at least.
    if len(text) > MAXIMUM_TEXT or len(text.encode("utf-8", "surrogatepass")) > MAXIMUM_TEXT:
        size = f"{MAXIMUM_TEXT // 1024**2} MiB"
        raise TetraError(f"{path} is larger than {size}", hint="give the file of a port registry")
    if text.count("\n") > _MAXIMUM_LINES:
        raise TetraError(f"{path} has more than {_MAXIMUM_LINES} lines", hint="give the file of a port registry")
    binary = re.search("[\0\ud800-\udfff]", text)
    if binary:
        before = text[: binary.start()]
        line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
        raise at(path, line, column, "this is no text, but binary data", "give a text file in UTF-8")


def _is_path(text: str) -> bool:
    """Whether a text is that of a link which was stored as a file."""
    line = text.strip()
    is_one = len(line) < _LONGEST_PATH and _PATH.fullmatch(line) is not None
    return is_one and (line.startswith(_BEGINS_PATH) or line.endswith(_ENDS_PATH))


def _form_of(text: str, path: str) -> str:
    name = posixpath.basename(path).lower()
    if text.lstrip().startswith("{"):
        return JSON
    if _TABLE.search(text):
        return TOML
    if ports_env.MARKS.search(text):
        return ENV
    suffix = name.rpartition(".")[2]
    return PORTS_ENV if name == PORTS_ENV else suffix if suffix in (TOML, JSON) else ENV


def merge(into: Registry, other: Registry) -> tuple[dict[str, Any], list[Finding]]:
    """What has to change in a registry so that it says what another one says as well.

    :param into: the registry of a host. It is only added to.
    :param other: what comes in.
    :returns: the changes as :func:`edit.edit` takes them, without sections that stay as they are; and all
        conflicts, as errors with the line and column of ``other``, their ``file`` empty. Where there is one, there are
        no changes.
    """
    merger = _Merger(into, other)
    changes = {
        "names": merger.names(),
        "owned": merger.owned(),
        "ranges": merger.ranges(),
        "reserved": merger.reserved(),
    }
    if any(finding.severity == ERROR for finding in merger.findings):
        return {}, merger.findings
    return {section: change for section, change in changes.items() if change}, merger.findings


class _Merger:
    """Compares what comes in with what is there."""

    def __init__(self, into: Registry, other: Registry) -> None:
        self.findings: list[Finding] = []
        self._into = into
        self._other = other
        self._categories = {port: category for category, ports in into.reserved.items() for port in ports}
        self._here = dict(into.identities())
        self._holders = {value: [*identities] for value, identities in into.registered.items()}
        incoming = sorted(other.identities(), key=lambda item: item[0])
        self._new = {identity: value for identity, value in incoming if self._may_come(identity, value)}
        self._check_allocation()

    def names(self) -> dict[str, PortValue]:
        """The plain names that are new."""
        return {identity: value for identity, value in self._new.items() if not registry.split_identity(identity)[0]}

    def owned(self) -> dict[str, dict[str, PortValue]]:
        """The ports of environments that are new, by owner."""
        result: dict[str, dict[str, PortValue]] = {}
        for identity, value in self._new.items():
            owner, key = registry.split_identity(identity)
            if owner:
                result.setdefault(owner, {})[key] = value
        return result

    def ranges(self) -> dict[str, list[int]]:
        """The ranges that are new."""
        result: dict[str, list[int]] = {}
        for name, bounds in sorted(self._other.ranges.items()):
            # The other vocabulary's name means the same range.
            there = registry.range_for(self._into.ranges, name)
            if there and there[1] != bounds:
                message = f"range {name} is {_shown(bounds)}, but {there[0]} is {_shown(there[1])} here"
                self._object("different-range", message, "", "change one of the two")
            elif name not in self._into.ranges and self._is_name(name):
                result[name] = list(bounds)
        return result

    def reserved(self) -> dict[str, list[int]]:
        """The categories that get more ports, with all that they have then."""
        result: dict[str, list[int]] = {}
        registered: dict[int, str] = {}
        for identity, value in sorted({**self._here, **self._new}.items()):
            registered.setdefault(registry.number_of(value), identity)
        for category, ports in sorted(self._other.reserved.items()):
            more = sorted({*ports} - {*self._into.reserved.get(category, ())})
            if (more or category not in self._into.reserved) and self._is_name(category):
                result[category] = sorted({*ports, *self._into.reserved.get(category, ())})
            for port in more:
                if port in registered and port not in self._categories:
                    message = f"port {port} of {registered[port]} will be reserved ({category})"
                    hint = f"give {registered[port]} another port"
                    self._find(WARNING, "reserved-port", message, registered[port], hint)
        return result

    def _check_allocation(self) -> None:
        """How ports are chosen is a matter of each host."""
        there, default = self._other, Registry()
        for name in ("allocation", "strategy", "system_ports", "cooldown"):
            value = getattr(there, name)
            if value not in (getattr(default, name), getattr(self._into, name)):
                message = "what [allocation] says in what comes in is not taken over"
                self._find(WARNING, "other-allocation", message, "", "set it in the file of this host if it is wanted")
                return

    def _may_come(self, identity: str, value: PortValue) -> bool:
        """Whether an identity is new, and nothing stands against it."""
        here = self._here.get(identity)
        if here == value:
            return False
        before = len(self.findings)
        if here is not None:
            message = f"{identity} has port {here} here, and {value} in what comes in"
            self._object("different-port", message, identity, f"change or release the port of {identity} first")
        number = registry.number_of(value)
        if number in self._categories:
            message = f"port {value} of {identity} is reserved here ({self._categories[number]})"
            self._object("reserved-port", message, identity, f"give {identity} another port")
        self._check_holders(identity, value)
        if not self._is_name(*identity.split("/"), identity=identity) or len(self.findings) > before:
            return False
        self._holders.setdefault(value, []).append(identity)
        return True

    def _check_holders(self, identity: str, value: PortValue) -> None:
        holders = self._holders.get(value, [])
        strangers = (one for one in holders if one != identity and not registry.related(one, identity))
        others = [*itertools.islice(strangers, _MOST_NAMED + 1)]
        if others:
            named = others[:_MOST_NAMED]
            names = [f"{other} {'here' if other in self._here else 'in what comes in'}" for other in named]
            more = " and others" if len(others) > len(named) else ""
            message = f"port {value} of {identity} belongs to {', '.join(names)}{more}"
            self._object("duplicate-port", message, identity, "give one of them another port")

    def _is_name(self, *parts: str, identity: str = "") -> bool:
        wrong = [part for part in parts if not ports_file.BARE.match(part)]
        if wrong:
            message = f"{wrong[0]!r} is not a name for the port registry"
            self._object("not-a-name", message, identity, "use letters, digits, '-' and '_'")
        return not wrong

    def _object(self, code: str, message: str, identity: str, hint: str) -> None:
        self._find(ERROR, code, message, identity, hint)

    def _find(self, severity: str, code: str, message: str, identity: str, hint: str) -> None:
        line, column = self._other.places.get(identity, (0, 0))
        self.findings.append(Finding(severity, code, message, "", line, column, hint))


def _shown(bounds: tuple[int, int]) -> str:
    return f"{bounds[0]}-{bounds[1]}"
