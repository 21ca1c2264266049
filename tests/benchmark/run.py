#!/usr/bin/env python
# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Measures how long it takes to bring services to hosts: ours, by hand, with pyinfra, with Ansible's own modules.

All in one run, on the same hosts from the same state, one after the other. The figures are printed and never judged:
the exit code only says whether everything worked. Needs root, docker and tools/setup dev; run it with
.venv/bin/python tests/benchmark/run.py
"""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import json
import os
import platform
import resource
import shlex
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import figures
import hosts
import ours
import raw
import stock
import with_pyinfra
import workload
from case import Case
from figures import PROMOTION, PUSH, UNCHANGED, Figure
from programs import BenchmarkError, run

CONTENDERS = {"raw": raw, "ours": ours, "pyinfra": with_pyinfra, "stock": stock}

_SIZES = "20x5,50x5,50x10"
_SHORT_SIZES = "2x2"
_SHORT_CONTENDERS = "raw,ours"
# What takes longer is not done again.
_LONG = 60.0
_TERMS = """\
Ours is measured as the aims are: a service is healthy after one check (tetra_probe_passes 1) and without a minimum
healthy time (TSM_MIN_HEALTHY 0s), on hosts that prepare.yml has prepared. Nobody else checks or takes back anything.
Unchanged is the same run a second time. Nobody has a connection open when a run begins. A call is a command, or a
session for file transfers, that the sshd of a host took; the promotion is from one host to the others. CPU is
in seconds, that of the hosts is of all hosts together. Ratios are of seconds by the clock, and of all CPU, which
depends less on what else the machine does."""


def main(arguments: list[str]) -> int:
    """Measure what is asked for and print it; 0 when everything worked."""
    options = _options(arguments)
    sizes = [_size(word) for word in options.sizes.split(",")]
    chosen = [name for name in CONTENDERS if name in options.only.split(",")]
    found: list[Figure] = []
    about = _about(arguments, chosen)
    with tempfile.TemporaryDirectory(prefix="tetra-bench-") as name:
        folder = Path(name)
        loads = {count: workload.make(folder / str(count), count) for count in sorted({size[0] for size in sizes})}
        with hosts.started(max(size[1] for size in sizes), folder) as machines:
            about["hosts"] = machines[0].run(". /etc/os-release; echo $PRETTY_NAME; systemctl --version | head -n 1")
            for figure in _all(sizes, chosen, options, loads, machines):
                found.append(figure)
                said = f"ERROR\n{figure.error}" if figure.error else f"{figure.seconds:.1f} s"
                print(f"{figure.row}, {figure.contender}: {said}", file=sys.stderr, flush=True)
    about["load"] += f", {os.getloadavg()[0]:.1f} after"
    rows = figures.comparison(found)
    print("\n".join([*(f"{key}: {' '.join(value.split())}" for key, value in about.items()), "", _TERMS, ""]))
    print(f"{figures.measured(found)}\n\n{figures.compared(rows)}")
    if options.json:
        record = {"format": 1, **about, "figures": [dataclasses.asdict(one) for one in found], "comparison": rows}
        Path(options.json).write_text(json.dumps(record, indent=1) + "\n")
    return 1 if any(figure.error for figure in found) else 0


def _options(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--short", action="store_true", help=f"only {_SHORT_CONTENDERS} at {_SHORT_SIZES}")
    parser.add_argument("--sizes", default=None, help=f"services x hosts; {_SIZES}")
    parser.add_argument("--only", default=None, help=f"contenders; all of them: {','.join(CONTENDERS)}")
    parser.add_argument("--stock-sizes", default=None, help="the sizes at which stock, which takes minutes, takes part")
    parser.add_argument("--repeat", type=int, default=1, metavar="N", help="print the median of N runs; once is enough "
                        f"for what takes longer than {_LONG:.0f} s")
    parser.add_argument("--json", metavar="FILE", help="write the figures to a file as well")
    options = parser.parse_args(arguments)
    options.sizes = options.sizes or (_SHORT_SIZES if options.short else _SIZES)
    options.only = options.only or (_SHORT_CONTENDERS if options.short else ",".join(CONTENDERS))
    options.stock_sizes = options.stock_sizes or options.sizes
    if not set(options.only.split(",")) <= set(CONTENDERS):
        parser.error(f"--only takes {', '.join(CONTENDERS)}")
    return options


def _size(word: str) -> tuple[int, int]:
    services, _x, machines = word.partition("x")
    return int(services), int(machines)


def _all(
    sizes: list[tuple[int, int]], chosen: list[str], options: argparse.Namespace, loads: dict, machines: list
) -> Iterator[Figure]:
    """Every figure, as soon as it is there."""
    slow = [_size(word) for word in options.stock_sizes.split(",")]
    most = max(size[1] for size in sizes)
    for size in sizes:
        for name in chosen:
            if name != "stock" or size in slow:
                case = Case(loads[size[0]], machines[: size[1]], loads[size[0]].orgs.parent)
                yield from _pushes(name, case, options.repeat, size[1] == most)
    if "ours" in chosen:
        services, count = sizes[0]
        yield from _promotion(Case(loads[services], machines[:count], loads[services].orgs.parent))


def _pushes(name: str, case: Case, repeat: int, again: bool) -> Iterator[Figure]:
    """Pushes to empty hosts, and then, if wanted, of what is there already."""
    contender = CONTENDERS[name]

    def fresh() -> Figure:
        hosts.clean(case.hosts)
        contender.prepare(case)
        return _measure(PUSH, name, case, contender.push)

    yield _several(PUSH, name, case, repeat, fresh)
    if again:
        yield _several(UNCHANGED, name, case, repeat, lambda: _measure(UNCHANGED, name, case, contender.push))


def _promotion(case: Case) -> Iterator[Figure]:
    """Ours alone has promotions; how often each host that was promoted to was called."""
    receiving = dataclasses.replace(case, hosts=case.hosts[1:])

    def fresh() -> Figure:
        hosts.clean(case.hosts)
        ours.prepare_promotion(case)
        return _measure(PROMOTION, "ours", receiving, lambda _receiving: ours.promote(case))

    yield _several(PROMOTION, "ours", receiving, 1, fresh)


def _several(what: str, name: str, case: Case, repeat: int, once: Callable[[], Figure]) -> Figure:
    runs: list[Figure] = []
    try:
        while len(runs) < repeat and not (runs and runs[-1].seconds > _LONG):
            runs.append(once())
    except BenchmarkError as error:
        return Figure(len(case.load.names), len(case.hosts), what, name, error=str(error))
    return figures.median(runs)


def _measure(what: str, name: str, case: Case, work: Callable[[Case], None]) -> Figure:
    """Measure one run, and make sure that afterwards everything runs."""
    calls = [host.calls() for host in case.hosts]
    hosts_cpu, controller_cpu, begun = hosts.cpu_seconds(case.hosts), _own_cpu(), time.monotonic()
    work(case)
    seconds = time.monotonic() - begun
    controller_cpu = _own_cpu() - controller_cpu
    used = hosts.cpu_seconds(case.hosts)
    hosts.verify(case.hosts, case.load)
    return Figure(
        len(case.load.names), len(case.hosts), what, name, seconds, controller_cpu,
        None if used is None or hosts_cpu is None else used - hosts_cpu,
        max(host.calls() - before for host, before in zip(case.hosts, calls)),
    )  # fmt: skip


def _own_cpu() -> float:
    """The CPU of this process and of all that it has run and waited for."""
    spent = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in spent)


def _about(arguments: list[str], chosen: list[str]) -> dict[str, str]:
    """When, where and with what this is measured."""
    ansible = run([Path(sys.executable).with_name("ansible-playbook"), "--version"]).splitlines()[0]
    versions = [f"Python {platform.python_version()}", ansible.replace("ansible-playbook ", "ansible-")]
    if "pyinfra" in chosen:
        versions.append(f"pyinfra {with_pyinfra.install()}")
    return {
        "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "command": shlex.join(["tests/benchmark/run.py", *arguments]),
        "commit": run(["git", "describe", "--always", "--dirty"]).strip(),
        "machine": f"{len(os.sched_getaffinity(0))} cores for controller and hosts",
        "load": f"{os.getloadavg()[0]:.1f} before",
        "controller": ", ".join(versions),
    }


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
