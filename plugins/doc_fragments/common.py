# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Parts of the documentation that several modules share."""

from __future__ import annotations


class ModuleDocFragment:
    """Fragments, by the name under which modules ask for them."""

    DOCUMENTATION = r"""
options:
  tetra_dir:
    description:
      - Directory of tetra on the host.
      - The default is the variable C(tetra_dir) of the host, and without that the default of the module.
    type: path
    default: /var/lib/tetra
requirements:
  - Python 3.9 on the host.
attributes:
  platform:
    description: Systems that the module runs on.
    platforms: posix
    support: full
"""

    ENVIRONMENT = r"""
options:
  org:
    description: Name of the organization.
    type: str
    required: true
  env:
    description: Name of the environment.
    type: str
    required: true
"""

    CHANGES = r"""
attributes:
  check_mode:
    description: Can run in check mode and tell what would change.
    support: full
  diff_mode:
    description: Shows the difference when asked for it.
    support: full
"""

    READS = r"""
attributes:
  check_mode:
    description: Only reads, so check mode makes no difference.
    support: full
  diff_mode:
    description: Changes nothing, so there is no difference to show.
    support: N/A
"""

    HOST = r"""
requirements:
  - Python 3.9 on the host.
attributes:
  platform:
    description: Systems that the module runs on.
    platforms: posix
    support: full
"""

    CONTROLLER = r"""
attributes:
  platform:
    description: Works on the controller alone and asks no host.
    platforms: posix
    support: full
  check_mode:
    description: Can run in check mode.
    support: full
  diff_mode:
    description: Shows the difference when asked for it, where there is one.
    support: partial
    details: Only M(tetra.platform.deploy_plan) has a difference to show.
"""
