# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Renders the templates of an organization for one environment.

Templates are written by others and Jinja2 is a language, so they are rendered in a sandbox inside a child process with
limits on time, memory and output, see ``template_worker``.
"""

from __future__ import annotations

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

TIMEOUT = 10.0

_WORKER = Path(__file__).with_name("template_worker.py")
_LIMITS = f"{template_worker.CPU_SECONDS} s or {template_worker.MEMORY >> 20} MiB"


def output_path(path: str) -> str:
    """Where the output of a template is in a release: its own path without ``.j2``."""
    return path.removesuffix(".j2")


def render(sources: Mapping[str, str], values: Mapping[str, Any]) -> dict[str, bytes]:
    """Render templates.

    :param sources: path to text, such as ``templates/app.conf.j2``.
    :param values: what the templates may name, plain data; ``env`` is the environment's name.
    :returns: path in the release to content.
    :raises TetraError: listing what is wrong with each of the templates.
    """
    if not sources:
        return {}
    findings = _collisions(sources)
    raise_on_errors(findings)
    request = {"templates": dict(sources), "values": dict(values), "environment": values["env"]}
    answers = _ask(json.dumps(request).encode("ascii"))
    outputs: dict[str, bytes] = {}
    for answer in answers:
        if "text" in answer:
            outputs[output_path(answer["done"])] = answer["text"].encode("utf-8")
        elif "done" in answer:
            findings.append(_finding(answer, values))
    raise_on_errors(findings)
    return outputs


def _collisions(sources: Mapping[str, str]) -> list[Finding]:
    return [
        Finding(ERROR, "template", f"{path} and {output_path(path)} have the same output", hint="keep one of them")
        for path in sorted(sources)
        if path != output_path(path) and output_path(path) in sources
    ]


def _finding(answer: Mapping[str, Any], values: Mapping[str, Any]) -> Finding:
    hint = answer["hint"]
    missing = answer["message"].split("'")[1] if answer["message"].startswith("variable '") else None
    near = units.nearest(missing, values) if missing else None
    if near:
        hint = f"did you mean {near}? otherwise {hint}"
    return Finding(ERROR, "template", answer["message"], answer["done"], answer["line"], 0, hint)


def _ask(request: bytes) -> list[dict[str, Any]]:
    """The lines that the child wrote, when it got to its end.

    :raises TetraError: when it did not, naming the template that it was at.
    """
    folders = sorted({str(Path(file).parent.parent) for file in (jinja2.__file__, markupsafe.__file__)})
    command = [sys.executable, "-I", "-S", str(_WORKER), *folders]
    # Output goes to files, whose size the kernel limits, so that a child that went wild cannot fill our memory.
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        reason = ""
        try:
            done = subprocess.run(
                command, input=request, stdout=output, stderr=errors, timeout=TIMEOUT, cwd="/", env={"LC_ALL": "C"},
                check=False,
            )  # fmt: skip
            if done.returncode < 0:
                reason = f"it needs more than {_LIMITS}"
            elif done.returncode:
                errors.seek(0)
                reason = f"its process failed: {errors.read()[-500:].decode('utf-8', 'replace').strip()}"
        except subprocess.TimeoutExpired:
            reason = f"it takes longer than {TIMEOUT:g} s"
        output.seek(0)
        answers = _lines(output.read())
    if reason:
        path = next((answer["begun"] for answer in reversed(answers) if "begun" in answer), "templates/")
        raise TetraError(f"{path}: rendering was ended, {reason}", hint="make the template simpler")
    return answers


def _lines(output: bytes) -> list[dict[str, Any]]:
    """The records of the lines that were written to their end."""
    return [json.loads(line) for line in output.split(b"\n")[:-1]]
