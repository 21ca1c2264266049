#!/usr/bin/python
# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Check services once."""

from __future__ import annotations

DOCUMENTATION = r"""
module: health_check
short_description: Check services once
version_added: 0.1.0
description:
  - Checks services of an environment as their definitions say, or checks that come with the task, all at the same time.
  - An unhealthy service does not fail the task; look at RV(healthy).
options:
  org:
    description: Name of the organization; needed without O(checks).
    type: str
  env:
    description: Name of the environment; needed without O(checks).
    type: str
  services:
    description: Names of services to check; all of them when empty.
    type: list
    elements: str
    default: []

  checks:
    description: Checks to make instead of those of the definitions.
    type: list
    elements: dict
    suboptions:
      name:
        description: Name of the check in the result.
        type: str
        required: true
      url:
        description: Address to ask over http or https; a status of 200 to 399 is healthy.
        type: str
      address:
        description: Address to connect to, with O(checks[].port).
        type: str
      port:
        description: Port to connect to.
        type: int
      timeout:
        description: Seconds after which the check has failed.
        type: float
        default: 2.0
extends_documentation_fragment:
  - tetra.platform.common
  - tetra.platform.common.reads
author:
  - tetra.platform contributors (@tetra-platform)
"""

EXAMPLES = r"""
- name: Check all services of dev
  tetra.platform.health_check:
    org: acme
    env: dev
  register: health

- name: Check a port
  tetra.platform.health_check:
    checks:
      - {name: ssh, address: 127.0.0.1, port: 22}
"""

RETURN = r"""
healthy:
  description: Whether every check passed.
  returned: success
  type: bool
checks:
  description: By name, whether the check passed, what it said and what was asked.
  returned: success
  type: dict
"""

from ansible_collections.tetra.platform.plugins.module_utils import bridge
from ansible_collections.tetra.platform.plugins.module_utils.host.operations import health


def main() -> None:
    """Run the operation of the same name."""
    arguments = {
        **bridge.TETRA_DIR,
        "org": {"type": "str"},
        "env": {"type": "str"},
        "services": {"type": "list", "elements": "str", "default": []},
        "checks": {
            "type": "list",
            "elements": "dict",
            "options": {
                "name": {"type": "str", "required": True},
                "url": {"type": "str"},
                "address": {"type": "str"},
                "port": {"type": "int"},
                "timeout": {"type": "float", "default": 2.0},
            },
            "required_one_of": [("url", "address")],
            "required_together": [("address", "port")],
        },
    }
    bridge.run_module(
        health.health_check, arguments,
        required_one_of=[("checks", "org")],
        required_together=[("org", "env")],
    )


if __name__ == "__main__":
    main()
