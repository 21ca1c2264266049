# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The filter resolve_ports: where services answer."""

from __future__ import annotations

from collections.abc import Mapping

from ansible.errors import AnsibleFilterError
from ansible_collections.tetra.platform.plugins.module_utils.model.errors import TetraError
from ansible_collections.tetra.platform.plugins.module_utils.model.ports import endpoints
from ansible_collections.tetra.platform.plugins.module_utils.model.ports.endpoints import Selection


def resolve_ports(
    found: Mapping, org: str = "", env: str = "", service: str = "", addresses: Mapping | None = None
) -> list[dict]:
    """Every port of the services that are asked for, with host and address, in a fixed order.

    :param found: host to the result of the module port_registry_info on it.
    :param addresses: host to its address, for hosts whose services bind to every address.
    :raises AnsibleFilterError: for what is no such result, naming the host and the key.
    """
    given = {} if addresses is None else addresses
    for name, value in (("hosts to results", found), ("hosts to addresses", given)):
        if not isinstance(value, Mapping):
            raise AnsibleFilterError(f"resolve_ports takes a mapping of {name}, not {type(value).__name__}")
    try:
        return endpoints.endpoints(found, Selection(org, env, service), given)
    except TetraError as error:
        raise AnsibleFilterError(str(error)) from error


class FilterModule:
    """What Ansible looks for."""

    def filters(self) -> dict:
        """The filters of this file."""
        return {"resolve_ports": resolve_ports}
