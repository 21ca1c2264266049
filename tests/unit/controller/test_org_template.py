# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""New organizations out of templates: what is asked, what counts as an answer, and which files come of it."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path

import pytest
from ansible_collections.tetra.platform.plugins.module_utils.model import policy
from ansible_collections.tetra.platform.plugins.module_utils.model.errors import TetraError
from ansible_collections.tetra.platform.plugins.plugin_utils import org_template, questions, validation

BUILT_IN = ["services", "shared-infrastructure", "simple", "webapp"]
SERVICE = {"org/services/web.tsm": 'TSM_COMMAND="sleep 1000"\n'}


@pytest.fixture
def make(tmp_path):
    """Write a template: path to text, ``-> target`` for a link; its directory."""

    def write(files: dict, name: str = "mine") -> Path:
        for path, text in {"template.toml": "", **files}.items():
            place = tmp_path / name / path
            place.parent.mkdir(parents=True, exist_ok=True)
            place.symlink_to(text[3:]) if text.startswith("-> ") else place.write_text(text)
        return tmp_path / name

    return write


def problem(directory: Path) -> str:
    with pytest.raises(TetraError) as caught:
        org_template.read(directory)
    return str(caught.value)


def asked(table: str) -> questions.Question:
    return questions.question("it", tomllib.loads(table))


@pytest.mark.parametrize(
    ("table", "given", "answer"),
    [
        ("", "a b", "a b"),
        ("", 4, "4"),
        ('kind = "name"', "shop-1", "shop-1"),
        ('kind = "domain"', "a.example.org", "a.example.org"),
        ('kind = "number"', "12", 12),
        ('kind = "number"\nminimum = -5\nmaximum = 5', -5, -5),
        ('kind = "yes_or_no"', "Yes", True),
        ('kind = "yes_or_no"', False, False),
        ('kind = "choice"\nchoices = ["a", "b"]', "b", "b"),
    ],
)
def test_an_answer_is_kept_in_its_own_type(table, given, answer):
    assert asked(table).check(given) == answer
    assert type(asked(table).check(given)) is type(answer)


@pytest.mark.parametrize(
    ("table", "given", "said"),
    [
        ("", "a\nb", "not a text of one line"),
        ("", "\x1b[2J", "not a text of one line"),
        ("", ["a"], "not a text of one line"),
        ("", "x" * 1001, "longer than 1000"),
        ('kind = "name"', "Shop", "not a name"),
        ('kind = "domain"', "a..b", "not the name of a domain"),
        ('kind = "domain"', "a b; rm", "not the name of a domain"),
        ('kind = "number"', "1.5", "not a whole number"),
        ('kind = "number"', True, "not a whole number"),
        ('kind = "number"\nmaximum = 5', 6, "more than 5"),
        ('kind = "yes_or_no"', "maybe", "neither yes nor no"),
        ('kind = "choice"\nchoices = ["a"]', "b", "not a choice"),
    ],
)
def test_what_is_no_answer_is_told(table, given, said):
    with pytest.raises(TetraError, match=said):
        asked(table).check(given)


def test_everything_that_is_wrong_with_answers_is_said_at_once():
    known = [asked('kind = "number"'), questions.question("other", {"text": "Which?"})]
    with pytest.raises(TetraError) as caught:
        questions.answered(known, {"it": "x", "ot": 1})
    assert str(caught.value).splitlines() == [
        "tetra_answers.ot is not asked (the questions are it, other)",
        'tetra_answers.it "x" is not a whole number (write digits)',
        "tetra_answers.other has no answer: Which? (a text)",
    ]


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({}, "it has no files"),
        ({"template.toml": "x = 1"}, "'x' is not a known key"),
        ({"template.toml": "[questions]\nit = 1"}, "template.toml:2: questions.it: is not a question"),
        ({"template.toml": "[questions.org]\n"}, "questions.org: is not a question"),
        ({"template.toml": "[questions.It]\n"}, "questions.It: is not a question"),
        ({"template.toml": "[questions.it]\nkind = 'x'"}, "'x' is not a kind of answer"),
        ({"template.toml": "[questions.it]\nchoices = ['x']"}, "choices do not go with its kind"),
        ({"template.toml": "[questions.it]\nminimum = 1"}, "minimum and maximum do not go"),
        ({"template.toml": "[questions.it]\nkind = 'number'\ndefault = 'x'"}, "not a whole number"),
        ({"template.toml": "base = 'nobody'"}, "template.toml:1: there is no template nobody"),
        ({"template.toml": "base = '../x'"}, "not a name"),
        ({"template.toml": "base = 'mine'"}, "base is a circle"),
        ({**SERVICE, "org/link": "-> /etc/passwd"}, "org/link: is not a regular file"),
        ({**SERVICE, "org/folder": "-> /etc"}, "org/folder: is not a regular file"),
        ({"org": "-> /etc"}, "is a link"),
        ({**SERVICE, "org/a\x1bb": ""}, "org/a"),
        ({**SERVICE, "org/a": "", "org/a.tmpl": ""}, "a and a.tmpl become the same file"),
    ],
)
def test_a_template_that_is_wrong_is_told(make, files, said):
    assert said in problem(make(files))


def test_a_pipe_is_no_file_of_a_template(make):
    directory = make(SERVICE)
    os.mkfifo(directory / "org" / "pipe")
    assert "org/pipe: is not a regular file" in problem(directory)


def test_files_of_a_template_go_on_top_of_those_of_its_base(make):
    question = "[questions.one]\ndefault = 'x'"
    make({"org/a": "base", "org/b": "base", "org/c.tmpl": "base", "template.toml": question}, "ground")
    directory = make({"org/b.tmpl": "{{ org }} {{ one }} {{ two }}", "org/c": "own", "org/run.sh": "", "template.toml":
                      "base = 'ground'\n[questions.two]\nkind = 'yes_or_no'"})  # fmt: skip
    (directory / "org" / "run.sh").chmod(0o755)
    found = org_template.read(directory)
    answers = questions.answered(found.questions, {"two": "yes"})
    files = org_template.render(found, "shop", answers)
    assert (files["a"], files["b"], files["c"]) == ((b"base", False), (b"shop x True", False), (b"own", False))
    assert files["run.sh"] == (b"", True)
    assert tomllib.loads(files["org.toml"][0].decode()) == {
        "name": "shop", "origin": {"template": "mine", "digest": found.digest, "answers": {"one": "x", "two": True}},
    }  # fmt: skip


def test_what_a_template_names_and_nobody_asked_is_told_with_its_place(make):
    found = org_template.read(make({"org/a.tmpl": "\n{{ nope }}{{ lookup('pipe', 'id') }}"}))
    with pytest.raises(TetraError) as caught:
        org_template.render(found, "shop", {})
    assert [line.partition(" (")[0] for line in str(caught.value).splitlines()] == [
        "a.tmpl:2:4: variable 'nope' is not defined", "a.tmpl:2:14: variable 'lookup' is not defined",
    ]  # fmt: skip


def test_a_template_has_another_digest_when_anything_of_it_changed(make):
    directory = make(SERVICE)
    digests = [org_template.read(directory).digest]
    for change in (lambda: (directory / "org" / "x").write_text(""), lambda: (directory / "org" / "x").chmod(0o755),
                   lambda: (directory / "template.toml").write_text("[questions.it]\n")):  # fmt: skip
        change()
        digests.append(org_template.read(directory).digest)
    assert len(set(digests)) == 4


def test_a_template_that_nobody_knows_is_told_the_nearest_one(tmp_path):
    with pytest.raises(TetraError, match=r"did you mean webapp\? there are services, shared-infrastructure, simple"):
        org_template.find("webap")
    assert org_template.find("simple") == org_template.BUILT_IN / "simple"


@pytest.mark.parametrize("name", BUILT_IN)
@pytest.mark.parametrize("odd", [False, True], ids=["defaults", "odd"])
def test_an_organization_of_a_built_in_template_is_valid_without_a_remark(tmp_path, name, odd):
    found = org_template.read(org_template.find(name))
    texts = [question.name for question in found.questions if question.kind == "text"]
    given = dict.fromkeys(texts, "'\"\\ {{ 1 }} ${x} $(id) <b> # é ]]") if odd else {}
    switches = {question.name: odd for question in found.questions if question.kind == "yes_or_no"}
    files = org_template.render(found, "shop", questions.answered(found.questions, {**given, **switches}))
    org_template.write(files, tmp_path / "shop")
    environments = policy.environments({env: {} for env in ("dev", "staging", "prod")}, {"dev", "staging", "prod"})
    assert validation.validate(os.fspath(tmp_path / "shop"), "shop", environments, {}) == {
        "dev": [], "staging": [], "prod": [],
    }  # fmt: skip
    if odd:
        recorded = tomllib.loads((tmp_path / "shop" / "org.toml").read_text())["origin"]["answers"]
        assert {recorded[one] for one in texts} == {given[texts[0]]}


def test_there_are_as_many_built_in_templates_as_are_named():
    assert sorted(path.name for path in org_template.BUILT_IN.iterdir()) == BUILT_IN
