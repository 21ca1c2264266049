# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fetch a bundle from a host that runs it: its manifest, and the bytes that the hosts ahead do not have."""

from __future__ import annotations

from ansible_collections.tetra.platform.plugins.plugin_utils.executor import HostAction


class ActionModule(HostAction):
    """Ask a host for the pack of its current bundle; the pack stays in the result, base64, and holds no secret."""

    operation = "deploy_pack"
