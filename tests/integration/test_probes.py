# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks against real servers, well and ill behaved, and real commands."""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
import subprocess
import threading
import time
import tracemalloc

import pytest
from ansible_collections.tetra.platform.plugins.module_utils.host import own_addresses, probes, processes

ADDRESS = "127.0.8.1"
PATH = os.environ["PATH"]
# How long a command sleeps that is to be found again; no other run has the same.
LONG = f"600.{os.getpid()}"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@contextlib.contextmanager
def server(serve, address=ADDRESS):
    """A server that hands each connection to a function, in a thread of its own; gives its port and what was asked."""
    asked = []
    stopped = threading.Event()

    def work(connection):
        with contextlib.suppress(OSError), connection:
            asked.append(connection.recv(65536).decode())
            serve(connection, stopped)

    def accept():
        while True:
            try:
                connection, _peer = listener.accept()
            except OSError:
                return
            threading.Thread(target=work, args=(connection,), daemon=True).start()

    with socket.create_server((address, 0)) as listener:
        threading.Thread(target=accept, daemon=True).start()
        try:
            yield listener.getsockname()[1], asked
        finally:
            stopped.set()
            listener.shutdown(socket.SHUT_RDWR)


def says(*parts, pause=0.0, forever=False):
    """A way to serve: send parts, with pauses, the last one for ever if need be."""

    def serve(connection, stopped):
        for part in parts:
            connection.sendall(part)
            stopped.wait(pause)
        while forever and not stopped.is_set():
            connection.sendall(parts[-1])
            stopped.wait(pause)

    return serve


def keeps_silent(connection, stopped):
    stopped.wait(30)


def http(url, address="", timeout=2.0):
    return probes.check({"kind": "http", "url": url, "timeout": timeout}, address, "/", {})


def tcp(host, port, address="", timeout=2.0):
    return probes.check({"kind": "tcp", "address": host, "port": str(port), "timeout": timeout}, address, "/", {})


def command(*argv, timeout=2.0, cwd="/", **environment):
    health = {"kind": "command", "argv": list(argv), "timeout": timeout}
    return probes.check(health, "", os.fspath(cwd), {"PATH": PATH, **environment})


def unused_port():
    with socket.create_server((ADDRESS, 0)) as listener:
        return listener.getsockname()[1]


@pytest.mark.parametrize(
    ("status", "ok"),
    [(200, True), (204, True), (302, True), (399, True), (400, False), (404, False), (500, False), (503, False)],
)
def test_what_a_status_means(status, ok):
    answer = f"HTTP/1.1 {status} Said\r\nLocation: http://127.0.8.9:1/\r\nContent-Length: 0\r\n\r\n".encode()
    with server(says(answer)) as (port, _asked):
        result = http(f"http://{ADDRESS}:{port}/")
    assert result.ok is ok
    assert result.detail.startswith(f"status {status}:")


def test_the_detail_has_the_beginning_of_the_answer_on_one_line():
    body = b"all\r\n\tis \x1b[31mwell\x00\xff " + b"x" * 1000
    with server(says(b"HTTP/1.1 200 OK\r\n\r\n" + body)) as (port, _asked):
        detail = http(f"http://{ADDRESS}:{port}/").detail
    assert detail.startswith("status 200: all is [31mwell \ufffd xxx")
    assert detail.isprintable()
    assert len(detail) < 520


@pytest.mark.parametrize(
    ("path", "line"),
    [("", "GET / HTTP/1.1"), ("/a/b?c=d&e#f", "GET /a/b?c=d&e HTTP/1.1"), ("?x", "GET /?x HTTP/1.1")],
)
def test_what_is_asked_for(path, line):
    with server(says(OK)) as (port, asked):
        assert http(f"http://{ADDRESS}:{port}{path}").ok
    lines = asked[0].split("\r\n")
    assert lines[0] == line
    assert f"Host: {ADDRESS}:{port}" in lines


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "LOCALHOST", "[::1]"])
def test_localhost_is_the_address_of_the_host(host):
    with server(says(OK)) as (port, asked):
        assert http(f"http://{host}:{port}/", address=ADDRESS).ok
    assert f"Host: {host}:{port}" in asked[0]


def test_localhost_is_localhost_where_the_host_has_no_address():
    with server(says(OK), address="127.0.0.1") as (port, _asked):
        assert http(f"http://127.0.0.1:{port}/").ok


def test_another_address_is_left_alone():
    with server(says(OK)) as (port, _asked):
        assert http(f"http://{ADDRESS}:{port}/", address="127.0.8.2").ok
        assert not http(f"http://127.0.8.2:{port}/", address=ADDRESS).ok


def test_user_and_password_of_a_url_do_not_get_into_the_name_of_the_host():
    with server(says(OK)) as (port, asked):
        assert http(f"http://me:word@{ADDRESS}:{port}/").ok
    assert "word" not in asked[0]


@pytest.mark.parametrize(
    "url", ["ftp://localhost/", "file:///etc/passwd", "localhost:80", "http://", "http://x:y/", "http://h/a b"]
)
def test_what_is_no_url_of_ours_fails(url):
    result = http(url)
    assert not result.ok
    assert result.detail


def test_a_server_is_not_asked_for_what_is_no_http():
    with server(says(OK)) as (port, asked):
        assert not http(f"ftp://{ADDRESS}:{port}/").ok
    assert asked == []


def test_nobody_there_is_a_failure_at_once():
    result = http(f"http://{ADDRESS}:{unused_port()}/")
    assert not result.ok
    assert "refused" in result.detail
    assert result.seconds < 1


@pytest.mark.parametrize(
    "answer",
    [b"", b"\0\0\0\0", b"SSH-2.0-x\r\n", b"HTTP/1.1 abc\r\n\r\n", b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 300],
)
def test_an_answer_that_is_no_http_is_a_failure(answer):
    with server(says(answer)) as (port, _asked):
        result = http(f"http://{ADDRESS}:{port}/")
    assert not result.ok
    assert result.detail


@pytest.mark.parametrize(
    "serve",
    [
        keeps_silent,
        says(b"HTTP/1.1 200 OK\r\n", b"x", pause=0.1, forever=True),
        says(b"HTTP/1.1 200 OK\r\n", b"a: b\r\n", pause=0.1, forever=True),
        says(b"HTTP/1.1 200 OK\r\n\r\n", b"x", pause=0.1, forever=True),
        says(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n", pause=0.1, forever=True),
        says(b"HTTP/1.1 100 Continue\r\n\r\n", pause=0.1, forever=True),
    ],
    ids=["silent", "status line", "headers", "body", "chunks", "continue"],
)
def test_no_server_can_hold_a_check_beyond_its_time(serve):
    before = threading.active_count()
    with server(serve) as (port, _asked):
        begun = time.monotonic()
        result = http(f"http://{ADDRESS}:{port}/", timeout=0.5)
        took = time.monotonic() - begun
        assert not result.ok
        assert "time" in result.detail
        assert 0.4 < took < 1.5
        # The thread that asked ends as well, though the server goes on.
        end = time.monotonic() + 3
        while threading.active_count() > before + 2 and time.monotonic() < end:
            time.sleep(0.02)
        assert threading.active_count() <= before + 2


def test_an_endless_answer_counts_by_its_beginning():
    with server(says(b"HTTP/1.1 200 OK\r\n\r\n", b"x" * 65536, forever=True)) as (port, _asked):
        result = http(f"http://{ADDRESS}:{port}/")
    assert result.ok
    assert result.seconds < 2


def test_a_name_server_that_hangs_cannot_hold_a_check(monkeypatch):
    def getaddrinfo(*_arguments):
        time.sleep(1)
        raise socket.gaierror("no such host")

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    for result in (http("http://some.host.example/", timeout=0.3), tcp("some.host.example", 80, timeout=0.3)):
        assert not result.ok
        assert result.seconds < 0.9
    # The threads are let go before the next test.
    time.sleep(1)


@pytest.mark.parametrize("host", [
    "169.254.169.254", "2852039166", "0xa9fea9fe", "[::ffff:169.254.169.254]", "192.0.2.1", "localhost@192.0.2.1",
    "[2001:db8::1]", "[fe80::1]",
])
@pytest.mark.parametrize("kind", ["http", "tcp"])
def test_a_check_of_a_service_asks_no_other_host(monkeypatch, host, kind):
    monkeypatch.setattr(socket, "create_connection", lambda *_arguments: pytest.fail("it was asked"))
    check = {"kind": kind, "url": f"http://{host}/", "address": host.rpartition("@")[2].strip("[]"), "port": "80"}
    result = probes.check({**check, "timeout": 2.0}, "", "/", {}, own=True)
    assert not result.ok
    assert "is another host" in result.detail


@pytest.mark.parametrize("host", ["localhost", ADDRESS, f"[::ffff:{ADDRESS}]"])
def test_a_check_of_a_service_asks_its_own_host(host):
    with server(says(OK)) as (port, _asked):
        check = {"kind": "http", "url": f"http://{host}:{port}/", "timeout": 2.0}
        assert probes.check(check, ADDRESS if host == "localhost" else "", "/", {}, own=True).ok


def test_the_addresses_of_this_host_are_its_own():
    said = subprocess.run(["hostname", "--all-ip-addresses"], capture_output=True, text=True, check=True).stdout.split()
    assert [address for address in said if not own_addresses.is_own(address)] == []
    assert not own_addresses.is_own("192.0.2.1")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    folder = tmp_path_factory.mktemp("certificate")
    key, path = folder / "key.pem", folder / "certificate.pem"
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-keyout", key, "-out", path]
    subprocess.run([*command, *subject], check=True, capture_output=True)
    return path, key


@contextlib.contextmanager
def secure_server(certificate):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    with socket.create_server((ADDRESS, 0)) as listener:

        def serve():
            connection, _peer = listener.accept()
            with contextlib.suppress(OSError), context.wrap_socket(connection, server_side=True) as secure:
                secure.recv(65536)
                secure.sendall(OK)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        thread.join(5)


def test_https_wants_a_certificate_for_the_name_in_the_url(certificate, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", os.fspath(certificate[0]))
    with secure_server(certificate) as port:
        result = http(f"https://localhost:{port}/", address=ADDRESS)
    assert result.ok, result.detail
    with secure_server(certificate) as port:
        result = http(f"https://{ADDRESS}:{port}/")
    assert not result.ok
    assert "certificate" in result.detail


def test_https_does_not_trust_just_anybody(certificate):
    with secure_server(certificate) as port:
        result = http(f"https://localhost:{port}/", address=ADDRESS)
    assert not result.ok
    assert "certificate" in result.detail


def test_tcp_is_well_when_somebody_listens():
    with socket.create_server((ADDRESS, 0)) as listener:
        port = listener.getsockname()[1]
        assert tcp("localhost", port, address=ADDRESS).ok
        assert tcp(ADDRESS, port).ok
        assert not tcp("127.0.8.2", port).ok


@pytest.mark.parametrize("port", ["http", "", "70000", "-1"])
def test_tcp_with_a_port_that_is_none_fails(port):
    result = tcp(ADDRESS, port)
    assert not result.ok
    assert result.detail


def test_tcp_to_a_full_listener_does_not_last_longer_than_its_time():
    with socket.socket() as listener:
        listener.bind((ADDRESS, 0))
        listener.listen(0)
        waiting = [socket.socket() for _number in range(4)]
        for one in waiting:
            one.setblocking(False)
            one.connect_ex(listener.getsockname())
        result = tcp(ADDRESS, listener.getsockname()[1], timeout=0.3)
        for one in waiting:
            one.close()
    assert not result.ok
    assert result.seconds < 1.5


@pytest.mark.parametrize(("code", "ok"), [(0, True), (1, False), (77, False)])
def test_a_command_is_judged_by_its_exit_code(code, ok):
    result = command("sh", "-c", f"echo out; echo error >&2; exit {code}")
    assert result.ok is ok
    assert result.detail == f"exit code {code}: out error"


def test_a_command_has_the_folder_and_the_environment_of_the_service_and_no_other(tmp_path, monkeypatch):
    monkeypatch.setenv("LEAK", "x")
    detail = command("sh", "-c", 'pwd; echo "$TOKEN$LEAK"; cat', cwd=tmp_path, TOKEN="t").detail
    assert detail == f"exit code 0: {tmp_path} t"


def test_a_command_cannot_read_what_is_typed():
    reader, writer = os.pipe()
    before = os.dup(0)
    os.write(writer, b"typed\n")
    os.dup2(reader, 0)
    try:
        assert command("cat").detail == "exit code 0:"
    finally:
        os.dup2(before, 0)
        for descriptor in (reader, writer, before):
            os.close(descriptor)


@pytest.mark.parametrize("words", [("no-such-program",), ("/etc/passwd",)])
def test_a_command_that_cannot_be_run_fails_and_is_named(words):
    result = command(*words)
    assert not result.ok
    assert words[0] in result.detail


def test_a_folder_that_is_not_there_is_a_failure():
    result = command("true", cwd="/no/such/folder")
    assert not result.ok
    assert "/no/such/folder" in result.detail


def children_of_this_process():
    return processes.family(os.getpid()) - {os.getpid()}


@pytest.mark.parametrize(
    "text", [f"sleep {LONG}", f"sleep {LONG} & sleep {LONG} & wait", f"trap '' TERM HUP; sleep {LONG} & wait"],
    ids=["one", "two", "deaf"],
)
def test_a_command_that_lasts_too_long_is_ended_with_all_that_it_started(text, tmp_path):
    pids = tmp_path / "pids"
    result = command("sh", "-c", f"echo $$ > {pids}; {text}", timeout=0.4)
    assert not result.ok
    assert "time" in result.detail
    assert result.seconds < 1.5
    assert processes.identity(int(pids.read_text())) is None
    until_gone("sleep", LONG)


def until_gone(*argv):
    end = time.monotonic() + 3
    while time.monotonic() < end and processes.ending_with(list(argv)):
        time.sleep(0.02)
    assert processes.ending_with(list(argv)) == []


def test_a_command_that_leaves_something_behind_is_done_when_it_ends_itself():
    result = command("sh", "-c", f"sleep {LONG} & echo done", timeout=5.0)
    assert result.ok
    assert result.detail == "exit code 0: done"
    assert result.seconds < 2
    until_gone("sleep", LONG)


def test_a_command_that_closes_its_output_is_still_waited_for():
    assert command("sh", "-c", "exec >&- 2>&-; sleep 0.3; exit 7").detail.startswith("exit code 7")


def test_a_command_that_says_much_is_neither_stuck_nor_kept():
    tracemalloc.start()
    try:
        result = command("sh", "-c", "head -c 5000000 /dev/zero | tr '\\0' x; exit 3", timeout=10.0)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()
    assert result.detail.startswith("exit code 3: xxx")
    assert len(result.detail) < 520


def test_a_command_that_never_stops_saying_things_is_ended():
    result = command("yes", timeout=0.4)
    assert not result.ok
    assert result.seconds < 1.5


def test_checks_leave_no_process_and_no_descriptor_behind():
    command("true")
    before = set(os.listdir("/proc/self/fd"))
    for _number in range(5):
        command("sh", "-c", "echo x")
        command("sleep", "600", timeout=0.05)
        command("no-such-program")
        http(f"http://{ADDRESS}:{unused_port()}/")
    assert children_of_this_process() == set()
    # What a test before left may be closed meanwhile.
    assert set(os.listdir("/proc/self/fd")) <= before


def test_the_time_that_a_check_took_is_told():
    assert 0.2 <= command("sleep", "0.2").seconds < 2
