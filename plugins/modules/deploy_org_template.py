#!/usr/bin/python
# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Make a new organization out of a template."""

from __future__ import annotations

DOCUMENTATION = r"""
module: deploy_org_template
short_description: Make a new organization out of a template
version_added: 0.1.0
description:
  - Makes the directory of an organization, which is valid and can be pushed at once. It appears as a whole, or not at
    all; one that is there is never touched.
  - The variable C(tetra_org) is its name, C(tetra_orgs_dir) the folder that it is made in (C(orgs) of the working
    directory without it), C(tetra_org_template) a built-in template (V(simple), V(webapp), V(services) or
    V(shared-infrastructure)) or the path of a directory with C(template.toml) and C(org/), such as a checkout, and
    C(tetra_answers) has answers to its questions by name. Questions without an answer and without a default are told,
    all at once.
  - The template, its digest and the answers stand in C([origin]) of C(org.toml).
options: {}
extends_documentation_fragment:
  - tetra.platform.common.controller
author:
  - tetra.platform contributors (@tetra-platform)
"""

EXAMPLES = r"""
- name: Make an organization
  tetra.platform.deploy_org_template:
  vars:
    tetra_org: shop
    tetra_org_template: webapp
    tetra_answers:
      domain: shop.example.org
"""

RETURN = r"""
directory:
  description: Where the organization is.
  returned: when it was made
  type: str
template:
  description: Name of the template.
  returned: when it was made
  type: str
digest:
  description: What names exactly the files and questions of the template.
  returned: when it was made
  type: str
answers:
  description: The answer to each question, defaults among them.
  returned: when it was made
  type: dict
files:
  description: Paths of the files of the organization.
  returned: when it was made
  type: list
  elements: str
outcome:
  description: V(applied), V(refused) when there is one of that name, or V(invalid).
  returned: always
  type: str
"""

from ansible_collections.tetra.platform.plugins.module_utils import bridge


def main() -> None:
    """Tell that the work is done by the action plugin of the same name."""
    bridge.refuse_on_host("deploy_org_template", {})


if __name__ == "__main__":
    main()
