# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The filter from_tsm: what a service definition sets."""

from __future__ import annotations

from ansible.errors import AnsibleFilterError
from ansible_collections.tetra.platform.plugins.module_utils.model import definition, definition_text
from ansible_collections.tetra.platform.plugins.module_utils.model.errors import TetraError


def from_tsm(text: str) -> dict[str, str | list[str]]:
    """Name to text or words; the text is read and never run.

    :raises AnsibleFilterError: for anything that is no definition, with line and column.
    """
    try:
        return definition_text.as_texts(definition.parse(str(text), "definition", {}))
    except TetraError as error:
        raise AnsibleFilterError(str(error)) from error


class FilterModule:
    """What Ansible looks for."""

    def filters(self) -> dict:
        """The filters of this file."""
        return {"from_tsm": from_tsm}
