#!/usr/bin/python
# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Prepare a host for tetra, or stop what it runs."""

from __future__ import annotations

DOCUMENTATION = r"""
module: agent
short_description: Prepare a host for tetra, or stop what it runs
version_added: 0.1.0
description:
  - Makes the folders, installs the agent C(tsm) of this version, writes the settings of the host and starts its
    supervisor, in one call.
options:
  state:
    description: V(present) prepares the host; V(stopped) stops its supervisor and with it every service.
    type: str
    default: present
    choices: [present, stopped]
  supervisor:
    description: What keeps services alive. V(auto) chooses what the host has.
    type: str
    default: auto
    choices: [auto, systemd, supervisord]
  supervisord:
    description: Path of supervisord; the default is the one beside the Python interpreter, then the one in the
      search path.
    type: str
    default: ""
  address:
    description: Address that services bind and that checks of localhost go to; empty for every address.
    type: str
    default: ""
  version:
    description: Digest of the agent. Filled in by the action plugin.
    type: str
    default: ""
  code:
    description: The agent, base64. Filled in by the action plugin.
    type: str
extends_documentation_fragment:
  - tetra.platform.common
  - tetra.platform.common.changes
author:
  - tetra.platform contributors (@tetra-platform)
"""

EXAMPLES = r"""
- name: Prepare the host
  tetra.platform.agent:
    supervisor: supervisord
"""

RETURN = r"""
changes:
  description: What was made or changed.
  returned: success
  type: list
  elements: str
"""

from ansible_collections.tetra.platform.plugins.module_utils import bridge
from ansible_collections.tetra.platform.plugins.module_utils.host.operations import preparation


def main() -> None:
    """Run the operation of the same name."""
    arguments = {
        **bridge.TETRA_DIR,
        "state": {"type": "str", "default": "present", "choices": ["present", "stopped"]},
        "supervisor": {"type": "str", "default": "auto", "choices": ["auto", "systemd", "supervisord"]},
        "supervisord": {"type": "str", "default": ""},
        "address": {"type": "str", "default": ""},
        "version": {"type": "str", "default": ""},
        "code": {"type": "str"},
    }
    bridge.run_module(preparation.agent, arguments)


if __name__ == "__main__":
    main()
