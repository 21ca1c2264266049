# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The planner: from what is observed and what is wanted to what will be done.

Check mode, the diff, the run itself and a rollback all ask the functions of this file, so a preview cannot differ
from what then happens, and a second run finds nothing to do.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from . import canonical, fleet, table, units
from .errors import REFUSED, TetraError
from .ports.registry import PortValue, service_of

FORMAT = 1

START = "start"
RESTART = "restart"
STOP = "stop"
KEEP = "keep"
HELD = "keep stopped"

MOVES = (START, RESTART, STOP)

# What a plan says of a run as a whole.
_WHOLE = ("format", "kind", "action", "org", "env", "source", "bundle", "release", "terms", "batches")


@dataclasses.dataclass(frozen=True)
class Desired:
    """What an environment shall run.

    ``services`` maps each service to its digest, ``placement`` each host to the services it runs, ``ports`` each
    service to its port; ``action`` is push, promote, rollback or resume, ``source`` the environment it comes from, and
    ``terms`` say how its hosts are moved.
    """

    org: str
    env: str
    action: str
    bundle: str
    release: str
    services: Mapping[str, str]
    placement: Mapping[str, list[str]]
    ports: Mapping[str, PortValue]
    secrets: Mapping[str, str]
    source: str | None = None
    terms: fleet.Terms = fleet.Terms()


def changes(
    observed: Mapping[str, Mapping[str, Any]], wanted: Mapping[str, str], drifted: Collection[str] = ()
) -> dict[str, str]:
    """What happens to each service of one host.

    :param observed: service to ``{"digest", "running", "stopped"}``: the digest its process was started with,
        whether it runs, and whether a person stopped it.
    :param wanted: service to digest, for the services that this host shall run.
    :param drifted: services that are not what they were started as any more, whatever their digest says.
    :returns: service to one of ``start``, ``restart``, ``stop``, ``keep``, ``keep stopped``.
    """
    result = {name: STOP for name in observed if name not in wanted}
    for name, digest in wanted.items():
        result[name] = _change(observed.get(name), digest, name in drifted)
    return dict(sorted(result.items()))


def _change(observed: Mapping[str, Any] | None, digest: str, drifted: bool) -> str:
    if observed is None:
        return START
    if observed["stopped"]:
        return HELD
    if observed["digest"] != digest or drifted:
        return RESTART if observed["running"] else START
    return KEEP if observed["running"] else START


def levels(names: Iterable[str], depends: Mapping[str, Iterable[str]]) -> list[list[str]]:
    """The services in the order in which they start: each list depends only on lists before it."""
    left = set(names)
    result: list[list[str]] = []
    while left:
        ready = sorted(name for name in left if not left.intersection(depends.get(name, ())) - {name})
        result.append(ready or sorted(left))
        left.difference_update(result[-1])
    return result


def plan(observed: Mapping[str, Mapping[str, Any]], desired: Desired) -> dict[str, Any]:
    """The plan record of a run over the hosts of one environment.

    :param observed: host to the observation that the operation ``release_info`` returned.
    :returns: a record whose canonical digest is the plan id. It names no secret value and no time.
    """
    hosts = {name: _host_plan(name, observed[name], desired) for name in sorted(observed)}
    return {
        "format": FORMAT,
        "kind": "plan",
        "action": desired.action,
        "org": desired.org,
        "env": desired.env,
        "source": desired.source,
        "bundle": desired.bundle,
        "release": desired.release,
        "ports": dict(desired.ports),
        "secrets": dict(desired.secrets),
        "hosts": hosts,
        "terms": dataclasses.asdict(desired.terms),
        "batches": fleet.batches([name for name, host in hosts.items() if host["changed"]], desired.terms),
    }


def plan_id(record: Mapping[str, Any]) -> str:
    """The name under which a plan is approved, applied and journalled."""
    return canonical.digest(record)


def _host_plan(name: str, observed: Mapping[str, Any], desired: Desired) -> dict[str, Any]:
    wanted = {service: desired.services[service] for service in desired.placement.get(name, [])}
    repairs = sorted({f"{found['kind']}: {found['what']}" for found in observed["drift"]})
    drifted = {service for found in observed["drift"] for service in found["services"]}
    actions = changes(observed["services"], wanted, drifted)
    moved = observed["current"] != desired.release
    return {
        "from": observed["current"],
        "to": desired.release,
        "epoch": observed["epoch"],
        "services": actions,
        "repairs": repairs,
        "changed": moved or bool(repairs) or any(action in MOVES for action in actions.values()),
    }


def check_movable(observed: Mapping[str, Mapping[str, Any]], bundle: str) -> None:
    """Refuse a run that must not start: an open transaction, or a bundle on hold, on any host.

    :raises TetraError: code ``refused``, naming every host that objects and why.
    """
    problems = []
    for name in sorted(observed):
        problems += [f"{name}: {text}" for text in _objections(observed[name], bundle)]
    if problems:
        raise TetraError(
            "\n".join(problems),
            hint="an open transaction ends by itself when its lease is over; a hold is lifted with "
            "-e tetra_lift_hold='why it is safe now'",
            code=REFUSED,
        )


def _objections(observed: Mapping[str, Any], bundle: str) -> list[str]:
    result = []
    open_one = observed["transaction"]
    if open_one:
        result.append(
            f"transaction {open_one['id']} of {open_one['actor']} is {open_one['state']} since "
            f"{open_one['age']:.0f} s"
        )
    hold = observed["holds"].get(bundle)
    if hold:
        check = f", check {hold['check']}" if hold["check"] else ""
        result.append(f"bundle {bundle[:12]} is on hold: {hold['reason']} (transaction {hold['transaction']}{check})")
    return result


def promotable(observed: Mapping[str, Mapping[str, Any]], env: str) -> str:
    """The bundle that the environment before runs and has confirmed on every one of its hosts.

    :raises TetraError: code ``refused`` when it runs nothing, runs several, is in a transaction, a host is behind, or
        runs what it never confirmed, as one that could not go back.
    """
    bundles = {name: host["bundle"] for name, host in observed.items()}
    busy = sorted(name for name, host in observed.items() if host["transaction"])
    if busy:
        raise TetraError(
            f"{env} is not settled: a transaction is open on {', '.join(busy)}",
            hint="wait until it ends, then promote",
            code=REFUSED,
        )
    distinct = set(bundles.values())
    if distinct == {None} or not distinct:
        raise TetraError(f"{env} runs no confirmed bundle", hint=f"push one into {env} first", code=REFUSED)
    if len(distinct) > 1:
        text = ", ".join(f"{name}: {(bundle or 'nothing')[:12]}" for name, bundle in sorted(bundles.items()))
        raise TetraError(
            f"the hosts of {env} do not run the same bundle ({text})",
            hint=f"bring {env} to one bundle first",
            code=REFUSED,
        )
    unproven = sorted(name for name, host in observed.items() if _confirmed_last(host) != host["current"])
    if unproven:
        raise TetraError(
            f"{env} has not confirmed the bundle that runs on {', '.join(unproven)}",
            hint=f"look with playbooks/history.yml at what became of it, and bring {env} to a bundle that it confirms",
            code=REFUSED,
        )
    return str(distinct.pop())


def _confirmed_last(observed: Mapping[str, Any]) -> str | None:
    """The release that one host confirmed last, or None."""
    release: str | None = observed["history"][-1]["release"] if observed["history"] else None
    return release


def unchanged(record: Mapping[str, Any]) -> bool:
    """Whether a plan has nothing to do on any host."""
    return not any(host["changed"] for host in record["hosts"].values())


def summary(record: Mapping[str, Any]) -> str:
    """The plan as lines for a person and for ``--diff``: what each host does to each service."""
    lines = [f"{record['action']} {record['org']} to {record['env']}: bundle {record['bundle'][:12]}"]
    if len(record["batches"]) > 1:
        lines.append("one after the other: " + "; ".join(", ".join(batch) for batch in record["batches"]))
    for name, host in record["hosts"].items():
        lines.append(f"{name}: {(host['from'] or 'nothing')[:12]} -> {host['to'][:12]}")
        for service, action in host["services"].items():
            ports = ", ".join(str(value) for key, value in record["ports"].items() if service_of(key) == service)
            unit = units.process_unit(record["org"], record["env"], service)
            lines.append(f"  {service}: {action} ({f'port {ports}, ' if ports else ''}unit {unit})")
        lines += [table.printable(f"  put right, {text}") for text in host["repairs"]]
    return "\n".join(lines) + "\n"


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """What became different from one plan of a run to the next one, as lines for a person.

    :param before: a plan record that came from outside; it may lack anything.
    """
    lines = [_difference(key, before.get(key), after[key]) for key in _WHOLE if before.get(key) != after[key]]
    for key in ("ports", "secrets", "hosts"):
        old, new = before.get(key), after[key]
        old = old if isinstance(old, Mapping) else {}
        lines += [_of_one(key, name, old.get(name), new.get(name)) for name in sorted({*old, *new}, key=str)
                  if old.get(name) != new.get(name)]
    return lines


def _difference(key: str, old: object, new: object) -> str:
    if isinstance(new, str):
        return f"{key}: it was {str(old)[:12]}, it is {new[:12]}"
    return f"{key} of the run: changed"


def _of_one(key: str, name: str, old: object, new: object) -> str:
    """How one port, secret or host differs; secrets are told by their digests alone, which say nothing to a person."""
    if key == "ports":
        return f"port of {name}: it was {old or 'none'}, it is {new or 'none'}"
    if key == "secrets":
        return f"secret {name}: another value"
    if not isinstance(old, Mapping) or not isinstance(new, Mapping):
        return f"host {name}: it is {'new' if old is None else 'not there any more'}"
    if old.get("from") != new["from"]:
        was, now = old.get("from") or "nothing", new["from"] or "nothing"
        return f"host {name}: it ran {str(was)[:12]}, it runs {now[:12]}"
    if old.get("epoch") != new["epoch"]:
        return f"host {name}: its journal went on from record {old.get('epoch')} to {new['epoch']}"
    if old.get("repairs") != new["repairs"]:
        return f"host {name}: something else was done on it by hand"
    return f"host {name}: other services would be started, restarted or stopped"
