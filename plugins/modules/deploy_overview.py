#!/usr/bin/python
# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Show an organization over all its environments."""

from __future__ import annotations

DOCUMENTATION = r"""
module: deploy_overview
short_description: Show an organization over all its environments
version_added: 0.1.0
description:
  - Prints, for each environment of the inventory, which bundle it runs, since when and by whom, what was done on its
    hosts by hand, what is on hold, and whether it is as the environment before; and the values that are not the same
    in all environments.
options:
  phase:
    description: Whether to say which hosts are to be asked, or to show what they answered.
    type: str
    required: true
    choices: [environments, show]
extends_documentation_fragment:
  - tetra.platform.common.controller
author:
  - tetra.platform contributors (@tetra-platform)
"""

EXAMPLES = r"""
- name: Show the overview
  tetra.platform.deploy_overview:
    phase: show
  run_once: true
"""

RETURN = r"""
environments:
  description:
    - For O(phase=environments), the hosts of each.
    - For O(phase=show), of each its bundles, since, actor, hosts, drifts, holds, open transactions and step, in the
      order in which bundles go through them.
  returned: always
  type: dict
differences:
  description: The values that differ, by name and environment, as texts.
  returned: for O(phase=show)
  type: dict
hosts:
  description: All hosts that are to be asked.
  returned: for O(phase=environments)
  type: list
  elements: str
"""

from ansible_collections.tetra.platform.plugins.module_utils import bridge


def main() -> None:
    """Tell that the work is done by the action plugin of the same name."""
    phases = {"type": "str", "required": True, "choices": ["environments", "show"]}
    bridge.refuse_on_host("deploy_overview", {"phase": phases})


if __name__ == "__main__":
    main()
