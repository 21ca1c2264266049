# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hosts for system tests: those of the demo inventory on this machine, and containers that systemd starts."""

from __future__ import annotations

import dataclasses
import http.client
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import containers
import pytest
import versions
import yaml
from ansible_collections.tetra.platform.plugins.module_utils.host import processes
from ansible_collections.tetra.platform.plugins.module_utils.model import transaction

from . import guarantees

ROOT = Path(__file__).resolve().parent.parent.parent
HOSTS = ("dev-1", "staging-1", "staging-2")
LONG = bool(os.environ.get("TETRA_LONG"))
"""Whether every case is tried that only takes time; ``make test-long`` asks for it."""

_LONGEST = (
    "test_fleet", "test_hosts_away", "test_controller", "test_promotion", "test_nemesis", "test_promotion_faults",
    "test_systemd", "test_pull", "test_bad_services", "test_rollout", "test_poor_hosts", "test_two_promotions",
)  # fmt: skip
_ENVIRONMENTS = ("dev", "staging", "prod")


@dataclasses.dataclass
class Run:
    """How a playbook ended: exit code, all output, and the result file as data (empty when there is none)."""

    code: int
    output: str
    result: dict

    @property
    def outcome(self) -> str | None:
        """The outcome that the run told."""
        return self.result.get("outcome")


def get(url: str) -> tuple[int, str]:
    """The status and the body of a page; status 0 when nothing answers, or not to the end."""
    place, _slash, path = url.removeprefix("http://").partition("/")
    connection = http.client.HTTPConnection(place, timeout=3)
    try:
        connection.request("GET", f"/{path}")
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    except (OSError, http.client.HTTPException):
        return 0, ""
    finally:
        connection.close()


def wait_for(condition: Callable[[], object], seconds: float = 30.0, pause: float = 0.05) -> bool:
    """Wait until something is so, and look every ``pause`` seconds; whether it came to that."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(pause)
    return True


def command_lines() -> dict[int, list[str]]:
    """The words that every process of this machine was started with, by pid."""
    return {int(name): processes.arguments(int(name)) for name in os.listdir("/proc") if name.isdigit()}


def copy_example(org: Path) -> None:
    """Copy the example organization; but in dev nothing has to be healthy for a while, because tests push often."""
    shutil.copytree(ROOT / "examples" / "orgs" / "acme", org)
    names = sorted(path.name.partition(".")[0] for path in (org / "services").iterdir())
    dev = org / "environments" / "dev.toml"
    text = dev.read_text()
    for name in names:
        table = f"[services.{name}]\n"
        text = text if table in text else f"{text}\n{table}"
        text = text.replace(table, f'{table}MIN_HEALTHY = "0s"\n')
    dev.write_text(text)


def tree(folder: Path) -> dict:
    """Every file, folder and link below a folder with its size and time of change."""
    found = {}
    for path in sorted(folder.rglob("*")):
        status = path.lstat()
        found[os.fspath(path)] = (status.st_size, status.st_mtime_ns, status.st_ino)
    return found


class Team:
    """Somebody with an organization, an inventory and the playbooks."""

    def __init__(self, folder: Path, inventories: list[Path]) -> None:
        self.folder = folder
        self.orgs = folder / "orgs"
        self.org = self.orgs / "acme"
        self.inventories = inventories
        self.secrets = {"API_TOKEN": "first-token"}
        self.variables: dict[str, object] = {}
        copy_example(self.org)

    def command(self, name: str, *options: str, **variables: object) -> list[str]:
        """The command line that runs a playbook."""
        extra = {
            "tetra_org": "acme", "tetra_orgs_dir": os.fspath(self.orgs),
            "tetra_result_file": os.fspath(self.folder / "result.json"), **self.variables, **variables,
        }  # fmt: skip
        secrets = self.folder / "secrets.json"
        secrets.write_text(json.dumps({"tetra_secrets": self.secrets}))
        program = Path(sys.executable).with_name("ansible-playbook")
        places = [word for path in self.inventories for word in ("-i", os.fspath(path))]
        return [os.fspath(program), *places, f"playbooks/{name}.yml", "-e", json.dumps(extra), "-e", f"@{secrets}",
                *options]

    def play(self, name: str, *options: str, environment: dict | None = None, **variables: object) -> Run:
        """Run a playbook to its end."""
        result = self.folder / "result.json"
        result.unlink(missing_ok=True)
        command = self.command(name, *options, **variables)
        done = subprocess.run(command, cwd=ROOT, env={**os.environ, **(environment or {})}, capture_output=True,
                              text=True, check=False)
        found = json.loads(result.read_text()) if result.exists() else {}
        return Run(done.returncode, done.stdout + done.stderr, found)

    def push(self, *options: str, **variables: object) -> Run:
        """Push the org to dev."""
        return self.play("push", *options, tetra_env="dev", **variables)

    def promote(self, *options: str, **variables: object) -> Run:
        """Promote, from dev to staging unless told otherwise."""
        return self.play("promote", *options, **{"tetra_from": "dev", "tetra_to": "staging", **variables})

    def status(self, env: str) -> dict:
        """What the hosts of an environment run, by host."""
        return self.play("status", tetra_env=env).result["hosts"]

    def touch(self, text: str) -> None:
        """Change a file that only the API uses, so that a new bundle comes of it."""
        server = self.org / "files" / "api" / "server.py"
        server.write_text(f"{server.read_text()}# {text}\n")

    def only(self, service: str) -> None:
        """Leave one service in the org, which is healthy as soon as its check passes."""
        for path in (self.org / "services").iterdir():
            if path.stem != service:
                path.unlink()
        for path in (self.org / "environments").iterdir():
            head, _table, _rest = path.read_text().partition("[services.")
            path.write_text(f'{head}[services.{service}]\nMIN_HEALTHY = "0s"\n' if path.stem != "base" else head)
        (self.org / "org.toml").write_text('name = "acme"\n')

    def restore(self) -> None:
        """Put the org back to what it was in the beginning."""
        shutil.rmtree(self.org)
        copy_example(self.org)


class Fleet(Team):
    """The hosts of the demo inventory, in a folder and on loopback addresses of their own."""

    def __init__(self, folder: Path, network: int) -> None:
        super().__init__(folder, [folder / "inventory"])
        self.state = folder / "state"
        self.inventory = folder / "inventory"
        self.variables = {"tetra_demo_dir": os.fspath(self.state)}
        self.addresses = {host: f"127.0.{network}.{number}" for number, host in enumerate(HOSTS, 1)}
        shutil.copytree(ROOT / "inventories" / "demo", self.inventory)
        hosts = (self.inventory / "hosts.yml").read_text().replace("127.0.1.", f"127.0.{network}.")
        (self.inventory / "hosts.yml").write_text(hosts)
        self.state.mkdir()
        versions.note("this machine, supervisord", platform.python_version())

    def environment(self, host: str) -> Path:
        """The folder of the environment that a host serves."""
        return self.state / host / "orgs" / "acme" / host.partition("-")[0]

    def ask(self, host: str, port: int, path: str = "/health") -> tuple[int, str]:
        """The status and the body of a page of a host; status 0 when nothing answers."""
        return get(f"http://{self.addresses[host]}:{port}{path}")

    def lease(self, seconds: int) -> None:
        """Set how long armed hosts of this fleet wait for the next promotions."""
        policy = self.inventory / "group_vars" / "all.yml"
        policy.write_text(re.sub(r"lease: \d+s", f"lease: {seconds}s", policy.read_text()))

    def down(self) -> None:
        """Stop everything that the fleet started."""
        self.play("prepare", tsm_state="stopped")


class Servers(Team):
    """Containers that systemd starts, as hosts of the example inventory.

    :param releases: name of a host to its release of Debian.
    :param groups: environment to its hosts; without it a host is in the one that its name begins with.
    :param user: who logs in.
    """

    def __init__(
        self, folder: Path, releases: dict[str, str], groups: dict[str, list[str]] | None = None, user: str = "root"
    ) -> None:
        super().__init__(folder, [folder / "inventory", folder / "hosts" / "hosts.json"])
        self.running = containers.Hosts(folder / "hosts")
        self.hosts = self.running.up(releases, user)
        for name, host in self.hosts.items():
            versions.note(f"{releases[name]}, systemd, ssh", host.python())
        shutil.copytree(ROOT / "inventories" / "example", folder / "inventory")
        groups = groups or {env: [name for name in releases if name.startswith(env)] for env in _ENVIRONMENTS}
        local = {"ansible_connection": "local", "ansible_become": False,
                 "ansible_python_interpreter": "{{ ansible_playbook_python }}"}
        text = {"all": {"hosts": {"localhost": local},
                        "children": {env: {"hosts": dict.fromkeys(names)} for env, names in groups.items()}}}
        (folder / "inventory" / "hosts.yml").write_text(json.dumps(text))

    def policy(self, env: str, **terms: object) -> None:
        """Set terms of an environment for the next runs."""
        path = self.folder / "inventory" / "group_vars" / "all.yml"
        record = yaml.safe_load(path.read_text())
        record["tetra_environments"][env].update(terms)
        path.write_text(yaml.safe_dump(record))

    def ask(self, host: str, port: int, path: str = "/health") -> tuple[int, str]:
        """The status and the body of a page of a host; status 0 when nothing answers."""
        return get(f"http://{self.hosts[host].address}:{port}{path}")

    def transactions(self, name: str) -> Path:
        """The folder of the transactions of a production host, as this machine sees it until the host restarts."""
        return self.hosts[name].root() / "var/lib/tetra/orgs/acme/prod/tx"

    def open_in_prod(self, name: str) -> str:
        """The state of the transaction that is open on a production host; empty when there is none."""
        states = [file.rpartition(".")[2] for file in os.listdir(self.transactions(name))]
        return next((state for state in states if state in transaction.OPEN), "")

    def down(self) -> None:
        """End the containers."""
        self.running.down()


@pytest.fixture(scope="module")
def fleet(tmp_path_factory, request) -> Iterator[Fleet]:
    """A prepared fleet, one for each file of tests."""
    made = Fleet(tmp_path_factory.mktemp("fleet"), request.module.NETWORK)
    try:
        prepared = made.play("prepare")
        assert prepared.code == 0, prepared.output
        yield made
    finally:
        made.down()


@pytest.fixture(scope="module")
def promoted(fleet) -> Fleet:
    """A fleet on which the example organization went from dev to staging."""
    for run in (fleet.push(), fleet.promote()):
        assert run.outcome == "applied", run.output
    return fleet


def pytest_collection_modifyitems(items) -> None:
    """Let the files begin that take longest, or one of them still runs when all others have ended."""
    places = {name: number for number, name in enumerate(_LONGEST)}
    items.sort(key=lambda item: places.get(item.path.stem, len(places)))


def pytest_configure(config) -> None:
    """Make the marker known by which a test counts in the table of the guarantees."""
    config.addinivalue_line("markers", "guarantee(row): this test is a case of a row of tests/system/guarantees.py")


def pytest_sessionstart(session) -> None:
    """Forget what earlier tests told; a worker of pytest-xdist has nothing to forget."""
    if not hasattr(session.config, "workerinput"):
        versions.forget()
        guarantees.forget()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """Count a case of a guarantee: it held when its test passed."""
    report = yield
    if call.when == "call":
        for marker in item.iter_markers("guarantee"):
            guarantees.tell(marker.args[0], 1, int(report.passed))
    return report


def pytest_terminal_summary(terminalreporter) -> None:
    """Show which versions the tests ran on."""
    table = versions.table()
    if table:
        terminalreporter.section("versions")
        terminalreporter.write_line(table)
