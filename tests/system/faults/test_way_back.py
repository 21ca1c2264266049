# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The way back fails, too: that is told, kept as evidence, not tried for ever, and the next good release ends it."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from ansible_collections.tetra.platform.plugins.module_utils.host import holds, running, store, transactions
from ansible_collections.tetra.platform.plugins.module_utils.model import transaction

from .. import invariants
from ..conftest import get
from ..single import SECRET, Single, done

ADDRESS = "127.0.86.1"
PORT = 4300
SERVICE = """\
TSM_COMMAND='exec {program} -m http.server $PORT --bind $HOST --directory ${{TETRA_RELEASE_DIR}}/files/api'
TSM_PORT=auto
TSM_HEALTH_CHECK=http://127.0.0.1:${{TSM_PORT}}/page
TSM_MIN_HEALTHY=0s
TSM_HEALTH_START_PERIOD=1s
TSM_MAX_RESTARTS=1
export KEY=${{secret:KEY}}
"""


@pytest.fixture(scope="module")
def host(tmp_path_factory):
    made = Single(tmp_path_factory.mktemp("single"), ADDRESS)
    try:
        yield made
    finally:
        made.down()


def write(host: Single, page: str, program: str = "python3") -> None:
    host.write({"api.tsm": SERVICE.format(program=program)}, {"api/page": page})


def release_of(host: Single, identity: str, side: str) -> str:
    return transactions.load(host.environment, identity).record[side]


def break_the_tree(host: Single, release: str, _program: Path) -> str:
    """Edit a file of a release, and the blob that it would be laid anew from."""
    Path(host.environment.releases, release, "files", "api", "page").write_text("edited")
    entry = store.manifest(host.environment, release)["files"]["files/api/page"]
    Path(host.environment.blobs, entry["sha256"]).write_text("too")
    return entry["sha256"]


def remove_the_manifest(host: Single, release: str, _program: Path) -> str:
    Path(host.environment.releases, f"{release}.json").unlink()
    return f"{release}.json is not on this host"


def remove_the_secrets(host: Single, release: str, _program: Path) -> str:
    Path(host.environment.private, f"{release}.json").unlink()
    return f"what this host needs of release {release[:12]} is not here"


def remove_the_program(_host: Single, _release: str, program: Path) -> str:
    program.unlink()
    return "api: "


BREAKS = {
    "its-files-were-edited": break_the_tree, "its-manifest-is-gone": remove_the_manifest,
    "its-secrets-are-gone": remove_the_secrets, "its-program-is-gone": remove_the_program,
}  # fmt: skip


@pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.guarantee("F23"), id=f"F23-{name}")
                                  for name in BREAKS])  # fmt: skip
def test_a_release_that_cannot_be_gone_back_to_is_told_and_left_until_something_better_comes(host, tmp_path, name):
    program = tmp_path / "python"
    program.symlink_to("/usr/bin/python3")
    write(host, f"old {name}", str(program))
    host.apply({"api": PORT})
    write(host, f"new {name}")
    switched = host.switch({"api": PORT})
    identity = switched["transaction"]
    assert switched["state"] == transaction.PROBING, switched
    why = BREAKS[name](host, release_of(host, identity, "from"), program)
    answer = done(host.step("rolled_back", identity, cause={"reason": "a test", "verdict": True, "check": "x"}))
    assert answer["state"] == transaction.ROLLBACK_FAILED
    assert transaction.EXIT_CODES[transaction.host_outcome(answer["state"])] == 14
    assert answer["detail"].startswith("a test; going back failed: "), answer
    assert why in answer["detail"], answer
    kept = Path(answer["evidence"], "summary.json")
    assert json.loads(kept.read_text())["cause"]["reason"] == "a test"
    assert release_of(host, identity, "bundle") in holds.read(host.environment)
    # Nobody tries it again: no deadman is left, and what runs, or does not, stays as it is.
    before = (transactions.states(host.environment), store.current(host.environment), processes_of(host))
    time.sleep(1)
    assert (transactions.states(host.environment), store.current(host.environment), processes_of(host)) == before
    unit = host.scope.deadman_unit(identity)
    assert host.scope.supervisor.states([unit])[unit].state == "absent"
    seen = done(host.ask("release_info", {}))["last"]
    assert (seen["transaction"], seen["outcome"]) == (identity, transaction.ROLLBACK_FAILED)
    write(host, f"good {name}")
    host.apply({"api": PORT})
    assert get(f"http://{ADDRESS}:{PORT}/page") == (200, f"good {name}")
    assert invariants.broken(host.scope, {store.current(host.environment)}, SECRET) == []


def processes_of(host: Single) -> dict:
    return {name: (one["pid"], one["running"]) for name, one in running.observe(host.scope).items()}
