# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The controller's half of the module tsm_service_info: asks the agent of the host to look at services."""

from __future__ import annotations

from ansible_collections.tetra.platform.plugins.plugin_utils.executor import HostAction


class ActionModule(HostAction):
    """Look at the services of a host."""

    operation = "tsm_service_info"
