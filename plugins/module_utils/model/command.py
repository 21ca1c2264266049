# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The text of a command: words when it has no shell syntax, else text for a shell.

A command is ``{"argv": [value, ...]}`` or ``{"shell": value}``. Text becomes words only when a shell would make the
same words of it; the slightest doubt leaves it to the shell. What the host fills in stays one word, as in quotes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from . import values
from .errors import TetraError
from .values import Part, Value

# Characters that mean something to a shell: outside quotes, and in double quotes.
_SYNTAX = frozenset("|&;<>()$`\n*?[]{}~#!\r")
_SYNTAX_IN_QUOTES = frozenset("$`")
_ESCAPED_IN_QUOTES = frozenset('"\\')
_BLANKS = frozenset(" \t")
_ASSIGNMENT = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\+?=")
# First words that are no programs: keywords and builtins that have no file of the same name.
_BUILTINS = {
    ".", ":", "alias", "bg", "bind", "break", "builtin", "caller", "case", "cd", "command", "compgen", "complete",
    "continue", "coproc", "declare", "dirs", "disown", "do", "done", "elif", "else", "enable", "esac", "eval",
    "exec", "exit", "export", "fc", "fg", "fi", "for", "function", "getopts", "hash", "help", "history", "if", "in",
    "jobs", "let", "local", "logout", "mapfile", "popd", "pushd", "read", "readarray", "readonly", "return",
    "select", "set", "shift", "shopt", "source", "suspend", "then", "time", "times", "trap", "type", "typeset",
    "ulimit", "umask", "unalias", "unset", "until", "wait", "while",
}  # fmt: skip


def read(value: Value) -> dict[str, Any]:
    """The command that a text says.

    :raises TetraError: when the text says nothing, or has a quote that is never closed.
    """
    words = split(value)
    if words is None:
        return {"shell": value}
    if not words:
        raise TetraError("the command is empty", hint="write what to run, like 'python3 server.py'")
    if isinstance(words[0], str) and words[0] in _BUILTINS:
        return {"shell": value}
    first = values.parts(words[0])[:1]
    if first and isinstance(first[0], str) and _ASSIGNMENT.match(first[0]):
        return {"shell": value}
    return {"argv": words}


def split(value: Value, plain: str = "") -> list[Value] | None:
    """The words of a text, as a shell would split it; None when only a shell can say.

    :param plain: characters that mean nothing here, though a shell may see more in them.
    :raises TetraError: for a quote that is never closed.
    """
    splitter = _Splitter(_SYNTAX - set(plain))
    for part in values.parts(_stripped(value)):
        if not splitter.read(part):
            return None
    return splitter.finish()


def append(command: dict[str, Any], words: Iterable[Value]) -> dict[str, Any]:
    """The command with more words after it; each stays one word, whatever it holds."""
    if "argv" in command:
        return {"argv": [*command["argv"], *words]}
    return {"shell": values.join([command["shell"], *(piece for word in words for piece in (" ", _quoted(word)))])}


def _quoted(word: Value) -> Value:
    """A value in double quotes, for the text of a shell."""
    escaped = values.map_text(word, lambda text: re.sub(r'(["\\$`])', r"\\\1", text))
    return values.join(['"', escaped, '"'])


def _stripped(value: Value) -> Value:
    pieces = list(values.parts(value))
    if pieces and isinstance(pieces[0], str):
        pieces[0] = pieces[0].lstrip(" \t\n")
    if pieces and isinstance(pieces[-1], str):
        pieces[-1] = pieces[-1].rstrip(" \t\n")
    return values.join(pieces)


class _Splitter:
    """Reads the parts of a value one after another and collects words."""

    def __init__(self, syntax: frozenset[str]) -> None:
        self._syntax = syntax
        self.words: list[Value] = []
        self._word: list[Part] | None = None
        self._quote = ""
        self._escape = False

    def read(self, part: Part) -> bool:
        """Take a part; False when it has something that only a shell understands."""
        if isinstance(part, str):
            return all(self._take(char) for char in part)
        if self._escape:
            return False
        self._add(part)
        return True

    def finish(self) -> list[Value] | None:
        """All words that were read."""
        if self._quote:
            raise TetraError(f"a {self._quote} is never closed", hint="close it, or write a backslash before it")
        if self._escape:
            return None
        self._end_word()
        return self.words

    def _add(self, part: Part) -> bool:
        if self._word is None:
            self._word = []
        self._word.append(part)
        return True

    def _end_word(self) -> bool:
        if self._word is not None:
            self.words.append(values.join(self._word))
        self._word = None
        return True

    def _take(self, char: str) -> bool:
        if self._escape:
            return self._take_escaped(char)
        if self._quote == "'":
            return self._close() if char == "'" else self._add(char)
        if char == "\\":
            self._escape = True
            return True
        if self._quote:
            return self._take_quoted(char)
        if char in ("'", '"'):
            self._quote = char
            return self._add("")
        if char in _BLANKS:
            return self._end_word()
        return char not in self._syntax and self._add(char)

    def _take_quoted(self, char: str) -> bool:
        if char == '"':
            return self._close()
        return char not in _SYNTAX_IN_QUOTES and self._add(char)

    def _close(self) -> bool:
        self._quote = ""
        return True

    def _take_escaped(self, char: str) -> bool:
        self._escape = False
        if char == "\n":
            return True
        if self._quote and char not in _ESCAPED_IN_QUOTES and char not in _SYNTAX_IN_QUOTES:
            self._add("\\")
        return self._add(char)
