# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The hosts: containers that systemd starts, reached over ssh; what runs on them, and how often they were called."""

from __future__ import annotations

import concurrent.futures
import contextlib
import dataclasses
import functools
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import workload
from programs import ROOT, BenchmarkError, run

SSH_OPTIONS = ("-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR")

_RELEASE = "bookworm"
_OPTIONS = [
    "--cap-add=SYS_ADMIN", "--cap-add=SYS_PTRACE", "--cap-add=NET_ADMIN", "--security-opt=seccomp=unconfined",
    "--security-opt=apparmor=unconfined", "--volume=/sys/fs/cgroup:/sys/fs/cgroup:rw", "--tmpfs=/run",
    "--tmpfs=/run/lock", "--tmpfs=/tmp:exec",
]  # fmt: skip
_PATIENCE = 60
_SETTLING = 15
# Sshd then tells of every command and every file transfer, whoever sends it and however it shares connections.
_COUNT_CALLS = "echo LogLevel VERBOSE > /etc/ssh/sshd_config.d/calls.conf && systemctl reload ssh"
_CALLS = "journalctl --quiet --unit=ssh --output=cat | grep -c '^Starting session:'"
# For every service that runs, what its process is and the sum of the program in its folder.
_RUNNING = r"""
for unit in $(systemctl list-units --state=running --plain --no-legend "*svc-*.service" | cut -d' ' -f1); do
    pid=$(systemctl show --property=MainPID --value "$unit")
    printf '%s %s\n' "$(cat "/proc/$pid/comm")" "$(sha256sum < "/proc/$pid/cwd/{program}" | cut -d' ' -f1)"
done
"""
_CLEAN = r"""
cd /etc/systemd/system
systemctl stop '*svc-*.service' 'tetra-*' 2> /dev/null
find . '(' -name '*svc-*' -o -name 'tetra-*' ')' -delete
rm -rf {place} /var/lib/tetra /etc/tetra
userdel tetra-bench 2> /dev/null
systemctl daemon-reload
systemctl reset-failed
sync
"""


@dataclasses.dataclass(frozen=True)
class Host:
    """A running host; root logs in with the key ``key``."""

    name: str
    address: str
    key: Path

    def run(self, command: str) -> str:
        """What a shell command says that root runs on the host, without ssh."""
        return run(["docker", "exec", self.name, "sh", "-c", command])

    def calls(self) -> int:
        """How many commands and file transfers came over ssh so far."""
        # Grep calls it a failure to have counted none.
        return int(self.run(f"{_CALLS} || true"))


@contextlib.contextmanager
def started(count: int, folder: Path) -> Iterator[list[Host]]:
    """Hosts that live as long as the block."""
    image = run([sys.executable, ROOT / "tests/hosts/images.py", _RELEASE]).split()[-1]
    key = folder / "key"
    run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key])
    names = [f"tetra-bench-{number}" for number in range(1, count + 1)]
    try:
        yield on_all(names, lambda name: _start(name, image, key))
    finally:
        # Names that were not taken any more are no mistake of ours.
        subprocess.run(["docker", "rm", "--force", "--volumes", *names], capture_output=True, check=False)


def _start(name: str, image: str, key: Path) -> Host:
    subprocess.run(["docker", "rm", "--force", "--volumes", name], capture_output=True, check=False)
    run(["docker", "run", "--detach", f"--name={name}", f"--hostname={name}", *_OPTIONS, image])
    address = run(["docker", "inspect", "--format={{.NetworkSettings.IPAddress}}", name]).strip()
    host = Host(name, address, key)
    public = key.with_suffix(".pub").read_text().strip()
    _within(_PATIENCE, f"{name} did not start", lambda: _answers(address))
    host.run(f"echo '{public}' > /root/.ssh/authorized_keys && {_COUNT_CALLS}")
    _within(_PATIENCE, f"{name} did not start", lambda: _answers(address))
    return host


def _answers(address: str) -> bool:
    try:
        with socket.create_connection((address, 22), timeout=1) as connection:
            return connection.recv(4) == b"SSH-"
    except OSError:
        return False


def on_all(items: list, work: Callable) -> list:
    """The results of the same work for every item, some at the same time."""
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        return list(pool.map(work, items))


def clean(hosts: list[Host]) -> None:
    """Take away all that any contender left."""
    on_all(hosts, lambda host: host.run(_CLEAN.format(place=workload.PLACE)))


def verify(hosts: list[Host], load: workload.Workload) -> None:
    """Make sure that every service of a workload runs on every host.

    :raises BenchmarkError: when one does not.
    """
    wanted = sorted(f"sleep {found}" for found in load.sums())
    for host in hosts:
        _within(_SETTLING, f"not every service runs on {host.name}", functools.partial(_runs, host, wanted))


def _runs(host: Host, wanted: list[str]) -> bool:
    return sorted(host.run(_RUNNING.replace("{program}", workload.PROGRAM)).splitlines()) == wanted


def cpu_seconds(hosts: list[Host]) -> float | None:
    """The CPU that the hosts have used so far; None where the kernel does not tell it in a way that is known here."""
    found = [_cpu_seconds(run(["docker", "inspect", "--format={{.Id}}", host.name]).strip()) for host in hosts]
    return None if None in found else sum(found)


def _cpu_seconds(container: str) -> float | None:
    groups = Path("/sys/fs/cgroup")
    first = groups / "cpuacct" / "docker" / container / "cpuacct.usage"
    if first.exists():
        return int(first.read_text()) / 1e9
    for second in (groups / "docker" / container, groups / "system.slice" / f"docker-{container}.scope"):
        if (second / "cpu.stat").exists():
            return int((second / "cpu.stat").read_text().split()[1]) / 1e6
    return None


def _within(seconds: float, message: str, condition: Callable[[], bool]) -> None:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise BenchmarkError(message)
        time.sleep(0.2)

