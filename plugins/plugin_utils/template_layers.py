# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which templates an environment has: those of the organization, and its own, which go on top of them."""

from __future__ import annotations

import dataclasses
import posixpath
from collections.abc import Collection, Iterable, Mapping, Sequence

from ansible_collections.tetra.platform.plugins.module_utils.model.errors import ERROR, Finding

FOLDER = "templates/"
_SUFFIXES = (".j2", ".tmpl")


@dataclasses.dataclass(frozen=True)
class Layers:
    """Templates as one environment has them.

    ``outputs`` is path in the release to the template that is rendered to it; ``paths`` are all that these may extend,
    include or import, by a name that is looked for in ``folders``, the nearest first.
    """

    outputs: Mapping[str, str]
    paths: Sequence[str]
    folders: Sequence[str] = (FOLDER,)


def output_path(path: str) -> str:
    """Where the output of a template is in a release: its own path without ``.j2`` or ``.tmpl``."""
    suffix = next((suffix for suffix in _SUFFIXES if path.endswith(suffix)), "")
    return path.removesuffix(suffix)


def layers(
    paths: Iterable[str], own: Sequence[str], environments: Collection[str]
) -> tuple[Layers, list[Finding]]:
    """The templates of an environment.

    ``templates/<env>/x`` takes the place of ``templates/x``. What begins with ``_``, a file or a folder, is there for
    others to extend or include, and is not rendered itself.

    :param paths: those of all templates of an organization.
    :param own: the names of folders of this environment, the nearest first: its own, then those that it inherits from.
    :param environments: the names of folders of all environments; those of others are left out.
    :returns: the layers, and what is wrong with them.
    """
    folders = [*(f"{FOLDER}{name}/" for name in own), FOLDER]
    others = tuple(f"{FOLDER}{name}/" for name in environments if name not in own)
    mine = sorted(path for path in paths if not path.startswith(others))
    outputs: dict[str, str] = {}
    findings = []
    for folder in folders:
        here = [path for path in mine if path.startswith(folder) and _nearest(path, folders) == folder]
        rendered = [path for path in here if not _is_part(path.removeprefix(folder))]
        found, wrong = _outputs(rendered, folder)
        findings += wrong
        outputs = {**found, **outputs}
    return Layers(dict(sorted(outputs.items())), mine, folders), findings


def _nearest(path: str, folders: Sequence[str]) -> str:
    return max((folder for folder in folders if path.startswith(folder)), key=len)


def _is_part(path: str) -> bool:
    return any(name.startswith("_") for name in path.split("/"))


def _outputs(paths: Sequence[str], folder: str) -> tuple[dict[str, str], list[Finding]]:
    """The outputs of the templates of one folder."""
    outputs: dict[str, str] = {}
    findings = []
    for path in paths:
        output = posixpath.join(FOLDER, output_path(path.removeprefix(folder)))
        if output in outputs:
            text = f"{outputs[output]} and {path} have the same output"
            findings.append(Finding(ERROR, "template", text, hint="keep one of them"))
        outputs.setdefault(output, path)
    return outputs, findings
