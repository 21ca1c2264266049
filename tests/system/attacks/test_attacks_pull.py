# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A host that answers a pull to do harm: only a proposal is written, and the controller's memory stays small."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from ansible_collections.tetra.platform.plugins.module_utils.model import canonical

from ..conftest import LONG, ROOT, Fleet

NETWORK = 94
HOST = "dev-1"
# MiB of the largest process of a run; a run that is answered honestly has about 80.
MEMORY = 200
_MEASURE = """
import resource, subprocess, sys
code = subprocess.run(sys.argv[1:]).returncode
print("MAXRSS", resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024)
sys.exit(code)
"""


@pytest.fixture(scope="module")
def fleet(tmp_path_factory):
    """A fleet of which dev runs the API, and what its agent answers."""
    made = Fleet(tmp_path_factory.mktemp("fleet"), NETWORK)
    made.variables["tetra_probe_passes"] = 1
    made.only("api")
    try:
        assert made.play("prepare").code == 0
        assert made.push().outcome == "applied"
        yield made
    finally:
        made.down()


@pytest.fixture(scope="module")
def agent(fleet) -> Path:
    return Path(os.path.realpath(fleet.state / HOST / "bin" / "tsm"))


@pytest.fixture(scope="module")
def honest(fleet, agent) -> dict:
    request = {"tetra_dir": os.fspath(fleet.state / HOST), "org": "acme", "env": "dev"}
    said = subprocess.run([agent, "run", "deploy_edits"], input=json.dumps(request), capture_output=True, text=True,
                          check=True)  # fmt: skip
    return json.loads(said.stdout)["result"]


def edited(path: str, text: str = "by hand\n", target: str | None = None) -> dict:
    """The record of an edited file, or of a link."""
    data = text.encode()
    entry = {"type": "file", "sha256": canonical.sha256(data), "size": len(data), "executable": False}
    link = {"type": "link", "target": target}
    return {"path": path, "entry": link if target is not None else entry, "before": None,
            "data": None if target is not None else base64.b64encode(data).decode()}


def with_files(*paths: str):
    """An answer in which these paths were edited, and ``files/api/extra`` besides."""
    return lambda told: {**told, "files": [*map(edited, paths), edited("files/api/extra")]}


def with_manifest(**files: object):
    """An answer whose bundle has further files, and the name that it has then."""
    def lie(told: dict) -> dict:
        manifest = {**told["manifest"], "files": {**told["manifest"]["files"], **files}}
        return {**told, "manifest": manifest, "bundle": canonical.digest(manifest)}

    return lie


def of_another(told: dict) -> dict:
    manifest = {**told["manifest"], "org": "other"}
    return {**told, "manifest": manifest, "bundle": canonical.digest(manifest)}


FILE = {"type": "file", "sha256": "0" * 64, "size": 3, "executable": False}
# What is taken of it is the one file that an honest host could have, too; the rest is told.
TOLD = {
    "A15-pull-dots": with_files("../../x", "files/../../x", "files/api/../../../../x"),
    "A15-pull-absolute": with_files("/etc/x", "//x"),
    "A15-pull-other-places": with_files("org.toml", "services/evil.tsm", ".git/hooks/update", "../other/files/x"),
    "A15-pull-odd-names": with_files(
        "files/\x1b[31m", "files/a\nb", "files/\u202egnp", "files/x\\y", "files/" + "x" * 300),
    "A15-pull-links": lambda told: {**told, "files": [
        edited("files/api/a", target="/etc/passwd"), edited("files/api/b", target="../../../x"),
        edited("files/api/extra")]},
    "A15-pull-odd-settings": lambda told: {**told, "files": [edited("files/api/extra")], "settings": {
        "api": {"X = 1\n[values]\ny": "z"}}},
}  # fmt: skip
REFUSED = {
    "A15-pull-link-on-the-way": lambda told: {**told, "files": [
        edited("files/api/l", target=".."), edited("files/api/l/x")]},
    "A15-pull-many-edits": lambda told: {**told, "files": [edited(f"files/{number}") for number in range(5000)]},
    "A15-pull-another-organization": of_another,
    "A15-pull-manifest-with-dots": with_manifest(**{"../x": FILE}),
    "A15-pull-manifest-absolute": with_manifest(**{"/etc/x": FILE}),
    "A15-pull-manifest-of-another-bundle": lambda told: {**told, "bundle": "0" * 64},
    "A15-pull-a-file-that-never-comes": with_manifest(**{"files/api/never": FILE}),
    "A15-pull-a-huge-file-that-never-comes": with_manifest(**{"files/api/never": {**FILE, "size": 60 * 1024**2}}),
}  # fmt: skip
# These are made by the script, not by this process.
ENDLESS = {
    "A15-pull-a-million-files": """
import sys
sys.stdout.write('{"result": {"files": [')
for number in range(10**6): sys.stdout.write('{"path": "files/%d"},' % number)
sys.stdout.write('0]}}')
""",
    "A15-pull-a-million-names": """
import sys
sys.stdout.write('{"result": {"manifest": {"files": {')
for number in range(10**6): sys.stdout.write('"files/%d": {},' % number)
sys.stdout.write('"": 0}}}}')
""",
    "A15-pull-without-end": "import sys\nwhile True: sys.stdout.write('[' * 65536)\n",
}


def chosen(lies: Mapping[str, object]) -> list[str]:
    """All of them with ``make test-long``, else every third one."""
    return list(lies)[:: 1 if LONG else 3]


@pytest.fixture
def lying(agent):
    """Have the agent answer ``deploy_edits`` with what a program prints, and everything else honestly."""
    true = agent.read_bytes()
    beside = agent.with_name("true")

    def lie(program: str) -> None:
        beside.write_bytes(true)
        beside.chmod(0o755)
        script = agent.with_name("lie.py")
        script.write_text(program)
        agent.unlink()
        agent.write_text(f'#!/bin/sh\nif [ "$2" = deploy_edits ]; then cat > /dev/null; exec {sys.executable} '
                         f'{script}; fi\nexec {beside} "$@"\n')
        agent.chmod(0o755)

    yield lie
    agent.unlink()
    agent.write_bytes(true)
    agent.chmod(0o755)


def pull(fleet, folder: Path) -> tuple[dict, str]:
    """The result of a pull and what it printed, after a look at what it took."""
    result = folder / "result.json"
    places = {"tetra_pull_dir": f"{folder}/proposal", "tetra_result_file": f"{result}"}
    command = fleet.command("pull", tetra_env="dev", **places)
    before = snapshot(fleet.orgs)
    run = subprocess.run([sys.executable, "-c", _MEASURE, *command], cwd=ROOT, capture_output=True, text=True,
                         check=False)  # fmt: skip
    memory = int(run.stdout.rpartition("MAXRSS ")[2])
    print(f"{memory} MiB")
    assert memory < MEMORY
    assert "Traceback" not in run.stdout + run.stderr
    assert not set(run.stdout) & {"\x1b", "\u202e"}
    assert snapshot(fleet.orgs) == before
    return json.loads(result.read_text()), run.stdout


def snapshot(folder: Path) -> dict[str, bytes]:
    return {os.fspath(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def says(answer: dict) -> str:
    """A program that gives an answer."""
    return f"print({json.dumps(json.dumps({'result': answer}))})\n"


@pytest.mark.guarantee("A15")
@pytest.mark.parametrize("name", chosen(TOLD))
def test_what_leads_elsewhere_is_told_and_the_rest_proposed(fleet, honest, lying, tmp_path, name):
    lying(says(TOLD[name](honest)))
    result, output = pull(fleet, tmp_path)
    assert [one["path"] for one in result["changes"]] == ["files/api/extra"], output
    assert result["left"]
    made = {os.fspath(path.relative_to(tmp_path / "proposal")) for path in (tmp_path / "proposal").rglob("*")}
    own = {os.fspath(path.relative_to(fleet.orgs)) for path in fleet.org.rglob("*")}
    assert {path for path in made if path.startswith("acme/")} == {*own, "acme/files/api/extra"}
    assert sorted(os.listdir(tmp_path)) == ["proposal", "result.json"]


@pytest.mark.guarantee("A15")
@pytest.mark.parametrize("name", chosen(REFUSED))
def test_what_no_honest_host_says_is_refused(fleet, honest, lying, tmp_path, name):
    lying(says(REFUSED[name](honest)))
    result, output = pull(fleet, tmp_path)
    assert result["outcome"] in ("refused", "unconfirmed", "invalid"), output
    assert any(word in result["message"] for word in (HOST, "manifest", "link")), result["message"]
    assert sorted(os.listdir(tmp_path)) == ["result.json"]


@pytest.mark.guarantee("A15")
@pytest.mark.parametrize("name", chosen(ENDLESS))
def test_what_is_too_much_ends_the_task_and_not_the_controller(fleet, honest, lying, tmp_path, name):
    lying(ENDLESS[name])
    result, output = pull(fleet, tmp_path)
    assert (result["outcome"], f"{HOST}: " in result["message"]) == ("refused", True), output
    assert sorted(os.listdir(tmp_path)) == ["result.json"]
