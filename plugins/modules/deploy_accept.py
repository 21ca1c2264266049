#!/usr/bin/python
# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Bring an organization to what a proposal says."""

from __future__ import annotations

DOCUMENTATION = r"""
module: deploy_accept
short_description: Bring an organization to what a proposal says
version_added: 0.1.0
description:
  - Changes the files of an organization's directory that the proposal in C(tetra_pull_dir) changes, if they are still
    what they were when it was made, no mark is left in it, and the directory stays valid.
options: {}
extends_documentation_fragment:
  - tetra.platform.common.controller
author:
  - tetra.platform contributors (@tetra-platform)
"""

EXAMPLES = r"""
- name: Accept the proposal
  tetra.platform.deploy_accept:
"""

RETURN = r"""
files:
  description: The files that were changed, or would be in check mode.
  returned: success
  type: list
  elements: str
directory:
  description: The directory of the organization.
  returned: success
  type: str
"""

from ansible_collections.tetra.platform.plugins.module_utils import bridge


def main() -> None:
    """Tell that the work is done by the action plugin of the same name."""
    bridge.refuse_on_host("deploy_accept", {})


if __name__ == "__main__":
    main()
