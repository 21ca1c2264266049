# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the role leaves on a host."""

import json

import pytest

testinfra_hosts = ["ansible://all"]


@pytest.mark.parametrize(
    ("path", "mode"),
    [
        ("/var/lib/tetra", 0o755), ("/var/lib/tetra/config", 0o755), ("/var/lib/tetra/bin", 0o755),
        ("/var/lib/tetra/config/digest.key", 0o600), ("/etc/tetra", 0o755), ("/etc/tetra/policy.json", 0o644),
        ("/etc/systemd/system/tetra-boot.service", 0o644),
    ],
)  # fmt: skip
def test_what_is_made_belongs_to_root(host, path, mode):
    found = host.file(path)
    assert (found.user, found.group, found.mode) == ("root", "root", mode)


def test_the_policy_says_what_was_asked_for(host):
    assert json.loads(host.file("/etc/tetra/policy.json").content_string)["users"] == {"acme": ["backup"]}


def test_the_journal_is_kept_and_limited(host):
    text = host.file("/etc/systemd/journald.conf.d/tetra.conf").content_string
    assert "SystemMaxUse=200M" in text
    assert host.file("/var/log/journal").is_directory


def test_the_host_settles_transactions_when_it_starts(host):
    assert host.service("tetra-boot").is_enabled


def test_the_agent_finds_nothing_wrong(host):
    done = host.run("tsm doctor --json")
    assert done.rc == 0, done.stdout
    assert {check["status"] for check in json.loads(done.stdout)["checks"]} == {"ok"}
