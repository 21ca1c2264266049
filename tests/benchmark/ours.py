# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The contender that all of this is about: the playbooks of the collection, over ssh, with systemd on the hosts."""

from __future__ import annotations

import plays
from case import Case
from hosts import Host
from programs import ROOT
from workload import ORG

_INVENTORY = "ours.json"
# A machine that does much else takes its time; it is measured and no reason to take anything back.
_LEASE = "15m"
_ENVIRONMENTS = {
    "dev": {"hosts": "dev", "lease": _LEASE},
    "staging": {"hosts": "staging", "promotes_from": "dev", "lease": _LEASE},
}


def prepare(case: Case) -> None:
    """Prepare the hosts, which is done once in the life of a host and not measured."""
    _prepare(case, {"dev": case.hosts})


def push(case: Case) -> None:
    """Push the services to all hosts of dev."""
    _play(case, "push", tetra_env="dev")


def prepare_promotion(case: Case) -> None:
    """Make the first host dev, where the services run already, and the others staging, where they do not."""
    _prepare(case, {"dev": case.hosts[:1], "staging": case.hosts[1:]})
    push(case)


def promote(case: Case) -> None:
    """Promote what dev runs to staging."""
    _play(case, "promote", tetra_from="dev", tetra_to="staging")


def _prepare(case: Case, groups: dict[str, list[Host]]) -> None:
    variables = {"tetra_environments": _ENVIRONMENTS, "tetra_orgs_dir": str(case.load.orgs)}
    plays.inventory(case.folder / _INVENTORY, groups, variables)
    _play(case, "prepare")


def _play(case: Case, name: str, **variables: str) -> None:
    terms = {"tetra_org": ORG, "tetra_probe_passes": 1, **variables}
    plays.play(ROOT / "playbooks" / f"{name}.yml", case.folder / _INVENTORY, terms)
