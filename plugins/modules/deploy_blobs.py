#!/usr/bin/python
# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Fetch files of a bundle."""

from __future__ import annotations

DOCUMENTATION = r"""
module: deploy_blobs
short_description: Fetch files of a bundle
version_added: 0.1.0
description:
  - Fetches those files of the bundle which an environment runs that the controller lacks, in portions of a few MiB,
    into a folder of the run.
options:
  directory:
    description: The directory of the organization on the controller, whose files need not be fetched. Empty for none.
    type: str
    default: ""
  parts:
    description: Parts of files to return, as lists of sha256, offset and length. The action plugin fills these in.
    type: list
    elements: list
    default: []
extends_documentation_fragment:
  - tetra.platform.common
  - tetra.platform.common.environment
  - tetra.platform.common.reads
author:
  - tetra.platform contributors (@tetra-platform)
"""

EXAMPLES = r"""
- name: Fetch the files of dev
  tetra.platform.deploy_blobs:
    org: acme
    env: dev
  register: blobs
"""

RETURN = r"""
folder:
  description: The folder on the controller that has the files, named by their sha256.
  returned: success
  type: str
count:
  description: How many came.
  returned: success
  type: int
"""

from ansible_collections.tetra.platform.plugins.module_utils import bridge
from ansible_collections.tetra.platform.plugins.module_utils.host.operations import sources


def main() -> None:
    """Run the operation of the same name."""
    arguments = {
        **bridge.ENVIRONMENT,
        "directory": {"type": "str", "default": ""},
        "parts": {"type": "list", "elements": "list", "default": []},
    }
    bridge.run_module(sources.deploy_blobs, arguments)


if __name__ == "__main__":
    main()
