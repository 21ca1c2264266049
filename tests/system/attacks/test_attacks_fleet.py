# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hosts that are in the hands of somebody else, beside honest ones: journals that were edited, and answers that are
nearly true.
"""

from __future__ import annotations

import collections
import contextlib
import copy
import dataclasses
import json
import os
import random
import subprocess
import types
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
from ansible.utils.display import Display
from ansible_collections.tetra.platform.plugins.action import (
    deploy_diff,
    deploy_drift,
    deploy_health,
    deploy_history,
    deploy_logs,
    deploy_plan,
    deploy_ports,
    deploy_pull,
    deploy_recovery,
    deploy_status,
)
from ansible_collections.tetra.platform.plugins.module_utils.model import canonical, fleet, history
from ansible_collections.tetra.platform.plugins.module_utils.model import journal as chain
from ansible_collections.tetra.platform.plugins.module_utils.model.errors import TetraError
from ansible_collections.tetra.platform.plugins.plugin_utils import answers

from .. import guarantees
from ..conftest import LONG, ROOT, Fleet

NETWORK = 90
LIAR, HONEST = "staging-2", "staging-1"
ODD = 'one\ntwo {"seq":9,"hash":"x"} \x1b[2J\u202e'
SEED = 20261128
ANSWERS = 8000 if LONG else 250


def ask(fleet: Fleet, host: str, operation: str, **request: object) -> dict:
    """What the agent of a host answers."""
    folder = fleet.state / host
    whole = {"tetra_dir": os.fspath(folder), "org": "acme", "env": host.partition("-")[0], "check": False, **request}
    done = subprocess.run([folder / "bin" / "tsm", "run", operation], input=json.dumps(whole), capture_output=True,
                          text=True, check=True)
    return answers.result(operation, answers.decode(done.stdout)["result"])


@pytest.fixture(scope="module")
def odd(promoted) -> Fleet:
    """A fleet with a second promotion, whose reason is odd."""
    promoted.touch("odd")
    assert promoted.push().outcome == "applied"
    assert promoted.promote(tetra_reason=ODD).outcome == "applied"
    return promoted


def doubted(fleet: Fleet) -> list[history.Doubt]:
    """What the controller makes of the journals of staging."""
    told = {host: ask(fleet, host, "journal_info") for host in (HONEST, LIAR)}
    return history.doubts({host: deploy_history._journal(one) for host, one in told.items()})


@contextlib.contextmanager
def written(fleet: Fleet, lines: list[bytes]) -> Iterator[None]:
    """The journal of the liar says something else for a while."""
    path = fleet.environment(LIAR) / "journal.jsonl"
    before = path.read_bytes()
    path.write_bytes(b"".join(lines))
    try:
        yield
    finally:
        path.write_bytes(before)


def anew(lines: list[bytes], first: int, **changes: str) -> list[bytes]:
    """A journal with a true chain, which tells another story from one record on."""
    records: list[dict] = []
    for number, line in enumerate(lines):
        payload = {key: value for key, value in json.loads(line).items() if key not in chain._OWN}
        payload.update(changes if number >= first else {})
        records.append(chain.append(records[-1] if records else None, payload))
    return [canonical.dumps(record).encode() + b"\n" for record in records]


def forged(lines: list[bytes]) -> bytes:
    """A record with the right number and no right hash."""
    last = json.loads(lines[-1])
    return canonical.dumps({**last, "seq": last["seq"] + 1, "prev": last["hash"]}).encode() + b"\n"


# What becomes of a journal, and the first record that cannot be trusted then.
EDITS: dict[str, tuple[Callable[[list[bytes]], list[bytes]], int]] = {
    "A20-one-letter": (lambda lines: [lines[0].replace(b"promote", b"promotE"), *lines[1:]], 1),
    "A20-first-record-deleted": (lambda lines: lines[1:], 1),
    "A20-records-swapped": (lambda lines: lines[::-1], 1),
    "A20-end-cut-off": (lambda lines: lines[:-1], 2),
    "A20-all-deleted": (lambda lines: [], 1),
    "A20-record-forged": (lambda lines: [*lines, forged(lines)], 3),
    "A20-record-twice": (lambda lines: [lines[0], lines[0], *lines[1:]], 2),
    "A20-key-twice": (lambda lines: [lines[0].replace(b"{", b'{"actor":"nobody",', 1), *lines[1:]], 1),
    "A20-line-that-is-no-record": (lambda lines: [lines[0], b"true\n", *lines[1:]], 2),
    "A20-nested-without-end": (lambda lines: [lines[0], b"[" * 100_000 + b"\n"], 2),
    "A20-written-anew-from-the-start": (lambda lines: anew(lines, 0, actor="nobody"), 1),
    "A20-first-record-written-anew-alone": (lambda lines: [*anew(lines, 0, actor="nobody")[:1], *lines[1:]], 1),
    "A20-last-record-written-anew": (lambda lines: anew(lines, 1, to="0" * 64), 3),
    "A20-fork": (lambda lines: anew(lines, 1, transaction="20260101t000000-00000000"), 3),
}  # fmt: skip


@pytest.mark.guarantee("A20")
@pytest.mark.parametrize("name", EDITS)
def test_a_journal_that_was_edited_is_named_with_the_record(odd, name):
    edit, seq = EDITS[name]
    lines = (odd.environment(LIAR) / "journal.jsonl").read_bytes().splitlines(keepends=True)
    assert len(lines) == 2
    assert doubted(odd) == []
    with written(odd, edit(lines)):
        found = [(doubt.host, doubt.seq) for doubt in doubted(odd)]
    # Of two stories that contradict each other nobody can say which one is true.
    both = [(HONEST, 3)] if name == "A20-fork" else []
    assert found == [*both, (LIAR, seq)]


@pytest.mark.guarantee("A20")
@pytest.mark.parametrize("name", ["A20-all-from-a-backup"])
def test_a_host_that_was_put_back_as_a_whole_is_named(odd, name):
    lines = (odd.environment(LIAR) / "journal.jsonl").read_bytes().splitlines(keepends=True)
    current = odd.environment(LIAR) / "current"
    before = os.readlink(current)
    with written(odd, lines[:1]):
        current.unlink()
        current.symlink_to(f"releases/{json.loads(lines[0])['to']}")
        found = doubted(odd)
        current.unlink()
        current.symlink_to(before)
    assert [(doubt.host, doubt.seq) for doubt in found] == [(LIAR, 2)]
    assert f"{HONEST} confirmed with it" in found[0].reason


@pytest.mark.guarantee("A20")
@pytest.mark.parametrize("name", ["A20-line-ends-and-records-in-a-reason"])
def test_what_a_person_writes_stays_one_record(odd, name):
    lines = (odd.environment(LIAR) / "journal.jsonl").read_bytes().splitlines()
    assert json.loads(lines[1])["reason"] == ODD
    run = odd.play("history", tetra_env="staging")
    assert (run.outcome, len(run.result["entries"])) == ("unchanged", 2), run.output
    assert not set(run.output) & {"\x1b", "\u202e"}


@pytest.mark.guarantee("A20")
@pytest.mark.parametrize("name", ["A20-history-of-a-forged-record"])
def test_the_history_of_an_environment_fails_where_one_journal_was_edited(odd, name):
    lines = (odd.environment(LIAR) / "journal.jsonl").read_bytes().splitlines(keepends=True)
    with written(odd, [*lines, forged(lines)]):
        run = odd.play("history", tetra_env="staging")
    assert (run.outcome, run.code != 0) == ("refused", True)
    assert f"{LIAR}: the journal cannot be trusted from record 3 on" in run.output


def test_nothing_is_promoted_to_a_fleet_of_which_one_host_lies(odd):
    guarded = {host: os.readlink(odd.environment(host) / "current") for host in (HONEST, LIAR)}
    agent = Path(os.path.realpath(odd.state / LIAR / "bin" / "tsm"))
    true = agent.read_bytes()
    odd.touch("never")
    assert odd.push().outcome == "applied"
    lie = {**ask(odd, LIAR, "release_info", secrets=odd.secrets), "epoch": "many", "ansible_facts": {"x": 1}}
    before = sorted(os.listdir(odd.environment(HONEST) / "tx"))
    temporary = agent.with_name("liar")
    temporary.write_text(f"#!/bin/sh\ncat > /dev/null\ncat <<'END'\n{json.dumps({'result': lie})}\nEND\n")
    temporary.chmod(0o755)
    temporary.rename(agent)
    try:
        run = odd.promote()
    finally:
        temporary.write_bytes(true)
        temporary.chmod(0o755)
        temporary.rename(agent)
    assert run.outcome == "refused", run.output
    assert f"{LIAR}: what came is no answer to release_info: epoch is 'many', not a whole number" in run.output
    assert sorted(os.listdir(odd.environment(HONEST) / "tx")) == before
    assert {host: os.readlink(odd.environment(host) / "current") for host in (HONEST, LIAR)} == guarded
    assert odd.promote().outcome == "applied"


# What somebody may put in the place of any part of an answer.
POISON = [None, True, -1, 0, 2**70, 1.5, "", "x", "../../etc", ODD, "\ud800", "a" * 64, [], {}, [None], {"a": 1}, [[]],
          "0" * 64, {"var": 1}, "2026", "{{ x }}"]
EDITED = {
    "files": [
        {"path": "files/api/server.py", "entry": {"type": "file", "sha256": "a" * 64, "size": 3, "executable": True},
         "data": "YWJj", "before": None},
        {"path": "templates/report.ini", "entry": {"type": "file", "sha256": "a" * 64, "size": 3, "executable": False},
         "data": "YWJj", "before": "YWI="},
        {"path": "files/api/link", "entry": {"type": "link", "target": "server.py"}, "data": None, "before": None},
        {"path": "files/site/server.py", "entry": None, "data": None, "before": None},
    ],
    "settings": {"api": {"TSM_MEMORY_LIMIT": "64M", "LEVEL": "debug"}}, "stopped": {"site": True, "worker": False},
    "left": [{"what": "unit of api", "why": "Nice=3"}],
}  # fmt: skip
INVENTORY = {"groups": {"staging": [HONEST, LIAR]}, "tetra_environments": {"dev": {}, "staging": {}}}
NAMES = ["x", "../x", ODD, "a" * 64, "add_host"]
# Operation to the variable that its answer is registered as, and to the actions that read it, each with what it is for.
READERS: Mapping[str, tuple[str, list]] = {
    "release_info": ("tetra_observed", [
        (deploy_plan, "promote"), (deploy_plan, "push"), (deploy_plan, "rollback"), (deploy_plan, "resume"),
        (deploy_status, "status"), (deploy_drift, "drift"), (deploy_recovery, "resume"), (deploy_recovery, "abort"),
        (deploy_diff, "diff")]),
    "journal_info": ("tetra_journal", [(deploy_history, "history")]),
    "tsm_service_info": ("tetra_services", [(deploy_logs, "logs")]),
    "health_check": ("health_checked", [(deploy_health, "health")]),
    "port_registry_info": ("tetra_ports", [(deploy_ports, "ports")]),
    "deploy_pack": ("tetra_pack", [(deploy_plan, "promote"), (deploy_plan, "resume")]),
    "deploy_edits": ("tetra_edits", [(deploy_pull, "pull")]),
}  # fmt: skip


def places(value: object, path: tuple = ()) -> Iterator[tuple]:
    """The paths of all parts of some data."""
    yield path
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in pairs:
        yield from places(part, (*path, key))


def poisoned(chance: random.Random, answer: dict) -> dict:
    """An answer of which some parts are gone, called otherwise, swapped, or something else."""
    result = copy.deepcopy(answer)
    for _number in range(chance.choice([1, 1, 1, 2, 4])):
        path = chance.choice([one for one in places(result) if one] or [("changed",)])
        within = result
        for key in path[:-1]:
            within = within[key]
        how = chance.random()
        if how < 0.2:
            del within[path[-1]]
        elif how < 0.3 and isinstance(within, dict):
            within[chance.choice(NAMES)] = within.pop(path[-1])
        else:
            within[path[-1]] = copy.deepcopy(chance.choice(POISON))
        if not result:
            break
    return result


def action(module: types.ModuleType, arguments: dict) -> object:
    """An action as Ansible makes it, in check mode and with a diff."""
    made = module.ActionModule.__new__(module.ActionModule)
    made._task = types.SimpleNamespace(args=arguments, check_mode=True, diff=True)
    made._templar = types.SimpleNamespace(template=lambda value: value)
    return made


def request(what: str) -> dict:
    """What ``deploy_request`` would give."""
    comes_from = "dev" if what in ("promote", "diff") else None
    return {
        "action": what, "org": "acme", "env": "staging", "source": comes_from, "hosts": [HONEST, LIAR],
        "target_hosts": [HONEST, LIAR], "source_hosts": ["dev-1"] if comes_from else [],
        "directory": os.fspath(ROOT / "examples" / "orgs" / "acme"), "manifests": ["current"], "removing": None,
        "release": "", "resolve": "report", "transaction": "t", "port_range": "4200-4299", "protected": False,
        "aliases": {},
        "fleet": dataclasses.asdict(fleet.Terms()), "terms": {"lift_hold": "", "actor": "a", "reason": ""},
    }  # fmt: skip


def registered(true: Mapping[str, Mapping[str, dict]], host: str, secrets: dict) -> dict:
    """The variables of an honest host after every question was put to it."""
    found = {variable: copy.deepcopy(true[operation][host]) for operation, (variable, _readers) in READERS.items()}
    source = {"tetra_source_observed": copy.deepcopy(true["release_info"][host])}
    fetched = {"tetra_blobs": {"folder": "/nowhere"}}
    return {"group_names": ["staging"], "tetra_secrets": secrets, **found, **source, **fetched}


def test_answers_that_are_nearly_true_are_refused_or_understood(odd, monkeypatch):
    said: list[str] = []
    monkeypatch.setattr(Display, "display", lambda _self, message, *_more, **_options: said.append(str(message)))
    more = {"release_info": {"secrets": odd.secrets, "manifests": ["current"]}, "tsm_service_info": {"log_lines": 3},
            "deploy_pack": {"rendered": True}}
    true = {operation: {host: ask(odd, host, operation, **more.get(operation, {})) for host in ("dev-1", HONEST, LIAR)}
            for operation in READERS}
    true["deploy_edits"][LIAR] |= EDITED
    chance, counted, wrong = random.Random(SEED), collections.Counter(), []
    for number in range(ANSWERS):
        operation = chance.choice(list(READERS))
        host = chance.choice([LIAR, "dev-1"]) if operation in ("release_info", "deploy_pack") else LIAR
        try:
            text = json.dumps({"result": poisoned(chance, true[operation][host])})
            lie = answers.result(operation, answers.decode(text)["result"])
        except (TetraError, ValueError):
            counted["no answer"] += 1
            continue
        variables = {name: registered(true, name, odd.secrets) for name in ("dev-1", HONEST, LIAR)}
        variables[host][READERS[operation][0]] = lie
        if operation == "release_info":
            variables[host]["tetra_source_observed"] = lie
        for module, what in READERS[operation][1]:
            origin = {"promote": "dev-1", "resume": LIAR if operation == "deploy_pack" else HONEST,
                      "pull": LIAR}.get(what, "")
            phase = "origin" if what == "resume" else "settle"
            arguments = {"request": request(what), "origin": origin, "phase": phase, "lines": 20}
            said.clear()
            try:
                canonical.dumps(action(module, arguments).work({"hostvars": variables, **INVENTORY}))
                counted["understood"] += 1
            except TetraError:
                counted["refused"] += 1
            except Exception as error:  # Whatever else it is, people would see a traceback.
                wrong.append((SEED, number, operation, what, repr(error)))
            if any(not sign.isprintable() and sign != "\n" for line in said for sign in line):
                wrong.append((SEED, number, operation, what, "a terminal would obey it"))
    print(f"{ANSWERS} answers that are nearly true: {dict(counted)}")
    held = ANSWERS - len({number for _seed, number, *_rest in wrong})
    guarantees.tell("A15", ANSWERS, held, f"{ANSWERS} answers that are nearly true")
    assert wrong == []
    assert min(counted.values()) > 0 and len(counted) == 3
