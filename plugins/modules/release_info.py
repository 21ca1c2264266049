#!/usr/bin/python
# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Look at the releases of an environment on a host."""

from __future__ import annotations

DOCUMENTATION = r"""
module: release_info
short_description: Look at the releases of an environment on a host
version_added: 0.1.0
description:
  - Returns what an environment runs on a host and everything that a plan has to know of it.
  - Writes nothing.
options:
  secrets:
    description: Secrets by name, whose keyed digests are returned; the default is C(tetra_secrets) of the host.
    type: dict
    default: {}
  manifests:
    description:
      - Releases whose manifests are returned; V(current), V(previous) for the one that a rollback would go to, or how
        the name of one begins.
    type: list
    elements: str
    default: []
extends_documentation_fragment:
  - tetra.platform.common
  - tetra.platform.common.environment
  - tetra.platform.common.reads
seealso:
  - module: tetra.platform.release
author:
  - tetra.platform contributors (@tetra-platform)
"""

EXAMPLES = r"""
- name: Look at what staging runs
  tetra.platform.release_info:
    org: acme
    env: staging
  register: staging
"""

RETURN = r"""
current:
  description: Digest of the release that runs, or null.
  returned: success
  type: str
bundle:
  description: Digest of the bundle that it was made from, or null.
  returned: success
  type: str
epoch:
  description: Number of the last record of the journal.
  returned: success
  type: int
head:
  description: Number and hash of the last record of the journal.
  returned: success
  type: dict
supervisor:
  description: What keeps the services alive.
  returned: success
  type: str
honours:
  description: The keys of service definitions, without C(TSM_), that this supervisor acts on.
  returned: success
  type: list
  elements: str
staged:
  description: The transactions that were staged and not armed; the next run gives these up.
  returned: always
  type: list
  elements: str
transaction:
  description: The transaction that is open, with its state, actor and age in seconds, or null.
  returned: success
  type: dict
history:
  description: Confirmed releases, oldest first.
  returned: success
  type: list
  elements: dict
holds:
  description: Bundles that must not move, by digest, with transaction, check and reason.
  returned: success
  type: dict
services:
  description: Services by name, with state, pid, ports, URL, and the release that each was started under.
  returned: success
  type: dict
drift:
  description: What was done on the host by hand, as records of kind, what and services.
  returned: success
  type: list
  elements: dict
manifests:
  description: The manifests that were asked for and are there, by word.
  returned: success
  type: dict
last:
  description: The last transaction that ended, or null.
  returned: success
  type: dict
"""

from ansible_collections.tetra.platform.plugins.module_utils import bridge
from ansible_collections.tetra.platform.plugins.module_utils.host.operations import deployment


def main() -> None:
    """Run the operation of the same name."""
    arguments = {
        **bridge.ENVIRONMENT,
        "secrets": {"type": "dict", "default": {}, "no_log": True},
        "manifests": {"type": "list", "elements": "str", "default": []},
    }
    bridge.run_module(deployment.release_info, arguments)


if __name__ == "__main__":
    main()
