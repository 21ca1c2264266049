# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What was edited by hand on a host, in the words of an organization: keys of a definition, and variables.

What has no such word is not guessed at: it is told, so that a person can take it over.
"""

from __future__ import annotations

import dataclasses
import re
import shlex
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from . import plain_secrets, values

_EXPORT = "export "
_GIVEN = ("TETRA_", "TSM_")
_SECTION = "[Service]"
_SIZE = re.compile(r"[0-9]+[KMGT]?")
_PERCENT = re.compile(r"([0-9]{1,6})%")
_SECONDS = re.compile(r"[0-9]+(?:\.[0-9]+)?(?:ms|s)?")


@dataclasses.dataclass
class Edits:
    """``settings`` is key of a definition, with ``TSM_``, or variable to its text; ``left`` is what has no word."""

    settings: dict[str, str] = dataclasses.field(default_factory=dict)
    left: list[str] = dataclasses.field(default_factory=list)

    def variable(self, name: str, value: str, secrets: Iterable[str]) -> None:
        """Take a variable over, unless its value would put a secret into the files of an organization."""
        if name in values.HOST_VARIABLES or name.startswith(_GIVEN):
            self.left.append(f"{name} has another value, which is for tetra to give")
        elif any(secret in value for secret in secrets if secret):
            self.left.append(f"{name} has another value, which holds a secret")
        elif plain_secrets.looks_secret(name, value):
            self.left.append(f"{name} has another value, which looks like a secret: it belongs into tetra_secrets")
        elif "${" in value or not values.VARIABLE.fullmatch(name) or not value.isprintable():
            self.left.append(f"{name} has another value, which no file of an organization can hold")
        else:
            self.settings[name] = value


def of_unit(original: str, texts: Iterable[str], fixed: Iterable[str], secrets: Iterable[str]) -> Edits:
    """What was edited in a unit of systemd.

    :param original: the unit as it was written.
    :param texts: the unit as it is, and its drop-ins, in the order in which systemd reads them.
    :param fixed: the variables that the service is given whatever its unit says.
    :param secrets: the values of its secrets.
    """
    edits, known = Edits(), _directives([original])
    found = _directives(texts)
    for key, value in found.items():
        if value == known.get(key):
            continue
        if key == "Environment":
            _variables(edits, value, set(fixed), list(secrets))
        else:
            _directive(edits, key, value)
    edits.left += [f"{key} is gone from the unit" for key in known if key not in found]
    return edits


def of_launch(
    original: Mapping[str, str], found: Mapping[str, str], secrets: Iterable[str], same_otherwise: bool
) -> Edits:
    """What was edited in the variables that a service is started with.

    :param original: the variables that it was given, and ``found`` those that it has.
    :param same_otherwise: whether nothing but variables was edited.
    """
    edits, hidden = Edits(), list(secrets)
    for name, value in found.items():
        if value != original.get(name):
            edits.variable(name, value, hidden)
    edits.left += [f"{name} is not set any more" for name in original if name not in found]
    if not same_otherwise:
        edits.left.append("how it is started was edited, besides its variables")
    return edits


def exports(script: str) -> tuple[dict[str, str], list[str]]:
    """The variables that a launch script sets, and its other lines without comments.

    A line that is no shell word any more is among the others.
    """
    found: dict[str, str] = {}
    others: list[str] = []
    for line in script.splitlines():
        name, value = _exported(line)
        if name:
            found[name] = value
        elif line and not line.startswith("#"):
            others.append(line)
    return found, others


def _exported(line: str) -> tuple[str, str]:
    if not line.startswith(_EXPORT):
        return "", ""
    try:
        words = shlex.split(line[len(_EXPORT):])
    except ValueError:
        return "", ""
    name, equals, value = words[0].partition("=") if len(words) == 1 else ("", "", "")
    return (name, value) if equals else ("", "")


def _directives(texts: Iterable[str]) -> dict[str, str]:
    """What the section of the service says, the last line of a key in force; those of ``Environment`` add up."""
    found: dict[str, str] = {}
    for text in texts:
        section = ""
        for line in text.replace("\\\n", " ").splitlines():
            key, equals, value = (part.strip() for part in line.partition("="))
            if line.strip().startswith("["):
                section = line.strip()
            elif equals and section == _SECTION and not key.startswith(("#", ";")):
                found[key] = f"{found.get(key, '')} {value}".strip() if key == "Environment" and value else value
    return found


def _variables(edits: Edits, text: str, fixed: set[str], secrets: list[str]) -> None:
    try:
        words = shlex.split(text)
    except ValueError:
        words = [text]
    for name, equals, value in (word.partition("=") for word in words):
        if not equals or name in fixed:
            why = "its launch script sets it" if equals else "it has no value"
            edits.left.append(f"Environment={name} does nothing, {why}")
        else:
            edits.variable(name, value, secrets)


def _directive(edits: Edits, key: str, value: str) -> None:
    known = _KEYS.get(key)
    said = known[1](value) if known else None
    if known and said is not None:
        edits.settings[known[0]] = said
    else:
        edits.left.append(f"{key}={value[:200]}")


def _size(value: str) -> str | None:
    return value if _SIZE.fullmatch(value) else None


def _cpus(value: str) -> str | None:
    percent = _PERCENT.fullmatch(value)
    return f"{int(percent.group(1)) / 100:g}" if percent else None


def _seconds(value: str) -> str | None:
    return (value if value.endswith("s") else f"{value}s") if _SECONDS.fullmatch(value) else None


_KEYS: Mapping[str, tuple[str, Callable[[str], Any]]] = {
    "CPUQuota": ("TSM_CPU_LIMIT", _cpus),
    "MemoryMax": ("TSM_MEMORY_LIMIT", _size),
    "TimeoutStopSec": ("TSM_STOP_TIMEOUT", _seconds),
}
