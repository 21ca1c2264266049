# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The filter release_diff: how two releases differ."""

from __future__ import annotations

from collections.abc import Mapping

from ansible.errors import AnsibleFilterError
from ansible_collections.tetra.platform.plugins.module_utils.model import release, release_text
from ansible_collections.tetra.platform.plugins.module_utils.model.errors import TetraError


def release_diff(before: Mapping, after: Mapping) -> str:
    """The difference between two releases as a unified diff; empty when they are the same.

    :param before: the manifest of a release, as the module release_info returns it.
    :raises AnsibleFilterError: for what is no manifest of a release.
    """
    try:
        for manifest in (before, after):
            release.check_manifest(manifest)
            if manifest["kind"] != "release":
                raise TetraError("that is the manifest of a bundle, not of a release")
        return release_text.difference(before, after, ("before", "after"))
    except TetraError as error:
        raise AnsibleFilterError(str(error)) from error


class FilterModule:
    """What Ansible looks for."""

    def filters(self) -> dict:
        """The filters of this file."""
        return {"release_diff": release_diff}
