# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The agent as a file on a host: it starts by itself, from byte code where that fits the Python, else from sources."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import zipfile

import pytest
from ansible_collections.tetra.platform.plugins.module_utils.host import installation
from ansible_collections.tetra.platform.plugins.plugin_utils import host_code

START = "__main__.py"


def archive(files):
    """A zip file of names and their bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as made:
        for name, data in files.items():
            made.writestr(name, data)
    return buffer.getvalue()


def contents(data):
    with zipfile.ZipFile(io.BytesIO(data)) as opened:
        return {name: opened.read(name) for name in opened.namelist()}


def said(tmp_path, data):
    """What a zipapp prints."""
    path = tmp_path / "app"
    path.write_bytes(data)
    return subprocess.run([sys.executable, path], capture_output=True, text=True, check=True).stdout.strip()


def test_byte_code_is_what_runs_and_sources_are_what_another_python_runs(tmp_path):
    files = contents(installation.compiled(archive({START: "print('first')"})))
    files[START] = b"print('second')"
    assert said(tmp_path, archive(files)) == "first"
    files[f"{START}c"] = b"\0\0\0\0" + files[f"{START}c"][4:]
    assert said(tmp_path, archive(files)) == "second"


def test_every_source_of_the_agent_has_its_byte_code():
    names = set(contents(installation.compiled(host_code.zipapp())))
    assert names == set(host_code.sources()) | {f"{name}c" for name in host_code.sources()}


def test_an_installed_agent_starts_by_itself(tmp_path):
    program = os.fspath(tmp_path / "tsm")
    installation.install(program, host_code.zipapp())
    done = subprocess.run([program], capture_output=True, text=True, check=False, env={})
    assert (done.returncode, done.stderr.partition(":")[0]) == (15, "tsm")


@pytest.mark.parametrize("folder", ["a blank and a $sign", "x" * 150])
def test_an_agent_starts_with_a_python_in_any_folder(tmp_path, monkeypatch, folder):
    python = tmp_path / folder / "python3"
    python.parent.mkdir()
    python.write_text(f'#!/bin/sh\necho "by $0" >&2\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", os.fspath(python))
    assert started(tmp_path) == f"by {python}\nhello ['one two']"


def test_an_agent_whose_python_is_gone_starts_with_that_of_the_system(tmp_path, monkeypatch):
    if not os.access("/usr/bin/python3", os.X_OK):
        pytest.fail("this machine has no /usr/bin/python3")
    monkeypatch.setattr(sys, "executable", os.fspath(tmp_path / "gone" / "python3"))
    assert started(tmp_path) == "hello ['one two']"


def started(tmp_path):
    """What an installed program says when it is started with one argument."""
    program = os.fspath(tmp_path / "tsm")
    installation.install(program, archive({START: "import sys\nprint('hello', sys.argv[1:], file=sys.stderr)"}))
    return subprocess.run([program, "one two"], capture_output=True, text=True, check=True).stderr.strip()
