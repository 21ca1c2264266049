# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real listeners on this machine, and what the kernel's tables make of them."""

from __future__ import annotations

import contextlib
import os
import random
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from ansible_collections.tetra.platform.plugins.module_utils.host import containers, kernel_ports, sockets


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
        assert sockets.stranger("127.0.9.1", port, {one.pid}) is None
        with process(port=port) as (other, _port):
            assert not sockets.listening_pid("127.0.9.1", port, {one.pid})
            named = f"python3 (pid {other.pid}) listens on 127.0.9.1:{port}"
            assert sockets.stranger("127.0.9.1", port, {one.pid}) == named.replace("python3", Path(sys.executable).name)
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


@contextlib.contextmanager
def datagrams(address, dual=False, port=0):
    """A bound UDP socket of this process; gives its port."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as one:
        if family == socket.AF_INET6:
            one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, not dual)
        one.bind((address, port))
        yield one.getsockname()[1]


@contextlib.contextmanager
def outgoing(kind=socket.SOCK_STREAM, reuse=False, port=0):
    """A connection of this process from 127.0.9.3 to a server; gives its own port, and a way to close it."""
    with socket.create_server(("127.0.9.1", 0)) as listening, socket.socket(socket.AF_INET, kind) as client:
        if reuse:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        client.bind(("127.0.9.3", port))
        client.connect(listening.getsockname())

        def close():
            # Who closes first keeps the port in TIME_WAIT.
            accepted, _peer = listening.accept()
            client.close()
            accepted.recv(1)
            accepted.close()

        yield client.getsockname()[1], close


def entries(port, registered=()):
    return [one for one in sockets.listeners(registered) if one["port"] == port]


def fixed_port():
    """A free port that the kernel does not choose by itself."""
    low, _high = kernel_ports.ephemeral()
    # Other runs look for one at the same time.
    return next(port for port in random.sample(range(10000, low), 1000)
                if not entries(port) and sockets.can_bind("", port) is sockets.can_bind("", port, "udp") is None)


def test_a_listener_is_told_with_all_that_is_known_of_it():
    with process() as (running, port):
        [entry] = entries(port)
    assert entry.pop("command").startswith("python")
    # Which unit runs the tests depends on the machine.
    assert isinstance(entry.pop("unit"), str)
    assert entry == {"address": "127.0.9.1", "port": port, "protocol": "tcp", "state": "listen", "ipv6_only": False,
                     "pid": running.pid, "container": "", "owner": None}


@pytest.mark.parametrize("address", ["127.0.9.1", "0.0.0.0", pytest.param("::1", marks=IPV6)])
def test_a_bound_udp_socket_is_found(address):
    with datagrams(address) as port:
        [entry] = entries(port)
        assert (entry["address"], entry["protocol"], entry["state"]) == (address, "udp", "listen")
        assert (entry["pid"], entry["ipv6_only"]) == (os.getpid(), False)
        assert not sockets.listening_pid("", port, {os.getpid()})
    assert entries(port) == []


@IPV6
@pytest.mark.parametrize("listen", [server, datagrams])
@pytest.mark.parametrize(("address", "dual", "only"), [("::", True, False), ("::", False, True), ("::1", False, False)])
def test_whether_a_listener_on_every_ipv6_address_takes_ipv4_as_well(listen, address, dual, only):
    with listen(address, dual) as port:
        assert [one["ipv6_only"] for one in entries(port)] == [only]


@IPV6
@pytest.mark.parametrize("other", ["0.0.0.0", "127.0.0.1", "127.0.9.1"])
def test_a_listener_that_leaves_ipv4_to_another_one_is_told_from_one_that_takes_it(other):
    with server("::") as port, socket.create_server((other, port)):
        assert [(one["address"], one["ipv6_only"]) for one in entries(port)] == [(other, False), ("::", True)]
    with datagrams("::") as port, datagrams(other, port=port):
        assert [(one["address"], one["ipv6_only"]) for one in entries(port)] == [(other, False), ("::", True)]


def test_listeners_come_in_the_order_of_their_ports_and_the_same_each_time():
    with contextlib.ExitStack() as stack:
        for number in range(8):
            stack.enter_context(server(f"127.0.9.{number % 2 + 1}"))
            stack.enter_context(datagrams(f"127.0.9.{number % 2 + 1}"))
        found = sockets.listeners()
        keys = [(one["port"], one["protocol"], one["address"]) for one in found]
        assert keys == sorted(keys)
        assert len(keys) >= 16
        ours = [one for one in found if one["pid"] == os.getpid()]
        assert [one for one in sockets.listeners() if one in ours] == ours


def test_several_sockets_of_one_process_for_one_port_are_one_listener():
    with contextlib.ExitStack() as stack:
        one, port = stack.enter_context(process())
        other, _port = stack.enter_context(process(port=port))
        assert sorted(entry["pid"] for entry in entries(port)) == sorted([one.pid, other.pid])
    with socket.create_server(("127.0.9.1", 0), reuse_port=True) as first:
        port = first.getsockname()[1]
        with socket.create_server(("127.0.9.1", port), reuse_port=True):
            assert len(entries(port)) == 1


def test_an_outgoing_connection_with_a_port_that_the_kernel_did_not_choose_is_found():
    port = fixed_port()
    with outgoing(port=port):
        [entry] = entries(port)
        assert (entry["address"], entry["protocol"], entry["state"]) == ("127.0.9.3", "tcp", "connection")
        assert entry["pid"] == os.getpid()
    assert [one["state"] for one in entries(port)] == []


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM])
def test_an_outgoing_connection_on_a_port_of_the_kernel_is_found_when_a_service_may_want_it(kind):
    with outgoing(kind) as (port, _close):
        assert entries(port) == []
        assert [one["state"] for one in entries(port, {port})] == ["connection"]


@pytest.mark.parametrize(("reuse", "address"), [(False, "127.0.9.3"), (True, "127.0.9.4")])
def test_of_several_connections_on_a_port_the_first_that_is_in_the_way_is_given(reuse, address):
    port = fixed_port()
    with outgoing(port=port, reuse=reuse), socket.create_server(("127.0.9.1", 0)) as listening, socket.socket() as one:
        one.bind(("127.0.9.4", port))
        one.connect(listening.getsockname())
        assert [one["address"] for one in entries(port)] == [address]


@IPV6
def test_a_connection_over_ipv4_that_a_listener_on_ipv6_accepted_is_not_in_the_way():
    with socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True) as listening:
        port = listening.getsockname()[1]
        with socket.create_connection(("127.0.9.1", port)):
            accepted, _peer = listening.accept()
            with accepted:
                assert [one["state"] for one in entries(port, {port})] == ["listen"]


def test_a_connection_that_a_listener_accepted_is_not_in_the_way_nor_when_the_listener_ended():
    port = fixed_port()
    listening = socket.create_server(("127.0.9.1", port))
    with socket.create_connection(("127.0.9.1", port)):
        accepted, _peer = listening.accept()
        with accepted:
            assert [one["state"] for one in entries(port, {port})] == ["listen"]
            listening.close()
            assert entries(port, {port}) == []
            assert sockets.can_bind("127.0.9.1", port) is None


@pytest.mark.parametrize("asked", ["127.0.9.3", ""])
@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM])
def test_a_port_that_an_outgoing_connection_has_cannot_be_bound_and_the_program_is_named(kind, asked):
    protocol = "tcp" if kind == socket.SOCK_STREAM else "udp"
    with outgoing(kind) as (port, _close):
        reason = sockets.can_bind(asked, port, protocol)
        assert sockets.can_bind("127.0.9.4", port, protocol) is None
    place = f"127.0.9.3:{port}" if protocol == "tcp" else f"127.0.9.3:{port}/udp"
    assert reason.startswith("an outgoing connection of ")
    assert reason.endswith(f"(pid {os.getpid()}) uses {place} as its source port")


def test_an_outgoing_connection_that_shares_its_port_is_not_in_the_way():
    with outgoing(reuse=True) as (port, _close):
        assert entries(port, {port}) == []
        assert sockets.can_bind("127.0.9.3", port) is None


def test_what_is_left_of_a_connection_is_no_holder_but_named_when_it_is_in_the_way():
    with outgoing() as (port, close):
        close()
        assert entries(port, {port}) == []
        reason = sockets.can_bind("127.0.9.3", port)
    assert reason == f"what is left of a connection that was closed keeps 127.0.9.3:{port} for a minute or less"


def test_a_connection_that_no_program_has_any_more_is_no_holder_but_named():
    with socket.create_server(("127.0.9.1", 0)) as listening, socket.socket() as client:
        client.bind(("127.0.9.3", 0))
        port = client.getsockname()[1]
        client.connect(listening.getsockname())
        # The other side does not close yet.
        client.close()
        assert entries(port, {port}) == []
        assert sockets.can_bind("127.0.9.3", port).startswith("what is left of a connection that was closed keeps 127.")


@pytest.mark.parametrize(
    ("listens", "asked"),
    [("127.0.9.1", "127.0.9.1"), ("127.0.9.1", ""), ("0.0.0.0", "127.0.9.1"), pytest.param("::1", "", marks=IPV6)],
)
def test_a_taken_udp_port_cannot_be_bound_and_its_holder_is_named(listens, asked):
    # One that the kernel chose for UDP may be that of somebody's TCP connection.
    with datagrams(listens, port=fixed_port()) as port:
        reason = sockets.can_bind(asked, port, "udp")
        assert sockets.can_bind(asked, port) is None
    place = f"[{listens}]" if ":" in listens else listens
    assert reason.endswith(f"(pid {os.getpid()}) listens on {place}:{port}/udp")
    assert sockets.can_bind(asked, port, "udp") is None


def test_a_udp_port_that_others_may_share_is_taken_nevertheless():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        one.bind(("127.0.9.1", 0))
        port = one.getsockname()[1]
        assert f"(pid {os.getpid()}) listens on 127.0.9.1:{port}/udp" in sockets.can_bind("127.0.9.1", port, "udp")


@IPV6
def test_a_listener_that_leaves_ipv4_alone_is_not_named_for_it():
    with server("::") as port, outgoing(port=port):
        assert sockets.can_bind("127.0.9.1", port) is None
        assert sockets.can_bind("127.0.9.3", port).endswith(f"uses 127.0.9.3:{port} as its source port")
        assert sockets.can_bind("::1", port).endswith(f"listens on [::]:{port}")


@IPV6
def test_a_listener_that_takes_ipv4_as_well_is_named_for_it():
    with server("::", dual=True) as port:
        assert sockets.can_bind("127.0.9.1", port).endswith(f"listens on [::]:{port}")


def control_groups():
    """The folder of the kernel's groups of processes that all others are in, of version 2 or systemd's own."""
    for folder in ("/sys/fs/cgroup", "/sys/fs/cgroup/unified", "/sys/fs/cgroup/systemd"):
        if os.access(f"{folder}/cgroup.procs", os.W_OK):
            return folder
    return None


GROUPS = pytest.mark.skipif(control_groups() is None, reason="this user may not make groups of processes here")
# Several runs of these tests share the groups of a machine.
UNIT = f"tetra-test-{os.getpid()}.service"
CONTAINER = f"ab{os.getpid():062x}"


@contextlib.contextmanager
def in_group(name, pid):
    """A process in a group of its own."""
    folder = f"{control_groups()}/{name}"
    os.mkdir(folder)
    try:
        Path(folder, "cgroup.procs").write_text(str(pid))
        yield
    finally:
        # One that ended has left its group.
        with contextlib.suppress(ProcessLookupError):
            Path(control_groups(), "cgroup.procs").write_text(str(pid))
        os.rmdir(folder)


@GROUPS
@pytest.mark.parametrize(
    ("name", "of", "container"),
    [(UNIT, UNIT, ""), (f"docker-{CONTAINER}.scope", f"container {CONTAINER[:12]}", CONTAINER[:12])],
    ids=["unit", "container"],
)
def test_a_listener_is_told_with_its_unit_and_its_container(name, of, container):
    with contextlib.ExitStack() as stack:
        running, port = stack.enter_context(process())
        stack.enter_context(in_group(name, running.pid))
        [entry] = entries(port)
        reason = sockets.can_bind("127.0.9.1", port)
    assert (entry["unit"], entry["container"]) == (name, container)
    assert reason == f"{entry['command']} of {of} (pid {running.pid}) listens on 127.0.9.1:{port}"


LOOK = """
import socket, sys
from ansible_collections.tetra.platform.plugins.module_utils.host import sockets
server = socket.create_server(("127.0.9.1", 0))
port = server.getsockname()[1]
sys.stdin.readline()
print([(one["unit"], one["container"]) for one in sockets.listeners() if one["port"] == port])
"""


@GROUPS
def test_who_runs_in_a_container_is_not_told_that_everybody_does():
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen([sys.executable, "-c", LOOK], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                          env=environment) as looking, in_group(f"docker-{CONTAINER}.scope", looking.pid):
        said, _errors = looking.communicate("\n")
    assert said.strip() == f"[('docker-{CONTAINER}.scope', '')]"


def rename(name):
    """Give this process another short name."""
    with open("/proc/self/comm", "w", encoding="ascii") as file:
        file.write(name)


@pytest.fixture
def published(monkeypatch):
    """What containers publish; what Docker answers is shown in test_containers.py."""
    found = []
    monkeypatch.setattr(containers, "published", lambda: found)
    return found


def publication(address, port, protocol="tcp"):
    return {"address": address, "port": port, "protocol": protocol, "container": "web"}


def test_a_published_port_without_a_listener_is_found_and_not_free(published):
    port = fixed_port()
    published.append(publication("0.0.0.0", port))
    assert entries(port) == [
        {"address": "0.0.0.0", "port": port, "protocol": "tcp", "state": "published", "ipv6_only": False, "pid": None,
         "command": "", "unit": "", "container": "web", "owner": None}
    ]  # fmt: skip
    assert sockets.can_bind("127.0.9.1", port) == f"container web publishes 0.0.0.0:{port}"
    assert sockets.can_bind("", port) == f"container web publishes 0.0.0.0:{port}"
    assert sockets.can_bind("127.0.9.1", port, "udp") is None
    assert sockets.can_bind("::1", port) is None


def test_a_port_that_is_published_on_ipv6_or_another_address_is_not_in_the_way_on_ipv4(published):
    port = fixed_port()
    published.append(publication("::", port))
    published.append(publication("127.0.9.2", port))
    assert [one["ipv6_only"] for one in entries(port)] == [False, True]
    assert sockets.can_bind("127.0.9.1", port) is None
    assert sockets.can_bind("127.0.9.2", port) == f"container web publishes 127.0.9.2:{port}"


@pytest.mark.parametrize(("command", "rows"), [("docker-proxy", 1), ("nginx", 2)])
@pytest.mark.parametrize("listens", ["0.0.0.0", pytest.param("::", marks=IPV6)])
def test_who_forwards_a_published_port_is_named_after_the_container_and_nobody_else(published, command, rows, listens):
    with open("/proc/self/comm", encoding="ascii") as file:
        before = file.read().strip()
    with server(listens, dual=True) if listens == "::" else server(listens) as port:
        published.append(publication("0.0.0.0", port))
        rename(command)
        try:
            found = entries(port)
        finally:
            rename(before)
    containers_of = {one["state"]: one["container"] for one in found}
    assert len(found) == rows
    assert containers_of["listen"] == ("web" if rows == 1 else "")
    assert containers_of.get("published", "web") == "web"
