# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads TOML text into statements that know their place in it, for hosts whose Python has no TOML parser.

The whole grammar is recognised, so nothing inside a string is taken for a key. A line that is not TOML becomes a
problem and reading goes on behind it. Numbers and strings get their value; floats, dates and numbers that are not
decimal are kept as the text they are.
"""

from __future__ import annotations

import bisect
import dataclasses
import re
from typing import NamedTuple, Union

_BLANK = re.compile(r"[ \t]*")
_BETWEEN = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_LINE_END = re.compile(r"[ \t]*(?:#[^\n]*)?(?:\r?\n|\r?\Z)")
# Most lines of a registry; what this does not match is read by the whole grammar.
_SIMPLE_LINE = re.compile(
    r"([ \t]*)([A-Za-z0-9_-]+)[ \t]*=[ \t]*(0|[1-9][0-9]{0,9})[ \t]*(?:#[^\n]*)?(?:\r?\n|\r?\Z)"
)
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_BASIC = re.compile(r'"((?:[^"\\\n]|\\[^\n])*)"')
_LITERAL = re.compile(r"'([^'\n]*)'")
_LONG_BASIC = re.compile(r'"""(?:\r?\n)?((?:[^\\]|\\.)*?"{0,2})"""', re.DOTALL)
_LONG_LITERAL = re.compile(r"'''(?:\r?\n)?(.*?'{0,2})'''", re.DOTALL)
_DATE = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d[0-9:.Zz+-]*")
_WORD = re.compile(r"[^\s,\[\]{}#=\"']+")
_NUMBER = re.compile(r"[+-]?(?:0|[1-9](?:_?[0-9])*)\Z")
_ESCAPE = re.compile(r'\\(?:([btnfr"\\])|u([0-9A-Fa-f]{4})|U([0-9A-Fa-f]{8})|[ \t]*\r?\n[ \t\r\n]*|(.))', re.DOTALL)
_SIMPLE_ESCAPES = {"b": "\b", "t": "\t", "n": "\n", "f": "\f", "r": "\r", '"': '"', "\\": "\\"}
_DEEPEST = 20
UNREADABLE = "[unreadable]"
"""The section of lines below a table whose name cannot be read."""
_LONGEST_NUMBER = 30
MOST_PARTS = 20
"""How many parts, with dots between them, a name may have."""
PARTS = "parts"
"""The code of the problem that a name has more."""


class Problem(NamedTuple):
    """Something that is not TOML, or that TOML forbids; ``line`` and ``column`` count from 1."""

    code: str
    message: str
    line: int
    column: int
    hint: str


class Other(NamedTuple):
    """A value that is neither a decimal number, a string, a truth value nor a list: its text."""

    text: str


class Element(NamedTuple):
    """One value of an array, with where its text begins and ends."""

    value: Value
    start: int
    end: int


Value = Union[int, str, bool, list[Element], Other]


class Header(NamedTuple):
    """``[table]``; ``first`` and ``last`` are where its line begins, and where the next one does."""

    path: tuple[str, ...]
    line: int
    column: int
    first: int
    last: int


class Pair(NamedTuple):
    """``key = value``.

    ``path`` is the whole name, the table's included; ``prefix`` what stands on the line before the last part of the
    key; ``start`` and ``end`` bound the value's text, ``first`` and ``last`` its lines. ``inline`` says that it stands
    inside ``{ }``.
    """

    path: tuple[str, ...]
    prefix: str
    value: Value
    line: int
    column: int
    start: int
    end: int
    first: int
    last: int
    inline: bool


@dataclasses.dataclass
class Document:
    """The statements of a text, in its order.

    ``closed`` are tables written as ``{ }``, which TOML lets nobody extend; ``dotted`` those that dotted keys made,
    which must not get a header.
    """

    text: str
    headers: list[Header] = dataclasses.field(default_factory=list)
    pairs: list[Pair] = dataclasses.field(default_factory=list)
    problems: list[Problem] = dataclasses.field(default_factory=list)
    closed: set[tuple[str, ...]] = dataclasses.field(default_factory=set)
    dotted: set[tuple[str, ...]] = dataclasses.field(default_factory=set)

    def __post_init__(self) -> None:
        self._lines = [0] + [match.end() for match in re.finditer("\n", self.text)]
        self._index: dict[tuple[str, ...], list[Pair]] | None = None
        self._below: dict[tuple[str, ...], Header | Pair] | None = None

    @property
    def statements(self) -> list[Header | Pair]:
        """All headers, then all pairs."""
        return [*self.headers, *self.pairs]

    def place(self, offset: int) -> tuple[int, int]:
        """Line and column of an offset, from 1."""
        index = bisect.bisect_right(self._lines, offset) - 1
        return index + 1, offset - self._lines[index] + 1

    def line_at(self, offset: int) -> int:
        """The number of the line of an offset, from 1."""
        return bisect.bisect_right(self._lines, offset)

    def line_start(self, offset: int) -> int:
        """Where the line of an offset begins."""
        return self._lines[bisect.bisect_right(self._lines, offset) - 1]

    def find(self, path: tuple[str, ...]) -> list[Pair]:
        """Every pair with that whole name; TOML allows one, people write two. For texts that are scanned to the end."""
        if self._index is None:
            self._index = {}
            for pair in self.pairs:
                self._index.setdefault(pair.path, []).append(pair)
        return self._index.get(path, [])

    def below(self, path: tuple[str, ...]) -> Header | Pair | None:
        """The first header or pair whose name begins with that path and goes on; as :meth:`find`, for whole texts."""
        if self._below is None:
            self._below = {}
            for item in self.statements:
                for length in range(1, len(item.path)):
                    self._below.setdefault(item.path[:length], item)
        return self._below.get(path)


class _NotTomlError(Exception):
    def __init__(self, offset: int, message: str, hint: str = "", code: str = "syntax") -> None:
        super().__init__(message)
        self.offset, self.message, self.hint, self.code = offset, message, hint, code


def scan(text: str) -> Document:
    """All statements of a text. Never raises: what cannot be read is in ``problems``."""
    document = Document(text)
    table: tuple[str, ...] = ()
    position = 0
    while position < len(text):
        simple = _SIMPLE_LINE.match(text, position)
        if simple:
            document.pairs.append(_simple_pair(document, table, simple))
            position = simple.end()
            continue
        line_end = _LINE_END.match(text, position)
        if line_end:
            position = line_end.end()
            continue
        start = _skip(text, position)
        try:
            if text[start] == "[":
                table, position = _header(document, start)
            else:
                position = _statement(document, table, start)
        except _NotTomlError as error:
            table = (UNREADABLE,) if text[start] == "[" else table
            _report(document, error)
            position = _next_line(text, start)
    _check_structure(document)
    return document


def _simple_pair(document: Document, table: tuple[str, ...], line: re.Match[str]) -> Pair:
    first, last = line.span()
    start, end = line.span(3)
    indent, key, number = line.groups()
    return Pair((*table, key), indent, int(number), document.line_at(first), start - first + 1, start, end, first, last,
                False)


def _report(document: Document, error: _NotTomlError) -> None:
    document.problems.append(Problem(error.code, error.message, *document.place(error.offset), error.hint))


def _skip(text: str, position: int) -> int:
    match = _BLANK.match(text, position)
    return match.end() if match else position


def _next_line(text: str, position: int) -> int:
    found = text.find("\n", position)
    return len(text) if found < 0 else found + 1


def _header(document: Document, start: int) -> tuple[tuple[str, ...], int]:
    text = document.text
    double = text.startswith("[[", start)
    closing = "]]" if double else "]"
    keys, position = _key(text, _skip(text, start + len(closing)))
    position = _skip(text, position)
    if not text.startswith(closing, position):
        raise _NotTomlError(start, f"this table has no closing {closing!r}", "the lines below it are not read")
    position = _end_of_line(text, position + len(closing))
    # An array of tables is a list, not a table; it gets a name that no table can have.
    path = (f"[[{'.'.join(part for part, _place in keys)}]]",) if double else tuple(part for part, _place in keys)
    document.headers.append(Header(path, *document.place(start), document.line_start(start), position))
    return path, position


def _statement(document: Document, table: tuple[str, ...], start: int) -> int:
    first = document.line_start(start)
    before = len(document.pairs), len(document.problems)
    try:
        end = _pair(document, table, start, first, inline=False)
        last = _end_of_line(document.text, end)
    except _NotTomlError:
        del document.pairs[before[0] :], document.problems[before[1] :]
        raise
    added = document.pairs[before[0] :]
    document.pairs[before[0] :] = [pair._replace(last=last) for pair in added]
    return last


def _pair(document: Document, table: tuple[str, ...], start: int, first: int, inline: bool, depth: int = 0) -> int:
    text = document.text
    keys, position = _key(text, start)
    position = _skip(text, position)
    if not text.startswith("=", position):
        raise _NotTomlError(start, "this line is neither a table, a key nor a comment", "write it as name = value")
    position = _skip(text, position + 1)
    path = (*table, *(part for part, _place in keys))
    if text.startswith("{", position):
        end = _inline_table(document, path, position, first, depth + 1)
        document.closed.add(path)
        return end
    value, end = _value(text, position, depth)
    document.dotted.update(path[:length] for length in range(len(table) + 1, len(path)))
    prefix = text[first : keys[-1][1]]
    place = document.place(position)
    document.pairs.append(Pair(path, prefix, value, *place, position, end, first, end, inline))
    return end


def _key(text: str, position: int) -> tuple[list[tuple[str, int]], int]:
    """The parts of a dotted key with where each begins, and where the key ends."""
    parts: list[tuple[str, int]] = []
    while True:
        if len(parts) == MOST_PARTS:
            # Everybody who reads TOML remembers each beginning of a name, which takes the square of its length.
            raise _NotTomlError(position, f"a name has more than {MOST_PARTS} parts", "make it flatter", PARTS)
        name, end = _key_part(text, position)
        parts.append((name, position))
        dot = _skip(text, end)
        if not text.startswith(".", dot):
            return parts, end
        position = _skip(text, dot + 1)


def _key_part(text: str, position: int) -> tuple[str, int]:
    match = _BARE_KEY.match(text, position)
    if match:
        return match.group(), match.end()
    match = _LITERAL.match(text, position)
    if match:
        return match.group(1), match.end()
    match = _BASIC.match(text, position)
    if match:
        return _unescape(match.group(1), position), match.end()
    raise _NotTomlError(
        min(position, len(text) - 1), "this is not a name", "a name has letters, digits, '-' and '_', or is quoted"
    )


def _value(text: str, position: int, depth: int) -> tuple[Value, int]:
    character = text[position : position + 1]
    if character in ("", "\n", "\r", "#"):
        raise _NotTomlError(max(position - 1, 0), "there is no value behind '='", "write a value, or remove the line")
    if character in "\"'":
        return _string(text, position)
    if character == "[":
        return _array(text, position, depth + 1)
    match = _DATE.match(text, position) or _WORD.match(text, position)
    if not match:
        raise _NotTomlError(position, f"{character!r} begins no value", "put text into quotes")
    return _word(match.group()), match.end()


def _word(word: str) -> Value:
    if word in ("true", "false"):
        return word == "true"
    return int(word) if _NUMBER.match(word) and len(word) <= _LONGEST_NUMBER else Other(word)


def _string(text: str, position: int) -> tuple[str, int]:
    quote = text[position]
    long = text.startswith(quote * 3, position)
    if quote == "'":
        match = (_LONG_LITERAL if long else _LITERAL).match(text, position)
    else:
        match = (_LONG_BASIC if long else _BASIC).match(text, position)
    if not match:
        raise _NotTomlError(position, "this text has no closing quote", "close it with the quote that opens it")
    content = match.group(1).replace("\r\n", "\n")
    return (content if quote == "'" else _unescape(content, position)), match.end()


def _unescape(content: str, position: int) -> str:
    def one(match: re.Match[str]) -> str:
        simple, short, long, wrong = match.groups()
        if wrong:
            raise _NotTomlError(position, f"there is no escape \\{wrong}", "write a backslash as \\\\")
        if simple:
            return _SIMPLE_ESCAPES[simple]
        number = int(short or long or "0", 16)
        if number > 0x10FFFF or 0xD800 <= number <= 0xDFFF:
            raise _NotTomlError(position, f"there is no character {number:#x}", "write the character itself")
        return chr(number) if short or long else ""

    return _ESCAPE.sub(one, content)


def _array(text: str, start: int, depth: int) -> tuple[list[Element], int]:
    _check_depth(start, depth)
    elements: list[Element] = []
    position, comma = _between(text, start + 1), True
    while not text.startswith("]", position):
        if position >= len(text) or text[position] in ",=}" or not comma:
            raise _NotTomlError(
                min(position, len(text) - 1), "this list is not complete", "write numbers with ',' between them in [ ]"
            )
        value, end = _value(text, position, depth)
        elements.append(Element(value, position, end))
        position = _between(text, end)
        comma = text.startswith(",", position)
        position = _between(text, position + 1) if comma else position
    return elements, position + 1


def _between(text: str, position: int) -> int:
    match = _BETWEEN.match(text, position)
    return match.end() if match else position


def _inline_table(document: Document, path: tuple[str, ...], start: int, first: int, depth: int) -> int:
    _check_depth(start, depth)
    text = document.text
    position = _skip(text, start + 1)
    if text.startswith("}", position):
        return position + 1
    while True:
        position = _skip(text, _pair(document, path, position, first, inline=True, depth=depth))
        if text.startswith("}", position):
            return position + 1
        if not text.startswith(",", position):
            raise _NotTomlError(start, "this table is not complete", "write { name = value, name = value }")
        position = _skip(text, position + 1)


def _check_depth(start: int, depth: int) -> None:
    if depth > _DEEPEST:
        raise _NotTomlError(start, f"values are nested more than {_DEEPEST} deep", "a registry needs one level")


def _end_of_line(text: str, position: int) -> int:
    match = _LINE_END.match(text, position)
    if not match:
        place = _skip(text, position)
        raise _NotTomlError(place, "there is more text behind the value", "a comment begins with '#'")
    return match.end()


def _check_structure(document: Document) -> None:
    """What TOML forbids although each line is right: names given twice, and names that are a value and a table."""
    values: set[tuple[str, ...]] = set()
    for pair in document.pairs:
        if pair.path in values:
            name = ".".join(pair.path)
            message = f"{name} is given twice; this one counts"
            _problem(document, "duplicate-key", message, pair, "remove one of the lines")
        values.add(pair.path)
    tables: set[tuple[str, ...]] = set()
    for header in document.headers:
        name = ".".join(header.path)
        if header.path in tables and not name.startswith("[["):
            _problem(document, "duplicate-table", f"[{name}] is there twice", header, "put its lines into one table")
        tables.add(header.path)
    _check_values_are_no_tables(document, values)
    _check_lists_are_no_tables(document)


def _check_values_are_no_tables(document: Document, values: set[tuple[str, ...]]) -> None:
    left = set(values)
    seen: set[tuple[str, ...]] = set()
    for item in document.statements:
        table = item.path if isinstance(item, Header) else item.path[:-1]
        if table in seen:
            continue
        seen.add(table)
        for path in left.intersection(table[:length] for length in range(1, len(table) + 1)):
            left.discard(path)
            message = f"{'.'.join(path)} is a value and a table"
            _problem(document, "value-and-table", message, item, "give one of them another name")
    for header in document.headers:
        prefixes = {header.path[:length] for length in range(1, len(header.path) + 1)}
        if prefixes & document.closed or header.path in document.dotted:
            message = f"[{'.'.join(header.path)}] was written in another form before"
            _problem(document, "value-and-table", message, header, "write it once, as a table of its own")


def _check_lists_are_no_tables(document: Document) -> None:
    lists = {header.path[0][2:-2] for header in document.headers if header.path[0].startswith("[[")}
    for item in document.statements:
        if item.path[0] in lists:
            lists.discard(item.path[0])
            message = f"{item.path[0]} is a list of tables and a table"
            _problem(document, "value-and-table", message, item, "write [name] with single brackets")


def _problem(document: Document, code: str, message: str, item: Header | Pair, hint: str) -> None:
    document.problems.append(Problem(code, message, item.line, item.column, hint))
