# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is said of an organization before any host is asked: all of it, for every environment, with its place."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from ansible_collections.tetra.platform.plugins.module_utils.model import policy
from ansible_collections.tetra.platform.plugins.plugin_utils import validation
from ansible_collections.tetra.platform.plugins.plugin_utils.validation import Host

EXAMPLE = Path(__file__).resolve().parents[3] / "examples" / "orgs" / "acme"
ENVIRONMENTS = policy.environments(
    {"dev": {"port_range": "4100-4199"}, "staging": {"promotes_from": "dev", "port_range": "4200-4299"}},
    {"dev", "staging"},
)
HOSTS = {
    "dev": {"d1": Host(["dev"], {"API_TOKEN"})},
    "staging": {"s1": Host(["staging"], {"API_TOKEN"}), "s2": Host(["staging"], {"API_TOKEN"})},
}


@pytest.fixture
def org(tmp_path) -> Path:
    """A copy of the example organization."""
    return Path(shutil.copytree(EXAMPLE, tmp_path / "acme"))


def found(org: Path, name: str = "acme", hosts=None) -> dict[str, list[tuple]]:
    """Environment to severity, file, line and message of what is found."""
    result = validation.validate(str(org), name, ENVIRONMENTS, HOSTS if hosts is None else hosts)
    return {env: [(one.severity, one.file, one.line, one.message) for one in told] for env, told in result.items()}


def append(path: Path, text: str) -> int:
    """Add a line to a file; its number."""
    path.write_text(path.read_text() + text)
    return len(path.read_text().splitlines())


def test_the_example_is_valid_everywhere_also_without_hosts(org):
    assert found(org) == {"dev": [], "staging": []}
    assert found(org, hosts={}) == {"dev": [], "staging": []}


def test_mistakes_of_several_files_are_told_at_once_with_their_places(org):
    (org / "services" / "bad.tsm").write_text("TSM_COMMAND='node x'\nTSM_PORT=$(date)\n")
    (org / "services" / "worse.tsm").write_text("TSM_NAME=worse\n")
    places = [row[:3] for row in found(org)["dev"]]
    assert places == [("error", "services/bad.tsm", 2), ("error", "services/worse.tsm", 0)]


def test_a_mistake_in_one_environment_is_none_of_the_others(org):
    append(org / "environments" / "staging.toml", "\n[services.api]\nMEMORY_LIMIT = \"much\"\n")
    rows = found(org)
    assert rows["dev"] == []
    assert [row[0] for row in rows["staging"]] == ["error"]
    assert "MEMORY_LIMIT" in rows["staging"][0][3]


def test_a_port_outside_of_the_range_and_a_template_that_fails_are_both_told(org):
    append(org / "services" / "worker.tsm", "export TSM_PORT=9999\n")
    line = append(next((org / "templates").iterdir()), "{{ nope }}\n")
    rows = found(org)["dev"]
    assert any("4100-4199" in row[3] for row in rows), rows
    assert any(row[2] == line and "nope" in row[3] for row in rows), rows


def test_a_secret_that_the_inventory_does_not_give_is_a_warning(org):
    hosts = {**HOSTS, "staging": {"s1": Host(["staging"], set())}}
    assert [(row[0], row[1]) for row in found(org, hosts=hosts)["staging"]] == [("warning", "services/api.tsm")]


def test_a_service_that_is_placed_nowhere_is_told(org):
    text = (org / "org.toml").read_text()
    (org / "org.toml").write_text(text.replace("[placement]\n", "[placement]\nworker = \"nowhere\"\n"))
    rows = found(org)["dev"]
    assert [row[0] for row in rows] == ["error"]
    assert "nowhere" in rows[0][3]


def test_another_name_or_no_organization_at_all_is_told(org, tmp_path):
    assert found(org, "acme2")["dev"] == [("error", "org.toml", 0, "it names the organization acme, not acme2")]
    assert "is not a directory" in found(tmp_path / "none")["dev"][0][3]


def test_a_value_that_no_environment_uses_is_a_warning_where_it_stands(org):
    base = org / "environments" / "base.toml"
    base.write_text(base.read_text().replace("[values]\n", "[values]\nidle = 1\nonly_in_staging = 2\n"))
    (org / "templates" / "staging").mkdir()
    (org / "templates" / "staging" / "more").write_text("{{ only_in_staging }}")
    line = base.read_text().splitlines().index("idle = 1") + 1
    told = ("warning", "environments/base.toml", line, "values.idle: no definition and no template uses it")
    assert found(org) == {"dev": [told], "staging": [told]}


def test_nothing_is_unused_while_it_is_not_known_what_an_environment_would_use(org):
    append(org / "environments" / "dev.toml", "\n[services.nobody]\nPORT = 1\n")
    base = org / "environments" / "base.toml"
    base.write_text(base.read_text().replace("[values]\n", "[values]\nidle = 1\n"))
    assert found(org)["staging"] == []
