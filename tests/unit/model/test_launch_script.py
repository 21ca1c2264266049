# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is still the launch of a service, and what is the service; how it is launched see tests/integration."""

from __future__ import annotations

import pytest
from ansible_collections.tetra.platform.plugins.module_utils.host.supervisors import systemd
from ansible_collections.tetra.platform.plugins.module_utils.model import launch_script


# The first is what becomes of systemd's launcher, the second what the agent makes of itself.
@pytest.mark.parametrize("arguments", [list(systemd.LAUNCHER[2:]), ["sh", "-s"]])
def test_the_shell_with_the_script_is_no_service_yet(arguments):
    assert launch_script.is_launching(arguments)


@pytest.mark.parametrize(
    "arguments", [[], ["sh"], ["sh", "-c", "serve -s"], ["bash", "-s"], ["/usr/bin/python3", "serve.py"], ["x", "-s"]]
)
def test_what_the_shell_became_is_the_service(arguments):
    assert not launch_script.is_launching(arguments)
