#!/usr/bin/python
# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Read service definitions."""

from __future__ import annotations

DOCUMENTATION = r"""
module: service_definition_info
short_description: Read service definitions
version_added: 0.1.0
description:
  - Reads definition files and returns what they mean. Nothing in them is run.
options:
  paths:
    description: Files on the host.
    type: list
    elements: path
    required: true
  variables:
    description: Values that the files may refer to by name.
    type: dict
    default: {}
extends_documentation_fragment:
  - tetra.platform.common.reads
  - tetra.platform.common.host
author:
  - tetra.platform contributors (@tetra-platform)
"""

EXAMPLES = r"""
- name: Read the definitions of the old system
  tetra.platform.service_definition_info:
    paths:
      - ~/tetra/services/api.tsm.sh
  register: found
"""

RETURN = r"""
services:
  description: One entry for each path, with path, name, command, args, cwd, port, environment, health and findings;
    a value that only a host knows is a list of parts.
  returned: success
  type: list
  elements: dict
"""

from ansible_collections.tetra.platform.plugins.module_utils import bridge
from ansible_collections.tetra.platform.plugins.module_utils.host.operations import definitions


def main() -> None:
    """Run the operation of the same name."""
    arguments = {
        "paths": {"type": "list", "elements": "path", "required": True},
        "variables": {"type": "dict", "default": {}},
    }
    bridge.run_module(definitions.service_definition_info, arguments)


if __name__ == "__main__":
    main()
