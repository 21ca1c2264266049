#!/usr/bin/python
# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Tell what an environment runs."""

from __future__ import annotations

DOCUMENTATION = r"""
module: deploy_status
short_description: Tell what an environment runs
version_added: 0.1.0
description:
  - Prints the services of all hosts of an environment with their states and addresses, and what is on hold.
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
- name: Show the status
  tetra.platform.deploy_status:
    request: "{{ tetra_request }}"
  run_once: true
"""

RETURN = r"""
hosts:
  description: What was observed on each host.
  returned: always
  type: dict
"""

from ansible_collections.tetra.platform.plugins.module_utils import bridge


def main() -> None:
    """Tell that the work is done by the action plugin of the same name."""
    bridge.refuse_on_host("deploy_status", bridge.REQUEST)


if __name__ == "__main__":
    main()
