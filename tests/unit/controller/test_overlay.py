# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the files of an environment say together."""

from __future__ import annotations

import pytest
from ansible_collections.tetra.platform.plugins.plugin_utils import overlay, source


@pytest.fixture
def read(make_org):
    """Read an environment from the texts of its files."""

    def environment(files, env="dev", **options):
        paths = {f"environments/{name}.toml": text for name, text in files.items()}
        return overlay.environment_values(source.read(make_org(paths)), env, **options)

    return environment


def errors(found):
    """What is wrong, as lines."""
    return [str(finding) for finding in found.findings if finding.severity == "error"]


def test_an_environment_stands_on_base_unless_it_says_otherwise(read):
    found = read({"base": "[values]\na = 1\nb = 1", "dev": "[values]\nb = 2"})
    assert found.values == {"a": 1, "b": 2}
    assert found.findings == ()


@pytest.mark.parametrize(
    ("inherit", "values"),
    [('"base"', {"a": 1, "d": 1}), ('"other"', {"a": 1, "o": 1, "d": 1}), ('""', {"d": 1})],
)
def test_inherit_says_which_file_lies_below(read, inherit, values):
    files = {
        "base": "[values]\na = 1",
        "other": "[values]\no = 1",
        "dev": f"inherit = {inherit}\n[values]\nd = 1",
    }
    assert read(files).values == values


def test_a_chain_of_files_is_followed_to_its_end(read):
    files = {name: f'inherit = "{below}"\n[values]\n{name} = 1\nwho = "{name}"' for name, below in
             (("dev", "b"), ("b", "c"), ("c", ""))}
    assert read(files).values == {"dev": 1, "b": 1, "c": 1, "who": "dev"}


@pytest.mark.parametrize(
    ("files", "place", "said"),
    [
        ({"dev": 'inherit = "dev"'}, "environments/dev.toml:1", "circle"),
        ({"dev": '\ninherit = "b"', "b": 'inherit = "dev"'}, "environments/b.toml:1", "circle"),
        ({"dev": 'inherit = "bse"', "base": ""}, "environments/dev.toml:1", 'such as "base"'),
        ({"dev": 'inherit = "../org"'}, "environments/dev.toml:1", "no such file"),
        ({"dev": "inherit = 5"}, "environments/dev.toml:1", "no such file"),
    ],
)
def test_an_inheritance_that_cannot_be_is_refused(read, files, place, said):
    (error,) = errors(read(files))
    assert error.startswith(place)
    assert said in error


@pytest.mark.parametrize(("files", "values"), [({"base": "[values]\na = 1"}, {"a": 1}), ({}, {})])
def test_an_environment_without_a_file_has_the_values_of_base(read, files, values):
    found = read(files)
    assert found.values == values
    assert found.findings == ()


def test_a_missing_file_is_remarked_on_when_other_environments_have_one(read):
    (finding,) = read({"staging": "", "base": ""}).findings
    assert finding.severity == "warning"
    assert "no file for environment dev" in finding.message


def test_an_alias_may_name_the_file(read):
    assert read({"production": "[values]\na = 1"}, "prod").values == {"a": 1}
    assert read({"production": "[values]\na = 1"}, "prod", aliases={}).values == {}


def test_a_file_for_the_name_and_one_for_its_alias_are_one_too_many(read):
    (error,) = errors(read({"production": "", "prod": ""}, "prod"))
    assert "environments/prod.toml and environments/production.toml" in error


def test_tables_are_merged_and_lists_are_replaced(read):
    found = read({
        "base": "[values]\nlist = [1, 2]\n[values.db]\nhost = 'a'\nport = 1\n[values.db.pool]\nsize = 1\nmax = 2",
        "dev": "[values]\nlist = [3]\n[values.db]\nhost = 'b'\n[values.db.pool]\nsize = 9",
    })
    assert found.values == {"list": [3], "db": {"host": "b", "port": 1, "pool": {"size": 9, "max": 2}}}


def test_a_scalar_is_known_to_definitions_as_text(read):
    found = read({"dev": "[values]\ns = 'x'\ni = 5\nf = 1.5\nb = true\nd = 2024-01-31\nt = [1]\n[values.n]\nx = 1"})
    assert found.variables() == {"s": "x", "i": "5", "f": "1.5", "b": "true", "d": "2024-01-31"}


def test_variables_of_the_environment_are_texts_with_their_references_replaced(read):
    found = read({"dev": """
[values]
name = "x"
[environment]
N = 5
B = false
S = "a-${secret:S_1}"
V = "${name}/${TETRA_RELEASE_DIR}"
"""})
    assert found.environment == {
        "N": "5",
        "B": "false",
        "S": ["a-", {"secret": "S_1"}],
        "V": ["x/", {"var": "TETRA_RELEASE_DIR"}],
    }
    assert found.findings == ()


@pytest.mark.parametrize("text", ["pa$word", "$HOME", "^a$", "$(id)", "`id`", "{{ x }}", "$${x", "a\\n"])
def test_any_other_dollar_is_a_dollar(read, text):
    assert read({"dev": f"[environment]\nX = '{text}'"}).environment == {"X": text}


def test_a_reference_to_something_unknown_is_remarked_on(read):
    (finding,) = read({"dev": "[environment]\n\nX = '${nope}'"}).findings
    assert (finding.severity, finding.file, finding.line) == ("warning", "environments/dev.toml", 3)


def test_keys_of_a_service_are_found_with_and_without_their_prefix(read):
    found = read({
        "base": "[services.api]\nTSM_PORT = 1\nCOMMAND = 'x'\nGREETING = 'hi'",
        "dev": "[services.api]\nPORT = '8000+'\n[services.My_Web]\nDEPENDS = ['api', 'db']\nAUTOSTART = false",
    })
    assert found.services == {
        "api": {"TSM_PORT": "8000+", "TSM_COMMAND": "x", "GREETING": "hi"},
        "my-web": {"TSM_DEPENDS": "api db", "TSM_AUTOSTART": "false"},
    }
    assert found.place("services", "api", "TSM_PORT") == ("environments/dev.toml", 2)
    assert found.place("services", "api", "TSM_COMMAND") == ("environments/base.toml", 3)
    assert found.place("services", "my-web", "TSM_AUTOSTART") == ("environments/dev.toml", 5)


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("[values]\ntoken = '${secret:T}'", 2, "a secret cannot stand here"),
        ("[values]\n\nx = [['u ${secret:T}']]", 3, "a secret cannot stand here"),
        ("[values.deep]\nx = '${secret:T}'", 1, "a secret cannot stand here"),
        ("[values]\nenv = 'x'", 2, "given by tetra"),
        ("[values]\nservices = 'x'", 2, "given by tetra"),
        ("[values]\nHOME = 'x'", 2, "given by tetra"),
        ("[values]\nx = nan", 2, "not a number"),
        ("[values]\nx = -inf", 2, "not a number"),
        ("values = 5", 1, "values is not a table"),
        ("environment = []", 1, "environment is not a table"),
        ("[environment]\n1X = 'a'", 2, "not a name of a variable"),
        ("[environment]\n\nTSM_PORT = 1", 3, "key of a definition"),
        ("[environment]\nPORT = 1", 2, "set by tetra itself"),
        ("[environment]\nTETRA_ENV = 'x'", 2, "set by tetra itself"),
        ("[environment]\nX = {a = 1}", 2, "neither a text nor a number"),
        ("[environment]\nX = '${secret:a b}'", 2, "secret"),
        ("[environment]\nX = '${secret:A'", 2, "secret"),
        ("[services]\napi = 5", 2, "is not a table"),
        ("[services.api]\nPORT = 1\nTSM_PORT = 2", 3, "the same key"),
        ("[services.api]\nNAME = 'x'", 2, "cannot rename"),
        ("[services.api]\nTETRA_X = 'x'", 2, "set by tetra itself"),
    ],
)
def test_what_cannot_be_is_an_error_with_its_place(read, text, line, said):
    (error,) = errors(read({"dev": text}))
    assert error.startswith(f"environments/dev.toml:{line}: ")
    assert said in error


def test_values_that_are_nested_too_deeply_are_an_error(read):
    (error,) = errors(read({"dev": f"values.x = {'[' * 100}{']' * 100}"}))
    assert "nested too deeply" in error


def test_what_is_not_toml_is_an_error_with_its_place(read):
    (error,) = errors(read({"dev": "[values]\na = 'x"}))
    assert error.startswith("environments/dev.toml")


def test_an_unknown_key_is_remarked_on_with_the_nearest_one(read):
    (finding,) = read({"dev": "[value]\na = 1"}).findings
    assert (finding.severity, finding.line) == ("warning", 1)
    assert "did you mean values?" in finding.hint


def test_errors_are_collected(read):
    found = read({"dev": "[environment]\n1X = 'a'\nPORT = 1", "base": "[values]\nenv = 1"})
    assert len(errors(found)) == 3
