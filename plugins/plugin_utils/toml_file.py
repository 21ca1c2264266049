# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The TOML files of an organization: read with the standard library, with the line of every key at hand for remarks."""

from __future__ import annotations

import codecs
import dataclasses
import functools
import re
import tomllib  # type: ignore[import-not-found]  # mypy is told the Python of hosts, which have no tomllib
from typing import Any

from ansible_collections.tetra.platform.plugins.module_utils.model import toml_text, units
from ansible_collections.tetra.platform.plugins.module_utils.model.errors import ERROR, WARNING, Finding, TetraError

MAX_BYTES = 1024 * 1024

_PLACE = re.compile(r" \(at (?:line (?P<line>\d+), column (?P<column>\d+)|end of document)\)$")
_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def decode(data: bytes, path: str) -> str:
    """The text of a file.

    :raises TetraError: naming the file, when it is anything but UTF-8 without a byte order mark.
    """
    hint = "save it as plain text in UTF-8, without a byte order mark"
    if data.startswith(_UTF_16):
        raise TetraError(f"{path}: the file is UTF-16", hint=hint)
    if data.startswith(codecs.BOM_UTF8):
        raise TetraError(f"{path}: the file begins with a byte order mark", hint=hint)
    if b"\0" in data:
        raise TetraError(f"{path}: the file is not text, byte {data.index(0)} is NUL", hint=hint)
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise TetraError(f"{path}: the file is not UTF-8, see byte {error.start}", hint=hint) from error


@dataclasses.dataclass(frozen=True)
class TomlFile:
    """A TOML file: its path for remarks, its text, and what it says."""

    path: str
    text: str
    table: dict[str, Any]

    @functools.cached_property
    def _document(self) -> toml_text.Document:
        return toml_text.scan(self.text)

    def line(self, *keys: str) -> int:
        """The line on which a key, or the first key below it, is written; else that of its table; else 0."""
        lines = [statement.line for statement in self._document.statements if statement.path[: len(keys)] == keys]
        return min(lines) if lines else self.line(*keys[:-1]) if len(keys) > 1 else 0

    def error(self, keys: tuple[str, ...], message: str, hint: str) -> Finding:
        """An error about a key."""
        return self._finding(ERROR, "invalid", keys, message, hint)

    def warning(self, keys: tuple[str, ...], message: str, hint: str) -> Finding:
        """A remark about a key that does not stop anything."""
        return self._finding(WARNING, "unused", keys, message, hint)

    def unknown_keys(self, known: tuple[str, ...]) -> list[Finding]:
        """A remark for each key of the top level that is not known, with the nearest one that is."""
        return [self._unknown(key, known) for key in self.table if key not in known]

    def subtable(self, key: str, findings: list[Finding]) -> dict[str, Any]:
        """A table of the top level, empty when it is missing; what is no table is a finding."""
        table = self.table.get(key, {})
        if isinstance(table, dict):
            return table
        findings.append(self.error((key,), f"{key} is not a table", f"write [{key}] on a line and its keys below"))
        return {}

    def _unknown(self, key: str, known: tuple[str, ...]) -> Finding:
        near = units.nearest(key, known)
        hint = f"did you mean {near}?" if near else f"the keys here are {', '.join(known)}"
        return self._finding(WARNING, "unknown-key", (key,), f"{key!r} is not a known key and is ignored", hint)

    def _finding(self, severity: str, code: str, keys: tuple[str, ...], message: str, hint: str) -> Finding:
        return Finding(severity, code, message, self.path, self.line(*keys), 0, hint)


def parse(data: bytes, path: str) -> TomlFile:
    """Read a TOML file.

    :raises TetraError: with file and, where there is one, line and column, for what is not TOML.
    """
    if len(data) > MAX_BYTES:
        raise TetraError(f"{path}: {len(data)} bytes are more than {MAX_BYTES}", hint="keep data in files/")
    text = decode(data, path)
    _check_names(path, text)
    try:
        return TomlFile(path, text, tomllib.loads(text))
    except RecursionError as error:
        raise TetraError(f"{path}: tables or lists are nested too deeply", hint="make it flatter") from error
    except ValueError as error:
        raise _not_toml(path, text, str(error)) from error


def _check_names(path: str, text: str) -> None:
    """Refuse names of very many parts, for which the standard library takes memory without end."""
    if all(line.count(".") < toml_text.MOST_PARTS for line in text.split("\n")):
        return
    for problem in toml_text.scan(text).problems:
        if problem.code == toml_text.PARTS:
            raise TetraError(f"{path}:{problem.line}:{problem.column}: {problem.message}", hint=problem.hint)


def _not_toml(path: str, text: str, problem: str) -> TetraError:
    match = _PLACE.search(problem)
    if not match:
        return TetraError(f"{path}: {problem}", hint="write valid TOML")
    last = text.count("\n") + 1
    place = f"{match['line']}:{match['column']}" if match["line"] else str(last)
    return TetraError(f"{path}:{place}: {problem[: match.start()]}", hint="write valid TOML")
