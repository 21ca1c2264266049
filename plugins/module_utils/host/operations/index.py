# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Everything that a host can do, by name. A module and an operation of one name do the same."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ...model.errors import REFUSED, TetraError
from . import definitions, deployment, health, ports, preparation

OPERATIONS: Mapping[str, Callable[[Mapping], dict]] = {
    "agent": preparation.agent,
    "deploy_pack": deployment.deploy_pack,
    "environment_host": deployment.environment_host,
    "health_check": health.health_check,
    "port_registry": ports.port_registry,
    "port_registry_info": ports.port_registry_info,
    "release": deployment.release,
    "release_info": deployment.release_info,
    "service_definition_info": definitions.service_definition_info,
    "tsm_service": deployment.tsm_service,
    "tsm_service_info": deployment.tsm_service_info,
}


def disk_error(error: OSError) -> dict:
    """What the system refused, in the words of an error of ours."""
    return {
        "message": f"{error.filename or 'the host'}: {error.strerror or error}",
        "hint": "look at the disk and at the owner of the folder; the state on disk is whole",
        "code": REFUSED,
    }


def run(name: str, request: Mapping) -> dict:
    """Carry out an operation.

    :returns: its result as plain data, with ``changed``.
    :raises TetraError: what is wrong, for a person.
    """
    operation = OPERATIONS.get(name)
    if operation is None:
        raise TetraError(f"there is no operation {name!r}", hint=f"there are {', '.join(OPERATIONS)}")
    return operation(request)
