# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""After a rollback: production runs the release before, staging still the newer one."""

testinfra_hosts = ["ansible://all"]


def test_the_new_page_is_gone_from_production_alone(host):
    env = host.check_output("hostname").partition("-")[0]
    page = f"/var/lib/tetra/orgs/acme/{env}/current/files/site/public/changed.html"
    assert host.file(page).exists == (env != "prod")


def test_the_reason_is_in_the_journal(host):
    env = host.check_output("hostname").partition("-")[0]
    with host.sudo():
        assert ("the page was ugly" in host.check_output("tsm history --env " + env)) == (env == "prod")
