#!/usr/bin/python
# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Tell how an environment differs from what it should be."""

from __future__ import annotations

DOCUMENTATION = r"""
module: deploy_drift
short_description: Tell how an environment differs from what it should be
version_added: 0.1.0
description:
  - Prints, for each host, what the next push or promotion would change, what was edited by hand, what was both, which
    processes run older files than those that are there, what nobody put there, and what should run and does not.
  - Ends as V(partial) when a host is not what it was given; a change that is only pending leaves it at V(unchanged).
options:
  request:
    description: The result of M(tetra.platform.deploy_request).
    type: dict
    required: true
  origin:
    description: The host that gave the bundle which would come next, or empty.
    type: str
    default: ""
extends_documentation_fragment:
  - tetra.platform.common.controller
author:
  - tetra.platform contributors (@tetra-platform)
"""

EXAMPLES = r"""
- name: Show the drift
  tetra.platform.deploy_drift:
    request: "{{ tetra_request }}"
  run_once: true
"""

RETURN = r"""
hosts:
  description: The release of each host and its C(drifts), records of kind, what and services.
  returned: always
  type: dict
note:
  description: Why nobody knows what is pending, or empty.
  returned: always
  type: str
"""

from ansible_collections.tetra.platform.plugins.module_utils import bridge


def main() -> None:
    """Tell that the work is done by the action plugin of the same name."""
    bridge.refuse_on_host("deploy_drift", {**bridge.REQUEST, "origin": {"type": "str", "default": ""}})


if __name__ == "__main__":
    main()
