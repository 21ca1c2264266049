# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""From the sources of an organization to a release: its services for one environment, and then all that hosts get."""

from __future__ import annotations

import dataclasses
import functools
import posixpath
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ansible_collections.tetra.platform.plugins.module_utils.model import definition as definitions
from ansible_collections.tetra.platform.plugins.module_utils.model import (
    policy,
    release,
    service,
    service_reader,
    units,
)
from ansible_collections.tetra.platform.plugins.module_utils.model.definition import Definition
from ansible_collections.tetra.platform.plugins.module_utils.model.errors import (
    ERROR,
    WARNING,
    Finding,
    TetraError,
    raise_on_errors,
)
from ansible_collections.tetra.platform.plugins.module_utils.model.ports import allocation, registry
from ansible_collections.tetra.platform.plugins.module_utils.model.ports.registry import PortValue
from ansible_collections.tetra.platform.plugins.module_utils.model.service import Service
from ansible_collections.tetra.platform.plugins.module_utils.model.values import Value
from ansible_collections.tetra.platform.plugins.plugin_utils import (
    org_templates,
    overlay,
    secrets,
    template_layers,
    toml_file,
)
from ansible_collections.tetra.platform.plugins.plugin_utils.overlay import EnvironmentValues
from ansible_collections.tetra.platform.plugins.plugin_utils.source import Source
from ansible_collections.tetra.platform.plugins.plugin_utils.template import Rendered
from ansible_collections.tetra.platform.plugins.plugin_utils.template_layers import Layers
from ansible_collections.tetra.platform.plugins.plugin_utils.toml_file import TomlFile

_SUFFIXES = (".tsm", ".tsm.sh")
_PORT_KEYS = ("ports", "port_ranges")
_MENTIONED = re.compile(r"\$\{?([A-Za-z_][A-Za-z0-9_]*)")


@dataclasses.dataclass(frozen=True)
class Services:
    """The services of an organization in one environment, before their ports are known.

    ``placement`` is service to names of hosts or groups, ``once`` the services that run on one host; ``pins`` is
    service to the port that ``ports.toml`` gives it, ``port_ranges`` environment to ``A-B``; ``definitions`` are those
    that came of templates; ``places`` is service and key to the file and line of its value; ``mentioned`` is name of a
    value to the files that name it, without those in ``templates/``.
    """

    services: dict[str, Service]
    placement: dict[str, list[str]]
    once: list[str]
    pins: dict[str, PortValue]
    port_ranges: dict[str, str]
    environment: EnvironmentValues
    templates: Layers
    definitions: Rendered
    places: dict[tuple[str, str], tuple[str, int]]
    mentioned: dict[str, list[str]]
    findings: tuple[Finding, ...]


@dataclasses.dataclass(frozen=True)
class Built:
    """A release: its manifest, and by sha256 what gives the bytes of the files that the bundle does not have.

    ``templates`` is what those in ``templates/`` became.
    """

    manifest: dict[str, Any]
    contents: dict[str, Callable[[], bytes]]
    templates: Rendered


def services(
    source: Source, env: str, aliases: Mapping[str, str] = policy.ALIASES, protected: bool = False
) -> Services:
    """Read the services of an organization as one environment has them. Of templates only definitions are rendered.

    :param aliases: alias to environment, see ``policy.aliases``.
    :param protected: whether secrets in plain text are errors.
    :raises TetraError: listing everything that is wrong with the sources.
    """
    environment = overlay.environment_values(source, env, aliases)
    findings = [*source.findings, *environment.findings]
    templates, rendered = _rendered(source, env, environment, aliases, findings)
    reader = _Reader(source, environment, rendered)
    reader.read()
    findings += reader.findings
    findings += _unknown_services(environment, reader.files)
    findings += _depends_findings(reader.services, reader.files)
    placement, once = _placed(source, reader.files, findings)
    pins, ranges = _ports(source, env, aliases, {**reader.files, **_further_ports(reader)}, findings)
    findings += _port_findings(reader, pins)
    findings += secrets.plain_findings(reader.services, reader.places, environment, protected)
    findings += secrets.file_findings(source, protected)
    raise_on_errors(findings)
    return Services(
        reader.services, placement, once, pins, ranges, environment, templates, rendered, reader.places,
        reader.mentioned, tuple(findings),
    )  # fmt: skip


def build(
    source: Source,
    env: str,
    services: Services,
    ports: Mapping[str, PortValue],
    secret_digests: Mapping[str, str],
    secrets_key: str | None,
) -> Built:
    """Make the release of a bundle for one environment.

    :param services: what :func:`services` returned for the same source and environment.
    :param ports: as ``allocation.allocate`` returns them.
    :param secret_digests: name of a secret to its keyed digest, made on the hosts.
    :param secrets_key: the id of the key that the digests were made with.
    :raises TetraError: for templates that cannot be rendered, and for secrets without a digest.
    """
    files = {path: file.entry for path, file in source.files.items() if path.startswith("files/")}
    added, rendered = org_templates.files(source, services.templates, template_values(source, env, services, ports))
    files.update(added)
    used = _used_digests(services.services, secret_digests)
    manifest = {
        "format": release.FORMAT,
        "kind": "release",
        "org": source.org.name,
        "env": env,
        "bundle": source.digest,
        "files": dict(sorted(files.items())),
        "services": {
            name: _service_entry(services.services[name], ports, files, used) for name in sorted(services.services)
        },
        "secrets": used,
        "secrets_key": secrets_key,
    }
    release.check_manifest(manifest)
    contents = {entry["sha256"]: rendered.files[path] for path, entry in added.items()}
    readers: dict[str, Callable[[], bytes]] = {
        digest: functools.partial(contents.__getitem__, digest) for digest in contents
    }
    return Built(manifest, readers, rendered)


def _rendered(
    source: Source, env: str, environment: EnvironmentValues, aliases: Mapping[str, str], findings: list[Finding]
) -> tuple[Layers, Rendered]:
    """The templates of an environment, and the definitions that come of some; nothing where something is wrong."""
    try:
        templates = org_templates.layers(source, env, environment, aliases)
        return templates, org_templates.definitions(source, env, environment, templates)
    except TetraError as error:
        findings += error.findings or [_error(error)]
        return Layers({}, []), Rendered({}, {}, {})


def _used_digests(services: Mapping[str, Service], digests: Mapping[str, str]) -> dict[str, str]:
    used = secrets.used(services)
    missing = [name for name in used if name not in digests]
    if missing:
        text = f"unknown secret {', '.join(missing)}: the hosts gave no digest of it"
        raise TetraError(text, hint="add it to tetra_secrets")
    return {name: digests[name] for name in used}


def _service_entry(
    found: Service, ports: Mapping[str, PortValue], files: Mapping[str, Mapping[str, Any]], digests: Mapping[str, str]
) -> dict[str, Any]:
    wire = found.to_wire()
    own = release.ports_of_service(ports, found.name)
    digest = release.service_digest(wire, own, files, digests)
    return {"digest": digest, "definition": wire, "ports": own}


def template_values(
    source: Source, env: str, services: Services, ports: Mapping[str, PortValue]
) -> dict[str, Any]:
    """What templates may name: the environment's values, and where the services of the organization listen."""
    listens = {
        name: {key: registry.number_of(value) for key, value in release.ports_of_service(ports, name).items()}
        for name in services.services
    }
    return {
        **services.environment.values,
        "org": source.org.name,
        "env": env,
        "services": {
            name: {"port": found.get(release.MAIN_PORT), "ports": found} for name, found in listens.items()
        },
        "ports": {name: found[release.MAIN_PORT] for name, found in listens.items() if release.MAIN_PORT in found},
    }


class _Reader:
    """Reads the definitions one after the other; what is wrong with one does not keep it from the next.

    :param rendered: what templates in ``services/`` became.
    """

    def __init__(self, source: Source, environment: EnvironmentValues, rendered: Rendered) -> None:
        self.source = source
        self.rendered = rendered
        self.environment = environment
        self.variables = environment.variables()
        self.services: dict[str, Service] = {}
        self.files: dict[str, str] = {}
        self.places: dict[tuple[str, str], tuple[str, int]] = {}
        self.findings: list[Finding] = []
        self.mentioned = {name: list(files) for name, files in environment.mentioned.items()}
        for path, names in rendered.names.items():
            self._mention(path, names)

    def _mention(self, path: str, names: Iterable[str]) -> None:
        for name in names:
            self.mentioned.setdefault(name, []).append(path)

    def read(self) -> None:
        known = {*self.source.paths("services"), *self.rendered.files}
        paths = sorted(path for path in known if path.endswith(_SUFFIXES))
        for path in paths:
            if path.count("/") > 1:
                hint = "definitions stand directly in services/"
                self.findings.append(Finding(WARNING, "unused", "the definition is not read", path, hint=hint))
                continue
            try:
                self._definition(path)
            except TetraError as error:
                self.findings.append(_error(error))
                # Others may name this service; that it could not be read is not their mistake.
                self.files.setdefault(overlay.service_name(_base(path)), path)
        if not paths:
            hint = "write at least one definition, such as services/web.tsm"
            self.findings.append(Finding(ERROR, "empty", "the organization has no services", "services/", hint=hint))

    def _definition(self, path: str) -> None:
        written = self._parsed(path)
        name = _name(written)
        if name in self.files:
            hint = "rename one of them: capitals and _ do not make names differ"
            raise TetraError(f"{self.files[name]} and {path} both define service {name}", hint=hint)
        self.files[name] = written.path
        overrides = self.environment.services.get(name, {})
        found, findings = service_reader.from_definition(written, self.environment.environment, overrides)
        added: dict[str, tuple[Value, str, int]] = {}
        for file in found.env_files:
            added.update(self._env_file(path, file))
        if added:
            shared = {**self.environment.environment, **{key: entry[0] for key, entry in added.items()}}
            found, findings = service_reader.from_definition(written, shared, overrides)
        self.findings += findings
        self.services[name] = found
        for key in (*found.environment, "TSM_PORT", *(f"TSM_{key}" for key in service.needs(found))):
            self.places[name, key] = self._place(written, name, key, added)

    def _place(
        self, written: Definition, name: str, key: str, added: Mapping[str, tuple[Value, str, int]]
    ) -> tuple[str, int]:
        """Where the value of a variable or a key is written, in the order in which one wins over the other."""
        for spelled in (key, key.removeprefix("TSM_")):
            if spelled in self.environment.services.get(name, {}):
                return self.environment.place("services", name, spelled)
        if key in written.places:
            return written.path, written.places[key][0]
        if key in added:
            return added[key][1:]
        found = self.environment.place("environment", key)
        return found if found[0] else (written.path, 0)

    def _env_file(self, path: str, file: Value) -> dict[str, tuple[Value, str, int]]:
        """The variables of a file that a definition names: name to value, file and line."""
        places = [posixpath.normpath(f"{folder}{file}") for folder in ("services/", "environments/", "")]
        found = [place for place in places if self._is_there(place)]
        if not isinstance(file, str) or not found:
            shown = file if isinstance(file, str) else "a path that only the host knows"
            hint = f"put it into services/ or environments/; tried {', '.join(places)}" if isinstance(file, str) else (
                "write a path below services/ or environments/")
            raise TetraError(f"{path}: the file of variables {shown} is not there", hint=hint)
        written = self._parsed(found[0])
        return {
            key: (value, found[0], written.places[key][0])
            for key, value in written.values.items()
            if not self._is_ours(written, key)
        }

    def _is_there(self, path: str) -> bool:
        file = self.source.files.get(path)
        return path in self.rendered.files or bool(file and file.read and not path.startswith("files/"))

    def _parsed(self, path: str) -> Definition:
        shown = self.rendered.origins.get(path, path)
        text = self.rendered.files[path].decode("utf-8") if path in self.rendered.files else self.source.text(path)
        self._mention(shown, sorted(set(_MENTIONED.findall(text))))
        return definitions.parse(text, shown, self.variables)

    def _is_ours(self, written: Definition, key: str) -> bool:
        ours = key.startswith(("TSM_", "TETRA_")) or key == "PORT"
        if ours:
            message = f"{key} in a file of variables has no effect"
            hint = "keys of a service stand in its definition or in [services.<name>] of the environment"
            self.findings.append(Finding(WARNING, "unused", message, written.path, written.places[key][0], 0, hint))
        return ours


def _name(written: Definition) -> str:
    """The name of a service: its TSM_NAME, or the name of its file."""
    text = written.values.get("TSM_NAME") or _base(written.path)
    if not isinstance(text, str):
        raise TetraError(f"{written.path}: TSM_NAME is not known here", hint="write the name itself")
    try:
        return units.service_name(text.strip())[0]
    except TetraError as error:
        raise TetraError(f"{written.path}: {error.message}", hint=error.hint) from error


def _base(path: str) -> str:
    return posixpath.basename(template_layers.output_path(path)).removesuffix(".sh").removesuffix(".tsm")


def _error(error: TetraError) -> Finding:
    return error.findings[0] if error.findings else Finding(ERROR, "invalid", error.message, hint=error.hint)


def _suggestion(name: str, known: Iterable[str]) -> str:
    names = sorted(known)
    near = units.nearest(name, names)
    return f"did you mean {near}?" if near else f"the services are {', '.join(names) or 'none'}"


def _unknown_services(environment: EnvironmentValues, known: Mapping[str, str]) -> list[Finding]:
    findings = []
    for name, table in environment.services.items():
        if name not in known and table:
            file, line = environment.place("services", name, next(iter(table)))
            message = f"services.{name}: there is no service of that name"
            findings.append(Finding(ERROR, "overlay", message, file, line, 0, _suggestion(name, known)))
    return findings


def _depends_findings(known: Mapping[str, Service], files: Mapping[str, str]) -> list[Finding]:
    findings = []
    for name, found in known.items():
        for other in found.depends:
            if other not in files:
                message = f"service {name} depends on {other}, which is not a service"
                findings.append(Finding(ERROR, "depends", message, files[name], hint=_suggestion(other, files)))
    circle = _circle({name: sorted(set(found.depends) & set(known)) for name, found in known.items()})
    if circle:
        message = f"services depend on each other in a circle: {' -> '.join(circle)}"
        findings.append(Finding(ERROR, "depends", message, files[circle[0]], hint="one of them must start first"))
    return findings


def _port_findings(reader: _Reader, pins: Mapping[str, PortValue]) -> list[Finding]:
    """Services whose definitions state one and the same port, and that no pin gives another one."""
    findings = []
    stated: dict[tuple[int | None, str], str] = {}
    for name, found in reader.services.items():
        for key, asked in found.port_requests().items():
            fixed = asked.kind == allocation.FIXED and key not in pins
            first = stated.setdefault((asked.number, asked.protocol), key) if fixed else key
            if first != key:
                file, line = reader.places[name, "TSM_PORT"]
                message = f"services {first} and {key} both want port {asked.number}"
                findings.append(Finding(ERROR, "port", message, file, line, 0, "give one of them another port"))
    return findings


def _circle(depends: Mapping[str, list[str]]) -> list[str]:
    """One circle among dependencies, its first name again at the end, or nothing."""
    left = {name: set(others) for name, others in depends.items()}
    while True:
        free = [name for name, others in left.items() if not others]
        if not free:
            break
        for name in free:
            del left[name]
        for others in left.values():
            others.difference_update(free)
    path: list[str] = [min(left)] if left else []
    while path and path[-1] not in path[:-1]:
        path.append(min(left[path[-1]]))
    return path[path.index(path[-1]) :] if path else []


def _placed(
    source: Source, known: Mapping[str, str], findings: list[Finding]
) -> tuple[dict[str, list[str]], list[str]]:
    """Where services run as ``org.toml`` says."""
    placement = {overlay.service_name(name): list(where) for name, where in source.org.placement.items()}
    once = [overlay.service_name(name) for name in source.org.once]
    if not placement and not once:
        return {}, []
    file = toml_file.parse(source.data("org.toml"), "org.toml")
    once_key = ("placement", "once") if file.line("placement", "once") else ("once",)
    keys = [*(("placement", name) for name in source.org.placement), *((*once_key, name) for name in source.org.once)]
    for key in keys:
        if overlay.service_name(key[-1]) not in known:
            shown = key if key[:-1] == ("placement",) else once_key
            message = f"{'.'.join(key[:-1])}: {key[-1]} is not a service"
            findings.append(file.error(shown, message, _suggestion(key[-1], known)))
    if len(placement) < len(source.org.placement):
        message = f"two names in [placement] are the same service: {', '.join(sorted(source.org.placement))}"
        findings.append(file.error(("placement",), message, "keep one of them"))
    return placement, once


def _further_ports(reader: _Reader) -> dict[str, str]:
    """The ports that services have besides their first, by key, with the files that ask for them."""
    return {key: reader.files[name] for name, found in reader.services.items() for key in found.port_requests()}


def _ports(
    source: Source, env: str, aliases: Mapping[str, str], known: Mapping[str, str], findings: list[Finding]
) -> tuple[dict[str, PortValue], dict[str, str]]:
    """What ``ports.toml`` of the organization says: key to port value for one environment, environment to range.

    :param known: the keys that there are.
    """
    if "ports.toml" not in source.files:
        return {}, {}
    try:
        file = toml_file.parse(source.data("ports.toml"), "ports.toml")
    except TetraError as error:
        findings.append(_error(error))
        return {}, {}
    findings += file.unknown_keys(_PORT_KEYS)
    table = file.subtable("ports", findings)
    pins: dict[str, PortValue] = {}
    for name, value in table.items():
        if not isinstance(value, dict):
            _pin(file, ("ports", name), value, pins, known, findings)
    for name in sorted(table, key=lambda name: name == env):
        if isinstance(table[name], dict) and aliases.get(name, name) == env:
            for key, value in table[name].items():
                _pin(file, ("ports", name, key), value, pins, known, findings)
    ranges = {}
    for name, value in file.subtable("port_ranges", findings).items():
        try:
            low, high = units.port_range(value if isinstance(value, str) else repr(value))
            ranges[aliases.get(name, name)] = f"{low}-{high}"
        except TetraError as error:
            findings.append(file.error(("port_ranges", name), f"port_ranges.{name}: {error.message}", error.hint))
    return pins, ranges


def _pin(
    file: TomlFile,
    keys: tuple[str, ...],
    value: object,
    pins: dict[str, PortValue],
    known: Mapping[str, str],
    findings: list[Finding],
) -> None:
    """Keep one pin. The original leaves ``name = ""`` behind for a service that it took out."""
    service_name, slash, further = keys[-1].partition("/")
    name = overlay.service_name(service_name) + slash + further.lower().replace("_", "-")
    key = ".".join(keys)
    if value == "":
        return
    try:
        number = registry.port_value(value if isinstance(value, (int, str)) else repr(value))
    except TetraError as error:
        findings.append(file.error(keys, f"{key}: {error.message}", error.hint))
        return
    if name in known:
        pins[name] = number
    else:
        what = "port of a service" if slash else "service"
        findings.append(file.warning(keys, f"{key}: there is no such {what}", _suggestion(name, known)))
