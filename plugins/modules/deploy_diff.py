#!/usr/bin/python
# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Tell how two releases differ."""

from __future__ import annotations

DOCUMENTATION = r"""
module: deploy_diff
short_description: Tell how two releases differ
version_added: 0.1.0
description:
  - Prints how the release of one environment differs from that of another, or a release from another of the same
    environment, with services, their keys, ports and variables, files and secrets, of which there are only names and
    keyed digests.
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
- name: Show the difference
  tetra.platform.deploy_diff:
    request: "{{ tetra_request }}"
  run_once: true
"""

RETURN = r"""
different:
  description: Whether they differ.
  returned: success
  type: bool
difference:
  description: The difference as a unified diff.
  returned: success
  type: str
"""

from ansible_collections.tetra.platform.plugins.module_utils import bridge


def main() -> None:
    """Tell that the work is done by the action plugin of the same name."""
    bridge.refuse_on_host("deploy_diff", bridge.REQUEST)


if __name__ == "__main__":
    main()
