# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The port registry when its writer is killed, or the disk refuses, at every call that changes a file."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from ansible_collections.tetra.platform.plugins.module_utils.host import registry
from ansible_collections.tetra.platform.plugins.module_utils.model.ports import file as ports_file

from .. import guarantees, strace

TEXT = """\
# the ports of this host
[ports]
gate = 8400  # outside
old = 8401

[ports.acme.dev]
api = 4100
"""
RUN = """
import sys
sys.dont_write_bytecode = True
from ansible_collections.tetra.platform.plugins.module_utils.host import registry
from ansible_collections.tetra.platform.plugins.module_utils.host.operations import ports
from ansible_collections.tetra.platform.plugins.module_utils.model.errors import TetraError
tetra_dir, what = sys.argv[1:]
try:
    if what == "change":
        ports.port_registry({"tetra_dir": tetra_dir, "ports": {"new": 8402, "old": "absent"}, "check": False})
    elif what == "reserve":
        registry.reserve(tetra_dir, "acme/dev", {"api": 4101, "api/dns": "5353/udp"})
    else:
        registry.settle(tetra_dir, "acme/dev", ["api"])
except (TetraError, OSError) as error:
    sys.exit(f"refused: {error}")
"""
ERRORS = ("ENOSPC", "EIO", "EROFS", "EDQUOT")


def fresh(folder: Path) -> Path:
    """A host with a registry in which nothing has happened yet; its file."""
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "config").mkdir(parents=True)
    (folder / "config" / "ports.toml").write_text(TEXT)
    return folder / "config" / "ports.toml"


def command(folder: Path, what: str) -> list[str]:
    return ["env", f"PYTHONPATH={os.pathsep.join(sys.path)}", sys.executable, "-c", RUN, os.fspath(folder), what]


def known(folder: Path) -> dict[str, set]:
    """Everybody who has a port, or gave it up a short while ago, with all of his ports."""
    found: dict[str, set] = {}
    for identity, value in registry.load(os.fspath(folder)).registry.identities():
        found.setdefault(identity, set()).add(str(value))
    released = folder / "config" / "ports.released.json"
    for value, one in json.loads(released.read_text())["released"].items() if released.exists() else ():
        found.setdefault(one["by"], set()).add(value)
    return found


@pytest.mark.parametrize("what", ["change", "reserve", "settle"])
def test_a_writer_that_is_killed_leaves_the_old_registry_or_the_new_one(tmp_path, what):
    folder = tmp_path / "tetra"
    fresh(folder)
    points = strace.points(command(folder, what), folder, tmp_path / "log")
    new = (folder / "config" / "ports.toml").read_text()
    assert new != TEXT
    assert {"write", "fsync", "rename"} <= {point.call for point in points}
    killed = 0
    for point in points:
        file = fresh(folder)
        before = known(folder)
        done = strace.killed_at(command(folder, what), point)
        killed += done.returncode in (-signal.SIGKILL, 128 + signal.SIGKILL)
        assert file.read_text() in (TEXT, new), point
        assert ports_file.read(file.read_text(), "ports.toml").findings == []
        assert all(ports <= known(folder).get(identity, set()) for identity, ports in before.items()), point
        subprocess.run(command(folder, what), check=True)
        assert file.read_text() == new, point
    guarantees.tell("K1", len(points), len(points), f"registry, {what}: {len(points)}")
    assert killed == len(points)


@pytest.mark.parametrize("what", ["change", "reserve", "settle"])
def test_a_disk_that_refuses_leaves_the_old_registry_or_the_new_one_and_is_told(tmp_path, what):
    folder = tmp_path / "tetra"
    fresh(folder)
    points = strace.points(command(folder, what), folder, tmp_path / "log")
    new = (folder / "config" / "ports.toml").read_text()
    for number, point in enumerate(points):
        file = fresh(folder)
        done = strace.failing_at(command(folder, what), point, ERRORS[number % len(ERRORS)])
        assert "Traceback" not in done.stderr, (point, done.stderr)
        assert file.read_text() in (TEXT, new), point
        assert done.returncode == 0 or done.stderr.startswith("refused: "), (point, done.stderr)
        if done.returncode == 0:
            assert file.read_text() == new, point
    guarantees.tell("D1", len(points), len(points), f"registry, {what}: {len(points)}")
