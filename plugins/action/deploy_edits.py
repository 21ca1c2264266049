# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ask a host what it runs of an environment, and what was edited there by hand."""

from __future__ import annotations

from ansible_collections.tetra.platform.plugins.plugin_utils.executor import HostAction


class ActionModule(HostAction):
    """The agent answers; nothing is written."""

    operation = "deploy_edits"
