# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Changes single values in TOML text and leaves every other character as it is.

Comments, order, blank lines, the form of line ends and a missing end of the last line are kept. A value is replaced
where it stands, so the comment behind it stays. A table that removals leave without a line or a comment goes too,
which makes removing what was added the exact way back.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterable

from . import toml_text
from .errors import TetraError
from .toml_text import Document, Element, Header, Pair

Path = tuple[str, ...]
_BARE = re.compile(r"[A-Za-z0-9_-]+\Z")


class Editor:
    """Collects changes to a text and makes them in one pass.

    :param text: TOML, as far as it can be read.
    :param name: what errors call the text, for example its path.
    """

    def __init__(self, text: str, name: str) -> None:
        self._original = text
        self._name = name
        self._newline = "\r\n" if text.count("\r\n") * 2 > text.count("\n") else "\n"
        self.document: Document = toml_text.scan(self._with_last_line_end(text))
        self._cuts: list[tuple[int, int, str]] = []
        self._removed: list[Pair] = []
        self._added: dict[Path, list[tuple[str, str]]] = {}

    def _with_last_line_end(self, text: str) -> str:
        return text if not text or text.endswith("\n") else text + self._newline

    def set(self, path: Path, value: str) -> None:
        """Give a key a value, written as TOML; the last line of that name counts when there are several.

        :raises TetraError: when the key has to be added to a table that TOML does not let anybody extend.
        """
        found = self.document.find(path)
        if found:
            self._cuts.append((found[-1].start, found[-1].end, value))
        else:
            self._check_extendable(path[:-1])
            self._added.setdefault(path[:-1], []).append((path[-1], value))

    def set_numbers(self, path: Path, numbers: Iterable[int]) -> None:
        """Give a key an array of numbers; in one that spans lines only the lines that differ are touched."""
        wanted = list(numbers)
        found = self.document.find(path)
        if found and isinstance(found[-1].value, list) and "\n" in self._text_of(found[-1]):
            self._cuts += _array_cuts(self.document, found[-1], wanted, self._newline)
        else:
            self.set(path, f"[{', '.join(str(number) for number in wanted)}]")

    def remove(self, path: Path) -> None:
        """Remove every line of that name.

        :raises TetraError: when it stands inside ``{ }``.
        """
        for pair in self.document.find(path):
            if pair.inline:
                raise self._error(pair, f"{'.'.join(path)} stands inside {{ }} and cannot be removed from there")
            self._removed.append(pair)

    def result(self) -> str:
        """The text with all changes made."""
        text = self.document.text
        cuts = [*self._cuts, *self._removals(), *self._insertions()]
        pieces, position = [], 0
        # Of insertions at one place the one that was made last lands first.
        cuts.reverse()
        for start, end, new in sorted(cuts, key=lambda cut: cut[:2]):
            pieces += [text[position:start], new]
            position = end
        text = "".join([*pieces, text[position:]])
        if self._original and not self._original.endswith("\n"):
            return re.sub(r"\r?\n\Z", "", text)
        return text

    def _text_of(self, pair: Pair) -> str:
        return self.document.text[pair.start : pair.end]

    def _error(self, item: Pair, message: str) -> TetraError:
        return TetraError(f"{self._name}:{item.line}:{item.column}: {message}", "write it as a table of its own")

    def _check_extendable(self, table: Path) -> None:
        closed = self.document.closed
        if any(table[:length] in closed for length in range(1, len(table) + 1)):
            raise TetraError(
                f"{self._name}: [{'.'.join(table)}] is written inside {{ }}, which cannot be extended",
                hint="write it as a table of its own, one name a line",
            )

    def _removals(self) -> list[tuple[int, int, str]]:
        gone = {pair.first for pair in self._removed}
        emptied = [header for header in self.document.headers if self._is_emptied(header, gone)]
        cuts = [(*self._extent(header), "") for header in emptied]
        kept = [pair for pair in self._removed if not any(start <= pair.first < end for start, end, _new in cuts)]
        return cuts + sorted({(pair.first, pair.last, "") for pair in kept})

    def _body(self, header: Header) -> list[Pair]:
        """The pairs in the table of a header."""
        following = [other.first for other in self.document.headers if other.first > header.first]
        end = min(following, default=len(self.document.text))
        return [pair for pair in self.document.pairs if header.first < pair.first < end]

    def _is_emptied(self, header: Header, gone: Container[int]) -> bool:
        pairs = self._body(header)
        if len(header.path) < 2 or header.path in self._added or not all(pair.first in gone for pair in pairs):
            return False
        comments, position = "", header.last
        for pair in pairs:
            comments += self.document.text[position : pair.first]
            position = pair.last
        comments += self.document.text[position : self._behind_comment(position)]
        return bool(pairs) and not comments.strip()

    def _extent(self, header: Header) -> tuple[int, int]:
        """The lines of a table, with the blank line above that sets it off."""
        start = header.first
        above = self.document.line_start(start - 1) if start else 0
        if not self.document.text[above:start].strip():
            start = above
        return start, max(pair.last for pair in self._body(header))

    def _insertions(self) -> list[tuple[int, int, str]]:
        cuts = []
        new_tables: dict[int, str] = {}
        for table, rows in self._added.items():
            place, prefix = self._place_in(table)
            if place is None:
                place = self._place_for(table)
                new_tables[place] = new_tables.get(place, "") + self._new_table(table, rows, place)
            else:
                cuts.append((place, place, self._lines(rows, prefix)))
        # An insertion of lines at the same place belongs to the table above, so it is made last and lands first.
        return [(place, place, text) for place, text in new_tables.items()] + cuts

    def _lines(self, rows: list[tuple[str, str]], prefix: str) -> str:
        return "".join(f"{prefix}{_key(name)} = {value}{self._newline}" for name, value in rows)

    def _place_in(self, table: Path) -> tuple[int | None, str]:
        """Behind the last line of a table, and what a line there begins with; None when there is no such table."""
        pairs = [pair for pair in self.document.pairs if pair.path[:-1] == table and not pair.inline]
        if pairs:
            return pairs[-1].last, pairs[-1].prefix
        headers = [header for header in self.document.headers if header.path == table]
        return (headers[-1].last, "") if headers else (None, "")

    def _place_for(self, table: Path) -> int:
        """Behind the last table of the same family, and the comment that ends it; else at the end of the text."""
        text = self.document.text
        ends = [item.last for item in self.document.statements if item.path[0] == table[0]]
        if not ends:
            return len(text)
        return self._behind_comment(max(ends))

    def _behind_comment(self, place: int) -> int:
        """Behind the comment that follows a line directly, unless it stands right above a table and is about that."""
        text, end = self.document.text, place
        while text.startswith("#", end):
            end = _end_of_line(text, end) + 1
        return place if text.startswith("[", end) else end

    def _new_table(self, table: Path, rows: list[tuple[str, str]], place: int) -> str:
        text = self.document.text
        following = text[place : _end_of_line(text, place)]
        # Where tables follow each other without a blank line, the new one does as well.
        gap = self._newline if place and not following.strip() else ""
        header = f"[{'.'.join(_key(part) for part in table)}]"
        return f"{gap}{header}{self._newline}{self._lines(rows, '')}"


def _key(name: str) -> str:
    return name if _BARE.match(name) else f'"{name}"'


def _end_of_line(text: str, position: int) -> int:
    found = text.find("\n", position)
    return len(text) if found < 0 else found


def _array_cuts(document: Document, pair: Pair, wanted: list[int], newline: str) -> list[tuple[int, int, str]]:
    """The cuts that make an array hold ``wanted``, each element that stays left where it is."""
    elements = pair.value
    if not isinstance(elements, list):
        raise AssertionError("only arrays are cut")
    have = [element.value for element in elements]
    gone = [element for element in elements if element.value not in wanted]
    new = [number for number in wanted if number not in have]
    if len(gone) == len(elements):
        return [(pair.start, pair.end, f"[{', '.join(str(number) for number in wanted)}]")]
    cuts = [_element_cut(document, element) for element in gone]
    return cuts + (_element_insertions(document, elements, gone, new, newline) if new else [])


def _comma_end(text: str, element: Element) -> int:
    """Behind the comma of an element, or behind the element when it has none."""
    match = re.compile(r"[ \t]*,").match(text, element.end)
    return match.end() if match else element.end


def _element_cut(document: Document, element: Element) -> tuple[int, int, str]:
    text = document.text
    start, end = element.start, _comma_end(text, element)
    line, line_end = document.line_start(start), _end_of_line(text, end)
    if not text[line:start].strip() and not text[end:line_end].strip():
        return line, line_end + 1, ""
    while text[end] in " \t":
        end += 1
    return start, end, ""


def _element_insertions(
    document: Document, elements: list[Element], gone: list[Element], new: list[int], newline: str
) -> list[tuple[int, int, str]]:
    text = document.text
    last = [element for element in elements if element not in gone][-1]
    end = _comma_end(text, last)
    cuts = [] if end > last.end else [(last.end, last.end, ",")]
    line, line_end = document.line_start(last.start), _end_of_line(text, end)
    indent = text[line : last.start]
    rest = text[end:line_end].strip()
    if not indent.strip() and (not rest or rest.startswith("#")):
        lines = "".join(f"{indent}{number},{newline}" for number in new)
        return [*cuts, (line_end + 1, line_end + 1, lines)]
    return [(end, end, ("" if end > last.end else ",") + "".join(f" {number}," for number in new).rstrip(","))]
