# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A real supervisord, one for each test, and real processes under it."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shlex
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from ansible_collections.tetra.platform.plugins.module_utils.host import durable, processes
from ansible_collections.tetra.platform.plugins.module_utils.host.layout import Home
from ansible_collections.tetra.platform.plugins.module_utils.host.supervisors import base, programs, rpc, supervisord
from ansible_collections.tetra.platform.plugins.module_utils.model import launch_script
from ansible_collections.tetra.platform.plugins.module_utils.model.errors import TetraError

SLEEP = ["/bin/sleep", "600"]
LAUNCHER = (
    "import sys; from ansible_collections.tetra.platform.plugins.module_utils.host import launch;"
    "sys.exit(launch.main(sys.argv[1]))"
)
PYTHONPATH = os.pathsep.join(path for path in sys.path if path)
LAUNCH = ["/usr/bin/env", f"PYTHONPATH={PYTHONPATH}", sys.executable, "-c", LAUNCHER]


def write_script(path, argv, **variables):
    """Write the launch script of a service."""
    record = {"service": "one", "argv": argv, "cwd": "/", "environment": {"PATH": os.environ["PATH"], **variables},
              "pre_commands": [], "max_restarts": 0}
    durable.write_file(os.fspath(path), launch_script.text(record).encode(), 0o600)


def until(condition, seconds=20.0):
    """Wait for a condition; gives what it was."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        result = condition()
        if result:
            return result
        time.sleep(0.02)
    raise AssertionError("it did not come true in time")


class Host:
    """A tetra_dir with its supervisord."""

    def __init__(self, root: Path) -> None:
        self.root = root
        root.mkdir(parents=True, exist_ok=True)
        self.home = Home(os.fspath(root))
        self.supervisor = supervisord.Supervisord(self.home, None)
        self.folder = Path(self.home.supervisor)
        self.logs = root / "logs"

    @property
    def daemon(self):
        """The pid of the supervisord, as its own file says."""
        return int((self.folder / "supervisord.pid").read_text())

    @property
    def socket_folder(self):
        text = (self.folder / "supervisord.conf").read_text()
        return Path(text.partition("file=")[2].partition("\n")[0]).parent

    def spec(self, name, argv, **changes):
        spec = base.UnitSpec(name, argv, os.fspath(self.logs / f"{name}.log"), 5.0, "on-failure", 3)
        return dataclasses.replace(spec, **changes)

    def shell(self, name, text, **changes):
        return self.spec(name, ["/bin/sh", "-c", text], **changes)

    def state(self, name):
        return self.supervisor.states([name])[name]

    def starts(self, name):
        """A file to which a service can write a line for each of its starts, and how many there are."""
        path = self.root / f"{name}.count"
        return path, lambda: len(path.read_text().splitlines()) if path.exists() else 0

    def log(self, name):
        return self.supervisor.tail(name, 100_000)


@pytest.fixture
def host(tmp_path):
    one = Host(tmp_path / "tetra dir")
    yield one
    one.supervisor.shutdown()


def is_gone(pid):
    return processes.identity(pid) is None


def test_a_started_service_runs_and_a_stopped_one_is_gone(host):
    host.supervisor.start([host.spec("one", SLEEP), host.spec("two", SLEEP)])
    one, two = host.state("one"), host.state("two")
    assert (one.state, two.state) == ("running", "running")
    assert processes.arguments(one.pid) == SLEEP
    assert abs(one.started - time.time()) < 60
    assert one.restarts == 0
    host.supervisor.stop(["one"])
    assert host.state("one") == base.ProcessState("one", "absent")
    assert is_gone(one.pid)
    assert host.state("two") == two


def test_a_restarted_service_is_another_process(host):
    host.supervisor.start([host.spec("one", SLEEP)])
    before = host.state("one")
    host.supervisor.replace(["one"], [[host.spec("one", SLEEP)]])
    after = host.state("one")
    assert after.state == "running"
    assert after.pid != before.pid
    assert after.restarts == 0
    assert is_gone(before.pid)


def test_start_leaves_a_service_alone_that_runs_with_the_same_spec(host):
    host.supervisor.start([host.spec("one", SLEEP)])
    before = host.state("one")
    host.supervisor.start([host.spec("one", SLEEP)])
    assert host.state("one") == before


def test_start_replaces_a_service_that_runs_with_another_spec(host):
    host.supervisor.start([host.spec("one", SLEEP)])
    before = host.state("one")
    host.supervisor.start([host.spec("one", ["/bin/sleep", "601"])])
    assert processes.arguments(host.state("one").pid) == ["/bin/sleep", "601"]
    assert is_gone(before.pid)


def test_a_service_can_be_stopped_and_stay_defined(host):
    host.supervisor.start([host.spec("one", SLEEP)])
    host.supervisor.stop(["one"], remove=False)
    assert host.state("one").state == "stopped"
    host.supervisor.shutdown()
    host.supervisor.ensure_running()
    assert host.state("one").state == "stopped"
    host.supervisor.start([host.spec("one", SLEEP)])
    assert host.state("one").state == "running"


def test_stopping_what_is_not_there_is_fine(host):
    host.supervisor.stop(["one"])
    host.supervisor.ensure_running()
    host.supervisor.stop(["one"])
    assert host.state("one").state == "absent"


@pytest.mark.parametrize("kind", ["conf", "starts"])
def test_what_a_killed_run_left_of_a_deadman_is_forgotten_with_it(host, kind):
    host.supervisor.ensure_running()
    left = host.folder / "programs" / f"deadman.{kind}"
    left.write_bytes(b"")
    host.supervisor.disarm(["deadman", "unknown"])
    assert not left.exists()


def test_an_unknown_unit_is_absent_with_and_without_a_supervisor(host):
    assert host.state("nobody").state == "absent"
    host.supervisor.ensure_running()
    assert host.state("nobody").state == "absent"


def test_a_killed_service_comes_back(host):
    host.supervisor.start([host.spec("one", SLEEP)])
    before = host.state("one").pid
    os.kill(before, signal.SIGKILL)
    after = until(lambda: (state := host.state("one")).state == "running" and state.pid != before and state)
    assert after.restarts == 1


def test_a_service_that_crashes_in_a_loop_is_given_up_after_its_restarts(host):
    path, count = host.starts("loop")
    host.supervisor.start([host.shell("loop", f"echo >> {shlex.quote(str(path))}; exit 3", max_restarts=2)])
    assert host.state("loop").state in ("backoff", "exited")
    until(lambda: host.state("loop").state == "failed")
    assert count() == 3
    time.sleep(0.5)
    assert (host.state("loop").state, count()) == ("failed", 3)
    assert "given up" in host.log("loop")


def test_a_service_that_was_given_up_can_be_started_again(host):
    host.supervisor.start([host.shell("one", "exit 3", max_restarts=0)])
    until(lambda: host.state("one").state == "failed")
    host.supervisor.start([host.spec("one", SLEEP, max_restarts=0)])
    assert host.state("one").state == "running"


def test_a_service_that_was_given_up_is_started_again_with_the_same_spec(host):
    repaired = host.root / "repaired"
    spec = host.shell("one", f"test -e {shlex.quote(str(repaired))} || exit 3; exec sleep 600", max_restarts=0)
    host.supervisor.start([spec])
    until(lambda: host.state("one").state == "failed")
    repaired.touch()
    host.supervisor.start([spec])
    assert host.state("one").state == "running"


def test_start_waits_for_one_that_takes_longer_to_begin(host, monkeypatch):
    monkeypatch.setattr(programs, "GUARD", f"sleep 1\n{programs.GUARD}")
    begun = time.monotonic()
    host.supervisor.start([host.spec("one", SLEEP)])
    assert host.state("one").state == "running"
    assert time.monotonic() - begun > 1


def test_a_service_without_restarts_is_given_up_at_once(host):
    path, count = host.starts("one")
    host.supervisor.start([host.shell("one", f"echo >> {shlex.quote(str(path))}; exit 3", max_restarts=0)])
    until(lambda: host.state("one").state == "failed")
    assert count() == 1


def test_a_long_run_ends_a_row_of_crashes(host):
    path, count = host.starts("one")
    host.supervisor.start([host.shell("one", f"echo >> {shlex.quote(str(path))}; exec sleep 600", max_restarts=1)])
    starts = host.folder / "programs" / "one.starts"
    for crash in (1, 2, 3):
        # As if the last start were eleven seconds ago.
        row, restarts, last, identity = starts.read_text().split()
        starts.write_text(f"{row} {restarts} {int(last) - 11} {identity}\n")
        os.kill(host.state("one").pid, signal.SIGKILL)
        until(lambda wanted=crash + 1: host.state("one").state == "running" and count() == wanted)
    assert host.state("one").restarts == 3


@pytest.mark.parametrize("content", ["", "x 1 1 1:1\n", "1 x 1 1:1\n", "1 1 x 1:1\n", "1\n", "-1 -1 -1\n", "\0\xff\n"])
def test_a_damaged_count_does_not_keep_a_service_from_running(host, content):
    host.supervisor.start([host.spec("one", SLEEP)])
    (host.folder / "programs" / "one.starts").write_text(content, encoding="latin-1")
    before = host.state("one").pid
    os.kill(before, signal.SIGKILL)
    until(lambda: (state := host.state("one")).state == "running" and state.pid != before)


@pytest.mark.parametrize(
    ("restart", "code", "starts", "state"),
    [
        ("on-failure", 0, 1, "exited"),
        ("on-failure", 3, 2, "failed"),
        ("always", 0, 2, "failed"),
        ("always", 3, 2, "failed"),
        ("no", 0, 1, "exited"),
        ("no", 3, 1, "exited"),
    ],
)
def test_what_happens_when_a_service_ends_is_said_by_its_policy(host, restart, code, starts, state):
    path, count = host.starts("one")
    text = f"echo >> {shlex.quote(str(path))}; exit {code}"
    host.supervisor.start([host.shell("one", text, restart=restart, max_restarts=1)])
    until(lambda: count() == starts and host.state("one").state == state)
    time.sleep(0.3)
    found = host.state("one")
    assert (found.state, count()) == (state, starts)
    assert found.exit_code == (code if state == "exited" else None)
    assert found.pid is None


def test_a_program_that_does_not_exist_is_given_up_and_says_why(host):
    host.supervisor.start([host.spec("one", ["/no/such/program"], max_restarts=0)])
    until(lambda: host.state("one").state == "failed")
    assert "/no/such/program" in host.log("one")


def test_start_comes_back_at_once_and_not_after_the_first_second(host):
    host.supervisor.ensure_running()
    begun = time.monotonic()
    host.supervisor.start([host.spec(f"unit-{number}", SLEEP) for number in range(10)])
    assert {state.state for state in host.supervisor.states(f"unit-{number}" for number in range(10)).values()} == {
        "running"
    }
    # A second for each, which supervisord takes by itself, would be ten.
    assert time.monotonic() - begun < 5


def test_services_are_stopped_together(host):
    stubborn = "trap '' TERM; while :; do sleep 0.1; done"
    names = [f"unit-{number}" for number in range(5)]
    host.supervisor.start([host.shell(name, stubborn, stop_timeout=1.0) for name in names])
    families = [processes.family(state.pid) for state in host.supervisor.states(names).values()]
    begun = time.monotonic()
    host.supervisor.stop(names)
    assert 0.9 < time.monotonic() - begun < 4
    assert all(is_gone(pid) for family in families for pid in family)


def test_stop_wins_against_a_service_that_crashes_all_the_time(host):
    host.supervisor.start([host.shell("one", "sleep 0.05; exit 1", restart="always", max_restarts=1000)])
    host.supervisor.stop(["one"])
    assert host.state("one").state == "absent"
    assert not (host.folder / "programs" / "one.conf").exists()


def test_children_of_a_service_end_with_it(host):
    host.supervisor.start([host.shell("one", "sleep 600 & sleep 600 & wait")])
    family = until(lambda: len(found := processes.family(host.state("one").pid)) == 3 and found)
    host.supervisor.stop(["one"])
    until(lambda: all(is_gone(pid) for pid in family))


# It goes into the background, where its child would keep what it has, for example a port.
FORKS = "echo $$ >> '{count}'; sleep 600 & echo $! >> '{children}'; exit {code}"


@pytest.mark.parametrize("end", ["stop", "shutdown", "start"])
def test_what_a_service_left_in_the_background_ends_when_it_is_stopped_or_replaced(host, end):
    (count, starts), children = host.starts("one"), host.root / "children"
    host.supervisor.start([host.shell("one", FORKS.format(count=count, children=children, code=0))])
    until(lambda: starts() == 1 and host.state("one").state == "exited")
    child = int(children.read_text())
    assert not is_gone(child)
    if end == "stop":
        host.supervisor.stop(["one"])
    elif end == "start":
        host.supervisor.start([host.spec("one", SLEEP)])
    else:
        host.supervisor.shutdown()
    assert is_gone(child)


def test_a_group_that_somebody_else_has_by_now_is_left_alone(host):
    (host.folder / "programs").mkdir(parents=True)
    command = ["/bin/sh", "-c", "sleep 600 & echo $$ $!; exit 0"]
    with subprocess.Popen(command, start_new_session=True, stdout=subprocess.PIPE, text=True) as leader:
        gone, child = map(int, leader.stdout.readline().split())
    try:
        assert is_gone(gone)
        (host.folder / "programs" / "one.starts").write_text(f"0 0 1 {gone}:1\n")
        assert processes.groups([f"{gone}:1"]) == [processes.identity(child)]
        host.supervisor.ensure_running()
        assert not is_gone(child)
    finally:
        os.kill(child, signal.SIGKILL)


def test_what_a_service_left_in_the_background_ends_before_it_is_restarted(host):
    (count, starts), children = host.starts("one"), host.root / "children"
    host.supervisor.start([host.shell("one", FORKS.format(count=count, children=children, code=1), max_restarts=1)])
    until(lambda: starts() == 2 and host.state("one").state == "failed")
    first, second = map(int, children.read_text().split())
    assert is_gone(first)
    assert is_gone(second), "it was given up, and would not be started again"


def test_both_outputs_of_a_service_are_in_its_log(host):
    host.supervisor.start([host.shell("one", "echo out; echo error >&2; exec sleep 600")])
    until(lambda: host.log("one") == "out\nerror\n")
    assert host.supervisor.tail("one", 3) == "or\n"
    assert (host.logs / "one.log").read_text() == "out\nerror\n"


def test_a_log_may_hold_any_bytes(host):
    host.supervisor.start([host.shell("one", "printf '\\033[1mx\\377\\001y'; exec sleep 600")])
    assert until(lambda: host.log("one")) == "\033[1mx\ufffd\x01y"


def test_the_end_of_a_log_may_lie_in_the_file_before(host):
    host.supervisor.start([host.shell("one", "echo new; exec sleep 600")])
    until(lambda: host.log("one"))
    (host.logs / "one.log.1").write_text("old\n")
    assert host.supervisor.tail("one", 6) == "d\nnew\n"


def test_who_is_not_defined_has_no_log(host):
    assert host.supervisor.tail("one", 100) == ""


NESTED = [
    "a folder whose name is long enough to be of no use for a socket " * 3,
    "per%cent %(x)s 50%%",
    "it's \"quoted\" $HOME `id` \\ü",
]


def test_any_path_that_people_use_will_do(tmp_path):
    host = Host(tmp_path.joinpath(*NESTED))
    assert len(os.fspath(host.root)) > 200
    argv = ["/bin/sh", "-c", 'printf "<%s>" "$0" "$@"; exec sleep 600', "%(x)s", "a #b;c", " ;", "#", "'#\"; ", ""]
    try:
        host.supervisor.start([host.spec("one", argv)])
        assert host.state("one").state == "running"
        assert until(lambda: host.log("one")) == "<%(x)s><a #b;c>< ;><#><'#\"; ><>"
        assert (host.logs / "one.log").exists()
    finally:
        host.supervisor.shutdown()


@pytest.mark.parametrize("name", ["brackets[1]", "star*", "what?", "number #1", "%(here)s"])
def test_a_folder_that_supervisord_would_misread_is_refused(tmp_path, name):
    host = Host(tmp_path / name)
    with pytest.raises(TetraError, match="supervisord cannot have its files") as caught:
        host.supervisor.ensure_running()
    assert caught.value.hint
    assert not host.supervisor.running()


@pytest.mark.parametrize("word", ["a\nautostart=false", "%(here)s"])
def test_an_argument_that_supervisord_would_misread_is_refused(host, word):
    with pytest.raises(TetraError, match="one: supervisord cannot be told"):
        host.supervisor.start([host.spec("one", ["/bin/echo", word])])


def test_a_log_that_supervisord_would_misread_is_refused(host):
    with pytest.raises(TetraError, match="one: supervisord cannot be told"):
        host.supervisor.start([host.spec("one", SLEEP, log=os.fspath(host.root / "log #1"))])


def test_secrets_of_a_launch_script_are_in_no_list_of_processes_and_in_no_file_of_the_supervisor(host):
    path = host.root / "one.sh"
    write_script(path, SLEEP, TOKEN="s3cr3t-7c1f")
    host.supervisor.start([host.spec("one", LAUNCH, script=os.fspath(path))])
    pid = until(lambda: processes.arguments(host.state("one").pid) == SLEEP and host.state("one").pid)
    assert b"s3cr3t-7c1f" in Path(f"/proc/{pid}/environ").read_bytes()
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            assert b"s3cr3t-7c1f" not in process.read_bytes()
    files = [file for file in (*host.folder.rglob("*"), *host.logs.rglob("*")) if file.is_file()]
    assert files
    assert not [file for file in files if b"s3cr3t-7c1f" in file.read_bytes()]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_restart_reads_the_launch_script_again(host):
    path = host.root / "one.sh"
    write_script(path, SLEEP)
    host.supervisor.start([host.spec("one", LAUNCH, script=os.fspath(path))])
    pid = until(lambda: processes.arguments(host.state("one").pid) == SLEEP and host.state("one").pid)
    write_script(path, ["/bin/sleep", "601"])
    os.kill(pid, signal.SIGKILL)
    until(lambda: processes.arguments(host.state("one").pid or 0) == ["/bin/sleep", "601"])


CALLER = """
import os, sys, time
from ansible_collections.tetra.platform.plugins.module_utils.host.layout import Home
from ansible_collections.tetra.platform.plugins.module_utils.host.supervisors import base, supervisord
inherited = os.open("/etc/passwd", os.O_RDONLY)
os.set_inheritable(inherited, True)
supervisor = supervisord.Supervisord(Home(sys.argv[1]), None)
supervisor.start([base.UnitSpec("one", ["/bin/sleep", "600"], sys.argv[2], 5.0, "on-failure", 3)])
print("started", flush=True)
time.sleep(600)
"""


@contextlib.contextmanager
def calling(host):
    """Another process that started a service and waits; nothing of it may hold on to the supervisor."""
    command = [sys.executable, "-c", CALLER, os.fspath(host.root), os.fspath(host.logs / "one.log")]
    environment = {**os.environ, "PYTHONPATH": PYTHONPATH, "CALLERS_TOKEN": "s3cr3t"}
    with subprocess.Popen(
        command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
    ) as caller:
        try:
            assert caller.stdout.readline() == b"started\n"
            yield caller
        finally:
            if caller.poll() is None:
                os.killpg(caller.pid, signal.SIGKILL)


def test_supervisor_and_services_survive_the_death_of_the_callers_group(host):
    with calling(host) as caller:
        before = host.state("one")
        daemon = processes.identity(host.daemon)
        assert os.getsid(host.daemon) != os.getsid(caller.pid)
        os.killpg(caller.pid, signal.SIGKILL)
        caller.wait()
        # What the caller wrote to is closed, so nobody else has it.
        assert caller.stdout.read() == b""
    time.sleep(0.3)
    assert processes.identity(host.daemon) == daemon
    assert host.state("one") == before


def opened_by(pid: int) -> set[str]:
    """What a process has open; it may close some of it meanwhile."""
    found = set()
    for path in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            found.add(os.readlink(path))
    assert found
    return found


def test_neither_supervisor_nor_service_inherits_anything_of_the_caller(host):
    with calling(host) as caller:
        children = processes.family(caller.pid) - {caller.pid}
        assert children == set()
        for pid in (host.daemon, host.state("one").pid):
            assert "/etc/passwd" not in opened_by(pid)
            assert b"CALLERS_TOKEN" not in Path(f"/proc/{pid}/environ").read_bytes()
            assert os.getpgid(pid) != os.getpgid(caller.pid)


def test_the_file_mask_of_the_caller_is_not_that_of_the_services(host):
    before = os.umask(0o077)
    try:
        host.supervisor.start([host.shell("one", "umask; exec sleep 600")])
    finally:
        os.umask(before)
    assert until(lambda: host.log("one")) == "0022\n"


def test_two_that_start_the_supervisor_at_once_get_one(host):
    others = [supervisord.Supervisord(Home(os.fspath(host.root)), None) for _number in range(4)]
    threads = [threading.Thread(target=other.ensure_running) for other in others]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert host.supervisor.running()
    assert processes.ending_with(["-n", "-c", os.fspath(host.folder / "supervisord.conf")]) == [host.daemon]


def test_two_tetra_dirs_have_nothing_to_do_with_each_other(tmp_path):
    hosts = [Host(tmp_path / "one"), Host(tmp_path / "two")]
    try:
        for host in hosts:
            host.supervisor.start([host.spec("same", SLEEP)])
        assert hosts[0].state("same").pid != hosts[1].state("same").pid
        hosts[0].supervisor.shutdown()
        assert hosts[1].state("same").state == "running"
    finally:
        for host in hosts:
            host.supervisor.shutdown()


def test_a_link_to_a_tetra_dir_leads_to_the_same_supervisor(host):
    host.supervisor.start([host.spec("one", SLEEP)])
    link = host.root.parent / "link"
    link.symlink_to(host.root)
    other = supervisord.Supervisord(Home(os.fspath(link)), None)
    other.ensure_running()
    assert other.states(["one"])["one"] == host.state("one")


def test_shutdown_leaves_no_process_and_no_socket(host):
    host.supervisor.start([host.shell("one", "sleep 600 & wait"), host.spec("two", SLEEP)])
    family = processes.family(host.daemon)
    assert len(family) == 4
    folder = host.socket_folder
    host.supervisor.shutdown()
    until(lambda: all(is_gone(pid) for pid in family))
    assert not host.supervisor.running()
    assert not folder.exists()


def test_shutdown_without_a_supervisor_is_fine(host):
    host.supervisor.shutdown()
    assert not host.supervisor.running()


def test_a_supervisor_that_is_about_to_end_does_not_count_and_is_waited_for(host):
    stubborn = "trap '' TERM; while :; do sleep 0.1; done"
    host.supervisor.start([host.shell("one", stubborn, stop_timeout=1.0)])
    daemon = host.daemon
    os.kill(daemon, signal.SIGTERM)
    until(lambda: not host.supervisor.running())
    assert not is_gone(daemon)
    host.supervisor.ensure_running()
    assert is_gone(daemon)
    assert host.supervisor.running()


def test_services_come_back_with_a_new_supervisor(host):
    host.supervisor.start([host.spec("one", SLEEP), host.spec("two", SLEEP)])
    host.supervisor.stop(["two"])
    host.supervisor.shutdown()
    assert host.state("one").state == "absent"
    host.supervisor.ensure_running()
    one = until(lambda: (state := host.state("one")).state == "running" and state)
    assert one.restarts == 0
    assert host.state("two").state == "absent"


@pytest.mark.parametrize("end", ["exec sleep 600", "trap '' TERM; while :; do sleep 0.1; done"])
def test_what_a_killed_supervisor_left_behind_is_ended_before_it_is_started_anew(host, end, monkeypatch):
    monkeypatch.setattr(supervisord, "_ORPHAN_TIMEOUT", 0.5)
    host.supervisor.start([host.shell("one", end, stop_timeout=1.0)])
    service = host.state("one").pid
    family = processes.family(service)
    os.kill(host.daemon, signal.SIGKILL)
    until(lambda: is_gone(host.daemon))
    assert host.state("one").state == "absent"
    assert not is_gone(service)
    host.supervisor.ensure_running()
    until(lambda: all(is_gone(pid) for pid in family))
    one = until(lambda: (state := host.state("one")).state == "running" and state)
    assert (one.pid != service, one.restarts) == (True, 0)


@pytest.mark.parametrize("method", ["stop", "shutdown"])
def test_what_a_killed_supervisor_left_behind_can_be_stopped(host, method):
    host.supervisor.start([host.shell("one", "sleep 600 & wait")])
    family = until(lambda: len(found := processes.family(host.state("one").pid)) == 2 and found)
    os.kill(host.daemon, signal.SIGKILL)
    until(lambda: is_gone(host.daemon))
    assert host.supervisor.alive()
    getattr(host.supervisor, method)(*[["one"]] if method == "stop" else [])
    until(lambda: all(is_gone(pid) for pid in family))
    assert not host.supervisor.alive()


def test_a_supervisor_that_hangs_is_an_error_and_its_services_live_on(host, monkeypatch):
    monkeypatch.setattr(supervisord, "_PATIENCE", 0.2)
    host.supervisor.start([host.spec("one", SLEEP)])
    before, daemon = host.state("one"), host.daemon
    os.kill(daemon, signal.SIGSTOP)
    try:
        with pytest.raises(TetraError, match=f"pid {daemon}. does not answer"):
            host.supervisor.ensure_running()
        assert host.supervisor.alive()
    finally:
        os.kill(daemon, signal.SIGCONT)
    host.supervisor.ensure_running()
    assert host.daemon == daemon
    assert host.state("one") == before


def test_a_supervisor_that_is_slow_is_waited_for(host):
    host.supervisor.start([host.spec("one", SLEEP)])
    before, daemon = host.state("one"), host.daemon
    os.kill(daemon, signal.SIGSTOP)
    later = threading.Timer(2.5, os.kill, (daemon, signal.SIGCONT))
    later.start()
    host.supervisor.ensure_running()
    later.join()
    assert host.state("one") == before


def test_a_count_that_names_somebody_else_harms_nobody(host):
    (host.folder / "programs").mkdir(parents=True)
    with subprocess.Popen(SLEEP, start_new_session=True) as innocent:
        try:
            other = processes.identity(innocent.pid) + "1"
            (host.folder / "programs" / "one.starts").write_text(f"0 0 1 {other}\n")
            host.supervisor.ensure_running()
            assert innocent.poll() is None
        finally:
            innocent.kill()


def test_a_removed_socket_is_an_error_until_the_supervisor_is_started_anew(host, monkeypatch):
    host.supervisor.start([host.spec("one", SLEEP)])
    service, daemon, folder = host.state("one").pid, host.daemon, host.socket_folder
    for name in folder.iterdir():
        name.unlink()
    folder.rmdir()
    monkeypatch.setattr(supervisord, "_PATIENCE", 0.2)
    with pytest.raises(TetraError, match="does not answer") as caught:
        host.state("one")
    assert "prepare" in caught.value.hint
    assert processes.identity(service)
    monkeypatch.undo()
    host.supervisor.ensure_running()
    assert is_gone(daemon)
    assert is_gone(service)
    until(lambda: host.state("one").state == "running")


def test_a_socket_that_nobody_listens_on_is_no_supervisor(host):
    host.supervisor.ensure_running()
    path = host.socket_folder / "s.sock"
    host.supervisor.shutdown()
    path.parent.mkdir(mode=0o700)
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(os.fspath(path))
    assert not host.supervisor.running()
    assert host.state("one").state == "absent"
    host.supervisor.ensure_running()
    assert host.supervisor.running()


def test_a_pid_file_that_names_somebody_else_harms_nobody(host):
    host.folder.mkdir()
    with subprocess.Popen(SLEEP) as innocent:
        try:
            (host.folder / "supervisord.pid").write_text(str(innocent.pid))
            host.supervisor.shutdown()
            host.supervisor.ensure_running()
            assert host.daemon != innocent.pid
            assert innocent.poll() is None
        finally:
            innocent.kill()


def test_who_only_looks_at_the_configuration_is_no_supervisor(host):
    host.supervisor.ensure_running()
    configuration = os.fspath(host.folder / "supervisord.conf")
    host.supervisor.shutdown()
    with subprocess.Popen(["/usr/bin/tail", "-f", configuration], stdout=subprocess.DEVNULL) as reader:
        try:
            assert host.state("one").state == "absent"
            host.supervisor.shutdown()
            assert reader.poll() is None
        finally:
            reader.kill()


def foreign_folder(kind, path, tmp_path):
    if kind == "link":
        (tmp_path / "elsewhere").mkdir(mode=0o700)
        path.symlink_to(tmp_path / "elsewhere")
    elif kind == "file":
        path.write_text("")
        path.chmod(0o600)
    else:
        path.mkdir(mode=0o700)
        path.chmod(0o777 if kind == "open" else 0o700)


@pytest.mark.parametrize("kind", ["link", "file", "open", "foreign"])
def test_a_folder_for_the_socket_that_is_not_ours_alone_is_refused(host, tmp_path, kind, monkeypatch):
    host.supervisor.ensure_running()
    path = host.socket_folder
    host.supervisor.shutdown()
    foreign_folder(kind, path, tmp_path)
    if kind == "foreign":
        monkeypatch.setattr(rpc.os, "geteuid", lambda: os.getuid() + 1)
    try:
        for method in (host.supervisor.running, host.supervisor.ensure_running):
            with pytest.raises(TetraError, match="not a folder of this user alone"):
                method()
        assert processes.ending_with(["-n", "-c", os.fspath(host.folder / "supervisord.conf")]) == []
    finally:
        monkeypatch.undo()
        if path.is_symlink() or path.is_file():
            path.unlink()
        else:
            path.rmdir()


def test_the_socket_is_for_its_user_alone(host):
    host.supervisor.ensure_running()
    assert stat.S_IMODE(host.socket_folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((host.socket_folder / "s.sock").stat().st_mode) == 0o600


def test_a_supervisord_that_is_not_there_is_named(host):
    supervisor = supervisord.Supervisord(host.home, ["/no/such/supervisord"])
    with pytest.raises(TetraError, match="/no/such/supervisord") as caught:
        supervisor.ensure_running()
    assert "pip install supervisor" in caught.value.hint


def test_a_supervisord_that_does_not_start_says_why(host):
    (host.folder / "programs").mkdir(parents=True)
    program = "[program:old]\ncommand=/bin/true\nstdout_logfile=/no/such/folder/log\n"
    (host.folder / "programs" / "old.conf").write_text(program)
    with pytest.raises(TetraError, match=r"did not start: .*/no/such/folder"):
        host.supervisor.ensure_running()


def test_a_program_that_supervisord_refuses_leaves_the_others_alone(host):
    host.supervisor.start([host.spec("one", SLEEP)])
    before = host.state("one")
    (host.folder / "programs" / "old.conf").write_text("[program:old]\nstartsecs=never\n")
    with pytest.raises(TetraError, match="reloadConfig"):
        host.supervisor.start([host.spec("two", SLEEP)])
    assert host.state("one") == before


def test_supervisord_has_nothing_to_complain_about(host):
    host.supervisor.start([host.spec("one", SLEEP)])
    assert "as root" not in (host.folder / "supervisord.log").read_text()
    assert (host.folder / "start.log").read_text() == ""


def test_what_is_being_said_on_the_socket_has_to_be_an_answer(host):
    host.supervisor.ensure_running()
    path = host.socket_folder / "s.sock"
    host.supervisor.shutdown()
    path.parent.mkdir(mode=0o700)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(os.fspath(path))
        server.listen()

        def answer():
            connection, _peer = server.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(b"HTTP/1.0 200 OK\r\n\r\nthis is no answer")

        thread = threading.Thread(target=answer)
        thread.start()
        assert not host.supervisor.running()
        thread.join()
    path.unlink()
    path.parent.rmdir()


@pytest.mark.parametrize(("restarts", "pause"), [(2, "2"), (50, "10")])
def test_the_pause_before_a_restart_grows_to_ten_seconds(tmp_path, restarts, pause):
    guard, starts, sleep = (tmp_path / name for name in ("guard", "starts", "sleep"))
    guard.write_text(programs.GUARD)
    sleep.write_text('#!/bin/sh\necho "$1"\n')
    sleep.chmod(0o755)
    uptime = Path("/proc/uptime").read_text().partition(".")[0]
    starts.write_text(f"{restarts} {restarts} {uptime} 1:1\n")
    done = subprocess.run(["/bin/sh", guard, starts, "1000", "true"], env={"PATH": f"{tmp_path}:{os.environ['PATH']}"},
                          capture_output=True, text=True, check=True)
    assert done.stdout.strip() == pause
