# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible's own modules as most people use them: tasks that loop over the services; pipelining, shared connections."""

from __future__ import annotations

from pathlib import Path

import plays
from case import Case
from workload import PLACE, UNIT_PREFIX

_INVENTORY = "stock.json"
_PLAYBOOK = Path(__file__).with_name("stock.yml")


def prepare(case: Case) -> None:
    """Write the inventory."""
    plays.inventory(case.folder / _INVENTORY, {"all_hosts": case.hosts}, {})


def push(case: Case) -> None:
    """Copy, render and start service by service."""
    variables = {
        "bench_services": case.load.names, "bench_files": str(case.load.files), "bench_place": PLACE,
        "bench_unit": str(case.folder / "unit.j2"), "bench_prefix": UNIT_PREFIX,
    }  # fmt: skip
    plays.play(_PLAYBOOK, case.folder / _INVENTORY, variables)
