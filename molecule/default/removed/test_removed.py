# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is left when tetra was taken away."""

import pytest

testinfra_hosts = ["ansible://all"]


@pytest.mark.parametrize(
    "path",
    ["/var/lib/tetra/bin", "/var/lib/tetra/orgs", "/var/lib/tetra/config/host.json", "/var/lib/tetra/config/digest.key",
     "/etc/tetra/policy.json", "/etc/systemd/journald.conf.d/tetra.conf", "/usr/local/bin/tsm",
     "/etc/systemd/system/tetra-boot.service", "/etc/systemd/system/multi-user.target.wants/tetra-boot.service"],
)
def test_nothing_of_tetra_is_left(host, path):
    assert not host.file(path).exists


def test_the_port_registry_stays(host):
    assert "kept = 4242" in host.file("/var/lib/tetra/config/ports.toml").content_string
