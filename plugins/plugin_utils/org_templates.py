# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The templates of an organization: those in ``templates/``, whose outputs are files of a release, and those in
``services/`` that end in ``.tmpl``, which become definitions before these are read.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.tetra.platform.plugins.module_utils.model import canonical
from ansible_collections.tetra.platform.plugins.module_utils.model.errors import (
    ERROR,
    Finding,
    TetraError,
    raise_on_errors,
)
from ansible_collections.tetra.platform.plugins.plugin_utils import overlay, template, template_layers
from ansible_collections.tetra.platform.plugins.plugin_utils.overlay import EnvironmentValues
from ansible_collections.tetra.platform.plugins.plugin_utils.source import Source
from ansible_collections.tetra.platform.plugins.plugin_utils.template import Rendered
from ansible_collections.tetra.platform.plugins.plugin_utils.template_layers import Layers

_SUFFIX = ".tmpl"


def layers(source: Source, env: str, environment: EnvironmentValues, aliases: Mapping[str, str]) -> Layers:
    """The templates in ``templates/`` that an environment has.

    :raises TetraError: when two of them have the same output.
    """
    known = {*overlay.folders_of_all(source, aliases), env}
    found, findings = template_layers.layers(source.paths("templates"), environment.folders, known)
    raise_on_errors(findings)
    return found


def definitions(source: Source, env: str, environment: EnvironmentValues, shared: Layers) -> Rendered:
    """What the templates in ``services/`` become, which may load those in ``templates/``.

    :raises TetraError: listing what is wrong with them.
    """
    paths = [path for path in source.paths("services") if path.endswith(_SUFFIX)]
    if not paths:
        return Rendered({}, {}, {})
    outputs = {template_layers.output_path(path): path for path in paths}
    raise_on_errors([
        Finding(ERROR, "template", f"{path} and {output} have the same output", hint="keep one of them")
        for output, path in outputs.items() if output in source.files
    ])  # fmt: skip
    own = Layers(outputs, [*paths, *shared.paths], shared.folders)
    values = {**environment.values, "org": source.org.name, "env": env}
    # An empty line is nothing to a definition, and so what is said of it names the lines of its template.
    return template.render(own, _texts(source, own), values, trim=False)


def files(source: Source, shared: Layers, values: Mapping[str, Any]) -> tuple[dict[str, dict[str, Any]], Rendered]:
    """The files that ``templates/`` adds to a release: path to entry, as in a manifest, and their contents.

    :param values: what templates may name.
    :raises TetraError: listing what is wrong with the templates.
    """
    rendered = template.render(shared, _texts(source, shared), values)
    entries = {}
    for output, path in shared.outputs.items():
        data = rendered.files[output]
        executable = source.files[path].entry["executable"]
        entries[output] = {
            "type": "file", "sha256": canonical.sha256(data), "size": len(data), "executable": executable,
        }  # fmt: skip
    return entries, rendered


def _texts(source: Source, found: Layers) -> dict[str, str]:
    findings: list[Finding] = []
    texts = {}
    for path in found.paths:
        try:
            texts[path] = source.text(path)
        except TetraError as error:
            findings += error.findings or [Finding(ERROR, "invalid", error.message, hint=error.hint)]
    raise_on_errors(findings)
    return texts
