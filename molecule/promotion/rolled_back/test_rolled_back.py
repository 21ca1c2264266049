# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""After a rollback: staging runs the release before, dev still the newer one."""

testinfra_hosts = ["ansible://all"]


def test_the_new_page_is_gone_from_staging_and_still_in_dev(host):
    env = host.check_output("hostname").partition("-")[0]
    page = f"/var/lib/tetra/orgs/acme/{env}/current/files/site/public/changed.html"
    assert host.file(page).exists == (env == "dev")


def test_the_reason_is_in_the_journal(host):
    env = host.check_output("hostname").partition("-")[0]
    with host.sudo():
        assert ("the page was ugly" in host.check_output("tsm history --env " + env)) == (env == "staging")
