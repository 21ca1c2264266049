# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real listeners on this machine, and what the kernel's tables make of them."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time

import pytest
from ansible_collections.tetra.platform.plugins.module_utils.host import sockets


def has_ipv6() -> bool:
    with contextlib.suppress(OSError), socket.create_server(("::1", 0), family=socket.AF_INET6):
        return True
    return False


IPV6 = pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")


@contextlib.contextmanager
def server(address, dual=False):
    """A listener of this process; gives its port."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.create_server((address, 0), family=family, dualstack_ipv6=dual) as one:
        yield one.getsockname()[1]


LISTEN = """
import os, socket, sys, time
server = socket.create_server((sys.argv[1], int(sys.argv[2])), reuse_port=True)
if sys.argv[3] == "child" and os.fork():
    server.close()
print(server.getsockname()[1] if server.fileno() >= 0 else "", flush=True)
time.sleep(60)
"""


@contextlib.contextmanager
def process(address="127.0.9.1", port=0, who="self"):
    """A process that listens, itself or only by a child of it; gives the process and the port."""
    command = [sys.executable, "-c", LISTEN, address, str(port), who, "--token=secret"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True) as running:
        try:
            lines = [running.stdout.readline().strip() for _line in range(2 if who == "child" else 1)]
            yield running, int("".join(lines))
        finally:
            os.killpg(running.pid, 9)


def found(port):
    return [(one["address"], one["pid"], one["owner"]) for one in sockets.listeners() if one["port"] == port]


@pytest.mark.parametrize("address", ["127.0.9.1", "127.0.9.2", "0.0.0.0"])
def test_a_listener_is_found_with_its_address_and_process(address):
    with server(address) as port:
        assert found(port) == [(address, os.getpid(), None)]
    assert found(port) == []


@IPV6
@pytest.mark.parametrize(("address", "dual"), [("::1", False), ("::", False), ("::", True)])
def test_a_listener_on_ipv6_is_found(address, dual):
    with server(address, dual) as port:
        assert found(port) == [(address, os.getpid(), None)]


@IPV6
def test_a_mapped_address_is_shown_as_the_ipv4_address_that_it_is():
    with server("::ffff:127.0.9.1", dual=True) as port:
        assert found(port) == [("127.0.9.1", os.getpid(), None)]


def test_a_connection_is_no_listener():
    with server("127.0.9.1") as port, socket.create_connection(("127.0.9.1", port)) as client:
        own = client.getsockname()[1]
        assert len(found(port)) == 1
        assert found(own) == []


def test_a_socket_that_is_only_bound_is_no_listener():
    with socket.socket() as one:
        one.bind(("127.0.9.1", 0))
        assert found(one.getsockname()[1]) == []


def test_the_command_is_the_name_of_the_program_without_its_arguments():
    with process() as (running, port):
        entry = next(one for one in sockets.listeners() if one["port"] == port)
        assert entry["pid"] == running.pid
        assert entry["command"].startswith("python")
        assert "secret" not in str(entry)


def test_a_socket_that_is_shared_is_that_of_the_eldest_process():
    with server("127.0.9.1") as port:
        child = os.fork()
        if child == 0:
            time.sleep(60)
            os._exit(0)
        try:
            assert found(port) == [("127.0.9.1", os.getpid(), None)]
        finally:
            os.kill(child, 9)
            os.waitpid(child, 0)


def test_the_listener_of_a_child_counts_as_its_parent_s():
    with process(who="child") as (running, port):
        assert found(port)[0][1] != running.pid
        assert sockets.listening_pid("127.0.9.1", port, {running.pid})


def test_the_listener_of_another_process_does_not_count():
    with process() as (_one, port), process() as (other, _port):
        assert not sockets.listening_pid("127.0.9.1", port, {other.pid})


def test_the_listener_of_a_parent_is_not_its_child_s():
    with server("127.0.9.1") as port, process() as (child, _port):
        assert not sockets.listening_pid("127.0.9.1", port, {child.pid})


@pytest.mark.parametrize(
    ("listens", "asked", "answers"),
    [
        ("127.0.9.1", "127.0.9.1", True),
        ("127.0.9.1", "", True),
        ("0.0.0.0", "127.0.9.1", True),
        ("127.0.9.2", "127.0.9.1", False),
        pytest.param("::", "127.0.9.1", True, marks=IPV6),
        pytest.param("::1", "::1", True, marks=IPV6),
        pytest.param("::1", "127.0.9.1", False, marks=IPV6),
    ],
)
def test_who_answers_depends_on_the_address(listens, asked, answers):
    with server(listens) as port:
        assert sockets.listening_pid(asked, port, {os.getpid()}) is answers


def test_nobody_answers_on_a_port_without_a_listener():
    with server("127.0.9.1") as port:
        pass
    assert not sockets.listening_pid("127.0.9.1", port, {os.getpid()})


def test_of_a_wildcard_and_an_exact_listener_the_exact_one_answers():
    with process() as (exact, port):
        assert sockets.listening_pid("127.0.9.1", port, {exact.pid})
        with process("0.0.0.0", port) as (other, _port):
            assert sockets.listening_pid("127.0.9.1", port, {exact.pid})
            assert not sockets.listening_pid("127.0.9.1", port, {other.pid})


def test_a_port_that_is_shared_with_a_stranger_is_not_ours_alone():
    with process() as (one, port):
        assert sockets.listening_pid("127.0.9.1", port, {one.pid})
        with process(port=port) as (other, _port):
            assert not sockets.listening_pid("127.0.9.1", port, {one.pid})
            assert sockets.listening_pid("127.0.9.1", port, {one.pid, other.pid})


def test_owners_are_named_for_processes_and_their_children():
    with process() as (one, port), process(who="child") as (other, child_port), server("127.0.9.1") as foreign:
        listeners = sockets.listeners()
        sockets.name_owners(listeners, {one.pid: "acme/dev/api", other.pid: "acme/dev/web"})
        owners = {entry["port"]: entry["owner"] for entry in listeners}
    assert (owners[port], owners[child_port], owners[foreign]) == ("acme/dev/api", "acme/dev/web", None)


def test_a_free_port_can_be_bound():
    with server("127.0.9.1") as port:
        pass
    assert sockets.can_bind("127.0.9.1", port) is None
    assert sockets.can_bind("", port) is None


@pytest.mark.parametrize(
    ("listens", "asked"),
    [("127.0.9.1", "127.0.9.1"), ("127.0.9.1", ""), ("0.0.0.0", "127.0.9.1"), pytest.param("::1", "", marks=IPV6)],
)
def test_a_taken_port_cannot_be_bound_and_its_holder_is_named(listens, asked):
    with server(listens) as port:
        reason = sockets.can_bind(asked, port)
    place = f"[{listens}]" if ":" in listens else listens
    assert reason.startswith("py")
    assert reason.endswith(f"(pid {os.getpid()}) listens on {place}:{port}")


def test_a_listener_on_another_address_is_not_in_the_way():
    with server("127.0.9.2") as port:
        assert sockets.can_bind("127.0.9.1", port) is None


def test_looking_whether_a_port_can_be_bound_leaves_it_free():
    with server("127.0.9.1") as port:
        pass
    assert sockets.can_bind("127.0.9.1", port) is None
    with socket.create_server(("127.0.9.1", port)):
        assert len(found(port)) == 1


def test_an_old_connection_is_not_in_the_way():
    listening = socket.create_server(("127.0.9.1", 0))
    port = listening.getsockname()[1]
    with socket.create_connection(("127.0.9.1", port)) as client:
        accepted, _peer = listening.accept()
        # Who closes first keeps the port in TIME_WAIT.
        accepted.close()
        listening.close()
        client.recv(1)
    assert sockets.can_bind("127.0.9.1", port) is None


def test_an_address_that_this_host_does_not_have_is_named():
    assert sockets.can_bind("192.0.2.1", 4100) == "this host has no address 192.0.2.1"
