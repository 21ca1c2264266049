#!/usr/bin/python
# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Propose what an environment really runs."""

from __future__ import annotations

DOCUMENTATION = r"""
module: deploy_pull
short_description: Propose what an environment really runs
version_added: 0.1.0
description:
  - Compares the bundle that an environment was given, what its hosts made of it by hand, and the directory of the
    organization, and writes a folder with the merged files, C(changes.diff) and C(proposal.json). Where both sides
    changed the same lines, both stand between marks, and the outcome is V(partial).
  - Without a directory it makes one, with exactly the files of the bundle.
options:
  request:
    description: The result of M(tetra.platform.deploy_request).
    type: dict
    required: true
  origin:
    description: The host that gave the files of the bundle.
    type: str
    required: true
extends_documentation_fragment:
  - tetra.platform.common.controller
author:
  - tetra.platform contributors (@tetra-platform)
"""

EXAMPLES = r"""
- name: Propose what dev runs
  tetra.platform.deploy_pull:
    request: "{{ tetra_request }}"
    origin: dev-1
  run_once: true
"""

RETURN = r"""
folder:
  description: The folder with the proposal, or null where there is nothing to propose.
  returned: for a pull
  type: str
changes:
  description: The files that would change, with path, from (hosts or a bundle) and conflict.
  returned: for a pull
  type: list
  elements: dict
patch:
  description: The changes as a patch, for where the folder is thrown away, as in a job of AWX.
  returned: for a pull
  type: str
conflicts:
  description: The files with marks.
  returned: for a pull
  type: list
  elements: str
left:
  description: What was done by hand and has no place in the files of the organization, with host, what and why.
  returned: for a pull
  type: list
  elements: dict
directory:
  description: The directory that was made.
  returned: for a restore
  type: str
files:
  description: Its files.
  returned: for a restore
  type: list
  elements: str
bundle:
  description: The bundle that the environment was given.
  returned: success
  type: str
"""

from ansible_collections.tetra.platform.plugins.module_utils import bridge


def main() -> None:
    """Tell that the work is done by the action plugin of the same name."""
    bridge.refuse_on_host("deploy_pull", {**bridge.REQUEST, "origin": {"type": "str", "required": True}})


if __name__ == "__main__":
    main()
