# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Are the services well: checks of several services at once, and the watch over those that a transaction changed."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ..model import health, launch_script
from . import durable, evidence, processes, running, sockets
from .scope import Scope
from .supervisors.base import ProcessState

_WORKERS = 16


@dataclasses.dataclass(frozen=True)
class Report:
    """What the watch found out about one service; ``verdict`` is healthy, failed or unproven."""

    verdict: str
    reason: str
    check: str
    samples: list[health.Sample]

    def to_wire(self) -> dict[str, Any]:
        """The report as plain data; the samples of what is well tell nothing."""
        record = dataclasses.asdict(self)
        return {**record, "samples": []} if self.verdict == health.HEALTHY else record


def check_once(scope: Scope, services: Iterable[str]) -> dict[str, health.Sample]:
    """One round of checks, all services at the same time."""
    records, unknown = _started_with(scope, services)
    if not records:
        return unknown
    # Not every run checks something, and this is much to load; a thread that loads it could meet half of it.
    import concurrent.futures

    from . import probes

    states = scope.supervisor.states(scope.units(records))
    with concurrent.futures.ThreadPoolExecutor(max_workers=min(_WORKERS, len(records))) as pool:
        futures = {
            name: pool.submit(_sample, scope, record, states[scope.unit(name)], probes.check)
            for name, record in records.items()
        }
        return {**unknown, **{name: future.result() for name, future in futures.items()}}


def _started_with(
    scope: Scope, services: Iterable[str]
) -> tuple[dict[str, dict[str, Any]], dict[str, health.Sample]]:
    """What services are started with, and for those of which this is damaged the check that failed."""
    records, unknown = {}, {}
    for name in services:
        try:
            records[name] = running.launch_record(scope, name)
        except (FileNotFoundError, durable.DamagedError) as error:
            unknown[name] = health.Sample(time.monotonic(), False, False, "", f"it cannot be checked: {error}")
    return records, unknown


def watch(
    scope: Scope, services: Iterable[str], passes: int, spacing: float, time_left: Callable[[], float]
) -> dict[str, Report]:
    """Check services until each is proven healthy or has failed.

    :param services: the services that were started.
    :param passes: how many checks in a row must pass (K of the design), ``spacing`` seconds apart.
    :param time_left: seconds until the lease is over; the watch ends before it does.
    :returns: service to :class:`Report`.
    """
    records = {name: running.launch_record(scope, name) for name in services}
    policies = {name: _policy(record, passes, spacing) for name, record in records.items()}
    samples: dict[str, list[health.Sample]] = {name: [] for name in records}
    reports: dict[str, Report] = {}
    begun = time.monotonic()
    while len(reports) < len(records):
        round_begun = time.monotonic()
        pending = [name for name in records if name not in reports]
        for name, sample in check_once(scope, pending).items():
            samples[name].append(sample)
            report = _judge(records[name], samples[name], begun, policies[name], time_left())
            if report:
                reports[name] = report
        if len(reports) < len(records):
            time.sleep(max(0.0, spacing - (time.monotonic() - round_begun)))
    return reports


def describe(record: Mapping[str, Any]) -> str:
    """A health check in a few words, without any value that could be long or private."""
    check = record["health"]
    if check is None:
        return "the process stays alive"
    if check["kind"] == "http":
        return f"http {check['url']}"
    return f"tcp {check['address']}:{check['port']}" if check["kind"] == "tcp" else "command"


def _policy(record: Mapping[str, Any], passes: int, spacing: float) -> health.Policy:
    check = record["health"] or {}
    defaults = health.Policy()
    return health.Policy(
        passes=passes,
        spacing=spacing,
        min_healthy=record["min_healthy"],
        retries=check.get("retries", defaults.retries),
        start_period=check.get("start_period", defaults.start_period),
    )


def _judge(
    record: Mapping[str, Any], samples: list[health.Sample], begun: float, policy: health.Policy, time_left: float
) -> Report | None:
    verdict = health.verdict(samples, time.monotonic(), begun, policy)
    if verdict.state == health.WAITING and time_left > 0:
        return None
    verdict = health.at_the_end(verdict, samples)
    return Report(verdict.state, verdict.reason, describe(record), samples[-5:])


def _sample(
    scope: Scope, record: Mapping[str, Any], process: ProcessState, probe: Callable[..., Any]
) -> health.Sample:
    """One check of a service.

    :param probe: ``probes.check``.
    """
    if process.state != "running" or not process.pid:
        detail = f"the process is {process.state}{_in_the_way(scope, record, 0)}"
        return health.Sample(time.monotonic(), False, False, "", detail)
    identity = processes.identity(process.pid) or ""
    check = record["health"]
    if check is None:
        return health.Sample(time.monotonic(), bool(identity), True, identity, "the process is alive")
    user = record.get("user", "")
    result = probe(check, scope.settings.address, record["cwd"], record["environment"], user, own=True)
    own = _own(scope, record, process.pid)
    detail = evidence.without_secrets(scope, record["release"], result.detail)
    if not own:
        detail += _in_the_way(scope, record, process.pid)
    return health.Sample(time.monotonic(), result.ok, own, identity, detail)


def _in_the_way(scope: Scope, record: Mapping[str, Any], pid: int) -> str:
    """Who else has the port of a service, as the rest of a sentence; nothing when nobody has.

    :param pid: the process of the service, 0 when there is none.
    """
    port = record["ports"].get("main")
    who = sockets.stranger(scope.settings.address, port, {pid}) if isinstance(port, int) else None
    return f"; {who}" if who else ""


def _own(scope: Scope, record: Mapping[str, Any], pid: int) -> bool:
    """Whether the answer came from the service itself and not from somebody who took its port.

    Nobody connects to UDP, so of such a port only its process says that it is there.
    """
    port = record["ports"].get("main")
    if not isinstance(port, int):
        return True
    # A command that runs before the service descends from the same process.
    launching = launch_script.is_launching(processes.arguments(pid))
    return not launching and sockets.listening_pid(scope.settings.address, port, {pid})
