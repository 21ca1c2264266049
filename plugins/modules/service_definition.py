#!/usr/bin/python
# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Write service definitions."""

from __future__ import annotations

DOCUMENTATION = r"""
module: service_definition
short_description: Write service definitions
version_added: 0.1.0
description:
  - Writes definition files that set what is given. A file that says the same already, in other words or with remarks,
    stays as it is.
  - When one of them could not be read back as a service, the task fails and none is written.
  - What looks like a secret in plain text is not shown in a diff.
options:
  definitions:
    description: The files.
    type: list
    elements: dict
    required: true
    suboptions:
      path:
        description: File on the host, such as C(services/api.tsm) of an organization; its folder must be there.
        type: path
        required: true
      values:
        description:
          - Name to text, or to a list of words for an array, as P(tetra.platform.from_tsm#filter) gives them.
          - Texts mean what they would mean between double quotes, so C(${HOME}) is the home on the host.
        type: dict
        default: {}
      state:
        description: Whether the file is there.
        type: str
        choices: [present, absent]
        default: present
extends_documentation_fragment:
  - tetra.platform.common.changes
  - tetra.platform.common.host
seealso:
  - module: tetra.platform.service_definition_info
  - plugin: tetra.platform.to_tsm
    plugin_type: filter
author:
  - tetra.platform contributors (@tetra-platform)
"""

EXAMPLES = r"""
- name: Describe two services of an organization
  tetra.platform.service_definition:
    definitions:
      - path: orgs/acme/services/api.tsm
        values:
          TSM_COMMAND: node server.js
          TSM_PORT: auto
          TSM_HEALTH_CHECK: http://localhost:${PORT}/health
          API_TOKEN: ${secret:API_TOKEN}
      - path: orgs/acme/services/old.tsm
        state: absent
"""

RETURN = r"""
paths:
  description: Files that were changed.
  returned: success
  type: list
  elements: str
findings:
  description: What is remarked on the definitions, each with severity, code, file, line, column, message and hint.
  returned: success
  type: list
  elements: dict
"""

from ansible_collections.tetra.platform.plugins.module_utils import bridge
from ansible_collections.tetra.platform.plugins.module_utils.host.operations import definitions


def main() -> None:
    """Run the operation of the same name."""
    options = {
        "path": {"type": "path", "required": True},
        "values": {"type": "dict", "default": {}},
        "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    }
    arguments = {"definitions": {"type": "list", "elements": "dict", "required": True, "options": options}}
    bridge.run_module(definitions.service_definition, arguments)


if __name__ == "__main__":
    main()
