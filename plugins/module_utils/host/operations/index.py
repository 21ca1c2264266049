# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Everything that a host can do, by name. A module and an operation of one name do the same."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

from ...model.errors import REFUSED, TetraError


def _definitions() -> ModuleType:
    from . import definitions

    return definitions


def _deployment() -> ModuleType:
    from . import deployment

    return deployment


def _health() -> ModuleType:
    from . import health

    return health


def _journals() -> ModuleType:
    from . import journals

    return journals


def _ports() -> ModuleType:
    from . import ports

    return ports


def _preparation() -> ModuleType:
    from . import preparation

    return preparation


def _sources() -> ModuleType:
    from . import sources

    return sources


# Each has the function of its name. Only the module of the one that is asked for is loaded: the others cost a call more
# than what it does.
OPERATIONS: Mapping[str, Callable[[], ModuleType]] = {
    "agent": _preparation,
    "deploy_blobs": _sources,
    "deploy_edits": _sources,
    "deploy_pack": _deployment,
    "environment_host": _deployment,
    "health_check": _health,
    "journal_info": _journals,
    "port_registry": _ports,
    "port_registry_info": _ports,
    "release": _deployment,
    "release_info": _deployment,
    "service_definition": _definitions,
    "service_definition_info": _definitions,
    "tsm_service": _deployment,
    "tsm_service_info": _deployment,
}


def disk_error(error: OSError) -> dict[str, Any]:
    """What the system refused, in the words of an error of ours."""
    return {
        "message": f"{error.filename or 'the host'}: {error.strerror or error}",
        "hint": "look at the disk and at the owner of the folder; the state on disk is whole",
        "code": REFUSED,
    }


def lack(error: Exception) -> dict[str, Any]:
    """What the host has not enough of, in the words of an error of ours; a thread that cannot be started is a lack."""
    if isinstance(error, RuntimeError) and "thread" not in str(error):
        raise error
    return {
        "message": f"the host has no memory left for this: {str(error) or type(error).__name__}",
        "hint": "look at what uses its memory, and at the limits of who logs in; the state on disk is whole",
        "code": REFUSED,
    }


def run(name: str, request: Mapping[str, Any]) -> dict[str, Any]:
    """Carry out an operation.

    :returns: its result as plain data, with ``changed``.
    :raises TetraError: what is wrong, for a person.
    """
    if name not in OPERATIONS:
        raise TetraError(f"there is no operation {name!r}", hint=f"there are {', '.join(OPERATIONS)}")
    operation: Callable[[Mapping[str, Any]], dict[str, Any]] = getattr(OPERATIONS[name](), name)
    return operation(request)
