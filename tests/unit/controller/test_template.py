# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rendering templates in a child process that cannot do harm."""

from __future__ import annotations

import os
import time

import pytest
from ansible_collections.tetra.platform.plugins.module_utils.model.errors import TetraError
from ansible_collections.tetra.platform.plugins.plugin_utils import template, template_layers, template_worker

VALUES = {
    "env": "staging",
    "org": "acme",
    "team": "core",
    "yes": True,
    "no": False,
    "db": {"host": "h", "ports": [1, 2]},
    "services": {"api": {"port": 4100}, "worker": {"port": None}},
}


def render_all(sources, own=("staging",), **values):
    """The outputs of templates: path in the release to text."""
    layers, findings = template_layers.layers(sources, own, ("staging", "prod", "dev"))
    assert findings == []
    texts = {path: sources[path] for path in layers.paths}
    rendered = template.render(layers, texts, {**VALUES, **values})
    return {path: content.decode() for path, content in rendered.files.items()}


def render(text, path="templates/x.conf.j2", **values):
    """The output of one template."""
    return render_all({path: text}, **values)[template_layers.output_path(path)]


def in_process(text, values=None, trim=True):
    """The output of one template without the child, for what is not about limits."""
    return template_worker.Templates({"t": text}, [""], "staging", trim).render("t", values or VALUES)


def problem_of(text, values=None):
    """The only thing that is wrong with a template."""
    with pytest.raises(template_worker.ProblemsError) as caught:
        in_process(text, values)
    (found,) = caught.value.problems
    return found


def problem(text, **values):
    """What is said about a template that is wrong."""
    with pytest.raises(TetraError) as caught:
        render(text, **values)
    assert caught.value.code == "invalid"
    return str(caught.value)


def test_templates_are_rendered_to_their_path_without_suffix():
    sources = {"templates/a.conf.j2": "a={{ team }}\n", "templates/deep/b.conf": "b=é{{ db.ports[1] }}"}
    assert render_all(sources) == {"templates/a.conf": "a=core\n", "templates/deep/b.conf": "b=é2"}


def test_without_templates_no_process_is_started(monkeypatch):
    monkeypatch.setattr(template.subprocess, "run", None)
    assert render_all({}) == {}


def test_a_variable_that_is_not_defined_is_named_with_file_line_and_environment():
    text = problem("one\ntwo\n\n{{ greeting }}\n")
    assert text.startswith(
        "templates/x.conf.j2:4:4: variable 'greeting' is not defined for environment staging (define it in [values]"
    )


def test_a_variable_that_was_mistyped_is_told_the_nearest_one():
    assert "did you mean team?" in problem("{{ teem }}")


@pytest.mark.parametrize("text", ["{{ x }}", "{{ x|upper }}", "{% if x %}{% endif %}", "{{#if x}}{{/if}}", "{{ x.y }}",
                                  "{% for a in x %}{% endfor %}", "{{ db.nope }}", "{{ services.web.port }}",
                                  "{{ [x] }}", "{{ {'a': [x]} }}", "{{ [x]|string }}", "{{ [x]|join }}"])
def test_nothing_undefined_passes_in_silence(text):
    found = problem_of(f"\n{text}")
    assert found.line == 2
    assert "staging" in found.message


def test_what_may_be_missing_can_be_tested_for():
    assert in_process("{% if x is defined %}1{% endif %}{{ x|default('2') }}") == "2"


def test_the_errors_of_all_templates_are_said_at_once():
    sources = {"templates/a": "{{ nope }}", "templates/b": "fine", "templates/c": "{% if %}"}
    with pytest.raises(TetraError) as caught:
        render_all(sources)
    first, second = str(caught.value).splitlines()
    assert first.startswith("templates/a:1:4: ")
    assert second.startswith("templates/c:1:1: ")


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
    with pytest.raises(template_worker.ProblemsError) as caught:
        in_process(text)
    assert caught.value.problems[0].line == line
    assert said in caught.value.problems[0].message


def test_a_block_on_a_line_of_its_own_leaves_no_line_behind():
    assert in_process("a\n  {% if yes %}\n  b\n  {% endif %}\nc\n") == "a\n  b\nc\n"


def test_the_port_of_another_service_can_be_named():
    assert in_process("{{ services.api.port }}") == "4100"


def test_a_port_that_is_not_there_is_not_written_as_none():
    with pytest.raises(template_worker.ProblemsError, match="without a port"):
        in_process("{{ services.worker.port }}")


@pytest.mark.parametrize("text", ["{{ range }}", "{{ team.upper }}", "{{ cycler }}", "{{ namespace() }}", "{{ self }}",
                                  "{{ [range] }}", "{{ {'a': [team.upper]} }}", "{{ db|items }}"])
def test_only_data_is_written_into_files(text):
    with pytest.raises(template_worker.ProblemsError):
        in_process(text)


@pytest.mark.parametrize("text", ["{{ lipsum() }}", "{{ [1, 2, 3]|random }}"])
def test_nothing_random_can_be_used(text):
    with pytest.raises(template_worker.ProblemsError):
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
    with pytest.raises(template_worker.ProblemsError) as caught:
        in_process(f"\n{text}")
    assert said is None or said in caught.value.problems[0].message
    assert caught.value.problems[0].line in (1, 2)


def problems_of(sources, **values):
    """Everything that is wrong with templates: file, line, column and the first words."""
    with pytest.raises(TetraError) as caught:
        render_all(sources, **values)
    return [(one.file.removeprefix("templates/"), one.line, one.column, one.message) for one in caught.value.findings]


def test_all_that_is_wrong_with_a_template_is_said_at_once():
    text = "{{ a }} {{ team }}\n{% if b %}{{ c|shout }}{% endif %}\n{{ b }}{{ db.d }}{{ team is odder }}\n"
    assert problems_of({"templates/x": text}) == [
        ("x", 2, 16, "No filter named 'shout'"),
        ("x", 3, 29, "No test named 'odder'"),
    ]
    text = text.replace("|shout", "").replace(" is odder", "")
    assert problems_of({"templates/x": text}) == [
        ("x", 1, 4, "variable 'a' is not defined for environment staging"),
        ("x", 2, 7, "variable 'b' is not defined for environment staging"),
        ("x", 3, 4, "variable 'b' is not defined for environment staging"),
        ("x", 3, 14, "'d' is not in that table, for environment staging"),
    ]


def test_what_follows_from_a_missing_variable_is_not_said_as_well():
    assert [one[3] for one in problems_of({"templates/x": "{{ a.b.c[0](1) + 2 }}{{ a|tojson }}{{ 1 / a }}"})] == [
        "variable 'a' is not defined for environment staging"
    ]


BASE = "top\n{% block main %}base {{ team }}{% endblock %}\n"


@pytest.mark.parametrize(
    ("sources", "expected"),
    [
        ({"_base": BASE, "x": "{% extends '_base' %}{% block main %}own, {{ super() }}{% endblock %}"},
         {"x": "top\nown, base core"}),
        ({"x.j2": BASE, "staging/x.j2": "{% extends 'x.j2' %}{% block main %}staging{% endblock %}"},
         {"x": "top\nstaging"}),
        ({"_base": BASE, "staging/_base": "other {% block main %}{% endblock %}", "x": "{% extends '_base' %}"},
         {"x": "other "}),
        ({"_part": "[{{ team }}]", "x": "{% include '_part' %}", "y": "{% include 'staging/_part' ignore missing %}"},
         {"x": "[core]", "y": ""}),
        ({"_m": "{% macro two(a) %}{{ a }}{{ a }}{% endmacro %}", "x": "{% from '_m' import two %}{{ two(team) }}"},
         {"x": "corecore"}),
        ({"prod/x": "{{ nope", "x": "1"}, {"x": "1"}),
    ],
)
def test_templates_stand_on_one_another(sources, expected):
    rendered = render_all({f"templates/{path}": text for path, text in sources.items()})
    assert {path.removeprefix("templates/"): text for path, text in rendered.items()} == expected


def test_what_is_wrong_with_a_shared_template_is_said_once_and_where_it_is():
    sources = {"templates/_base": "\n{{ nope }}", "templates/x": "{% extends '_base' %}",
               "templates/y": "{% include '_base' %}"}
    assert problems_of(sources) == [("_base", 2, 4, "variable 'nope' is not defined for environment staging")]


@pytest.mark.parametrize(
    ("text", "column", "said"),
    [
        ("{% include '/etc/passwd' %}", 13, "there is no template '/etc/passwd'"),
        ("{% include '../org.toml' %}", 13, "there is no template '../org.toml'"),
        ("{% import 'x' as y %}", 12, "there is no template 'x'"),
        ("{% from 'y' import y %}", 10, "there is no template 'y'"),
        ("{% extends 'prod/z' %}", 13, "there is no template 'prod/z'"),
        ("{% if no %}{% include 'y' %}{% endif %}", 24, "there is no template 'y'"),
        ("{% include team %}", 1, "the name of another template is not known before"),
        ("{% extends ['a', team] %}", 1, "the name of another template is not known before"),
    ],
)
def test_nothing_but_templates_of_the_organization_can_be_loaded(text, column, said):
    found = problems_of({"templates/x": f"a\n{text}", "templates/prod/z": ""})
    assert found == [("x", 2, column, said)]


def test_templates_that_load_each_other_in_a_circle_are_named():
    sources = {"templates/a": "{% include 'b' %}", "templates/b": "{% if no %}{% extends 'c' %}{% endif %}",
               "templates/c": "{% import 'a' as a %}"}
    text = "the templates load each other in a circle: templates/a -> templates/b -> templates/c -> templates/a"
    assert problems_of(sources) == [("a", 0, 0, text)]


def test_without_trimming_lines_keep_their_numbers():
    assert in_process("a\n  {% if yes %}\nb\n{% endif %}\n", trim=False) == "a\n  \nb\n\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("\n{{ range(10**9)|list }}", "templates/x.conf.j2:2:1: Range too big"),
        ("\n{{ 'x' * 10**10 }}", "templates/x.conf.j2:2:1: rendering takes more than 512 MiB"),
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
def test_a_template_without_an_end_is_ended(loop):
    begun = time.monotonic()
    with pytest.raises(TetraError) as caught:
        render_all({"templates/good": "x", "templates/x": f"\n{loop}"})
    # Far more than its time, for the machine may be busy, and far less than for ever.
    assert time.monotonic() - begun < 60
    assert "templates/x" in caught.value.message
    assert "templates/good" not in caught.value.message


def test_an_endless_loop_is_said_with_its_line():
    text = problem("\n\n{% for a in range(90000) %}{% for b in range(90000) %}{% endfor %}{% endfor %}")
    assert text.startswith("templates/x.conf.j2:3:1: rendering takes more than 1.02 s of a processor")


def _worker(folder, code):
    copy = folder / "worker.py"
    begun = "print(json.dumps({'begun': 'templates/x.conf.j2'}), flush=True)"
    copy.write_text(f"import json, sys, time\n{begun}\n{code}")
    return copy


def test_a_child_that_sleeps_is_ended(monkeypatch, tmp_path):
    monkeypatch.setattr(template, "_WORKER", _worker(tmp_path, "time.sleep(60)"))
    monkeypatch.setattr(template, "TIMEOUT", 0.5)
    assert problem("x").startswith("templates/x.conf.j2: rendering was ended, it takes longer than 1.52 s")


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
        "print(json.dumps({'done': 'templates/x.conf.j2', 'text': text, 'names': []}))\n"
        "print(json.dumps({'problems': []}))"
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
