# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a host was prepared with: which supervisor keeps processes alive, and where services bind."""

from __future__ import annotations

import dataclasses
import os

from ..model.errors import REFUSED, TetraError
from . import durable
from .layout import Home

FORMAT = 1


@dataclasses.dataclass(frozen=True)
class Settings:
    """``address`` is where services bind and where probes of localhost go; empty means every address of the host.

    ``supervisord`` is the path of that program, or empty to look for it.
    """

    supervisor: str
    supervisord: str = ""
    address: str = ""


def path(home: Home) -> str:
    """The file that holds the settings of a host."""
    return os.path.join(home.config, "host.json")


def load(home: Home) -> Settings:
    """Read the settings of a prepared host.

    :raises TetraError: code ``refused`` when the host was never prepared, or by a newer version, or this is damaged.
    """
    if not os.path.exists(path(home)):
        raise TetraError(
            f"{home.root} was never prepared",
            hint="run playbooks/prepare.yml, or the role tetra.platform.tsm, for this host",
            code=REFUSED,
        )
    record = durable.read_sealed(path(home), FORMAT, "run playbooks/prepare.yml, which writes it anew")
    return Settings(**{field.name: record[field.name] for field in dataclasses.fields(Settings)})


def encode(settings: Settings) -> bytes:
    """The text of the settings file."""
    return durable.sealed({"format": FORMAT, **dataclasses.asdict(settings)})
