#!/usr/bin/python
# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Take a transaction on a host to a state."""

from __future__ import annotations

DOCUMENTATION = r"""
module: release
short_description: Take a transaction on a host to a state
version_added: 0.1.0
description:
  - Moves one host from one release to another in steps that each survive a kill; the playbooks of the collection
    use it in the right order.
  - V(staged) needs the result of M(tetra.platform.deploy_plan); the action plugin brings the bytes and the secrets
    of the release along.
  - V(active) arms the revert of the host, switches, and checks what was changed; a service that fails takes the
    host back at once. V(renewed) lets it wait for the rest of its fleet.
  - V(observed) changes nothing; it tells where the transaction stands when an answer was lost. V(unmoved) changes
    nothing either; it fails where a host that the plan leaves as it is was moved by another run.
options:
  transaction:
    description: Id of the transaction, the same on all hosts of a run.
    type: str
    required: true
  state:
    description: The state to take the transaction to.
    type: str
    required: true
    choices: [staged, active, renewed, decided, confirmed, rolled_back, aborted, observed, unmoved]
  folder:
    description: The C(folder) that M(tetra.platform.deploy_plan) laid ready; needed for O(state=staged).
    type: path
  decision:
    description: What was decided for all hosts; needed for O(state=decided).
    type: dict
  base:
    description: What the plan says of this host; needed for O(state=unmoved).
    type: dict
  cause:
    description: Why the host is taken back, with the keys C(reason) and C(verdict); a verdict puts the bundle on hold.
    type: dict
extends_documentation_fragment:
  - tetra.platform.common
  - tetra.platform.common.environment
  - tetra.platform.common.changes
seealso:
  - module: tetra.platform.release_info
  - module: tetra.platform.deploy_plan
author:
  - tetra.platform contributors (@tetra-platform)
"""

EXAMPLES = r"""
- name: Take a switch back by hand
  tetra.platform.release:
    org: acme
    env: staging
    transaction: 20260101t120000-0123abcd
    state: rolled_back
"""

RETURN = r"""
state:
  description: State of the transaction, read back from the host.
  returned: success
  type: str
release:
  description: Digest of the release that the host runs now, or null.
  returned: success
  type: str
services:
  description: What was done to each service.
  returned: success
  type: dict
reports:
  description: What the checks of each changed service said.
  returned: success
  type: dict
detail:
  description: Why the host was taken back.
  returned: success
  type: str
evidence:
  description: Folder on the host with what was kept of the failed release.
  returned: success
  type: str
"""

from ansible_collections.tetra.platform.plugins.module_utils import bridge
from ansible_collections.tetra.platform.plugins.module_utils.host.operations import deployment


def main() -> None:
    """Run the operation of the same name."""
    arguments = {
        **bridge.ENVIRONMENT,
        "transaction": {"type": "str", "required": True},
        "state": {
            "type": "str",
            "required": True,
            "choices": ["staged", "active", "renewed", "decided", "confirmed", "rolled_back", "aborted", "observed",
                        "unmoved"],
        },
        "folder": {"type": "path"},
        "decision": {"type": "dict"},
        "base": {"type": "dict"},
        "cause": {"type": "dict"},
    }
    bridge.run_module(deployment.release, arguments)


if __name__ == "__main__":
    main()
