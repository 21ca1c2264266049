# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A real server on a Unix socket in the place of Docker: what it says is heard, and it cannot do harm."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time

import pytest
from ansible_collections.tetra.platform.plugins.module_utils.host import containers, sockets

ID = "ab" * 32
HEAD = b"HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n\r\n"
WEB = {"Id": ID, "Names": ["/web"],
       "Ports": [{"IP": "0.0.0.0", "PrivatePort": 80, "PublicPort": 18080, "Type": "tcp"},
                 {"IP": "::", "PrivatePort": 80, "PublicPort": 18080, "Type": "tcp"},
                 {"PrivatePort": 53, "Type": "udp"}]}  # fmt: skip
PUBLISHED = [{"address": address, "port": 18080, "protocol": "tcp", "container": "web"}
             for address in ("0.0.0.0", "::")]


def document(*records):
    return HEAD + json.dumps(records).encode()


@pytest.fixture
def place(monkeypatch):
    """Where the one engine of this host waits, and nobody does yet."""
    # Such a path may have no more than 107 bytes, which that of a test may exceed.
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "docker.sock")
        monkeypatch.setattr(containers, "PLACES", (path,))
        yield path


@contextlib.contextmanager
def engine(place, *pieces, pause=0.0):
    """A server that answers each question with some pieces; gives the questions."""
    questions = []
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(place)
        listening.listen()
        thread = threading.Thread(target=_serve, args=(listening, questions, pieces, pause))
        thread.start()
        try:
            yield questions
        finally:
            listening.shutdown(socket.SHUT_RDWR)
            thread.join()


def _serve(listening, questions, pieces, pause):
    # Ends when there is nothing to accept from any more, and an answer when nobody reads it.
    with contextlib.suppress(OSError):
        while True:
            client, _peer = listening.accept()
            with client, contextlib.suppress(OSError):
                questions.append(client.recv(65536))
                for piece in pieces:
                    client.sendall(piece)
                    time.sleep(pause)


def test_the_published_ports_and_the_names_of_containers_are_told(place):
    with engine(place, document(WEB)) as questions:
        assert containers.published() == PUBLISHED
        assert containers.name_of(ID) == "web"
        assert containers.name_of("cd" * 32) == "cd" * 6
        assert containers.name_of("") == ""
    assert questions[0].startswith(b"GET /containers/json HTTP/1.0\r\n")
    assert questions[0].endswith(b"\r\n\r\n")


def test_an_answer_in_many_pieces_is_put_together(place):
    answer = document(WEB)
    with engine(place, *(answer[index : index + 7] for index in range(0, len(answer), 7)), pause=0.001):
        assert containers.published() == PUBLISHED


def test_a_published_port_is_among_the_listeners_of_the_host(place):
    with engine(place, document(WEB)):
        rows = [(one["address"], one["state"], one["container"]) for one in sockets.listeners() if one["port"] == 18080]
        assert sockets.can_bind("127.0.9.1", 18080) == "container web publishes 0.0.0.0:18080"
    assert rows == [("0.0.0.0", "published", "web"), ("::", "published", "web")]


def test_a_host_without_containers_has_none(place):
    assert containers.published() == []
    assert containers.name_of(ID) == ID[:12]


def test_a_socket_that_nobody_serves_any_more_is_no_engine(place):
    with engine(place, document(WEB)):
        pass
    assert os.path.exists(place)
    assert containers.published() == []


def test_two_engines_are_both_heard(place, monkeypatch):
    other = f"{place}.podman"
    monkeypatch.setattr(containers, "PLACES", (place, other))
    second = {"Id": "cd" * 32, "Names": ["/db"], "Ports": [{"IP": "", "PublicPort": 15432, "Type": "tcp"}]}
    with engine(place, document(WEB)), engine(other, document(second)):
        assert [one["container"] for one in containers.published()] == ["db", "web", "web"]


@pytest.mark.parametrize("answer", [b"", b"\0" * 1000, HEAD, HEAD + b"[{", HEAD + b"{}", HEAD + b"[" * 100_000])
def test_an_odd_answer_is_no_containers(place, answer):
    with engine(place, answer) as questions:
        assert containers.published() == []
    assert len(questions) == 1


def test_an_answer_without_end_is_cut_off(place):
    before = time.monotonic()
    with engine(place, HEAD, *[b" " * 1_000_000] * 50):
        assert containers.published() == []
    assert time.monotonic() - before < 5


def test_an_answer_that_is_too_long_is_not_read(place):
    head, _empty, body = document(WEB).partition(b"\r\n\r\n")
    with engine(place, head + b"\r\n\r\n" + b" " * 5_000_000 + body):
        assert containers.published() == []


def test_a_run_does_not_ask_for_each_service(place):
    with engine(place, document(WEB)) as questions:
        for _service in range(50):
            assert containers.published() == PUBLISHED
    # A moment may end in between.
    assert len(questions) <= 2


def test_as_much_as_a_large_host_has_is_read(place):
    many = [{**WEB, "Id": f"{number:064x}", "Names": [f"/web{number}"]} for number in range(5000)]
    with engine(place, document(*many)):
        assert len(containers.published()) == 10_000


@pytest.mark.parametrize("pieces", [[b"H"] * 200, [HEAD, b" "] + [b" "] * 200])
def test_an_engine_that_takes_its_time_does_not_hold_us(place, pieces):
    with engine(place, *pieces, pause=0.05):
        before = time.monotonic()
        assert containers.published() == []
        assert time.monotonic() - before < 2
        # Nor does it once for each service.
        assert containers.published() == []
        assert containers.name_of(ID) == ID[:12]
        assert time.monotonic() - before < 4


def test_an_engine_that_says_nothing_does_not_hold_us(place):
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(place)
        listening.listen()
        before = time.monotonic()
        assert containers.published() == []
        assert time.monotonic() - before < 2


# What systemd does for a program that is not started yet: the first process listens for it.
FIRST_PROCESS = """
import os, socket, sys, time
with open("/proc/self/comm", "w") as file:
    file.write(sys.argv[2])
listening = socket.socket(socket.AF_UNIX)
listening.bind(sys.argv[1])
listening.listen()
listening.settimeout(0)
if os.fork() == 0:
    if sys.argv[3] == "stopped":
        listening.close()
    from ansible_collections.tetra.platform.plugins.module_utils.host import containers
    containers.PLACES = (sys.argv[1],)
    containers.published()
    os._exit(0)
os.wait()
try:
    listening.accept()
    print("asked")
except BlockingIOError:
    print("left alone")
"""


@pytest.mark.parametrize(
    ("first", "state", "result"),
    [("systemd", "stopped", "left alone"), ("systemd", "started", "asked"), ("dockerd", "stopped", "asked")],
)
def test_an_engine_that_systemd_would_start_for_a_question_is_not_asked(place, first, state, result):
    command = ["unshare", "--map-root-user", "--pid", "--fork", "--mount-proc", sys.executable, "-c", FIRST_PROCESS,
               place, first, state]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if done.returncode and "unshare" in done.stderr:
        pytest.skip(f"this machine does not let its users have processes of their own: {done.stderr.strip()}")
    assert done.stdout.strip() == result, done.stderr


def test_a_socket_of_another_host_that_was_mounted_here_is_not_asked(place):
    with engine(place, document(WEB)) as questions:
        code = ("import sys; from ansible_collections.tetra.platform.plugins.module_utils.host import containers; "
                "containers.PLACES = (sys.argv[1],); print(containers.published())")
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        command = ["unshare", "--map-root-user", "--net", sys.executable, "-c", code, place]
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if done.returncode and "unshare" in done.stderr:
        pytest.skip(f"this machine does not let its users have networks of their own: {done.stderr.strip()}")
    assert done.stdout.strip() == "[]", done.stderr
    assert questions == []
