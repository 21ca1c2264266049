# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Organizations that somebody wrote to do harm, on both versions of ansible-core: this one, and that of Debian 13.

Each case is validated by the action itself, its words then go through tasks of Ansible, and one organization full of
such text is pushed. What did not happen is a file that each attack would make; that it could is shown with a playbook
that loads the same text as variables.
"""

from __future__ import annotations

import dataclasses
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path

import containers
import pytest
import versions

from ..conftest import ROOT
from ..test_versions import HOST, ansible, furnish
from . import attacks

NETWORK = 88
CORES = ("2.19", "2.21")
# What reading one file may take: memory in MiB beyond that of the reader, and seconds of the processor.
MEMORY, SECONDS = 200, 2

ENVIRONMENTS = {"dev": {"hosts": "all", "port_range": "4100-4199"}}
# The words of each attack go through everything that a playbook does with a registered result.
VALIDATE = [{
    "hosts": "localhost", "gather_facts": False, "tasks": [
        {"tetra.platform.deploy_validate": {}, "vars": {"tetra_org": "{{ item }}"}, "loop": "{{ names }}",
         "register": "told", "failed_when": False},
        {"ansible.builtin.debug": {"msg": "{{ told.results | map(attribute='message') | list }}"}},
        {"ansible.builtin.assert": {"that": "told.results | map(attribute='message') | select | list | length > 0"}},
        {"ansible.builtin.fail": {"msg": "{{ told.results | map(attribute='message') | join(' ') }}"},
         "ignore_errors": True},
        {"ansible.builtin.copy": {"content": "{{ told.results | to_json }}", "dest": "{{ answer }}"}},
    ],
}]  # fmt: skip
# Which organization and environment are asked for, by people and by other systems.
REQUEST = [{
    "hosts": "localhost", "gather_facts": False, "tasks": [
        {"tetra.platform.deploy_request": {"action": "{{ item.action | default('push') }}"}, "loop": "{{ asked }}",
         "vars": {"tetra_org": "{{ item.org | default('acme') }}", "tetra_env": "{{ item.env | default('dev') }}",
                  "tetra_orgs_dir": "{{ item.orgs | default('/nowhere') }}",
                  "tetra_host": "{{ item.host | default('x') }}",
                  "tetra_from": "{{ item.source | default('dev') }}", "tetra_to": "staging"},
         "register": "told", "failed_when": False},
        {"ansible.builtin.debug": {"msg": "{{ told.results | map(attribute='message', default='') | list }}"}},
        {"ansible.builtin.copy": {"content": "{{ told.results | to_json }}", "dest": "{{ answer }}"}},
    ],
}]  # fmt: skip
# Hosts whose agents lie; what is registered of them goes to the next tasks, which would meet new variables.
LISTEN = [{
    "hosts": "all", "gather_facts": False, "tasks": [
        {"tetra.platform.health_check": {"org": "acme", "env": "dev"}, "register": "told", "failed_when": False},
        {"ansible.builtin.debug": {"var": "told"}},
        {"ansible.builtin.copy": {"content": "{{ heard | to_json }}", "dest": "{{ answer }}"}, "run_once": True,
         "delegate_to": "truth",
         "vars": {"heard": {
             "told": "{{ dict(groups.all | zip(groups.all | map('extract', hostvars, 'told'))) }}",
             "hosts": "{{ groups.all }}",
             "connections": "{{ groups.all | map('extract', hostvars, 'ansible_connection') | unique }}",
             "new": "{{ groups.all | map('extract', hostvars) | selectattr('injected', 'defined') | list | length }}",
         }}},
    ],
}]  # fmt: skip
# The same text as a variable of Ansible is a template, and runs.
CONTROL = [{"hosts": "localhost", "gather_facts": False, "vars_files": ["text.yml"],
            "tasks": [{"ansible.builtin.debug": {"var": "text"}}]}]
COST = """
import json, os, resource, sys, time
from pathlib import Path
from ansible_collections.tetra.platform.plugins.module_utils.model import policy
from ansible_collections.tetra.platform.plugins.plugin_utils import validation
folder, *names = sys.argv[1:]
environments = policy.environments({"dev": {}}, {"dev"})
costs = {}
for name in names:
    ours, theirs = os.pipe()
    if os.fork() == 0:
        before = resource.getrusage(resource.RUSAGE_SELF)
        validation.validate(os.path.join(folder, name), name, environments, {})
        after = resource.getrusage(resource.RUSAGE_SELF)
        cost = [(after.ru_maxrss - before.ru_maxrss) >> 10, after.ru_utime - before.ru_utime]
        os.write(theirs, json.dumps(cost).encode())
        os._exit(0)
    os.close(theirs)
    costs[name] = json.loads(os.read(ours, 4096) or "null")
    os.wait()
print(json.dumps(costs))
"""


@dataclasses.dataclass
class Controller:
    """Where an ansible-core is: its folder with the attacks, and how a program and a playbook run there."""

    folder: str
    playbook: Callable[..., str]
    python: Callable[[str, list[str]], str]
    read: Callable[[str], str]

    def canaries(self) -> list[str]:
        """The names of the files that attacks have made."""
        return json.loads(self.python("import json, os, sys; print(json.dumps(os.listdir(sys.argv[1])))",
                                      [f"{self.folder}/canaries"]))


@pytest.fixture(scope="module")
def newest(tmp_path_factory) -> Iterator[containers.Host]:
    """A host of Debian 13 that is its own controller."""
    folder = tmp_path_factory.mktemp("newest")
    running = containers.Hosts(folder / "hosts")
    try:
        made = running.up({HOST: "trixie"})[HOST]
        furnish(made, folder)
        asked = "import ansible, sys; print(ansible.__version__, sys.version.split()[0])"
        core, python = made.run(f"PYTHONPATH=/opt/ansible python3 -c '{asked}'").split()
        versions.note("trixie, systemd, local", made.python(), core, python)
        assert core.startswith(CORES[1]) and metadata.version("ansible-core").startswith(CORES[0])
        yield made
    finally:
        running.down()


def here(folder: Path) -> Controller:
    """This machine as a controller."""

    def playbook(name: str, variables: dict, inventory: str = "localhost,") -> str:
        program = Path(sys.executable).with_name("ansible-playbook")
        command = [program, "-i", inventory, "-c", "local", folder / name, "-e", json.dumps(variables)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, errors="surrogateescape", check=False)
        return done.stdout + done.stderr

    def python(script: str, words: list[str]) -> str:
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        done = subprocess.run([sys.executable, "-c", script, *words], env=environment, capture_output=True, text=True,
                              check=True)
        return done.stdout

    return Controller(os.fspath(folder), playbook, python, lambda path: Path(path).read_text())


def there(host: containers.Host, folder: str) -> Controller:
    """The newest ansible-core in its container."""

    def playbook(name: str, variables: dict, inventory: str = "localhost,") -> str:
        words = f"playbook -i {inventory} -c local {folder}/{name} -e @{folder}/variables.json"
        host.run(f"cat > {folder}/variables.json", data=json.dumps(variables))
        return ansible(host, f"{words} || true")

    def python(script: str, words: list[str]) -> str:
        host.run(f"cat > {folder}/script.py", data=script)
        return host.run(f"PYTHONPATH=/opt/ansible:/opt/collections python3 {folder}/script.py {shlex.join(words)}")

    return Controller(folder, playbook, python, lambda path: host.run(f"cat {path}"))


def write(folder: Path, place: str) -> None:
    """Everything that a controller is given, which has it in a place: the attacks, and the playbooks."""
    (folder / "canaries").mkdir(parents=True)
    for attack in attacks.ALL:
        attack.write(folder / "orgs", Path(place, "canaries"))
    for name, content in {"validate": VALIDATE, "control": CONTROL, "request": REQUEST, "listen": LISTEN}.items():
        (folder / f"{name}.yml").write_text(json.dumps(content))
    for lie in attacks.LIES:
        lie.write(folder / "liars")
    text = attacks.LOOKUP.replace(attacks.CANARY, f"{place}/canaries/control")
    (folder / "text.yml").write_text(json.dumps({"text": text}))


@pytest.fixture(scope="module")
def controllers(newest, tmp_path_factory) -> dict[str, Controller]:
    """Both, by the version of their ansible-core."""
    folder = tmp_path_factory.mktemp("attacks")
    for name, place in (("here", os.fspath(folder / "here")), ("there", "/opt/attacks")):
        write(folder / name, place)
    newest.run("mkdir -p /opt/attacks")
    archive = subprocess.run(["tar", "-C", folder / "there", "-c", "."], capture_output=True, check=True).stdout
    subprocess.run(["docker", "exec", "-i", newest.container, "tar", "-C", "/opt/attacks", "-x"], input=archive,
                   check=True)
    return {CORES[0]: here(folder / "here"), CORES[1]: there(newest, "/opt/attacks")}


@pytest.fixture(scope="module")
def told(controllers) -> dict[str, dict[str, dict]]:
    """What each core made of each attack: core to organization to its result."""
    names = [attack.org for attack in attacks.ALL]
    found = {}
    for core, controller in controllers.items():
        answer = f"{controller.folder}/answer.json"
        output = controller.playbook("validate.yml", {
            "names": names, "answer": answer, "tetra_environments": ENVIRONMENTS,
            "tetra_orgs_dir": f"{controller.folder}/orgs",
            "ansible_python_interpreter": "{{ ansible_playbook_python }}",
        })  # fmt: skip
        assert "Traceback" not in output, output[-3000:]
        assert not set(output) & {"\x1b", "\u202e", "\u200b"}, "a terminal would obey this"
        results, canaries = json.loads(controller.read(answer)), controller.canaries()
        found[core] = {name: {**result, "canary": name in canaries}
                       for name, result in zip(names, results, strict=True)}
    return found


def cases() -> list:
    """Each attack on each core."""
    return [pytest.param(attack, core, id=f"{attack.name}-{core}", marks=pytest.mark.guarantee(attack.row))
            for core in CORES for attack in attacks.ALL]  # fmt: skip


@pytest.mark.parametrize(("attack", "core"), cases())
def test_what_an_organization_says_stays_text_or_is_refused(told, attack, core):
    result = told[core][attack.org]
    said = "\n".join(f"{one['file']}:{one['line']}:{one['column']}: {one['message']} ({one['hint']})"
                     for one in result["environments"]["dev"]["findings"])
    assert [word for word in attack.said if word not in said] == [], said
    assert result["outcome"] == ("invalid" if attack.said else "unchanged"), said
    assert not result["canary"]


def test_both_cores_say_the_same(told):
    texts = {core: json.dumps(found).replace("/opt/attacks", "FOLDER") for core, found in told.items()}
    first, second = (json.loads(text) for text in texts.values())
    assert {name for name in first if first[name]["outcome"] != second[name]["outcome"]} == set()


@pytest.mark.parametrize("core", CORES)
def test_the_same_text_as_a_variable_of_ansible_runs(controllers, core):
    controller = controllers[core]
    output = controller.playbook("control.yml", {})
    assert controller.canaries() == ["control"], output


@pytest.mark.guarantee("A12")
@pytest.mark.parametrize("core", CORES)
def test_what_is_large_costs_little(controllers, core):
    controller = controllers[core]
    names = [attack.org for attack in attacks.LARGE]
    costs = json.loads(controller.python(COST, [f"{controller.folder}/orgs", *names]))
    most = {name: cost for name, cost in costs.items() if not cost or cost[0] > MEMORY or cost[1] > SECONDS}
    memory, seconds = (max(cost[index] for cost in costs.values()) for index in (0, 1))
    print(f"{core}: {len(costs)} large files took at most {memory} MiB and {seconds:.1f} s")
    assert most == {}


@pytest.fixture(scope="module")
def asked(controllers) -> dict[str, dict[str, dict]]:
    """What each core says to whom asks for something odd: core to case to result."""
    found = {}
    for core, controller in controllers.items():
        answer = f"{controller.folder}/asked.json"
        cases = [{key: text.replace(attacks.CANARY, f"{controller.folder}/canaries/asked") for key, text in one.items()}
                 for one, _said in attacks.REQUESTS.values()]
        output = controller.playbook("request.yml", {
            "asked": cases, "answer": answer,
            "tetra_environments": {"dev": {"hosts": "all"}, "staging": {"hosts": "all", "promotes_from": "dev"}},
            "ansible_python_interpreter": "{{ ansible_playbook_python }}",
        })  # fmt: skip
        assert "Traceback" not in output, output[-3000:]
        found[core] = dict(zip(attacks.REQUESTS, json.loads(controller.read(answer)), strict=True))
        assert "asked" not in controller.canaries()
    return found


@pytest.mark.guarantee("A14")
@pytest.mark.parametrize("core", CORES)
@pytest.mark.parametrize("name", attacks.REQUESTS)
def test_a_name_is_no_option_no_path_and_no_address(asked, name, core):
    result = asked[core][name]
    assert result.get("outcome") in ("invalid", "refused"), result
    assert attacks.REQUESTS[name][1] in result["message"], result


@pytest.fixture(scope="module")
def heard(controllers) -> dict[str, dict]:
    """What each core made of hosts that lie."""
    found = {}
    for core, controller in controllers.items():
        answer = f"{controller.folder}/heard.json"
        hosts = {lie.name: lie.variables(f"{controller.folder}/liars") for lie in attacks.LIES}
        inventory = f"{controller.folder}/hosts.json"
        controller.python("import sys; open(sys.argv[1], 'w').write(sys.argv[2])", [inventory, json.dumps({
            "all": {"hosts": hosts}})])
        output = controller.playbook("listen.yml", {"answer": answer}, inventory)
        assert "Traceback" not in output, output[-3000:]
        assert not set(output) & {"\x1b", "\u202e"}, "a terminal would obey this"
        found[core] = json.loads(controller.read(answer))
    return found


@pytest.mark.guarantee("A15")
@pytest.mark.parametrize("core", CORES)
@pytest.mark.parametrize("lie", attacks.LIES, ids=lambda lie: lie.name)
def test_what_a_host_makes_up_changes_nothing_on_the_controller(heard, lie, core):
    told = heard[core]["told"][lie.name]
    if lie.said:
        assert (told["failed"], told["code"]) == (False, "unconfirmed"), "failed_when is what makes it false"
        assert lie.said in told["msg"], told
        assert len(json.dumps(told)) < 3000
    else:
        assert told["checks"]["api"] == {"check": "http", "detail": lie.detail, "ok": True}
        assert set(told) <= {"changed", "failed", "failed_when_result", "checks", "healthy", "warnings"}
    assert heard[core]["hosts"] == [one.name for one in attacks.LIES]
    assert heard[core]["connections"] == ["local"]
    assert heard[core]["new"] == 0
