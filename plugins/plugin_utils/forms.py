# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Forms: what data from outside has to look like, and how it is held against that.

A form is one of: a type (``str`` is any text, ``int``, ``float`` any finite number, ``bool``); ``LINE``, a text that is
shown to people; ``PLAIN``, any plain data; a list of one form; a mapping of keys to forms; or an instance of a class
of this file.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Callable, Mapping
from typing import Any

from ansible_collections.tetra.platform.plugins.module_utils.model import table
from ansible_collections.tetra.platform.plugins.module_utils.model.errors import TetraError

Form = Any

DEEPEST = 50
LARGEST = 2**63
_SHOWN = 40


@dataclasses.dataclass(frozen=True)
class OrNone:
    """None, or what has a form."""

    form: Form


@dataclasses.dataclass(frozen=True)
class Maybe:
    """The value of a key that may be missing."""

    form: Form


@dataclasses.dataclass(frozen=True)
class Named:
    """A mapping of names, which a pattern may limit, to what has a form."""

    form: Form
    names: str = r".*"


@dataclasses.dataclass(frozen=True)
class Matching:
    """A text that a pattern matches as a whole."""

    pattern: str


@dataclasses.dataclass(frozen=True)
class OneOf:
    """One of some texts."""

    words: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Pair:
    """A list of two whole numbers."""


@dataclasses.dataclass(frozen=True)
class Where:
    """What has a form, when a function takes it without raising a :class:`TetraError`."""

    form: Form
    check: Callable[[Any], object]


@dataclasses.dataclass(frozen=True)
class _Line:
    pass


@dataclasses.dataclass(frozen=True)
class _Plain:
    pass


LINE = _Line()
PLAIN = _Plain()


def shaped(value: object, form: Form, place: str = "") -> Any:
    """The part of a value that a form knows.

    :param place: where the value stands, for the message.
    :returns: a copy. Keys that the form does not know are left out, and in a ``LINE`` nothing is left that a terminal
        would obey.
    :raises TetraError: naming the place that is not as the form says.
    """
    if isinstance(form, Mapping):
        return _record(value, form, place)
    if isinstance(form, list):
        _check(isinstance(value, list), value, "a list", place)
        return [shaped(item, form[0], f"{place}[{index}]") for index, item in enumerate(_list(value))]
    if isinstance(form, type):
        return _of_type(value, form, place)
    return _SHAPES[type(form)](value, form, place)


def plain(value: object, place: str = "", depth: int = 0) -> Any:
    """A copy of plain data: texts, numbers, lists and mappings, as deep as somebody would write them.

    :raises TetraError: naming the place of anything else, such as NaN.
    """
    _check(depth <= DEEPEST, "...", f"at most {DEEPEST} deep", place)
    if isinstance(value, Mapping):
        return {text(str(key)): plain(item, f"{place}.{str(key)[:_SHOWN]}", depth + 1) for key, item in value.items()}
    if isinstance(value, list):
        return [plain(item, f"{place}[{index}]", depth + 1) for index, item in enumerate(value)]
    if isinstance(value, str):
        return text(value)
    if value is None or isinstance(value, bool):
        return value
    _check(_is_number(value), value, "plain data", place)
    return value


def text(value: str) -> str:
    """A text that can be written anywhere: what UTF-8 does not have is shown as an escape."""
    return value.encode("utf-8", "backslashreplace").decode("utf-8")


def shown(value: str) -> str:
    """A text, maybe of several lines, in which nothing but line ends and tabs is left that a terminal would obey."""
    return "\n".join("\t".join(map(table.printable, line.split("\t"))) for line in value.split("\n"))


def _record(value: object, form: Mapping[str, Form], place: str) -> dict[str, Any]:
    _check(isinstance(value, Mapping), value, "a record", place)
    found = dict(value) if isinstance(value, Mapping) else {}
    result = {}
    for key, part in form.items():
        wanted = part.form if isinstance(part, Maybe) else part
        below = f"{place}.{key}" if place else key
        if key in found:
            result[key] = shaped(found[key], wanted, below)
        elif not isinstance(part, Maybe):
            raise TetraError(f"{below} is missing")
    return result


def _of_type(value: object, form: type, place: str) -> Any:
    if form is bool:
        _check(isinstance(value, bool), value, "true or false", place)
    elif form is str:
        _check(isinstance(value, str), value, "a text", place)
        return text(str(value))
    else:
        whole = form is float or isinstance(value, int)
        _check(_is_number(value) and whole, value, "a number" if form is float else "a whole number", place)
    return value


def _named(value: object, form: Named, place: str) -> dict[str, Any]:
    _check(isinstance(value, Mapping), value, "a mapping", place)
    found = dict(value) if isinstance(value, Mapping) else {}
    for name in found:
        _check(re.fullmatch(form.names, str(name), re.DOTALL) is not None, name, "a name that can stand here", place)
    return {text(str(name)): shaped(item, form.form, f"{place}.{str(name)[:_SHOWN]}") for name, item in found.items()}


def _matching(value: object, form: Matching, place: str) -> Any:
    matches = isinstance(value, str) and re.fullmatch(form.pattern, value)
    _check(bool(matches), value, f"a text like {form.pattern}", place)
    return value


def _one_of(value: object, form: OneOf, place: str) -> Any:
    _check(isinstance(value, str) and value in form.words, value, f"one of {', '.join(form.words)}", place)
    return value


def _pair(value: object, _form: Pair, place: str) -> Any:
    fits = isinstance(value, list) and len(value) == 2 and all(_is_number(one) and isinstance(one, int)
                                                               for one in value)
    _check(fits, value, "a pair of whole numbers", place)
    return value


def _where(value: object, form: Where, place: str) -> Any:
    copy = shaped(value, form.form, place)
    try:
        form.check(copy)
    except TetraError as error:
        raise TetraError(f"{place}: {error.message}") from error
    return copy


def _or_none(value: object, form: OrNone, place: str) -> Any:
    return None if value is None else shaped(value, form.form, place)


def _line(value: object, _form: _Line, place: str) -> str:
    return shown(_of_type(value, str, place))


def _any(value: object, _form: _Plain, place: str) -> Any:
    return plain(value, place)


_SHAPES: Mapping[type, Callable[[object, Any, str], Any]] = {
    Matching: _matching, Named: _named, OneOf: _one_of, OrNone: _or_none, Pair: _pair, Where: _where, _Line: _line,
    _Plain: _any,
}  # fmt: skip


def _is_number(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    return abs(value) < LARGEST if isinstance(value, int) else math.isfinite(value)


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _check(holds: bool, value: object, wanted: str, place: str) -> None:
    if not holds:
        raise TetraError(f"{place or 'it'} is {_short(value)}, not {wanted}")


def _short(value: object) -> str:
    if isinstance(value, (Mapping, list)):
        return "a list" if isinstance(value, list) else "a record"
    # The number that is too large may have as many digits as there is memory.
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) >= LARGEST:
        return "a number without end"
    return ascii(value) if len(ascii(value)) <= _SHOWN else f"{ascii(value)[:_SHOWN]}..."
