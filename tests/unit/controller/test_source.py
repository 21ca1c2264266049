# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading the directory of an organization, and a bundle back."""

from __future__ import annotations

import codecs
import os
import socket

import pytest
from ansible_collections.tetra.platform.plugins.module_utils.model import release
from ansible_collections.tetra.platform.plugins.module_utils.model.errors import TetraError
from ansible_collections.tetra.platform.plugins.plugin_utils import source


def problem(directory):
    """What is said about a directory that cannot be read."""
    with pytest.raises(TetraError) as caught:
        source.read(directory)
    assert caught.value.code == "invalid"
    return str(caught.value)


def blobs(read):
    """The contents of a source by digest."""
    return {file.entry["sha256"]: file.read() for file in read.files.values() if file.read}


def test_only_what_belongs_to_an_organization_goes_into_the_bundle(make_org):
    directory = make_org(
        {
            "org.toml": "",
            "ports.toml": "",
            "environments/dev.toml": "",
            "templates/a.conf.j2": "",
            "files/common/x": "",
            "README.md": "not this",
            ".git/config": "nor this",
            "other/x.tsm": "nor this",
            "files/web/__pycache__/x.pyc": "nor this",
            "files/web/.hidden": "but this",
        }
    )
    assert sorted(source.read(directory).files) == [
        "environments/dev.toml",
        "files/common/x",
        "files/web/.hidden",
        "org.toml",
        "ports.toml",
        "services/web.tsm",
        "templates/a.conf.j2",
    ]


def test_a_file_has_its_digest_its_size_and_the_executable_bit_of_its_owner(make_org):
    directory = make_org({"files/web/run": "hello", "files/web/data": "hello"})
    (directory / "files/web/run").chmod(0o700)
    (directory / "files/web/data").chmod(0o655)
    files = source.read(directory).files
    sha256 = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"
    assert files["files/web/run"].entry == {"type": "file", "sha256": sha256, "size": 5, "executable": True}
    assert files["files/web/data"].entry == {"type": "file", "sha256": sha256, "size": 5, "executable": False}


def test_an_empty_folder_is_kept_in_files_and_nowhere_else(make_org):
    directory = make_org({"files/web/x": ""})
    (directory / "files/web/empty").mkdir()
    (directory / "services/empty").mkdir()
    files = source.read(directory).files
    assert files["files/web/empty"].entry == {"type": "dir"}
    assert "services/empty" not in files
    assert "files/web" not in files


def test_the_bundle_is_named_by_its_content_alone(make_org):
    first = source.read(make_org({"org.toml": 'name = "acme"', "files/web/x": "1"}, "one"))
    same = source.read(make_org({"org.toml": 'name = "acme"', "files/web/x": "1", "README": "."}, "two"))
    other = source.read(make_org({"org.toml": 'name = "acme"', "files/web/x": "2"}, "three"))
    assert first.digest == same.digest == release.digest(first.manifest)
    assert first.digest != other.digest


def test_the_same_comes_back_from_the_blobs_of_a_bundle(make_org):
    directory = make_org({"org.toml": 'once = ["web"]', "files/web/x": b"\xff\0"})
    os.symlink("x", directory / "files/web/link")
    original = source.read(directory)
    contents = blobs(original)
    back = source.from_blobs(original.manifest, contents.__getitem__)
    assert back.digest == original.digest
    assert back.org == original.org
    assert {path: file.entry for path, file in back.files.items()} == {
        path: file.entry for path, file in original.files.items()
    }
    assert back.data("files/web/x") == b"\xff\0"
    assert back.files["files/web/link"].read is None
    assert (original.complete, back.complete) == (True, False)


def test_files_of_a_bundle_are_not_asked_for_before_somebody_reads_them(make_org):
    original = source.read(make_org({"org.toml": "", "files/web/x": "far away"}))
    contents = blobs(original)
    del contents[original.files["files/web/x"].entry["sha256"]]
    assert source.from_blobs(original.manifest, contents.__getitem__).digest == original.digest


def test_a_blob_that_is_not_what_its_name_says_is_refused(make_org):
    original = source.read(make_org())
    back = source.from_blobs(original.manifest, lambda digest: b"something else")
    with pytest.raises(TetraError, match="services/web.tsm: its content"):
        back.data("services/web.tsm")


@pytest.mark.parametrize(
    ("path", "entry"),
    [
        ("../x", {"type": "dir"}),
        ("files/l", {"type": "link", "target": "../../etc/passwd"}),
        ("files/l", {"type": "link", "target": "nothing"}),
        ("files/l", {"type": "link", "target": "l"}),
        ("files/l", {"type": "pipe"}),
        ("org.toml", {"type": "dir"}),
        ("org.toml", {"type": "link", "target": "services/web.tsm"}),
    ],
)
def test_a_bundle_with_a_bad_entry_is_refused(make_org, path, entry):
    original = source.read(make_org())
    manifest = {**original.manifest, "files": {**original.manifest["files"], path: entry}}
    with pytest.raises(TetraError):
        source.from_blobs(manifest, blobs(original).__getitem__)


def test_a_folder_of_a_bundle_where_a_file_belongs_is_refused_when_it_is_read(make_org):
    original = source.read(make_org())
    manifest = {**original.manifest, "files": {**original.manifest["files"], "environments/base.toml": {"type": "dir"}}}
    back = source.from_blobs(manifest, blobs(original).__getitem__)
    with pytest.raises(TetraError, match="environments/base.toml is not a file"):
        back.data("environments/base.toml")


def test_a_bundle_of_another_organization_than_its_sources_is_refused(make_org):
    original = source.read(make_org({"org.toml": 'name = "acme"'}))
    with pytest.raises(TetraError, match="the bundle of other has the sources of acme"):
        source.from_blobs({**original.manifest, "org": "other"}, blobs(original).__getitem__)


def test_a_release_is_not_taken_for_a_bundle():
    manifest = {
        "format": 1, "kind": "release", "org": "acme", "env": "dev", "bundle": "0" * 64, "files": {}, "services": {},
        "secrets": {}, "secrets_key": None,
    }  # fmt: skip
    with pytest.raises(TetraError, match="a release came where a bundle was expected"):
        source.from_blobs(manifest, {}.__getitem__)


@pytest.mark.parametrize("change", ["content", "link", "pipe", "gone"])
def test_a_file_that_changed_after_it_was_read_is_noticed(make_org, tmp_path, change):
    directory = make_org({"files/web/x": "before"})
    read = source.read(directory)
    place = directory / "files/web/x"
    place.unlink()
    if change == "content":
        place.write_text("after!")
    elif change == "link":
        (tmp_path / "same").write_text("before")
        place.symlink_to(tmp_path / "same")
    elif change == "pipe":
        os.mkfifo(place)
    with pytest.raises(TetraError, match="files/web/x: "):
        read.data("files/web/x")


@pytest.mark.parametrize(
    ("link", "target"),
    [
        ("files/web/ok", "x"),
        ("files/web/ok", "./../web/x"),
        ("files/web/ok", "../common"),
        ("files/ok", "web"),
    ],
)
def test_a_link_that_stays_in_files_is_kept(make_org, link, target):
    directory = make_org({"files/web/x": "", "files/common/y": ""})
    os.symlink(target, directory / link)
    assert source.read(directory).files[link].entry == {"type": "link", "target": target}


@pytest.mark.parametrize(
    ("links", "said"),
    [
        ({"files/web/l": "/etc/passwd"}, "leaves the tree"),
        ({"files/web/l": "../../../x"}, "leaves the tree"),
        ({"files/web/l": "../../org.toml"}, "leaves files/"),
        ({"files/web/l": "../../services/web.tsm"}, "leaves files/"),
        ({"files/web/l": ".."}, None),
        ({"files/web/l": "../.."}, "leaves files/"),
        ({"files/web/l": "gone"}, "leads to nothing"),
        ({"files/web/l": "l"}, "leads in a circle"),
        ({"files/web/l": "m", "files/web/m": "l"}, "leads in a circle"),
        ({"files/web/up": "deep/er", "files/web/l": "up/../../../../x"}, "leaves the tree"),
        # As text this stays inside; followed, the first link leads two folders up and the second out from there.
        ({"files/web/deep/up": "../..", "files/web/deep/l": "up/../services"}, "leaves files/"),
        ({"files/web/deep/up": "../..", "files/web/deep/l": "up/../../x"}, "leaves the tree over another link"),
        ({"services/l.tsm": "web.tsm"}, "is a link"),
        ({"environments/dev.toml": "../org.toml"}, "is a link"),
        ({"templates/l": "../files/web/x"}, "is a link"),
    ],
)
def test_links_that_lead_out_of_files_are_refused(make_org, links, said):
    directory = make_org({"org.toml": "", "files/web/x": "", "files/web/deep/er/y": "", "environments/base.toml": "",
                          "templates/t": ""})
    for link, target in links.items():
        os.symlink(target, directory / link)
    if said is None:
        assert set(links) <= set(source.read(directory).files)
    else:
        assert said in problem(directory)
        assert list(links)[-1] in problem(directory)


@pytest.mark.parametrize("folder", ["services", "environments", "templates", "files"])
def test_a_top_folder_that_is_a_link_is_refused(make_org, folder, tmp_path):
    directory = make_org({"org.toml": ""})
    os.rename(directory / "services", tmp_path / "elsewhere")
    os.symlink(tmp_path / "elsewhere", directory / folder)
    assert f"{folder} is not a folder" in problem(directory)


@pytest.mark.parametrize("file", ["org.toml", "ports.toml"])
def test_a_top_file_that_is_a_link_is_refused(make_org, file):
    directory = make_org()
    os.symlink("/etc/hostname", directory / file)
    assert f"{file} is not a regular file" in problem(directory)


def test_a_named_pipe_and_a_socket_are_refused_without_waiting_for_them(make_org, monkeypatch):
    directory = make_org({"files/web/x": ""})
    os.mkfifo(directory / "files/web/pipe")
    monkeypatch.chdir(directory / "files/web")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind("sock")
    listener.close()
    text = problem(directory)
    assert "files/web/pipe is a named pipe" in text
    assert "files/web/sock is a socket" in text


@pytest.mark.parametrize("name", [b"new\nline", b"back\\slash", b"esc\x1b[2J", b"not-utf8-\xff"])
def test_a_name_with_odd_characters_is_refused_and_shown_escaped(make_org, name):
    directory = make_org({"files/web/x": ""})
    with open(os.path.join(os.fsencode(directory), b"files/web", name), "wb"):
        pass
    text = problem(directory)
    assert "files/web/" in text
    assert "\x1b" not in text
    assert len(text.splitlines()) == 1


def test_everything_that_is_wrong_is_said_at_once(make_org):
    directory = make_org({"org.toml": "name = 'Not A Name'", "files/web/x": ""})
    os.symlink("/x", directory / "files/web/l")
    os.mkfifo(directory / "files/web/pipe")
    (directory / "files/web/back\\slash").touch()
    assert len(problem(directory).splitlines()) == 4


def test_a_file_that_is_too_large_is_refused(make_org, monkeypatch):
    monkeypatch.setattr(source.pack, "MAX_BLOB", 10)
    assert "files/web/x: is larger than 10 bytes" in problem(
        make_org({"services/web.tsm": "A=1", "files/web/x": "12345678901"})
    )


def test_too_many_files_are_refused(make_org, monkeypatch):
    monkeypatch.setattr(source.release, "MAX_FILES", 5)
    assert "more than 5 files" in problem(make_org({f"files/web/{number}": "" for number in range(6)}))


def test_names_that_differ_in_capitals_only_are_kept(make_org):
    files = source.read(make_org({"files/web/A": "1", "files/web/a": "2"})).files
    assert {"files/web/A", "files/web/a"} <= set(files)


def test_a_directory_that_is_no_organization_is_refused(tmp_path):
    assert "neither org.toml nor services/" in problem(tmp_path)
    assert "is not a directory" in problem(tmp_path / "gone")


def test_org_toml_is_understood(make_org):
    text = 'name = "beta"\ndescription = "B"\nonce = ["cron"]\n[placement]\nweb = "front"\napi = ["a", "b*"]\n'
    org = source.read(make_org({"org.toml": text})).org
    assert org == source.Organization("beta", "B", {"web": ("front",), "api": ("a", "b*")}, ("cron",))


def test_once_may_stand_below_placement(make_org):
    org = source.read(make_org({"org.toml": '[placement]\nweb = "front"\nonce = ["cron"]\n'})).org
    assert (org.once, org.placement) == (("cron",), {"web": ("front",)})


def test_an_organization_is_called_like_its_directory_when_it_does_not_say(make_org):
    assert source.read(make_org({}, name="delta")).org.name == "delta"
    assert "org.toml: name is not set" in problem(make_org({}, name="My Org"))


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ('name = "a"\nname = "b"', "org.toml:2:"),
        ("name = ", "org.toml"),
        ('# x\n\nname = "No Name"', "org.toml:3: "),
        ("name = 5", "org.toml:1: "),
        ("\ndescription = 5", "org.toml:2: "),
        ("\nonce = 'web'", "org.toml:2: "),
        ("once = [1]", "org.toml:1: "),
        ("placement = 5", "org.toml:1: "),
        ("[placement]\n\nweb = 5", "org.toml:3: "),
        ("[placement]\nweb = []", "org.toml:2: "),
        ("x = " + "[" * 5000, "org.toml"),
        ("x = " + "9" * 5000, "org.toml"),
    ],
)
def test_what_is_wrong_with_org_toml_is_said_with_its_place(make_org, text, place):
    assert problem(make_org({"org.toml": text})).startswith(place)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (codecs.BOM_UTF8 + b'name = "a"', "byte order mark"),
        ('name = "a"'.encode("utf-16"), "UTF-16"),
        (b'name = "\0"', "byte 8 is NUL"),
        (b'name = "\xff"', "not UTF-8, see byte 8"),
        (bytes(range(256)), "not text"),
    ],
)
def test_what_is_not_utf8_is_one_clear_error(make_org, data, said):
    text = problem(make_org({"org.toml": data}))
    assert text.startswith("org.toml: ")
    assert said in text
    assert len(text.splitlines()) == 1


def test_an_unknown_key_of_org_toml_is_a_remark_with_the_nearest_one(make_org):
    (finding,) = source.read(make_org({"org.toml": 'name = "a"\ndescripton = "x"'})).findings
    assert (finding.severity, finding.file, finding.line) == ("warning", "org.toml", 2)
    assert "did you mean description?" in finding.hint
