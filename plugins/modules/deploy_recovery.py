#!/usr/bin/python
# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Decide what becomes of a run that nobody finished, and of hosts that are behind."""

from __future__ import annotations

DOCUMENTATION = r"""
module: deploy_recovery
short_description: Decide what becomes of a run that nobody finished, and of hosts that are behind
version_added: 0.1.0
description:
  - From what the hosts of an environment say to the end of each open transaction, to the host that those which are
    behind get their release from, and to whether a host can be taken out.
options:
  request:
    description: The result of M(tetra.platform.deploy_request).
    type: dict
    required: true
  phase:
    description:
      - V(settle) for open transactions, V(origin) for the host to get the release from, V(removal) for a host that is
        to be taken out.
    type: str
    required: true
    choices: [settle, origin, removal]
extends_documentation_fragment:
  - tetra.platform.common.controller
author:
  - tetra.platform contributors (@tetra-platform)
"""

EXAMPLES = r"""
- name: See how open transactions end
  tetra.platform.deploy_recovery:
    request: "{{ tetra_request }}"
    phase: settle
  run_once: true
  register: tetra_recovery
"""

RETURN = r"""
steps:
  description: Host to the transaction that is open there and to the state that it is taken to.
  returned: success
  type: dict
origin:
  description: The host that runs what all shall run.
  returned: for phase origin
  type: str
release:
  description: Digest of the release that all shall run.
  returned: for phase origin
  type: str
answering:
  description: The hosts that keep the record of a removal.
  returned: for phase removal
  type: list
  elements: str
returning:
  description: Hosts that answer and were taken out before.
  returned: success
  type: list
  elements: str
outcome:
  description: Set when the run ends here.
  returned: when nothing can be done
  type: str
"""

from ansible_collections.tetra.platform.plugins.module_utils import bridge


def main() -> None:
    """Tell that the work is done by the action plugin of the same name."""
    phase = {"type": "str", "required": True, "choices": ["settle", "origin", "removal"]}
    bridge.refuse_on_host("deploy_recovery", {**bridge.REQUEST, "phase": phase})


if __name__ == "__main__":
    main()
