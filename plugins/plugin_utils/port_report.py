# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the hosts of an environment told of its ports: who listens there, what is in conflict, and how a run ended."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

from ansible_collections.tetra.platform.plugins.module_utils.model import listing, table, transaction
from ansible_collections.tetra.platform.plugins.module_utils.model.errors import Finding, TetraError
from ansible_collections.tetra.platform.plugins.module_utils.model.ports import conflicts as ports_conflicts
from ansible_collections.tetra.platform.plugins.module_utils.model.ports import endpoints
from ansible_collections.tetra.platform.plugins.module_utils.model.ports import names as port_names
from ansible_collections.tetra.platform.plugins.module_utils.model.ports.endpoints import Selection
from ansible_collections.tetra.platform.plugins.module_utils.model.ports.registry import PortValue, Registry
from ansible_collections.tetra.platform.plugins.module_utils.model.ports.space import HostPorts, Space
from ansible_collections.tetra.platform.plugins.module_utils.model.release import MAIN_PORT

Answers = Mapping[str, Mapping[str, Any]]
"""Host to what it answered to one task; empty where there is no answer."""

_NOTHING = type(None)
_FINDING: Mapping[str, Any] = {
    "severity": str, "code": str, "message": str, "file": str, "line": int, "column": int, "hint": str,
}  # fmt: skip
_LISTENER: Mapping[str, Any] = {
    "address": str, "port": int, "protocol": str, "state": str, "ipv6_only": bool, "pid": (int, _NOTHING),
    "command": str, "unit": str, "container": str, "owner": (str, _NOTHING),
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Host:
    """What one host told.

    ``outcome`` is what it makes of the run; ``problems`` says why something is not known or was not done. ``ports``
    are those of the environment by key, None when the host did not tell; ``listeners`` says who listens on each.
    """

    outcome: str
    changed: bool
    problems: list[str]
    ports: Mapping[str, PortValue] | None = None
    listeners: Mapping[str, list[dict[str, Any]]] = dataclasses.field(default_factory=dict)
    findings: list[Finding] = dataclasses.field(default_factory=list)

    def to_wire(self) -> dict[str, Any]:
        """The host as the result of a run has it."""
        wire = {"changed": self.changed, "findings": [one.to_wire() for one in self.findings],
                "listeners": dict(self.listeners)}
        return {**wire, "message": "\n".join(self.problems)} if self.problems else wire


@dataclasses.dataclass(frozen=True)
class Report:
    """What all hosts told: ``ports`` as the filter resolve_ports gives them, ``conflicts`` between hosts."""

    outcome: str
    message: str
    hosts: Mapping[str, Host]
    ports: list[dict[str, Any]]
    conflicts: list[Finding]


def report(request: Mapping[str, Any], looked: Answers, resolved: Answers, check: bool) -> Report:
    """Add up what the hosts of an environment answered.

    :param request: the result of ``deploy_request``.
    :param looked: what ``port_registry_info`` answered, and ``resolved`` what ``port_registry`` did, if it was asked.
    :param check: whether nothing was written.
    """
    owner = f"{request['org']}/{request['env']}"
    asked = request["resolve"] != port_names.REPORT
    hosts = {name: _host(name, looked[name], resolved[name] if asked else None, owner)
             for name in request["target_hosts"]}
    telling = {name: host.ports for name, host in hosts.items() if host.ports is not None}
    registries = {name: Registry(owned={owner: ports}) for name, ports in telling.items()}
    conflicts = [one.finding("") for one in ports_conflicts.between_hosts(registries, owner)]
    refused = conflicts if request["resolve"] == port_names.FAIL else []
    return Report(
        _outcome(hosts.values(), bool(refused), check),
        "\n".join([*_problems(hosts), *map(_line, refused)]) or _done(request, hosts, check),
        hosts,
        endpoints.endpoints({name: looked[name] for name in telling}, Selection(request["org"], request["env"]), {}),
        conflicts,
    )


def shown(report: Report) -> str:
    """A report for a person: a table of the ports, then what is wrong."""
    rows = [["SERVICE", "NAME", "PORT", "PROTOCOL", "HOST", "ADDRESS", "LISTENS NOW"]]
    for one in report.ports:
        key = one["service"] if one["name"] == MAIN_PORT else f"{one['service']}/{one['name']}"
        listening = ", ".join(map(listing.listener, report.hosts[one["host"]].listeners.get(key, ()))) or "nobody"
        rows.append([one["service"], one["name"], str(one["port"]), one["protocol"], one["host"], one["address"],
                     listening])
    remarks = [f"{name}: {finding.severity}: {finding}" for name, host in report.hosts.items()
               for finding in host.findings]
    head = table.table(rows) if report.ports else "no service has a port"
    return "\n".join([head, *map(table.printable, remarks), *map(_line, report.conflicts), *_problems(report.hosts)])


def _host(name: str, looked: Mapping[str, Any], resolved: Mapping[str, Any] | None, owner: str) -> Host:
    """What a host told; one whose answers are not what such answers are is as silent as one without."""
    changed = bool(resolved and "findings" in resolved and resolved.get("changed"))
    outcomes, problems = [transaction.APPLIED if changed else transaction.UNCHANGED], []
    for answer, key in ((resolved, "findings"), (looked, "ports")):
        if answer is not None and key not in answer:
            outcomes.append(_failure(answer))
            problems.append(str(answer.get("msg") or "the host did not answer"))
    told: dict[str, Any] = {}
    if "ports" in looked:
        try:
            told = _told(name, looked, owner)
        except TetraError as error:
            outcomes.append(transaction.UNCONFIRMED)
            problems.append(error.message)
    return Host(transaction.fleet_outcome(outcomes), changed, list(dict.fromkeys(problems)), **told)


def _failure(answer: Mapping[str, Any]) -> str:
    """What an answer without a result means: the host says so, or nobody knows."""
    code = answer.get("code")
    return str(code) if code in (transaction.REFUSED, transaction.INVALID) else transaction.UNCONFIRMED


def _told(name: str, looked: Mapping[str, Any], owner: str) -> dict[str, Any]:
    ports = endpoints.owned_ports(name, looked).get(owner, {})
    endpoints.address_of(name, looked, {})
    findings = [Finding(**one) for one in _records(name, looked, "findings", _FINDING)]
    known = HostPorts(Registry(), _records(name, looked, "listeners", _LISTENER), str(looked.get("address", "")))
    space = Space(name, known, owner)
    listeners = {key: [dict(one) for one in space.listening(value)] for key, value in ports.items()}
    return {"ports": ports, "listeners": listeners, "findings": findings}


def _records(name: str, looked: Mapping[str, Any], key: str, form: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A list of records that a host sent, with the keys of a form and no others."""
    found = looked.get(key)
    for one in found if isinstance(found, list) else [found]:
        if not isinstance(one, Mapping) or not all(isinstance(one.get(word), kind) for word, kind in form.items()):
            raise TetraError(f"host {name}: what it tells as {key} is of another form",
                             hint="prepare the host with playbooks/prepare.yml")
    return [{word: one[word] for word in form} for one in found or []]


def _outcome(hosts: Iterable[Host], refused: bool, check: bool) -> str:
    """The outcome of the run; in check mode nothing was applied."""
    outcomes = [*(host.outcome for host in hosts), *([transaction.REFUSED] if refused else [])]
    nothing = {transaction.APPLIED: transaction.UNCHANGED} if check else {}
    return transaction.fleet_outcome(nothing.get(one, one) for one in outcomes)


def _problems(hosts: Mapping[str, Host]) -> list[str]:
    return [table.printable(f"{name}: {line}") for name, host in hosts.items()
            for problem in host.problems for line in problem.splitlines()]


def _line(finding: Finding) -> str:
    return table.printable(str(finding))


def _done(request: Mapping[str, Any], hosts: Mapping[str, Host], check: bool) -> str:
    """What a run came to that had no problems."""
    changed = ", ".join(name for name, host in hosts.items() if host.changed)
    if not changed:
        return f"ports of {request['org']} in {request['env']}"
    if check:
        return f"check mode, nothing was done: the port registry of {changed} would change"
    return f"the port registry of {changed} was changed; the next push or promotion moves the services"
