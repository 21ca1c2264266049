# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Finds the ports that files and running programs need, and proposes names for them.

A *need* is a port that something on this host listens on, as far as a text tells. It shows the piece of text that
names the port and nothing else of its line, for there may be secrets beside it. Nothing here raises for what a text
says.
"""

from __future__ import annotations

import bisect
import dataclasses
import posixpath
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from .. import definition, table, units, values
from ..errors import TetraError
from . import compose, holder, registry
from . import patterns as port_patterns
from .patterns import Found
from .registry import PortValue, Registry

DEFINITION, COMPOSE, ENV, COMMAND, LISTENER = KINDS = ("definition", "compose", "env", "command", "listener")
"""What a need was found in, the most telling first."""

NEW, REGISTERED, CONFLICT = STATES = ("new", "registered", "conflict")

MAXIMUM_TEXT = compose.MAXIMUM_TEXT
_LONGEST_PIECE = 80
_LONGEST_NAME = 63

_DEFINITION_FILE = re.compile(r".*\.tsm(?:\.sh)?")
_ENV_FILE = re.compile(r"(?:.*\.)?env(?:\.[\w.-]+)?")
_COMPOSE_FILE = re.compile(r"(?:docker-)?compose.*\.ya?ml")
_PACKAGE_FILE = re.compile(r"package\.json")
_PROCFILE = re.compile(r"procfile(?:\..*)?")
_DEFINITION_TEXT = re.compile(r"^[ \t]*(?:export[ \t]+)?TSM_(?:NAME|COMMAND|PORT)=", re.MULTILINE)
_COMPOSE_TEXT = re.compile(r"^services:[ \t]*(?:#.*)?$", re.MULTILINE)

_ENVIRONMENTS = "local|dev|development|staging|prod|production|test|testing|qa|proxy"
# Names of files and folders, and stems of variables, that do not say whose it is.
_GENERAL_NAME = re.compile(
    rf"(?:{_ENVIRONMENTS}|env|envs|environments|config|conf|etc|scripts|bin|services|services-available|tsm|run|start|"
    r"package|procfile|makefile|dockerfile|)"
)
_GENERAL_STEMS = frozenset({"", "tsm", "app", "server", "service", "listen", "http", "bind", "url", "addr", "address"})
_STEM = re.compile(r"_?(?:PORT|URL|URI|ADDR|ADDRESS|LISTEN|BIND|HOST|ENDPOINT|ORIGIN)\Z")
_NAME_VARIABLES = ("TSM_NAME", "TETRA_NAME", "SERVICE_NAME", "APP_NAME", "NAME")
_HOST_SUFFIXES = ("HOST", "HOSTNAME", "SERVER", "ADDR", "ADDRESS", "IP")

_ASSIGNMENT = re.compile(r"^[ \t]*(?:export[ \t]+)?([A-Za-z_]\w*)=", re.MULTILINE | re.ASCII)
_VALUE = re.compile(r"""'([^'\n]*)'|"([^"\n]*)"|([^\s#;]*)""")
_ANNOTATION = re.compile(rf"\{{\{{[ \t]*({_ENVIRONMENTS})[ \t]*:[ \t]*([0-9]{{1,5}})[ \t]*\}}\}}")
_PROCESS = re.compile(r"^([A-Za-z0-9_-]+):(.*)$", re.MULTILINE)
_PACKAGE_NAME = re.compile(r'"name"[ \t]*:[ \t]*"(?:@[^"/\n]*/)?([^"\n]{1,200})"')
_SCRIPTS = re.compile(r'"scripts"[ \t\r\n]*:[ \t\r\n]*\{([^}]*)')


@dataclasses.dataclass(frozen=True)
class Need:
    """A port that something needs, and where that is said.

    ``name`` is a plain name for the registry; ``line`` and ``column`` count from 1, 0 for what runs; ``text`` is the
    piece that names the port.
    """

    name: str
    port: int
    protocol: str
    file: str
    line: int
    column: int
    kind: str
    text: str

    @property
    def value(self) -> PortValue:
        """The port as the registry has it."""
        return registry.value_of(self.port, self.protocol)


@dataclasses.dataclass(frozen=True)
class Proposal:
    """One port that should have a name in the registry, and how that stands; ``reason`` says what is in the way."""

    name: str
    port: int
    protocol: str
    state: str
    reason: str
    seen: tuple[Need, ...]


def in_text(text: str, path: str) -> list[Need]:
    """The ports that a file needs, by line and column.

    What kind of file it is its name says, else its content: a service definition, a Compose file, an env file,
    ``package.json``, a ``Procfile``; anything else is read as a script.

    :param text: what is behind the first 4 MiB is not read; of binary data nothing is.
    :param path: what needs call the file, and what names come from where nothing better is known.
    """
    clean = text[:MAXIMUM_TEXT].replace("\r\n", "\n").lstrip("\ufeff")
    if "\0" in clean:
        return []
    source = _Source(clean, path)
    found = sorted(_reader_of(source)(source), key=lambda need: (need.line, need.column, need.port, need.protocol))
    return list(dict.fromkeys(found))


class _Source:
    """A text, its places, and the name of whose it is."""

    def __init__(self, text: str, path: str) -> None:
        self.text = text
        self.path = path
        self.own_name = _name_of_path(path)
        self._lines = [0, *(match.end() for match in re.finditer("\n", text))]

    def need(self, kind: str, name: str, found: Found) -> Need:
        """A need at the place of what was found."""
        line = bisect.bisect_right(self._lines, found.offset)
        column = found.offset - self._lines[line - 1] + 1
        return Need(name, found.port, found.protocol, self.path, line, column, kind, _piece(found.piece))


def _piece(text: str) -> str:
    shown = table.printable(text[:_LONGEST_PIECE].strip())
    return shown if len(shown) <= _LONGEST_PIECE else f"{shown[: _LONGEST_PIECE - 3]}..."


def _reader_of(source: _Source) -> Callable[[_Source], Iterable[Need]]:
    name = posixpath.basename(source.path).lower()
    by_name = (
        (_DEFINITION_FILE, _in_definition),
        (_COMPOSE_FILE, _in_compose),
        (_ENV_FILE, _in_env_file),
        (_PROCFILE, _in_procfile),
        (_PACKAGE_FILE, _in_package),
    )
    for pattern, reader in by_name:
        if pattern.fullmatch(name):
            return reader
    if _DEFINITION_TEXT.search(source.text):
        return _in_definition
    return _in_compose if _COMPOSE_TEXT.search(source.text) else _in_script


def _plain_name(text: str) -> str:
    """A valid plain name made of some text; empty when nothing is left of it."""
    name = re.sub(r"[^a-z0-9]+", "-", text[:200].lower()).strip("-")
    if name and not name[0].isalpha():
        name = f"service-{name}"
    return name[:_LONGEST_NAME].rstrip("-")


def _joined(*parts: str) -> str:
    return _plain_name("-".join(parts))


def _name_of_path(path: str) -> str:
    """What a file, or the nearest folder above it with a name of its own, is called."""
    *folders, base = path.split("/")[-20:]
    for part in (base.partition(".")[0], *reversed(folders)):
        name = _plain_name(part)
        if not _GENERAL_NAME.fullmatch(name):
            return name
    return "service"


def _name_of_variable(variable: str, own_name: str) -> str:
    """``api`` for ``API_PORT``, the file's own name for ``PORT``."""
    upper = variable.upper()
    stem = upper[len("PORT_") :] if values.is_port_variable(upper) else _STEM.sub("", upper)
    name = _plain_name(stem)
    return own_name if name in _GENERAL_STEMS else name


class _Assigned(NamedTuple):
    """A variable that a file sets: where its line and its value begin, and the value, as far as it is known."""

    name: str
    offset: int
    value_offset: int
    value: str


def _assignments(text: str) -> list[_Assigned]:
    """Every line that sets a variable."""
    result = []
    for match in _ASSIGNMENT.finditer(text):
        value = _VALUE.match(text, match.end())
        written = next((group for group in value.groups() if group), "") if value else ""
        result.append(_Assigned(match.group(1), match.start(1), match.end(), written))
    return result


def _is_need(assigned: _Assigned, known: Mapping[str, str]) -> bool:
    """Whether a variable holds a port of this host: ``DB_PORT`` does not when ``DB_HOST`` is another machine."""
    if not port_patterns.is_variable(assigned.name):
        return False
    prefix = assigned.name[: -len("PORT")] if assigned.name.upper().endswith("_PORT") else ""
    hosts = [known[prefix + suffix] for suffix in _HOST_SUFFIXES if prefix and prefix + suffix in known]
    return all(map(port_patterns.is_this_host, hosts))


def _of_variable(text: str, assigned: _Assigned) -> Iterator[Found]:
    """The port that is the whole value of a variable."""
    port = port_patterns.fixed(assigned.value)
    if port is not None:
        value = _VALUE.match(text, assigned.value_offset)
        end = value.end() if value else assigned.value_offset
        yield Found(assigned.offset, port, registry.TCP, text[assigned.offset : end], assigned.name)


def _in_env_file(source: _Source) -> Iterator[Need]:
    assigned = _assignments(source.text)
    known = {one.name: one.value for one in assigned}
    own_name = next((name for name in (_plain_name(known.get(key, "")) for key in _NAME_VARIABLES) if name), "")
    own_name = own_name or source.own_name
    before = 0
    for one in assigned:
        name = _name_of_variable(one.name, own_name)
        line_end = source.text.find("\n", one.value_offset) % (len(source.text) + 1)
        comments = before, one.offset
        before = line_end
        if _is_need(one, known):
            for found in _of_variable(source.text, one):
                yield source.need(ENV, name, found)
            for env, found in _annotations(source.text, *comments):
                yield source.need(ENV, _joined(name, env), found)
        else:
            for found in port_patterns.addresses(source.text[one.value_offset : line_end], one.value_offset):
                yield source.need(ENV, name, found)


def _annotations(text: str, start: int, end: int) -> Iterator[tuple[str, Found]]:
    """What the original's promotion would set: ``{{dev:8580}}`` in the comments right above a variable."""
    for match in _ANNOTATION.finditer(text, start, end):
        port = port_patterns.fixed(match.group(2))
        if port is not None:
            yield match.group(1), Found(match.start(), port, registry.TCP, match.group())


def _in_script(source: _Source) -> Iterator[Need]:
    for found in port_patterns.commands(source.text, 0):
        yield source.need(COMMAND, _name_of_variable(found.variable, source.own_name), found)


def _in_procfile(source: _Source) -> Iterator[Need]:
    for line in _PROCESS.finditer(source.text):
        for found in port_patterns.commands(line.group(2), line.start(2)):
            name = _plain_name(line.group(1)) or source.own_name
            yield source.need(COMMAND, _name_of_variable(found.variable, name), found)


def _in_package(source: _Source) -> Iterator[Need]:
    named = _PACKAGE_NAME.search(source.text)
    own_name = (_plain_name(named.group(1)) if named else "") or source.own_name
    for scripts in _SCRIPTS.finditer(source.text):
        for found in port_patterns.commands(scripts.group(1), scripts.start(1)):
            yield source.need(COMMAND, _name_of_variable(found.variable, own_name), found)


def _in_compose(source: _Source) -> Iterator[Need]:
    used: dict[str, PortValue] = {}
    for one in compose.published(source.text):
        value = registry.value_of(one.port, one.protocol)
        name = _plain_name(one.service) or source.own_name
        # The first port of a service has its name, a further one says which one it is in the container.
        further = [_joined(name, str(one.target)), _joined(name, str(one.target), one.protocol)]
        further.append(_joined(name, str(one.port), one.protocol))
        name = next((other for other in (name, *further) if used.setdefault(other, value) == value), further[-1])
        text = _piece(one.text)
        yield Need(name, one.port, one.protocol, source.path, one.line, one.column, COMPOSE, text)


def _in_definition(source: _Source) -> Iterator[Need]:
    assigned = _set_by(source)
    known = {one.name: one.value for one in assigned}
    service = _plain_name(known.get("TSM_NAME", "")) or source.own_name
    ends = [*(one.offset for one in assigned[1:]), len(source.text)]
    found: list[tuple[int, str, Found]] = []
    for one, end in zip(assigned, ends):
        found += _in_key(source.text, one, end, service, known)
    seen: set[tuple[int, str]] = set()
    # The service's own port is most telling: what else names that number means the same port.
    for _rank, name, what in sorted(found, key=lambda item: (item[0], item[2].offset)):
        if (what.port, what.protocol) not in seen:
            seen.add((what.port, what.protocol))
            yield source.need(DEFINITION, name, what)


def _set_by(source: _Source) -> list[_Assigned]:
    """What a definition sets: as its reader says, or line by line where that refuses it."""
    # Of a name that is set twice the last line counts.
    last = {one.name: one for one in _assignments(source.text)}
    ordered = sorted(last.values(), key=lambda one: one.offset)
    try:
        read = definition.parse(source.text, source.path, {})
    except TetraError:
        return ordered
    shown = {name: values.show(value) for name, value in read.values.items()}
    return [one._replace(value=shown.get(one.name, one.value)) for one in ordered]


def _in_key(
    text: str, one: _Assigned, end: int, service: str, known: Mapping[str, str]
) -> Iterator[tuple[int, str, Found]]:
    """The ports in one variable of a definition, with how telling they are and a name."""
    if one.name == "TSM_PORT":
        is_udp = known.get("TSM_PORT_TYPE", "").strip().lower() == registry.UDP
        for found in _of_variable(text, one):
            yield 0, service, found._replace(protocol=registry.UDP if is_udp else registry.TCP)
    elif one.name == "TSM_PORTS":
        yield from ((1, _joined(service, name), found) for name, found in _further_ports(text, one))
    elif one.name in ("TSM_COMMAND", "TSM_ARGS", "TSM_PRE_COMMAND", "TSM_PRE_START", "TSM_ENV", "TSM_ENV_SETUP"):
        for found in port_patterns.commands(text[one.value_offset : end], one.value_offset):
            yield 3, _qualified(service, found.variable), found
    elif not one.name.startswith("TSM_") and _is_need(one, known):
        yield from ((2, _qualified(service, one.name), found) for found in _of_variable(text, one))


def _qualified(service: str, variable: str) -> str:
    name = _name_of_variable(variable, "")
    return _joined(service, name) if name and name != service else service


def _further_ports(text: str, one: _Assigned) -> Iterator[tuple[str, Found]]:
    for word in one.value.replace(",", " ").split()[:1000]:
        try:
            name, request, _more = units.further_port(word)
        except TetraError:
            continue
        if request.kind == "fixed" and request.number is not None:
            piece = ":".join(word.split(":")[:3])
            place = text.find(piece, one.value_offset)
            yield name, Found(place if place >= 0 else one.offset, request.number, request.protocol, piece)


def from_listeners(listeners: Iterable[Mapping[str, Any]]) -> list[Need]:
    """What listens on a host, as needs; connections that go out are none.

    :param listeners: as ``host.sockets.listeners`` returns them.
    """
    result = []
    for one in listeners:
        if one["state"] != holder.CONNECTION:
            text = _piece(f"{one['address']}:{one['port']}")
            result.append(Need(_name_of_listener(one), one["port"], one["protocol"], "", 0, 0, LISTENER, text))
    return result


def _name_of_listener(listener: Mapping[str, Any]) -> str:
    """The most telling name: the service's, the container's, the unit's, the program's."""
    unit = listener["unit"]
    of_unit = unit.rpartition(".")[0].partition("@")[0] if not unit.endswith(".scope") else ""
    service = registry.service_of(registry.split_identity(listener["owner"] or "")[1])
    for text in (service, listener["container"], of_unit, listener["command"]):
        name = _plain_name(text)
        if name:
            return name
    return f"port-{listener['port']}"


def propose(needs: Iterable[Need], said: Registry) -> list[Proposal]:
    """One proposal for each port that is needed, by port and protocol.

    Its name is that of the most telling need. A port that is registered for one of its needs is theirs, and what only
    listens on a registered port is taken for its holder, since the name of a program says little.

    :param said: the registry that names would go into.
    """
    groups: dict[PortValue, list[Need]] = {}
    for need in needs:
        groups.setdefault(need.value, []).append(need)
    ordered = sorted((sorted(group, key=_telling) for group in groups.values()), key=lambda group: _telling(group[0]))
    judge = _Judge(said)
    return sorted(map(judge.proposal, ordered), key=lambda one: (one.port, one.protocol))


def _telling(need: Need) -> tuple[Any, ...]:
    return (KINDS.index(need.kind), need.file, need.line, need.column, need.name, need.port, need.protocol)


class _Judge:
    """Compares needs with a registry, and with what was proposed before."""

    def __init__(self, said: Registry) -> None:
        self._registered = said.registered
        self._categories = {port: category for category, ports in said.reserved.items() for port in ports}
        # Files write `my_app` where needs have `my-app`.
        self._names = {_plain_name(name): (name, value) for name, value in said.names.items()}
        self._proposed: dict[str, Need] = {}

    def proposal(self, needs: list[Need]) -> Proposal:
        """What becomes of the needs of one port, the most telling first."""
        first = self._distinct(needs[0])
        holder, name = self._holder(needs)
        if holder:
            return Proposal(name, first.port, first.protocol, REGISTERED, "", tuple(needs))
        reasons = self._reasons(first)
        if not reasons:
            self._proposed[first.name] = first
        state = CONFLICT if reasons else NEW
        return Proposal(first.name, first.port, first.protocol, state, "; ".join(reasons), tuple(needs))

    def _distinct(self, need: Need) -> Need:
        """A listener under a name that is free: what its program is called says little, and several are called so."""
        taken = need.name in self._names or need.name in self._proposed
        return dataclasses.replace(need, name=f"{need.name}-{need.port}") if need.kind == LISTENER and taken else need

    def _holder(self, needs: list[Need]) -> tuple[str, str]:
        """Who has the port already of those who need it, and the name that it is needed by; nothing when nobody."""
        holders = self._registered.get(needs[0].value, [])
        for name in dict.fromkeys(need.name for need in needs):
            for identity in holders:
                if _is_meant(name, identity):
                    return identity, name
        if holders and all(need.kind == LISTENER for need in needs):
            return holders[0], holders[0]
        return "", ""

    def _reasons(self, need: Need) -> list[str]:
        """What is in the way of a name for a port."""
        reasons = []
        there = self._names.get(need.name)
        if there and there[1] != need.value:
            reasons.append(f"{there[0]} has port {there[1]}")
        holders = self._registered.get(need.value, [])
        if holders:
            reasons.append(f"port {need.value} belongs to {holders[0]}")
        if need.port in self._categories:
            reasons.append(f"port {need.port} is reserved ({self._categories[need.port]})")
        other = self._proposed.get(need.name)
        if other and not reasons:
            place = f" ({other.file}:{other.line})" if other.file else ""
            reasons.append(f"{need.name} is proposed for port {other.value}{place} already")
        return reasons


def _is_meant(name: str, holder: str) -> bool:
    """Whether a need's name means who has a port; ``api-metrics`` also means ``acme/dev/api/metrics``."""
    owner, key = registry.split_identity(holder)
    if not owner:
        return name == _plain_name(holder)
    return registry.same_service(name, holder) or name == _plain_name(key)
