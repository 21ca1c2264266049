# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A secret is in its own files and in the process that needs it, and nowhere else."""

from __future__ import annotations

import contextlib
import hashlib
import secrets
import stat
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from .conftest import command_lines

NETWORK = 73
CANARY = f"canary-{secrets.token_hex(12)}"
pytestmark = pytest.mark.guarantee("A21")


@pytest.fixture(scope="module")
def runs(fleet):
    """A push, a promotion, a failed promotion and a rollback with the canary as secret, told as loudly as can be."""
    fleet.secrets = {"API_TOKEN": CANARY}
    server = fleet.org / "files" / "api" / "server.py"
    made = [fleet.push("-vvv", "--diff"), fleet.promote("-vvv", "--diff")]
    good = server.read_text()
    server.write_text(
        "import os, sys, time\nprint('my token is', os.environ['API_TOKEN'], flush=True)\n"
        "time.sleep(1 if os.environ['TETRA_ENV'] == 'staging' else 0)\n"
        "sys.exit(3) if os.environ['TETRA_ENV'] == 'staging' else None\n"
        + good.replace("from __future__ import annotations\n", "")
    )
    made += [fleet.push("-vvv", "--diff"), fleet.promote("-vvv", "--diff")]
    made.append(fleet.play("rollback", "-vvv", "--diff", tetra_env="dev"))
    made.append(fleet.play("status", "-vvv", tetra_env="staging"))
    assert [run.outcome for run in made] == ["applied", "applied", "applied", "rolled_back", "applied", "unchanged"]
    return [run.output for run in made]


def test_no_output_holds_the_secret(runs):
    assert all("PLAY RECAP" in output for output in runs)
    assert not [output for output in runs if CANARY in output]


def test_files_with_the_secret_are_for_their_owner_alone(fleet, runs):
    holding = [path for path in fleet.state.rglob("*") if path.is_file() and CANARY.encode() in path.read_bytes()]
    assert holding
    kinds = {path.relative_to(fleet.state).parts[4] for path in holding}
    assert kinds <= {"private", "run", "logs"}, "the log is what the service itself wrote"
    assert {stat.S_IMODE(path.stat().st_mode) for path in holding if "logs" not in path.parts} == {0o600}
    for name in ("logs", "private", "run"):
        assert stat.S_IMODE((fleet.environment("dev-1") / name).stat().st_mode) == 0o700


def test_evidence_of_a_service_that_printed_its_secret_has_it_blacked_out(fleet, runs):
    logs = list(fleet.environment("staging-1").glob("evidence/*/api.log"))
    assert logs
    assert "my token is ********" in logs[0].read_text()


@contextlib.contextmanager
def watching(look: Callable[[], None]) -> Iterator[None]:
    """Look again and again while something else goes on."""
    stop = threading.Event()

    def watch():
        while not stop.wait(0.02):
            look()

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield
    finally:
        stop.set()
        watcher.join()


def test_no_process_shows_the_secret_in_its_arguments(fleet, runs):
    seen = []

    def look():
        seen.extend(words for words in command_lines().values() if any(CANARY in word for word in words))

    fleet.restore()
    fleet.touch("watched")
    with watching(look):
        assert fleet.push().outcome == "applied"
    assert not seen


def test_a_pack_on_its_way_is_for_its_owner_alone_and_then_gone(fleet, runs):
    # What is smaller travels inside the call that asks to stage it.
    data = secrets.token_bytes(5 * 1024 * 1024)
    (fleet.org / "files" / "api" / "data.bin").write_bytes(data)
    sent = hashlib.sha256(data).hexdigest()
    modes = {}

    def look():
        for path in Path("/tmp").glob("tetra-*.pack"):
            with contextlib.suppress(OSError):
                if sent.encode() in path.read_bytes()[:4096]:
                    modes[path] = stat.S_IMODE(path.stat().st_mode)

    with watching(look):
        assert fleet.push().outcome == "applied"
    assert set(modes.values()) == {0o600}
    assert not [path for path in modes if path.exists()]
    fleet.restore()
