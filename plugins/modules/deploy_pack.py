#!/usr/bin/python
# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Fetch the bundle that an environment runs."""

from __future__ import annotations

DOCUMENTATION = r"""
module: deploy_pack
short_description: Fetch the bundle that an environment runs
version_added: 0.1.0
description:
  - Returns the manifest and the bytes of the bundle that a host runs, for a promotion. Bundles hold no secret.
options:
  have:
    description: Digests of files that every receiver has already.
    type: list
    elements: str
    default: []
  rendered:
    description: Whether what was rendered for the environment is wanted too, for another host of the same environment.
    type: bool
    default: false
  targets:
    description: Hosts that were observed and will get the bundle; used by the action plugin to fill in O(have).
    type: list
    elements: str
    default: []
extends_documentation_fragment:
  - tetra.platform.common
  - tetra.platform.common.environment
  - tetra.platform.common.reads
author:
  - tetra.platform contributors (@tetra-platform)
"""

EXAMPLES = r"""
- name: Fetch the bundle of dev
  tetra.platform.deploy_pack:
    org: acme
    env: dev
  register: bundle
"""

RETURN = r"""
manifest:
  description: The manifest of the bundle.
  returned: success
  type: dict
release:
  description: The manifest of the release, if it is wanted.
  returned: for O(rendered=true)
  type: dict
pack:
  description: The contents of its files as one pack, base64.
  returned: success
  type: str
"""

from ansible_collections.tetra.platform.plugins.module_utils import bridge
from ansible_collections.tetra.platform.plugins.module_utils.host.operations import deployment


def main() -> None:
    """Run the operation of the same name."""
    arguments = {
        **bridge.ENVIRONMENT,
        "have": {"type": "list", "elements": "str", "default": []},
        "rendered": {"type": "bool", "default": False},
        "targets": {"type": "list", "elements": "str", "default": []},
    }
    bridge.run_module(deployment.deploy_pack, arguments)


if __name__ == "__main__":
    main()
