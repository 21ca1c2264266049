# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""After a promotion that failed: staging runs what it ran, and keeps what there is to know."""

import json

import pytest

testinfra_hosts = ["ansible://staging-1", "ansible://staging-2"]
FOLDER = "/var/lib/tetra/orgs/acme/staging"


@pytest.fixture(autouse=True)
def root(host):
    """These files are for root alone."""
    with host.sudo():
        yield


def records(host) -> list[dict]:
    return [json.loads(line) for line in host.file(f"{FOLDER}/journal.jsonl").content_string.splitlines()]


def test_the_release_before_runs_again(host):
    before, last = records(host)[-2:]
    assert (before["outcome"], last["outcome"]) == ("confirmed", "rolled_back")
    current = host.check_output(f"readlink {FOLDER}/current").rpartition("/")[2]
    assert current == before["to"] == last["from"]
    assert host.service("tetra-acme-staging-api").is_running


def test_the_bundle_is_on_hold_with_its_evidence(host):
    last = records(host)[-1]
    assert host.file(f"{FOLDER}/holds/{last['bundle']}.json").exists
    assert host.file(f"{FOLDER}/evidence/{last['transaction']}/api.log").exists


def test_no_deadman_is_left(host):
    assert host.check_output("systemctl list-timers --no-legend 'tetra*'") == ""
    assert host.check_output("find /etc/systemd/system -name 'tetra.*'") == ""
