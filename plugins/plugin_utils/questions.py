# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a template of an organization asks, and what counts as an answer."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Union

from ansible_collections.tetra.platform.plugins.module_utils.model import units
from ansible_collections.tetra.platform.plugins.module_utils.model.errors import TetraError

Answer = Union[str, int, bool]

_KEYS = ("text", "kind", "default", "choices", "minimum", "maximum")
_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_DOMAIN = re.compile(rf"(?=.{{1,253}}\Z)(?:{_LABEL}\.)*{_LABEL}")
_LONGEST = 1000


@dataclasses.dataclass(frozen=True)
class Question:
    """What a template asks: ``default`` is None where it has to be answered."""

    name: str
    text: str
    kind: str
    default: Answer | None
    choices: tuple[str, ...]
    minimum: int | None
    maximum: int | None

    def check(self, answer: object) -> Answer:
        """The answer in its own type.

        :raises TetraError: when it is none.
        """
        value = _KINDS[self.kind](self, answer)
        if isinstance(value, str) and len(value) > _LONGEST:
            raise TetraError(f"is longer than {_LONGEST} characters", hint="write less")
        return value

    def _text(self, answer: object) -> str:
        if not isinstance(answer, (str, int, float)) or isinstance(answer, bool) or not str(answer).isprintable():
            raise TetraError(f"{_shown(answer)} is not a text of one line", hint="write letters, digits and blanks")
        return str(answer)

    def _name(self, answer: object) -> str:
        return units.check_name(self.name, self._text(answer))

    def _domain(self, answer: object) -> str:
        text = self._text(answer)
        if not _DOMAIN.fullmatch(text):
            raise TetraError(f"{_shown(answer)} is not the name of a domain", hint="write it like example.org")
        return text

    def _number(self, answer: object) -> int:
        text = str(answer).strip()
        if isinstance(answer, bool) or not re.fullmatch(r"-?[0-9]{1,9}", text):
            raise TetraError(f"{_shown(answer)} is not a whole number", hint="write digits")
        number = int(text)
        if self.minimum is not None and number < self.minimum:
            raise TetraError(f"{number} is less than {self.minimum}", hint="write a larger number")
        if self.maximum is not None and number > self.maximum:
            raise TetraError(f"{number} is more than {self.maximum}", hint="write a smaller number")
        return number

    def _yes_or_no(self, answer: object) -> bool:
        known = {"yes": True, "true": True, "no": False, "false": False}
        if str(answer).strip().lower() not in known:
            raise TetraError(f"{_shown(answer)} is neither yes nor no", hint="write yes or no")
        return known[str(answer).strip().lower()]

    def _choice(self, answer: object) -> str:
        if answer not in self.choices:
            raise TetraError(f"{_shown(answer)} is not a choice", hint=f"write {', '.join(self.choices)}")
        return str(answer)


_KINDS: Mapping[str, Callable[[Question, object], Answer]] = {
    "text": Question._text,
    "name": Question._name,
    "domain": Question._domain,
    "number": Question._number,
    "yes_or_no": Question._yes_or_no,
    "choice": Question._choice,
}


def question(name: str, table: object) -> Question:
    """The question that a template describes.

    :param table: its keys, ``text``, ``kind``, ``default``, ``choices``, ``minimum`` and ``maximum``.
    :raises TetraError: when it is none.
    """
    if not isinstance(table, dict) or not re.fullmatch(r"[a-z][a-z0-9_]{0,62}", name) or name == "org":
        raise TetraError("is not a question", hint="write [questions.some_name] and its keys below; org is the name")
    unknown = [key for key in table if key not in _KEYS]
    if unknown:
        raise TetraError(f"{unknown[0]} is not a key of a question", hint=f"there are {', '.join(_KEYS)}")
    kind, choices = table.get("kind", "text"), table.get("choices", [])
    if not isinstance(kind, str) or kind not in _KINDS:
        raise TetraError(f"{kind!r} is not a kind of answer", hint=f"write {', '.join(_KINDS)}")
    if (kind == "choice") != bool(choices) or not all(isinstance(one, str) for one in choices):
        raise TetraError("choices do not go with its kind", hint='write kind = "choice" and choices = ["a", "b"]')
    bounds = [table.get(key) for key in ("minimum", "maximum")]
    are_numbers = all(bound is None or (isinstance(bound, int) and not isinstance(bound, bool)) for bound in bounds)
    if not are_numbers or (kind != "number" and bounds != [None, None]):
        raise TetraError("minimum and maximum do not go with its kind", hint="they are whole numbers, of a number")
    made = Question(name, str(table.get("text", name)), kind, table.get("default"), tuple(choices), *bounds)
    if made.default is not None:
        made.check(made.default)
    return made


def answered(questions: Sequence[Question], given: Mapping[str, Any]) -> dict[str, Answer]:
    """An answer for each question: the one that is given, else the default.

    :raises TetraError: listing the questions that have no answer, and the answers that are wrong.
    """
    known = {question.name: question for question in questions}
    wrong = [_unknown(name, known) for name in given if name not in known]
    answers: dict[str, Answer] = {}
    for name, question in known.items():
        answer = given.get(name, question.default)
        try:
            if answer is None:
                raise TetraError(f"has no answer: {question.text}", hint=f"a {question.kind}")
            answers[name] = question.check(answer)
        except TetraError as error:
            wrong.append(f"tetra_answers.{name} {error}")
    if wrong:
        raise TetraError("\n".join(wrong))
    return answers


def _unknown(name: str, known: Mapping[str, Question]) -> str:
    near = units.nearest(str(name), known)
    hint = f"did you mean {near}?" if near else f"the questions are {', '.join(known) or 'none'}"
    return f"tetra_answers.{name} is not asked ({hint})"


def _shown(value: object) -> str:
    text = json.dumps(value, default=str)
    return text if len(text) <= 60 else f"{text[:57]}..."
