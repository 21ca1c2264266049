#!/usr/bin/python
# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Tell how a run ended."""

from __future__ import annotations

DOCUMENTATION = r"""
module: deploy_result
short_description: Tell how a run ended
version_added: 0.1.0
description:
  - Adds up what was read back from the hosts to the outcome of the run, prints it, and sets the statistics
    C(tetra_outcome) and C(tetra_result).
options:
  request:
    description: The result of M(tetra.platform.deploy_request).
    type: dict
    required: true
  plan:
    description: The result of M(tetra.platform.deploy_plan); none for a run that moves no host.
    type: dict
    required: true
extends_documentation_fragment:
  - tetra.platform.common.controller
author:
  - tetra.platform contributors (@tetra-platform)
"""

EXAMPLES = r"""
- name: Tell how it ended
  tetra.platform.deploy_result:
    request: "{{ tetra_request }}"
    plan: "{{ tetra_planned }}"
  run_once: true
  register: tetra_result
"""

RETURN = r"""
outcome:
  description: One of applied, unchanged, refused, rolled_back, rollback_failed, unconfirmed, partial, invalid.
  returned: always
  type: str
environments:
  description: What each environment of a rollout ended as so far, in order; none for one that was not reached.
  returned: for a rollout
  type: dict
findings:
  description: What was remarked on the organization and on its hosts.
  returned: always
  type: list
  elements: dict
hosts:
  description: The outcome of each host, with the release it runs and why.
  returned: always
  type: dict
"""

from ansible_collections.tetra.platform.plugins.module_utils import bridge


def main() -> None:
    """Tell that the work is done by the action plugin of the same name."""
    bridge.refuse_on_host("deploy_result", {**bridge.REQUEST, "plan": {"type": "dict", "required": True}})


if __name__ == "__main__":
    main()
