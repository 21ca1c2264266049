# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A host on which something is missing: descriptors, memory, /proc, the right Python. It says so and stays whole."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import pytest
from ansible_collections.tetra.platform.plugins.module_utils.host import store, transactions
from ansible_collections.tetra.platform.plugins.module_utils.model import transaction

from .. import invariants
from ..conftest import LONG
from ..single import SECRET, Single, done

ADDRESS = "127.0.86.3"
PORT = 4300
SERVICE = """\
TSM_COMMAND='exec python3 -m http.server $PORT --bind $HOST --directory ${{TETRA_RELEASE_DIR}}/files/api'
TSM_PORT=auto
TSM_HEALTH_CHECK=http://127.0.0.1:${{TSM_PORT}}/page
TSM_MIN_HEALTHY=0s
export KEY=${{secret:KEY}}
export TRY={number}
"""
STEPS = ("look", "staged", "active", "confirmed", "rolled_back")
# From where Python does not even start to where everything goes well.
MEMORY = range(16, 160, 4) if LONG else (32, 40, 48, 64)
LIMITS = {
    **{f"{number}-descriptors": f"--nofile={number}" for number in (range(3, 24) if LONG else (6, 20))},
    **{f"{size}-MiB": f"--as={size * 2**20}" for size in MEMORY},
}


@pytest.fixture(scope="module")
def host(tmp_path_factory):
    made = Single(tmp_path_factory.mktemp("single"), ADDRESS)
    try:
        write(made)
        made.apply({"api": PORT})
        yield made
    finally:
        made.down()


def write(host: Single) -> None:
    host.write({"api.tsm": SERVICE.format(number=host.identity())}, {"api/page": "page"})


def limited(host: Single, limit: str, step: str, identity: str, request: dict) -> str:
    """Take a step with a limit; what came of it: good, told or nothing at all."""
    host.wrapper = ["prlimit", limit]
    agent = host.begin("release_info" if step == "look" else "release",
                       {"state": step, "transaction": identity, "stage": request})
    host.wrapper = []
    said, _complaint = agent.communicate(timeout=120)
    if agent.returncode or not said:
        # It did not come as far as to answer, as if it had been killed. Who asked is told that no answer came.
        assert agent.returncode != 0
        return "nothing"
    answer = json.loads(said)
    assert answer.get("result") or (answer["error"]["message"] and answer["error"]["hint"])
    return "good" if "result" in answer else "told"


@pytest.mark.parametrize(("name", "step"), [
    pytest.param(name, step, marks=pytest.mark.guarantee("F28"), id=f"F28-{name}-{step}")
    for number, name in enumerate(LIMITS) for turn, step in enumerate(STEPS) if LONG or (turn + number) % 3 == 0
])  # fmt: skip
def test_a_step_that_lacks_something_says_so_and_leaves_the_host_old_or_new(host, name, step):
    old = store.current(host.environment)
    write(host)
    request, identity = host.stage_request({"api": PORT}), host.identity()
    if step not in ("look", "staged"):
        done(host.step("staged", identity, stage=request))
    if step in ("confirmed", "rolled_back"):
        assert done(host.step("active", identity))["state"] == transaction.PROBING
    came = limited(host, LIMITS[name], step, identity, request)
    print(f"{name}, {step}: {came}")
    state = transactions.states(host.environment).get(identity)
    if state in transaction.OPEN:
        done(host.step("rolled_back", identity))
    host.settle()
    state = transactions.states(host.environment).get(identity)
    new = request["plan"]["release"]
    assert store.current(host.environment) == (new if state == transaction.CONFIRMED else old)
    assert came != "good" or step == "look" or state in (transaction.STAGED, transaction.CONFIRMED,
                                                         transaction.ROLLED_BACK)  # fmt: skip
    if state == transaction.STAGED:
        done(host.step("aborted", identity))
    assert invariants.broken(host.scope, {store.current(host.environment)}, SECRET) == []


@pytest.mark.guarantee("F28")
def test_an_agent_that_is_killed_for_want_of_memory_while_it_watches_is_no_matter(host):
    before = store.current(host.environment)
    write(host)
    host.passes, host.lease = 100, 5.0
    identity = host.stage({"api": PORT})
    host.passes, host.lease = 1, 20.0
    agent = host.begin("release", {"state": "active", "transaction": identity})
    end = time.monotonic() + 60
    while transactions.states(host.environment)[identity] != transaction.PROBING:
        assert time.monotonic() < end
        time.sleep(0.01)
    agent.send_signal(signal.SIGKILL)
    agent.communicate()
    host.wait_until_closed()
    assert transactions.states(host.environment)[identity] == transaction.ROLLED_BACK
    assert store.current(host.environment) == before
    host.settle()
    assert invariants.broken(host.scope, {before}, SECRET) == []


@pytest.mark.guarantee("F28")
@pytest.mark.parametrize("step", STEPS if LONG else ("look", "active"))
def test_a_host_without_proc_says_that_it_is_not_mounted(host, step):
    before = store.current(host.environment)
    write(host)
    request, identity = host.stage_request({"api": PORT}), host.identity()
    if step not in ("look", "staged"):
        done(host.step("staged", identity, stage=request))
    if step in ("confirmed", "rolled_back"):
        assert done(host.step("active", identity))["state"] == transaction.PROBING
    known = transactions.states(host.environment)
    # In a view of the file systems that only this process has.
    host.wrapper = ["unshare", "--mount", "sh", "-c", 'mount -t tmpfs none /proc && exec "$@"', "sh"]
    error = host.ask("release_info" if step == "look" else "release",
                     {"state": step, "transaction": identity, "stage": request})["error"]
    host.wrapper = []
    assert error["message"].startswith("/proc is not mounted")
    assert error["hint"] == "mount -t proc proc /proc"
    assert transactions.states(host.environment) == known
    if step not in ("look", "staged"):
        host.step("aborted" if step == "active" else "rolled_back", identity)
    host.settle()
    assert invariants.broken(host.scope, {before}, SECRET) == []


@pytest.mark.guarantee("F28")
def test_a_python_that_is_too_old_says_what_it_takes(host):
    # The agent is given to a Python that says it is of another age; the check comes before anything that it lacks.
    run = "import runpy, sys; sys.version_info = (3, 8); runpy.run_path(sys.argv[1], run_name='__main__')"
    agent = os.path.realpath(host.command[0])
    ended = subprocess.run([sys.executable, "-IS", "-c", run, agent, "run", "release_info"], input="{}", text=True,
                           capture_output=True, check=False)
    assert ended.returncode == 1
    assert ended.stderr.startswith("tsm: this is Python ")
    assert "it takes 3.9 or a newer one; put that at /usr/bin/python3" in ended.stderr


@pytest.mark.guarantee("F28")
def test_an_agent_whose_python_is_gone_takes_that_of_the_system_or_says_so(host, tmp_path):
    agent = os.path.realpath(host.command[0])
    with open(agent, "rb") as file:
        start, archive = file.read().split(b"exit 127\n", 1)
    assert os.fsencode(os.path.realpath(sys.executable)) in start
    for pythons, code in (([b"/nowhere/python3", b"/usr/bin/python3"], 0), ([b"/nowhere/python3", b"/nowhere/2"], 127)):
        copy = tmp_path / f"tsm-{code}"
        words = b" ".join([b"for python in", *pythons]) + b"; do"
        lines = [words if line.startswith(b"for python in") else line for line in start.splitlines()]
        copy.write_bytes(b"\n".join(lines) + b"\nexit 127\n" + archive)
        copy.chmod(0o755)
        ended = subprocess.run([copy, "run", "release_info"], text=True, capture_output=True, check=False,
                               input=json.dumps({"tetra_dir": os.fspath(host.root), "org": "acme", "env": "dev"}))
        assert ended.returncode == code, ended.stderr
        assert "Traceback" not in ended.stderr
        assert ("there is no Python to run" in ended.stderr) == (code == 127)
