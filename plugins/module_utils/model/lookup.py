# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which services of a host a person means: by small number, by name, or by a part of it that only one has."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence

from . import units
from .errors import TetraError

EVERYTHING = ("*", "all")
_SHOWN = 20


@dataclasses.dataclass(frozen=True)
class Known:
    """A service of this host; ``number`` is its place among all services of the host, from 0."""

    number: int
    org: str
    env: str
    name: str

    @property
    def path(self) -> str:
        """The name that no other service of the host has."""
        return f"{self.org}/{self.env}/{self.name}"


def numbered(services: Iterable[tuple[str, str, str]]) -> list[Known]:
    """The services of a host, each ``(org, env, name)``, in their order and with their numbers."""
    return [Known(number, *service) for number, service in enumerate(sorted(services))]


def narrowed(services: Iterable[Known], org: str | None, env: str | None) -> list[Known]:
    """The services of an organization or an environment; None stands for any. Each keeps its number."""
    return [one for one in services if org in (None, one.org) and env in (None, one.env)]


def find(words: Iterable[str], services: Sequence[Known]) -> list[Known]:
    """The services that some words mean, each once, in their order.

    :param words: each a number, a name, ``env/name``, ``org/env/name``, a part of a name that one service alone has,
        or ``*`` or ``all`` (also after ``env/``).
    :raises TetraError: when a word means none, or may mean several; those are listed.
    """
    found = {one for word in words for one in _meant(word, services)}
    return sorted(found, key=lambda one: one.number)


def _meant(word: str, services: Sequence[Known]) -> list[Known]:
    if word.isascii() and word.isdigit():
        return [_by_number(word, services)]
    # As in a definition, where capitals and _ may be written.
    *scopes, name = word.lower().replace("_", "-").split("/")
    inside = [one for one in services if _is_in(one, scopes)]
    if name in EVERYTHING and (inside or not scopes):
        return inside
    found = [one for one in inside if one.name == name] or [one for one in inside if name and name in one.name]
    if not found:
        raise _unknown(word, name, services)
    if len(found) > 1:
        lines = [f'"{word}" may mean any of these:', *_lines(found)]
        raise TetraError("\n".join(lines), hint="write its number, env/name or org/env/name, or more of the name")
    return found


def _is_in(service: Known, scopes: Sequence[str]) -> bool:
    """Whether a service is where the words before its name say: none, ``env``, or ``org`` and ``env``."""
    return len(scopes) <= 2 and [service.org, service.env][2 - len(scopes):] == list(scopes)


def _by_number(word: str, services: Sequence[Known]) -> Known:
    # Longer ones are no number of a service, and are not worth the time to read them.
    number = int(word) if len(word) <= 9 else -1
    for one in services:
        if one.number == number:
            return one
    raise _unknown(word, "", services)


def _unknown(word: str, name: str, services: Sequence[Known]) -> TetraError:
    near = units.nearest(name, {one.name for one in services})
    if near:
        return TetraError(f'there is no service "{word}"', hint=f"did you mean {near}? tsm list shows all")
    if not services:
        return TetraError(f'there is no service "{word}", nor any other', hint="push something to this host first")
    return TetraError("\n".join([f'there is no service "{word}"; there are:', *_lines(services)]))


def _lines(services: Sequence[Known]) -> list[str]:
    more = [f"  and {len(services) - _SHOWN} more; tsm list shows all"] if len(services) > _SHOWN else []
    return [f"  {one.number}  {one.path}" for one in services[:_SHOWN]] + more
