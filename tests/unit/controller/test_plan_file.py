# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A plan in a file: what it holds, and what is said when it is not what would be done now."""

from __future__ import annotations

import copy
import json
import os
import stat

import pytest
from ansible_collections.tetra.platform.plugins.module_utils.model import plan
from ansible_collections.tetra.platform.plugins.module_utils.model.errors import INVALID, REFUSED, TetraError
from ansible_collections.tetra.platform.plugins.plugin_utils import plan_file

RECORD = {
    "format": 1, "kind": "plan", "action": "promote", "org": "acme", "env": "prod", "source": "staging",
    "bundle": "b" * 64, "release": "r" * 64, "ports": {"api": 4300}, "secrets": {"TOKEN": "s1"}, "terms": {"batch": 1},
    "batches": [["a"]],
    "hosts": {"a": {"from": None, "to": "r" * 64, "epoch": 0, "services": {"api": "start"}, "repairs": [],
                    "changed": True}},
}  # fmt: skip
BUNDLE = {"files": {"services/api.tsm": {"type": "file", "sha256": "1"}, "org.toml": {"type": "file", "sha256": "2"}}}


@pytest.fixture
def file(tmp_path):
    """A plan that was written."""
    path = tmp_path / "plan.json"
    plan_file.write(os.fspath(path), RECORD, BUNDLE)
    return path


def refusal(path, record, bundle=None) -> TetraError:
    with pytest.raises(TetraError) as caught:
        plan_file.check(os.fspath(path), record, BUNDLE if bundle is None else bundle)
    return caught.value


def test_the_same_plan_is_the_same_plan(file):
    plan_file.check(os.fspath(file), copy.deepcopy(RECORD), BUNDLE)
    written = json.loads(file.read_text())
    assert (written["plan_id"], written["plan"]) == (plan.plan_id(RECORD), RECORD)
    assert sorted(written["files"]) == ["org.toml", "services/api.tsm"]
    assert stat.S_ISREG(file.stat().st_mode)
    assert os.listdir(file.parent) == ["plan.json"]


@pytest.mark.parametrize(("path", "value", "told"), [
    (["bundle"], "c" * 64, "bundle: it was bbbbbbbbbbbb, it is cccccccccccc"),
    (["env"], "staging", "env: it was prod, it is staging"),
    (["terms"], {"batch": 2}, "terms of the run: changed"),
    (["batches"], [], "batches of the run: changed"),
    (["ports", "api"], 4301, "port of api: it was 4300, it is 4301"),
    (["ports", "web"], 4302, "port of web: it was none, it is 4302"),
    (["secrets", "TOKEN"], "s2", "secret TOKEN: another value"),
    (["hosts", "a", "from"], "d" * 64, "host a: it ran nothing, it runs dddddddddddd"),
    (["hosts", "a", "repairs"], ["hand edit: x"], "host a: something else was done on it by hand"),
    (["hosts", "a", "epoch"], 3, "host a: its journal went on from record 0 to 3"),
    (["hosts", "a", "services"], {"api": "keep"}, "host a: other services would be started, restarted or stopped"),
    (["hosts", "b"], RECORD["hosts"]["a"], "host b: it is new"),
    (["hosts"], {}, "host a: it is not there any more"),
])  # fmt: skip
def test_what_changed_since_is_told(file, path, value, told):
    record = copy.deepcopy(RECORD)
    place = record
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    error = refusal(file, record)
    assert error.code == REFUSED
    assert error.message.splitlines()[1:] == [told]


def test_files_that_changed_are_named(file):
    files = {"services/api.tsm": {"type": "file", "sha256": "3"}, "services/web.tsm": {"type": "file", "sha256": "4"}}
    error = refusal(file, {**RECORD, "bundle": "c" * 64}, {"files": files})
    assert error.message.splitlines()[2:] == [
        "services/api.tsm: changed", "services/web.tsm: is new", "org.toml: is gone",
    ]  # fmt: skip


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": 1}', '{"format": 2, "plan": {}, "files": {}}',
                                  '{"format": 1, "plan": {}, "files": {}, "plan_id": "x"}', "\udcff", "[" * 100_000])
def test_a_file_that_holds_no_plan_is_told(tmp_path, text):
    path = tmp_path / "plan.json"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    error = refusal(path, RECORD)
    assert (error.code, "plan.yml" in error.hint) == (INVALID, True)


def test_a_file_that_is_not_there_or_cannot_be_written_is_told(tmp_path):
    assert "cannot be read" in refusal(tmp_path / "none", RECORD).message
    with pytest.raises(TetraError, match="cannot be written"):
        plan_file.write(os.fspath(tmp_path / "no" / "plan.json"), RECORD, BUNDLE)
