# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The controller's half of the module environment_host: asks the agent of the host to remember who was taken out."""

from __future__ import annotations

from ansible_collections.tetra.platform.plugins.plugin_utils.executor import HostAction


class ActionModule(HostAction):
    """Change which hosts an environment has."""

    operation = "environment_host"
