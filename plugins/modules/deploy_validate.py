#!/usr/bin/python
# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Validate an organization for every environment."""

from __future__ import annotations

DOCUMENTATION = r"""
module: deploy_validate
short_description: Validate an organization for every environment
version_added: 0.1.0
description:
  - Reads the directory of an organization as each environment of the inventory would have it, and renders its
    templates. No host is asked, so it is fit for a check of every change in git.
  - The variables C(tetra_org), C(tetra_orgs_dir), C(tetra_environments) and C(tetra_env), for one environment alone,
    say what is validated.
  - A secret that the inventory does not give is a warning, because a vault may be closed to whoever validates.
options: {}
extends_documentation_fragment:
  - tetra.platform.common.controller
author:
  - tetra.platform contributors (@tetra-platform)
"""

EXAMPLES = r"""
- name: Validate the organization
  tetra.platform.deploy_validate:
  register: validated
"""

RETURN = r"""
environments:
  description:
    - Environment to C(valid), and to its C(findings), each with severity, code, file, line, column, message and hint.
  returned: when the organization and the environments could be read
  type: dict
outcome:
  description: V(unchanged), or V(invalid) when there is an error for some environment.
  returned: always
  type: str
"""

from ansible_collections.tetra.platform.plugins.module_utils import bridge


def main() -> None:
    """Tell that the work is done by the action plugin of the same name."""
    bridge.refuse_on_host("deploy_validate", {})


if __name__ == "__main__":
    main()
