# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Renders the templates of an organization in a process of its own, which has little memory, little time and no secret.

Run as a program, with the folders of Jinja2 as arguments: JSON on standard input, one JSON line for each template that
is begun and one for each that is done on standard output. See ``template.render``, which starts it.
"""

from __future__ import annotations

import json
import re
import resource
import signal
import sys
from collections.abc import Iterator, Mapping
from typing import Any

if __name__ == "__main__":
    # Started isolated and without site packages: only the folders that the parent names are searched.
    sys.path.extend(sys.argv[1:])

import jinja2  # noqa: E402
from jinja2 import nodes, sandbox  # noqa: E402

CPU_SECONDS = 5
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
_LOADING = {
    nodes.Include: "include",
    nodes.Import: "import",
    nodes.FromImport: "import",
    nodes.Extends: "extends",
}
_SCALARS = (str, int, float, jinja2.Undefined)


class RenderError(Exception):
    """What is wrong with a template, at which line of it, and what to do."""

    def __init__(self, line: int, message: str, hint: str) -> None:
        super().__init__(message)
        self.line = line
        self.message = message
        self.hint = hint


class _TooSlowError(Exception):
    pass


def handlebars(text: str) -> str:
    """The text with ``{{#if x}}``, ``{{else}}`` and ``{{/if}}`` written as Jinja2 does; lines keep their numbers.

    :raises RenderError: for another word in that form.
    """
    return _HANDLEBARS.sub(_as_jinja, text)


def _as_jinja(match: re.Match[str]) -> str:
    if match["raw"]:
        return match["raw"]
    if match["condition"]:
        return f"{{% if {match['condition'].strip()} %}}"
    if match["word"]:
        return _WORDS[match["word"]]
    line = match.string.count("\n", 0, match.start()) + 1
    hint = "write {{#if x}}, {{else}} and {{/if}}, or {% if %}, {% elif %} and {% for %}"
    raise RenderError(line, f"{{{{{match['other']}}}}} is not known", hint)


def environment(name: str) -> sandbox.SandboxedEnvironment:
    """The Jinja2 environment for templates of the environment ``name``: no file, no chance, nothing undefined."""
    engine = sandbox.ImmutableSandboxedEnvironment(
        undefined=_undefined_of(name),
        finalize=_finalize,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    # Equal sources have equal releases, so nothing random; and no way around the checks on attributes.
    for filter_name in ("random", "attr"):
        del engine.filters[filter_name]
    del engine.globals["lipsum"]
    return engine


def _undefined_of(environment_name: str) -> type[jinja2.StrictUndefined]:
    class Undefined(jinja2.StrictUndefined):
        """Says which variable is missing, and for which environment."""

        __slots__ = ()

        def __init__(
            self,
            hint: str | None = None,
            obj: Any = jinja2.utils.missing,
            name: str | None = None,
            exc: type[jinja2.TemplateRuntimeError] = jinja2.UndefinedError,
        ) -> None:
            if hint is None and obj is jinja2.utils.missing:
                hint = f"variable {name!r} is not defined for environment {environment_name}"
            elif hint is None:
                kind = "table" if isinstance(obj, Mapping) else type(obj).__name__
                hint = f"{name!r} is not in that {kind}, for environment {environment_name}"
            super().__init__(hint, obj, name, exc)

        # So that it does not get into a file as part of a list either.
        __repr__ = jinja2.StrictUndefined.__str__

    return Undefined


def _finalize(value: object) -> object:
    """What may be written into a file: text, numbers, lists and tables."""
    if value is None:
        raise ValueError("the value is none; a service without a port has none")
    if isinstance(value, _SCALARS):
        return value
    if isinstance(value, (list, tuple, dict)):
        for item in value.values() if isinstance(value, dict) else value:
            _finalize(item)
        return value
    raise TypeError(f"a {type(value).__name__} is not a value that can be written into a file")


def render(engine: sandbox.SandboxedEnvironment, path: str, text: str, values: Mapping[str, Any]) -> str:
    """One template rendered.

    :raises RenderError: for everything that is wrong with it.
    """
    try:
        source = handlebars(text)
        tree = engine.parse(source, filename=path)
        _refuse_loading(tree)
        template = jinja2.Template.from_code(engine, engine.compile(tree, filename=path), engine.globals)
        return _limited(template.generate(**values))
    except RenderError:
        raise
    except jinja2.TemplateSyntaxError as error:
        raise RenderError(error.lineno, error.message or "a syntax error", "correct the template") from error
    except jinja2.UndefinedError as error:
        hint = "define it in [values] of environments/*.toml, or test it first: {% if name is defined %}"
        raise RenderError(_line(error, path), error.message or "an undefined value", hint) from error
    except _TooSlowError as error:
        hint = "take the loop out, or make it smaller"
        raise RenderError(_line(error, path), f"rendering takes more than {CPU_SECONDS} s", hint) from error
    except MemoryError as error:
        hint = "make the value smaller"
        raise RenderError(_line(error, path), f"rendering takes more than {MEMORY >> 20} MiB", hint) from error
    except RecursionError as error:
        raise RenderError(_line(error, path), "the template is nested too deeply", "make it flatter") from error
    except Exception as error:  # Whatever a template manages to raise is its author's mistake.
        raise RenderError(_line(error, path), str(error) or type(error).__name__, "correct the template") from error


def _refuse_loading(tree: nodes.Template) -> None:
    for node in tree.find_all(tuple(_LOADING)):
        hint = "a template stands alone; write the text into it"
        raise RenderError(node.lineno, f"{_LOADING[type(node)]} of another file is not possible", hint)


def _limited(chunks: Iterator[str]) -> str:
    parts = []
    size = 0
    for chunk in chunks:
        size += len(chunk.encode("utf-8"))
        if size > MAX_OUTPUT:
            raise ValueError(f"the output is larger than {MAX_OUTPUT} bytes")
        parts.append(chunk)
    return "".join(parts)


def _line(error: BaseException, path: str) -> int:
    """The last line of the template that an error went through; Jinja2 puts those lines into the traceback."""
    found = 0
    traceback = error.__traceback__
    while traceback:
        if traceback.tb_frame.f_code.co_filename == path:
            found = traceback.tb_lineno
        traceback = traceback.tb_next
    return found


def _limit() -> None:
    for kind, soft, extra in (
        (resource.RLIMIT_CPU, CPU_SECONDS, 2),
        (resource.RLIMIT_AS, MEMORY, 0),
        (resource.RLIMIT_FSIZE, 4 * MAX_TOTAL, 0),
        (resource.RLIMIT_NOFILE, MAX_OPEN_FILES, 0),
        (resource.RLIMIT_CORE, 0, 0),
    ):
        most = resource.getrlimit(kind)[1]
        hard = soft + extra if most == resource.RLIM_INFINITY else min(soft + extra, most)
        resource.setrlimit(kind, (min(soft, hard), hard))
    signal.signal(signal.SIGXCPU, _too_slow)


def _too_slow(_signal: int, _frame: object) -> None:
    raise _TooSlowError


def _say(record: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(record) + "\n")
    sys.stdout.flush()


def _work(request: dict[str, Any]) -> None:
    engine = environment(request["environment"])
    total = 0
    for path, text in request["templates"].items():
        _say({"begun": path})
        try:
            output = render(engine, path, text, request["values"])
            total += len(output)
            if total > MAX_TOTAL:
                raise RenderError(0, f"all outputs together are larger than {MAX_TOTAL} bytes", "make them smaller")
            _say({"done": path, "text": output})
        except RenderError as error:
            _say({"done": path, "line": error.line, "message": error.message, "hint": error.hint})


if __name__ == "__main__":
    _limit()
    _work(json.load(sys.stdin))
