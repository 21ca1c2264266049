# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the values of an environment come from, and who uses them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from ansible_collections.tetra.platform.plugins.module_utils.model.errors import WARNING, Finding
from ansible_collections.tetra.platform.plugins.plugin_utils.bundle import Services


@dataclasses.dataclass(frozen=True)
class Explained:
    """A value of an environment.

    ``layers`` are the files and lines that say it, the one that wins first; a table may have parts of several.
    ``used_by`` are the files that name it.
    """

    value: Any
    layers: list[tuple[str, int]]
    used_by: list[str]


def values(services: Services, names: Mapping[str, list[str]]) -> dict[str, Explained]:
    """The values of an environment by name.

    :param services: the services that they are for.
    :param names: path of a template to the variables that it may use.
    """
    environment = services.environment
    users = {name: set(paths) for name, paths in services.mentioned.items()}
    for path, used in names.items():
        for name in used:
            users.setdefault(name, set()).add(path)
    return {
        name: Explained(value, environment.layers["values", name], sorted(users.get(name, ())))
        for name, value in sorted(environment.values.items())
    }


def unused(found: Mapping[str, Explained]) -> list[Finding]:
    """Warnings on values that nobody uses."""
    hint = "take it out, or correct the name where it was meant"
    return [
        Finding(WARNING, "unused", f"values.{name}: no definition and no template uses it", *one.layers[0], 0, hint)
        for name, one in found.items() if not one.used_by
    ]  # fmt: skip
