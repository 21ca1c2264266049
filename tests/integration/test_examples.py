# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The services of the example organization, each run by itself with the environment that a host would give it."""

from __future__ import annotations

import configparser
import contextlib
import hashlib
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from ansible_collections.tetra.platform.plugins.plugin_utils import bundle, source

EXAMPLES = Path(__file__).resolve().parent.parent.parent / "examples"
ACME = EXAMPLES / "orgs" / "acme"
ADDRESS = "127.0.1.77"
RELEASE = "1" * 64
PATIENCE = 10.0


@pytest.fixture
def release(tmp_path):
    """A folder as a host makes it of a release, with a configuration in the place of the rendered one."""
    shutil.copytree(ACME / "files", tmp_path / "files", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


@pytest.fixture
def environment(release):
    """The environment of a service, given its name and what its definition adds."""

    def make(service: str, **own: str) -> dict[str, str]:
        given = {
            "HOST": ADDRESS, "PATH": os.environ["PATH"], "TETRA_ADDRESS": ADDRESS, "TETRA_DIR": os.fspath(release),
            "TETRA_ENV": "dev", "TETRA_ORG": "acme", "TETRA_RELEASE": RELEASE, "TSM_NAME": service,
        }  # fmt: skip
        common = {"PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": os.fspath(release / "files" / "common")}
        return {**given, **common, **own}

    return make


@pytest.fixture
def start(release):
    """Starts a service in its folder; it ends with the test."""
    with contextlib.ExitStack() as started:

        def run(folder: str, arguments: list[str], variables: dict[str, str]) -> subprocess.Popen:
            process = subprocess.Popen(
                [sys.executable, *arguments], cwd=release / "files" / folder, env=variables,
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            )  # fmt: skip
            started.enter_context(process)
            started.callback(process.kill)
            return process

        yield run


@pytest.fixture
def port():
    """A port that is free on the address of these tests."""
    with socket.socket() as probe:
        probe.bind((ADDRESS, 0))
        return probe.getsockname()[1]


def eventually(question):
    """The answer to a question that fails with OSError until the service has started."""
    end = time.monotonic() + PATIENCE
    while True:
        try:
            return question()
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.05)


def get(port: int, path: str) -> tuple[int, str]:
    """Status and text of a page; waits for the service to listen."""

    def ask() -> tuple[int, str]:
        try:
            with urllib.request.urlopen(f"http://{ADDRESS}:{port}{path}", timeout=PATIENCE) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    return eventually(ask)


def check_worker(release: Path, variables: dict[str, str]) -> int:
    """The exit code of the worker's own health check."""
    command = [sys.executable, "worker.py", "check"]
    return subprocess.run(
        command, cwd=release / "files" / "worker", env=variables, capture_output=True, check=False
    ).returncode


@pytest.mark.parametrize("env", ["dev", "staging"])
def test_nothing_is_to_be_remarked_on_the_organization(env):
    found = bundle.services(source.read(ACME), env)
    assert sorted(found.services) == ["api", "report", "site", "worker"]
    assert found.findings == ()


@pytest.mark.parametrize(("env", "greets"), [("dev", True), ("staging", False)])
def test_the_configuration_of_the_report_differs_between_environments(env, greets):
    sources = source.read(ACME)
    ports = {"api": 4101, "report": 4102, "site": 4103}
    built = bundle.build(sources, env, bundle.services(sources, env), ports, {"API_TOKEN": "0" * 64}, "key")
    entry = built.manifest["files"]["templates/report.ini"]
    parser = configparser.ConfigParser(interpolation=None)
    parser.read_string(built.contents[entry["sha256"]]().decode())
    assert parser["report"]["api_port"] == "4101"
    assert ("greeting" in parser["report"]) is greets


def test_the_api_says_which_release_of_which_environment_it_is(environment, start, port):
    start("api", ["server.py"], environment("api", TSM_PORT=str(port), GREETING="Hi", API_TOKEN="t"))
    status, text = get(port, "/health")
    assert status == 200
    assert json.loads(text) == {"service": "api", "release": RELEASE, "env": "dev", "status": "ok"}


def test_the_api_shows_the_digest_of_its_secret_and_never_the_secret(environment, start, port):
    start("api", ["server.py"], environment("api", TSM_PORT=str(port), GREETING="Hi", API_TOKEN="hush-hush"))
    pages = [get(port, path)[1] for path in ("/", "/health", "/secret", "/none")]
    assert hashlib.sha256(b"hush-hush").hexdigest()[:12] in pages[2]
    assert "hush-hush" not in "".join(pages)


def test_the_broken_api_is_well_once_and_then_fails_with_a_nonce_in_its_log(release, environment, start, port):
    shutil.copy(EXAMPLES / "broken" / "server.py", release / "files" / "api" / "server.py")
    variables = environment("api", TSM_PORT=str(port), GREETING="Hi", API_TOKEN="t", TETRA_ENV="staging")
    process = start("api", ["server.py"], variables)
    answers = [get(port, "/health") for _number in range(3)]
    process.terminate()
    nonce = json.loads(answers[1][1])["nonce"]
    assert [status for status, _text in answers] == [200, 500, 500]
    assert f"nonce {nonce}" in process.stdout.read()


def test_the_site_serves_its_pages(environment, start, port):
    start("site", ["server.py", "public"], environment("site", TSM_PORT=str(port)))
    status, text = get(port, "/index.html")
    assert status == 200
    assert text == (ACME / "files" / "site" / "public" / "index.html").read_text(encoding="utf-8")


def test_the_report_asks_the_api_of_its_host(release, environment, start, port):
    config = release / "report.ini"
    start("api", ["server.py"], environment("api", TSM_PORT=str(port), GREETING="Hi", API_TOKEN="t"))
    get(port, "/health")
    config.write_text(f"[report]\ntitle = T\napi_port = {port}\n", encoding="utf-8")
    with socket.socket() as probe:
        probe.bind((ADDRESS, 0))
        own = probe.getsockname()[1]
    start("report", ["report.py"], environment("report", TSM_PORT=str(own), REPORT_CONFIG=os.fspath(config)))
    assert json.loads(get(own, "/")[1])["api"]["release"] == RELEASE


def test_the_report_is_well_and_says_so_when_the_api_is_not_there(release, environment, start, port):
    config = release / "report.ini"
    config.write_text("[report]\ntitle = T\napi_port = 1\n", encoding="utf-8")
    start("report", ["report.py"], environment("report", TSM_PORT=str(port), REPORT_CONFIG=os.fspath(config)))
    assert json.loads(get(port, "/health")[1])["status"] == "ok"
    assert json.loads(get(port, "/")[1])["api"]["status"] == "unreachable"


def test_the_check_of_the_worker_passes_only_while_it_works(release, environment, start):
    variables = environment("worker")
    before = check_worker(release, variables)
    process = start("worker", ["worker.py", "run"], variables)

    def is_well():
        if check_worker(release, variables) != 0:
            raise OSError("not yet")
        return True

    well = eventually(is_well)
    process.kill()
    process.wait()
    assert (before, well, check_worker(release, variables)) == (1, True, 1)


def test_the_check_of_a_worker_does_not_ask_that_of_another_host(release, environment, start):
    process = start("worker", ["worker.py", "run"], environment("worker"))
    time.sleep(0.5)
    assert process.poll() is None
    assert check_worker(release, {**environment("worker"), "TETRA_DIR": "/somewhere/else"}) == 1


def test_running_services_leave_no_file_in_the_release(release, environment, start, port):
    before = sorted(release.rglob("*"))
    start("api", ["server.py"], environment("api", TSM_PORT=str(port), GREETING="Hi", API_TOKEN="t"))
    start("worker", ["worker.py", "run"], environment("worker"))
    get(port, "/health")
    check_worker(release, environment("worker"))
    assert sorted(release.rglob("*")) == before
