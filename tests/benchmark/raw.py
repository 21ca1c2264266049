# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The floor: tar over ssh to all hosts at once, then one ssh that writes the units and starts them."""

from __future__ import annotations

import shlex
import subprocess

from case import Case
from hosts import Host, containers
from programs import BenchmarkError
from workload import PLACE

_TAKE = f"mkdir -p {PLACE} && tar -x -C {PLACE}"
_SHELL = """
ssh="ssh -i $1 -o BatchMode=yes {options} root@$2"
tar -c -C "$3" . | $ssh {take} && $ssh sh < "$4"
"""


def prepare(case: Case) -> None:
    """Write the script that each host is given."""
    lines = ["set -e"]
    for name, text in case.load.units().items():
        lines.append(f"cat > /etc/systemd/system/{name} << 'END'\n{text}END")
    units = " ".join(case.load.units())
    # To enable them makes systemd read all units anew.
    lines += [f"systemctl enable --quiet {units}", f"systemctl start {units}"]
    (case.folder / "units.sh").write_text("\n".join(lines) + "\n")


def push(case: Case) -> None:
    """Send the files and start the services, all hosts at once."""
    running = [(host, _start(case, host)) for host in case.hosts]
    said = {host.name: process.communicate()[0] for host, process in running}
    failed = [host.name for host, process in running if process.returncode]
    if failed:
        raise BenchmarkError(f"raw failed on {', '.join(failed)}: {said[failed[0]]}")


def _start(case: Case, host: Host) -> subprocess.Popen:
    script = _SHELL.format(options=containers.SSH_OPTIONS, take=shlex.quote(_TAKE))
    words = ["sh", "-c", script, "sh", host.key, host.address, case.load.files, case.folder / "units.sh"]
    return subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
