# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The demo: a first promotion on this machine, and a broken release that puts itself back.

``demo.py up`` prepares three hosts that are all this machine, pushes the example organization to dev, promotes it to
staging, then tries a release that is broken. ``demo.py down`` stops everything. Both can be run again.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ORGS = ROOT / "examples" / "orgs"
STATE = ROOT / ".demo"
GOOD = ("applied", "unchanged")
_BEGUN = time.monotonic()


def say(text: str) -> None:
    """Print a line with the seconds since the start."""
    print(f"{time.monotonic() - _BEGUN:6.1f} s  {text}", flush=True)


def play(name: str, expected: tuple, **variables: str) -> dict:
    """Run a playbook on the demo inventory and return the result that it wrote.

    Any outcome that is not expected ends the demo with what Ansible printed.
    """
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder, "result.json")
        extra = {"tetra_org": "acme", "tetra_result_file": os.fspath(result), **variables}
        program = Path(sys.executable).with_name("ansible-playbook")
        command = [program, "-i", "inventories/demo", f"playbooks/{name}.yml", "-e", json.dumps(extra)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        found = json.loads(result.read_text()) if result.exists() else {}
    if found.get("outcome") not in expected or (not found and done.returncode):
        sys.exit(f"{done.stdout}{done.stderr}\ndemo: {name} did not end as it should: {found.get('outcome')}")
    return found


def up() -> None:
    """Show the way of a good release and of a broken one."""
    STATE.mkdir(exist_ok=True)
    say("preparing dev-1, staging-1 and staging-2: three directories and loopback addresses of this machine")
    play("prepare", (None,))
    say("pushing the organization acme to dev")
    play("push", GOOD, tetra_env="dev", tetra_orgs_dir=os.fspath(ORGS))
    promote("promoting to staging what dev runs", GOOD)
    broken()
    table(play("status", ("unchanged",), tetra_env="dev"), play("status", ("unchanged",), tetra_env="staging"))


def promote(text: str, expected: tuple) -> dict:
    """Promote from dev to staging, and say how it ended and after how long."""
    say(text)
    begun = time.monotonic()
    found = play("promote", expected, tetra_from="dev", tetra_to="staging")
    say(f"  {found['outcome']} after {time.monotonic() - begun:.1f} s")
    return found


def broken() -> None:
    """Promote a version that is well in dev, and fails in staging after its first answer."""
    with tempfile.TemporaryDirectory() as folder:
        org = Path(folder, "acme")
        shutil.copytree(ORGS / "acme", org)
        server = org / "files" / "api" / "server.py"
        # A bundle that failed is on hold, so each run of the demo makes one of its own.
        mistake = (ROOT / "examples" / "broken" / "server.py").read_text(encoding="utf-8")
        server.write_text(f"{mistake}# attempt {secrets.token_hex(4)}\n", encoding="utf-8")
        say("pushing a version with a mistake to dev, where it does not show")
        play("push", GOOD, tetra_env="dev", tetra_orgs_dir=folder)
    found = promote("promoting the mistake to staging", ("rolled_back",))
    for name, host in sorted(found["hosts"].items()):
        say(f"  {name}: back on release {host['release'][:12]}; {host['detail'].partition(chr(10))[0][:100]}")
    say("putting dev back with a rollback")
    play("rollback", GOOD, tetra_env="dev")


def table(*results: dict) -> None:
    """Print the services with their addresses, and what to do next."""
    print(f"\n{'HOST':<10} {'SERVICE':<8} {'STATE':<8} {'RELEASE':<13} URL")
    for result in results:
        for name, host in sorted(result["hosts"].items()):
            for service, found in sorted(host["services"].items()):
                url = f"{found['url']}/health" if service == "api" else found["url"]
                print(f"{name:<10} {service:<8} {found['state']:<8} {found['release'][:12]:<13} {url}".rstrip())
    say("done; the services go on running. Stop them with: make demo-down")


def down() -> None:
    """Stop the supervisors of the demo with all their services, and forget its state."""
    if STATE.exists():
        play("prepare", (None,), tsm_state="stopped")
        shutil.rmtree(STATE)
    say("the demo is stopped and its state is removed")


if __name__ == "__main__":
    {"up": up, "down": down}[sys.argv[1]]()
