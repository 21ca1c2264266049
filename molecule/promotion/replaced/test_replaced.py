# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""After a host of production was lost: another one of its name runs what the others run."""

import testinfra

testinfra_hosts = ["ansible://prod-1", "ansible://prod-2", "ansible://prod-3"]
FOLDER = "/var/lib/tetra/orgs/acme/prod"


def test_the_new_host_runs_what_the_others_run(host):
    first = testinfra.get_host("ansible://prod-1", ansible_inventory=host.backend.ansible_inventory)
    command = f"readlink {FOLDER}/current"
    assert host.check_output(command) == first.check_output(command)
    assert host.service("tetra-acme-prod-api").is_running


def test_that_it_was_taken_out_and_came_back_is_on_record(host):
    if host.check_output("hostname") != "prod-3":
        with host.sudo():
            journal = host.file(f"{FOLDER}/journal.jsonl").content_string
        assert journal.index('"host_removed"') < journal.index('"host_member"')
        assert "its disk died" in journal
