# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The playbook render.yml and the filter tetra_template: templates of an organization without any host."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.tetra.platform.plugins.filter import tetra_template

ROOT = Path(__file__).resolve().parent.parent.parent
APPLIED, INVALID = 0, 2
ROADMAP = """\
server {
    listen 80;
    server_name {{name}}.{{domain}};
{{#if ssl}}
    listen 443 ssl;
    ssl_certificate /etc/ssl/{{name}}.pem;
{{else}}
    # no certificate in {{env}}
{{/if}}
}
"""
PRODUCTION = """\
server {
    listen 80;
    server_name shop.example.org;
    listen 443 ssl;
    ssl_certificate /etc/ssl/shop.pem;
}
"""
DEV = """\
server {
    listen 80;
    server_name shop.dev.example.org;
    # no certificate in dev
}
"""
FILES = {
    "org.toml": 'name = "shop"\n',
    "services/web.tsm": 'TSM_COMMAND="sleep 1000"\n',
    "environments/base.toml": '[values]\nname = "shop"\ndomain = "example.org"\nssl = true\nidle = 1\n',
    "environments/dev.toml": '[values]\ndomain = "dev.example.org"\nssl = false\n',
    "environments/production.toml": "",
    "templates/nginx.conf.tmpl": ROADMAP,
}


@pytest.fixture
def render(tmp_path):
    """Run render.yml for an environment; exit code, result, and all that was said."""
    inventory = {"all": {"hosts": {"localhost": {"ansible_connection": "local"}},
                         "children": {"dev": {"hosts": {"d1": {}}}, "prod": {"hosts": {"p1": {}}}},
                         "vars": {"tetra_environments": {"dev": {}, "prod": {}}}}}
    (tmp_path / "hosts.json").write_text(json.dumps(inventory))
    for path, text in FILES.items():
        place = tmp_path / "orgs" / "shop" / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)

    def run(env: str, *options: str) -> tuple[int, dict, str]:
        variables = {"tetra_org": "shop", "tetra_orgs_dir": f"{tmp_path}/orgs", "tetra_env": env,
                     "tetra_result_file": f"{tmp_path}/result.json", "tetra_render_dir": f"{tmp_path}/out/{env}"}
        command = [os.fspath(Path(sys.executable).with_name("ansible-playbook")), "-i", f"{tmp_path}/hosts.json",
                   "playbooks/render.yml", "-e", json.dumps(variables), *options]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        return done.returncode, json.loads((tmp_path / "result.json").read_text()), done.stdout + done.stderr

    return run


def test_the_template_of_the_roadmap_becomes_a_file_of_its_environment_with_its_values_explained(render, tmp_path):
    assert render("dev", "--check")[1]["outcome"] == "applied"
    assert not (tmp_path / "out").exists()
    for env, expected in (("dev", DEV), ("prod", PRODUCTION)):
        code, result, output = render(env)
        assert (code, result["outcome"]) == (APPLIED, "applied"), output
        assert (tmp_path / "out" / env / "templates" / "nginx.conf").read_text() == expected
        assert list(result["files"]) == ["templates/nginx.conf"]
    code, result, output = render("dev")
    assert (code, result["outcome"]) == (INVALID, "invalid")
    assert "is there already" in result["message"]
    code, result, output = render("dev", "-e", "tetra_render_dir=")
    assert (code, result["outcome"]) == (APPLIED, "unchanged")
    assert result["values"]["domain"] == {
        "value": "dev.example.org", "used_by": ["templates/nginx.conf.tmpl"],
        "layers": [{"file": "environments/dev.toml", "line": 2}, {"file": "environments/base.toml", "line": 3}],
    }  # fmt: skip
    row = next(line for line in output.splitlines() if line.startswith("idle "))
    assert row.split() == ["idle", "1", "environments/base.toml:5", "-", "nobody"]


def test_a_text_is_rendered_alone():
    values = {"name": "shop", "domain": "example.org", "ssl": True, "env": "prod"}
    assert tetra_template.tetra_template(ROADMAP, values) == PRODUCTION
    with pytest.raises(AnsibleFilterError) as caught:
        tetra_template.tetra_template("{{ lookup('pipe', 'id') }}\n{{ hostvars }}{{ env|shout }}")
    assert str(caught.value).startswith("template:2:22: No filter named 'shout'")
    with pytest.raises(AnsibleFilterError, match=r"template:1:4: variable 'lookup' is not defined \("):
        tetra_template.tetra_template("{{ lookup('pipe', 'id') }}")


@pytest.mark.parametrize(("text", "values"), [(1, {}), ("x", [1]), (None, None)])
def test_what_is_no_text_or_no_values_is_refused(text, values):
    with pytest.raises(AnsibleFilterError, match="tetra_template takes"):
        tetra_template.tetra_template(text, values)
