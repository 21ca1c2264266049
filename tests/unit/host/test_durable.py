# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files, folders and locks that survive whatever kills the writer."""

from __future__ import annotations

import errno
import json
import os
import random
import signal
import stat
import sys
import threading
import time

import pytest
from ansible_collections.tetra.platform.plugins.module_utils.host import durable
from ansible_collections.tetra.platform.plugins.module_utils.model.errors import REFUSED, TetraError

KILLS = 40


@pytest.fixture
def path(tmp_path):
    return os.fspath(tmp_path / "file")


def mode(path):
    return stat.S_IMODE(os.lstat(path).st_mode)


def contents(path):
    with open(path, "rb") as file:
        return file.read()


def fork(work):
    """Run something in a process of its own, which ends without the rest of the test run."""
    child = os.fork()
    if child == 0:
        try:
            work()
        finally:
            os._exit(1)
    return child


def kill(child):
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)


def failing(error, after=0):
    """A function that fails with an error number, after some calls that do nothing."""
    calls = []

    def fail(*_arguments, **_options):
        calls.append(1)
        if len(calls) > after:
            raise OSError(error, os.strerror(error))

    return fail


def test_a_killed_writer_leaves_the_old_or_the_new_bytes(path):
    versions = [bytes([number]) * 200_000 for number in range(4)]
    durable.write_file(path, versions[0])

    def write_forever():
        while True:
            for version in versions:
                durable.write_file(path, version)

    for _kill in range(KILLS):
        child = fork(write_forever)
        time.sleep(random.uniform(0.001, 0.03))
        kill(child)
        assert contents(path) in versions
    durable.sweep(os.path.dirname(path))
    assert os.listdir(os.path.dirname(path)) == ["file"]


def test_a_killed_creator_leaves_a_whole_file_or_none(tmp_path):
    data = b"x" * 200_000

    def create_forever():
        for number in range(10**6):
            durable.create_file(os.fspath(tmp_path / f"file-{number}"), data)

    for _kill in range(KILLS // 4):
        child = fork(create_forever)
        time.sleep(random.uniform(0.001, 0.03))
        kill(child)
        durable.sweep(os.fspath(tmp_path))
        for file in tmp_path.iterdir():
            assert file.read_bytes() == data
            file.unlink()


def test_a_killed_switch_leaves_a_link_that_leads_somewhere(path):
    targets = ["releases/one", "releases/two"]
    durable.replace_link(path, targets[0])

    def switch_forever():
        while True:
            for target in targets:
                durable.replace_link(path, target)

    for _kill in range(KILLS // 4):
        child = fork(switch_forever)
        time.sleep(random.uniform(0.001, 0.02))
        kill(child)
        assert os.readlink(path) in targets


def test_a_file_has_its_mode_whatever_the_umask(path):
    before = os.umask(0o077)
    try:
        durable.write_file(path, b"", 0o644)
    finally:
        os.umask(before)
    assert mode(path) == 0o644


def test_a_replaced_file_gets_the_new_mode(path):
    durable.write_file(path, b"", 0o644)
    durable.write_file(path, b"", 0o600)
    assert mode(path) == 0o600


def test_the_temporary_file_is_never_wider_than_the_final_one(path, monkeypatch):
    seen = []
    real = os.open

    def watched(name, flags, *arguments, **options):
        descriptor = real(name, flags, *arguments, **options)
        seen.append(stat.S_IMODE(os.fstat(descriptor).st_mode))
        return descriptor

    monkeypatch.setattr(os, "open", watched)
    durable.write_file(path, b"secret", 0o600)
    assert seen[0] == 0o600


@pytest.mark.parametrize("call", ["fsync", "rename", "fchmod"])
@pytest.mark.parametrize("error", [errno.EIO, errno.ENOSPC, errno.EROFS, errno.EDQUOT])
def test_an_error_leaves_the_old_file_and_nothing_else(path, monkeypatch, call, error):
    durable.write_file(path, b"old")
    monkeypatch.setattr(os, call, failing(error))
    with pytest.raises(OSError, match=os.strerror(error)):
        durable.write_file(path, b"new")
    monkeypatch.undo()
    assert contents(path) == b"old"
    assert os.listdir(os.path.dirname(path)) == ["file"]


@pytest.mark.parametrize("call", ["fsync", "link"])
def test_an_error_leaves_nothing_of_a_file_that_was_not_there(path, monkeypatch, call):
    monkeypatch.setattr(os, call, failing(errno.EIO))
    with pytest.raises(OSError, match=os.strerror(errno.EIO)):
        durable.create_file(path, b"new")
    assert os.listdir(os.path.dirname(path)) == []


def test_a_folder_that_cannot_be_synced_is_a_failure(path, monkeypatch):
    monkeypatch.setattr(os, "fsync", failing(errno.EIO, after=1))
    with pytest.raises(OSError, match=os.strerror(errno.EIO)):
        durable.write_file(path, b"new")


def test_an_error_while_a_link_is_replaced_leaves_the_old_one_and_nothing_else(path, monkeypatch):
    durable.replace_link(path, "old")
    monkeypatch.setattr(os, "rename", failing(errno.EROFS))
    with pytest.raises(OSError, match=os.strerror(errno.EROFS)):
        durable.replace_link(path, "new")
    assert os.readlink(path) == "old"
    assert os.listdir(os.path.dirname(path)) == ["file"]


def test_a_block_that_raises_leaves_the_old_file(path):
    durable.write_file(path, b"old")
    with pytest.raises(ValueError, match="stop"), durable.replacing(path) as file:
        file.write(b"new")
        raise ValueError("stop")
    assert contents(path) == b"old"
    assert os.listdir(os.path.dirname(path)) == ["file"]


def test_a_link_at_the_name_is_replaced_and_what_it_leads_to_is_left_alone(tmp_path, path):
    (tmp_path / "other").write_bytes(b"other")
    os.symlink("other", path)
    durable.write_file(path, b"new")
    assert not os.path.islink(path)
    assert (tmp_path / "other").read_bytes() == b"other"


def test_a_link_in_the_place_of_the_temporary_file_is_not_followed(tmp_path, path, monkeypatch):
    planted = os.fspath(tmp_path / ".tmp-planted")
    os.symlink("victim", planted)
    monkeypatch.setattr(durable, "temporary_path", lambda _path: planted)
    with pytest.raises(FileExistsError):
        durable.write_file(path, b"new")
    assert not (tmp_path / "victim").exists()


def test_no_parent_is_made_for_a_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        durable.write_file(os.fspath(tmp_path / "absent" / "file"), b"")


def test_a_record_is_written_in_its_one_form(path):
    durable.write_json(path, {"b": 1, "a": "é"})
    assert contents(path) == b'{"a":"\\u00e9","b":1}\n'


def test_a_file_that_exists_is_not_created(path):
    durable.create_file(path, b"old")
    with pytest.raises(FileExistsError):
        durable.create_file(path, b"new")
    assert contents(path) == b"old"


def test_a_created_file_has_one_name(path):
    durable.create_file(path, b"new", 0o600)
    assert os.stat(path).st_nlink == 1
    assert mode(path) == 0o600
    assert os.listdir(os.path.dirname(path)) == ["file"]


def test_one_of_two_renames_wins(tmp_path):
    durable.write_file(os.fspath(tmp_path / "id.probing"), b"")
    durable.rename(os.fspath(tmp_path / "id.probing"), os.fspath(tmp_path / "id.confirmed"))
    with pytest.raises(FileNotFoundError):
        durable.rename(os.fspath(tmp_path / "id.probing"), os.fspath(tmp_path / "id.rolling_back"))


def test_what_is_not_there_is_removed_without_a_word(path):
    durable.write_file(path, b"")
    durable.remove(path)
    durable.remove(path)
    assert not os.path.lexists(path)


def test_a_tree_is_removed_and_no_link_in_it_is_followed(tmp_path):
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "file").write_bytes(b"")
    (tmp_path / "tree" / "folder").mkdir(parents=True)
    (tmp_path / "tree" / "folder" / "link").symlink_to(tmp_path / "kept")
    (tmp_path / "tree" / "folder").chmod(0o500)
    durable.remove_tree(os.fspath(tmp_path / "tree"))
    assert sorted(os.listdir(tmp_path)) == ["kept"]
    assert os.listdir(tmp_path / "kept") == ["file"]


def test_a_link_in_the_place_of_a_tree_is_removed_alone(tmp_path):
    (tmp_path / "kept").mkdir()
    (tmp_path / "tree").symlink_to("kept")
    durable.remove_tree(os.fspath(tmp_path / "tree"))
    assert os.listdir(tmp_path) == ["kept"]


def test_a_folder_is_made_with_its_mode_whatever_the_umask(path):
    before = os.umask(0o077)
    try:
        durable.make_folder(path, 0o755)
    finally:
        os.umask(before)
    assert mode(path) == 0o755


def test_folders_above_are_made_and_readable(tmp_path):
    durable.make_folder(os.fspath(tmp_path / "one" / "two" / "three"), 0o700)
    assert [mode(tmp_path / name) for name in ("one", "one/two", "one/two/three")] == [0o755, 0o755, 0o700]


def test_a_folder_that_is_there_is_left_alone(path):
    durable.make_folder(path, 0o700)
    before = os.stat(path).st_mtime_ns
    durable.make_folder(path, 0o755)
    assert (mode(path), os.stat(path).st_mtime_ns) == (0o700, before)


@pytest.mark.parametrize("target", ["folder", "nothing"])
def test_a_link_is_not_taken_for_a_folder(tmp_path, path, target):
    (tmp_path / "folder").mkdir()
    os.symlink(target, path)
    with pytest.raises(TetraError, match="is not a folder") as caught:
        durable.make_folder(path)
    assert caught.value.code == REFUSED
    assert os.listdir(tmp_path / "folder") == []


def test_a_file_is_not_taken_for_a_folder(path):
    durable.write_file(path, b"")
    with pytest.raises(TetraError, match="is not a folder"):
        durable.make_folder(path)


def test_a_folder_that_everybody_may_write_to_is_refused(path):
    durable.make_folder(path)
    os.chmod(path, 0o757)
    with pytest.raises(TetraError, match="others may write to it"):
        durable.make_folder(path)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_a_folder_of_another_user_is_refused(path):
    durable.make_folder(path)
    os.chown(path, 65534, os.getegid())
    with pytest.raises(TetraError, match="belongs to another user"):
        durable.make_folder(path)


def test_lines_are_added_at_the_end(path):
    durable.append_line(path, b"one")
    durable.append_line(path, b"two")
    assert contents(path) == b"one\ntwo\n"


def test_a_line_is_not_added_behind_a_link(tmp_path, path):
    os.symlink("victim", path)
    with pytest.raises(OSError, match=os.strerror(errno.ELOOP)):
        durable.append_line(path, b"one")
    assert not (tmp_path / "victim").exists()


def test_an_appended_line_that_cannot_be_synced_is_a_failure(path, monkeypatch):
    monkeypatch.setattr(os, "fsync", failing(errno.EIO))
    with pytest.raises(OSError, match=os.strerror(errno.EIO)):
        durable.append_line(path, b"one")


def test_the_end_of_a_file_is_cut_off(path):
    durable.write_file(path, b"one\ntwo")
    durable.cut(path, 4)
    assert contents(path) == b"one\n"


def test_what_killed_runs_left_is_swept_and_nothing_else(tmp_path):
    (tmp_path / "kept").write_bytes(b"")
    (tmp_path / ".hidden").write_bytes(b"")
    (tmp_path / ".tmp-file").write_bytes(b"")
    (tmp_path / ".tmp-link").symlink_to("kept")
    (tmp_path / ".tmp-tree" / "folder").mkdir(parents=True)
    durable.sweep(os.fspath(tmp_path))
    assert sorted(os.listdir(tmp_path)) == [".hidden", "kept"]


def test_where_others_write_too_only_what_is_old_is_removed(tmp_path):
    for name, age in {".tmp-old": 7200, ".tmp-new": 60, "kept": 7200}.items():
        (tmp_path / name).symlink_to("nowhere")
        os.utime(tmp_path / name, (time.time() - age,) * 2, follow_symlinks=False)
    durable.sweep(os.fspath(tmp_path), 3600)
    assert sorted(os.listdir(tmp_path)) == [".tmp-new", "kept"]


@pytest.mark.parametrize(
    "text",
    ["", "{", '{"a": 1', "[]", "1", "null", '"text"', '{"a": NaN}', '{"a": Infinity}', "\xff", "[" * 100_000, "\0" * 8],
)
def test_a_damaged_record_is_refused_by_its_path(path, text):
    durable.write_file(path, text.encode("latin-1"))
    with pytest.raises(TetraError, match="file is damaged") as caught:
        durable.read_json(path)
    assert caught.value.code == REFUSED


@pytest.mark.parametrize("size", range(20))
def test_a_record_that_was_cut_short_is_refused(path, size):
    text = json.dumps({"format": 1, "a": "b"}).encode()
    durable.write_file(path, text[:size])
    with pytest.raises(TetraError, match="is damaged"):
        durable.read_json(path)


def test_a_folder_in_the_place_of_a_record_is_damage(path):
    os.mkdir(path)
    with pytest.raises(durable.DamagedError, match="file is damaged: it is a folder"):
        durable.read_json(path)


RECORD = {"format": 1, "from": "a" * 8, "lease": 20.5, "none": None, "nested": {"b": [1, 2]}}


def test_a_sealed_record_is_read_as_it_was_written(path):
    durable.write_file(path, durable.sealed(RECORD))
    assert durable.read_sealed(path, 1) == RECORD


def test_a_record_of_before_there_were_seals_is_read(path):
    durable.write_json(path, RECORD)
    assert durable.read_sealed(path, 1) == RECORD


def test_no_flipped_bit_of_a_sealed_record_goes_unnoticed(path):
    text = durable.sealed(RECORD)
    for number in range(8 * len(text)):
        data = bytearray(text)
        data[number // 8] ^= 1 << number % 8
        with open(path, "wb") as file:
            file.write(data)
        try:
            found = durable.read_sealed(path, 1)
        except TetraError as error:
            assert path in error.message
            assert error.hint
        else:
            # Only the name of the seal was hit, or what ends the line.
            assert {key: found.get(key) for key in RECORD} == RECORD, data


@pytest.mark.parametrize("version", [None, "1", True, 0, -1, 1.0])
def test_a_record_without_a_format_is_damaged(path, version):
    durable.write_json(path, {"format": version})
    with pytest.raises(durable.DamagedError):
        durable.read_record(path, 1)


def test_a_record_that_is_not_there_is_told_apart_from_a_damaged_one(path):
    with pytest.raises(FileNotFoundError):
        durable.read_json(path)


def test_a_lock_that_is_held_is_refused_by_its_path(path):
    held = pytest.raises(TetraError, match=f"another run holds {path}")
    with durable.lock(path, 1), held as caught, durable.lock(path, 0.1):
        pass
    assert caught.value.code == REFUSED


def test_a_lock_is_free_after_an_error(path):
    with pytest.raises(ValueError, match="stop"), durable.lock(path, 0):
        raise ValueError("stop")
    with durable.lock(path, 0):
        pass


def test_a_lock_waits_for_the_one_who_holds_it(path):
    held = threading.Event()

    def hold():
        with durable.lock(path, 1):
            held.set()
            time.sleep(0.2)

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait()
    with durable.lock(path, 10):
        pass
    thread.join()


def test_the_lock_of_a_killed_holder_is_free_at_once(path):
    reader, writer = os.pipe()

    def hold():
        with durable.lock(path, 1):
            os.write(writer, b"held")
            time.sleep(60)

    child = fork(hold)
    os.read(reader, 4)
    with pytest.raises(TetraError), durable.lock(path, 0):
        pass
    kill(child)
    with durable.lock(path, 0):
        pass
    os.close(reader)
    os.close(writer)


def test_a_lock_does_not_touch_its_file(path):
    durable.write_file(path, b"kept")
    before = os.stat(path).st_mtime_ns
    with durable.lock(path, 0):
        assert contents(path) == b"kept"
    assert os.stat(path).st_mtime_ns == before


def test_a_lock_whose_file_was_removed_lets_nobody_in(path):
    with durable.lock(path, 0):
        os.unlink(path)
        with pytest.raises(TetraError, match="another run holds"), durable.lock(path, 0.1):
            pass
    with durable.lock(path, 0):
        assert os.path.exists(path)


def test_a_lock_file_stays_where_it_is(path):
    with durable.lock(path, 0):
        pass
    assert os.path.exists(path)


def test_a_lock_on_a_file_that_was_replaced_while_waiting_is_taken_anew(path, monkeypatch):
    real = durable._try_lock
    replaced = []

    def lock_and_replace(descriptor):
        if not replaced:
            replaced.append(1)
            os.unlink(path)
            durable.write_file(path, b"")
        return real(descriptor)

    monkeypatch.setattr(durable, "_try_lock", lock_and_replace)
    with durable.lock(path, 5), pytest.raises(TetraError), durable.lock(path, 0):
        pass


def test_a_link_is_not_locked(tmp_path, path):
    os.symlink("victim", path)
    with pytest.raises(OSError, match=os.strerror(errno.ELOOP)), durable.lock(path, 0):
        pass
    assert not (tmp_path / "victim").exists()


def test_a_program_that_is_started_under_a_lock_does_not_inherit_it(path):
    with durable.lock(path, 0):
        child = os.spawnv(os.P_NOWAIT, sys.executable, [sys.executable, "-c", "import time; time.sleep(60)"])
        # It has its descriptors closed once it runs another program than this one.
        while b"sleep" not in contents(f"/proc/{child}/cmdline"):
            time.sleep(0.01)
    try:
        with durable.lock(path, 0):
            pass
    finally:
        kill(child)


@pytest.mark.parametrize("call", ["write_file", "create_file", "append_line"])
def test_no_descriptor_is_left_open(path, call):
    before = os.listdir("/proc/self/fd")
    getattr(durable, call)(path, b"data")
    with durable.lock(f"{path}.lock", 0):
        pass
    assert os.listdir("/proc/self/fd") == before


def test_what_is_finished_while_a_folder_is_swept_is_no_trouble(tmp_path, monkeypatch):
    path = os.fspath(tmp_path / "signed")
    listed = os.listdir

    def then_finished(folder: str) -> list[str]:
        names = listed(folder)
        for name in names:
            os.rename(os.path.join(folder, name), path)
        return names

    (tmp_path / f"{durable.TEMPORARY}half").write_text("x")
    monkeypatch.setattr(os, "listdir", then_finished)
    durable.sweep(os.fspath(tmp_path))
    assert listed(tmp_path) == ["signed"]
