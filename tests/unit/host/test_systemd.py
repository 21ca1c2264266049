# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is done with files of units that a killed run left, and what systemd is told; systemd itself is played."""

from __future__ import annotations

import os
import subprocess

import pytest
from ansible_collections.tetra.platform.plugins.module_utils.host.layout import Home
from ansible_collections.tetra.platform.plugins.module_utils.host.supervisors import systemd
from ansible_collections.tetra.platform.plugins.module_utils.host.supervisors.base import UnitSpec

SPEC = UnitSpec("tetra-acme-dev-api", ["/bin/true"], "/tmp/log", 5.0, "on-failure", 3, owner="acme/dev/api")


class Played:
    """A systemd that notes what it is asked, and says whether files of units are newer than what it read."""

    def __init__(self) -> None:
        self.verbs: list[str] = []
        self.newer = "no"

    def run(self, command: list[str]) -> subprocess.CompletedProcess[bytes]:
        self.verbs.append(command[1])
        shown = {**dict.fromkeys(systemd._PROPERTIES, "0"), "LoadState": "loaded", "NeedDaemonReload": self.newer}
        text = "".join(f"{key}={value}\n" for key, value in shown.items())
        if command[1] == "list-units":
            text = "".join(f"{name} loaded active running\n" for name in command if name.endswith(".service"))
        return subprocess.CompletedProcess(command, 0, text.encode(), b"")


@pytest.fixture
def played(monkeypatch):
    one = Played()
    monkeypatch.setattr(systemd, "_run", one.run)
    return one


@pytest.fixture
def supervisor(tmp_path, played):
    return systemd.Systemd(Home(os.fspath(tmp_path / "tetra")), os.fspath(tmp_path))


@pytest.mark.parametrize("kinds", [["service"], ["timer"], ["service", "timer"]])
def test_a_deadman_is_forgotten_although_a_killed_run_wrote_or_removed_half_of_it(supervisor, tmp_path, kinds):
    for kind in kinds:
        (tmp_path / f"deadman.{kind}").write_text("")
    supervisor.disarm(["deadman", "unknown"])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("newer", ["yes", "no"])
def test_a_unit_that_was_written_before_and_not_read_since_is_read_again(supervisor, played, newer):
    supervisor.replace([], [[SPEC]])
    assert "daemon-reload" in played.verbs
    played.verbs.clear()
    played.newer = newer
    supervisor.states([SPEC.unit])
    supervisor.replace([], [[SPEC]])
    assert ("daemon-reload" in played.verbs) == (newer == "yes")


def test_the_visitors_of_a_service_that_is_replaced_wait_for_no_call_that_could_be_made_before(supervisor, played):
    supervisor.replace([], [[SPEC]])
    played.verbs.clear()
    supervisor.stop([SPEC.unit], remove=False)
    supervisor.replace([SPEC.unit], [[SPEC]])
    assert played.verbs[: played.verbs.index("restart") + 1] == ["reset-failed", "stop", "restart"]
