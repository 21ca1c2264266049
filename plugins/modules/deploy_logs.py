#!/usr/bin/python
# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Show what the services of an environment said."""

from __future__ import annotations

DOCUMENTATION = r"""
module: deploy_logs
short_description: Show what the services of an environment said
version_added: 0.1.0
description:
  - Prints the last lines of all services on all hosts, as they were registered by the task before.
options:
  request:
    description: The result of M(tetra.platform.deploy_request).
    type: dict
    required: true
extends_documentation_fragment:
  - tetra.platform.common.controller
author:
  - tetra.platform contributors (@tetra-platform)
"""

EXAMPLES = r"""
- name: Show the logs
  tetra.platform.deploy_logs:
    request: "{{ tetra_request }}"
  run_once: true
"""

RETURN = r"""
hosts:
  description: Host to its services, and those to their last lines.
  returned: success
  type: dict
outcome:
  description: V(unchanged), or V(unconfirmed) when a host did not answer.
  returned: success
  type: str
"""

from ansible_collections.tetra.platform.plugins.module_utils import bridge


def main() -> None:
    """Tell that the work is done by the action plugin of the same name."""
    bridge.refuse_on_host("deploy_logs", bridge.REQUEST)


if __name__ == "__main__":
    main()
