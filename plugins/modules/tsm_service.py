#!/usr/bin/python
# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Start, stop or restart services."""

from __future__ import annotations

DOCUMENTATION = r"""
module: tsm_service
short_description: Start, stop or restart services
version_added: 0.1.0
description:
  - Brings services that a release put on a host to a state, all of them in one call.
  - A service that is stopped stays stopped, also over the next release, until it is started again.
options:
  services:
    description: The services and their states.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: Name of the service.
        type: str
        required: true
      state:
        description: The state to bring it to.
        type: str
        required: true
        choices: [started, stopped, restarted]
extends_documentation_fragment:
  - tetra.platform.common
  - tetra.platform.common.environment
  - tetra.platform.common.changes
seealso:
  - module: tetra.platform.tsm_service_info
author:
  - tetra.platform contributors (@tetra-platform)
"""

EXAMPLES = r"""
- name: Restart the API and stop the worker
  tetra.platform.tsm_service:
    org: acme
    env: dev
    services:
      - {name: api, state: restarted}
      - {name: worker, state: stopped}
"""

RETURN = r"""
services:
  description: What was done to each service, or would be in check mode.
  returned: success
  type: dict
"""

from ansible_collections.tetra.platform.plugins.module_utils import bridge
from ansible_collections.tetra.platform.plugins.module_utils.host.operations import deployment


def main() -> None:
    """Run the operation of the same name."""
    arguments = {
        **bridge.ENVIRONMENT,
        "services": {
            "type": "list",
            "elements": "dict",
            "required": True,
            "options": {
                "name": {"type": "str", "required": True},
                "state": {"type": "str", "required": True, "choices": ["started", "stopped", "restarted"]},
            },
        },
    }
    bridge.run_module(deployment.tsm_service, arguments)


if __name__ == "__main__":
    main()
