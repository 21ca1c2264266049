# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Services that start slowly, crash or fork away, and health end points that hang, lie or send without end.

Only the true and stable health of the service's own process brings a release to stay; else the host runs what it ran.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path

import pytest
from ansible_collections.tetra.platform.plugins.module_utils.host import holds, processes, store
from ansible_collections.tetra.platform.plugins.module_utils.model import health, transaction

from .. import invariants
from ..conftest import LONG, get
from ..single import SECRET, Single, done

ADDRESS = "127.0.84.1"
PORT, OTHER = 4300, 4301
STUB = Path(__file__).with_name("stub.py").read_text()
SERVICE = """\
TSM_COMMAND='exec python3 ${TETRA_RELEASE_DIR}/files/common/stub.py'
TSM_PORT=auto
TSM_HEALTH_CHECK=http://127.0.0.1:${TSM_PORT}/
TSM_HEALTH_TIMEOUT=700ms
TSM_HEALTH_RETRIES=2
TSM_HEALTH_START_PERIOD=1s
TSM_MIN_HEALTHY=0s
TSM_MAX_RESTARTS=2
TSM_STOP_TIMEOUT=5s
export KEY=${secret:KEY}
"""
SLOW = 20 if LONG else 3
# More than an agent needs that reads the beginning of an answer, and far less than what is sent.
MEMORY = 32 * 2**20


@pytest.fixture(scope="module")
def host(tmp_path_factory):
    """A host whose service is well."""
    made = Single(tmp_path_factory.mktemp("single"), ADDRESS)
    try:
        write(made, "well")
        made.apply({"api": PORT})
        yield made
    finally:
        made.down()


def write(host: Single, mode: str, *lines: str) -> None:
    """Make the service of the organization behave in a way; it is another release each time."""
    changes = [f"export MODE={mode}", f"export TRY={host.identity()}", *lines]
    keys = {line.partition("=")[0] for line in changes}
    kept = [line for line in SERVICE.splitlines() if line.partition("=")[0] not in keys]
    files = {"stub.py": STUB, "compare.py": COMPARE, "thief.py": THIEF, "warm_up.py": WARM_UP}
    host.write({"api.tsm": "\n".join([*kept, *changes]) + "\n"},
               {f"common/{name}": text for name, text in files.items()})


def body(port: int = PORT) -> str:
    """What the service says, which is its release when it is well."""
    return get(f"http://{ADDRESS}:{port}/")[1]


def pid(host: Single) -> int:
    """The process of the service."""
    return done(host.ask("tsm_service_info", {}))["services"]["api"]["pid"]


def assert_as_before(host: Single, release: str) -> None:
    """The host runs a release, well and for good."""
    host.settle()
    assert store.current(host.environment) == release
    assert body() == release
    assert invariants.broken(host.scope, {release}, SECRET) == []


def taken_back(host: Single, ports: dict[str, int] | None = None) -> dict:
    """What a switch came to, after which the host runs what it ran before."""
    before = store.current(host.environment)
    answer = host.switch(ports or {"api": PORT})
    assert answer["state"] == transaction.ROLLED_BACK, answer
    assert_as_before(host, before)
    return answer


# One that tells of another release is found out by who compares.
COMPARES = "TSM_HEALTH_CHECK='python3 ${TETRA_RELEASE_DIR}/files/common/compare.py'"
COMPARE = """\
import os, sys, urllib.request
with urllib.request.urlopen("http://{HOST}:{PORT}/".format(**os.environ)) as answer:
    sys.exit(answer.read().decode() != os.environ["TETRA_RELEASE"])
"""
BAD_ENDPOINTS = {
    "hangs": "time",
    "fails": "status 500",
    "lies": "exit code 1",
    "dies-early": "",
    "endless-headers": "no answer over http",
    "many-headers": "no answer over http",
    "slowloris": "time",
}


@pytest.mark.parametrize("mode", [pytest.param(mode, marks=pytest.mark.guarantee("F21"), id=f"F21-{mode}")
                                  for mode in BAD_ENDPOINTS])  # fmt: skip
def test_an_end_point_that_is_not_well_brings_the_host_back(host, mode):
    # A check that passes ten times before this would not do.
    early = ["TSM_MIN_HEALTHY=2s", "export SLOW=1"] if mode == "dies-early" else []
    write(host, mode, *early, *([COMPARES] if mode == "lies" else []))
    answer = taken_back(host)
    report = answer["reports"]["api"]
    assert report["verdict"] == health.FAILED
    assert BAD_ENDPOINTS[mode] in report["reason"], report
    if mode == "dies-early":
        assert any(sample["ok"] and sample["own_process"] for sample in report["samples"]), report
    assert answer["evidence"]
    assert answer["transaction"] in json.dumps(holds.read(host.environment))


@pytest.mark.guarantee("F21")
def test_one_that_flaps_never_counts_as_well(host):
    host.lease, host.passes = 6.0, 3
    write(host, "flaps", "TSM_MIN_HEALTHY=0s")
    before = store.current(host.environment)
    answer = host.switch({"api": PORT})
    host.lease, host.passes = 20.0, 1
    report = answer["reports"]["api"]
    assert {sample["ok"] for sample in report["samples"]} == {True, False}
    assert report["verdict"] in (health.FAILED, health.UNPROVEN)
    assert answer["state"] == transaction.ROLLED_BACK
    assert_as_before(host, before)


@contextlib.contextmanager
def elsewhere():
    """Another service, that is well; gives its address and who asked it."""
    asked = []

    def accept():
        with contextlib.suppress(OSError):
            while True:
                connection, peer = listener.accept()
                asked.append(peer)
                connection.close()

    with socket.create_server(("127.0.84.2", 0)) as listener:
        thread = threading.Thread(target=accept)
        thread.start()
        try:
            yield f"http://127.0.84.2:{listener.getsockname()[1]}/", asked
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


@pytest.mark.guarantee("F21")
def test_a_redirect_leads_nowhere(host):
    with elsewhere() as (url, asked):
        write(host, "redirects", f"export ELSEWHERE={url}")
        answer = host.switch({"api": PORT})
        assert answer["state"] == transaction.PROBING, answer
        # It is an answer of the service itself, and nobody else was asked.
        assert asked == []
        done(host.step("rolled_back", answer["transaction"]))
    host.settle()


@pytest.mark.guarantee("F21")
def test_the_agent_reads_no_more_of_an_answer_than_its_beginning(host):
    sizes = {}
    before = store.current(host.environment)
    for mode in ("well", "large-body", "endless-headers"):
        write(host, mode)
        identity = host.stage({"api": PORT})
        request = json.dumps({"tetra_dir": os.fspath(host.root), "org": "acme", "env": "dev",
                              "state": "active", "transaction": identity})
        with subprocess.Popen([*host.command, "release"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                              text=True) as agent:
            agent.stdin.write(request)
            agent.stdin.close()
            answer = json.loads(agent.stdout.read())["result"]
            sizes[mode] = os.wait4(agent.pid, 0)[2].ru_maxrss * 1024
            agent.returncode = 0
        assert answer["state"] == (transaction.ROLLED_BACK if mode == "endless-headers" else transaction.PROBING)
        done(host.step("rolled_back", identity))
    assert_as_before(host, before)
    assert max(sizes.values()) - sizes["well"] < MEMORY, sizes


CRASHES = {
    "crashes-at-start": "the process is",
    "dies-early": "the process ended and was started again",
    "forks-away": "the process is exited",
}


@pytest.mark.parametrize("mode", [pytest.param(mode, marks=pytest.mark.guarantee("F22"), id=f"F22-{mode}")
                                  for mode in CRASHES])  # fmt: skip
def test_a_service_that_does_not_stay_brings_the_host_back(host, mode):
    # On a slow machine it takes a while until one is given up.
    patient = ["TSM_HEALTH_START_PERIOD=5s"] if mode == "crashes-at-start" else []
    write(host, mode, "TSM_MIN_HEALTHY=2s", "export SLOW=1", *patient)
    answer = taken_back(host)
    assert CRASHES[mode] in answer["reports"]["api"]["reason"], answer


STARTS = {"with-a-start-period": ("30s", transaction.PROBING), "without-one": ("0s", transaction.ROLLED_BACK)}


@pytest.mark.parametrize("mode", ["starts-slowly", "binds-late"] if LONG else ["starts-slowly"])
@pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.guarantee("F22"), id=f"F22-slow-start-{name}")
                                  for name in STARTS])  # fmt: skip
def test_a_service_has_as_long_to_start_as_its_definition_says(host, name, mode):
    period, state = STARTS[name]
    host.lease = 20.0 + 2 * SLOW
    before = store.current(host.environment)
    write(host, mode, f"TSM_HEALTH_START_PERIOD={period}", f"export SLOW={SLOW}")
    begun = time.monotonic()
    answer = host.switch({"api": PORT})
    assert answer["state"] == state, answer
    assert time.monotonic() - begun > (SLOW if state == transaction.PROBING else 0)
    done(host.step("rolled_back", answer["transaction"]))
    host.lease = 20.0
    assert_as_before(host, before)


@pytest.mark.guarantee("F22")
def test_a_service_that_ignores_the_signal_to_end_is_ended_when_its_time_is_over(host):
    write(host, "ignores-the-signal", "TSM_STOP_TIMEOUT=1s")
    host.apply({"api": PORT})
    stubborn = processes.identity(pid(host))
    write(host, "well")
    begun = time.monotonic()
    host.apply({"api": PORT})
    assert time.monotonic() - begun > 1
    assert not processes.lives(stubborn)
    assert_as_before(host, store.current(host.environment))


THIEF = """\
import os, socket, sys
address, shared = sys.argv[1:]
thief = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
thief.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
if shared == "shared":
    thief.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
thief.bind((address, int(os.environ["PORT"])))
thief.listen()
if os.fork():
    sys.exit(0)
os.setsid()
for stream in range(3):
    os.dup2(os.open(os.devnull, os.O_RDWR), stream)
with open(os.environ["TETRA_DIR"] + "/thief", "w") as file:
    file.write(str(os.getpid()))
while True:
    connection, _peer = thief.accept()
    connection.recv(65536)
    connection.sendall(b"HTTP/1.1 200 OK\\r\\nContent-Length: 5\\r\\n\\r\\nthief")
    connection.close()
"""
# Where the thief listens, how, and what the service does: it shares its port with anybody, or cannot have it.
THIEVES = {
    "on-the-address": ("$HOST", "alone"),
    "on-every-address": ("0.0.0.0", "alone"),
    "on-the-address-with-a-shared-port": ("$HOST", "shared"),
    "on-the-address-of-one-who-listens-everywhere": ("$HOST", "shared", "export BIND=0.0.0.0"),
    **({"on-every-address-of-ipv6": ("::", "alone")} if socket.has_dualstack_ipv6() else {}),
}


WARM_UP = """\
import http.server, os, threading
server = http.server.HTTPServer((os.environ["HOST"], int(os.environ["PORT"])), http.server.SimpleHTTPRequestHandler)
threading.Timer(3, server.shutdown).start()
server.serve_forever()
"""


@pytest.mark.guarantee("F20")
def test_what_answers_before_the_service_has_begun_does_not_answer_for_it(host):
    # It is a child of the same process, and the service itself never comes to answer.
    write(host, "crashes-at-start", "TSM_PRE_START='python3 ${TETRA_RELEASE_DIR}/files/common/warm_up.py'",
          "TSM_HEALTH_START_PERIOD=10s", "TSM_MIN_HEALTHY=0s")  # fmt: skip
    samples = taken_back(host)["reports"]["api"]["samples"]
    assert not any(sample["own_process"] for sample in samples), samples


@pytest.fixture
def thief(host):
    """Ends the thief that a test let in; gives the function that says who it is."""
    file = Path(host.root, "thief")
    yield lambda: int(file.read_text())
    os.kill(int(file.read_text()), signal.SIGKILL)
    file.unlink()


@pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.guarantee("F20"), id=f"F20-{name}")
                                  for name in THIEVES])  # fmt: skip
def test_who_takes_the_port_before_the_service_can_is_named_and_does_not_answer_for_it(host, thief, name):
    address, shared, *lines = THIEVES[name]
    lines += ["export SHARED=yes"] if shared == "shared" else []
    before = f"TSM_PRE_START='python3 ${{TETRA_RELEASE_DIR}}/files/common/thief.py {address} {shared}'"
    write(host, "well", before, *lines)
    answer = taken_back(host, {"api": OTHER})
    assert get(f"http://{ADDRESS}:{OTHER}/") == (200, "thief")
    reason = answer["reports"]["api"]["reason"]
    assert f"python3 (pid {thief()}) listens on " in reason, reason
    if shared == "shared":
        assert "another program answered on the port of the service" in reason
