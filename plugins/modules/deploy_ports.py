#!/usr/bin/python
# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Show the ports of an environment."""

from __future__ import annotations

DOCUMENTATION = r"""
module: deploy_ports
short_description: Show the ports of an environment
version_added: 0.1.0
description:
  - Prints the port of each service on each host and who listens there, what is wrong with each registry, and ports that
    differ between hosts, from what the tasks before registered of each host.
  - Ends as V(refused) when conflicts were to be a failure and there are some, and as V(unconfirmed) when a host did not
    answer.
options:
  request:
    description: The result of M(tetra.platform.deploy_request).
    type: dict
    required: true
extends_documentation_fragment:
  - tetra.platform.common.controller
seealso:
  - module: tetra.platform.port_registry
  - module: tetra.platform.port_registry_info
author:
  - tetra.platform contributors (@tetra-platform)
"""

EXAMPLES = r"""
- name: Show the ports
  tetra.platform.deploy_ports:
    request: "{{ tetra_request }}"
  run_once: true
"""

RETURN = r"""
ports:
  description: Where the services answer, as the filter P(tetra.platform.resolve_ports#filter) gives it.
  returned: success
  type: list
  elements: dict
hosts:
  description:
    - Of each host whether its registry was C(changed), or would be in check mode, its C(findings), the C(listeners) by
      C(service) or C(service/name), and, when something is not known or was not done, a C(message).
  returned: success
  type: dict
conflicts:
  description: Ports that differ between hosts, as findings.
  returned: success
  type: list
  elements: dict
outcome:
  description: V(unchanged), V(applied) when a registry was changed, V(refused), V(partial) or V(unconfirmed).
  returned: always
  type: str
"""

from ansible_collections.tetra.platform.plugins.module_utils import bridge


def main() -> None:
    """Tell that the work is done by the action plugin of the same name."""
    bridge.refuse_on_host("deploy_ports", bridge.REQUEST)


if __name__ == "__main__":
    main()
