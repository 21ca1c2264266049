# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The registry as a real file: many writers at once, links, modes, and the operations on it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from ansible_collections.tetra.platform.plugins.module_utils.host import durable, kernel_ports, registry
from ansible_collections.tetra.platform.plugins.module_utils.host.operations import ports
from ansible_collections.tetra.platform.plugins.module_utils.model.errors import INVALID, REFUSED, TetraError

ORIGINAL = """\
[ports]
devpages = 4000  # "pages"
arcade = 8400
gone = ""

[port_ranges]
development = "3000-3999"

[reserved]
system = "22 80 443"

[allocation]
min_port = 28100  # below the ports that the kernel gives to connections
max_port = 28199
"""


@pytest.fixture
def tetra_dir(tmp_path):
    (tmp_path / "config").mkdir()
    return os.fspath(tmp_path)


@pytest.fixture
def file(tetra_dir):
    path = Path(tetra_dir, "config", "ports.toml")
    path.write_bytes(ORIGINAL.encode())
    return path


def tree(folder) -> dict:
    """Every file below a folder with what identifies its state."""
    paths = sorted(Path(folder).rglob("*"))
    return {path: (path.stat().st_ino, path.stat().st_mtime_ns, path.is_file() and path.read_bytes()) for path in paths}


WRITER = """
import sys
from ansible_collections.tetra.platform.plugins.module_utils.host import registry
tetra_dir, number = sys.argv[1], int(sys.argv[2])
sys.stdin.readline()
for turn in range(3):
    registry.change(tetra_dir, {"owned": {f"acme/e{number % 3}": {f"s{number}-{turn}": 5000 + 10 * number + turn}}})
"""


def test_of_many_writers_at_once_every_change_survives(tetra_dir):
    # The collection is found the same way as in this process.
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", WRITER, tetra_dir]
    writers = [
        subprocess.Popen([*command, str(number)], stdin=subprocess.PIPE, text=True, env=environment)
        for number in range(8)
    ]
    for writer in writers:
        writer.stdin.write("go\n")
        writer.stdin.close()
    assert [writer.wait(60) for writer in writers] == [0] * len(writers)
    owned = registry.load(tetra_dir).registry.owned
    found = {service: port for services in owned.values() for service, port in services.items()}
    assert found == {f"s{number}-{turn}": 5000 + 10 * number + turn for number in range(8) for turn in range(3)}
    assert sorted(os.listdir(Path(tetra_dir, "config"))) == ["ports.lock", "ports.toml"]


def test_a_writer_waits_for_the_lock(tetra_dir, file, monkeypatch):
    monkeypatch.setattr(registry, "_LOCK_TIMEOUT", 0.1)
    with durable.lock(os.fspath(file.with_name("ports.lock")), 1), pytest.raises(TetraError) as caught:
        registry.change(tetra_dir, {"names": {"api": 4100}})
    assert caught.value.code == REFUSED
    assert "ports.lock" in caught.value.message
    assert file.read_text() == ORIGINAL


def test_a_registry_that_is_not_there_is_empty(tetra_dir):
    assert registry.load(tetra_dir).registry.names == {}


def test_a_change_gives_back_what_the_registry_says_then(tetra_dir, file):
    assert registry.change(tetra_dir, {"names": {"arcade": None}}).names == {"devpages": 4000}
    assert registry.load(tetra_dir).registry.names == {"devpages": 4000}


def test_a_change_that_changes_nothing_does_not_write(tetra_dir, file):
    before = file.stat()
    registry.change(tetra_dir, {"names": {"devpages": 4000}})
    assert (file.stat().st_ino, file.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_line_ends_survive_on_the_disk(tetra_dir, file):
    file.write_bytes(ORIGINAL.replace("\n", "\r\n").encode())
    registry.change(tetra_dir, {"names": {"devpages": 4001}})
    assert file.read_bytes() == ORIGINAL.replace("4000", "4001").replace("\n", "\r\n").encode()


@pytest.mark.parametrize("mode", [0o600, 0o664])
def test_the_mode_of_the_file_is_kept(tetra_dir, file, mode):
    file.chmod(mode)
    registry.change(tetra_dir, {"names": {"api": 4100}})
    assert file.stat().st_mode & 0o777 == mode


def test_a_link_to_the_file_stays_a_link(tetra_dir, file, tmp_path):
    real = file.rename(tmp_path / "real.toml")
    file.symlink_to(real)
    registry.change(tetra_dir, {"names": {"api": 4100}})
    assert file.is_symlink()
    assert "api = 4100" in real.read_text()


def test_a_file_that_is_no_text_is_refused_and_left(tetra_dir, file):
    data = ORIGINAL.encode() + b"# caf\xe9\n"
    file.write_bytes(data)
    with pytest.raises(TetraError) as caught:
        registry.change(tetra_dir, {"names": {"api": 4100}})
    assert caught.value.message.startswith(f"{file}:15: this is not UTF-8 text")
    assert file.read_bytes() == data


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"a" * (50 * 1024 * 1024), "is larger than"),
        (bytes(range(1, 256)) * 64, "this is not UTF-8 text"),
        (b"[ports]\napi = 4100\0\n", ":2: this is not UTF-8 text (byte 18)"),
    ],
    ids=["50 MB", "binary", "NUL"],
)
def test_what_is_no_registry_is_refused_and_left(tetra_dir, file, data, words):
    file.write_bytes(data)
    with pytest.raises(TetraError) as caught:
        operate(tetra_dir, ports={"api": 4200}, ranges={"qa": "7000-7099"})
    assert words in caught.value.message
    assert file.read_bytes() == data


BAD = """\
[ports]
zero = 0
minus = -1
high = 65536
half = "80.5"
shell = "4000; rm"
twice = 4001
twice = 4002

[port_ranges]
back = "3999-3000"
one = "3000-3999"
two = "3500-4500"
"""


def test_everything_that_is_wrong_is_told_at_once_and_an_edit_touches_none_of_it(tetra_dir, file):
    file.write_text(BAD)
    found = ports.port_registry_info({"tetra_dir": tetra_dir})["findings"]
    assert [(one["code"], one["line"]) for one in found if one["severity"] == "error"] == [
        ("out-of-range", 2), ("out-of-range", 3), ("out-of-range", 4), ("not-a-port", 5), ("not-a-port", 6),
        ("duplicate-key", 8), ("not-a-range", 11),
    ]  # fmt: skip
    assert ("overlapping-ranges", 13) in [(one["code"], one["line"]) for one in found]
    assert all(one["column"] and one["hint"] and one["file"] == os.fspath(file) for one in found)
    operate(tetra_dir, ports={"api": 4200})
    assert file.read_text() == BAD.replace("twice = 4002\n", "twice = 4002\napi = 4200\n")


def test_reserving_refuses_what_somebody_else_got_in_between(tetra_dir):
    registry.reserve(tetra_dir, "acme/dev", {"api": 4100})
    with pytest.raises(TetraError) as caught:
        registry.reserve(tetra_dir, "beta/dev", {"web": 4100})
    host = socket.gethostname()
    assert caught.value.code == REFUSED
    assert caught.value.message == f"port 4100 of service web belongs to acme/dev/api in the registry of host {host}"
    assert registry.load(tetra_dir).registry.owned == {"acme/dev": {"api": 4100}}


def test_an_environment_may_exchange_ports_between_its_services(tetra_dir):
    registry.reserve(tetra_dir, "acme/dev", {"api": 4100, "web": 4200})
    registry.reserve(tetra_dir, "acme/dev", {"api": 4200, "web": 4100})
    assert registry.load(tetra_dir).registry.owned == {"acme/dev": {"api": 4200, "web": 4100}}


def operate(tetra_dir, check=False, **request):
    return ports.port_registry({"tetra_dir": tetra_dir, "check": check, **request})


def test_the_operation_gives_what_the_registry_says_then(tetra_dir, file):
    wanted = {"ports": {"api": 4100, "arcade": "absent"}, "ranges": {"qa": "7000-7099"}, "reserved": {"mine": [9000]}}
    result = operate(tetra_dir, **wanted)
    assert result["changed"] is True
    assert result["ports"] == {"devpages": 4000, "api": 4100}
    assert result["ranges"] == {"development": "3000-3999", "qa": "7000-7099"}
    assert result["reserved"] == {"system": [22, 80, 443], "mine": [9000]}
    assert result["diff"] == {"before": ORIGINAL, "after": file.read_text()}


FULL = {
    "ports": {"api": "auto", "web": 4200, "arcade": "absent"},
    "ranges": {"qa": "7000-7099", "development": "absent"},
    "reserved": {"mine": [9001, 9000], "system": "absent"},
}


def test_check_mode_writes_nothing_and_says_the_same(tetra_dir, file):
    before = tree(tetra_dir)
    preview = operate(tetra_dir, check=True, **FULL)
    assert tree(tetra_dir) == before
    assert operate(tetra_dir, **FULL) == preview


def test_a_second_run_changes_and_writes_nothing(tetra_dir, file):
    first = operate(tetra_dir, **FULL)
    before = tree(tetra_dir)
    second = operate(tetra_dir, **FULL)
    assert tree(tetra_dir) == before
    text = first["diff"]["after"]
    # Somebody else on this machine may listen where a port was given out.
    assert second == {**first, "changed": False, "diff": {"before": text, "after": text}, "warnings": []}


def test_check_mode_on_a_host_that_has_nothing_makes_nothing(tmp_path):
    missing = tmp_path / "tetra"
    assert operate(os.fspath(missing), check=True, ports={"api": 4100})["changed"] is True
    assert operate(os.fspath(missing), ports={"api": "absent"})["changed"] is False
    assert not missing.exists()


def test_a_host_that_has_nothing_gets_its_registry(tmp_path):
    missing = os.fspath(tmp_path / "var" / "tetra")
    assert operate(missing, ports={"api": 4100})["ports"] == {"api": 4100}
    assert registry.load(missing).registry.names == {"api": 4100}


def test_exclusive_removes_plain_names_that_are_not_listed(tetra_dir, file):
    registry.change(tetra_dir, {"owned": {"acme/dev": {"api": 4300}}})
    result = operate(tetra_dir, ports={"arcade": 8400, "new": "auto"}, exclusive=True)
    assert result["ports"] == {"arcade": 8400, "new": 28100}
    assert registry.load(tetra_dir).registry.owned == {"acme/dev": {"api": 4300}}


def test_auto_takes_the_lowest_port_that_nobody_has(tetra_dir, file):
    file.write_text(ORIGINAL.replace("443", "28100").replace("arcade = 8400", "arcade = 28101"))
    registry.change(tetra_dir, {"owned": {"acme/dev": {"api": 28102}}})
    with socket.create_server(("127.0.9.1", 28103)):
        result = operate(tetra_dir, ports={"b": "auto", "a": "auto", "fixed": 28105})
    assert {name: result["ports"][name] for name in "ab"} == {"a": 28104, "b": 28106}


def test_auto_leaves_a_port_that_a_name_has(tetra_dir, file):
    assert operate(tetra_dir, ports={"arcade": "auto"})["changed"] is False


def test_auto_does_not_take_a_port_that_the_same_request_reserves(tetra_dir, file):
    result = operate(tetra_dir, ports={"a": "auto"}, reserved={"mine": [28100, 28101]})
    assert result["ports"]["a"] == 28102


def test_auto_with_nothing_free_is_refused(tetra_dir, file):
    file.write_text("[allocation]\nmin_port = 28100\nmax_port = 28101\n")
    with pytest.raises(TetraError) as caught:
        operate(tetra_dir, ports={"a": "auto", "b": "auto", "c": "auto"})
    assert (caught.value.code, caught.value.message) == (REFUSED, "there is no free port in 28100-28101 for c")


def test_every_port_that_cannot_be_had_is_named_in_one_error(tetra_dir, file):
    registry.change(tetra_dir, {"owned": {"acme/dev": {"api": 4300}}})
    before = file.read_text()
    with pytest.raises(TetraError) as caught:
        operate(tetra_dir, ports={"a": 22, "b": 4000, "c": 4300, "d": 4400, "e": 4400, "new": 4500})
    assert caught.value.code == INVALID
    host = socket.gethostname()
    assert caught.value.message.split("\n") == [
        f"port 22 of a is reserved on host {host} ([reserved] system)",
        f"port 4000 of b belongs to devpages in the registry of host {host}",
        f"port 4300 of c belongs to acme/dev/api in the registry of host {host}",
        "names d and e both want port 4400",
    ]
    assert file.read_text() == before


def test_names_may_exchange_ports(tetra_dir, file):
    result = operate(tetra_dir, ports={"devpages": 8400, "arcade": 4000})
    assert result["ports"] == {"devpages": 8400, "arcade": 4000}


def test_a_plain_name_may_have_the_port_of_the_service_that_it_names(tetra_dir, file):
    registry.change(tetra_dir, {"owned": {"acme/dev": {"api": 4300}}})
    assert operate(tetra_dir, ports={"api": 4300, "api-dev": 4301})["ports"]["api"] == 4300


def test_what_a_file_says_twice_already_is_left_to_the_findings(tetra_dir, file):
    file.write_text("[ports]\na = 4000\nb = 4000\n")
    assert operate(tetra_dir, ports={"a": 4000, "b": 4000})["changed"] is False


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        ({"ports": {"api": "many"}}, ("port api: ", "many")),
        ({"ports": {"api": 70000}}, ("port api: ", "70000")),
        ({"ports": {"api": True}}, ("port api: ", "True")),
        ({"ranges": {"qa": "7000"}}, ("range qa: ", "7000")),
        ({"reserved": {"mine": [0]}}, ("reserved mine: ", "0")),
        ({"ports": {"a b": 4100}}, ("'a b' is not a name",)),
    ],
)
def test_a_request_that_is_not_valid_says_whose_value_it_is(tetra_dir, file, request_, words):
    with pytest.raises(TetraError) as caught:
        operate(tetra_dir, **request_)
    assert all(word in caught.value.message for word in words)
    assert caught.value.hint
    assert file.read_text() == ORIGINAL


def test_numbers_may_come_as_text(tetra_dir, file):
    assert operate(tetra_dir, ports={"api": "4100"})["ports"]["api"] == 4100


def test_a_file_of_a_user_is_changed_without_any_host_around_it(tmp_path):
    file = tmp_path / "ports.toml"
    file.write_text(ORIGINAL)
    result = operate("/nowhere/at/all", path=os.fspath(file), ports={"devpages": 4001})
    assert result["changed"] is True
    assert file.read_text() == ORIGINAL.replace("devpages = 4000", "devpages = 4001")


def test_a_path_in_a_folder_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(TetraError) as caught:
        operate("/x", path=os.fspath(tmp_path / "no" / "ports.toml"), ports={"api": 4100})
    assert f"there is no folder {tmp_path / 'no'}" in caught.value.message


def test_info_says_what_the_registry_says_and_who_listens(tetra_dir, file):
    registry.change(tetra_dir, {"owned": {"acme/dev": {"api": 4300}}, "names": {"web": 4300}})
    before = tree(tetra_dir)
    with socket.create_server(("127.0.9.1", 0)) as server:
        result = ports.port_registry_info({"tetra_dir": tetra_dir, "check": False})
        port = server.getsockname()[1]
    assert tree(tetra_dir) == before
    assert result["changed"] is False
    plain = {"devpages": 4000, "arcade": 8400, "web": 4300}
    assert result["ports"] == {"plain": plain, "owned": {"acme/dev": {"api": 4300}}}
    assert result["ranges"] == {"development": "3000-3999"}
    assert result["reserved"] == {"system": [22, 80, 443]}
    assert [(found["code"], found["line"], found["file"]) for found in result["findings"]] == [
        ("duplicate-port", 8, os.fspath(file)),
        ("outside-range", 8, os.fspath(file)),
    ]
    assert [one["pid"] for one in result["listeners"] if one["port"] == port] == [os.getpid()]


def test_info_of_a_host_without_a_registry_is_empty(tmp_path):
    result = ports.port_registry_info({"tetra_dir": os.fspath(tmp_path), "check": False})
    assert result["ports"] == {"plain": {}, "owned": {}}


def test_info_of_a_path_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(TetraError) as caught:
        ports.port_registry_info({"tetra_dir": "/x", "path": os.fspath(tmp_path / "none.toml"), "check": False})
    assert "none.toml" in caught.value.message


def released(tetra_dir) -> dict[str, tuple[str, bool]]:
    return {value: (one["by"], one["held"]) for value, one in registry.load(tetra_dir).released.items()}


def test_a_name_that_goes_leaves_its_port_at_rest_for_others(tetra_dir, file):
    operate(tetra_dir, ports={"a": "auto"})
    operate(tetra_dir, ports={"a": "absent"})
    assert released(tetra_dir) == {"28100": ("a", False)}
    assert operate(tetra_dir, ports={"b": "auto"})["ports"]["b"] == 28101
    assert operate(tetra_dir, ports={"a": "auto"})["ports"]["a"] == 28100
    assert released(tetra_dir) == {}


def test_without_a_time_to_rest_a_port_is_free_at_once(tetra_dir, file):
    file.write_text(ORIGINAL + "cooldown = 0\n")
    operate(tetra_dir, ports={"a": "auto"})
    operate(tetra_dir, ports={"a": "absent"})
    assert operate(tetra_dir, ports={"b": "auto"})["ports"]["b"] == 28100


def test_a_port_that_a_transaction_may_go_back_to_is_held_until_it_ends(tetra_dir):
    registry.reserve(tetra_dir, "acme/dev", {"api": 4100})
    registry.reserve(tetra_dir, "acme/dev", {"api": 4200})
    assert released(tetra_dir) == {"4100": ("acme/dev/api", True)}
    with pytest.raises(TetraError, match="port 4100 of x is kept on host .* for acme/dev/api"):
        operate(tetra_dir, ports={"x": 4100})
    registry.settle(tetra_dir, "acme/dev", [])
    assert released(tetra_dir) == {"4100": ("acme/dev/api", False)}
    assert operate(tetra_dir, ports={"x": 4100})["ports"]["x"] == 4100


def test_a_transaction_that_goes_back_gives_up_what_it_had_reserved(tetra_dir):
    registry.reserve(tetra_dir, "acme/dev", {"api": 4100})
    registry.reserve(tetra_dir, "acme/dev", {"api": 4200})
    registry.change(tetra_dir, {"owned": {"acme/dev": {"api": 4100}}})
    assert released(tetra_dir) == {"4200": ("acme/dev/api", False)}


def test_the_end_of_a_transaction_frees_the_ports_of_services_that_are_gone(tetra_dir):
    registry.reserve(tetra_dir, "acme/dev", {"api": 4100, "old": 4101, "old/dns": "5353/udp"})
    registry.settle(tetra_dir, "acme/dev", ["old", "old/dns"])
    assert registry.load(tetra_dir).registry.owned == {"acme/dev": {"api": 4100}}
    assert released(tetra_dir) == {"4101": ("acme/dev/old", False), "5353/udp": ("acme/dev/old/dns", False)}


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format": 1, "released": {"4100": {"by": 1}}}', '{"format": 2}'])
def test_a_damaged_record_of_released_ports_is_refused_and_left(tetra_dir, file, text):
    record = file.with_name("ports.released.json")
    record.write_text(text)
    with pytest.raises(TetraError) as caught:
        operate(tetra_dir, ports={"a": "auto"})
    assert "ports.released.json" in caught.value.message
    assert (record.read_text(), file.read_text()) == (text, ORIGINAL)


def test_a_registry_in_another_form_is_taken_over_whole(tetra_dir, file, tmp_path):
    other = tmp_path / "ports.env"
    other.write_text("tetra=4444\ndevpages=4000\n")
    assert operate(tetra_dir, import_from=os.fspath(other))["ports"] == {
        "devpages": 4000, "arcade": 8400, "tetra": 4444,
    }  # fmt: skip
    assert operate(tetra_dir, import_from=os.fspath(other))["changed"] is False


def test_of_an_import_that_contradicts_the_registry_nothing_is_taken(tetra_dir, file, tmp_path):
    other = tmp_path / "in.json"
    other.write_text('{"names": {"new": 4500,\n "devpages": 4001,\n "x": 8400}}')
    with pytest.raises(TetraError) as caught:
        operate(tetra_dir, import_from=os.fspath(other))
    assert caught.value.code == REFUSED
    lines = caught.value.message.split("\n")
    assert [line.split(": ")[0] for line in lines] == [f"{other}:2:14", f"{other}:3:7"]
    assert file.read_text() == ORIGINAL


def test_what_is_exported_is_imported_as_the_same(tetra_dir, file, tmp_path):
    registry.change(tetra_dir, {"owned": {"acme/dev": {"api": 4300, "api/dns": "5353/udp"}}})
    for form in ("toml", "json", "env"):
        text = ports.port_registry_info({"tetra_dir": tetra_dir, "export": form})["text"]
        folder = tmp_path / form
        (folder / "config").mkdir(parents=True)
        (folder / "out").write_text(text)
        operate(os.fspath(folder), import_from=os.fspath(folder / "out"))
        there = registry.load(os.fspath(folder)).registry
        here = registry.load(tetra_dir).registry
        assert (there.names, there.owned, there.ranges) == (here.names, here.owned, here.ranges)
        assert {name: set(found) for name, found in there.reserved.items()} == {
            name: set(found) for name, found in here.reserved.items()
        }


COMPOSE = "services:\n  cache:\n    ports:\n      - 127.0.0.1:6399:6379\n  dns:\n    ports: [5399:53/udp]\n"


@pytest.fixture
def project(tmp_path):
    folder = tmp_path / "project"
    (folder / "node_modules").mkdir(parents=True)
    (folder / "compose.yml").write_text(COMPOSE)
    (folder / "start.sh").write_text("exec node server.js --port 3999\n")
    (folder / "node_modules" / "x.env").write_text("PORT=3998\n")
    (folder / "link.env").symlink_to("/etc/passwd")
    os.mkfifo(folder / "pipe.env")
    return os.fspath(folder)


def test_what_files_need_is_found_with_its_place(tetra_dir, file, project):
    found = ports.port_registry_info({"tetra_dir": tetra_dir, "scan": [project]})["proposals"]
    ours = [one for one in found if one["seen"][0]["file"].startswith(project)]
    assert [(one["name"], one["port"], one["protocol"], one["state"]) for one in ours] == [
        ("project", 3999, "tcp", "new"), ("dns", 5399, "udp", "new"), ("cache", 6399, "tcp", "new"),
    ]  # fmt: skip
    assert ours[2]["seen"][0]["line"] == 4


def test_what_is_found_is_registered_on_request_and_then_known(tetra_dir, file, project):
    result = operate(tetra_dir, adopt=[project])
    new = {"project": 3999, "dns": "5399/udp", "cache": 6399}
    assert result["ports"] == {"devpages": 4000, "arcade": 8400, **new}
    found = ports.port_registry_info({"tetra_dir": tetra_dir, "scan": [project]})["proposals"]
    assert {one["state"] for one in found if one["seen"][0]["file"]} == {"registered"}


def test_what_listens_is_registered_on_request(tetra_dir, file):
    with socket.create_server(("127.0.9.1", 0)) as one, socket.create_server(("127.0.9.1", 0)) as other:
        result = operate(tetra_dir, adopt=[])
        assert {one.getsockname()[1], other.getsockname()[1]} <= set(result["ports"].values())
        assert result["ports"].items() <= operate(tetra_dir, adopt=[])["ports"].items()


def test_nothing_is_adopted_when_something_is_in_the_way(tetra_dir, file, project):
    registry.change(tetra_dir, {"names": {"other": 6399}})
    before = file.read_text()
    with pytest.raises(TetraError) as caught:
        operate(tetra_dir, adopt=[project])
    assert f"{project}/compose.yml:4: port 6399 of cache: port 6399 belongs to other" in caught.value.message
    assert file.read_text() == before


def test_a_place_that_is_not_there_is_told(tetra_dir, file):
    with pytest.raises(TetraError, match="there is no file or folder /no/where"):
        operate(tetra_dir, adopt=["/no/where"])


def test_conflicts_of_a_file_are_resolved_or_listed(tetra_dir, file):
    file.write_text("[ports]\na = 4000\nb = 4000\nc = 22\n[reserved]\nsystem = [22]\n")
    with pytest.raises(TetraError) as caught:
        operate(tetra_dir, resolve="fail")
    assert caught.value.message.split("\n") == [
        "port 4000 of b belongs to a as well", "port 22 of c is reserved (system)",
    ]  # fmt: skip
    preview = operate(tetra_dir, check=True, resolve="reallocate")
    result = operate(tetra_dir, resolve="reallocate")
    assert preview == result
    assert result["ports"]["a"] == 4000
    assert result["findings"] == []
    assert operate(tetra_dir, resolve="reallocate")["changed"] is False


def test_a_port_of_an_environment_goes_only_when_no_release_has_it(tetra_dir, file):
    registry.change(tetra_dir, {"owned": {"acme/dev": {"old": 4300}}})
    assert operate(tetra_dir, ports={"acme/dev/old": "absent"})["changed"] is True
    assert registry.load(tetra_dir).registry.owned == {}
    with pytest.raises(TetraError, match="ports of environments come with their releases"):
        operate(tetra_dir, ports={"acme/dev/old": 4300})


def test_who_listens_already_on_a_port_that_gets_a_name_is_told_once(tetra_dir, file):
    with socket.create_server(("127.0.9.1", 0)) as server:
        port = server.getsockname()[1]
        told = operate(tetra_dir, ports={"gate": port, "dns": f"{port}/udp"})["warnings"]
        assert operate(tetra_dir, ports={"gate": port})["warnings"] == []
    (text,) = told
    assert text.startswith(f"port {port} of gate: ")
    assert f"(pid {os.getpid()}) listens on 127.0.9.1:{port}" in text


@pytest.mark.parametrize("owner", ["Acme/dev", "acme/my_env"])
def test_a_port_of_an_environment_that_cannot_be_is_taken_out_and_moved(tetra_dir, file, owner):
    registry.change(tetra_dir, {"owned": {owner: {"a": 4300, "b": 22}}})
    assert operate(tetra_dir, resolve="reallocate")["findings"] == []
    operate(tetra_dir, ports={f"{owner}/a": "absent", f"{owner}/b": "absent"})
    assert registry.load(tetra_dir).registry.owned == {}


def test_the_kernel_of_a_machine_without_our_systemd_is_left_alone(tetra_dir, file):
    before = Path(kernel_ports.RESERVED).read_text()
    operate(tetra_dir, ports={"high": 40123})
    assert Path(kernel_ports.RESERVED).read_text() == before
    assert not file.with_name("kernel-ports.json").exists()
