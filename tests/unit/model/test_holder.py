# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who holds a port, in words."""

from __future__ import annotations

import pytest
from ansible_collections.tetra.platform.plugins.module_utils.model.ports import holder

NGINX = {"address": "0.0.0.0", "port": 80, "protocol": "tcp", "state": "listen", "ipv6_only": False, "pid": 7,
         "command": "nginx", "unit": "", "container": "", "owner": None}


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({}, "nginx (pid 7) listens on 0.0.0.0:80"),
        ({"address": "::1"}, "nginx (pid 7) listens on [::1]:80"),
        ({"protocol": "udp"}, "nginx (pid 7) listens on 0.0.0.0:80/udp"),
        ({"command": ""}, "a program (pid 7) listens on 0.0.0.0:80"),
        ({"unit": "nginx.service"}, "nginx of nginx.service (pid 7) listens on 0.0.0.0:80"),
        ({"unit": "docker-ab.scope", "container": "web"}, "nginx of container web (pid 7) listens on 0.0.0.0:80"),
        ({"pid": None, "command": ""}, "a program that the agent may not look into listens on 0.0.0.0:80"),
        ({"pid": None, "container": "web"}, "container web listens on 0.0.0.0:80"),
        ({"state": "published", "pid": None, "container": "web"}, "container web publishes 0.0.0.0:80"),
        (
            {"state": "connection", "command": "curl", "address": "10.0.0.2", "port": 4000},
            "an outgoing connection of curl (pid 7) uses 10.0.0.2:4000 as its source port",
        ),
    ],
)
def test_a_holder_is_told_with_what_is_known_of_it(changes, text):
    assert holder.text({**NGINX, **changes}) == text


def test_text_from_outside_is_shown_without_what_a_terminal_obeys_and_not_endless():
    assert holder.shown("a\x1b[2J\nb") == "a?[2J?b"
    assert holder.shown("x" * 5000) == "x" * 80
