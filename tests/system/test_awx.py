# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every playbook as a job of AWX: ansible-runner in a place that is made for the job and thrown away after it.

A project sync installs what collections/requirements.yml names; each job gets copies of the project and of that, a home
and a folder for temporary files of its own, and the inventory as a script. So whatever one job knows of another, it
has from the hosts. A new playbook needs a row in JOBS.
"""

from __future__ import annotations

import dataclasses
import json
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import ansible_runner
import pytest

from .conftest import HOSTS, ROOT, copy_example

NETWORK = 76
USER = "dora of AWX"
CANARY = f"canary-{secrets.token_hex(12)}"
# What is no part of a repository, and would make copies slow.
LEFT_OUT = (".*", "__pycache__", "tests", "docs", "molecule")
INSTALLED = {
    f"tetra/platform/{name}"
    for name in ("FILES.json", "LICENSE", "MANIFEST.json", "README.md", "meta", "playbooks", "plugins", "roles")
}

_INVENTORY = """#!/usr/bin/env python3
print({text!r})
"""


@dataclasses.dataclass(frozen=True)
class Job:
    """A job template with the outcome that a launch of it shall have.

    :param playbook: name of a file in playbooks/.
    :param outcome: what the job tells AWX in ``tetra_outcome``; prepare tells nothing.
    :param variables: extra variables of the template.
    :param broken: whether the organization in the project is the broken one.
    :param dead: host that cannot be reached.
    """

    playbook: str
    outcome: str | None
    variables: Mapping[str, object]
    broken: bool = False
    dead: str | None = None


@dataclasses.dataclass(frozen=True)
class Ended:
    """How a job ended.

    :param code: exit code of ansible-playbook.
    :param stats: what set_stats gave AWX.
    :param output: all that was printed.
    :param leaks: artifacts that hold the secret.
    :param left: files that were left in the home and in the folder for temporary files.
    """

    code: int
    stats: dict
    output: str
    leaks: list[str]
    left: list[str]


# What the services of dev are like is no matter of these tests.
DEV, STAGING = {"tetra_env": "dev", "tetra_probe_passes": 1}, {"tetra_env": "staging"}
PROMOTE = {"tetra_from": "dev", "tetra_to": "staging"}
# The order matters: what a job finds was left on the hosts by those before.
JOBS = [
    Job("prepare", None, {}),
    Job("org_template", "applied", {"tetra_org": "newcomer"}),
    Job("validate", "unchanged", {}),
    Job("render", "unchanged", STAGING),
    Job("push", "applied", DEV),
    Job("plan", "unchanged", PROMOTE),
    Job("promote", "applied", PROMOTE),
    Job("rollout", "unchanged", {"tetra_envs": "dev, staging", "tetra_probe_passes": 1}),
    Job("push", "applied", DEV, broken=True),
    Job("promote", "rolled_back", PROMOTE),
    Job("promote", "refused", PROMOTE),
    Job("rollback", "applied", DEV),
    Job("status", "unchanged", STAGING),
    Job("health", "unchanged", STAGING),
    Job("logs", "unchanged", STAGING),
    Job("history", "unchanged", STAGING),
    Job("drift", "unchanged", STAGING),
    Job("overview", "unchanged", {}),
    Job("pull", "unchanged", STAGING),
    Job("accept", "invalid", {"tetra_pull_dir": "nowhere"}),
    Job("restore", "refused", STAGING),
    Job("ports", "unchanged", {**STAGING, "tetra_resolve": "fail"}),
    Job("diff", "unchanged", PROMOTE),
    Job("resume", "unchanged", STAGING),
    Job("abort", "unchanged", STAGING),
    Job("remove_host", "applied", {**STAGING, "tetra_host": "staging-2"}, dead="staging-2"),
]


class Awx:
    """A project, its inventory and hosts; AWX itself is ansible-runner and folders that come and go."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.state = folder / "state"
        self.project = folder / "project"
        self.synced = folder / "synced"
        self.ended: list[Ended] = []
        shutil.copytree(ROOT, self.project, ignore=shutil.ignore_patterns(*LEFT_OUT))
        # Jobs run in the project, where orgs/ is looked for.
        copy_example(self.project / "orgs" / "acme")

    def sync(self) -> None:
        """Install what the project asks for; from the clone, which holds more that must stay out than a project."""
        with tempfile.TemporaryDirectory(dir=self.folder) as home:
            command = [_program("ansible-galaxy"), "collection", "install", "--offline", "-r",
                       ROOT / "collections" / "requirements.yml", "-p", self.synced]
            done = subprocess.run(command, cwd=ROOT, env=_environment(Path(home), self.synced), capture_output=True,
                                  text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr

    def installed(self) -> set[str]:
        """What a sync has installed, down to the top of this collection."""
        top = self.synced / "ansible_collections"
        return {os.fspath(path.relative_to(top)) for path in top.glob("*/*/*")}

    def run(self, job: Job) -> Ended:
        """Run a job in a place of its own, and throw the place away."""
        if job.broken:
            shutil.copy(ROOT / "examples" / "broken" / "server.py", self.project / "orgs/acme/files/api/server.py")
        with tempfile.TemporaryDirectory(prefix="job-", dir=self.folder) as name:
            place = Path(name)
            self._lay_out(place, job)
            ran = ansible_runner.run(private_data_dir=name, playbook=f"playbooks/{job.playbook}.yml", quiet=True)
            leaks = [path.name for path in _files(place / "artifacts") if CANARY.encode() in path.read_bytes()]
            left = [os.fspath(path.relative_to(place)) for path in _files(place / "home", place / "tmp")]
            with ran.stdout as output:
                self.ended.append(Ended(ran.rc, _stats(ran.events), output.read(), leaks, left))
        return self.ended[-1]

    def _lay_out(self, place: Path, job: Job) -> None:
        for folder in ("env", "inventory", "home", "tmp"):
            (place / folder).mkdir()
        shutil.copytree(self.project, place / "project")
        shutil.copytree(self.synced, place / "requirements_collections")
        inventory = place / "inventory" / "hosts"
        inventory.write_text(_INVENTORY.format(text=json.dumps(self.inventory(job.dead))))
        inventory.chmod(0o700)
        variables = {"tetra_org": "acme", "awx_user_name": USER, "tetra_secrets": {"API_TOKEN": CANARY}}
        (place / "env" / "extravars").write_text(json.dumps({**variables, **job.variables}))
        (place / "env" / "envvars").write_text(
            json.dumps(_environment(place / "home", place / "requirements_collections"))
        )

    def inventory(self, dead: str | None = None) -> dict:
        """The inventory as AWX gives it to a job: a single text, without localhost."""
        groups = {env: [name for name in HOSTS if name.startswith(env)] for env in ("dev", "staging")}
        hosts = {
            name: {"tetra_address": f"127.0.{NETWORK}.{number}", "tetra_dir": os.fspath(self.state / name)}
            for number, name in enumerate(HOSTS, 1)
        }
        if dead:
            hosts[dead].update(ansible_connection="ssh", ansible_host="127.0.0.1", ansible_port=1)
        shared = {
            "ansible_connection": "local", "ansible_python_interpreter": os.path.realpath(sys.executable),
            "tetra_supervisor": "supervisord", "tetra_supervisord": _program("supervisord"),
            "tetra_environments": {"dev": {"port_range": "4100-4199", "lease": "30s"},
                                   "staging": {"promotes_from": "dev", "port_range": "4200-4299", "lease": "30s"}},
        }  # fmt: skip
        return {**groups, "all": {"hosts": list(HOSTS), "vars": shared}, "_meta": {"hostvars": hosts}}

    def journal(self, host: str) -> list[dict]:
        """The records of a host's journal."""
        file = self.state / host / "orgs" / "acme" / host.partition("-")[0] / "journal.jsonl"
        return [json.loads(line) for line in file.read_text().splitlines()]


def _files(*folders: Path) -> list[Path]:
    return [path for folder in folders for path in folder.rglob("*") if path.is_file()]


def _program(name: str) -> str:
    return os.fspath(Path(sys.executable).with_name(name))


def _environment(home: Path, collections: Path) -> dict[str, str]:
    """What a job's container would have in its environment; nothing of the user's own is in it."""
    return {
        "HOME": os.fspath(home), "TMPDIR": os.fspath(home.parent / "tmp"), "LANG": "C.UTF-8",
        "PATH": os.pathsep.join([os.fspath(Path(sys.executable).parent), os.environ["PATH"]]),
        "ANSIBLE_COLLECTIONS_PATH": os.fspath(collections), "ANSIBLE_FORCE_COLOR": "true",
        "ANSIBLE_INVENTORY_UNPARSED_FAILED": "true", "ANSIBLE_INJECT_FACT_VARS": "false",
    }  # fmt: skip


def _stats(events: Iterator[dict]) -> dict:
    """What AWX shows as artifacts of a job."""
    last = [event["event_data"] for event in events if event["event"] == "playbook_on_stats"]
    return last[0].get("artifact_data", {}) if last else {}


@pytest.fixture(scope="module")
def awx(tmp_path_factory) -> Iterator[Awx]:
    """A project that was synced, and hosts that nobody has prepared."""
    made = Awx(tmp_path_factory.mktemp("awx"))
    made.sync()
    yield made
    made.run(Job("prepare", None, {"tsm_state": "stopped"}))


def test_every_playbook_is_a_job():
    assert {job.playbook for job in JOBS} == {path.stem for path in (ROOT / "playbooks").glob("*.yml")}


def test_a_project_sync_installs_this_collection_and_nothing_else_of_the_clone(awx):
    assert awx.installed() == INSTALLED


@pytest.mark.parametrize("job", JOBS, ids=lambda job: f"{job.playbook}-{job.outcome}")
def test_a_job_tells_awx_how_it_ended_and_leaves_nothing(awx, job):
    ended = awx.run(job)
    assert ended.stats.get("tetra_outcome") == job.outcome, ended.output
    assert (ended.code == 0) == (job.outcome in (None, "applied", "unchanged")), ended.output
    assert (ended.leaks, ended.left) == ([], [])


def test_a_hold_is_on_the_hosts_and_needs_nothing_of_the_controller(awx):
    results = [ended.stats["tetra_result"] for ended in awx.ended if ended.stats]
    (rolled_back,) = (result for result in results if result["outcome"] == "rolled_back")
    (refused,) = (result for result in results if "is on hold" in result["message"])
    assert rolled_back["transaction"] in refused["message"]
    assert "/health" in refused["message"]


def test_the_actor_is_the_user_of_awx(awx):
    records = awx.journal("dev-1") + awx.journal("staging-1")
    assert {record["actor"] for record in records} == {USER}


def test_the_secret_is_where_it_is_needed(awx):
    holding = [path.relative_to(awx.state) for path in _files(awx.state) if CANARY.encode() in path.read_bytes()]
    assert {path.parts[0] for path in holding} == set(HOSTS)
