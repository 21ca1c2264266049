# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""From nothing to running organizations on one host that systemd started, which leave each other alone."""

from __future__ import annotations

import time

import pytest

from .conftest import LONG, Servers

QUICK = {"tetra_env": "dev", "tetra_probe_passes": 1}
OTHERS = ("services", *(("shared-infrastructure", "simple") if LONG else ()))


@pytest.fixture(scope="module")
def servers(tmp_path_factory):
    made = Servers(tmp_path_factory.mktemp("servers"), {"dev-1": "bookworm"})
    try:
        yield made
    finally:
        made.down()


def new(servers, org: str, **variables: object):
    return servers.play("org_template", tetra_org=org, **variables)


def processes(servers, org: str) -> str:
    """The main processes of an organization, and everything that is in its folder on the host, with digests."""
    host = servers.hosts["dev-1"]
    return host.run(f"systemctl show --property=Id,MainPID 'tetra-{org}-*' | sort; cd /var/lib/tetra/orgs/{org} && "
                    "find . -type f ! -path './*/logs/*' -exec sha256sum {} + | sort")  # fmt: skip


def test_a_new_organization_runs_after_three_commands_and_others_beside_it_leave_it_alone(servers):
    begun = time.monotonic()
    made = new(servers, "shop", tetra_org_template="webapp", tetra_answers={"greeting": "Welcome"})
    prepared = servers.play("prepare")
    pushed = servers.play("push", tetra_org="shop", **QUICK)
    seconds = time.monotonic() - begun
    assert (made.outcome, prepared.code, pushed.outcome) == ("applied", 0, "applied"), pushed.output
    status, page = servers.ask("dev-1", pushed.result["ports"]["web"], "/index.html")
    assert (status, "Welcome from shop in dev." in page) == (200, True), page
    print(f"from nothing to a page that answers: 3 commands, {seconds:.1f} s")
    before = processes(servers, "shop")
    for name in OTHERS:
        assert new(servers, f"o-{name}", tetra_org_template=name).outcome == "applied"
        pushed = servers.play("push", tetra_org=f"o-{name}", **QUICK)
        assert pushed.outcome == "applied", pushed.output
        assert servers.ask("dev-1", pushed.result["ports"]["web"], "/index.html")[0] == 200
    assert processes(servers, "shop") == before
    assert servers.play("push", tetra_org="shop", **QUICK).outcome == "unchanged"


def test_an_organization_that_is_there_is_never_touched_and_a_wrong_one_never_made(servers, tmp_path):
    orgs = tmp_path / "orgs"
    (orgs / "mine").mkdir(parents=True)
    refused = new(servers, "mine", tetra_orgs_dir=f"{orgs}")
    assert (refused.outcome, list((orgs / "mine").iterdir())) == ("refused", []), refused.output
    template = tmp_path / "template"
    (template / "org" / "services").mkdir(parents=True)
    (template / "template.toml").write_text("")
    (template / "org" / "services" / "web.tsm").write_text("TSM_COMMAND=$(id)\n")
    wrong = new(servers, "other", tetra_orgs_dir=f"{orgs}", tetra_org_template=f"{template}")
    assert (wrong.outcome, "services/web.tsm:1:13" in wrong.result["message"]) == ("invalid", True), wrong.output
    checked = servers.play("org_template", "--check", "--diff", tetra_org="shown", tetra_orgs_dir=f"{orgs}")
    assert (checked.outcome, "+TSM_DESCRIPTION=" in checked.output) == ("applied", True), checked.output
    asked = new(servers, "other", tetra_orgs_dir=f"{orgs}", tetra_answers={"greting": "x", "description": "a\nb"})
    assert "did you mean greeting?" in asked.result["message"]
    assert "tetra_answers.description" in asked.result["message"]
    assert sorted(path.name for path in orgs.iterdir()) == ["mine"]
