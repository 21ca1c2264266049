# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What was measured, as a table, as ratios beside the aims, and as JSON."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

PUSH, UNCHANGED, PROMOTION = "push", "unchanged", "promotion"

_RATIOS = (("ours", "raw"), ("pyinfra", "ours"), ("stock", "ours"))
# Section 8 of the design: services, hosts, what was done, and a ratio or something of ours.
_AIMS = {
    (20, 5, PUSH, "ours / raw"): "<= 2.5",
    (20, 5, PUSH, "stock / ours"): ">= 40",
    (50, 5, PUSH, "pyinfra / ours"): ">= 6",
    (50, 10, PUSH, "ours / raw"): "<= 1.5",
    (20, 10, UNCHANGED, "ours, seconds"): "<= 3",
    (50, 10, UNCHANGED, "ours, seconds"): "<= 3",
}
_AIM_CALLS = "<= 5"


@dataclasses.dataclass(frozen=True)
class Figure:
    """What one run of a contender took.

    ``seconds`` by the clock, ``controller_cpu`` and ``hosts_cpu`` (all hosts together; None where it is not known) of
    CPU; ``calls`` is how many commands and transfers the host got that got the most. With ``error`` there is no figure.
    """

    services: int
    hosts: int
    what: str
    contender: str
    seconds: float = 0.0
    controller_cpu: float = 0.0
    hosts_cpu: float | None = None
    calls: int = 0
    runs: int = 1
    error: str = ""

    @property
    def cpu(self) -> float | None:
        """The CPU of controller and hosts together, which other work on the machine changes less than the clock."""
        return None if self.hosts_cpu is None else self.controller_cpu + self.hosts_cpu

    @property
    def row(self) -> str:
        """What was done, in words."""
        return _row(self.services, self.hosts, self.what)


def median(figures: Sequence[Figure]) -> Figure:
    """The figure in the middle by its seconds, which says of how many it is."""
    ordered = sorted(figures, key=lambda figure: figure.seconds)
    return dataclasses.replace(ordered[(len(ordered) - 1) // 2], runs=len(ordered))


def measured(figures: Sequence[Figure]) -> str:
    """All figures as a table."""
    rows = [["what", "contender", "seconds", "CPU controller", "CPU hosts", "calls a host", "runs"]]
    for figure in figures:
        if figure.error:
            rows.append([figure.row, figure.contender, "ERROR", "", "", "", ""])
            continue
        hosts_cpu = "?" if figure.hosts_cpu is None else f"{figure.hosts_cpu:.1f}"
        rows.append([figure.row, figure.contender, f"{figure.seconds:.1f}", f"{figure.controller_cpu:.1f}", hosts_cpu,
                     str(figure.calls), str(figure.runs)])
    return _table(rows)


def comparison(figures: Sequence[Figure]) -> list[dict]:
    """The ratios that can be had, and what else the design has an aim for."""
    good = {(one.services, one.hosts, one.what, one.contender): one for one in figures if not one.error}
    found = []
    for services, hosts, what in dict.fromkeys((one.services, one.hosts, one.what) for one in figures):
        case = {name: one for (*place, name), one in good.items() if place == [services, hosts, what]}
        values = {}
        for over, under in _RATIOS:
            if over in case and under in case:
                values[f"{over} / {under}"] = case[over].seconds / case[under].seconds
                if case[over].cpu and case[under].cpu:
                    values[f"{over} / {under}, CPU"] = case[over].cpu / case[under].cpu
        if what == UNCHANGED and "ours" in case:
            values["ours, seconds"] = case["ours"].seconds
        if what == PROMOTION and "ours" in case:
            values["ours, calls a host"] = float(case["ours"].calls)
        for name, value in values.items():
            aim = _AIM_CALLS if name.endswith("calls a host") else _AIMS.get((services, hosts, what, name), "")
            found.append({"what": _row(services, hosts, what), "name": name, "value": round(value, 2), "aim": aim})
    return found


def compared(rows: Sequence[dict]) -> str:
    """A comparison as a table."""
    return _table([["what", "figure", "measured", "aim"],
                   *([row["what"], row["name"], f"{row['value']:.1f}", row["aim"]] for row in rows)])


def _row(services: int, hosts: int, what: str) -> str:
    return f"{services} services on {hosts} host{'s' if hosts > 1 else ''}, {what}"


def _table(rows: list[list[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows)]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows)
