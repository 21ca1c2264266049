# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a push and a change of the port registry have told is on the disk, and it came there in the right order.

A loss of power cannot be had here; what could be lost by one is seen from the calls of the host's processes.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from .. import strace
from ..conftest import ROOT

NETWORK = 95
DATA, MANIFEST, TRANSACTION, POINTER, JOURNAL = range(5)


def traced(folder: Path, command: list[str]) -> dict[Path, list[strace.Point]]:
    """The calls of each process of a run that changed files of a host, by its log; with the time in front."""
    folder.mkdir()
    names = [*strace.CHANGING, strace.CREATING]
    options = ["-ff", "--seccomp-bpf", "-ttt", "-o", os.fspath(folder / "log"), *strace.tracing(names)]
    done = subprocess.run(["strace", *options, *command], cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True,
                          text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return {log: strace.read(log) for log in folder.iterdir()}


def rank(point: strace.Point, environment: Path) -> int | None:
    """What a call gives its final name, or writes; the order of the ranks is the one that is promised."""
    if point.failed or not point.below(environment):
        return None
    path = Path(point.paths()[-1]).relative_to(environment)
    if point.call == "write" and path.name == "journal.jsonl":
        return JOURNAL
    if not point.call.startswith(("rename", "link")) or path.name.startswith(".tmp-"):
        return None
    folders = {"blobs": DATA, "bundles": MANIFEST, "releases": MANIFEST, "private": MANIFEST}
    return {"current": POINTER}.get(path.name, TRANSACTION if path.suffix == ".staged" else folders.get(path.parts[0]))


@pytest.mark.guarantee("O1")
def test_a_push_writes_data_then_manifests_then_the_pointer_then_the_journal(fleet, tmp_path):
    home, environment = fleet.state / "dev-1", fleet.environment("dev-1")
    found = traced(tmp_path / "trace", fleet.command("push", tetra_env="dev"))
    assert json.loads((fleet.folder / "result.json").read_text())["outcome"] == "applied"
    runs = {log: calls for log, calls in found.items()
            if any(point.call != strace.CREATING and point.below(environment) for point in calls)}
    assert len(runs) >= 3, "stage, activate, confirm"
    for calls in runs.values():
        assert strace.unsynced(calls, home) == []
        assert strace.early_answers(calls, home) == []
    lines = sorted(line for log in runs for line in log.read_text(errors="replace").splitlines())
    (tmp_path / "all").write_text("\n".join(lines))
    ranks = [rank(point, environment) for point in strace.read(tmp_path / "all")]
    told = [one for one in ranks if one is not None]
    assert set(told) == {DATA, MANIFEST, TRANSACTION, POINTER, JOURNAL}
    assert told == sorted(told)


@pytest.mark.guarantee("O1")
@pytest.mark.parametrize("port", [8402, "absent"])
def test_a_change_of_the_registry_is_on_the_disk_before_it_is_told(fleet, tmp_path, port):
    home = fleet.state / "dev-1"
    request = json.dumps({"tetra_dir": os.fspath(home), "ports": {"outside": port}, "check": False})
    names = [*strace.CHANGING, strace.CREATING]
    command = [os.fspath(home / "bin" / "tsm"), "run", "port_registry"]
    found = strace.calls(command, tmp_path / "log", request, names)
    assert any(point.call == "rename" and point.paths()[-1] == os.fspath(home / "config" / "ports.toml")
               for point in found)
    assert strace.unsynced(found, home) == []
    assert strace.early_answers(found, home) == []
