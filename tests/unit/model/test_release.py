# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Manifests: what is taken, what is refused, and what a service's digest covers."""

from __future__ import annotations

import copy
import posixpath

import pytest
from ansible_collections.tetra.platform.plugins.module_utils.model import release
from ansible_collections.tetra.platform.plugins.module_utils.model.errors import TetraError
from hypothesis import example, given, settings
from hypothesis import strategies as st

SHA = "a" * 64
OTHER = "b" * 64
FOLDER = {"type": "dir"}


def file(sha256=SHA, size=1, executable=False):
    return {"type": "file", "sha256": sha256, "size": size, "executable": executable}


def link(target):
    return {"type": "link", "target": target}


def definition(name="web", **changes):
    return {"name": name, "description": "", "command": {"argv": ["true"]}, "environment": {}, **changes}


def manifest(**changes):
    """A release as it should be, with some keys changed."""
    service = {"digest": OTHER, "definition": definition(), "ports": {"main": 8080}}
    record = {
        "format": 1, "kind": "release", "org": "acme", "env": "dev", "bundle": SHA,
        "files": {"files/web/run": file(executable=True), "files/web/link": link("run"), "files/common": FOLDER},
        "services": {"web": service}, "secrets": {"TOKEN": "0123"}, "secrets_key": "key",
    }  # fmt: skip
    return {**record, **changes}


def bundle(files, **changes):
    return {**release.bundle_manifest("acme", files), **changes}


def refused(record, match):
    with pytest.raises(TetraError, match=match):
        release.check_manifest(record)


@pytest.mark.parametrize(
    "path",
    ["a", "a/b", "a b", "a/.hidden", "...", "a/..b", "~", "$HOME", "é", "x" * 255, "/".join(["x" * 255] * 16)],
)
def test_a_plain_relative_path_is_taken(path):
    assert release.check_path(path) == path


@pytest.mark.parametrize(
    "path",
    [
        "", "/", "/a", "//a", ".", "..", "../a", "a/..", "a/../b", "a//b", "a/", "./a", "a/./b", "a\\b", "a\nb", "a\0",
        "a\x7f", "a\x1b[0m", "a\udcff", "x" * 256, "é" * 128, "/".join(["x"] * 2050), "a\u202eb", None, 1, b"a",
    ],
)  # fmt: skip
def test_any_other_path_is_refused(path):
    with pytest.raises(TetraError):
        release.check_path(path)


@given(st.text(alphabet="ab./\\~\n\0é", max_size=12))
@settings(max_examples=200)
@example("a/../../b")
def test_no_path_that_is_taken_leaves_the_tree(path):
    try:
        release.check_path(path)
    except TetraError:
        return
    place = posixpath.join("/tree", path)
    assert posixpath.normpath(place) == place
    assert place.startswith("/tree/")


@pytest.mark.parametrize(
    ("path", "target"),
    [
        ("a", "b"), ("a", "."), ("a/b", "../c"), ("a/b", ".."), ("a/b/c", "../../d"), ("a", "b/../c"), ("a", "b/"),
        ("a", "é"),
    ],
)  # fmt: skip
def test_a_link_that_stays_inside_is_taken(path, target):
    assert release.check_link(path, target) == target


@pytest.mark.parametrize(
    ("path", "target"),
    [
        ("a", ""), ("a", "/"), ("a", "/etc/passwd"), ("a", "//a"), ("a", ".."), ("a", "../b"), ("a/b", "../.."),
        ("a/b", "c/../../../d"), ("a", "b\n"), ("a", "b\0"), ("a", "b\\c"), ("a", "b\udcff"), ("a", "x" * 4096),
        ("a", None), ("a", 1),
    ],
)  # fmt: skip
def test_a_link_that_leaves_is_refused_by_its_name(path, target):
    with pytest.raises(TetraError, match=f"link {path} -> "):
        release.check_link(path, target)


NAMES = st.sampled_from(["a", "b", "c", "d"])
PATHS = st.lists(NAMES, min_size=1, max_size=3).map("/".join)
TARGETS = st.lists(st.sampled_from(["a", "b", "c", "..", "."]), min_size=1, max_size=5).map("/".join)
ENTRIES = st.one_of(st.just(FOLDER), st.just(file()), TARGETS.map(link))


def leaves(path, files, depth=0):
    """Whether a path leads out of the tree: the kernel's walk, written in another way than the model's."""
    place = ()
    for part in path.split("/"):
        if part == "..":
            if not place:
                return True, place
            place = place[:-1]
            continue
        if part == ".":
            continue
        entry = files.get("/".join((*place, part)), FOLDER)
        if entry["type"] != "link":
            place = (*place, part)
            continue
        if depth > 50:
            return False, place
        out, place = leaves("/".join((*place, entry["target"])), files, depth + 1)
        if out:
            return True, place
    return False, place


@given(st.dictionaries(PATHS, ENTRIES, max_size=6))
@settings(max_examples=200)
@example({"a/b/c": link("../.."), "d": link("a/b/c/../x")})
@example({"a/b": link("."), "c": link("a/b/../../..")})
def test_nothing_in_a_manifest_that_is_taken_leads_out_of_the_tree(files):
    try:
        release.check_manifest(bundle(files))
    except TetraError:
        return
    assert not [path for path in files if leaves(path, files)[0]]


def test_a_link_that_leaves_over_another_link_is_refused():
    refused(bundle({"a/b/c": link("../.."), "d": link("a/b/c/../x")}), "link d leaves the tree")


@pytest.mark.parametrize(
    "files",
    [{"a": link("a")}, {"a": link("b"), "b": link("a")}, {"a/b": link("../a/b/c")}, {"a": link("a/x")}],
)
def test_links_in_a_circle_are_refused(files):
    refused(bundle(files), "in a circle")


@pytest.mark.parametrize(("count", "taken"), [(40, True), (41, False)])
def test_as_many_links_are_followed_as_the_kernel_follows(count, taken):
    files = {f"link-{number}": link(f"link-{number + 1}") for number in range(count)}
    if taken:
        release.check_manifest(bundle(files))
    else:
        refused(bundle(files), "link-0 leads in a circle")


def test_a_link_to_nothing_is_taken():
    release.check_manifest(bundle({"a": link("nothing/there")}))


def test_a_release_as_it_should_be_is_taken():
    release.check_manifest(manifest())


def test_a_release_without_services_and_secrets_is_taken():
    release.check_manifest(manifest(files={}, services={}, secrets={}, secrets_key=None))


@pytest.mark.parametrize("key", sorted(manifest()))
def test_a_missing_key_is_refused(key):
    record = manifest()
    del record[key]
    refused(record, key if key not in ("format", "kind") else "None")


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"extra": 1}, "extra is unknown"),
        ({"kind": "parcel"}, "kind 'parcel'"),
        ({"kind": "bundle"}, "unknown"),
        ({"kind": []}, "kind"),
        ({"org": "Acme"}, "organization"),
        ({"org": None}, "organization"),
        ({"env": "../dev"}, "environment"),
        ({"bundle": "abc"}, "bundle"),
        ({"bundle": SHA + "\n"}, "bundle"),
        ({"files": []}, "files"),
        ({"services": []}, "services"),
        ({"secrets": None}, "secrets"),
        ({"secrets": {"TOKEN": None}}, "TOKEN"),
        ({"secrets": {"": "0123"}}, "secrets"),
        ({"secrets_key": 1}, "secrets_key"),
    ],
)
def test_a_release_that_is_wrong_is_refused_by_the_key(change, match):
    refused(manifest(**change), match)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"extra": 1}, "extra is unknown"),
        ({"digest": "abc"}, "digest"),
        ({"definition": []}, "definition"),
        ({"definition": definition("other")}, "definition"),
        ({"ports": []}, "ports"),
        ({"ports": {"Admin": 1}}, "Admin"),
        ({"ports": {"dns": "0/udp"}}, "0/udp"),
        ({"ports": {"dns": "5353/tcp"}}, "5353/tcp"),
        ({"ports": {"main": 0}}, "port 0"),
        ({"ports": {"main": 65536}}, "65536"),
        ({"ports": {"main": True}}, "True"),
        ({"ports": {"main": "80"}}, "'80'"),
    ],
)
def test_a_service_that_is_wrong_is_refused_by_its_name(change, match):
    record = manifest()
    record["services"]["web"] = {**record["services"]["web"], **change}
    with pytest.raises(TetraError, match=match) as caught:
        release.check_manifest(record)
    assert "web" in caught.value.message


@pytest.mark.parametrize("version", [2, 99])
def test_a_newer_format_is_said_to_be_newer(version):
    refused(manifest(format=version), "written by a newer version")


@pytest.mark.parametrize("version", [None, 0, -1, True, 1.0, "1", []])
def test_an_unknown_format_is_refused(version):
    refused(manifest(format=version), "the manifest has the format")


@pytest.mark.parametrize("record", [None, [], "text", 1])
def test_what_is_no_record_is_refused(record):
    refused(record, "is not a record")


@pytest.mark.parametrize(
    "entry",
    [
        None, [], "file", {}, {"type": "fifo"}, {"type": []}, {"type": "dir", "mode": 1}, {"type": "link"},
        file(size=-1), file(size=64 * 1024**2 + 1), file(size=True), file(size="1"), file(size=1.0),
        file(sha256="A" * 64), file(sha256=None), file(sha256=SHA + "\n"), file(executable=1),
        {**file(), "mode": 0o4755}, link(None), {**link("b"), "sha256": SHA},
    ],
)  # fmt: skip
def test_an_entry_that_is_wrong_is_refused_by_its_path(entry):
    refused(bundle({"files/odd": entry}), "files/odd")


@pytest.mark.parametrize("parent", [file(), link("b")])
def test_nothing_lies_below_a_file_or_a_link(parent):
    refused(bundle({"a": parent, "a/b/c": file()}), "a/b/c lies below a")


def test_a_blob_has_one_size():
    refused(bundle({"a": file(size=1), "b": file(size=2)}), "two sizes")


def test_too_many_files_are_refused():
    files = {f"files/{number}": file() for number in range(release.MAX_FILES)}
    release.check_manifest(bundle(files))
    refused(bundle({**files, "one more": FOLDER}), "10001 files")


def test_too_many_bytes_are_refused_though_they_are_of_one_blob():
    large = file(size=64 * 1024**2)
    files = {f"files/{number}": large for number in range(64)}
    release.check_manifest(bundle(files))
    refused(bundle({**files, "one more": file(OTHER, size=1)}), "4294967297 bytes")


def test_a_manifest_is_left_as_it_was():
    record = manifest()
    before = copy.deepcopy(record)
    release.check_manifest(record)
    assert record == before


def test_the_name_of_a_manifest_does_not_depend_on_the_order_of_its_keys():
    record = manifest()
    assert release.digest(dict(reversed(list(record.items())))) == release.digest(record)


def test_the_contents_of_a_manifest_are_those_of_its_files():
    files = {"a": file(SHA, 1), "b": file(OTHER, 2), "c": file(SHA, 1), "d": link("a"), "e": FOLDER}
    assert release.blobs(bundle(files)) == {SHA: 1, OTHER: 2}


def test_a_tree_has_the_folders_that_its_entries_lie_in():
    tree = release.tree({"a/b/c": file(), "a/b/d": link("c"), "e": FOLDER})
    assert sorted(tree) == ["a", "a/b", "a/b/c", "a/b/d", "e"]
    assert tree["a/b"] == FOLDER


@pytest.mark.parametrize(
    ("path", "reached"),
    [
        ("a", "a"), ("nothing/there", "nothing/there"), ("to-a", "a"), ("to-to-a", "a"), ("folder/up", ""),
        ("to-folder/x", "folder/x"), ("to-folder/up/a", "a"), ("to-folder/..", ""),
    ],
)  # fmt: skip
def test_a_path_is_followed_over_its_links(path, reached):
    files = {
        "a": file(), "to-a": link("a"), "to-to-a": link("./to-a"), "folder/x": file(), "folder/up": link(".."),
        "to-folder": link("folder"),
    }  # fmt: skip
    assert release.follow(path, files) == reached


FILES = {
    "files/web/run": file(),
    "files/common/ca.pem": file(),
    "files/api/run": file(),
    "templates/web.conf": file(),
    "templates/api/app.env": file(),
}


def digest(wire=None, ports=None, files=None, secrets=None):
    return release.service_digest(
        wire or definition(environment={"TOKEN": [{"secret": "TOKEN"}]}),
        {"main": 8080} if ports is None else ports,
        files or FILES,
        secrets or {"TOKEN": "1", "UNUSED": "1"},
    )


def changed(path):
    return {**FILES, path: file(OTHER)}


@pytest.mark.parametrize(
    "change",
    [
        {"ports": {"main": 8081}},
        {"ports": {}},
        {"secrets": {"TOKEN": "2", "UNUSED": "1"}},
        {"wire": definition(environment={"TOKEN": [{"secret": "TOKEN"}]}, command={"argv": ["false"]})},
        {"wire": definition(environment={"TOKEN": [{"secret": "UNUSED"}]})},
        {"files": changed("files/web/run")},
        {"files": changed("files/common/ca.pem")},
        {"files": {**FILES, "files/web/run": file(executable=True)}},
        {"files": {**FILES, "files/web/new": FOLDER}},
        {"files": {path: entry for path, entry in FILES.items() if path != "files/web/run"}},
    ],
)
def test_what_a_service_is_changes_its_digest(change):
    assert digest(**change) != digest()


@pytest.mark.parametrize(
    "change",
    [
        {"secrets": {"TOKEN": "1", "UNUSED": "2"}},
        {"secrets": {"TOKEN": "1"}},
        {"files": changed("files/api/run")},
        {"files": changed("files/website/run")},
        {"files": changed("files/commons/run")},
        {"files": changed("templates/web.conf")},
        {"files": dict(reversed(list(FILES.items())))},
    ],
)
def test_what_belongs_to_others_leaves_a_digest_as_it_is(change):
    assert digest(**change) == digest()


VARIABLE = {"var": "TETRA_RELEASE_DIR"}


@pytest.mark.parametrize(
    ("wire", "named"),
    [
        (definition(command={"argv": ["run", [VARIABLE, "/templates/web.conf"]]}), ["templates/web.conf"]),
        (definition(command={"shell": "cat templates/web.conf, then"}), ["templates/web.conf"]),
        (definition(command={"shell": "cat templates//web.conf"}), ["templates/web.conf"]),
        (definition(description="It reads templates/web.conf."), ["templates/web.conf"]),
        (definition(environment={"CONF": "./templates/api/app.env"}), ["templates/api/app.env"]),
        (definition(pre_commands=[{"argv": ["cat", "templates/web.conf"]}]), ["templates/web.conf"]),
        (definition(health={"command": {"shell": "test -f templates/web.conf"}}), ["templates/web.conf"]),
        (definition(cwd=[VARIABLE, "/templates/api"]), ["templates/api/app.env"]),
        (definition(cwd=[VARIABLE, "/templates/", {"var": "HOST"}]), ["templates/api/app.env", "templates/web.conf"]),
        (definition(cwd=[VARIABLE, "/templates/w", {"var": "HOST"}]), ["templates/web.conf"]),
        (definition(cwd=[{"var": "CONF", "default": "templates/web.conf"}]), ["templates/web.conf"]),
        (definition(cwd=[VARIABLE, "/templates"]), ["templates/api/app.env", "templates/web.conf"]),
        (definition(cwd=[VARIABLE, "/templates/"]), ["templates/api/app.env", "templates/web.conf"]),
        (definition(command={"shell": "cat templates/*"}), ["templates/api/app.env", "templates/web.conf"]),
        (definition(command={"shell": "cat templates/web.*"}), ["templates/web.conf"]),
        (definition(command={"shell": "cat templates/other.conf"}), []),
        (definition(command={"shell": "cat files/api/run"}), []),
    ],
)
def test_the_templates_that_a_service_names_belong_to_it(wire, named):
    used = release.used_files("web", wire, FILES)
    assert [path for path in used if path.startswith("templates/")] == named


def test_what_a_link_leads_to_belongs_to_the_service():
    links = {"files/web/shared": link("../shared"), "files/shared/inner": link("../api/run")}
    files = {**FILES, **links, "files/unused": file()}
    used = release.used_files("web", definition(), files)
    assert sorted(set(used) - {"files/web/run", "files/common/ca.pem"}) == [
        "files/api/run", "files/shared/inner", "files/web/shared",
    ]  # fmt: skip


def test_a_link_in_the_place_of_a_folder_belongs_to_the_service():
    files = {"files/web": link("shared"), "files/shared/run": file()}
    assert sorted(release.used_files("web", definition(), files)) == ["files/shared/run", "files/web"]


def test_a_secret_without_a_digest_is_named():
    with pytest.raises(TetraError, match="service web: there is no digest of the secret TOKEN"):
        digest(secrets={"UNUSED": "1"})
