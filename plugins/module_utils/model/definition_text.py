# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Writes a service definition: the text that ``definition.parse``, and bash, read back as the very same values."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from . import values
from .definition import SYMBOLIC, Definition, expand
from .errors import TetraError
from .values import Part, Value

_BARE = re.compile(r"[A-Za-z0-9_./,@%+-]+")
_MEANS_SOMETHING = re.compile(r'[\\"$`]')
# What cannot stand in a default between double quotes, and what bash splits or expands outside of them.
_UNQUOTABLE = re.compile(r"'|[<>]\(")
_SPLIT = re.compile(r"[\s*?\[]")
_OWN_FOLDER = '$(dirname "${BASH_SOURCE[0]}")'


def to_tsm(definition: Definition) -> str:
    """The text of a definition, a line for each name.

    :raises TetraError: for a word of an array that has a default which no text can say there.
    """
    names = [*definition.values, *definition.arrays]
    lines = [_assignment(definition, name) for name in names if name not in SYMBOLIC]
    lines += [f"export {name}" for name in sorted(definition.exported.difference(names))]
    # What has the name of something that hosts know comes last, or lines after it would mean that instead: the texts in
    # one statement, whose values are all read before one is set.
    known = [f"{name}={_word(value)}" for name, value in definition.values.items() if name in SYMBOLIC]
    lines += [f"export {' '.join(known)}"] if known else []
    lines += [_assignment(definition, name) for name in definition.arrays if name in SYMBOLIC]
    return "".join(f"{line}\n" for line in lines)


def _assignment(definition: Definition, name: str) -> str:
    export = "export " if name in definition.exported else ""
    if name in definition.arrays:
        return f"{export}{name}=({' '.join(map(_element, definition.arrays[name]))})"
    return f"{export}{name}={_word(definition.values[name])}"


def _word(value: Value) -> str:
    """A value as it stands after an equals sign; a default stands outside of quotes, where it may hold any text."""
    parts = values.parts(value)
    if len(parts) < 2 or any(isinstance(part, dict) and "default" in part for part in parts):
        return "".join(map(_piece, parts))
    return '"' + "".join(_escaped(part) if isinstance(part, str) else _piece(part) for part in parts) + '"'


def _piece(part: Part) -> str:
    if isinstance(part, str):
        return _quoted(part)
    if "secret" in part:
        return f"${{secret:{part['secret']}}}"
    if part["var"] == "TETRA_SERVICE_DIR" and "default" not in part:
        return _OWN_FOLDER
    if "default" in part:
        return f"${{{part['var']}:-{_word(part['default'])}}}"
    return f"${{{part['var']}}}"


def _quoted(text: str) -> str:
    if _BARE.fullmatch(text):
        return text
    return f'"{_escaped(text)}"'


def _escaped(text: str) -> str:
    """A text as it stands between double quotes."""
    return _MEANS_SOMETHING.sub(r"\\\g<0>", text)


def _element(value: Value) -> str:
    """A word of an array, where bash would split what is not in quotes."""
    return "".join(_element_piece(part) for part in values.parts(value)) or '""'


def _element_piece(part: Part) -> str:
    if isinstance(part, str):
        return _quoted(part)
    if "default" not in part:
        return f'"{_piece(part)}"'
    text = values.show(part["default"])
    if not _UNQUOTABLE.search(text):
        return f'"{_in_quotes(part)}"'
    if _SPLIT.search(text):
        raise TetraError(f"the default of {part['var']} cannot stand in an array", hint="set a variable to it first")
    return _piece(part)


def _in_quotes(part: Part) -> str:
    """A part as it stands in a default between double quotes."""
    if isinstance(part, str):
        return re.sub(r'[\\"$`}]', r"\\\g<0>", part)
    if "default" not in part:
        return _piece(part)
    return f"${{{part['var']}:-{''.join(map(_in_quotes, values.parts(part['default'])))}}}"


def as_texts(definition: Definition) -> dict[str, str | list[str]]:
    """What a definition sets, as people would write it between double quotes: name to text, or to words for an array.

    :raises TetraError: for a value that cannot be written so: a backslash right before what only the host knows.
    """
    texts: dict[str, str | list[str]] = {name: _shown(name, value) for name, value in definition.values.items()}
    return {**texts, **{name: [_shown(name, word) for word in words] for name, words in definition.arrays.items()}}


def from_texts(texts: Mapping[str, str | Sequence[str]]) -> Definition:
    """The definition that :func:`as_texts` tells of; all of its names are exported.

    :raises TetraError: for a name or a text that no definition can have.
    """
    found: dict[str, Value] = {}
    arrays: dict[str, list[Value]] = {}
    for name, text in texts.items():
        if not values.VARIABLE.fullmatch(str(name)):
            raise TetraError(f"{name!r} is not the name of a variable", hint="use letters, digits and _")
        if isinstance(text, str):
            found[name] = _read(name, text)
        else:
            arrays[name] = [_read(name, str(word)) for word in text]
    return Definition("", found, arrays, frozenset(texts), {})


def _read(name: str, text: str) -> Value:
    try:
        return expand(text, {})
    except TetraError as error:
        raise TetraError(f"{name}: {error.message}", hint=error.hint) from error


def _shown(name: str, value: Value) -> str:
    escaped = values.map_text(value, lambda text: re.sub(r"[$`]", r"\\\g<0>", text))
    text = values.show(escaped)
    if _read(name, text) != value:
        raise TetraError(f"{name}: a backslash before a variable cannot be shown", hint="take the backslash out")
    return text
