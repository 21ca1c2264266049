# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The filter tetra_template: a template of an organization, rendered with values of somebody else."""

from __future__ import annotations

from collections.abc import Mapping

from ansible.errors import AnsibleFilterError
from ansible_collections.tetra.platform.plugins.module_utils.model.errors import TetraError
from ansible_collections.tetra.platform.plugins.plugin_utils import template
from ansible_collections.tetra.platform.plugins.plugin_utils.template_layers import Layers

_PATH = "template"


def tetra_template(text: str, values: Mapping | None = None) -> str:
    """A text with everything in it rendered, under the limits of templates of organizations.

    :raises AnsibleFilterError: listing what is wrong with the template, with line and column.
    """
    if not isinstance(text, str):
        raise AnsibleFilterError(f"tetra_template takes a text, not {type(text).__name__}")
    given = {} if values is None else values
    if not isinstance(given, Mapping):
        raise AnsibleFilterError(f"tetra_template takes a mapping of values, not {type(given).__name__}")
    try:
        rendered = template.render(Layers({_PATH: _PATH}, [_PATH], []), {_PATH: str(text)}, _plain(given))
    except TetraError as error:
        raise AnsibleFilterError(str(error)) from error
    return rendered.files[_PATH].decode("utf-8")


def _plain(value: object) -> object:
    """Data of Ansible, whose templates are resolved when somebody looks, as JSON has it."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if value is None or isinstance(value, (bool, int, float)):
        return value
    return str(value)


class FilterModule:
    """What Ansible looks for."""

    def filters(self) -> dict:
        """The filters of this file."""
        return {"tetra_template": tetra_template}
