#!/usr/bin/python
# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Render the templates of an organization for an environment."""

from __future__ import annotations

DOCUMENTATION = r"""
module: deploy_render
short_description: Render the templates of an organization for an environment
version_added: 0.1.0
description:
  - Renders the templates of an organization as a push into an environment would, and explains its values, which layer
    each comes from, which others it goes on top of, and who uses it. No host is asked, so ports are those that hosts
    would give on which nothing else is.
  - The variables C(tetra_org), C(tetra_orgs_dir), C(tetra_environments) and C(tetra_env) say what is rendered,
    C(tetra_render_dir), where to, a folder that is new or empty; without it nothing is written. C(tetra_value) names
    the only value to explain.
options: {}
extends_documentation_fragment:
  - tetra.platform.common.controller
author:
  - tetra.platform contributors (@tetra-platform)
"""

EXAMPLES = r"""
- name: Render the templates
  tetra.platform.deploy_render:
  register: rendered
"""

RETURN = r"""
files:
  description: Path in the release to C(template), C(size) in bytes and C(sha256).
  returned: when everything could be rendered
  type: dict
values:
  description:
    - Value to C(value), to C(layers), which are files and lines, the one that wins first, and to C(used_by), the files
      that name it.
  returned: when everything could be rendered
  type: dict
ports:
  description: Service, or service and name, to port.
  returned: when everything could be rendered
  type: dict
findings:
  description: What is remarked on, each with severity, code, file, line, column, message and hint.
  returned: when everything could be rendered
  type: list
  elements: dict
outcome:
  description: V(unchanged), V(applied) when files were written, or V(invalid).
  returned: always
  type: str
"""

from ansible_collections.tetra.platform.plugins.module_utils import bridge


def main() -> None:
    """Tell that the work is done by the action plugin of the same name."""
    bridge.refuse_on_host("deploy_render", {})


if __name__ == "__main__":
    main()
