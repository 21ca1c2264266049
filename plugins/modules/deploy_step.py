#!/usr/bin/python
# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Decide what every host of a run does next."""

from __future__ import annotations

DOCUMENTATION = r"""
module: deploy_step
short_description: Decide what every host of a run does next
version_added: 0.1.0
description:
  - From what the hosts answered to the step before to the next step of each; the playbooks of the collection use it
    between their tasks.
options:
  folder:
    description: The C(folder) of the run, from M(tetra.platform.deploy_plan). What is heard of the hosts is kept there.
    type: path
    required: true
  phase:
    description: V(switch) for a batch of hosts, V(decide) before hosts are confirmed, V(end) for how each ends,
      V(read) for those whose answer to that was lost, V(again) for what these still wait for.
    type: str
    required: true
    choices: [switch, decide, end, read, again]
  batch:
    description: Which batch switches, counted from 0; needed for O(phase=switch).
    type: int
  answers:
    description: Name of the variable that the task before registered on each host.
    type: str
    required: true
extends_documentation_fragment:
  - tetra.platform.common.controller
author:
  - tetra.platform contributors (@tetra-platform)
"""

EXAMPLES = r"""
- name: See which hosts switch first
  tetra.platform.deploy_step:
    folder: "{{ tetra_planned.folder }}"
    phase: switch
    batch: 0
    answers: tetra_staged
  run_once: true
  register: tetra_step
"""

RETURN = r"""
steps:
  description: Host to the state that its transaction is taken to; a host with nothing to do is missing.
  returned: success
  type: dict
cause:
  description: Why hosts are taken back, for those that are.
  returned: success
  type: dict
"""

from ansible_collections.tetra.platform.plugins.module_utils import bridge


def main() -> None:
    """Tell that the work is done by the action plugin of the same name."""
    arguments = {
        "folder": {"type": "path", "required": True},
        "phase": {"type": "str", "required": True, "choices": ["switch", "decide", "end", "read", "again"]},
        "batch": {"type": "int"},
        "answers": {"type": "str", "required": True},
    }
    bridge.refuse_on_host("deploy_step", arguments)


if __name__ == "__main__":
    main()
