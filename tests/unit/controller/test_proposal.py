# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What hosts were made into by hand, as changes of an organization's files."""

from __future__ import annotations

import base64

import pytest
from ansible_collections.tetra.platform.plugins.module_utils.model import canonical
from ansible_collections.tetra.platform.plugins.module_utils.model.errors import TetraError
from ansible_collections.tetra.platform.plugins.plugin_utils import proposal, proposal_folder, source

SERVER = "one\ntwo\nthree\nfour\nfive\n"


@pytest.fixture
def org(tmp_path):
    """The directory of an organization."""
    folder = tmp_path / "acme"
    files = {"org.toml": 'name = "acme"\n', "services/api.tsm": "TSM_COMMAND=x\n", "files/api/server.py": SERVER,
             "environments/dev.toml": "[services.my_api]\nPORT = 80 # kept\n",
             "templates/a.ini.j2": "x = 1\ny = {{ y }}\n"}
    for path, text in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    return folder


def record(path: str, text: str | None, before: str | None = None, **more: object) -> dict:
    data = None if text is None else text.encode()
    entry = None if data is None else {"type": "file", "sha256": canonical.sha256(data), "size": len(data),
                                       "executable": False, **more}
    return {"path": path, "entry": entry, "data": None if data is None else base64.b64encode(data).decode(),
            "before": None if before is None else base64.b64encode(before.encode()).decode()}


def answer(files: tuple = (), settings: dict | None = None, stopped: dict | None = None) -> dict:
    return {"files": list(files), "settings": settings or {}, "stopped": stopped or {}}


def proposed(org, answers: dict, given=None, earlier: dict | None = None) -> proposal.Proposal:
    mine = source.read(org)
    bundle = given or mine
    edits, left = proposal.edits_of_files(answers, bundle, {"templates/a.ini": "templates/a.ini.j2"})
    more, further = proposal.edits_of_settings(answers, bundle, "environments/dev.toml", ["my-api"])
    return proposal.propose(bundle, earlier or {}, mine, [*edits, *more], [*left, *further])


def as_it_was(org) -> source.Source:
    """The directory as a bundle, which stays what it is when the directory changes."""
    now = source.read(org)
    content = {file.entry["sha256"]: file.read() for file in now.files.values() if file.read}
    return source.from_blobs(now.manifest, content.__getitem__)


def told(found: proposal.Proposal) -> dict[str, tuple[str, tuple[str, ...]]]:
    return {change.path: (change.kind, change.origins) for change in found.changes}


def text(found: proposal.Proposal, path: str) -> str:
    return found.files[path].read().decode()


def test_nothing_done_is_nothing_to_propose(org):
    found = proposed(org, {"a": answer(), "b": answer()})
    assert (found.changes, found.left, set(found.files)) == ((), (), set(source.read(org).files))


def test_files_that_were_changed_made_and_removed(org):
    changed = record("files/api/server.py", SERVER.replace("two", "TWO"))
    made = record("files/api/new", "new", executable=True)
    found = proposed(org, {"a": answer([changed, made]), "b": answer([changed])})
    assert told(found) == {"files/api/server.py": ("changed", ("a", "b")), "files/api/new": ("new", ("a",))}
    assert found.files["files/api/new"].entry["executable"] is True
    found = proposed(org, {"a": answer([record("files/api/server.py", None)])})
    assert told(found) == {"files/api/server.py": ("removed", ("a",))}


def test_both_sides_of_a_file_that_was_changed_in_other_lines(org):
    given = as_it_was(org)
    (org / "files/api/server.py").write_text(SERVER.replace("five", "FIVE"))
    found = proposed(org, {"a": answer([record("files/api/server.py", SERVER.replace("one", "ONE"))])}, given)
    assert told(found) == {"files/api/server.py": ("changed", ("a",))}
    assert text(found, "files/api/server.py") == "ONE\ntwo\nthree\nfour\nFIVE\n"
    found = proposed(org, {"a": answer([record("files/api/server.py", SERVER.replace("five", "5"))])}, given)
    assert told(found) == {"files/api/server.py": ("conflict", ("a",))}
    assert "<<<<<<< organization\nFIVE\n=======\n5\n>>>>>>> a\n" in text(found, "files/api/server.py")
    assert proposal.marked(found.files["files/api/server.py"].read()) == 5


def test_hosts_that_were_made_into_different_things(org):
    found = proposed(org, {"a": answer([record("files/api/server.py", "a\n")]),
                           "b": answer([record("files/api/server.py", "b\n")])})
    assert told(found) == {"files/api/server.py": ("conflict", ("a", "b"))}


def test_what_is_no_text_is_named_between_the_marks(org):
    (org / "files/api/blob").write_bytes(b"\0mine")
    found = proposed(org, {"a": answer([record("files/api/blob", "\0theirs")])})
    assert told(found) == {"files/api/blob": ("changed", ("a",))}
    given = as_it_was(org)
    (org / "files/api/blob").write_bytes(b"\0other")
    found = proposed(org, {"a": answer([record("files/api/blob", "\0theirs")])}, given)
    assert told(found) == {"files/api/blob": ("conflict", ("a",))}
    assert text(found, "files/api/blob").count("sha256") == 2


def test_a_line_of_a_rendered_file_goes_back_into_its_template(org):
    edited = record("templates/a.ini", "x = 2\ny = 7\n", before="x = 1\ny = 7\n")
    found = proposed(org, {"a": answer([edited])})
    assert told(found) == {"templates/a.ini.j2": ("conflict", ("a",))}
    longer = "x = 1\n# a\n# b\ny = {{ y }}\n"
    (org / "templates/a.ini.j2").write_text(longer)
    edited = record("templates/a.ini", "x = 2\n# a\n# b\ny = 7\n", before="x = 1\n# a\n# b\ny = 7\n")
    found = proposed(org, {"a": answer([edited])})
    assert told(found) == {"templates/a.ini.j2": ("changed", ("a",))}
    assert text(found, "templates/a.ini.j2") == longer.replace("x = 1", "x = 2")


def test_units_and_variables_become_values_of_the_environment(org):
    found = proposed(org, {"a": answer(settings={"my-api": {"TSM_MEMORY_LIMIT": "64M", "LEVEL": 'a "b"'}},
                                       stopped={"my-api": True, "gone": True})})
    assert told(found) == {"environments/dev.toml": ("changed", ("a",))}
    assert text(found, "environments/dev.toml") == (
        '[services.my_api]\nPORT = 80 # kept\nLEVEL = "a \\"b\\""\nAUTOSTART = "false"\nMEMORY_LIMIT = "64M"\n')
    found = proposed(org, {"a": answer(stopped={"gone": False})})
    assert (told(found), [one.what for one in found.left]) == ({}, ["service gone"])


def test_a_directory_that_is_behind_gets_the_newer_bundle(org):
    before = canonical.digest(source.read(org).files["files/api/server.py"].entry)
    (org / "files/api/server.py").write_text("newer\n")
    given = as_it_was(org)
    (org / "files/api/server.py").write_text(SERVER)
    found = proposed(org, {}, given, {"files/api/server.py": [before]})
    assert [(change.path, change.kind) for change in found.changes] == [("files/api/server.py", "changed")]
    assert text(found, "files/api/server.py") == "newer\n"
    # What nobody has pushed yet is a change of the directory's own.
    assert proposed(org, {}, given, {}).changes == ()


@pytest.mark.parametrize(
    "path", ["../x", "/etc/passwd", "files/../../x", "files/a\n", "files/\x1b[31m", "files/\u202e", "services/api.tsm",
             "org.toml", "templates/none", "", "files/" + "x" * 300],
)
def test_a_place_that_is_none_of_the_organization_is_only_told(org, path):
    found = proposed(org, {"a": answer([record(path, "x")])})
    assert (found.changes, len(found.left)) == ((), 1)
    assert found.left[0].what.isprintable()


@pytest.mark.parametrize("target", ["/etc/passwd", "../../../x", "", "\0"])
def test_a_link_that_leads_out_is_only_told(org, target):
    link = {"path": "files/api/l", "entry": {"type": "link", "target": target}, "data": None, "before": None}
    found = proposed(org, {"a": answer([link])})
    assert (found.changes, len(found.left)) == ((), 1)


def test_what_cannot_be_a_tree_and_what_is_too_much_is_refused(org):
    link = {"path": "files/api/l", "entry": {"type": "link", "target": ".."}, "data": None, "before": None}
    with pytest.raises(TetraError):
        proposed(org, {"a": answer([link, record("files/api/l/x", "x")])})
    with pytest.raises(TetraError, match="a tells of 1001 edited files"):
        proposed(org, {"a": answer([record(f"files/{number}", "x") for number in range(1001)])})


def test_a_proposal_is_written_read_and_accepted(org, tmp_path):
    found = proposed(org, {"a": answer([record("files/api/server.py", "ours\n"), record("files/api/x/y", "new\n")])})
    mine, folder = source.read(org), tmp_path / "proposal"
    proposal_folder.write(folder, mine, found, {"org": "acme", "env": "dev", "bundle": mine.digest})
    assert "+ours\n" in (folder / "changes.diff").read_text()
    read, tree = proposal_folder.read(folder, "acme")
    # Something else was changed meanwhile, which stays.
    (org / "services" / "api.tsm").write_text("TSM_COMMAND=y\n")
    changes = proposal_folder.accepted(read, tree, source.read(org))
    assert sorted(changes) == ["files/api/server.py", "files/api/x/y"]
    proposal_folder.apply(org, changes)
    assert (org / "files/api/server.py").read_text() == "ours\n"
    assert (org / "services/api.tsm").read_text() == "TSM_COMMAND=y\n"
    assert proposal_folder.accepted(read, tree, source.read(org)) == {}
    assert [path.name for path in org.rglob(".*")] == []
    (org / "files/api/server.py").write_text("somebody else\n")
    with pytest.raises(TetraError, match=r"changed in the directory since the proposal was made: files/api/server.py"):
        proposal_folder.accepted(read, tree, source.read(org))


def test_what_a_proposal_removes_goes_with_its_empty_folder(org, tmp_path):
    found = proposed(org, {"a": answer([record("files/api/server.py", None)])})
    mine, folder = source.read(org), tmp_path / "proposal"
    proposal_folder.write(folder, mine, found, {"org": "acme", "env": "dev", "bundle": mine.digest})
    proposal_folder.apply(org, proposal_folder.accepted(*proposal_folder.read(folder, "acme"), mine))
    assert not (org / "files").exists()


def test_marks_that_are_left_and_folders_that_are_none(org, tmp_path):
    found = proposed(org, {"a": answer([record("files/api/server.py", "a\n")]),
                           "b": answer([record("files/api/server.py", "b\n")])})
    mine, folder = source.read(org), tmp_path / "proposal"
    proposal_folder.write(folder, mine, found, {"org": "acme", "env": "dev", "bundle": mine.digest})
    with pytest.raises(TetraError, match=r"marks are left .*files/api/server.py:1"):
        proposal_folder.read(folder, "acme")
    (folder / "acme/files/api/server.py").write_text("a and b\n")
    assert sorted(proposal_folder.accepted(*proposal_folder.read(folder, "acme"), mine)) == ["files/api/server.py"]
    with pytest.raises(TetraError, match="a proposal for acme, not for shop"):
        proposal_folder.read(folder, "shop")
    for wrong in ("{", "[]", '{"format": 2}', '{"format": true}'):
        (folder / "proposal.json").write_text(wrong)
        with pytest.raises(TetraError):
            proposal_folder.read(folder, "acme")
    with pytest.raises(TetraError, match="is no proposal"):
        proposal_folder.read(tmp_path / "nothing", "acme")


def test_nothing_is_written_through_a_link(org, tmp_path):
    found = proposed(org, {"a": answer([record("files/web/x", "new\n")])})
    (org / "files" / "web").symlink_to(tmp_path)
    with pytest.raises(TetraError, match="is a link"):
        proposal_folder.apply(org, {"files/web/x": found.files["files/web/x"]})
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("sizes", [{}, {"a": 0}, {"a": 1, "b": 10, "c": 3}, {"a": 35, "b": 0, "c": 5}])
def test_files_are_asked_for_in_portions(sizes):
    portions = list(proposal.portions(sizes, 10))
    assert all(0 < sum(length for _name, _offset, length in portion) <= 10 for portion in portions)
    whole = dict.fromkeys(sizes, 0)
    for portion in portions:
        for name, offset, length in portion:
            assert offset == whole[name]
            whole[name] += length
    assert whole == sizes
