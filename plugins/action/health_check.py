# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The controller's half of the module health_check: asks the agent of the host to check services."""

from __future__ import annotations

from ansible_collections.tetra.platform.plugins.plugin_utils.executor import HostAction


class ActionModule(HostAction):
    """Check the services of a host."""

    operation = "health_check"
