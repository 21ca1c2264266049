# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Blobs, bundles and releases on a disk: what is verified, what is made anew, what is left alone, what is removed."""

from __future__ import annotations

import errno
import io
import os
import random
import shutil
import signal
import stat
import time
from pathlib import Path

import pytest
from ansible_collections.tetra.platform.plugins.module_utils.host import store
from ansible_collections.tetra.platform.plugins.module_utils.host.layout import Home
from ansible_collections.tetra.platform.plugins.module_utils.model import canonical, pack, release
from ansible_collections.tetra.platform.plugins.module_utils.model.errors import REFUSED, TetraError

CONTENTS = {"files/web/run": b"#!/bin/sh\n", "files/web/data/big": b"x" * 200_000, "templates/web.conf": b"port=1\n"}


@pytest.fixture
def environment(tmp_path):
    environment = Home(os.fspath(tmp_path / "tetra")).environment("acme", "dev")
    environment.prepare()
    return environment


def file(data, executable=False):
    return {"type": "file", "sha256": canonical.sha256(data), "size": len(data), "executable": executable}


def files(**contents):
    entries = {path: file(data, path.endswith("/run")) for path, data in {**CONTENTS, **contents}.items()}
    return {**entries, "files/web/link": {"type": "link", "target": "data/big"}, "files/common": {"type": "dir"}}


def bundle_of(**contents):
    return release.bundle_manifest("acme", files(**contents))


def release_of(bundle=None, **contents):
    return {
        "format": 1, "kind": "release", "org": "acme", "env": "dev", "bundle": release.digest(bundle or bundle_of()),
        "files": files(**contents), "services": {}, "secrets": {}, "secrets_key": None,
    }  # fmt: skip


def packed(*datas, header=None, tail=b""):
    index = header or pack.header((canonical.sha256(data), len(data)) for data in datas)
    return io.BytesIO(index + b"".join(datas) + tail)


def add_release(environment, manifest):
    store.add_release(environment, manifest, os.path.join(environment.evidence, "edited"))


@pytest.fixture
def filled(environment, tmp_path):
    store.unpack(environment, packed(*CONTENTS.values()))
    return environment


@pytest.fixture
def added(filled):
    store.add_bundle(filled, bundle_of())
    add_release(filled, release_of())
    return filled


@pytest.fixture
def tree(added):
    return os.path.join(added.releases, release.digest(release_of()))


def snapshot(folder):
    """Everything below a folder: path to inode, time of change and size."""
    found = {}
    for base, folders, names in os.walk(folder):
        for name in [".", *folders, *names]:
            path = os.path.join(base, name)
            status = os.lstat(path)
            found[os.path.normpath(path)] = (status.st_ino, status.st_mtime_ns, status.st_ctime_ns, status.st_size)
    return found


def leftovers(environment):
    return [name for _base, folders, names in os.walk(environment.root) for name in folders + names if ".tmp-" in name]


def test_blobs_come_out_of_a_pack_as_they_were(environment, tmp_path):
    assert store.unpack(environment, packed(*CONTENTS.values())) == 3
    assert sorted(store.blobs(environment)) == sorted(canonical.sha256(data) for data in CONTENTS.values())
    for data in CONTENTS.values():
        assert (tmp_path / environment.blobs / canonical.sha256(data)).read_bytes() == data


def test_an_empty_pack_and_an_empty_blob_are_taken(environment, tmp_path):
    assert store.unpack(environment, packed()) == 0
    assert store.unpack(environment, packed(b"")) == 1
    assert store.blobs(environment) == [canonical.sha256(b"")]


def test_a_blob_has_its_mode_whatever_the_umask(environment, tmp_path):
    before = os.umask(0o077)
    try:
        store.unpack(environment, packed(b"data"))
    finally:
        os.umask(before)
    blob = os.stat(os.path.join(environment.blobs, canonical.sha256(b"data")))
    assert stat.S_IMODE(blob.st_mode) == 0o644


def test_a_blob_that_is_there_is_not_written_again(filled, tmp_path):
    before = snapshot(filled.blobs)
    assert store.unpack(filled, packed(*CONTENTS.values())) == 0
    after = snapshot(filled.blobs)
    del before[filled.blobs], after[filled.blobs]
    assert after == before


def test_a_blob_that_was_cut_short_is_written_again(filled, tmp_path):
    data = CONTENTS["files/web/data/big"]
    os.truncate(os.path.join(filled.blobs, canonical.sha256(data)), 5)
    store.unpack(filled, packed(data))
    assert store.verify_blob(filled, canonical.sha256(data))


@pytest.mark.parametrize("place", [0, 70_000, 199_999])
def test_a_flipped_byte_is_found_by_the_name_of_the_blob(environment, tmp_path, place):
    good, data = b"good", bytearray(CONTENTS["files/web/data/big"])
    header = pack.header([(canonical.sha256(good), len(good)), (canonical.sha256(data), len(data))])
    data[place] ^= 1
    with pytest.raises(TetraError, match=canonical.sha256(CONTENTS["files/web/data/big"])) as caught:
        store.unpack(environment, packed(good, bytes(data), header=header))
    assert caught.value.code == REFUSED
    assert os.listdir(environment.blobs) == [canonical.sha256(good)]


@pytest.mark.parametrize("size", [0, 1, 65_536, 199_999])
def test_a_pack_that_was_cut_short_leaves_nothing_of_the_blob(environment, tmp_path, size):
    data = CONTENTS["files/web/data/big"]
    header = pack.header([(canonical.sha256(data), len(data))])
    with pytest.raises(TetraError, match=canonical.sha256(data)):
        store.unpack(environment, packed(data[:size], header=header))
    assert os.listdir(environment.blobs) == []


def test_bytes_that_the_index_does_not_announce_are_refused(environment, tmp_path):
    with pytest.raises(TetraError, match="longer than its index says"):
        store.unpack(environment, packed(b"data", tail=b"x"))


def test_an_index_without_an_end_is_refused(environment, tmp_path):
    with pytest.raises(TetraError, match="does not begin with an index"):
        store.unpack(environment, packed(header=b"x" * (pack.MAX_HEADER + 10)))


def test_a_link_in_the_place_of_a_blob_is_replaced_and_not_followed(environment, tmp_path):
    victim = tmp_path / "victim"
    victim.write_bytes(b"....")
    os.symlink(victim, os.path.join(environment.blobs, canonical.sha256(b"data")))
    store.unpack(environment, packed(b"data"))
    assert victim.read_bytes() == b"...."
    assert store.verify_blob(environment, canonical.sha256(b"data"))


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO])
def test_a_disk_that_refuses_a_blob_leaves_nothing_of_it(environment, tmp_path, monkeypatch, error):
    path = packed(b"data")

    def fail(_descriptor):
        raise OSError(error, os.strerror(error))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(TetraError, match=os.strerror(error)) as caught:
        store.unpack(environment, path)
    assert caught.value.code == REFUSED
    assert os.listdir(environment.blobs) == []


def test_what_is_missing_is_said(filled):
    there, absent = canonical.sha256(CONTENTS["files/web/run"]), "0" * 64
    assert store.missing(filled, [there, absent, absent]) == [absent]


def test_a_blob_that_was_changed_does_not_verify(filled):
    name = canonical.sha256(CONTENTS["files/web/run"])
    assert store.verify_blob(filled, name)
    with open(os.path.join(filled.blobs, name), "r+b") as blob:
        blob.write(b"!")
    assert not store.verify_blob(filled, name)
    assert not store.verify_blob(filled, "0" * 64)


def test_a_pack_of_one_host_is_taken_by_another(filled, tmp_path):
    sent = io.BytesIO(store.pack_of(filled, store.blobs(filled)))
    other = Home(os.fspath(tmp_path / "other")).environment("acme", "staging")
    other.prepare()
    assert store.unpack(other, sent) == 3
    assert store.blobs(other) == store.blobs(filled)


@pytest.mark.parametrize("damage", ["absent", "changed"])
def test_no_pack_is_made_of_a_blob_that_is_not_what_it_is_called(filled, damage):
    name = canonical.sha256(CONTENTS["files/web/run"])
    blob = os.path.join(filled.blobs, name)
    if damage == "absent":
        os.unlink(blob)
    else:
        with open(blob, "r+b") as opened:
            opened.write(b"!")
    with pytest.raises(TetraError, match=name):
        store.pack_of(filled, [name])


def test_a_bundle_is_read_as_it_was_kept(added):
    assert store.bundle(added, release.digest(bundle_of())) == bundle_of()


def test_a_release_is_read_as_it_was_kept(added):
    assert store.manifest(added, release.digest(release_of())) == release_of()
    assert store.releases(added) == {release.digest(release_of()): release_of()}


def test_a_tree_is_what_its_manifest_says(added, tree):
    for path, data in CONTENTS.items():
        with open(os.path.join(tree, path), "rb") as copy:
            assert copy.read() == data
    assert os.readlink(os.path.join(tree, "files/web/link")) == "data/big"
    assert os.listdir(os.path.join(tree, "files/common")) == []
    assert store.verify_release(added, os.path.basename(tree)) == []
    assert leftovers(added) == []


def test_a_tree_has_its_modes_whatever_the_umask(filled):
    before = os.umask(0o077)
    try:
        add_release(filled, release_of())
    finally:
        os.umask(before)
    tree = os.path.join(filled.releases, release.digest(release_of()))
    modes = {
        path: stat.S_IMODE(os.stat(os.path.join(tree, path)).st_mode)
        for path in [".", "files", "files/web/data", "files/common", "files/web/run", "templates/web.conf"]
    }
    assert modes == {**dict.fromkeys(modes, 0o755), "templates/web.conf": 0o644}


def test_a_tree_shares_no_file_with_the_blobs(tree):
    assert {os.stat(os.path.join(tree, path)).st_nlink for path in CONTENTS} == {1}


def test_a_second_run_writes_nothing(added):
    before = snapshot(added.root)
    store.add_bundle(added, bundle_of())
    add_release(added, release_of())
    assert snapshot(added.root) == before


@pytest.mark.parametrize("folder", ["", "blobs", "bundles", "releases", "private", "tx", "run"])
@pytest.mark.parametrize("step", ["unpack", "add_release", "prune"])
def test_what_a_killed_run_left_goes_with_the_next_run_though_that_changes_nothing(added, tmp_path, folder, step):
    with open(os.path.join(added.root, folder, ".tmp-left"), "wb"):
        pass
    steps = {
        "unpack": lambda: store.unpack(added, packed()),
        "add_release": lambda: add_release(added, release_of()),
        "prune": lambda: store.prune(added, {release.digest(release_of())}),
    }
    steps[step]()
    assert leftovers(added) == []


def append(path):
    with open(path, "ab") as opened:
        opened.write(b"!")


def flip(path):
    with open(path, "r+b") as opened:
        opened.write(b"!")


def replace_by_link(path):
    os.rename(path, f"{path}.moved")
    os.symlink(f"{os.path.basename(path)}.moved", path)


def replace_by_pipe(path):
    os.unlink(path)
    os.mkfifo(path)


def move_outside(path):
    """The same content in another place, and a link to it."""
    outside = f"{path.partition('/releases/')[0]}/outside"
    os.rename(path, outside)
    os.symlink(outside, path)


def relink(path):
    os.unlink(path)
    os.symlink("run", path)


EDITS = [
    ("files/web/run", flip, ["files/web/run"]),
    ("files/web/run", append, ["files/web/run"]),
    ("files/web/run", os.unlink, ["files/web/run"]),
    ("files/web/run", lambda path: os.chmod(path, 0o644), ["files/web/run"]),
    ("templates/web.conf", lambda path: os.chmod(path, 0o755), ["templates/web.conf"]),
    ("files/web/run", replace_by_link, ["files/web/run", "files/web/run.moved"]),
    ("files/web/run", replace_by_pipe, ["files/web/run"]),
    ("files/web/link", relink, ["files/web/link"]),
    ("files/web/link", os.unlink, ["files/web/link"]),
    ("files/common", os.rmdir, ["files/common"]),
    ("files/common/new", append, ["files/common/new"]),
    ("files/new", os.mkdir, ["files/new"]),
    ("files/new", lambda path: os.symlink("nothing", path), ["files/new"]),
    ("files/new", os.mkfifo, ["files/new"]),
    ("files/web/data", move_outside, ["files/web/data", "files/web/data/big"]),
]


@pytest.mark.parametrize(("path", "edit", "named"), EDITS)
def test_an_edit_of_a_tree_is_found_and_made_good(added, tree, path, edit, named):
    edit(os.path.join(tree, path))
    assert store.verify_release(added, os.path.basename(tree)) == named
    add_release(added, release_of())
    assert store.verify_release(added, os.path.basename(tree)) == []
    assert leftovers(added) == []


def test_what_was_not_edited_is_left_alone_and_what_a_person_wrote_is_kept(added, tree):
    before = {path: snapshot(tree)[path] for path in snapshot(tree) if path.startswith("templates")}
    append(os.path.join(tree, "files/web/run"))
    append(os.path.join(tree, "files/web/notes"))
    add_release(added, release_of())
    assert {path: snapshot(tree)[path] for path in before} == before
    kept = Path(added.evidence, "edited", "files", "web")
    assert {path.name: path.read_bytes() for path in kept.iterdir()} == {
        "run": CONTENTS["files/web/run"] + b"!", "notes": b"!",
    }
    append(os.path.join(tree, "files/web/run"))
    add_release(added, release_of())
    assert store.verify_release(added, os.path.basename(tree)) == []


def test_a_tree_that_is_gone_is_found_and_made_again(added, tree):
    shutil.rmtree(tree)
    assert store.verify_release(added, os.path.basename(tree))[0] == "."
    add_release(added, release_of())
    assert store.verify_release(added, os.path.basename(tree)) == []


def test_a_link_to_an_equal_tree_is_found_and_made_good(added, tree, tmp_path):
    os.rename(tree, tmp_path / "outside")
    os.symlink(tmp_path / "outside", tree)
    assert "." in store.verify_release(added, os.path.basename(tree))
    add_release(added, release_of())
    assert store.verify_release(added, os.path.basename(tree)) == []
    assert (tmp_path / "outside" / "files" / "web" / "run").exists()


def test_a_hand_edit_does_not_spoil_the_blob(added, tree):
    flip(os.path.join(tree, "files/web/run"))
    assert store.verify_blob(added, canonical.sha256(CONTENTS["files/web/run"]))


@pytest.mark.parametrize("add", [store.add_bundle, add_release])
def test_nothing_is_kept_while_a_blob_is_missing(filled, add):
    absent = canonical.sha256(CONTENTS["files/web/run"])
    os.unlink(os.path.join(filled.blobs, absent))
    with pytest.raises(TetraError, match=f"1 blobs are missing, {absent}") as caught:
        add(filled, bundle_of() if add is store.add_bundle else release_of())
    assert caught.value.code == REFUSED
    assert os.listdir(filled.bundles) + os.listdir(filled.releases) == []


def test_no_tree_is_made_of_a_blob_that_was_changed(filled):
    name = canonical.sha256(CONTENTS["files/web/run"])
    flip(os.path.join(filled.blobs, name))
    with pytest.raises(TetraError, match=f"{name} is damaged"):
        add_release(filled, release_of())
    assert os.listdir(filled.releases) == []
    assert store.missing(filled, [name]) == [name], "it is sent again"


def test_a_blob_that_was_cut_short_counts_as_missing_after_it_was_found(filled):
    name = canonical.sha256(CONTENTS["files/web/run"])
    os.truncate(os.path.join(filled.blobs, name), 1)
    with pytest.raises(TetraError, match="blobs are missing"):
        add_release(filled, release_of())
    assert store.missing(filled, [name]) == [name]


@pytest.mark.parametrize(
    ("add", "record", "match"),
    [
        (store.add_bundle, release_of(), "kind must be bundle"),
        (add_release, bundle_of(), "kind must be release"),
        (add_release, {**release_of(), "org": "other"}, "org must be acme"),
        (add_release, {**release_of(), "env": "prod"}, "env must be dev"),
        (store.add_bundle, {**bundle_of(), "org": "other"}, "org must be acme"),
        (store.add_bundle, release.bundle_manifest("acme", {"../x": {"type": "dir"}}), "leaves the tree"),
        (store.add_bundle, release.bundle_manifest("acme", {"x": {"type": "fifo"}}), "x: its entry"),
    ],
)
def test_a_manifest_that_does_not_belong_here_is_refused(filled, add, record, match):
    with pytest.raises(TetraError, match=match):
        add(filled, record)
    assert os.listdir(filled.bundles) + os.listdir(filled.releases) == []


@pytest.mark.parametrize("damage", [b"", b"{}", b'{"format":1}', b"\0" * 20])
def test_a_damaged_manifest_is_refused_and_made_good(added, damage):
    digest = release.digest(release_of())
    path = os.path.join(added.releases, f"{digest}.json")
    with open(path, "wb") as opened:
        opened.write(damage)
    with pytest.raises(TetraError, match=path) as caught:
        store.manifest(added, digest)
    assert caught.value.code == REFUSED
    add_release(added, release_of())
    assert store.manifest(added, digest) == release_of()


@pytest.mark.parametrize("read", [store.bundle, store.manifest, store.private, store.verify_release])
def test_what_is_not_here_is_refused(environment, read):
    with pytest.raises(TetraError) as caught:
        read(environment, "0" * 64)
    assert caught.value.code == REFUSED


def test_what_only_this_host_needs_is_for_its_owner_alone(environment):
    store.add_private(environment, "0" * 64, ["web", "api"], {"TOKEN": "hush"})
    path = os.path.join(environment.private, f"{'0' * 64}.json")
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    expected = {"format": 1, "services": ["api", "web"], "secrets": {"TOKEN": "hush"}}
    assert store.private(environment, "0" * 64) == expected


def test_a_private_record_that_is_the_same_is_not_written_again(environment):
    store.add_private(environment, "0" * 64, ["web"], {})
    before = snapshot(environment.private)
    store.add_private(environment, "0" * 64, ["web"], {})
    assert snapshot(environment.private) == before


def test_a_private_record_that_others_could_read_is_closed_again(environment):
    store.add_private(environment, "0" * 64, ["web"], {})
    path = os.path.join(environment.private, f"{'0' * 64}.json")
    os.chmod(path, 0o644)
    store.add_private(environment, "0" * 64, ["web"], {})
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600


def test_the_current_release_is_the_one_that_the_link_names(environment):
    assert store.current(environment) is None
    os.symlink(f"releases/{'a' * 64}", environment.current)
    assert store.current(environment) == "a" * 64


def test_a_current_that_is_no_link_to_a_release_is_refused(environment):
    os.mkdir(environment.current)
    with pytest.raises(TetraError, match="current is damaged: it is not a link"):
        store.current(environment)
    os.rmdir(environment.current)
    os.symlink("releases/abc", environment.current)
    with pytest.raises(TetraError, match="current is damaged: it names 'abc'"):
        store.current(environment)


@pytest.fixture
def two(added, tmp_path):
    """Another bundle and its release, beside the first; the names of both releases, the newer one first."""
    new = {"files/web/run": b"#!/bin/sh\nnew\n"}
    store.unpack(added, packed(*new.values()))
    bundle = bundle_of(**new)
    record = release_of(bundle, **new)
    store.add_bundle(added, bundle)
    add_release(added, record)
    for manifest in (record, release_of()):
        store.add_private(added, release.digest(manifest), ["web"], {})
    return release.digest(record), release.digest(release_of())


def held(environment):
    folders = (environment.releases, environment.private, environment.bundles, environment.blobs)
    return [sorted(name for name in os.listdir(folder)) for folder in folders]


def test_what_is_kept_is_left_alone(added, two):
    before = held(added)
    store.prune(added, set(two))
    assert held(added) == before
    assert [store.verify_release(added, name) for name in two] == [[], []]


def test_a_release_that_is_not_kept_goes_with_all_that_it_alone_needs(added, two):
    new, old = two
    bundle = store.manifest(added, new)["bundle"]
    store.prune(added, {new})
    expected = release.blobs(store.manifest(added, new))
    assert held(added) == [[new, f"{new}.json"], [f"{new}.json"], [f"{bundle}.json"], sorted(expected)]
    assert store.verify_release(added, new) == []


def test_a_bundle_can_be_kept_without_its_release(added, two):
    new, old = two
    bundle = store.manifest(added, old)["bundle"]
    store.prune(added, {new}, {bundle})
    assert store.bundle(added, bundle) == bundle_of()
    assert store.missing(added, release.blobs(bundle_of())) == []


def test_everything_can_go(added, two):
    store.prune(added, set())
    assert held(added) == [[], [], [], []]


def test_a_release_that_is_not_here_can_be_named_as_kept(added, two):
    store.prune(added, {*two, "0" * 64})
    assert sorted(store.releases(added)) == sorted(two)


def test_what_a_killed_removal_left_goes_with_the_next(added, two):
    new, old = two
    os.unlink(os.path.join(added.releases, f"{old}.json"))
    os.mkdir(os.path.join(added.releases, ".tmp-left"))
    store.prune(added, {new})
    assert sorted(os.listdir(added.releases)) == sorted([new, f"{new}.json"])
    assert os.listdir(added.private) == [f"{new}.json"]


def test_files_of_others_are_left_alone(added, two):
    for folder in (added.releases, added.private, added.bundles, added.blobs):
        for name in ("README", "notes.json"):
            with open(os.path.join(folder, name), "wb"):
                pass
    store.prune(added, set())
    assert held(added) == [["README", "notes.json"]] * 4


def test_a_manifest_goes_after_its_tree(added, two, monkeypatch):
    new, old = two
    removed = []
    for name in ("remove", "remove_tree"):
        real = getattr(store.durable, name)
        monkeypatch.setattr(store.durable, name, lambda path, real=real: (removed.append(path), real(path)))
    store.prune(added, {new})
    tree = os.path.join(added.releases, old)
    assert removed.index(tree) < removed.index(f"{tree}.json")


@pytest.mark.parametrize("damaged", ["bundle", "release"])
def test_no_blob_goes_while_something_kept_cannot_be_read(added, two, damaged):
    new, old = two
    folder, name = (added.releases, new) if damaged == "release" else (added.bundles, release.digest(bundle_of()))
    with open(os.path.join(folder, f"{name}.json"), "wb"):
        pass
    before = sorted(store.blobs(added))
    store.prune(added, {new} if damaged == "release" else {old})
    assert sorted(store.blobs(added)) == before


def test_a_run_that_is_killed_leaves_no_half_release_and_the_next_one_ends_it(environment, tmp_path):
    content = packed(*CONTENTS.values()).getvalue()
    name = release.digest(release_of())
    tree = os.path.join(environment.releases, name)
    for _kill in range(20):
        child = os.fork()
        if child == 0:
            try:
                while True:
                    store.unpack(environment, io.BytesIO(content))
                    store.add_bundle(environment, bundle_of())
                    add_release(environment, release_of())
                    store.prune(environment, set())
            finally:
                os._exit(1)
        time.sleep(random.uniform(0.001, 0.02))
        os.kill(child, signal.SIGKILL)
        assert os.WIFSIGNALED(os.waitpid(child, 0)[1])
        if os.path.exists(tree) and os.path.exists(f"{tree}.json"):
            assert store.verify_release(environment, name) == []
        assert all(store.verify_blob(environment, blob) for blob in store.blobs(environment))
    store.unpack(environment, io.BytesIO(content))
    store.add_bundle(environment, bundle_of())
    add_release(environment, release_of())
    assert store.verify_release(environment, name) == []
    assert leftovers(environment) == []
