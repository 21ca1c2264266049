# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Operations that read service definitions and say what they mean, and write them; none of them is ever run."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from typing import Any

from ...model import definition, definition_text, plain_secrets
from ...model.errors import ERROR, Finding, TetraError
from ...model.service_reader import from_definition
from .. import durable

_MAXIMUM = 1024 * 1024
_HIDDEN = "(hidden: it looks like a secret)"


def service_definition_info(request: Mapping[str, Any]) -> dict[str, Any]:
    """Read definitions.

    :param request: ``paths``: files on this host; ``variables``: values that the files may refer to.
    :returns: ``services``: for each path ``path``, ``name``, ``command``, ``args``, ``cwd``, ``port``,
        ``environment``, ``health`` and ``findings``; a file that cannot be read has findings and no name.
    """
    variables = request.get("variables") or {}
    return {"changed": False, "services": [_read(path, variables) for path in request["paths"]]}


def service_definition(request: Mapping[str, Any]) -> dict[str, Any]:
    """Write definitions, all or none of them when one is wrong; one that says the same already is left as it is.

    :param request: ``definitions``: a list of ``{"path", "values"}`` with values as ``definition_text.as_texts`` gives
        them, or ``{"path", "state": "absent"}``.
    :returns: ``changed``, ``paths`` that were changed, ``findings`` on what is wanted, and ``diff``.
    :raises TetraError: for a definition that nobody could read back.
    """
    wanted: dict[str, str | None] = {}
    findings: list[Finding] = []
    for entry in request["definitions"]:
        path = entry["path"]
        if path in wanted:
            raise TetraError(f"{path} is there twice", hint="each file takes one entry")
        wanted[path] = None if entry.get("state") == "absent" else _text_of(path, entry.get("values") or {}, findings)
    before = {path: _text(path) if os.path.lexists(path) else None for path in wanted}
    changed = [path for path, text in wanted.items() if not _says(before[path], text, path)]
    if not request.get("check"):
        for path in changed:
            _write(path, wanted[path])
    diff = [{"before": _shown(path, before[path]), "after": _shown(path, wanted[path]), "before_header": path,
             "after_header": path} for path in changed]
    wire = [finding.to_wire() for finding in findings]
    return {"changed": bool(changed), "paths": changed, "findings": wire, "diff": diff}


def _text_of(path: str, texts: Mapping[str, Any], findings: list[Finding]) -> str:
    try:
        text = definition_text.to_tsm(definition_text.from_texts(texts))
    except TetraError as error:
        raise TetraError(f"{path}: {error.message}", hint=error.hint) from error
    findings += from_definition(definition.parse(text, path, {}), {}, {})[1]
    return text


def _says(text: str | None, wanted: str | None, path: str) -> bool:
    """Whether a file means what is wanted, whatever it looks like."""
    if text is None or wanted is None:
        return text == wanted
    try:
        found = definition_text.as_texts(definition.parse(text, path, {}))
    except TetraError:
        return False
    return found == definition_text.as_texts(definition.parse(wanted, path, {}))


def _write(path: str, text: str | None) -> None:
    if text is None:
        durable.remove(path)
    else:
        mode = os.stat(path).st_mode & 0o777 if os.path.exists(path) else 0o644
        durable.write_file(path, text.encode(), mode)


def _shown(path: str, text: str | None) -> str:
    """A definition as it may be shown: without what looks like a secret."""
    if text is None:
        return ""
    try:
        found = definition.parse(text, path, {})
    except TetraError:
        return "(no definition)\n"
    secret = [name for name, value in found.values.items() if plain_secrets.looks_secret(name, value)]
    if not secret:
        return text
    return definition_text.to_tsm(dataclasses.replace(found, values={**found.values, **dict.fromkeys(secret, _HIDDEN)}))


def _read(path: str, variables: Mapping[str, str]) -> dict[str, Any]:
    empty: dict[str, Any] = {"path": path, "name": None, "command": None, "args": [], "cwd": None, "port": None,
                             "environment": {}, "health": None}
    try:
        service, findings = from_definition(definition.parse(_text(path), path, variables), {}, {})
    except TetraError as error:
        finding = Finding(ERROR, error.code, error.message, file=path, hint=error.hint)
        return {**empty, "findings": [finding.to_wire()]}
    wire = service.to_wire()
    command = wire["command"]
    words = command.get("argv") or [command["shell"]]
    return {
        "path": path,
        "name": wire["name"],
        "command": words[0],
        "args": words[1:],
        "cwd": wire["cwd"],
        "port": wire["port"],
        "environment": wire["environment"],
        "health": wire["health"],
        "findings": [finding.to_wire() for finding in findings],
    }


def _text(path: str) -> str:
    try:
        with open(path, "rb") as file:
            data = file.read(_MAXIMUM + 1)
        return data.decode("utf-8")
    except OSError as error:
        raise TetraError(f"{path} cannot be read: {error.strerror}", hint="give the path of a definition") from error
    except UnicodeDecodeError as error:
        raise TetraError(f"{path} is not UTF-8 text (byte {error.start})", hint="save it as UTF-8") from error
