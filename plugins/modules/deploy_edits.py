#!/usr/bin/python
# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Read what was edited by hand."""

from __future__ import annotations

DOCUMENTATION = r"""
module: deploy_edits
short_description: Read what was edited by hand
version_added: 0.1.0
description:
  - Returns what a host runs of an environment, and what was edited there by hand, so that it can be taken over into the
    files of the organization. What holds a secret is told of, and not returned. Nothing is written.
options: {}
extends_documentation_fragment:
  - tetra.platform.common
  - tetra.platform.common.environment
  - tetra.platform.common.reads
author:
  - tetra.platform contributors (@tetra-platform)
"""

EXAMPLES = r"""
- name: Read what was edited in dev
  tetra.platform.deploy_edits:
    org: acme
    env: dev
  register: edits
"""

RETURN = r"""
current:
  description: The release that runs.
  returned: success
  type: str
bundle:
  description: The bundle that it was made of.
  returned: success
  type: str
epoch:
  description: The number of the last record of the journal.
  returned: success
  type: int
removed:
  description: Hosts that were taken out of the environment.
  returned: success
  type: dict
manifest:
  description: The manifest of the bundle.
  returned: success
  type: dict
earlier:
  description: By path, digests of the entries that bundles have which were confirmed here before; empty for none.
  returned: success
  type: dict
files:
  description: Files of the release that are not as they were laid, with path, entry, data and before, base64.
  returned: success
  type: list
  elements: dict
settings:
  description: By service, keys of its definition and variables that say what units and launch files were edited to.
  returned: success
  type: dict
stopped:
  description: Services that a person stopped, and whether that is remembered.
  returned: success
  type: dict
left:
  description: What was edited and has no place in the files of an organization, with what and why.
  returned: success
  type: list
  elements: dict
"""

from ansible_collections.tetra.platform.plugins.module_utils import bridge
from ansible_collections.tetra.platform.plugins.module_utils.host.operations import sources


def main() -> None:
    """Run the operation of the same name."""
    bridge.run_module(sources.deploy_edits, bridge.ENVIRONMENT)


if __name__ == "__main__":
    main()
