# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads a service definition (``*.tsm``): the assignments that bash would make, and nothing else that bash would do.

What is understood, from the top down::

    file        := { blank line | comment | statement [";"] }
    statement   := assignment { assignment }  |  "export" ( assignment | NAME ) { assignment | NAME }
    assignment  := NAME "=" ( word | "(" { word | comment } ")" )
    word        := { characters | "\\" character | 'text' | "quoted" | expansion }, "~" at its start is HOME
    quoted      := { characters | "\\" one of $ ` " \\ | expansion }
    expansion   := "$" NAME | "${" NAME "}" | "${" NAME ":-" word "}" | "${secret:" NAME "}" | folder
    folder      := "$(dirname " "${BASH_SOURCE[0]}" ")" | "$(cd " folder " && pwd)", where the file itself is

A backslash at the end of a line continues the line. Everything else that bash knows is an error which says where it
is, what it is and what to write instead. The oracle for every rule here is bash itself: see
``tests/integration/test_definition_oracle.py``.
"""

from __future__ import annotations

import bisect
import dataclasses
import re
from collections.abc import Iterable, Mapping

from . import values
from .errors import TetraError, at
from .units import nearest
from .values import Value

MAXIMUM_FILE = 1024 * 1024
# An argument or a variable of a process may have 128 KiB, all of them together 2 MiB (Linux: MAX_ARG_STRLEN, ARG_MAX).
MAXIMUM_VALUE = 64 * 1024
_MAXIMUM_EXPANDED = 2 * 1024 * 1024
_MAXIMUM_NAME = 255
_MAXIMUM_ELEMENTS = 10_000

# People put folders before or after PATH, and every host has one.
SYMBOLIC = values.HOST_VARIABLES | {"PATH"}
_BLANKS = re.compile(r"(?:[ \t]|\\\n)+")
_NOTHING = re.compile(r"(?:[ \t\n]+|\\\n|#[^\n]*)+")
_EXPORT = re.compile(r"export(?=[ \t]|\\\n)")
_SINGLE = re.compile(r"[^']*")
_CONTINUED = re.compile(r"(?:\\\n)+")
_CONTINUED_NAME = re.compile(r"(?:\\\n)+[A-Za-z0-9_]")
# How a definition names its own folder: nothing is run for that, as the host knows where it is.
_ITSELF = r"""(?:"\$\{BASH_SOURCE(?:\[0\])?\}"|"\$BASH_SOURCE"|\$\{BASH_SOURCE(?:\[0\])?\}|\$BASH_SOURCE)"""
_DIRNAME = rf"\$\([ \t]*dirname[ \t]+(?:--[ \t]+)?{_ITSELF}[ \t]*\)"
_QUIETLY = r"(?:[ \t]*&?>[ \t]*/dev/null(?:[ \t]+2>&1)?)?"
_ABSOLUTE = (
    rf"""\$\([ \t]*cd[ \t]+(?:-P[ \t]+)?(?:--[ \t]+)?(?:"{_DIRNAME}"|{_DIRNAME}){_QUIETLY}"""
    r"[ \t]*(?:&&|;)[ \t]*pwd(?:[ \t]+-P)?[ \t]*\)"
)
_OWN_FOLDER = re.compile(f"{_DIRNAME}|{_ABSOLUTE}")
_END_OF_WORD = " \t\n;"
_OPERATORS = frozenset("&|<>()")
# Runs of characters without a meaning of their own, by where they stand.
_PLAIN = {
    "value": re.compile(r"""[^\s'"$\\`;&|<>(){:]+"""),
    "element": re.compile(r"""[^\s'"$\\`;&|<>(){*?\[]+"""),
    "default": re.compile(r"""(?:[^'"$\\`}<>:]|[<>](?!(?:\\\n)*\())+"""),
    "element default": re.compile(r"""(?:[^'"$\\`}<>]|[<>](?!(?:\\\n)*\())+"""),
    "quoted default": re.compile(r"""(?:[^'"$\\`}<>]|[<>](?!(?:\\\n)*\())+"""),
    "quoted": re.compile(r"""[^"$\\`]+"""),
    "nested": re.compile(r"""[^"$\\`]+"""),
    "text": re.compile(r"""[^$\\`]+"""),
}
# Where the text of a default stands, by where its variable stands. Only assignments have a ~ after each colon.
_DEFAULTS = {
    "value": "default", "default": "default", "element": "element default", "element default": "element default",
}  # fmt: skip
# Which characters lose their meaning after a backslash in double quotes; before all others the backslash stays.
_ESCAPED = {"quoted": '$`"\\', "nested": '$`"\\', "quoted default": '$`"\\}', "text": "$`"}

# Control characters, lone halves of surrogate pairs, and the marks that make text look different from what it is.
_FORBIDDEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")

_WRITE_VALUES = "definitions are read, never run; write the value itself, $NAME or ${NAME:-default}"
_IN_COMMAND = "definitions are read, never run; commands go into TSM_COMMAND='...' or TSM_PRE_COMMAND='...'"
# What bash would do with the text at a place where an assignment should be, most telling first.
_SHELL = tuple(
    (re.compile(pattern), what, hint)
    for pattern, what, hint in (
        (r"\$\(\(|\$\[|\(\(|let\b", "shell arithmetic", _WRITE_VALUES),
        (r"[<>](\\\n)*\(", "a process substitution", _WRITE_VALUES),
        (r"\$\(|`", "a command substitution", _WRITE_VALUES),
        (r"<<", "a here-document", "put text of several lines in quotes: NAME='...'"),
        (r"[0-9]{0,9}[<>]", "a redirection", "put the value in quotes, or redirect inside TSM_COMMAND='...'"),
        (r"&&|\|\|", "a chain of commands", _IN_COMMAND),
        (r"\|", "a pipe", _IN_COMMAND),
        (r"&", "a background command", f"put the value in quotes; {_IN_COMMAND}"),
        (r";", "a semicolon without an assignment before it", "take it out"),
        (r"function\b|[A-Za-z_][\w-]*[ \t]*\([ \t]*\)", "a shell function", _IN_COMMAND),
        (r"[()]", "a shell group", "put the value in quotes"),
        (r"(if|then|elif|else|fi|for|while|until|do|done|case|esac|select|time)\b|\[|[{}!]", "shell control flow",
         "definitions are read, never run; what differs between environments goes into environments/<env>.toml"),
        (r"(source|\.)(?=[ \t])", "another file being read",
         "write the values here, into environments/<env>.toml, or name the file in TSM_ENV_FILE"),
        (r"(declare|typeset|readonly|local)\b", "a shell declaration", "write NAME=value or export NAME=value"),
        (r"[A-Za-z_]\w*\+=", "text being appended to a variable", 'write NAME="${NAME}more"'),
        (r"[A-Za-z_]\w*\[", "an element of an array", "write the whole array: NAME=('first' 'second')"),
        (r"[A-Za-z_]\w*[ \t]+=", "blanks before an equals sign", "write NAME=value without blanks around the ="),
        (r"-", "an option of a command", "write export NAME=value"),
        (r"['\"$]", "a quoted or computed command or name", "write NAME=value, and quote only the value"),
    )
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Definition:
    """What a definition file sets.

    :param values: name to value. References to names set earlier in the file are already replaced.
    :param arrays: name to values, for ``NAME=(...)``; no name is in both.
    :param exported: names that ``export`` was said of.
    :param places: name to line and column (from 1) where it was set last.
    :param referenced: names that the file itself refers to.
    """

    path: str
    values: dict[str, Value]
    arrays: dict[str, list[Value]]
    exported: frozenset[str]
    places: dict[str, tuple[int, int]]
    referenced: frozenset[str] = frozenset()


def parse(text: str, path: str, variables: Mapping[str, Value]) -> Definition:
    """Read the text of a definition.

    :param path: the name of the file, for errors.
    :param variables: values that the file may refer to without setting them, besides ``values.HOST_VARIABLES``.
    :raises TetraError: with file, line and column, for everything that is not an assignment, for a variable that is
        not known and has no default, for control characters and for what is too long.
    """
    text = text.replace("\r\n", "\n")
    cursor = _Cursor(text[1:] if text.startswith("\ufeff") else text, path)
    _check_text(cursor)
    reader = _File(cursor, variables)
    reader.read()
    scope = reader.scope
    return Definition(
        path=path,
        values=scope.values,
        arrays=scope.arrays,
        exported=frozenset(reader.exported),
        places=reader.places,
        referenced=frozenset(scope.referenced),
    )


def expand(text: str, known: Mapping[str, Value]) -> Value:
    """Read text from single quotes once more, as if it had stood in double quotes; its own quotes mean nothing.

    :param known: what its variables stand for, besides ``values.HOST_VARIABLES``.
    :raises TetraError: as ``parse``, but without a place, which only the caller knows.
    """
    return _Words(_Cursor(text), _Scope(known, {})).text()


class _Cursor:
    """A position in a text, and errors that say where that is, when the text has a path."""

    def __init__(self, text: str, path: str = "") -> None:
        self.text = text
        self.path = path
        self.position = 0
        self._lines = [0, *(match.end() for match in re.finditer("\n", text))]

    def peek(self, length: int = 1) -> str:
        return self.text[self.position : self.position + length]

    def take(self, length: int = 1) -> str:
        taken = self.peek(length)
        self.position += length
        return taken

    def match(self, pattern: re.Pattern[str]) -> str:
        """Take what the pattern matches here; nothing when it does not."""
        match = pattern.match(self.text, self.position)
        return self.take(len(match.group())) if match else ""

    def place(self, position: int) -> tuple[int, int]:
        """Line and column, from 1."""
        line = bisect.bisect_right(self._lines, position)
        return line, position - self._lines[line - 1] + 1

    def error(self, message: str, hint: str, position: int | None = None) -> TetraError:
        if not self.path:
            return TetraError(message, hint=hint)
        return at(self.path, *self.place(self.position if position is None else position), message, hint)

    def shell(self, position: int | None = None, otherwise: str = "a command") -> TetraError:
        """The error for shell code: what it is that stands at the position, and what to write instead."""
        start = self.position if position is None else position
        end = min(self.text.find("\n", start) % (len(self.text) + 1), start + 40)
        excerpt = self.text[start:end].rstrip()
        for pattern, what, hint in _SHELL:
            if pattern.match(self.text, start):
                return self.error(f"found {what}: {excerpt}", hint, start)
        hint = f"put a value with blanks in quotes; {_IN_COMMAND}"
        return self.error(f"found {otherwise}: {excerpt}", hint, start)


def _check_text(cursor: _Cursor) -> None:
    if len(cursor.text.encode("utf-8", "surrogatepass")) > MAXIMUM_FILE:
        raise TetraError(f"{cursor.path} is larger than {MAXIMUM_FILE} bytes", hint="a definition is a short text")
    found = _FORBIDDEN.search(cursor.text)
    if found:
        hint = "take it out; only tabs and line ends may stand here, and only text in UTF-8"
        raise cursor.error(f"found the control character U+{ord(found.group()):04X}", hint, found.start())


class _Scope:
    """What names stand for while a file is read."""

    def __init__(self, variables: Mapping[str, Value], values_set: dict[str, Value]) -> None:
        self.variables = variables
        self.values = values_set
        self.arrays: dict[str, list[Value]] = {}
        self.referenced: set[str] = set()

    def find(self, name: str) -> Value | None:
        """The value of a name, or None when it is not known."""
        self.referenced.add(name)
        # A port may be `auto`, so that even a file that sets it does not know it.
        if name in self.values and name != "TSM_PORT":
            return self.values[name]
        if name in SYMBOLIC:
            return values.variable(name)
        # Whether the service has such a port is known when the whole file is.
        further = values.variable(name) if values.is_port_variable(name) else None
        return self.variables.get(name, further)

    def names(self) -> Iterable[str]:
        return {*self.values, *SYMBOLIC, *self.variables}


class _Words:
    """Reads the words of a text: quotes, escapes and expansions, put together to values."""

    def __init__(self, cursor: _Cursor, scope: _Scope) -> None:
        self.cursor = cursor
        self.scope = scope
        self._expanded = 0
        self._nested = 0

    def value(self) -> Value:
        """What stands after ``NAME=``, up to a blank or the end of the statement."""
        return self._word("value")

    def element(self) -> Value:
        """One word of an array."""
        return self._word("element")

    def text(self) -> Value:
        """The whole text, as if in double quotes."""
        pieces: list[Value] = []
        while self.cursor.peek():
            pieces.append(self._quoted_piece("text"))
        return values.join(pieces)

    def _word(self, kind: str) -> Value:
        start = self.cursor.position
        pieces = [self._tilde(f"{_END_OF_WORD})")]
        self.cursor.match(_CONTINUED)
        while self.cursor.peek() and self.cursor.peek() not in _END_OF_WORD and self.cursor.peek() != ")":
            pieces.append(self._piece(kind))
            self.cursor.match(_CONTINUED)
        value = values.join(pieces)
        if values.weight(value) > MAXIMUM_VALUE:
            raise self.cursor.error(f"a value is longer than {MAXIMUM_VALUE} characters", "put it in a file", start)
        return value

    def _tilde(self, end: str) -> Value:
        """``~`` at the start of a word, when it stands alone or before a slash, is HOME.

        :param end: the characters that end the word.
        """
        self.cursor.match(_CONTINUED)
        start = self.cursor.position
        if self.cursor.peek() != "~":
            return ""
        self.cursor.take()
        self.cursor.match(_CONTINUED)
        after = self.cursor.peek()
        if after.isalnum() or (after and after in "_+-."):
            raise self.cursor.error("found the home of another user", "write the path itself", start)
        if after and after not in f"/:{end}":
            return "~"
        return self._known("HOME", None, start)

    def _piece(self, kind: str) -> Value:
        """The next piece of a word outside double quotes."""
        char = self.cursor.peek()
        if char == "'":
            return self._single()
        if char == '"':
            return self._double()
        if char == "$":
            return self._expansion(kind)
        if char == "\\":
            return self._escape()
        if char == ":" and kind in ("value", "default"):
            return values.join([self.cursor.take(), self._tilde("}" if kind == "default" else _END_OF_WORD)])
        plain = self.cursor.match(_PLAIN[kind])
        if plain:
            return plain
        if char == "`" or char in _OPERATORS:
            raise self.cursor.shell()
        raise self.cursor.error(f"found {char!r} outside quotes", "put the value in quotes: bash may read it otherwise")

    def _escape(self) -> str:
        if len(self.cursor.peek(2)) < 2:
            raise self.cursor.error("found a backslash at the end of the file", "take it out, or write the next line")
        return self.cursor.take(2)[1].replace("\n", "")

    def _single(self) -> Value:
        start = self.cursor.position
        self.cursor.take()
        text = self.cursor.match(_SINGLE)
        if not self.cursor.take():
            raise self.cursor.error("found a single quote that is never closed", "close it with '", start)
        try:
            return values.with_secrets(text)
        except TetraError as error:
            raise self.cursor.error(error.message, error.hint, start) from error

    def _double(self, kind: str = "quoted") -> Value:
        start = self.cursor.position
        self.cursor.take()
        pieces: list[Value] = []
        while self.cursor.peek() != '"':
            if not self.cursor.peek():
                raise self.cursor.error("found a double quote that is never closed", 'close it with "', start)
            pieces.append(self._quoted_piece(kind))
        self.cursor.take()
        return values.join(pieces)

    def _quoted_piece(self, kind: str) -> Value:
        """The next piece of text in double quotes."""
        char = self.cursor.peek()
        if char == "$":
            return self._expansion(kind)
        if char == "\\":
            return self._quoted_escape(kind)
        if char == '"' and kind == "quoted default":
            return self._double("nested")
        plain = self.cursor.match(_PLAIN[kind])
        if not plain and char == "'":
            hint = "leave out one of the two kinds"
            raise self.cursor.error("found a single quote in a default in double quotes", hint)
        if not plain:
            raise self.cursor.shell()
        return plain

    def _quoted_escape(self, kind: str) -> str:
        pair = self.cursor.take(2)
        if pair == "\\\n":
            return ""
        if kind == "nested" and pair[1:] not in _ESCAPED["quoted"]:
            hint = "leave the inner quotes out"
            raise self.cursor.error(f"found {pair} in double quotes in double quotes", hint, self.cursor.position - 2)
        return pair[1:] if pair[1:] and pair[1:] in _ESCAPED[kind] else pair

    def _expansion(self, kind: str) -> Value:
        """What a dollar sign begins; one that begins nothing is text."""
        start = self.cursor.position
        after = self.cursor.peek(2)[1:]
        if after == "{":
            self.cursor.take(2)
            return self._braces(kind, start)
        if after in ("(", "["):
            return self._own_folder(kind, start)
        if self.cursor.peek(3)[1:] == "\\\n":
            raise self.cursor.error("found a dollar sign at the end of a line", "write its name on the same line")
        if after in ("'", '"') and kind not in ("quoted", "text"):
            hint = "write the characters themselves in quotes"
            raise self.cursor.error(f"found a special shell quotation: ${after}", hint)
        self.cursor.take()
        name = self.cursor.match(values.VARIABLE)
        if name and _CONTINUED_NAME.match(self.cursor.text, self.cursor.position):
            raise self.cursor.error(f"found the name {name[:60]} going on in the next line", "write ${NAME}", start)
        if name:
            return self._split_safe(self._known(name, None, start), kind, start)
        if after and after in "0123456789@*#?$!-":
            raise self.cursor.error(f"found a parameter of a shell: ${after}", _WRITE_VALUES, start)
        return "$"

    def _own_folder(self, kind: str, start: int) -> Value:
        """The only command substitution that is understood: the folder of the definition itself."""
        if not self.cursor.match(_OWN_FOLDER):
            raise self.cursor.shell()
        return self._split_safe(self._known("TETRA_SERVICE_DIR", None, start), kind, start)

    def _braces(self, kind: str, start: int) -> Value:
        """The rest of an expansion after ``${``."""
        if self.cursor.peek(7) == "secret:":
            return self._secret(start)
        name = self.cursor.match(values.VARIABLE)
        default = None
        if name and self.cursor.peek(2) == ":-":
            self.cursor.take(2)
            default = self._default(_DEFAULTS.get(kind, "quoted default"), start)
        if not name or self.cursor.peek() != "}":
            found = self.cursor.text[start : self.cursor.position + 2]
            hint = "write $NAME, ${NAME} or ${NAME:-default}"
            raise self.cursor.error(f"found a shell expansion that is not known here: {found[:60]}", hint, start)
        self.cursor.take()
        return self._split_safe(self._known(name, default, start), kind, start)

    def _secret(self, start: int) -> Value:
        end = self.cursor.text.find("}", start)
        length = (end if end >= 0 else len(self.cursor.text)) - self.cursor.position
        name = self.cursor.take(length)[len("secret:") :]
        try:
            if not self.cursor.take():
                raise TetraError("${secret: without a closing brace", hint="write ${secret:NAME}")
            return values.secret(name)
        except TetraError as error:
            raise self.cursor.error(error.message, error.hint, start) from error

    def _default(self, kind: str, start: int) -> Value:
        """The text of a default, up to its closing brace."""
        self._nested += 1
        if self._nested > values.MAXIMUM_DEPTH:
            raise self.cursor.error("defaults are nested too deeply", "set a variable on a line of its own", start)
        quoted = kind == "quoted default"
        pieces = [] if quoted else [self._tilde("}")]
        while self.cursor.peek() != "}":
            if not self.cursor.peek():
                raise self.cursor.error("found a brace that is never closed", "close it with }", start)
            pieces.append(self._quoted_piece(kind) if quoted else self._piece(kind))
        self._nested -= 1
        return values.join(pieces)

    def _known(self, name: str, default: Value | None, start: int) -> Value:
        """The value of a variable, or its default."""
        if name in self.scope.arrays:
            raise self.cursor.error(f"{name} is an array", "refer to a variable that holds one text", start)
        value = self.scope.find(name)
        try:
            if value is None:
                value = default
            elif default is not None:
                value = values.or_default(value, default)
        except TetraError as error:
            raise self.cursor.error(error.message, error.hint, start) from error
        if value is None:
            raise self._unknown(name, start)
        return self._limited(value, start)

    def _unknown(self, name: str, start: int) -> TetraError:
        closest = nearest(name, self.scope.names())
        hint = f"set it on a line above, give it a default: ${{{name}:-text}}, or set it for the environment"
        message = f"{name[:60]} is not set" + (f"; did you mean {closest}?" if closest else "")
        return self.cursor.error(message, hint, start)

    def _limited(self, value: Value, start: int) -> Value:
        self._expanded += values.weight(value)
        if self._expanded > _MAXIMUM_EXPANDED or values.depth(value) > values.MAXIMUM_DEPTH:
            hint = "let values refer to fewer others"
            raise self.cursor.error("the variables of this file expand to too much text", hint, start)
        return value

    def _split_safe(self, value: Value, kind: str, start: int) -> Value:
        """In an array, bash would split the text of an unquoted variable into words."""
        text = values.show(value)
        if kind == "element" and (not text or re.search(r"[\s*?\[]", text)):
            raise self.cursor.error("a shell would split this variable into words", "put it in double quotes", start)
        return value


class _File:
    """Reads the statements of a file."""

    def __init__(self, cursor: _Cursor, variables: Mapping[str, Value]) -> None:
        self.cursor = cursor
        self.scope = _Scope(variables, {})
        self.words = _Words(cursor, self.scope)
        self.exported: set[str] = set()
        self.places: dict[str, tuple[int, int]] = {}

    def read(self) -> None:
        self.cursor.match(_NOTHING)
        while self.cursor.peek():
            if self.cursor.match(_EXPORT):
                self._export()
            else:
                self._assignments()
            if self.cursor.peek() == ";":
                self.cursor.take()
            self.cursor.match(_NOTHING)

    def _more(self) -> bool:
        """Whether the statement goes on after the blanks that stand here."""
        self.cursor.match(_BLANKS)
        return self.cursor.peek() not in ("", "\n", ";", "#")

    def _assignments(self) -> None:
        start = self.cursor.position
        count = 0
        while count == 0 or self._more():
            start = self.cursor.position
            name = self._name()
            if not name or self.cursor.peek() != "=":
                raise self.cursor.shell(start, "a command after an assignment" if count else "a command")
            self._store(name, self._assigned(), start)
            count += 1

    def _export(self) -> None:
        """As in bash, all values are read before the first of the names is set."""
        pending = []
        if not self._more():
            raise self.cursor.error("found export without a name", "write export NAME=value")
        while self._more():
            start = self.cursor.position
            name = self._name()
            after = self.cursor.peek()
            if not name or (after not in _END_OF_WORD and after not in ("", "=")):
                raise self.cursor.shell(start)
            self.exported.add(name)
            if after == "=":
                pending.append((name, self._assigned(), start))
        for name, value, start in pending:
            self._store(name, value, start)

    def _name(self) -> str:
        start = self.cursor.position
        name = self.cursor.match(values.VARIABLE)
        if len(name) > _MAXIMUM_NAME:
            raise self.cursor.error(f"a name is longer than {_MAXIMUM_NAME} characters", "shorten it", start)
        return name

    def _assigned(self) -> Value | tuple[Value, ...]:
        """What stands from the equals sign on: a value, or a tuple of the values of an array."""
        self.cursor.take()
        value = self._array() if self.cursor.peek() == "(" else self.words.value()
        after = self.cursor.peek()
        if after and after not in _END_OF_WORD:
            raise self.cursor.shell()
        return value

    def _array(self) -> tuple[Value, ...]:
        start = self.cursor.position
        self.cursor.take()
        elements: list[Value] = []
        self.cursor.match(_NOTHING)
        while self.cursor.peek() != ")":
            if not self.cursor.peek():
                raise self.cursor.error("found an array that is never closed", "close it with )", start)
            if self.cursor.peek() == ";":
                raise self.cursor.shell()
            elements.append(self.words.element())
            if len(elements) > _MAXIMUM_ELEMENTS:
                hint = "put the words in a file"
                raise self.cursor.error(f"an array has more than {_MAXIMUM_ELEMENTS} words", hint, start)
            self.cursor.match(_NOTHING)
        self.cursor.take()
        return tuple(elements)

    def _store(self, name: str, value: Value | tuple[Value, ...], start: int) -> None:
        other = self.scope.values if isinstance(value, tuple) else self.scope.arrays
        if name in other:
            raise self.cursor.error(f"{name} is both an array and a text", "give them two names", start)
        if isinstance(value, tuple):
            self.scope.arrays[name] = list(value)
        else:
            self.scope.values[name] = value
        self.places[name] = self.cursor.place(start)
