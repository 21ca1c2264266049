#!/usr/bin/python
# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Take a host out of an environment, or take it in again."""

from __future__ import annotations

DOCUMENTATION = r"""
module: environment_host
short_description: Take a host out of an environment, or take it in again
version_added: 0.1.0
description:
  - Every other host of the environment keeps that a host was taken out, and writes into its journal who did it and why.
  - A host that was taken out and does not answer is no longer waited for.
options:
  host:
    description: Name of the host in the inventory.
    type: str
    required: true
  state:
    description: Whether the host is taken out, or is a member again.
    type: str
    required: true
    choices: [member, removed]
  reason:
    description: Why.
    type: str
    default: ""
  actor:
    description: Who.
    type: str
    required: true
extends_documentation_fragment:
  - tetra.platform.common
  - tetra.platform.common.environment
  - tetra.platform.common.changes
author:
  - tetra.platform contributors (@tetra-platform)
"""

EXAMPLES = r"""
- name: Take a dead host out
  tetra.platform.environment_host:
    org: acme
    env: prod
    host: prod-3
    state: removed
    reason: its disk died
    actor: alice
"""

RETURN = r"""
removed:
  description: The hosts that are taken out, with actor, reason and time.
  returned: success
  type: dict
"""

from ansible_collections.tetra.platform.plugins.module_utils import bridge
from ansible_collections.tetra.platform.plugins.module_utils.host.operations import deployment


def main() -> None:
    """Run the operation of the same name."""
    arguments = {
        **bridge.ENVIRONMENT,
        "host": {"type": "str", "required": True},
        "state": {"type": "str", "required": True, "choices": ["member", "removed"]},
        "reason": {"type": "str", "default": ""},
        "actor": {"type": "str", "required": True},
    }
    bridge.run_module(deployment.environment_host, arguments)


if __name__ == "__main__":
    main()
