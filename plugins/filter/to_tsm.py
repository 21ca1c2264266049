# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The filter to_tsm: the text of a service definition."""

from __future__ import annotations

from collections.abc import Mapping

from ansible.errors import AnsibleFilterError
from ansible_collections.tetra.platform.plugins.module_utils.model import definition_text
from ansible_collections.tetra.platform.plugins.module_utils.model.errors import TetraError


def to_tsm(texts: Mapping) -> str:
    """A definition that sets what is given.

    :param texts: name to text or words, as from_tsm gives them.
    :raises AnsibleFilterError: for what no definition can say.
    """
    if not isinstance(texts, Mapping):
        raise AnsibleFilterError(f"to_tsm takes a mapping of names to texts, not {type(texts).__name__}")
    try:
        return definition_text.to_tsm(definition_text.from_texts(texts))
    except TetraError as error:
        raise AnsibleFilterError(str(error)) from error


class FilterModule:
    """What Ansible looks for."""

    def filters(self) -> dict:
        """The filters of this file."""
        return {"to_tsm": to_tsm}
