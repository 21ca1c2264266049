# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ports that the kernel leaves out: on files in the place of its own, and on the kernel's own in another network."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from ansible_collections.tetra.platform.plugins.module_utils.host import (
    agent,
    durable,
    kernel_ports,
    removal,
    settings,
    transactions,
)
from ansible_collections.tetra.platform.plugins.module_utils.host.layout import Home


@pytest.fixture
def home(tmp_path):
    return Home(os.fspath(tmp_path / "tetra"))


@pytest.fixture(autouse=True)
def kernel(tmp_path, monkeypatch):
    """Files in the place of the kernel's; nothing here may change what this machine does."""
    path = tmp_path / "reserved"
    path.write_text("22,8000-8002\n")
    limits = tmp_path / "range"
    limits.write_text("32768\t60999\n")
    monkeypatch.setattr(kernel_ports, "RESERVED", os.fspath(path))
    monkeypatch.setattr(kernel_ports, "RANGE", os.fspath(limits))
    return path


def record(home):
    return durable.read_sealed(kernel_ports.path(home), 1)


def tree(home):
    return {path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in sorted(Path(home.root).rglob("*"))}


def restart(home):
    """What the restart of the host does: the kernel has what it starts with, and the boot is another one."""
    path = Path(kernel_ports.path(home))
    path.write_bytes(durable.sealed({**record(home), "boot": "another"}))


@pytest.mark.parametrize(("text", "limits"), [("1024\t2000\n", (1024, 2000)), ("x", (32768, 60999))])
def test_the_range_of_the_kernel_is_read(tmp_path, text, limits):
    (tmp_path / "range").write_text(text)
    assert kernel_ports.ephemeral() == limits


def test_what_the_kernel_does_not_say_is_what_it_starts_with(tmp_path, kernel):
    (tmp_path / "range").unlink()
    kernel.unlink()
    assert kernel_ports.ephemeral() == (32768, 60999)
    assert kernel_ports.reserved() == set()


def test_wanted_ports_are_put_beside_those_of_others(home, kernel):
    assert kernel_ports.keep(home, {40000, 40001}) is None
    assert kernel.read_text() == "22,8000-8002,40000-40001\n"
    assert kernel_ports.reserved() == {22, 8000, 8001, 8002, 40000, 40001}


def test_only_what_was_added_is_taken_off(home, kernel):
    kernel_ports.keep(home, {8001, 40000, 40001})
    assert kernel_ports.keep(home, {40001}) is None
    assert kernel.read_text() == "22,8000-8002,40001\n"
    assert (record(home)["ours"], record(home)["wanted"]) == ("40001", "40001")
    assert kernel_ports.keep(home, ()) is None
    assert kernel.read_text() == "22,8000-8002\n"


def test_what_others_add_meanwhile_stays(home, kernel):
    kernel_ports.keep(home, {40000})
    kernel.write_text("22,8000-8002,40000,50000\n")
    kernel_ports.keep(home, {40001})
    assert kernel.read_text() == "22,8000-8002,40001,50000\n"


def test_what_others_threw_away_is_put_back(home, kernel):
    kernel_ports.keep(home, {40000})
    kernel.write_text("22\n")
    kernel_ports.keep(home, {40000})
    assert kernel.read_text() == "22,40000\n"


def test_nothing_is_written_when_nothing_changes(home, kernel):
    kernel_ports.keep(home, {8001, 40000})
    before, changed = tree(home), kernel.stat().st_mtime_ns
    assert kernel_ports.keep(home, {8001, 40000}) is None
    assert (tree(home), kernel.stat().st_mtime_ns) == (before, changed)


def test_a_host_where_nothing_is_wanted_is_left_alone(home):
    assert kernel_ports.follow(home, [22, 4000, 8001, 61000]) is None
    assert not os.path.exists(home.root)


def test_only_ports_that_connections_could_get_are_kept_from_them(home, kernel):
    assert kernel_ports.follow(home, [4000, 32767, 32768, 60999, 61000]) is None
    assert kernel.read_text() == "22,8000-8002,32768,60999\n"
    assert kernel_ports.follow(home, [4000]) is None
    assert kernel.read_text() == "22,8000-8002\n"


def test_after_a_restart_of_the_host_the_agent_puts_them_back(home, kernel, capsys):
    kernel_ports.keep(home, {8001, 40000})
    restart(home)
    kernel.write_text("22\n")
    assert agent.main(["boot", home.root]) == 0
    assert kernel.read_text() == "22,8001,40000\n"
    assert agent.main(["boot", home.root]) == 0
    assert capsys.readouterr().err == ""
    kernel_ports.keep(home, ())
    assert kernel.read_text() == "22\n"


def test_what_is_there_after_a_restart_belongs_to_others(home, kernel):
    kernel_ports.keep(home, {40000})
    restart(home)
    # Somebody made it last in the settings of the host.
    kernel.write_text("40000\n")
    kernel_ports.again(home)
    kernel_ports.keep(home, ())
    assert kernel.read_text() == "40000\n"


def test_a_host_that_keeps_nothing_starts_without_a_word(home, capsys):
    assert agent.main(["boot", home.root]) == 0
    assert capsys.readouterr().err == ""
    assert not os.path.exists(home.root)


def test_taking_tetra_away_takes_off_what_it_added(home, kernel):
    kernel_ports.keep(home, {40000})
    Path(settings.path(home)).write_bytes(settings.encode(settings.Settings("supervisord")))
    done = removal.remove(home, {"state": "absent", "check": False})
    assert "ports kept from connections" in done["changes"]
    assert kernel.read_text() == "22,8000-8002\n"
    assert not os.path.exists(kernel_ports.path(home))


def test_what_cannot_be_taken_off_stays_remembered(home, kernel):
    kernel_ports.keep(home, {40000})
    kernel.write_text("nonsense")
    assert kernel_ports.forget(home)
    kernel.write_text("22,40000\n")
    assert kernel_ports.forget(home) is None
    assert kernel.read_text() == "22\n"


def test_a_damaged_record_is_told_with_its_path_and_nothing_is_lost(home, kernel, capsys):
    kernel_ports.keep(home, {40000})
    for text in ("{", "[]", '{"format": 99}', '{"format": 1, "wanted": "x", "ours": "4000;rm"}'):
        Path(kernel_ports.path(home)).write_text(text)
        assert kernel_ports.path(home) in kernel_ports.again(home)
    assert kernel.read_text() == "22,8000-8002,40000\n"
    assert agent.main(["boot", home.root]) == 0
    assert kernel_ports.path(home) in capsys.readouterr().err


@pytest.mark.parametrize("text", ["22 80\n", "nonsense", None])
def test_a_list_that_is_not_understood_is_never_replaced(home, kernel, text):
    kernel.unlink()
    if text is not None:
        kernel.write_text(text)
    assert kernel_ports.keep(home, {40000})
    assert (kernel.read_text() if kernel.exists() else None) == text
    assert not os.path.exists(kernel_ports.path(home))


def in_a_child(work):
    """Run something in a process of its own; gives what it returns as text, or that a signal ended it."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(writing, str(work()).encode())
            os._exit(0)
        finally:
            os._exit(1)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        said = pipe.read().decode()
    _pid, status = os.waitpid(child, 0)
    return "killed" if os.WIFSIGNALED(status) else said


def test_who_may_not_write_is_told_and_nothing_is_remembered(kernel, monkeypatch):
    def ask():
        if os.geteuid() == 0:
            os.setgid(65534)
            os.setuid(65534)
        return [kernel_ports.keep(home, {40000}), kernel_ports.keep(home, {8001}), record(home)["ours"]]

    # The folders of tests are for who runs them alone.
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o777)
        home = Home(os.path.join(folder, "tetra"))
        other = Path(folder, "reserved")
        other.write_text("8001\n")
        other.chmod(0o444)
        monkeypatch.setattr(kernel_ports, "RESERVED", os.fspath(other))
        said = in_a_child(ask)
        assert other.read_text() == "8001\n"
    # What needs no change is no trouble.
    assert said == str([f"{other} cannot be written by this user, or by nobody here", None, ""])


EFFECTS = ("open", "os.rename", "os.mkdir", "os.chmod")


def kill_at(number):
    """Have this process killed before its effect of some number."""
    left = [number]

    def count(event, _arguments):
        if event in EFFECTS:
            left[0] -= 1
            if left[0] < 0:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(count)


@pytest.mark.parametrize("wanted", [{40000, 40001}, {8001, 41000}, set()])
def test_a_run_that_is_killed_at_any_moment_leaves_nothing_that_stays_for_ever(home, kernel, wanted):
    def change(number):
        kill_at(number)
        return kernel_ports.keep(home, wanted)

    kills = 0
    for number in range(200):
        kernel_ports.keep(home, {40000, 42000})
        if in_a_child(lambda number=number: change(number)) != "killed":
            break
        kills += 1
        assert {22, 8000, 8001, 8002} <= kernel_ports.reserved()
        assert kernel_ports.reserved() <= {22, 8000, 8001, 8002, 40000, 42000, *wanted}
        kernel_ports.again(home)
        assert kernel_ports.keep(home, ()) is None
        assert kernel.read_text() == "22,8000-8002\n"
    assert kills > 10
    assert kernel_ports.reserved() == {22, 8000, 8001, 8002, *wanted}


def test_several_runs_at_once_leave_what_the_last_wanted(home, kernel):
    children = []
    for number in range(8):
        child = os.fork()
        if child == 0:
            reasons = [kernel_ports.keep(home, {40000 + number + turn}) for turn in range(20)]
            os._exit(int(any(reasons)))
        children.append(child)
    assert [os.waitpid(child, 0)[1] for child in children] == [0] * 8
    last = record(home)["wanted"]
    assert kernel.read_text() == f"22,8000-8002,{last}\n"


REAL = """
import os, socket, subprocess, sys
from ansible_collections.tetra.platform.plugins.module_utils.host import kernel_ports
from ansible_collections.tetra.platform.plugins.module_utils.host.layout import Home
home = Home(sys.argv[1])

def write(path, text):
    with open(path, "w") as file:
        file.write(text)

def check(good, what):
    if not good:
        sys.exit(f"{what}: {sorted(kernel_ports.reserved())[:20]}")

subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
write(kernel_ports.RANGE, "40000 40009")
write(kernel_ports.RESERVED, "22,8000-8002")
check(kernel_ports.ephemeral() == (40000, 40009), "range")
check(kernel_ports.follow(home, [4000, *range(40000, 40009)]) is None, "follow")
check(kernel_ports.reserved() == {22, 8000, 8001, 8002, *range(40000, 40009)}, "beside")
server = socket.create_server(("127.0.0.1", 5000))
client = socket.create_connection(("127.0.0.1", 5000))
check(client.getsockname()[1] == 40009, "the kernel takes no other port")
try:
    socket.create_connection(("127.0.0.1", 5000)).close()
    check(False, "a connection got a port that is kept")
except OSError:
    pass
many = set(range(10001, 60001, 2))
check(kernel_ports.keep(home, many) is None, "many")
check(kernel_ports.reserved() == {22, 8000, 8001, 8002} | many, "more than one page")
check(kernel_ports.keep(home, ()) is None, "none")
check(kernel_ports.reserved() == {22, 8000, 8001, 8002}, "only ours")
write(kernel_ports.RESERVED, "\\n")
kernel_ports.keep(home, {40000})
kernel_ports.keep(home, ())
check(kernel_ports.reserved() == set(), "empty")
print("good")
"""


def test_the_kernel_itself_takes_no_port_that_is_kept(home):
    """In a network of its own, which has these settings for itself."""
    os.makedirs(home.root)
    command = ["unshare", "--map-root-user", "--net", sys.executable, "-c", REAL, home.root]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if done.returncode and "unshare" in done.stderr:
        pytest.skip(f"this machine does not let its users have networks of their own: {done.stderr.strip()}")
    assert done.stdout.strip() == "good", done.stderr


def test_the_boot_of_the_record_is_that_of_the_host(home):
    kernel_ports.keep(home, {40000})
    assert record(home) == {"format": 1, "boot": transactions.boot_id(), "ours": "40000", "wanted": "40000"}
