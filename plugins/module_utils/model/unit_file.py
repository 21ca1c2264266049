# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The text of systemd units: the one place where values become lines that systemd reads.

What may stand where follows systemd.syntax(7), systemd.unit(5) and systemd.service(5): ``%`` begins a specifier
everywhere, ``$`` a variable in a command, a final backslash joins two lines, and ``+ - ! @ : |`` before a program or a
bare ``;`` among its arguments change what is run. Each value is written so that it means itself, or refused.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Union

from .errors import TetraError

Lines = Mapping[str, Union[str, Sequence[str], None]]

_KEY = re.compile(r"(?:X-)?[A-Z][A-Za-z0-9]*(?:-[A-Z][a-z]*)?")
_SECTION = re.compile(r"[A-Z][a-z]+")
# Besides what needs an escape, anything printable may stand in a quoted word as it is.
_ESCAPES = {"\\": "\\\\", '"': '\\"', "%": "%%", "$": "$$"}


def text(sections: Mapping[str, Lines], remark: str) -> str:
    """The text of a unit.

    :param sections: name of a section to its keys; a value is one that a function of this file made, a list of them
        for a key that stands several times, or None for one that does not stand there.
    :param remark: for whoever opens the file; one line.
    :raises ValueError: for a value with a line of its own, which none of these functions makes.
    """
    lines = [f"# {plain(remark)}"]
    for section, keys in sections.items():
        if not _SECTION.fullmatch(section):
            raise ValueError(f"{section!r} is no section")
        lines += ["", f"[{section}]"]
        for key, value in keys.items():
            lines += [_line(key, one) for one in ([value] if isinstance(value, str) else value or ())]
    return "\n".join(lines) + "\n"


def _line(key: str, value: str) -> str:
    if not _KEY.fullmatch(key) or "\n" in value or value.endswith("\\"):
        raise ValueError(f"{key!r} cannot have the value {value!r}")
    return f"{key}={value}"


def command(words: Sequence[str]) -> str:
    """A program with its arguments, each of which reaches it byte for byte.

    :raises TetraError: when the program has no absolute path or one with a ``$``, or a word cannot be in any command.
    """
    program = words[0]
    # Systemd expands no variable in the path of a program, so a dollar sign cannot be escaped there either.
    if not program.startswith("/") or "$" in program:
        raise TetraError(f"systemd cannot be told to run {program!r}", hint="use an absolute path without $")
    return " ".join(map(_quoted, words))


def _quoted(word: str) -> str:
    _check_text(word)
    return '"' + "".join(map(_escaped, word)) + '"'


def _escaped(character: str) -> str:
    if character in _ESCAPES:
        return _ESCAPES[character]
    if character.isprintable():
        return character
    return "".join(f"\\x{byte:02x}" for byte in character.encode())


def _check_text(word: str) -> None:
    try:
        word.encode()
    except UnicodeEncodeError as error:
        raise TetraError(f"{word!r} is not text", hint="use UTF-8") from error
    if "\0" in word:
        raise TetraError(f"{word!r} has a null character", hint="take it out; no program can be given one")


def path(value: str) -> str:
    """A path where a unit takes one path and nothing else.

    :raises TetraError: when it is not absolute, or has what cannot stand in a line: a control character, or a blank or
        a backslash at its end.
    """
    if not value.startswith("/") or not value.isprintable() or value != value.strip() or value.endswith("\\"):
        raise TetraError(f"systemd cannot be told the path {value!r}", hint="use an absolute path of plain characters")
    return value.replace("%", "%%")


def path_word(value: str) -> str:
    """A path where a unit takes several.

    :raises TetraError: as :func:`path`.
    """
    return path(value).replace("\\", "\\\\").replace('"', '\\"').join('""')


def plain(value: str) -> str:
    """A text for people as one line; what could be taken for more than text is replaced by blanks."""
    shown = "".join(character if character.isprintable() else " " for character in value)
    return " ".join(shown.split()).rstrip("\\ ").replace("%", "%%")
