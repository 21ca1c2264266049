#!/usr/bin/python
# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Show what happened to an environment."""

from __future__ import annotations

DOCUMENTATION = r"""
module: deploy_history
short_description: Show what happened to an environment
version_added: 0.1.0
description:
  - Merges the journals of all hosts, as they were registered by the task before, and checks them, each for itself
    and all against each other.
options:
  request:
    description: The result of M(tetra.platform.deploy_request).
    type: dict
    required: true
  lines:
    description: How many of the newest entries are printed; V(0) for all. The result has all of them.
    type: int
    default: 0
extends_documentation_fragment:
  - tetra.platform.common.controller
author:
  - tetra.platform contributors (@tetra-platform)
"""

EXAMPLES = r"""
- name: Show the history
  tetra.platform.deploy_history:
    request: "{{ tetra_request }}"
  run_once: true
"""

RETURN = r"""
entries:
  description:
    - What happened, oldest first. A run has C(transaction), C(action), C(actor), C(reason), C(from), C(to), C(bundle),
      C(plan), C(outcome), C(hosts), C(detail), C(time) and C(seconds); a host that was taken out or in has C(kind),
      C(host), C(actor), C(reason) and C(time).
  returned: success
  type: list
  elements: dict
doubts:
  description: The hosts whose journal cannot be trusted, each with the number of its first such record and why.
  returned: success
  type: list
  elements: dict
outcome:
  description: V(unchanged), V(refused) when a journal cannot be trusted, or V(unconfirmed) when a host did not answer.
  returned: success
  type: str
"""

from ansible_collections.tetra.platform.plugins.module_utils import bridge


def main() -> None:
    """Tell that the work is done by the action plugin of the same name."""
    bridge.refuse_on_host("deploy_history", {**bridge.REQUEST, "lines": {"type": "int", "default": 0}})


if __name__ == "__main__":
    main()
