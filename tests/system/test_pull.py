# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is done by hand on hosts that systemd started is named, proposed, taken over, and pushed; nothing else moves."""

from __future__ import annotations

from pathlib import Path

import pytest

from .conftest import LONG, ROOT, Servers

QUICK = {"tetra_probe_passes": 1}
HOME = "/var/lib/tetra/orgs"
FIRST = ROOT / "roles" / "org" / "files" / "templates" / "services" / "org" / "files" / "api" / "version.json"
ORGS = {"shop": "services", "other": "webapp" if LONG else "simple"}

BY_HAND = {
    "unit": "mkdir -p /etc/systemd/system/tetra-shop-dev-api.service.d && "
            "printf '[Service]\\nMemoryMax=64M\\nNice=3\\n' > /etc/systemd/system/tetra-shop-dev-api.service.d/x.conf",
    "file": f"echo '{{\"version\": \"by hand\"}}' > {HOME}/shop/dev/current/files/api/version.json",
    "new": f"echo new > {HOME}/shop/dev/current/files/api/new.txt",
    "environment": f"sed -i 's/^export LANG=.*/&\\nexport LEVEL=debug/' {HOME}/shop/dev/run/worker.sh",
    "stopped": "systemctl stop tetra-shop-dev-scheduler",
}  # fmt: skip


@pytest.fixture(scope="module")
def servers(tmp_path_factory):
    made = Servers(tmp_path_factory.mktemp("servers"), {"dev-1": "bookworm", "prod-1": "bookworm"},
                   {"dev": ["dev-1"], "staging": ["prod-1"], "prod": ["prod-1"]})  # fmt: skip
    try:
        for org, template in ORGS.items():
            assert made.play("org_template", tetra_org=org, tetra_org_template=template).outcome == "applied"
        assert made.play("prepare").code == 0
        for org in ORGS:
            pushed = made.play("push", tetra_org=org, tetra_env="dev", **QUICK)
            assert pushed.outcome == "applied", pushed.output
        for source, target in (("dev", "staging"), ("staging", "prod")):
            moved = made.play("promote", tetra_org="shop", tetra_from=source, tetra_to=target, **QUICK)
            assert moved.outcome == "applied", moved.output
        yield made
    finally:
        made.down()


def everything(servers, host: str, org: str) -> str:
    """The processes of an organization on a host, and all files that are its own, with digests."""
    return servers.hosts[host].run(
        f"systemctl show --property=Id,MainPID 'tetra-{org}-*' | sort; cd {HOME}/{org} && "
        "find . -type f ! -path './*/logs/*' -exec sha256sum {} + | sort; "
        f"cat /etc/systemd/system/tetra-{org}-* | sha256sum")  # fmt: skip


def drifts(servers, env: str) -> list[str]:
    """What is not as it was given."""
    found = servers.play("drift", tetra_org="shop", tetra_env=env)
    return [f"{one['kind']}: {one['what']}" for host in found.result["hosts"].values() for one in host["drifts"]]


def test_what_was_done_by_hand_is_named_proposed_accepted_and_pushed(servers, tmp_path):
    host = servers.hosts["dev-1"]
    others = {(name, org): everything(servers, name, org)
              for name, org in (("dev-1", "other"), ("prod-1", "shop"))}  # fmt: skip
    host.run(" && ".join(BY_HAND.values()) + " && systemctl daemon-reload")
    named = drifts(servers, "dev")
    assert sorted(one for one in named if not one.startswith("process runs older files")) == [
        "hand edit: /etc/systemd/system/tetra-shop-dev-api.service.d/x.conf", "hand edit: files/api/version.json",
        "hand edit: run/worker.sh", "not running: service scheduler is stopped",
        "unmanaged extra: files/api/new.txt"]
    folder = tmp_path / "proposal"
    pulled = servers.play("pull", tetra_org="shop", tetra_env="dev", tetra_pull_dir=f"{folder}")
    assert pulled.outcome == "applied", pulled.output
    assert {one["path"] for one in pulled.result["changes"]} == {
        "environments/dev.toml", "files/api/version.json", "files/api/new.txt"}
    left = [(one["host"], one["what"]) for one in pulled.result["left"]]
    assert left == [("dev-1", "unit of api"), ("dev-1", "service scheduler")]
    text = (folder / "shop" / "environments" / "dev.toml").read_text()
    for line in ('MEMORY_LIMIT = "64M"', 'LEVEL = "debug"', 'AUTOSTART = "false"'):
        assert line in text
    accepted = servers.play("accept", "--diff", tetra_org="shop", tetra_pull_dir=f"{folder}")
    assert (accepted.outcome, "+new" in accepted.output) == ("applied", True), accepted.output
    again = servers.play("accept", tetra_org="shop", tetra_pull_dir=f"{folder}")
    assert again.outcome == "unchanged", again.output
    assert servers.play("push", tetra_org="shop", tetra_env="dev", **QUICK).outcome == "applied"
    assert servers.play("push", tetra_org="shop", tetra_env="dev", **QUICK).outcome == "unchanged"
    assert drifts(servers, "dev") == []
    shown = host.run("systemctl show --property=MemoryMax,DropInPaths tetra-shop-dev-api; tr '\\0' '\\n' < "
                     "/proc/$(systemctl show --value --property=MainPID tetra-shop-dev-worker)/environ")
    assert "MemoryMax=67108864\nDropInPaths=\n" in shown
    assert "LEVEL=debug" in shown
    assert {key: everything(servers, *key) for key in others} == others


def test_an_overview_tells_what_is_behind_and_how_environments_differ(servers):
    shown = servers.play("overview", tetra_org="shop")
    assert shown.outcome == "unchanged", shown.output
    steps = {env: (own["step"], len(own["drifts"])) for env, own in shown.result["environments"].items()}
    assert steps == {"dev": ("as its directory", 0), "staging": ("differs from dev", 0), "prod": ("as staging", 0)}
    assert shown.result["differences"]["services.api.TSM_MEMORY_LIMIT"] == {"dev": "64M", "staging": "", "prod": ""}
    assert {own["actor"] for own in shown.result["environments"].values()} == {"root"}


def test_a_directory_that_is_lost_is_made_anew_from_an_environment(servers, tmp_path):
    lost = {"tetra_org": "shop", "tetra_env": "dev", "tetra_orgs_dir": f"{tmp_path}"}
    restored = servers.play("restore", **lost)
    assert restored.outcome == "applied", restored.output
    # What belongs to nobody but the people who work on it is in no bundle.
    (servers.orgs / "shop" / "README.md").unlink()
    assert content(Path(restored.result["directory"])) == content(servers.orgs / "shop")
    again = servers.play("restore", **lost)
    assert (again.outcome, f"{tmp_path}/shop" in again.result["message"]) == ("refused", True), again.output
    assert servers.play("push", **lost, **QUICK).outcome == "unchanged"
    # A directory that is behind gets what was pushed since; what it alone has stays.
    version, own = (Path(restored.result["directory"]) / "files" / "api" / name for name in ("version.json", "own.txt"))
    version.write_bytes(FIRST.read_bytes())
    own.write_text("not pushed yet")
    behind = servers.play("pull", **lost, tetra_pull_dir=f"{tmp_path}/behind")
    changes = {one["path"]: one["from"][0].partition(" ")[0] for one in behind.result["changes"]}
    assert changes == {"files/api/version.json": "bundle"}, behind.output
    assert "by hand" in (tmp_path / "behind" / "shop" / "files" / "api" / "version.json").read_text()
    assert (tmp_path / "behind" / "shop" / "files" / "api" / "own.txt").exists()


def content(folder: Path) -> dict[Path, tuple[bytes, bool]]:
    """The files of a folder, and whether each may be run."""
    return {path.relative_to(folder): (path.read_bytes(), bool(path.stat().st_mode & 0o100))
            for path in folder.rglob("*") if path.is_file()}  # fmt: skip
