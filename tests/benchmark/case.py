# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a contender is given."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from hosts import Host
from workload import Workload


@dataclasses.dataclass(frozen=True)
class Case:
    """Services that are to run on hosts, and a folder for what a contender writes."""

    load: Workload
    hosts: list[Host]
    folder: Path
