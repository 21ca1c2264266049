# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The filter resolve_ports in a play: what two hosts say becomes the configuration of a load balancer on a third."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
REGISTRY = """\
[ports]
postgres = 5432

[ports.acme.staging]
api = 4200
"api/dns" = "5353/udp"
web = 4201

[ports.acme.dev]
api = 4100
"""
UPSTREAM = """\
upstream api {
{% for one in endpoints if one.name == 'main' %}
    server {{ one.address }}:{{ one.port }};
{% endfor %}
}
"""
RESULTS = "{{ dict(groups.staging | zip(groups.staging | map('extract', hostvars, 'found'))) }}"


@pytest.fixture
def play(tmp_path):
    """Ask the hosts of staging and write a template with what the filter makes of it; the text, or what was said."""
    groups = {"staging": {"hosts": {name: {"tetra_dir": f"{tmp_path}/{name}"} for name in ("s1", "s2")}},
              "balancers": {"hosts": {"lb": {}}}}
    local = {"ansible_connection": "local", "ansible_python_interpreter": os.path.realpath(sys.executable)}
    (tmp_path / "hosts.json").write_text(json.dumps({"all": {"children": groups, "vars": local}}))
    (tmp_path / "upstream.j2").write_text(UPSTREAM)
    for name, address in (("s1", "192.0.2.1"), ("s2", "")):
        config = tmp_path / name / "config"
        config.mkdir(parents=True)
        (config / "ports.toml").write_text(REGISTRY)
        record = {"format": 1, "supervisor": "supervisord", "supervisord": "", "address": address}
        (config / "host.json").write_text(json.dumps(record))

    def run(arguments: str) -> tuple[str, str]:
        plays = [
            {"hosts": "staging", "gather_facts": False, "tasks": [
                {"name": "Look", "tetra.platform.port_registry_info": {}, "register": "found", "ignore_errors": True}]},
            {"hosts": "balancers", "gather_facts": False, "tasks": [
                {"name": "Write", "ansible.builtin.template": {"src": f"{tmp_path}/upstream.j2",
                                                               "dest": f"{tmp_path}/upstream.conf", "mode": "0644"},
                 "vars": {"results": RESULTS,
                          "endpoints": f"{{{{ results | tetra.platform.resolve_ports({arguments}) }}}}"}}]},
        ]  # fmt: skip
        (tmp_path / "play.json").write_text(json.dumps(plays))
        command = [Path(sys.executable).with_name("ansible-playbook"), "-i", tmp_path / "hosts.json",
                   tmp_path / "play.json"]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        written = tmp_path / "upstream.conf"
        return written.read_text() if written.exists() else "", done.stdout + done.stderr

    return run


def test_an_upstream_has_every_host_at_the_address_where_it_answers(play):
    text, said = play("org='acme', env='staging', service='api', addresses={'s2': 's2.example.com'}")
    assert text == "upstream api {\n    server 192.0.2.1:4200;\n    server s2.example.com:4200;\n}\n", said


def test_a_host_that_cannot_tell_is_named_and_nothing_is_written(play, tmp_path):
    (tmp_path / "s2" / "config" / "ports.toml").write_bytes(b"\xff")
    text, said = play("org='acme', env='staging'")
    assert text == ""
    assert "host s2: its result has no ports:" in said
    assert "this is not UTF-8 text" in said


@pytest.mark.parametrize(
    ("arguments", "told"),
    [("addresses=['a']", "resolve_ports takes a mapping of hosts to addresses, not"),
     ("addresses={'s2': 'a b;'}", "host s2: addresses: 'a b;' is not an address")],
)  # fmt: skip
def test_what_is_no_address_is_told(play, arguments, told):
    text, said = play(arguments)
    assert text == ""
    assert told in said.replace("\n", " ")
