# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The command line of tsm on a prepared host: the real program, a real supervisord, real services."""

from __future__ import annotations

import base64
import contextlib
import io
import json
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import pytest
from ansible_collections.tetra.platform.plugins.module_utils.host import (
    durable,
    engine,
    holds,
    keys,
    registry,
    running,
    staging,
    store,
    transactions,
)
from ansible_collections.tetra.platform.plugins.module_utils.host.operations import preparation
from ansible_collections.tetra.platform.plugins.module_utils.host.scope import open_scope
from ansible_collections.tetra.platform.plugins.module_utils.model import pack, plan, release, transaction
from ansible_collections.tetra.platform.plugins.plugin_utils import bundle, host_code, source

IDENTITIES = {"dev": "20260101t120000-0123abcd", "prod": "20260101t130000-0123abcd"}
SECRET = "open-sesame-7391"
TALK = 'import os, time; print(os.environ[\\"KEY\\"], chr(27) + \\"[31m\\", chr(233)); time.sleep(600)'
WORKER = f"""\
TSM_COMMAND='exec python3 -c "{TALK}"'
TSM_MIN_HEALTHY=100ms
export KEY="${{secret:KEY}}"
"""
WEB = "TSM_COMMAND='exec python3 -m http.server $PORT --bind 127.0.0.1'\nTSM_MIN_HEALTHY=100ms\n"
REFUSED, INVALID = 10, 15


def free_port() -> int:
    """A port that nobody has and that the kernel gives to no connection."""
    for port in range(20000 + os.getpid() % 10000, 32000):
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
    raise AssertionError("there is no free port")


def prepare(folder: Path) -> dict:
    """Prepare a host in a folder; the request that did it."""
    request = {
        "tetra_dir": os.fspath(folder), "state": "present", "supervisor": "supervisord", "supervisord": None,
        "address": "127.0.0.1", "version": host_code.version(), "check": False,
        "code": base64.b64encode(host_code.zipapp()).decode("ascii"),
    }  # fmt: skip
    preparation.agent(request)
    return request


def push(scope, folder: Path, definitions: dict[str, str], ports: dict[str, int]) -> None:
    """Bring services to an environment, as a push does."""
    origin_folder = folder / scope.env / scope.org
    (origin_folder / "services").mkdir(parents=True)
    for name, text in definitions.items():
        (origin_folder / "services" / f"{name}.tsm").write_text(text)
    origin = source.read(origin_folder)
    known = keys.digests(scope.home, {"KEY": SECRET})
    built = bundle.build(origin, scope.env, bundle.services(origin, scope.env), ports, known["digests"], known["key"])
    manifest = built.manifest
    desired = plan.Desired(
        scope.org, scope.env, "push", origin.digest, release.digest(manifest),
        {name: one["digest"] for name, one in manifest["services"].items()}, {"here": sorted(definitions)}, ports, {},
    )  # fmt: skip
    contents = {file.entry["sha256"]: file.read() for file in origin.files.values() if file.read}
    index = pack.header((name, len(data)) for name, data in contents.items())
    scope.environment.prepare()
    store.unpack(scope.environment, io.BytesIO(index + b"".join(contents.values())))
    observed = {"here": {"services": {}, "current": None, "epoch": 0, "drift": []}}
    identity = IDENTITIES[scope.env]
    staging.stage(scope, identity, {
        "plan": plan.plan(observed, desired), "host": "here", "bundle": origin.manifest, "manifest": manifest,
        "pack": None, "pack_bytes": None, "services": sorted(definitions), "secrets": {"KEY": SECRET},
        "actor": "eve", "reason": "night", "lift_hold": "", "lease": 60.0,
        "probe": {"passes": 1, "spacing": 0.1}, "keep": 5, "pinned": [], "heads": {}, "seen": [],
    })  # fmt: skip
    engine.activate(scope, identity)
    assert engine.confirm(scope, identity)["state"] == transaction.CONFIRMED


class Host:
    """A prepared host with services, and its program."""

    def __init__(self, root: str, port: int) -> None:
        self.root, self.port = root, port
        self.dev = open_scope(root, "acme", "dev")
        self.prod = open_scope(root, "acme", "prod")
        self.program = os.path.join(root, "bin", "tsm")

    def tsm(self, *words: str, code: int = 0, **options) -> str:
        """What the program says to a person: standard output when all is well, else standard error."""
        command = [self.program, *words]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, **options)
        assert done.returncode == code, done.stdout + done.stderr
        for text in (done.stdout, done.stderr):
            assert "Traceback" not in text
            assert SECRET not in text
        return done.stderr if code else done.stdout

    def read(self, *words: str, code: int = 0) -> dict:
        """The document that the program prints for programs; nothing else is said."""
        command = [self.program, *words, "--json"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        assert (done.returncode, done.stderr, done.stdout.count("\n")) == (code, "", 1), done
        assert SECRET not in done.stdout
        return json.loads(done.stdout)

    def states(self) -> dict[str, str]:
        found = self.read("list")["services"]
        return {f"{one['env']}/{one['name']}": "by hand" if one["stopped"] else one["state"] for one in found}

    def doctor(self, code: int = 0) -> dict[str, list[str]]:
        """What the doctor does not find well: check to its details."""
        result: dict[str, list[str]] = {}
        for one in self.read("doctor", code=code)["checks"]:
            if one["status"] != "ok":
                assert one["hint"]
                result.setdefault(f"{one['status']}: {one['check']}", []).append(one["detail"])
        return result


@pytest.fixture(scope="module")
def shared():
    """A host with two environments, in a folder that every user may look into."""
    folder = Path(tempfile.mkdtemp(prefix="tetra-tsm-"))
    folder.chmod(0o755)
    request = prepare(folder / "host")
    port = free_port()
    try:
        push(open_scope(request["tetra_dir"], "acme", "dev"), folder,
             {"web": WEB, "worker": WORKER}, {"web": port})
        push(open_scope(request["tetra_dir"], "acme", "prod"), folder, {"worker": WORKER}, {})
        yield Host(request["tetra_dir"], port)
    finally:
        preparation.agent({**request, "state": "stopped"})
        shutil.rmtree(folder)


@pytest.fixture
def host(shared):
    """The shared host, with all services running."""
    shared.dev.supervisor.ensure_running()
    shared.tsm("start", "all")
    return shared


def rows(text: str) -> list[list[str]]:
    """The cells of a table, without its heading."""
    return [line.split() for line in text.splitlines()[1:]]


def test_list_shows_all_services_of_all_environments(host):
    short = store.current(host.dev.environment)[:12]
    found = rows(host.tsm("list"))
    assert [row[:5] for row in found] == [
        ["0", "acme", "dev", "web", "running"],
        ["1", "acme", "dev", "worker", "running"],
        ["2", "acme", "prod", "worker", "running"],
    ]
    assert found[0][6:] == [str(host.port), short]
    assert [row[0] for row in rows(host.tsm("list", "--env", "prod"))] == ["2"]
    assert [one["name"] for one in host.read("list", "--org", "acme", "--env", "dev")["services"]] == ["web", "worker"]
    assert "did you mean" not in host.tsm("list", "--env", "qa", code=INVALID)


def test_status_shows_health_and_what_a_service_uses(host):
    end = time.monotonic() + 15
    while not host.read("status", "web")["services"][0]["memory"] and time.monotonic() < end:
        time.sleep(0.1)
    web, worker = host.read("status", "web", "prod/worker")["services"]
    assert web["health"]["ok"]
    assert web["url"] == f"http://127.0.0.1:{host.port}"
    assert web["memory"] > 0
    assert web["since"].endswith("Z")
    assert (web["restarts"], worker["id"], worker["url"]) == (0, 2, "")
    text = host.tsm("status")
    assert f"http://127.0.0.1:{host.port}" in text
    assert len(rows(text)) == 3
    host.tsm("stop", "web")
    assert "stopped by hand" in host.tsm("status", "web")
    assert not host.read("status", "web")["services"][0]["health"]["ok"]


def test_logs_are_shown_as_they_are_but_for_secrets(host):
    host.tsm("restart", "dev/worker")
    end = time.monotonic() + 15
    while "\x1b[31m" not in host.tsm("logs", "dev/worker", "-n", "1") and time.monotonic() < end:
        time.sleep(0.1)
    assert host.tsm("logs", "dev/worker", "-n", "1") == "******** \x1b[31m \u00e9\n"
    assert host.read("logs", "1", "-n", "1")["services"][0]["lines"] == ["******** \x1b[31m \u00e9"]


def test_logs_of_several_services_name_each(host):
    Path(host.dev.environment.logs, "web.log").write_text("".join(f"line {number}\n" for number in range(100)))
    assert host.tsm("logs", "web", "-n", "2") == "line 98\nline 99\n"
    assert len(host.tsm("logs", "web").splitlines()) == 50
    lines = host.tsm("logs", "--all", "--env", "dev", "-n", "1").splitlines()
    assert [line.partition(": ")[0] for line in lines] == ["web", "worker"]
    lines = host.tsm("logs", "*", "-n", "1").splitlines()
    assert [line.partition(": ")[0] for line in lines] == ["acme/dev/web", "acme/dev/worker", "acme/prod/worker"]


@pytest.mark.parametrize("words", [["logs"], ["logs", "web", "--all"], ["logs", "web", "-n", "0"], ["stop"]])
def test_words_that_do_not_go_together_are_wrong_use(host, words):
    host.tsm(*words, code=INVALID)


def test_logs_are_there_when_the_supervisor_is_not(host):
    host.dev.supervisor.shutdown()
    assert host.tsm("logs", "dev/worker", "-n", "1").startswith("********")


def test_a_service_is_stopped_and_stays_so_until_it_is_started(host):
    assert ["1", "acme/dev/worker", "stop", "stopped", "by", "hand"] in rows(host.tsm("stop", "dev/work"))
    host.dev.supervisor.shutdown()
    host.dev.supervisor.ensure_running()
    assert host.states() == {"dev/web": "running", "dev/worker": "by hand", "prod/worker": "running"}
    assert running.observe(host.dev)["worker"]["pid"] is None
    assert host.read("start", "1")["services"][0]["done"] == "start"
    assert host.states()["dev/worker"] == "running"
    assert host.read("start", "1")["services"][0]["done"] == "keep"


def test_a_service_is_restarted_and_all_are_stopped(host):
    before = running.observe(host.prod)["worker"]["pid"]
    assert rows(host.tsm("restart", "prod/worker")) == [["2", "acme/prod/worker", "restart", "running"]]
    assert running.observe(host.prod)["worker"]["pid"] not in (None, before)
    host.tsm("stop", "all")
    assert set(host.states().values()) == {"by hand"}


def test_nothing_is_moved_while_a_transaction_is_open_and_other_environments_go_on(host):
    held = Path(host.dev.environment.tx, f"{IDENTITIES['dev']}.confirmed")
    opened = held.with_suffix(f".{transaction.PROBING}")
    held.rename(opened)
    try:
        said = host.tsm("stop", "worker", "--env", "dev", code=REFUSED)
        assert f"transaction {IDENTITIES['dev']} of eve is probing" in said
        found = host.read("stop", "dev/worker", "prod/worker", code=REFUSED)
        assert [one["env"] for one in found["services"]] == ["prod"]
        assert host.states()["dev/worker"] == "running"
        transactions.write_lease(host.dev.environment, IDENTITIES["dev"], -1.0, 0.0)
        assert "its lease is over" in host.doctor(REFUSED)["error: transactions acme/dev"][0]
    finally:
        opened.rename(held)


def test_ports_names_the_owner_and_who_listens(host):
    end = time.monotonic() + 15
    while "nobody" in host.tsm("ports") and time.monotonic() < end:
        time.sleep(0.1)
    row = rows(host.tsm("ports"))[0]
    assert row[:4] == [str(host.port), "acme/dev", "web", "acme/dev/web:"]
    host.tsm("stop", "web")
    with socket.create_server(("127.0.0.1", host.port)):
        listener = host.read("ports")["ports"][0]["listeners"][0]
        assert (listener["pid"], listener["owner"]) == (os.getpid(), None)
    assert host.read("ports", "--env", "prod")["ports"] == []


def test_ports_tells_the_two_protocols_of_a_number_apart(host):
    registry.change(host.dev.home.root, {"names": {"dns": f"{host.port}/udp"}})
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", host.port))
        found = {one["port"]: one["listeners"] for one in host.read("ports")["ports"]}
    assert {listener["protocol"] for listener in found[host.port]} <= {"tcp"}
    assert [listener["protocol"] for listener in found[f"{host.port}/udp"]] == ["udp"]


@pytest.fixture
def registry_file(host):
    """The registry of the host, which is as it was when a test ends."""
    file = Path(host.root, "config", "ports.toml")
    before = file.read_text()
    yield file
    file.write_text(before)
    file.with_name("ports.released.json").unlink(missing_ok=True)


def test_ports_are_given_and_given_back(host, registry_file):
    before = registry_file.read_text()
    assert "+gate = 3999" in host.tsm("ports", "allocate", "gate=3999", "--check")
    assert registry_file.read_text() == before
    host.tsm("ports", "allocate", "gate=3999", "other")
    assert host.read("ports", "allocate", "gate=3999")["changed"] is False
    assert "-gate = 3999" in host.tsm("ports", "release", "gate", "other")
    assert registry_file.read_text().startswith(before)
    assert "3999" not in registry_file.read_text()


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["frobnicate"], INVALID, "tsm ports help shows all"),
        (["alocate"], INVALID, "did you mean allocate?"),
        (["allocate"], INVALID, "of which name?"),
        (["allocate", "gate=0"], INVALID, '"0" is not a port'),
        (["allocate", "gate=80.5"], INVALID, "'80.5' is not a port"),
        (["allocate", "gate=4000; rm"], INVALID, "'4000; rm' is not a port"),
        (["allocate", "a b"], INVALID, "'a b' is not a name"),
        (["release", "gate"], INVALID, 'there is no port of "gate"'),
        (["release", "acme/dev/web"], REFUSED, "the release that acme/dev runs has it"),
        (["list", "more"], INVALID, "takes no 'more'"),
        (["export", "yaml"], INVALID, "toml, json, env, ports.env"),
        (["import"], INVALID, "of which file?"),
        (["import", "/no/file"], INVALID, "there is no file /no/file"),
        (["scan", "/no/file"], INVALID, "there is no file or folder /no/file"),
    ],
)
def test_what_cannot_be_done_with_ports_is_told_and_nothing_written(host, registry_file, words, code, said):
    before = registry_file.read_text()
    assert said in host.tsm("ports", *words, code=code)
    assert registry_file.read_text() == before


def test_ports_go_out_and_come_in(host, registry_file, tmp_path):
    text = host.tsm("ports", "export", "env")
    assert f"ACME_DEV_WEB_PORT={host.port}" in text
    (tmp_path / "same.env").write_text(text)
    (tmp_path / "more.env").write_text(f"{text}GATE_PORT=3999\n")
    (tmp_path / "other.env").write_text(f"{text}GATE_PORT={host.port}\n")
    assert host.tsm("ports", "import", os.fspath(tmp_path / "same.env")) == "nothing changes\n"
    assert "belongs to acme/dev/web" in host.tsm("ports", "import", os.fspath(tmp_path / "other.env"), code=REFUSED)
    assert "+gate = 3999" in host.tsm("ports", "import", os.fspath(tmp_path / "more.env"))


def test_ports_are_found_and_registered(host, registry_file, tmp_path):
    (tmp_path / "cache.env").write_text("PORT=3999\n")
    found = host.read("ports", "scan", os.fspath(tmp_path))["proposals"]
    assert ("cache", 3999, "new") in [(one["name"], one["port"], one["state"]) for one in found]
    host.tsm("ports", "adopt", os.fspath(tmp_path))
    assert "cache = 3999" in registry_file.read_text()


def test_conflicts_of_ports_are_told_and_resolved(host, registry_file):
    assert host.tsm("ports", "check") == "nothing is in conflict\n"
    registry.change(host.root, {"names": {"gate": 3998}})
    registry_file.write_text(registry_file.read_text().replace("gate = 3998", "gate = 3998\nother = 3998"))
    message = "port 3998 of other belongs to gate as well"
    assert [one["message"] for one in host.read("ports", "check", code=REFUSED)["findings"]] == [message]
    assert message in host.doctor()["warning: ports"]
    host.tsm("ports", "resolve")
    assert host.tsm("ports", "check") == "nothing is in conflict\n"


def test_history_shows_the_newest_transactions_first(host):
    found = host.read("history")["transactions"]
    assert [one["env"] for one in found] == ["prod", "dev"]
    assert [one["transaction"] for one in host.read("history", "-n", "1")["transactions"]] == [IDENTITIES["prod"]]
    row = rows(host.tsm("history", "--env", "dev"))[0]
    short = store.current(host.dev.environment)[:12]
    assert row[1:] == ["acme/dev", "push", "confirmed", "eve", short, IDENTITIES["dev"], "night"]


def test_the_doctor_finds_nothing_on_a_good_host(host):
    assert host.doctor() == {}
    assert host.tsm("doctor").splitlines()[0].split() == ["RESULT", "CHECK", "DETAIL"]


def test_the_doctor_finds_a_release_that_was_edited(host):
    tree = Path(host.dev.environment.releases, store.current(host.dev.environment))
    (tree / "edited").write_text("by hand")
    try:
        assert "edited" in host.doctor(REFUSED)["error: release acme/dev"][0]
    finally:
        (tree / "edited").unlink()


def test_the_doctor_finds_a_damaged_journal_and_history_says_so(host):
    journal = Path(host.prod.environment.journal)
    good = journal.read_bytes()
    journal.write_bytes(good.replace(b'"eve"', b'"bob"'))
    try:
        assert "record 1 cannot be trusted" in host.doctor(REFUSED)["error: journal acme/prod"][0]
        assert [one["env"] for one in host.read("history", code=REFUSED)["transactions"]] == ["dev"]
        journal.write_bytes(good + b'{"torn')
        assert host.doctor() == {"warning: journal acme/prod": ["record 2 was not written to its end"]}
        assert len(host.read("history")["transactions"]) == 2
    finally:
        journal.write_bytes(good)


def test_the_doctor_finds_a_dead_supervisor_and_list_says_that_it_knows_nothing(host):
    host.dev.supervisor.shutdown()
    found = host.doctor(REFUSED)
    assert found["error: supervisor"] == ["supervisord does not run"]
    assert found["error: services acme/prod"] == ["worker should run and is absent"]
    assert "supervisord does not answer" in host.tsm("list", code=REFUSED)


def test_the_doctor_finds_a_service_that_died_and_one_that_was_stopped(host):
    host.tsm("stop", "prod/worker")
    host.dev.supervisor.stop([host.dev.unit("web")], remove=False)
    assert host.doctor(REFUSED) == {
        "error: services acme/dev": ["web should run and is stopped"],
        "warning: services acme/prod": ["worker was stopped by hand"],
    }


def test_the_doctor_finds_folders_and_files_that_others_can_use(host):
    bad = {host.dev.environment.run: 0o755, host.dev.environment.releases: 0o777, host.prod.environment.root: 0o775,
           running.launch_path(host.dev, "web"): 0o644, keys.path(host.dev.home): 0o640}
    good = {path: os.stat(path).st_mode & 0o7777 for path in bad}
    for path, mode in bad.items():
        os.chmod(path, mode)
    if os.geteuid() == 0:
        os.chown(host.prod.environment.root, -1, 65534)
    try:
        found = host.doctor(REFUSED)
        said = "\n".join(line for check, lines in found.items() if check.startswith("error: folders") for line in lines)
        expected = [path for path in bad if os.geteuid() == 0 or path != host.prod.environment.root]
        assert [path for path in expected if path not in said] == []
    finally:
        for path, mode in good.items():
            os.chmod(path, mode)
        os.chown(host.prod.environment.root, -1, os.getegid())


def test_the_doctor_finds_holds_and_a_link_that_leads_nowhere(host):
    why = {"transaction": IDENTITIES["dev"], "reason": "web:\x1b[2J it broke", "check": ""}
    holds.put(host.dev.environment, "ab" * 32, why)
    program = os.readlink(host.program)
    os.unlink(host.program)
    os.symlink("tsm-gone", host.program)
    command = [os.path.join(host.root, "bin", program), "doctor"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    finally:
        durable.replace_link(host.program, program)
        os.unlink(os.path.join(host.dev.environment.holds, f"{'ab' * 32}.json"))
    assert done.returncode == REFUSED
    assert "does not lead to a program" in done.stdout
    assert "bundle abababababab must not move: web:\\u001b[2J it broke" in done.stdout


def test_a_damaged_launch_file_hides_no_service_and_is_told(host):
    path = Path(running.launch_path(host.dev, "web"))
    good = path.read_bytes()
    for damaged in (b"{", b"{}"):
        path.write_bytes(damaged)
        try:
            assert {one["env"] for one in host.read("list")["services"]} == {"dev", "prod"}
            assert host.read("stop", "prod/worker")["services"][0]["id"] == 2
            assert f"{path} is damaged" in host.doctor(REFUSED)["error: services acme/dev"][0]
        finally:
            path.write_bytes(good)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["stop", "worker"], ["may mean any of these", "1  acme/dev/worker", "2  acme/prod/worker"]),
        (["stop", "wroker"], ["did you mean worker?"]),
        (["stop", "9"], ["0  acme/dev/web"]),
        (["status", "zzz"], ["2  acme/prod/worker"]),
        (["lsit"], ["did you mean list?"]),
        (["list", "--nothing"], ["usage: tsm list", "--nothing"]),
        (["list", "\x1b[2J"], ["\\u001b[2J"]),
        (["list", "--org", "other"], ["there is acme"]),
        (["list", "--dir", "/nowhere;"], ["not an absolute path"]),
        (["run"], ["usage: tsm run"]),
        ([], ["which command?", "usage: tsm COMMAND"]),
    ],
)
def test_what_is_not_understood_is_explained_and_nothing_is_done(host, words, said):
    before = host.states()
    error = host.tsm(*words, code=INVALID)
    assert [text for text in said if text not in error] == []
    assert host.states() == before


def test_an_error_is_a_document_too(host):
    found = host.read("stop", "worker", code=INVALID)["error"]
    assert found["code"] == "invalid"
    assert "acme/prod/worker" in found["message"]


@pytest.mark.parametrize("words", [["help"], ["--help"], ["-h"], ["stop", "--help"]])
def test_help_is_short(host, words):
    text = host.tsm(*words)
    assert text.startswith("usage: tsm")
    assert len(text.splitlines()) < 25


@pytest.mark.parametrize("words", [["list"], ["stop", "web"], ["ports"], ["history"], ["doctor"]])
def test_a_directory_that_was_never_prepared_is_refused(host, tmp_path, words):
    command = [host.program, *words, "--dir", os.fspath(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == REFUSED
    assert "was never prepared" in done.stdout + done.stderr
    assert os.listdir(tmp_path) == []


def test_a_host_without_services_is_well(tmp_path):
    request = prepare(tmp_path / "host")
    try:
        host = Host(request["tetra_dir"], 0)
        assert host.doctor() == {}
        assert [host.read(word)[key] for word, key in (("list", "services"), ("status", "services"), ("ports", "ports"),
                                                       ("history", "transactions"))] == [[], [], [], []]
        host.tsm("stop", "all", code=INVALID)
        assert "no service runs here yet" in host.tsm("list")
    finally:
        preparation.agent({**request, "state": "stopped"})


@pytest.mark.parametrize("words", [["list"], ["status"], ["logs", "all"], ["stop", "all"], ["doctor"]])
def test_who_has_no_right_is_told_to_use_sudo(host, words):
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")
    before = host.states()
    error = host.tsm(*words, code=REFUSED, user="nobody", group=65534, extra_groups=[])
    assert f"belong to {pwd.getpwuid(0).pw_name}; nobody has no right" in error
    assert f"sudo {host.program} {' '.join(words)}" in error
    assert host.states() == before


def test_everybody_may_read_ports_and_history(host):
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")
    other = {"user": "nobody", "group": 65534, "extra_groups": []}
    assert str(host.port) in host.tsm("ports", **other)
    assert IDENTITIES["dev"] in host.tsm("history", **other)
    os.chmod(host.dev.environment.journal, 0o600)
    try:
        error = host.tsm("history", code=REFUSED, **other)
    finally:
        os.chmod(host.dev.environment.journal, 0o644)
    assert f"nobody may not use {host.dev.environment.journal}" in error
    assert "sudo" in error


def test_who_reads_only_the_beginning_disturbs_nothing(host):
    Path(host.dev.environment.logs, "web.log").write_text("x" * 100 + "\n" + "y\n" * 200_000)
    command = f"{host.program} logs web -n 200000 | head -n 1; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=60, check=False)
    assert (done.stderr, done.stdout.splitlines()[-1]) == ("", "0")


def test_ctrl_c_ends_it_silently(host):
    with durable.lock(host.dev.environment.lock, 5.0):
        command = [host.program, "stop", "web"]
        # Whoever runs this in the background has it ignore Ctrl-C, which a program inherits.
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                              preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)) as process:
            time.sleep(1.5)
            process.send_signal(signal.SIGINT)
            assert process.communicate(timeout=20) == ("", "")
    assert process.returncode == 130
    assert host.states()["dev/web"] == "running"


def test_the_program_knows_its_directory_through_links(host, tmp_path):
    link = tmp_path / "tsm"
    link.symlink_to(host.program)
    done = subprocess.run([os.fspath(link), "list", "--json"], capture_output=True, text=True, check=True)
    assert len(json.loads(done.stdout)["services"]) == 3
