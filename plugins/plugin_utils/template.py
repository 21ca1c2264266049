# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Renders the templates of an organization for one environment.

Templates are written by others and Jinja2 is a language, so they are rendered in a sandbox inside a child process with
limits on time, memory and output, see ``template_worker``.
"""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2
import markupsafe
from ansible_collections.tetra.platform.plugins.module_utils.model import units
from ansible_collections.tetra.platform.plugins.module_utils.model.errors import (
    ERROR,
    Finding,
    TetraError,
    raise_on_errors,
)
from ansible_collections.tetra.platform.plugins.plugin_utils import template_worker
from ansible_collections.tetra.platform.plugins.plugin_utils.template_layers import Layers

TIMEOUT = 10.0
"""Seconds that rendering may take by the clock, which on a busy machine is more than its processor time."""

_WORKER = Path(__file__).with_name("template_worker.py")


@dataclasses.dataclass(frozen=True)
class Rendered:
    """What templates became: ``files`` is path of an output to content, ``origins`` the same to its template, and
    ``names`` path of a template to the variables that it may use.
    """

    files: dict[str, bytes]
    origins: Mapping[str, str]
    names: dict[str, list[str]]


def render(layers: Layers, texts: Mapping[str, str], values: Mapping[str, Any], trim: bool = True) -> Rendered:
    """Render templates.

    :param layers: which templates there are, and what is rendered.
    :param texts: path to text, of all of them.
    :param values: what the templates may name, plain data; ``env`` is the name of the environment, for messages.
    :param trim: whether a line that holds nothing but a tag leaves nothing behind; else it leaves an empty one, and
        lines keep their numbers.
    :raises TetraError: listing everything that is wrong with them.
    """
    if not texts:
        return Rendered({}, {}, {})
    request = {
        "texts": dict(texts), "outputs": sorted(set(layers.outputs.values())), "folders": list(layers.folders),
        "values": dict(values), "environment": values.get("env", ""), "trim": trim,
    }  # fmt: skip
    answers = _ask(json.dumps(request).encode("ascii"), len(texts))
    findings = [_finding(problem, values) for problem in answers[-1]["problems"]]
    raise_on_errors(sorted(findings, key=lambda one: (one.file, one.line, one.column)))
    done = {answer["done"]: answer for answer in answers if "done" in answer}
    return Rendered(
        {output: done[path]["text"].encode("utf-8") for output, path in layers.outputs.items()},
        layers.outputs,
        {path: answer["names"] for path, answer in done.items()},
    )


def _finding(problem: Mapping[str, Any], values: Mapping[str, Any]) -> Finding:
    hint = problem["hint"]
    near = units.nearest(problem["missing"], values) if problem["missing"] else None
    if near:
        hint = f"did you mean {near}? otherwise {hint}"
    return Finding(ERROR, "template", problem["message"], problem["path"], problem["line"], problem["column"], hint)


def _ask(request: bytes, templates: int) -> list[dict[str, Any]]:
    """The lines that the child wrote, when it got to its end.

    :raises TetraError: when it did not, naming the template that it was at.
    """
    folders = sorted({str(Path(file).parent.parent) for file in (jinja2.__file__, markupsafe.__file__)})
    command = [sys.executable, "-I", "-S", str(_WORKER), *folders]
    seconds = template_worker.seconds_for(templates)
    # Output goes to files, whose size the kernel limits, so that a child that went wild cannot fill our memory.
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        reason = ""
        try:
            done = subprocess.run(
                command, input=request, stdout=output, stderr=errors, timeout=TIMEOUT + seconds, cwd="/",
                env={"LC_ALL": "C"}, check=False,
            )  # fmt: skip
            if done.returncode < 0:
                reason = f"it needs more than {seconds:g} s of a processor or {template_worker.MEMORY >> 20} MiB"
            elif done.returncode:
                errors.seek(0)
                reason = f"its process failed: {errors.read()[-500:].decode('utf-8', 'replace').strip()}"
        except subprocess.TimeoutExpired:
            reason = f"it takes longer than {TIMEOUT + seconds:g} s"
        output.seek(0)
        answers = _lines(output.read())
    if reason:
        path = next((answer["begun"] for answer in reversed(answers) if "begun" in answer), "templates/")
        raise TetraError(f"{path}: rendering was ended, {reason}", hint="make the template simpler")
    return answers


def _lines(output: bytes) -> list[dict[str, Any]]:
    """The records of the lines that were written to their end."""
    return [json.loads(line) for line in output.split(b"\n")[:-1]]
