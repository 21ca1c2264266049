#!/usr/bin/env python
# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Measures the port registry with many entries: reading it, giving one port, finding all conflicts, one edit.

The figures are printed and never judged. Run it with .venv/bin/python tests/benchmark/registry.py [--short]
"""

from __future__ import annotations

import platform
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / ".collections"))

from ansible_collections.tetra.platform.plugins.module_utils.model.ports import allocation
from ansible_collections.tetra.platform.plugins.module_utils.model.ports import conflicts as ports_conflicts
from ansible_collections.tetra.platform.plugins.module_utils.model.ports import edit as ports_edit
from ansible_collections.tetra.platform.plugins.module_utils.model.ports import file as ports_file
from ansible_collections.tetra.platform.plugins.module_utils.model.ports.space import HostPorts

SIZES = (1_000, 10_000, 100_000)
SHORT_SIZES = (1_000, 10_000)
# For 10,000 entries, in milliseconds.
AIMS = {"load": 60.0, "allocate one": 5.0, "all conflicts": 100.0}
_RUNS = 5
_LOWEST, _PORTS = 1024, 64_000


def text(entries: int) -> str:
    """A registry: half of it plain names, half of it the services of ten environments; UDP once TCP has no more."""
    values = [_value(number) for number in range(entries)]
    plain, owned = values[: entries // 2], values[entries // 2 :]
    lines = ["[metadata]", 'version = "1"', "", "[ports]"]
    lines += [f"name-{number} = {value}" for number, value in enumerate(plain)]
    size = len(owned) // 10
    for env in range(10):
        lines += ["", f"[ports.acme.env{env}]"]
        lines += [f"service-{number} = {value}" for number, value in enumerate(owned[env * size : (env + 1) * size])]
    return "\n".join([*lines, "", "[port_ranges]", 'env0 = "1024-65535"', ""])


def _value(number: int) -> str:
    port = _LOWEST + number % _PORTS
    return str(port) if number < _PORTS else f'"{port}/udp"'


def measure(work: Callable[[], object]) -> float:
    """Milliseconds of the fastest of several runs."""
    found = []
    for _run in range(_RUNS):
        begun = time.perf_counter()
        work()
        found.append((time.perf_counter() - begun) * 1000)
    return min(found)


def figures(entries: int) -> dict[str, float]:
    """What each kind of work takes with so many entries."""
    written = text(entries)
    said = ports_file.read(written, "ports.toml")
    host = HostPorts(said, (), "")
    request = [allocation.Request("new", "auto", protocol="udp" if entries > _PORTS else "tcp")]
    span = allocation.Range(_LOWEST, 65_535, "the benchmark", False)
    return {
        "load": measure(lambda: ports_file.read(written, "ports.toml")),
        "allocate one": measure(lambda: allocation.allocate(request, {"host": host}, "acme/env0", span)),
        "all conflicts": measure(lambda: ports_conflicts.find(host)),
        "edit one": measure(lambda: ports_edit.revise(written, said, {"names": {"name-1": 65_530}}, "ports.toml")),
    }


def main(arguments: list[str]) -> int:
    """Measure and print."""
    sizes = SHORT_SIZES if "--short" in arguments else SIZES
    found = {entries: figures(entries) for entries in sizes}
    print(f"Port registry, milliseconds, the fastest of {_RUNS} runs; Python {platform.python_version()}")
    print("entries".rjust(9), *(name.rjust(14) for name in found[sizes[0]]))
    for entries, row in found.items():
        print(f"{entries:9,}", *(f"{one:14.1f}" for one in row.values()))
    for low, high in zip(sizes, sizes[1:]):
        growth = (found[high][name] / found[low][name] for name in found[low])
        print(f"x{high // low}".rjust(9), *(f"x{one:.1f}".rjust(14) for one in growth))
    aims = ", ".join(f"{name} {found[10_000][name]:.1f} (aim {aim:.0f})" for name, aim in AIMS.items())
    print(f"With 10,000 entries: {aims}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
