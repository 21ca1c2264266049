# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Definitions that a module writes: they say what is wanted, and files that say so already are left alone."""

from __future__ import annotations

import os
import stat

import pytest
from ansible_collections.tetra.platform.plugins.module_utils.host.operations import definitions
from ansible_collections.tetra.platform.plugins.module_utils.model.errors import TetraError

API = {"TSM_COMMAND": "node server.js", "TSM_PORT": "auto", "DATA": "${HOME}/data", "TOKEN": "${secret:TOKEN}"}


def write(*entries, check=False):
    return definitions.service_definition({"definitions": list(entries), "check": check})


def entry(path, **values):
    return {"path": os.fspath(path), "values": {**API, **values}, "state": "present"}


def test_what_is_written_is_read_back(tmp_path):
    path = tmp_path / "api.tsm"
    result = write(entry(path))
    assert (result["changed"], result["paths"], result["findings"]) == (True, [os.fspath(path)], [])
    assert result["diff"][0]["before"] == ""
    assert result["diff"][0]["after"] == path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    (found,) = definitions.service_definition_info({"paths": [os.fspath(path)]})["services"]
    assert (found["command"], found["environment"]["TOKEN"]) == ("node", [{"secret": "TOKEN"}])


def test_a_file_that_says_the_same_in_other_words_is_left_alone(tmp_path):
    path = tmp_path / "api.tsm"
    text = "# Ours.\nexport TSM_PORT='auto'\nexport TSM_COMMAND='node server.js' TOKEN=\"${secret:TOKEN}\"\n" \
           'export DATA="$HOME/data"\n'
    path.write_text(text)
    before = path.stat()
    assert write(entry(path)) == {"changed": False, "paths": [], "findings": [], "diff": []}
    assert (path.stat().st_mtime_ns, path.stat().st_ino, path.read_text()) == (before.st_mtime_ns, before.st_ino, text)
    path.chmod(0o600)
    assert write(entry(path, NEW="1"))["changed"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_check_mode_tells_and_writes_nothing(tmp_path):
    old = tmp_path / "old.tsm"
    old.write_text("TSM_COMMAND=true\n")
    entries = entry(tmp_path / "api.tsm"), {"path": os.fspath(old), "state": "absent"}
    told = write(*entries, check=True)
    assert told["paths"] == [os.fspath(tmp_path / "api.tsm"), os.fspath(old)]
    assert [path.name for path in tmp_path.iterdir()] == ["old.tsm"]
    assert write(*entries) == told
    assert [path.name for path in tmp_path.iterdir()] == ["api.tsm"]
    assert write(*entries)["changed"] is False


@pytest.mark.parametrize(("values", "told"), [
    ({"TSM_PORT": "80000"}, "TSM_PORT"),
    ({"BAD-NAME": "x"}, "BAD-NAME"),
    ({"DATA": "$(id)"}, "DATA"),
    ({"TSM_COMMAND": ""}, "TSM_COMMAND"),
])  # fmt: skip
def test_nothing_is_written_when_one_is_wrong(tmp_path, values, told):
    with pytest.raises(TetraError, match=told) as caught:
        write(entry(tmp_path / "good.tsm"), entry(tmp_path / "wrong.tsm", **values))
    assert "wrong.tsm" in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_the_same_file_twice_is_refused(tmp_path):
    with pytest.raises(TetraError, match="is there twice"):
        write(entry(tmp_path / "api.tsm"), entry(tmp_path / "api.tsm"))


def test_an_unknown_key_is_remarked(tmp_path):
    (found,) = write(entry(tmp_path / "api.tsm", TSM_COMAND="x"))["findings"]
    assert "TSM_COMMAND" in found["hint"]


def test_no_secret_is_in_a_diff(tmp_path):
    path = tmp_path / "api.tsm"
    write(entry(path, DB_PASSWORD="hunter1"))
    (diff,) = write(entry(path, DB_PASSWORD="hunter2", PLAIN="seen"))["diff"]
    assert "hunter" not in str(diff)
    assert "PLAIN=seen" in diff["after"]
    assert "hunter2" in path.read_text()


def test_what_is_no_definition_is_replaced(tmp_path):
    path = tmp_path / "api.tsm"
    path.write_text("if true; then\n")
    (diff,) = write(entry(path))["diff"]
    assert diff["before"] == "(no definition)\n"
    assert write(entry(path))["changed"] is False
