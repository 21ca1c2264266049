#!/usr/bin/python
# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Tell how the services of an environment are."""

from __future__ import annotations

DOCUMENTATION = r"""
module: deploy_health
short_description: Tell how the services of an environment are
version_added: 0.1.0
description:
  - Prints what C(health_checked) of each host says, which the role P(tetra.platform.health#role) registers.
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
- name: Show the health
  tetra.platform.deploy_health:
    request: "{{ tetra_request }}"
  run_once: true
"""

RETURN = r"""
hosts:
  description: The C(checks) of each host by service, or a C(message) where it did not answer.
  returned: always
  type: dict
"""

from ansible_collections.tetra.platform.plugins.module_utils import bridge


def main() -> None:
    """Tell that the work is done by the action plugin of the same name."""
    bridge.refuse_on_host("deploy_health", bridge.REQUEST)


if __name__ == "__main__":
    main()
