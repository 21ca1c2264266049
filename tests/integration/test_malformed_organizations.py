# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Organizations and templates with a mistake, or with malice: each is refused with place and reason, and soon.

All of them with ``TETRA_LONG=1``, some of them without.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from ansible_collections.tetra.platform.plugins.module_utils.model import policy
from ansible_collections.tetra.platform.plugins.module_utils.model.errors import ERROR
from ansible_collections.tetra.platform.plugins.plugin_utils import validation

RUN = 'TSM_COMMAND="sleep 1000"\n'
ONE_IN = 1 if os.environ.get("TETRA_LONG") else 10
FAR_TOO_LONG = 30.0

TEMPLATES = {
    **{f"tag-{number}": text for number, text in enumerate([
        "{{", "{{ a", "{{ }}", "{%", "{% %}", "{% if %}", "{% if 1 %}", "{% endif %}", "{% else %}", "{% for %}",
        "{% for a in %}{% endfor %}", "{% for a in [1] %}", "{% nope %}", "{{ 1 + }}", "{{ 'a }}", "{{ [1 }}",
        "{{ {1 }}", "{{ a b }}", "{{ 1 | }}", "{{ a. }}", "{{ a[ }}", "{# never", "{% raw %}", "{% block %}",
        "{% block a %}",
        "{% block a %}{% endblock %}{% block a %}{% endblock %}", "{% set %}", "{% macro %}", "{% call %}",
        "{{#if}}x{{/if}}",
        "{{#if env}}x", "{{#each a}}x{{/each}}", "{{#unless a}}x{{/unless}}", "{{else if env}}", "{{/if}}", "{{/each}}",
        "{{ env | nope }}", "{{ env is nope }}", "{{ nope }}", "{{ env.nope }}", "{% if nope %}{% endif %}",
        "{% for a in nope %}{% endfor %}", "{{ nope | upper }}", "{{ [nope] }}", "{{ nope + 1 }}", "{{ nope() }}",
    ])},
    **{f"reach-{number}": text for number, text in enumerate([
        "{% include '/etc/passwd' %}", "{% include '../org.toml' %}", "{% extends 'nowhere' %}",
        "{% import 'no' as n %}",
        "{% include env %}", "{% include [env, 'x'] %}", "{{ ''.__class__ }}", "{{ ''['__class__'] }}",
        "{{ self.__init__.__globals__ }}", "{{ cycler.__init__ }}", "{{ [1]|random }}", "{{ lipsum() }}", "{{ range }}",
        "{{ lookup('pipe', 'id') }}", "{{ hostvars }}", "{{ '{0.__class__}'.format(env) }}", "{{ env|attr('upper') }}",
    ])},
    **{f"much-{number}": text for number, text in enumerate([
        "{{ range(10**9)|list }}", "{{ 'a' * 10**9 }}", "{{ 10**(10**8) }}", "{{ 'a' * 10**7 }}", "{{ 1 / 0 }}",
        "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
        "{% for a in range(99999) %}{{ 'a' * 1000 }}{% endfor %}", "{{ " + "(" * 20000 + ")" * 20000 + " }}",
        "{% macro a() %}{{ a() }}{% endmacro %}{{ a() }}", "{{ " + "[" * 5000 + "]" * 5000 + " }}",
        "{{ 1" + "+1" * 5000 + " }}", "{{ env" + "|upper" * 5000 + " }}", "{{ env" + ".x" * 5000 + " }}",
        "{% if 1 %}" * 3000 + "{% endif %}" * 3000, "{{ [1]|map('nope')|list }}", "{{ 1e400 * 0 + nope }}",
    ])},
}  # fmt: skip
PLACES = {
    "alone": lambda text: {"templates/x.j2": text},
    "included": lambda text: {"templates/_x.j2": text, "templates/y.j2": "\n{% include '_x.j2' %}\n"},
    "of-an-environment": lambda text: {"templates/x.j2": "", "templates/dev/x.j2": text},
}
CIRCLES = {
    "includes-itself": {"templates/x.j2": "{% include 'y.j2' %}", "templates/y.j2": "{% include 'x.j2' %}"},
    "extends-itself": {"templates/_x": "{% extends '_y' %}", "templates/_y": "{% extends '_x' %}", "templates/z": ""},
}
ORGS = {
    **CIRCLES,
    "definition-that-is-a-wrong-template": {"services/a.tsm.tmpl": f"{RUN}\n{{{{ nope }}}}"},
    "definition-that-became-wrong": {"services/a.tsm.tmpl": "TSM_COMMAND='{{ env }}\n"},
    "definition-twice": {"services/web.tsm.tmpl": RUN},
    "output-twice": {"templates/x": "", "templates/x.j2": ""},
    "no-services": {"services/web.tsm": None},
    "command-missing": {"services/a.tsm": "TSM_PORT=auto\n"},
    "substitution": {"services/a.tsm": "TSM_COMMAND=$(id)\n"},
    "function": {"services/a.tsm": "f() { id; }\n"},
    "here-document": {"services/a.tsm": "cat <<E\nE\n"},
    "quote-open": {"services/a.tsm": "TSM_COMMAND='a\n"},
    "port-too-large": {"services/a.tsm": f"{RUN}TSM_PORT=70000\n"},
    "port-taken-twice": {"services/a.tsm": f"{RUN}TSM_PORT=4000\n", "services/b.tsm": f"{RUN}TSM_PORT=4000\n"},
    "depends-on-nobody": {"services/a.tsm": f"{RUN}TSM_DEPENDS=nobody\n"},
    "depends-in-a-circle": {"services/a.tsm": f"{RUN}TSM_DEPENDS=b\n", "services/b.tsm": f"{RUN}TSM_DEPENDS=a\n"},
    "name-that-is-none": {"services/a b.tsm": RUN},
    "names-that-are-one": {"services/a_b.tsm": RUN, "services/a-b.tsm": RUN},
    "values-that-are-no-toml": {"environments/dev.toml": "[values\n"},
    "values-twice": {"environments/dev.toml": "[values]\na = 1\na = 2\n"},
    "values-that-are-reserved": {"environments/dev.toml": "[values]\nenv = 1\n"},
    "values-that-inherit-in-a-circle": {"environments/dev.toml": 'inherit = "dev"\n'},
    "values-that-inherit-from-nobody": {"environments/dev.toml": 'inherit = "nobody"\n'},
    "values-of-no-service": {"environments/dev.toml": "[services.nobody]\nPORT = 1\n"},
    "values-with-a-secret": {"environments/dev.toml": '[values]\na = "${secret:A}"\n'},
    "values-nested-without-end": {"environments/dev.toml": "[values]\na = " + "[" * 500 + "]" * 500 + "\n"},
    "values-of-ten-megabytes": {"environments/dev.toml": "[values]\na = '" + "x" * 10_000_000 + "'\n",
                                "templates/x.j2": "{{ a }}"},
    "placement-of-nobody": {"org.toml": 'name = "acme"\n[placement]\nnobody = "dev"\n'},
    "name-of-another": {"org.toml": 'name = "other"\n'},
    "org-that-is-no-toml": {"org.toml": "name = \n"},
    "ports-that-are-none": {"ports.toml": '[ports]\nweb = "x"\n'},
    "utf-16": {"services/a.tsm": RUN.encode("utf-16")},
    "nul": {"templates/x.j2": "a\0b"},
}  # fmt: skip


def made() -> dict[str, dict]:
    """Organizations by name: path to what differs from one that is well; None for a file that is not there."""
    templates = {
        f"{name}-{place}": write(f"a\n{text}\n") for name, text in TEMPLATES.items() for place, write in PLACES.items()
    }
    return {**templates, **ORGS}


def test_there_are_enough_of_them():
    assert len(made()) >= 200


@pytest.mark.parametrize("name", list(made())[::ONE_IN])
def test_what_is_wrong_is_said_with_its_place_and_nothing_is_written(tmp_path, monkeypatch, name):
    org = tmp_path / "acme"
    files = {"org.toml": 'name = "acme"\n', "services/web.tsm": RUN, "environments/dev.toml": "", **made()[name]}
    for path, content in files.items():
        if content is not None:
            (org / path).parent.mkdir(parents=True, exist_ok=True)
            (org / path).write_bytes(content if isinstance(content, bytes) else content.encode())
    (tmp_path / "tmp").mkdir()
    monkeypatch.setenv("TMPDIR", os.fspath(tmp_path / "tmp"))
    before = written(tmp_path)
    begun = time.monotonic()
    findings = validation.validate(os.fspath(org), "acme", {"dev": policy.Environment("dev", "dev")}, {})["dev"]
    seconds = time.monotonic() - begun
    errors = [finding for finding in findings if finding.severity == ERROR]
    print(f"{seconds:.2f} s: {errors[0] if errors else 'valid'}"[:300])
    assert errors
    assert all(error.message and (error.file or "/" in error.message or ".toml" in error.message) for error in errors)
    assert not any("Traceback" in str(error) or "process failed" in str(error) for error in errors)
    assert written(tmp_path) == before
    assert seconds < FAR_TOO_LONG


def written(folder: Path) -> dict[str, tuple[int, int]]:
    """All files below a folder, with size and time."""
    return {os.fspath(path): (path.stat().st_size, path.stat().st_mtime_ns) for path in folder.rglob("*")}
