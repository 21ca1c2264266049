# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The controller's half of the module tsm_service: asks the agent of the host to start, stop or restart services."""

from __future__ import annotations

from ansible_collections.tetra.platform.plugins.plugin_utils.executor import HostAction


class ActionModule(HostAction):
    """Change services of a host."""

    operation = "tsm_service"
