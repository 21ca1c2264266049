#!/usr/bin/python
# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Read the journal of an environment on a host."""

from __future__ import annotations

DOCUMENTATION = r"""
module: journal_info
short_description: Read the journal of an environment on a host
version_added: 0.1.0
description:
  - The records of all transactions and decisions, oldest first, up to the first one that cannot be trusted.
  - That the end of a journal was cut off, only the other hosts of the environment can tell; C(playbooks/history.yml)
    asks them all.
extends_documentation_fragment:
  - tetra.platform.common
  - tetra.platform.common.environment
  - tetra.platform.common.reads
seealso:
  - module: tetra.platform.release_info
author:
  - tetra.platform contributors (@tetra-platform)
"""

EXAMPLES = r"""
- name: Read the journal
  tetra.platform.journal_info:
    org: acme
    env: prod
  register: journal

- name: Make sure that it can be trusted
  ansible.builtin.assert:
    that: journal.damage is none
"""

RETURN = r"""
records:
  description: The records, oldest first, up to the first damage.
  returned: success
  type: list
  elements: dict
damage:
  description: The first damage, with C(seq), C(reason), and whether only the last line is C(torn), or null.
  returned: success
  type: dict
head:
  description: Number and hash of the last record.
  returned: success
  type: dict
current:
  description: Digest of the release that runs, or null.
  returned: success
  type: str
open:
  description: Whether a transaction is open.
  returned: success
  type: bool
"""

from ansible_collections.tetra.platform.plugins.module_utils import bridge
from ansible_collections.tetra.platform.plugins.module_utils.host.operations import journals


def main() -> None:
    """Run the operation of the same name."""
    bridge.run_module(journals.journal_info, bridge.ENVIRONMENT)


if __name__ == "__main__":
    main()
