# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which templates an environment has, and where their outputs are."""

from __future__ import annotations

import pytest
from ansible_collections.tetra.platform.plugins.plugin_utils import template_layers

ENVIRONMENTS = ("dev", "development", "staging", "prod")


def outputs(paths, own=("staging",)):
    """The outputs of an environment, without the folder that they all have."""
    layers, findings = template_layers.layers([f"templates/{path}" for path in paths], own, ENVIRONMENTS)
    assert findings == []
    return {out.removeprefix("templates/"): path.removeprefix("templates/") for out, path in layers.outputs.items()}


@pytest.mark.parametrize(
    ("paths", "own", "expected"),
    [
        ([], ["dev"], {}),
        (["a.conf.j2", "b.tmpl", "c"], ["dev"], {"a.conf": "a.conf.j2", "b": "b.tmpl", "c": "c"}),
        (["a.j2", "dev/a.j2"], ["dev"], {"a": "dev/a.j2"}),
        (["a.j2", "dev/a.j2"], ["staging"], {"a": "a.j2"}),
        (["dev/a.j2"], ["dev"], {"a": "dev/a.j2"}),
        (["dev/a.j2"], ["staging"], {}),
        (["a.j2", "dev/a"], ["dev"], {"a": "dev/a"}),
        (["x/a.j2", "dev/x/a.j2"], ["dev"], {"x/a": "dev/x/a.j2"}),
        (["a", "dev/a", "staging/a"], ["staging", "dev"], {"a": "staging/a"}),
        (["a", "dev/a"], ["staging", "dev"], {"a": "dev/a"}),
        (["_base.j2", "a.j2", "dev/_base.j2", "_parts/b.j2"], ["dev"], {"a": "a.j2"}),
        (["base/a.j2"], ["dev"], {"base/a": "base/a.j2"}),
        (["x/dev/a"], ["dev"], {"x/dev/a": "x/dev/a"}),
    ],
)
def test_what_is_rendered_in_an_environment(paths, own, expected):
    assert outputs(paths, own) == expected


def test_what_another_environment_has_cannot_be_loaded():
    layers, _findings = template_layers.layers(["templates/a", "templates/prod/a"], ["dev"], ENVIRONMENTS)
    assert (layers.paths, layers.folders) == (["templates/a"], ["templates/dev/", "templates/"])


@pytest.mark.parametrize("paths", [["a", "a.j2"], ["dev/a.j2", "dev/a.tmpl"]])
def test_two_templates_of_a_folder_with_one_output_are_wrong(paths):
    _layers, findings = template_layers.layers([f"templates/{path}" for path in paths], ["dev"], ENVIRONMENTS)
    assert [finding.message for finding in findings] == [
        f"templates/{paths[0]} and templates/{paths[1]} have the same output"
    ]


@pytest.mark.parametrize("folder", ["", "dev/"])
def test_an_output_is_where_its_template_is_without_the_suffix(folder):
    assert template_layers.output_path(f"templates/{folder}x.conf.j2") == f"templates/{folder}x.conf"
