# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rendering templates in a child process that cannot do harm."""

from __future__ import annotations

import os
import time

import pytest
from ansible_collections.tetra.platform.plugins.module_utils.model.errors import TetraError
from ansible_collections.tetra.platform.plugins.plugin_utils import template, template_worker

VALUES = {
    "env": "staging",
    "org": "acme",
    "team": "core",
    "yes": True,
    "no": False,
    "db": {"host": "h", "ports": [1, 2]},
    "services": {"api": {"port": 4100}, "worker": {"port": None}},
}


def render(text, path="templates/x.conf.j2", **values):
    """The output of one template."""
    return template.render({path: text}, {**VALUES, **values})[template.output_path(path)].decode()


def in_process(text, values=None):
    """The output of one template without the child, for what is not about limits."""
    engine = template_worker.environment("staging")
    return template_worker.render(engine, "t", text, values or VALUES)


def problem(text, **values):
    """What is said about a template that is wrong."""
    with pytest.raises(TetraError) as caught:
        render(text, **values)
    assert caught.value.code == "invalid"
    return str(caught.value)


def test_templates_are_rendered_to_their_path_without_suffix():
    sources = {"templates/a.conf.j2": "a={{ team }}\n", "templates/deep/b.conf": "b=é{{ db.ports[1] }}"}
    assert template.render(sources, VALUES) == {
        "templates/a.conf": b"a=core\n",
        "templates/deep/b.conf": "b=é2".encode(),
    }


def test_without_templates_no_process_is_started(monkeypatch):
    monkeypatch.setattr(template.subprocess, "run", None)
    assert template.render({}, VALUES) == {}


def test_two_templates_with_one_output_are_refused():
    with pytest.raises(TetraError, match="templates/a.j2 and templates/a have the same output"):
        template.render({"templates/a.j2": "", "templates/a": ""}, VALUES)


def test_a_variable_that_is_not_defined_is_named_with_file_line_and_environment():
    text = problem("one\ntwo\n\n{{ greeting }}\n")
    assert text.startswith(
        "templates/x.conf.j2:4: variable 'greeting' is not defined for environment staging (define it in [values]"
    )


def test_a_variable_that_was_mistyped_is_told_the_nearest_one():
    assert "did you mean team?" in problem("{{ teem }}")


@pytest.mark.parametrize("text", ["{{ x }}", "{{ x|upper }}", "{% if x %}{% endif %}", "{{#if x}}{{/if}}", "{{ x.y }}",
                                  "{% for a in x %}{% endfor %}", "{{ db.nope }}", "{{ services.web.port }}",
                                  "{{ [x] }}", "{{ {'a': [x]} }}", "{{ [x]|string }}", "{{ [x]|join }}"])
def test_nothing_undefined_passes_in_silence(text):
    with pytest.raises(template_worker.RenderError) as caught:
        in_process(f"\n{text}")
    assert caught.value.line == 2
    assert "staging" in caught.value.message


def test_what_may_be_missing_can_be_tested_for():
    assert in_process("{% if x is defined %}1{% endif %}{{ x|default('2') }}") == "2"


def test_the_errors_of_all_templates_are_said_at_once():
    sources = {"templates/a": "{{ nope }}", "templates/b": "fine", "templates/c": "{% if %}"}
    with pytest.raises(TetraError) as caught:
        template.render(sources, VALUES)
    first, second = str(caught.value).splitlines()
    assert first.startswith("templates/a:1: ")
    assert second.startswith("templates/c:1: ")


@pytest.mark.parametrize(
    ("text", "output"),
    [
        ("{{#if yes}}a{{else}}b{{/if}}", "a"),
        ("{{#if no}}a{{else}}b{{/if}}", "b"),
        ("{{#if no}}a{{/if}}", ""),
        ("{{ #if yes }}a{{ else }}b{{ /if }}", "a"),
        ("{{#if yes}}{{#if no}}a{{else}}b{{/if}}{{else}}c{{/if}}", "b"),
        ("{{#if no}}{{#if yes}}a{{else}}b{{/if}}{{else}}{{#if yes}}c{{/if}}{{/if}}", "c"),
        ("{{#if team == 'core'}}a{{/if}}", "a"),
        ("{{#if db.ports}}{{ db.host }}{{/if}}", "h"),
        ("x\n{{#if yes}}\na\n{{else}}\nb\n{{/if}}\ny\n", "x\na\ny\n"),
        ("{% raw %}{{#if x}}{{else}}{{#each}}{% endraw %}", "{{#if x}}{{else}}{{#each}}"),
        ("a{# {{#if x}} {{#each}} #}b", "ab"),
        ("{{ '#if' }} {{ team }}", "#if core"),
    ],
)
def test_the_if_of_the_roadmap_is_understood(text, output):
    assert in_process(text) == output


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("\n{{#each x}}{{/each}}", 2, "{{#each}} is not known"),
        ("{{#unless x}}{{/unless}}", 1, "{{#unless}} is not known"),
        ("{{#if yes}}\n{{else if no}}\n{{/if}}", 2, "{{else if}} is not known"),
        ("{{#if yes}}\na", 2, "endif"),
        ("a{{/if}}", 1, "endif"),
        ("\n\n{{#if nope}}{{/if}}", 3, "'nope' is not defined"),
    ],
)
def test_an_if_that_is_wrong_is_said_with_its_line(text, line, said):
    with pytest.raises(template_worker.RenderError) as caught:
        in_process(text)
    assert caught.value.line == line
    assert said in caught.value.message


def test_a_block_on_a_line_of_its_own_leaves_no_line_behind():
    assert in_process("a\n  {% if yes %}\n  b\n  {% endif %}\nc\n") == "a\n  b\nc\n"


def test_the_port_of_another_service_can_be_named():
    assert in_process("{{ services.api.port }}") == "4100"


def test_a_port_that_is_not_there_is_not_written_as_none():
    with pytest.raises(template_worker.RenderError, match="without a port"):
        in_process("{{ services.worker.port }}")


@pytest.mark.parametrize("text", ["{{ range }}", "{{ team.upper }}", "{{ cycler }}", "{{ namespace() }}", "{{ self }}",
                                  "{{ [range] }}", "{{ {'a': [team.upper]} }}", "{{ db|items }}"])
def test_only_data_is_written_into_files(text):
    with pytest.raises(template_worker.RenderError):
        in_process(text)


@pytest.mark.parametrize("text", ["{{ lipsum() }}", "{{ [1, 2, 3]|random }}"])
def test_nothing_random_can_be_used(text):
    with pytest.raises(template_worker.RenderError):
        in_process(text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{{ ''.__class__.__mro__ }}", "__class__"),
        ("{{ ''['__class__'] }}", "__class__"),
        ("{{ ''|attr('__class__') }}", "No filter named 'attr'"),
        ("{{ db|attr('host') }}", "No filter named 'attr'"),
        ("{{ [team]|map(attribute='__class__')|list }}", "__class__"),
        ("{{ '{0.__class__.__mro__}'.format(team) }}", "__class__"),
        ("{{ '{x.__class__}'.format_map({'x': team}) }}", "__class__"),
        ("{{ range.__globals__ }}", "__globals__"),
        ("{{ self.__init__.__globals__ }}", None),
        ("{{ cycler.__init__.__globals__.os.popen('id').read() }}", None),
        ("{{ joiner.__init__.__globals__ }}", None),
        ("{{ namespace.__init__ }}", None),
        ("{{ db.update({'x': 1}) }}", "update"),
        ("{{ db.ports.append(1) }}", "append"),
        ("{{ config }}", "config"),
    ],
)
def test_a_way_out_of_the_sandbox_is_refused(text, said):
    with pytest.raises(template_worker.RenderError) as caught:
        in_process(f"\n{text}")
    assert said is None or said in caught.value.message
    assert caught.value.line in (1, 2)


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("{% include '/etc/passwd' %}", "include"),
        ("{% include 'x' ignore missing %}", "include"),
        ("{% import 'x' as y %}", "import"),
        ("{% from 'x' import y %}", "import"),
        ("{% extends 'x' %}", "extends"),
        ("{% if no %}{% include 'x' %}{% endif %}", "include"),
    ],
)
def test_another_file_cannot_be_loaded(text, word):
    with pytest.raises(template_worker.RenderError) as caught:
        in_process(f"a\n{text}")
    assert caught.value.line == 2
    assert f"{word} of another file is not possible" in caught.value.message


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("\n{{ range(10**9)|list }}", "templates/x.conf.j2:2: Range too big"),
        ("\n{{ 'x' * 10**10 }}", "templates/x.conf.j2:2: rendering takes more than 512 MiB"),
        ("{{ 'x' * (5 * 1024 * 1024) }}", "the output is larger than 4194304 bytes"),
        ("{% for i in range(90000) %}{{ 'x' * 1000 }}{% endfor %}", "the output is larger than 4194304 bytes"),
        ("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "nested too deeply"),
        ("{{ 1 / 0 }}", "division by zero"),
        ("{{ '\\ud800' }}", "surrogates"),
        ("{{ team + 1 }}", "str"),
        ("{{ " + "(" * 3000 + "1" + ")" * 3000 + " }}", "templates/x.conf.j2"),
    ],
)
def test_a_template_that_wants_too_much_is_one_clear_error(text, said):
    found = problem(text)
    assert said in found
    assert len(found.splitlines()) == 1


@pytest.mark.parametrize("loop", [
    "{% for a in range(90000) %}{% for b in range(90000) %}{% endfor %}{% endfor %}",
    "{{ 9 ** (9 ** 9) }}",
])
def test_a_template_without_an_end_is_ended(monkeypatch, tmp_path, loop):
    monkeypatch.setattr(template, "_WORKER", _impatient_worker(tmp_path))
    begun = time.monotonic()
    with pytest.raises(TetraError) as caught:
        template.render({"templates/good": "x", "templates/x": f"\n{loop}"}, VALUES)
    # Far more than its time, for the machine may be busy, and far less than for ever.
    assert time.monotonic() - begun < 60
    assert "templates/x" in caught.value.message
    assert "templates/good" not in caught.value.message


def _impatient_worker(folder):
    """The worker with less time, so that the test is short."""
    text = template._WORKER.read_text()
    assert "CPU_SECONDS = 5\n" in text
    copy = folder / "worker.py"
    copy.write_text(text.replace("CPU_SECONDS = 5\n", "CPU_SECONDS = 1\n"))
    return copy


def test_an_endless_loop_is_said_with_its_line(monkeypatch, tmp_path):
    monkeypatch.setattr(template, "_WORKER", _impatient_worker(tmp_path))
    text = problem("\n\n{% for a in range(90000) %}{% for b in range(90000) %}{% endfor %}{% endfor %}")
    assert text.startswith("templates/x.conf.j2:3: rendering takes more than 1 s")


def _worker(folder, code):
    copy = folder / "worker.py"
    begun = "print(json.dumps({'begun': 'templates/x.conf.j2'}), flush=True)"
    copy.write_text(f"import json, sys, time\n{begun}\n{code}")
    return copy


def test_a_child_that_sleeps_is_ended(monkeypatch, tmp_path):
    monkeypatch.setattr(template, "_WORKER", _worker(tmp_path, "time.sleep(60)"))
    monkeypatch.setattr(template, "TIMEOUT", 0.5)
    assert problem("x").startswith("templates/x.conf.j2: rendering was ended, it takes longer than 0.5 s")


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("import os; os.kill(os.getpid(), 9)", "it needs more than"),
        ("sys.exit('broken')", "its process failed: broken"),
    ],
)
def test_a_child_that_dies_is_an_error(monkeypatch, tmp_path, code, said):
    monkeypatch.setattr(template, "_WORKER", _worker(tmp_path, code))
    assert said in problem("x")


def test_the_child_knows_neither_our_environment_nor_our_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("TETRA_CANARY", "secret")
    code = (
        "import os\n"
        "text = json.dumps([sorted(os.environ), os.getcwd(), sys.flags.isolated, sys.flags.no_site])\n"
        "print(json.dumps({'done': 'templates/x.conf.j2', 'text': text}))"
    )
    monkeypatch.setattr(template, "_WORKER", _worker(tmp_path, code))
    assert render("x") == '[["LC_ALL"], "/", 1, 1]'


def test_equal_sources_have_equal_outputs():
    text = "{% for k in db %}{{ k }}{% endfor %}{{ db }}{{ db|tojson }}{{ [3, 1, 3]|unique|list }}"
    assert render(text) == render(text) == in_process(text)


def test_text_that_looks_like_a_template_of_ansible_stays_as_it_is(tmp_path):
    canary = tmp_path / "canary"
    attack = "{{ lookup('pipe', 'touch " + os.fspath(canary) + "') }}"
    assert in_process("{{ x }}", {**VALUES, "x": attack}) == attack
    assert not canary.exists()
