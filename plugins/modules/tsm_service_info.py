#!/usr/bin/python
# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Look at the services of an environment on a host."""

from __future__ import annotations

DOCUMENTATION = r"""
module: tsm_service_info
short_description: Look at the services of an environment on a host
version_added: 0.1.0
description:
  - Returns states, process ids, ports, health, resource use and, when asked for, the last lines of the logs.
  - Writes nothing.
options:
  log_lines:
    description: How many lines of each log to return.
    type: int
    default: 0
extends_documentation_fragment:
  - tetra.platform.common
  - tetra.platform.common.environment
  - tetra.platform.common.reads
seealso:
  - module: tetra.platform.tsm_service
author:
  - tetra.platform contributors (@tetra-platform)
"""

EXAMPLES = r"""
- name: Look at the services and the end of their logs
  tetra.platform.tsm_service_info:
    org: acme
    env: dev
    log_lines: 20
  register: found
"""

RETURN = r"""
services:
  description: Services by name, each with state, pid, ports, url, release, health, cpu_seconds, memory in bytes,
    and log when asked for.
  returned: success
  type: dict
"""

from ansible_collections.tetra.platform.plugins.module_utils import bridge
from ansible_collections.tetra.platform.plugins.module_utils.host.operations import deployment


def main() -> None:
    """Run the operation of the same name."""
    arguments = {**bridge.ENVIRONMENT, "log_lines": {"type": "int", "default": 0}}
    bridge.run_module(deployment.tsm_service_info, arguments)


if __name__ == "__main__":
    main()
