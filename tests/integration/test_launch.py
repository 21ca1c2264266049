# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The launch script of a service, and the launcher that becomes its shell, as real processes."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys

import hypothesis
import pytest
from ansible_collections.tetra.platform.plugins.module_utils.host import launch, processes
from ansible_collections.tetra.platform.plugins.module_utils.model import launch_script
from ansible_collections.tetra.platform.plugins.module_utils.model.errors import TetraError

MODULE = launch.__name__
PYTHONPATH = os.pathsep.join(path for path in sys.path if path)
PATH = os.environ["PATH"]
# The launcher as the supervisor starts it; what comes before it is how the supervisor itself may have been started.
LAUNCH = f"import sys; from {MODULE} import main; sys.exit(main(sys.argv[1]))"
SHOW = """
import json, os, signal, sys
print(json.dumps({
    "argv": sys.argv[1:],
    "cwd": os.getcwd(),
    "environment": dict(os.environ),
    "descriptors": [name for name in os.listdir("/proc/self/fd") if os.path.exists(f"/proc/self/fd/{name}")],
    "status": dict(line.split(":", 1) for line in open("/proc/self/status")),
}))
"""


def show(*arguments):
    return [sys.executable, "-I", "-S", "-c", SHOW, *arguments]


@pytest.fixture
def start(tmp_path):
    """Starts the launcher with a launch script; changes are what is unusual about that."""

    def run(before="", **changes):
        path = tmp_path / "web.sh"
        record = {"service": "web", "argv": show(), "cwd": os.fspath(tmp_path), "environment": {"PATH": PATH},
                  "pre_commands": [], "max_restarts": 0}
        path.write_text(launch_script.text({**record, **changes}), newline="")
        environment = {**os.environ, "PYTHONPATH": PYTHONPATH, "LEAK": "of the supervisor"}
        command = [sys.executable, "-c", f"{before}\n{LAUNCH}", os.fspath(path)]
        return subprocess.run(command, env=environment, capture_output=True, text=True, close_fds=False, check=False)

    return run


def shown(done):
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_the_service_has_its_arguments_its_folder_and_its_environment_and_no_other(start, tmp_path):
    environment = {"PATH": PATH, "TOKEN": "s3cr3t", "EMPTY": "", "BLANKS": " a  b\n", "UMLAUT": "ü"}
    found = shown(start(argv=show("a b", "", "ü", "$HOME"), environment=environment))
    assert found["argv"] == ["a b", "", "ü", "$HOME"]
    assert found["cwd"] == os.fspath(tmp_path)
    # Python itself may set this one when it starts.
    found["environment"].pop("LC_CTYPE", None)
    assert found["environment"] == environment


def test_the_service_is_the_very_process_that_was_started(start):
    done = start(before="import os; print(os.getpid(), flush=True)", argv=["sh", "-c", "echo $$"])
    launcher, service = done.stdout.split()
    assert service == launcher


def test_no_descriptor_is_inherited(start):
    before = "import os; os.dup2(os.open('/etc/passwd', os.O_RDONLY), 3); os.dup2(3, 200)"
    assert sorted(shown(start(before=before))["descriptors"]) == ["0", "1", "2"]


def ignored(mask):
    """The signals in a mask of /proc/PID/status, without the two that the C library keeps for itself."""
    return {number for number in range(1, 65) if int(mask, 16) >> (number - 1) & 1} - {32, 33}


def test_signals_are_as_for_any_new_process(start):
    before = (
        "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); signal.signal(signal.SIGHUP, signal.SIG_IGN);"
        "signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1, signal.SIGCHLD])"
    )
    status = shown(start(before=before))["status"]
    # A new Python process ignores these two by itself.
    assert ignored(status["SigIgn"]) - {signal.SIGPIPE, signal.SIGXFSZ} == set()
    assert int(status["SigBlk"], 16) == 0


def test_a_pipe_that_breaks_ends_the_service(start):
    assert ignored(start(argv=["sh", "-c", "grep SigIgn /proc/self/status"]).stdout.split()[1]) == set()


def test_programs_are_found_in_the_path_of_the_service(start, tmp_path):
    program = tmp_path / "greet"
    program.write_text("#!/bin/sh\necho \"$0 $1\"\n")
    program.chmod(0o755)
    done = start(argv=["greet", "you"], environment={"PATH": os.fspath(tmp_path)})
    assert done.stdout == f"{program} you\n"


def test_a_program_may_be_named_from_the_folder_of_the_service(start, tmp_path):
    program = tmp_path / "greet"
    program.write_text("#!/bin/sh\necho hello\n")
    program.chmod(0o755)
    assert start(argv=["./greet"]).stdout == "hello\n"


def test_commands_before_it_run_in_order_with_the_same_folder_and_environment(start, tmp_path):
    before = [["sh", "-c", 'echo "$TOKEN" > first'], ["sh", "-c", "cat first first > second; echo said"]]
    done = start(pre_commands=before, argv=["cat", "second"], environment={"PATH": PATH, "TOKEN": "t"})
    assert done.stdout == "said\nt\nt\n"
    assert (tmp_path / "first").read_text() == "t\n"


def test_a_command_before_it_that_fails_keeps_the_service_from_starting(start, tmp_path):
    done = start(pre_commands=[["false"], ["touch", "second"]], argv=["touch", "service"])
    assert done.returncode == launch_script.CANNOT_START
    assert done.stderr == "tsm: web is not started: the command before it, false, ended with exit code 1\n"
    assert not (tmp_path / "second").exists()
    assert not (tmp_path / "service").exists()


def test_arguments_of_a_command_before_it_are_not_shown(start):
    assert "s3cr3t" not in start(pre_commands=[["false", "s3cr3t"]]).stderr


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"cwd": "/no/such folder"}, ["web", "/no/such folder", "cannot be entered"]),
        ({"cwd": "/etc/passwd"}, ["web", "/etc/passwd", "cannot be entered"]),
        ({"argv": ["/no/such/program", "s3cr3t"]}, ["web", "/no/such/program", "no such program"]),
        ({"argv": ["no-such-program"]}, ["web", "no-such-program", "no such program"]),
        ({"argv": ["/etc/passwd"]}, ["/etc/passwd", "Permission denied"]),
        ({"pre_commands": [["no-such-program"]]}, ["web", "no-such-program", "no such program"]),
    ],
)
def test_what_keeps_a_service_from_starting_is_named(start, changes, words):
    done = start(**changes)
    assert done.returncode == launch_script.CANNOT_START == 126
    assert all(word in done.stderr for word in words)
    assert len(done.stderr.splitlines()) == 1
    assert "s3cr3t" not in done.stderr


def test_a_launch_script_that_cannot_be_read_is_named(tmp_path, capsys):
    path = tmp_path / "web.sh"
    assert launch.main(os.fspath(path)) == launch_script.CANNOT_START
    assert f"{path}: No such file or directory" in capsys.readouterr().err


# What means something to a shell or to C, besides letters; the bytes of some of these mean something inside of dash.
SIGNS = "aZ0 \t\n\r'\"\\%$`;{}()[]<>|&*?~#!@:+-=,/äÁßÂ\x81\x88€\x01\x7f\x1b\U0001f600"
WORDS = hypothesis.strategies.lists(hypothesis.strategies.text(SIGNS), max_size=6)


@pytest.fixture(scope="module", params=["dash", "bash"])
def shell(request, tmp_path_factory):
    """Shells that hosts have as their sh."""
    path = tmp_path_factory.mktemp("bin") / "sh"
    path.symlink_to(shutil.which(request.param))
    return os.fspath(path)


def run_in(shell, words, environment):
    """What a service that is started in a shell has been given: its words and its variables."""
    record = {"service": "web", "argv": [sys.executable, "-I", "-S", "-c", SHOW, *words], "cwd": "/",
              "environment": environment, "pre_commands": [], "max_restarts": 0}
    script = launch_script.text(record).encode()
    found = shown(subprocess.run([shell, "-s"], input=script, env={}, capture_output=True, check=False))
    for name in {"LC_CTYPE", "SHLVL"} - set(environment):
        found["environment"].pop(name, None)
    return found["argv"], found["environment"]


@hypothesis.settings(max_examples=40, deadline=None)
@hypothesis.given(words=WORDS)
def test_every_word_and_variable_arrives_byte_for_byte(shell, words):
    environment = {f"V{number}": word for number, word in enumerate(words)}
    assert run_in(shell, words, environment) == (words, environment)


def test_no_variable_but_the_refused_ones_is_the_shells_own(shell):
    said = subprocess.run([shell, "-c", "set; compgen -v"], env={}, capture_output=True, text=True, check=False).stdout
    names = {line.partition("=")[0] for line in said.splitlines()}
    names = {name for name in names if name.isidentifier()} | {"ENV", "CDPATH", "PS1", "TMOUT", "row", "now", "fail"}
    # A locale that does not exist is a warning, whoever sets it.
    environment = {name: "C" for name in names if not launch_script.is_kept(name)}
    assert len(environment) > 10
    assert sorted(run_in(shell, [], environment)[1].items()) == sorted(environment.items())


@pytest.mark.parametrize("name", ["UID", "OPTIND", "a b", "x;id"])
def test_what_no_shell_can_set_is_refused(name):
    record = {"service": "web", "argv": ["true"], "cwd": "/", "environment": {name: "1"}, "pre_commands": [],
              "max_restarts": 0}
    with pytest.raises(TetraError, match="no shell can give a service the variable"):
        launch_script.text(record)


def test_the_identity_of_a_process_is_another_one_for_the_next(start):
    with subprocess.Popen(["sleep", "600"]) as process:
        identity = processes.identity(process.pid)
        assert identity.startswith(f"{process.pid}:")
        assert processes.identity(process.pid) == identity
        process.kill()
        # Dead and not yet waited for.
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert processes.identity(process.pid) is None
    assert processes.identity(process.pid) is None


def test_the_family_of_a_process_is_all_that_it_started():
    with subprocess.Popen(["sh", "-c", "(sleep 600 & wait) & wait"], start_new_session=True) as process:
        try:
            while len(processes.family(process.pid)) < 3:
                pass
            family = processes.family(process.pid)
            assert process.pid in family
            assert os.getpid() not in family
        finally:
            os.killpg(process.pid, signal.SIGKILL)


def test_a_process_may_have_any_name(tmp_path):
    program = tmp_path / ") Z 1 (\xff"
    program.symlink_to("/bin/sleep")
    with subprocess.Popen([program, "600"]) as process:
        try:
            assert processes.identity(process.pid)
            # For a moment a new program has no arguments.
            while not processes.arguments(process.pid):
                pass
            assert processes.arguments(process.pid) == [os.fspath(program), "600"]
            assert process.pid in processes.family(os.getpid())
        finally:
            process.kill()


def test_the_start_of_a_service_does_not_load_the_engine():
    agent = MODULE.replace(".launch", ".agent")
    code = f"import sys, {agent}; print(sorted(name.rpartition('.')[2] for name in sys.modules if '.host.' in name))"
    environment = {**os.environ, "PYTHONPATH": PYTHONPATH}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['agent', 'launch']"
