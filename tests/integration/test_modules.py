# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The modules as Ansible runs them: over the local connection, on a host of their own, with and without an agent."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
ADDRESS = "127.0.74.1"


@pytest.fixture(scope="module")
def host(tmp_path_factory):
    """A prepared host, as a function that runs one module on it and gives its result."""
    folder = tmp_path_factory.mktemp("host")
    supervisord = Path(sys.executable).with_name("supervisord")
    extra = {
        "tetra_dir": os.fspath(folder / "tetra"), "ansible_python_interpreter": os.path.realpath(sys.executable),
        "tetra_supervisord": os.fspath(supervisord), "tetra_address": ADDRESS,
    }  # fmt: skip

    def run(module: str, *options: str, **arguments: object) -> dict:
        shutil.rmtree(folder / "out", ignore_errors=True)
        given = json.dumps(arguments) if arguments else ""
        program = Path(sys.executable).with_name("ansible")
        command = [program, "localhost", "-m", f"tetra.platform.{module}", "-a", given, "-e", json.dumps(extra)]
        command += ["--tree", folder / "out", *options]
        subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        return json.loads((folder / "out" / "localhost").read_text())

    made = run("agent", supervisor="supervisord")
    assert made["changed"], made
    yield run
    run("agent", state="stopped")


def test_a_prepared_host_is_left_alone(host):
    again = host("agent", supervisor="supervisord")
    assert again["changed"] is False
    assert again["changes"] == []


def test_named_ports_are_set_once_and_seen(host):
    first = host("port_registry", "--diff", ports={"metrics": 9100, "gateway": "auto"})
    assert first["changed"]
    assert first["ports"]["metrics"] == 9100
    assert host("port_registry", ports={"metrics": 9100, "gateway": "auto"})["changed"] is False
    assert host("port_registry_info")["ports"]["plain"]["metrics"] == 9100


def test_check_mode_of_the_registry_writes_nothing(host):
    assert host("port_registry", "--check", ports={"later": 9200})["changed"]
    assert "later" not in host("port_registry_info")["ports"]["plain"]


def test_a_wrong_port_fails_with_a_reason(host):
    result = host("port_registry", ports={"metrics": "4000; rm"})
    assert result["code"] == "invalid"
    assert "4000; rm" in result["msg"]


@pytest.mark.parametrize("directory", [{}, {"tetra_dir": "/does/not/exist"}], ids=["agent", "module"])
def test_conflicts_of_one_environment_are_resolved_in_its_range(host, tmp_path, directory):
    file = tmp_path / "ports.toml"
    text = "[ports.acme.dev]\nweb = 9250\n[ports.beta.dev]\nweb = 9251\n[reserved]\nold = [9250, 9251]\n"
    file.write_text(text)
    about = {"path": os.fspath(file), "org": "acme", "env": "dev", **directory}
    refused = host("port_registry", **about, resolve="fail")
    assert (refused["code"], refused["message"]) == ("refused", "port 9250 of acme/dev/web is reserved (old)")
    moved = host("port_registry", **about, resolve="reallocate", port_range="9300-9309")
    assert moved["changed"], moved
    assert [one["code"] for one in moved["findings"]] == ["reserved-port"]
    assert file.read_text() == text.replace("web = 9250", "web = 9300")
    assert host("port_registry", **about, resolve="reallocate", port_range="9300-9309")["changed"] is False


@pytest.mark.parametrize(
    "wrong", [{"resolve": "realocate"}, {"resolve": ["fail"]}, {"org": "acme"}, {"port_range": "9300-9309"},
              {"org": "acme", "env": "dev", "port_range": "9309-9300", "resolve": "reallocate"}], ids=str
)  # fmt: skip
def test_what_cannot_be_resolved_that_way_is_told(host, wrong):
    assert host("port_registry", **wrong)["code"] == "invalid"


def test_definitions_are_read_and_never_run(host, tmp_path):
    canary = tmp_path / "canary"
    good, bad = tmp_path / "good.tsm", tmp_path / "bad.tsm"
    good.write_text("TSM_NAME=api\nTSM_COMMAND='python3 server.py --fast'\nTSM_PORT=8000+\n")
    bad.write_text(f"TSM_NAME=bad\nTSM_COMMAND=$(touch {canary})\n")
    read, refused = host("service_definition_info", paths=[os.fspath(good), os.fspath(bad)])["services"]
    assert (read["name"], read["command"], read["args"]) == ("api", "python3", ["server.py", "--fast"])
    assert refused["name"] is None
    assert "bad.tsm:2:13" in refused["findings"][0]["message"]
    assert not canary.exists()


def test_an_environment_without_releases_is_seen_as_that(host):
    found = host("release_info", org="acme", env="dev")
    assert (found["current"], found["services"], found["epoch"]) == (None, {}, 0)
    assert host("tsm_service_info", org="acme", env="dev")["services"] == {}


def test_a_journal_in_which_nothing_happened_is_empty(host):
    found = host("journal_info", org="acme", env="dev")
    assert (found["records"], found["damage"], found["head"]) == ([], None, {"seq": 0, "hash": ""})
    assert (found["current"], found["open"]) == (None, False)


def test_a_check_of_a_closed_port_is_unhealthy_and_does_not_fail(host):
    checks = [{"name": "closed", "address": "127.0.74.9", "port": 9}]
    result = host("health_check", checks=checks)
    assert result["healthy"] is False
    assert "code" not in result
    without_agent = host("health_check", checks=checks, tetra_dir="/does/not/exist")
    assert without_agent["checks"] == result["checks"]
    assert "Connection refused" in result["checks"]["closed"]["detail"]


def test_a_service_that_is_not_there_is_named(host):
    result = host("tsm_service", org="acme", env="dev", services=[{"name": "ghost", "state": "started"}])
    assert result["code"] in ("invalid", "refused")
    assert "ghost" in result["msg"]
