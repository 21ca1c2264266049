# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Renders the templates of an organization in a process of its own, which has little memory, little time and no secret.

Run as a program, with the folders of Jinja2 as arguments: JSON on standard input, one JSON line for each template that
is begun and one for each that is done on standard output. See ``template.render``, which starts it.
"""

from __future__ import annotations

import dataclasses
import json
import re
import resource
import signal
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import FrameType
from typing import Any

if __name__ == "__main__":
    # Started isolated and without site packages: only the folders that the parent names are searched.
    sys.path.extend(sys.argv[1:])

import jinja2  # noqa: E402
from jinja2 import meta, nodes, sandbox  # noqa: E402

SECONDS = 1.0
SECONDS_EACH = 0.02
GRACE_SECONDS = 0.5
MEMORY = 512 * 1024 * 1024
MAX_OUTPUT = 4 * 1024 * 1024
MAX_TOTAL = 64 * 1024 * 1024
MAX_OPEN_FILES = 32

# What is left alone, what is replaced, and what only looks like it.
_HANDLEBARS = re.compile(
    r"(?P<raw>\{%[-+]?\s{0,99}raw\s{0,99}[-+]?%\}.*?\{%[-+]?\s{0,99}endraw\s{0,99}[-+]?%\}|\{#.*?#\})"
    r"|\{\{\s{0,99}#if\s{1,99}(?P<condition>[^{}\n]+)\}\}"
    r"|\{\{\s{0,99}(?P<word>else|/if)\s{0,99}\}\}"
    r"|\{\{\s{0,99}(?P<other>[#/][A-Za-z]{1,99}|else\s{1,99}if\b)[^{}\n]*\}\}",
    re.DOTALL,
)
_WORDS = {"else": "{% else %}", "/if": "{% endif %}"}
_SCALARS = (str, int, float, jinja2.Undefined)
_NAMED = re.compile(r"(?:got|tag|named|template) '([^']+)'")
_BEGIN = re.compile(r"\{[{%#]")


@dataclasses.dataclass(frozen=True)
class Problem:
    """What is wrong with a template, where, and what to do.

    ``path`` is the file, which may be one that another extends or includes; ``line`` is 0 where it is not known, as is
    ``column``; ``missing`` is the name that is not defined, if it is about one.
    """

    path: str
    line: int
    column: int
    message: str
    hint: str
    missing: str = ""


class ProblemsError(Exception):
    """A template cannot be rendered; ``problems`` says why."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__(problems[0].message)
        self.problems = tuple(problems)


class _TooSlowError(Exception):
    pass


def handlebars(text: str, path: str = "") -> str:
    """The text with ``{{#if x}}``, ``{{else}}`` and ``{{/if}}`` written as Jinja2 does; lines keep their numbers.

    :raises ProblemsError: for other words in that form, all of them.
    """
    problems = [_unknown_word(match, path) for match in _HANDLEBARS.finditer(text) if match["other"]]
    if problems:
        raise ProblemsError(problems)
    return _HANDLEBARS.sub(_as_jinja, text)


def _as_jinja(match: re.Match[str]) -> str:
    if match["raw"]:
        return match["raw"]
    if match["condition"]:
        return f"{{% if {match['condition'].strip()} %}}"
    return _WORDS[match["word"]]


def _unknown_word(match: re.Match[str], path: str) -> Problem:
    line = match.string.count("\n", 0, match.start()) + 1
    column = match.start() - match.string.rfind("\n", 0, match.start())
    hint = "write {{#if x}}, {{else}} and {{/if}}, or {% if %}, {% elif %} and {% for %}"
    return Problem(path, line, column, f"{{{{{match['other']}}}}} is not known", hint)


class _Engine(sandbox.ImmutableSandboxedEnvironment):
    """Jinja2 for the templates of one environment: no file, no chance, nothing undefined that goes unnoticed."""

    def __init__(self, templates: Templates, undefined: type[jinja2.Undefined], trim: bool) -> None:
        super().__init__(
            undefined=undefined, finalize=_finalize, trim_blocks=trim, lstrip_blocks=trim, keep_trailing_newline=True,
            loader=jinja2.FunctionLoader(templates.source), optimized=False,
        )  # fmt: skip
        self._templates = templates
        # Equal sources have equal releases, so nothing random; and no way around the checks on attributes.
        for name in ("random", "attr"):
            del self.filters[name]
        del self.globals["lipsum"]

    def join_path(self, template: str, parent: str) -> str:
        """The path of the file that another names."""
        return self._templates.resolve(template, parent) or template


class Templates:
    """The templates of one environment, which may extend, include and import one another.

    :param texts: path to text.
    :param folders: where a name that a template writes is looked for, the nearest first.
    :param environment: the name of the environment, for messages.
    :param trim: whether lines that hold nothing but a tag leave nothing behind.
    """

    def __init__(
        self, texts: Mapping[str, str], folders: Sequence[str], environment: str, trim: bool = True
    ) -> None:
        self._texts = texts
        self._folders = folders
        self._missed: list[Problem] = []
        self._trees: dict[str, nodes.Template] = {}
        self._loads: dict[str, list[Any]] = {}
        self._checked: dict[str, list[Problem]] = {}
        self._engine = _Engine(self, _undefined_of(environment, self._miss), trim)

    def source(self, path: str) -> tuple[str, str, Callable[[], bool]] | None:
        """What Jinja2 asks of a loader: text and file; None for a file that is not there."""
        text = self._texts.get(path)
        return None if text is None else (handlebars(text, path), path, lambda: True)

    def resolve(self, name: str, parent: str) -> str | None:
        """The file that a template means by a name: the nearest one of that name which is not the template itself."""
        candidates = [f"{folder}{name}" for folder in self._folders]
        return next((path for path in candidates if path in self._texts and path != parent), None)

    def check(self, path: str) -> list[Problem]:
        """What is wrong with a file itself, whatever the values are: its syntax, its filters, and what it loads."""
        if path not in self._checked:
            try:
                tree = self._tree(path)
                self._checked[path] = [*self._unknown(path, tree), *self._wrong_loads(path)]
            except ProblemsError as error:
                self._checked[path] = list(error.problems)
        return self._checked[path]

    def names(self, path: str) -> list[str]:
        """The variables that a file and those that it loads may use, sorted."""
        reached = self._reached(path)
        return sorted(set().union(*(meta.find_undeclared_variables(self._tree(one)) for one in reached)))

    def render(self, path: str, values: Mapping[str, Any]) -> str:
        """One template rendered.

        :raises ProblemsError: with everything that is wrong with it and with the files that it loads.
        """
        wrong = [problem for one in self._reached(path) for problem in self.check(one)]
        if wrong:
            raise ProblemsError(wrong)
        self._missed.clear()
        try:
            output = _limited(self._engine.get_template(path).generate(**values))
        except _TooSlowError as error:
            raise self._failed(error, path, self.too_slow(), "take the loop out, or make it smaller") from error
        except MemoryError as error:
            text = f"rendering takes more than {MEMORY >> 20} MiB"
            raise self._failed(error, path, text, "make the value smaller") from error
        except RecursionError as error:
            raise self._failed(error, path, "the template is nested too deeply", "make it flatter") from error
        except jinja2.TemplateSyntaxError as error:
            raise ProblemsError([self._syntax_problem(error, path)]) from error
        except Exception as error:  # Whatever a template manages to raise is its author's mistake.
            if self._missed:
                # What follows from a variable that is not there is no mistake of its own.
                raise ProblemsError(self._missed) from error
            raise self._failed(error, path, str(error) or type(error).__name__, "correct the template") from error
        if self._missed:
            raise ProblemsError(self._missed)
        return output

    def _tree(self, path: str) -> nodes.Template:
        if path not in self._trees:
            try:
                tree = self._engine.parse(handlebars(self._texts[path], path), filename=path)
                # To walk over it takes more depth than to parse it: a long sum is parsed in a loop.
                self._loads[path] = list(tree.find_all((nodes.Include, nodes.Import, nodes.FromImport, nodes.Extends)))
                self._trees[path] = tree
            except jinja2.TemplateSyntaxError as error:
                raise ProblemsError([self._syntax_problem(error, path)]) from error
            except RecursionError as error:
                problem = Problem(path, 0, 0, "the template is nested too deeply", "make it flatter")
                raise ProblemsError([problem]) from error
        return self._trees[path]

    def _syntax_problem(self, error: jinja2.TemplateSyntaxError, path: str) -> Problem:
        message = error.message or "a syntax error"
        return self._problem(error.filename or path, error.lineno, message, "correct the template")

    def too_slow(self) -> str:
        """What is said of templates that take more time than they have, all together."""
        return f"rendering takes more than {seconds_for(len(self._texts)):g} s of a processor"

    def _unknown(self, path: str, tree: nodes.Template) -> Iterator[Problem]:
        for kind, node_type, known in (("filter", nodes.Filter, self._engine.filters),
                                       ("test", nodes.Test, self._engine.tests)):  # fmt: skip
            for node in tree.find_all(node_type):
                if node.name not in known:
                    hint = "use one of Jinja2's own; random and attr are not among them"
                    yield self._problem(path, node.lineno, f"No {kind} named '{node.name}'", hint)

    def _wrong_loads(self, path: str) -> Iterator[Problem]:
        for node in self._loads[path]:
            names = _names_of(node.template)
            needs = not getattr(node, "ignore_missing", False)
            if not names:
                hint = 'write the name itself: {% extends "base.conf.j2" %}'
                yield self._problem(path, node.lineno, "the name of another template is not known before", hint)
            elif needs and not any(self.resolve(name, path) for name in names):
                hint = f"a name is looked for in {' and '.join(self._folders)}; nothing outside of them can be read"
                yield self._problem(path, node.lineno, f"there is no template '{names[0]}'", hint)
        circle = self._circle(path)
        # Said once, not of every file that is part of it.
        if circle and path == min(circle):
            hint = "take one of these out"
            yield Problem(path, 0, 0, f"the templates load each other in a circle: {' -> '.join(circle)}", hint)

    def _named(self, path: str) -> list[str]:
        """The files that a file names directly; none when it cannot be read itself."""
        try:
            self._tree(path)
        except ProblemsError:
            return []
        found = [self.resolve(name, path) for node in self._loads[path] for name in _names_of(node.template)]
        return [one for one in found if one]

    def _reached(self, path: str) -> list[str]:
        """A file and all that it loads."""
        found = [path]
        for one in found:
            found += [other for other in self._named(one) if other not in found]
        return found

    def _circle(self, start: str) -> list[str]:
        """The way from a file back to it, when there is one."""
        ways = [[start]]
        seen = set()
        for way in ways:
            following = self._named(way[-1])
            if start in following:
                return [*way, start]
            ways += [[*way, one] for one in following if one not in seen]
            seen.update(following)
        return []

    def _miss(self, name: str, message: str) -> None:
        """Remember that a variable is missing, at the place where rendering is now."""
        path, line = self._place(_frames(sys._getframe()))
        problem = self._problem(path, line, message, _DEFINE if name else "correct the template", name)
        if problem not in self._missed:
            self._missed.append(problem)

    def _failed(self, error: BaseException, path: str, message: str, hint: str) -> ProblemsError:
        found, line = self._place(reversed(list(_frames_of(error))))
        return ProblemsError([*self._missed, self._problem(found or path, line, message, hint)])

    def _place(self, frames: Iterable[tuple[FrameType, int]]) -> tuple[str, int]:
        """The file and the line of the innermost template among some frames, which come innermost first."""
        for frame, line in frames:
            path = frame.f_code.co_filename
            if path in self._texts:
                template = frame.f_globals.get("__jinja_template__")
                # Jinja2 writes lines of the template into a traceback, but not into a frame that still runs.
                return path, template.get_corresponding_lineno(line) if template else line
        return "", 0

    def _problem(self, path: str, line: int, message: str, hint: str, missing: str = "") -> Problem:
        column = _column(self._texts.get(path, ""), line, missing or (_NAMED.findall(message) or [""])[-1])
        return Problem(path, line, column, message, hint, missing)


_DEFINE = "define it in [values] of environments/*.toml, or test it first: {% if name is defined %}"


def _names_of(node: nodes.Expr) -> list[str]:
    """The names that stand in a template for others; none where they are not known before it is rendered."""
    parts = node.items if isinstance(node, (nodes.List, nodes.Tuple)) else [node]
    names = [part.value for part in parts if isinstance(part, nodes.Const) and isinstance(part.value, str)]
    return names if len(names) == len(parts) else []


def _column(text: str, line: int, word: str) -> int:
    """Where a word stands in a line, from 1 on; where it does not, the first tag of the line; 0 without either."""
    lines = text.split("\n")
    shown = lines[line - 1] if 0 < line <= len(lines) else ""
    found = re.search(rf"(?<!\w){re.escape(word)}(?!\w)", shown) if word else None
    found = found or _BEGIN.search(shown)
    return found.start() + 1 if found else 0


def _frames(frame: FrameType | None) -> Iterator[tuple[FrameType, int]]:
    while frame:
        yield frame, frame.f_lineno
        frame = frame.f_back


def _frames_of(error: BaseException) -> Iterator[tuple[FrameType, int]]:
    traceback = error.__traceback__
    while traceback:
        yield traceback.tb_frame, traceback.tb_lineno
        traceback = traceback.tb_next


def _undefined_of(environment: str, miss: Callable[[str, str], None]) -> type[jinja2.Undefined]:
    """A class for what is not defined: whoever uses such a thing is told of, and then goes on with nothing."""

    def noticed(result: Callable[[Any], Any]) -> Callable[..., Any]:
        def use(self: Any, *_arguments: object, **_more: object) -> Any:
            # Of a part of something that is missing itself, nothing more is to be said.
            if not isinstance(self._undefined_obj, jinja2.Undefined):
                miss(*self.missing())
            return result(self)

        return use

    place = f" for environment {environment}" if environment else ""
    nothing, same = noticed(lambda _self: 0), noticed(lambda self: self)
    never = noticed(lambda _self: False)

    class Undefined(jinja2.StrictUndefined):
        """Says which variable is missing, and for which environment."""

        __slots__ = ()

        def missing(self) -> tuple[str, str]:
            """Its name, and what is to be said of it."""
            name = str(self._undefined_name)
            if self._undefined_hint:
                # Of what the sandbox keeps away, for example.
                return "", self._undefined_hint
            if self._undefined_obj is jinja2.utils.missing:
                return name, f"variable {name!r} is not defined{place}"
            kind = "table" if isinstance(self._undefined_obj, Mapping) else type(self._undefined_obj).__name__
            return name, f"{name!r} is not in that {kind}{place and f',{place}'}"

        __str__ = __repr__ = noticed(lambda _self: "")
        __iter__ = noticed(lambda _self: iter(()))
        __len__ = __int__ = __index__ = __hash__ = nothing
        __float__ = noticed(lambda _self: 0.0)
        __bool__ = __eq__ = __ne__ = __lt__ = __le__ = __gt__ = __ge__ = __contains__ = never
        __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __truediv__ = __rtruediv__ = same
        __floordiv__ = __rfloordiv__ = __mod__ = __rmod__ = __pow__ = __rpow__ = __pos__ = __neg__ = same
        __call__ = __getitem__ = same

        def __getattr__(self, name: str) -> Any:
            if name.startswith("__"):
                raise AttributeError(name)
            return self[name]

    return Undefined


# With a context it is not asked for what a constant comes to before rendering, when there is no line to name.
@jinja2.pass_context
def _finalize(_context: object, value: object) -> object:
    """What may be written into a file: text, numbers, lists and tables."""
    return _writable(value)


def _writable(value: object) -> object:
    if value is None:
        raise ValueError("the value is none; a service without a port has none")
    if isinstance(value, _SCALARS):
        return value
    if isinstance(value, (list, tuple, dict)):
        for item in value.values() if isinstance(value, dict) else value:
            _writable(item)
        return value
    raise TypeError(f"a {type(value).__name__} is not a value that can be written into a file")


def _limited(chunks: Iterator[str]) -> str:
    parts = []
    size = 0
    for chunk in chunks:
        size += len(chunk.encode("utf-8"))
        if size > MAX_OUTPUT:
            raise ValueError(f"the output is larger than {MAX_OUTPUT} bytes")
        parts.append(chunk)
    return "".join(parts)


def seconds_for(templates: int) -> float:
    """How much time of a processor so many templates may take together."""
    return SECONDS + SECONDS_EACH * templates


def _limit(templates: int) -> None:
    for kind, most in (
        (resource.RLIMIT_AS, MEMORY),
        (resource.RLIMIT_FSIZE, 4 * MAX_TOTAL),
        (resource.RLIMIT_NOFILE, MAX_OPEN_FILES),
        (resource.RLIMIT_CORE, 0),
    ):
        hard = resource.getrlimit(kind)[1]
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(kind, (most, most))
    seconds = seconds_for(templates)
    signal.signal(signal.SIGPROF, _too_slow)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    # What does not come back to Python, such as a power of large numbers, is ended by the kernel.
    signal.signal(signal.SIGVTALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_VIRTUAL, seconds + GRACE_SECONDS)


def _too_slow(_signal: int, _frame: object) -> None:
    raise _TooSlowError


def _say(record: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(record) + "\n")
    sys.stdout.flush()


class _Job:
    """Checks all templates and renders those that are asked for."""

    def __init__(self, request: Mapping[str, Any]) -> None:
        self.request = request
        self.templates = Templates(
            request["texts"], request["folders"], request["environment"], request["trim"]
        )
        self.problems: dict[Problem, None] = {}
        self.path = ""
        self.total = 0

    def work(self) -> None:
        """Say what comes of every template; when the time is over the others are left."""
        try:
            self._check()
            self._render()
        except _TooSlowError:
            hint = "make the templates smaller"
            self.problems[Problem(self.path, 0, 0, self.templates.too_slow(), hint)] = None
        _say({"problems": [dataclasses.asdict(problem) for problem in self.problems]})

    def _begin(self, path: str) -> None:
        self.path = path
        _say({"begun": path})

    def _check(self) -> None:
        for path in self.request["texts"]:
            self._begin(path)
            self.problems.update(dict.fromkeys(self.templates.check(path)))

    def _render(self) -> None:
        for path in self.request["outputs"]:
            self._begin(path)
            try:
                output = self.templates.render(path, self.request["values"])
                self._count(len(output))
                _say({"done": path, "text": output, "names": self.templates.names(path)})
            except ProblemsError as error:
                self.problems.update(dict.fromkeys(error.problems))
                if isinstance(error.__cause__, _TooSlowError):
                    return

    def _count(self, size: int) -> None:
        self.total += size
        if self.total > MAX_TOTAL:
            text = f"all outputs together are larger than {MAX_TOTAL} bytes"
            raise ProblemsError([Problem(self.path, 0, 0, text, "make them smaller")])


if __name__ == "__main__":
    _request = json.load(sys.stdin)
    _limit(len(_request["texts"]))
    _Job(_request).work()
