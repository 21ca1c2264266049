# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The hosts: test hosts that count how often they are called; what runs on them, and what they have used."""

from __future__ import annotations

import concurrent.futures
import contextlib
import dataclasses
import functools
import importlib
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import workload
from programs import ROOT, BenchmarkError, run

sys.path.append(str(ROOT / "tests" / "hosts"))
containers = importlib.import_module("containers")

_RELEASE = "bookworm"
_SETTLING = 15
# For every service that runs, what its process is and the sum of the program in its folder.
_RUNNING = r"""
for unit in $(systemctl list-units --state=running --plain --no-legend "*svc-*.service" | cut -d' ' -f1); do
    pid=$(systemctl show --property=MainPID --value "$unit")
    printf '%s %s\n' "$(cat "/proc/$pid/comm")" "$(sha256sum < "/proc/$pid/cwd/{program}" | cut -d' ' -f1)"
done
"""
_CLEAN = r"""
cd /etc/systemd/system
systemctl stop '*svc-*.service' 'tetra-*' 2> /dev/null
find . '(' -name '*svc-*' -o -name 'tetra-*' ')' -delete
rm -rf {place} /var/lib/tetra /etc/tetra
userdel tetra-bench 2> /dev/null
systemctl daemon-reload
systemctl reset-failed
sync
"""


@dataclasses.dataclass(frozen=True)
class Host(containers.Host):
    """A running host; root logs in with the key ``key``."""

    key: Path


@contextlib.contextmanager
def started(count: int, folder: Path) -> Iterator[list[Host]]:
    """Hosts that live as long as the block."""
    machines = containers.Hosts(folder / "hosts")
    try:
        found = machines.up({f"bench-{number}": _RELEASE for number in range(1, count + 1)})
        hosts = [Host(**dataclasses.asdict(host), key=machines.key) for host in found.values()]
        on_all(hosts, containers.Host.count_calls)
        yield hosts
    finally:
        machines.down()


def on_all(items: list, work: Callable) -> list:
    """The results of the same work for every item, some at the same time."""
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        return list(pool.map(work, items))


def clean(hosts: list[Host]) -> None:
    """Take away all that any contender left."""
    on_all(hosts, lambda host: host.run(_CLEAN.format(place=workload.PLACE)))


def verify(hosts: list[Host], load: workload.Workload) -> None:
    """Make sure that every service of a workload runs on every host.

    :raises BenchmarkError: when one does not.
    """
    wanted = sorted(f"sleep {found}" for found in load.sums())
    for host in hosts:
        _within(_SETTLING, f"not every service runs on {host.name}", functools.partial(_runs, host, wanted))


def _runs(host: Host, wanted: list[str]) -> bool:
    return sorted(host.run(_RUNNING.replace("{program}", workload.PROGRAM)).splitlines()) == wanted


def cpu_seconds(hosts: list[Host]) -> float | None:
    """The CPU that the hosts have used so far; None where the kernel does not tell it in a way that is known here."""
    ids = [run(["docker", "inspect", "--format={{.Id}}", host.container]).strip() for host in hosts]
    found = [_cpu_seconds(container) for container in ids]
    return None if None in found else sum(found)


def _cpu_seconds(container: str) -> float | None:
    groups = Path("/sys/fs/cgroup")
    first = groups / "cpuacct" / "docker" / container / "cpuacct.usage"
    if first.exists():
        return int(first.read_text()) / 1e9
    for second in (groups / "docker" / container, groups / "system.slice" / f"docker-{container}.scope"):
        if (second / "cpu.stat").exists():
            return int((second / "cpu.stat").read_text().split()[1]) / 1e6
    return None


def _within(seconds: float, message: str, condition: Callable[[], bool]) -> None:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise BenchmarkError(message)
        time.sleep(0.2)
