#!/usr/bin/python
# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Plan a push, a promotion or a rollback."""

from __future__ import annotations

DOCUMENTATION = r"""
module: deploy_plan
short_description: Plan a push, a promotion or a rollback
version_added: 0.1.0
description:
  - From what the hosts run and what is wanted to the plan of the run, once for all hosts. The plan is what check
    mode shows and what is then done.
options:
  request:
    description: The result of M(tetra.platform.deploy_request).
    type: dict
    required: true
  origin:
    description: The host that gave the bundle; empty when the bundle comes from the controller.
    type: str
    default: ""
extends_documentation_fragment:
  - tetra.platform.common.controller
author:
  - tetra.platform contributors (@tetra-platform)
"""

EXAMPLES = r"""
- name: Plan
  tetra.platform.deploy_plan:
    request: "{{ tetra_request }}"
  run_once: true
  register: tetra_planned
"""

RETURN = r"""
plan:
  description: The plan as a record.
  returned: when it could be made
  type: dict
plan_id:
  description: Digest of the plan.
  returned: when it could be made
  type: str
moving:
  description: The hosts that the plan changes.
  returned: always
  type: list
  elements: str
findings:
  description:
    - What was remarked on the organization and on its hosts, each with severity, code, file, line, column, message
      and hint. They are shown as warnings, too.
  returned: when it could be made
  type: list
  elements: dict
folder:
  description:
    - Where the plan and the files that hosts lack lie ready on the controller for the tasks that follow. It is gone
      when the run ends.
  returned: when hosts are to be moved
  type: str
outcome:
  description: Set when nothing is to be done, or nothing can be.
  returned: when the run ends here
  type: str
"""

from ansible_collections.tetra.platform.plugins.module_utils import bridge


def main() -> None:
    """Tell that the work is done by the action plugin of the same name."""
    bridge.refuse_on_host("deploy_plan", {**bridge.REQUEST, "origin": {"type": "str", "default": ""}})


if __name__ == "__main__":
    main()
