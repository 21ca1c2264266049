# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Operation that reads service definitions and says what they mean, without running any of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...model import definition
from ...model.errors import ERROR, Finding, TetraError
from ...model.service_reader import from_definition

_MAXIMUM = 1024 * 1024


def service_definition_info(request: Mapping[str, Any]) -> dict[str, Any]:
    """Read definitions.

    :param request: ``paths``: files on this host; ``variables``: values that the files may refer to.
    :returns: ``services``: for each path ``path``, ``name``, ``command``, ``args``, ``cwd``, ``port``,
        ``environment``, ``health`` and ``findings``; a file that cannot be read has findings and no name.
    """
    variables = request.get("variables") or {}
    return {"changed": False, "services": [_read(path, variables) for path in request["paths"]]}


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
