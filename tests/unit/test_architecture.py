# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The house of docs/architecture.md as a test: which layer may import which, and what every file must have."""

from __future__ import annotations

import ast
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parent.parent.parent
COLLECTION = "ansible_collections.tetra.platform"
HEADER = ["# Copyright: tetra.platform contributors", "# SPDX-License-Identifier: GPL-3.0-or-later"]

MODEL = "plugins.module_utils.model"
HOST = "plugins.module_utils.host"
OPERATIONS = f"{HOST}.operations"
BRIDGE = "plugins.module_utils.bridge"
PLUGIN_UTILS = "plugins.plugin_utils"

# Layer to the layers that it may import. A file belongs to the longest name that its own module name starts with.
ARROWS = {
    MODEL: {MODEL},
    HOST: {HOST, MODEL},
    BRIDGE: {HOST, MODEL},
    "plugins.modules": {BRIDGE, OPERATIONS},
    PLUGIN_UTILS: {PLUGIN_UTILS, MODEL},
    "plugins.action": {PLUGIN_UTILS, MODEL},
    "plugins.callback": {PLUGIN_UTILS, MODEL},
    "plugins.filter": {PLUGIN_UTILS, MODEL},
    "plugins.inventory": {PLUGIN_UTILS, MODEL},
    "plugins.doc_fragments": set(),
}

# What of the standard library can neither see nor change the world outside.
PURE = {
    "__future__", "abc", "base64", "bisect", "collections", "copy", "dataclasses", "decimal", "difflib", "enum",
    "fnmatch", "fractions", "functools", "hashlib", "heapq", "hmac", "ipaddress", "itertools", "json", "math",
    "numbers", "operator", "posixpath", "re", "shlex", "string", "struct", "textwrap", "types", "typing",
    "unicodedata", "urllib.parse",
}  # fmt: skip
EFFECTS = {"__import__", "breakpoint", "eval", "exec", "input", "open", "print"}

# Layer to what it may import beside the standard library and the collection.
FOREIGN = {
    BRIDGE: {"ansible.module_utils.basic"},
    PLUGIN_UTILS: {"ansible", "jinja2", "markupsafe", "yaml"},
    "plugins.action": {"ansible"},
    "plugins.callback": {"ansible"},
    "plugins.filter": {"ansible"},
    "plugins.inventory": {"ansible"},
}


def is_in(module: str, package: str) -> bool:
    """Whether a module is a package or something in it."""
    return module == package or module.startswith(f"{package}.")


def longest(module: str, names) -> str | None:
    """The longest of some package names that a module is in."""
    return max((name for name in names if is_in(module, name)), key=len, default=None)


def imported(module: str, tree: ast.AST) -> list[tuple[int, str, bool]]:
    """What a file imports, wherever in it: line, full name, and whether it was written as a relative import."""
    result = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            result += [(node.lineno, name.name, False) for name in node.names]
        elif isinstance(node, ast.ImportFrom):
            parents = [COLLECTION, *module.split(".")]
            base = ".".join(".".join(parents).split(".")[: -node.level]) if node.level else ""
            start = ".".join(part for part in (base, node.module) if part)
            result += [(node.lineno, f"{start}.{name.name}", node.level > 0) for name in node.names]
    return result


def violations(path: str, source: str) -> list[str]:
    """What a file of plugins/ does that its layer must not."""
    module = path.removesuffix(".py").replace("/", ".").removesuffix(".__init__")
    layer = longest(module, ARROWS)
    if layer is None:
        return [f"{path}: no layer of the architecture is at this place"]
    tree = ast.parse(source)
    found = []
    for line, name, relative in imported(module, tree):
        problem = import_problem(module, layer, name, relative)
        found += [f"{path}:{line}: {problem}"] if problem else []
    return found + call_violations(path, module, layer, tree)


def import_problem(module: str, layer: str, name: str, relative: bool) -> str | None:
    """Why a layer must not import something, or None."""
    if is_in(name, COLLECTION):
        if is_in(module, "plugins.module_utils") and not relative:
            return f"imports {name} absolutely; the agent has these files under another name"
        target = name[len(COLLECTION) + 1 :]
        return None if longest(target, ARROWS[layer]) else f"{layer} must not import {target}"
    if layer == MODEL:
        return None if longest(name, PURE) else f"the model is pure and must not import {name}"
    if name.split(".")[0] in sys.stdlib_module_names or longest(name, FOREIGN.get(layer, ())):
        return None
    return f"{layer} must not import {name}"


def call_violations(path: str, module: str, layer: str, tree: ast.AST) -> list[str]:
    """Effects without an import in the model, and imports at run time in what is shipped to hosts."""
    names = EFFECTS if layer == MODEL else {"__import__", "import_module"}
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and is_in(module, "plugins.module_utils"):
            name = getattr(node.func, "id", None) or getattr(node.func, "attr", None)
            bare = isinstance(node.func, ast.Name) or layer != MODEL
            found += [f"{path}:{node.lineno}: must not call {name}"] if bare and name in names else []
    return found


def python_files(*folders: str) -> list[str]:
    """The Python files of some folders, as paths from the root."""
    found = [path for folder in folders for path in (ROOT / folder).rglob("*.py")]
    relative = [path.relative_to(ROOT) for path in found]
    hidden = [path for path in relative if path.is_relative_to("tests/output") or "__pycache__" in path.parts]
    return sorted(path.as_posix() for path in set(relative) - set(hidden))


PLUGINS = python_files("plugins")
HOST_CODE = python_files("plugins/module_utils", "plugins/modules")
EVERYTHING = python_files("plugins", "tests", "tools", "src", "examples", "playbooks", "roles")
# What a new organization is made of is its owner's.
OURS = [path for path in EVERYTHING if not path.startswith("roles/org/files/templates/")]


@pytest.mark.parametrize("path", PLUGINS)
def test_imports_point_one_way(path):
    assert violations(path, (ROOT / path).read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("plugins/module_utils/model/x.py", "import os"),
        ("plugins/module_utils/model/x.py", "import time"),
        ("plugins/module_utils/model/x.py", "from datetime import datetime"),
        ("plugins/module_utils/model/x.py", "from urllib import request"),
        ("plugins/module_utils/model/x.py", "import ansible"),
        ("plugins/module_utils/model/x.py", "from ..host import durable"),
        ("plugins/module_utils/model/x.py", "from .. import bridge"),
        ("plugins/module_utils/model/x.py", "def late():\n    from ..host import store"),
        ("plugins/module_utils/model/x.py", "text = open('/etc/passwd').read()"),
        ("plugins/module_utils/model/x.py", f"from {COLLECTION}.{MODEL} import plan"),
        ("plugins/module_utils/host/x.py", "from ..bridge import run_module"),
        ("plugins/module_utils/host/x.py", "from ansible.module_utils.basic import AnsibleModule"),
        ("plugins/module_utils/host/x.py", "import yaml"),
        ("plugins/module_utils/host/x.py", "import importlib\nimportlib.import_module('os')"),
        ("plugins/module_utils/host/supervisors/x.py", "from ....plugin_utils import source"),
        ("plugins/module_utils/bridge.py", "from ansible.module_utils.urls import open_url"),
        ("plugins/module_utils/new.py", ""),
        ("plugins/modules/x.py", f"from {COLLECTION}.{MODEL} import plan"),
        ("plugins/modules/x.py", f"from {COLLECTION}.{HOST}.store import blobs"),
        ("plugins/modules/x.py", f"from {COLLECTION}.{PLUGIN_UTILS} import source"),
        ("plugins/plugin_utils/x.py", f"from {COLLECTION}.{HOST} import store"),
        ("plugins/plugin_utils/x.py", f"from {COLLECTION}.plugins.action import release"),
        ("plugins/action/x.py", f"from {COLLECTION}.{BRIDGE} import run_module"),
        ("plugins/action/x.py", f"from {COLLECTION}.tests.unit import helper"),
        ("plugins/action/x.py", "from tetra import cli"),
        ("plugins/filter/x.py", f"from {COLLECTION}.plugins.action import release"),
    ],
)
def test_a_wrong_arrow_is_found(path, source):
    assert len(violations(path, source)) == 1


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("plugins/module_utils/model/x.py", "import re\nfrom urllib.parse import quote\nfrom . import plan"),
        ("plugins/module_utils/model/x.py", "from collections.abc import Mapping\nfrom .errors import TetraError"),
        ("plugins/module_utils/host/operations/x.py", "import os\nfrom ...model import plan\nfrom .. import store"),
        ("plugins/module_utils/bridge.py", "from ansible.module_utils.basic import AnsibleModule\nfrom .host import x"),
        ("plugins/modules/x.py", f"from {COLLECTION}.{OPERATIONS}.ports import port_registry"),
        ("plugins/modules/x.py", "from ..module_utils.bridge import run_module"),
        ("plugins/plugin_utils/x.py", f"import jinja2\nfrom {COLLECTION}.{PLUGIN_UTILS} import source"),
        ("plugins/action/x.py", f"from ansible.errors import AnsibleError\nfrom {COLLECTION}.{MODEL} import plan"),
    ],
)
def test_a_right_arrow_is_left_alone(path, source):
    assert violations(path, source) == []


@pytest.mark.parametrize("path", HOST_CODE)
def test_host_code_has_the_grammar_of_python_3_9(path):
    ast.parse((ROOT / path).read_text(encoding="utf-8"), filename=path, feature_version=(3, 9))


@pytest.mark.parametrize("path", OURS)
def test_every_file_names_its_licence(path):
    lines = (ROOT / path).read_text(encoding="utf-8").splitlines()
    if lines and lines[0].startswith("#!"):
        lines = lines[1:]
    assert not lines or lines[:2] == HEADER


@pytest.mark.parametrize("path", PLUGINS)
def test_annotations_of_plugins_are_not_evaluated(path):
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    futures = [node for node in tree.body if isinstance(node, ast.ImportFrom) and node.module == "__future__"]
    assert not tree.body or futures


def test_the_wheel_has_the_version_of_the_collection():
    galaxy = yaml.safe_load((ROOT / "galaxy.yml").read_text(encoding="utf-8"))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert project.get("project", galaxy)["version"] == galaxy["version"]


def test_the_action_group_has_every_module():
    runtime = yaml.safe_load((ROOT / "meta" / "runtime.yml").read_text(encoding="utf-8"))
    modules = {path.stem for path in (ROOT / "plugins" / "modules").glob("*.py")} - {"__init__"}
    assert sorted(modules) == sorted(runtime["action_groups"]["tetra"])
