# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is written twice says the same: defaults, argument specs, tasks, playbooks, documentation and the README.

Whether a module's documentation is that of its argument spec is for ansible-test, see `tests/ansible_test sanity`.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parent.parent.parent
COLLECTION = "ansible_collections.tetra.platform"
README = (ROOT / "README.md").read_text(encoding="utf-8")

ROLES = sorted(path.name for path in ROOT.glob("roles/*") if path.is_dir())
PLAYBOOKS = sorted(path.stem for path in ROOT.glob("playbooks/*.yml"))
ACTIONS = sorted(path.stem for path in ROOT.glob("plugins/action/*.py"))
FILTERS = sorted(path.stem for path in ROOT.glob("plugins/filter/*.py"))

# What tasks and actions tell each other, and callers: nobody sets them.
RESULTS = {"tetra_outcome", "tetra_result"}


def load(path: str):
    """A file of YAML, or nothing where there is none."""
    place = ROOT / path
    return yaml.safe_load(place.read_text(encoding="utf-8")) if place.exists() else {}


def texts(*patterns: str) -> str:
    """All files of some patterns as one text."""
    return "\n".join(path.read_text(encoding="utf-8") for pattern in patterns for path in sorted(ROOT.glob(pattern)))


def specs(role: str) -> dict[str, dict]:
    """Entry point of a role to its options."""
    record = load(f"roles/{role}/meta/argument_specs.yml")["argument_specs"]
    return {name: spec["options"] for name, spec in record.items()}


def mappings(node) -> list[dict]:
    """All mappings in some YAML, however deep."""
    below = node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
    return ([node] if isinstance(node, dict) else []) + [found for item in below for found in mappings(item)]


def made(text: str) -> set[str]:
    """The variables that tasks make themselves."""
    return set(re.findall(r"\b(?:register|loop_var): (\w+)", text))


def entries(playbook: str) -> set[tuple[str, str]]:
    """The role and the entry point of each use of a role in a playbook; a template may be any."""
    found = set()
    for mapping in mappings(load(f"playbooks/{playbook}.yml")):
        for key in ("ansible.builtin.import_role", "ansible.builtin.include_role"):
            if key in mapping:
                found.add((mapping[key]["name"], mapping[key].get("tasks_from", "main")))
        found |= {(role["role"], "main") for role in mapping.get("roles", [])}
    return {(name.removeprefix("tetra.platform."), entry) for name, entry in found}


def documentation(module: str) -> dict[str, dict]:
    """The options of a module, with those of the fragments that it extends."""
    record = yaml.safe_load(constant(f"plugins/modules/{module}.py", "DOCUMENTATION"))
    options = dict(record.get("options") or {})
    for fragment in record.get("extends_documentation_fragment", []):
        _collection, file, *name = fragment.removeprefix("tetra.").split(".")
        text = constant(f"plugins/doc_fragments/{file}.py", (name or ["documentation"])[0].upper())
        options |= yaml.safe_load(text).get("options", {})
    return options


def constant(path: str, name: str) -> str:
    """The text that a file assigns to a name."""
    for node in ast.walk(ast.parse((ROOT / path).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Assign) and [getattr(target, "id", "") for target in node.targets] == [name]:
            return ast.literal_eval(node.value)
    raise AssertionError(f"{path} has no {name}")


def test_there_is_something_to_compare():
    assert {"health", "org", "tsm"} <= set(ROLES)
    assert len(PLAYBOOKS) > 10 < len(ACTIONS)
    assert FILTERS


@pytest.mark.parametrize("role", ROLES)
def test_defaults_of_a_role_are_those_of_its_argument_specs(role):
    defaults = load(f"roles/{role}/defaults/main.yml")
    said = [(name, option["default"]) for options in specs(role).values() for name, option in options.items()
            if "default" in option]
    assert {name for name, _default in said} == set(defaults)
    assert [(name, default) for name, default in said if default != defaults[name]] == []


@pytest.mark.parametrize("role", ROLES)
def test_an_option_means_the_same_at_every_entry_point(role):
    said = [(name, option) for options in specs(role).values() for name, option in options.items()]
    assert all(option == dict(said)[name] for name, option in said)


@pytest.mark.parametrize("role", ROLES)
def test_tasks_use_the_options_of_their_role_and_no_other(role):
    tasks = texts(f"roles/{role}/tasks/*.yml", f"roles/{role}/vars/*.yml")
    own = made(tasks) | set(load(f"roles/{role}/vars/main.yml"))
    # A module may have a name that begins like that; it stands behind a dot.
    used = set(re.findall(rf"(?<![\w.]){role}_\w+", tasks)) - own
    assert used == {name for options in specs(role).values() for name in options}


@pytest.mark.parametrize("role", ROLES)
def test_every_entry_point_has_its_tasks_and_every_option_its_place_in_the_readme(role):
    assert [name for name in specs(role) if not (ROOT / "roles" / role / "tasks" / f"{name}.yml").exists()] == []
    options = {name for spec in specs(role).values() for name in spec}
    assert [name for name in sorted(options) if f"`{name}`" not in README] == []


@pytest.mark.parametrize("playbook", PLAYBOOKS)
def test_a_playbook_has_a_name_that_ansible_finds_and_enters_roles_where_they_have_a_spec(playbook):
    assert re.fullmatch(r"[a-z][a-z0-9_]*", playbook)
    assert f"{playbook}.yml" in README
    assert entries(playbook)
    for role, entry in entries(playbook):
        assert entry in specs(role) or entry == "{{ org_action }}"


def test_whatever_is_asked_for_is_an_entry_point_and_the_request_knows_it():
    actions = specs("org")["request"]["org_action"]["choices"]
    assert set(actions) <= set(specs("org"))
    assert actions == documentation("deploy_request")["action"]["choices"]


def test_the_readme_has_the_variables_that_are_read_and_no_other():
    code = texts("roles/*/*/*.yml", "playbooks/*.yml", "plugins/action/*.py", "plugins/plugin_utils/*.py")
    read = set(re.findall(r"\btetra_[a-z_]+\b", code)) - made(code) - RESULTS
    assert read == set(re.findall(r"\btetra_[a-z_]+\b", README)) - RESULTS


@pytest.mark.parametrize("action", ACTIONS)
def test_an_action_reads_what_its_module_documents(action):
    options = documentation(action)
    source = (ROOT / f"plugins/action/{action}.py").read_text(encoding="utf-8")
    demanded = set(re.findall(r'_task\.args\["(\w+)"\]', source))
    assert demanded <= {name for name, option in options.items() if option.get("required")}
    assert set(re.findall(r'_task\.args\.get\("(\w+)"', source)) <= set(options)


@pytest.mark.parametrize("name", FILTERS)
def test_a_filter_takes_what_it_documents(name):
    record = load(f"plugins/filter/{name}.yml")
    filters = importlib.import_module(f"{COLLECTION}.plugins.filter.{name}").FilterModule().filters()
    assert list(filters) == [record["DOCUMENTATION"]["name"]] == [name]
    _first, *further = inspect.signature(filters[name]).parameters
    assert {"_input", *further} == set(record["DOCUMENTATION"]["options"])
    assert record["EXAMPLES"]
    assert record["RETURN"]["_value"]
