#!/usr/bin/python
# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Resolve what a playbook was asked for."""

from __future__ import annotations

DOCUMENTATION = r"""
module: deploy_request
short_description: Resolve what a playbook was asked for
version_added: 0.1.0
description:
  - Finds the organization, the environments and their hosts, and refuses what cannot be done before any host is asked.
  - Reads the variables C(tetra_org), C(tetra_env), C(tetra_envs), C(tetra_from), C(tetra_to), C(tetra_environments),
    C(tetra_orgs_dir) and others that the README lists.
  - When the request cannot be done the task succeeds with RV(outcome) set; the next task of the playbook fails with
    RV(message).
options:
  action:
    description: What is to be done.
    type: str
    required: true
    choices:
      [push, promote, rollback, status, history, diff, drift, health, logs, ports, resume, abort, remove_host, pull,
       restore, rollout]
extends_documentation_fragment:
  - tetra.platform.common.controller
author:
  - tetra.platform contributors (@tetra-platform)
"""

EXAMPLES = r"""
- name: Resolve the request
  tetra.platform.deploy_request:
    action: promote
  register: tetra_request
"""

RETURN = r"""
outcome:
  description: V(refused) or V(invalid) when the request cannot be done.
  returned: when it cannot be done
  type: str
message:
  description: Why it cannot be done, and what to do.
  returned: when it cannot be done
  type: str
requests:
  description: The requests of a rollout, one for each environment, in order.
  returned: for a rollout
  type: list
  elements: dict
hosts:
  description: All hosts that are asked.
  returned: success
  type: list
  elements: str
transaction:
  description: Id of the transaction that the run will be.
  returned: success
  type: str
"""

from ansible_collections.tetra.platform.plugins.module_utils import bridge


def main() -> None:
    """Tell that the work is done by the action plugin of the same name."""
    actions = [
        "push", "promote", "rollback", "status", "history", "diff", "drift", "health", "logs", "ports", "resume",
        "abort", "remove_host", "pull", "restore", "rollout",
    ]  # fmt: skip
    bridge.refuse_on_host("deploy_request", {"action": {"type": "str", "required": True, "choices": actions}})


if __name__ == "__main__":
    main()
