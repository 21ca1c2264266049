#!/usr/bin/python
# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Prepare a host for tetra, stop what it runs, or remove tetra from it."""

from __future__ import annotations

DOCUMENTATION = r"""
module: agent
short_description: Prepare a host for tetra, stop what it runs, or remove tetra
version_added: 0.1.0
description:
  - Makes the folders, installs the agent C(tsm) of this version, and writes the settings of the host, in one call.
  - Under systemd it also installs the unit that settles what a restart of the host interrupted, and needs root.
    Under supervisord it starts the supervisor.
options:
  state:
    description:
      - V(present) prepares the host.
      - V(stopped) stops its services, and supervisord.
      - V(absent) removes tetra. Homes of services always stay.
    type: str
    default: present
    choices: [present, stopped, absent]
  services:
    description:
      - For O(state=absent). V(stop) stops and removes the services with all their releases.
      - V(keep) leaves them running, with what starts them again when the host does.
    type: str
    default: stop
    choices: [keep, stop]
  registry:
    description: For O(state=absent). Whether the port registry C(config/ports.toml) stays.
    type: str
    default: keep
    choices: [keep, remove]
  supervisor:
    description: What keeps services alive. V(auto) is systemd where it started the host and the user is root.
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
  users:
    description:
      - Organization to the users that it may run services as, besides its own, which is C(tetra-ORG).
      - Written into C(/etc/tetra/policy.json); only under systemd.
    type: dict
    default: {}
  journal_max:
    description: How large the journal of the host may get; empty leaves journald alone. Only under systemd.
    type: str
    default: 1G
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

- name: Prepare a host without systemd
  tetra.platform.agent:
    supervisor: supervisord

- name: Remove tetra, and let the services go on
  tetra.platform.agent:
    state: absent
    services: keep
"""

RETURN = r"""
changes:
  description: What was made, changed or removed.
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
        "state": {"type": "str", "default": "present", "choices": ["present", "stopped", "absent"]},
        "services": {"type": "str", "default": "stop", "choices": ["keep", "stop"]},
        "registry": {"type": "str", "default": "keep", "choices": ["keep", "remove"]},
        "supervisor": {"type": "str", "default": "auto", "choices": ["auto", "systemd", "supervisord"]},
        "supervisord": {"type": "str", "default": ""},
        "address": {"type": "str", "default": ""},
        "users": {"type": "dict", "default": {}},
        "journal_max": {"type": "str", "default": "1G"},
        "version": {"type": "str", "default": ""},
        "code": {"type": "str"},
    }
    bridge.run_module(preparation.agent, arguments)


if __name__ == "__main__":
    main()
