#!/usr/bin/env python
# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Test hosts: containers that systemd starts, which are reached over ssh as a team reaches its servers.

containers.py up FOLDER NAME=RELEASE[@USER]... starts hosts and writes FOLDER/key and FOLDER/hosts.json, an inventory of
theirs; down FOLDER ends them all. kill FOLDER NAME takes the power of one away, end FOLDER NAME ends it for good.
"""

from __future__ import annotations

import concurrent.futures
import dataclasses
import hashlib
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import images

_OPTIONS = [
    # What systemd needs to be the first process, and what a machine's own root can do that tests rely on.
    "--cap-add=SYS_ADMIN", "--cap-add=SYS_PTRACE", "--cap-add=NET_ADMIN", "--security-opt=seccomp=unconfined",
    "--security-opt=apparmor=unconfined", "--volume=/sys/fs/cgroup:/sys/fs/cgroup:rw", "--tmpfs=/run",
    "--tmpfs=/run/lock", "--tmpfs=/tmp:exec",
]  # fmt: skip
SSH_OPTIONS = "-o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR -o ConnectTimeout=5"
_PATIENCE = 60
_NETWORKS = 200


@dataclasses.dataclass(frozen=True)
class Host:
    """A running test host; ``container`` is its name for docker, ``name`` the one it calls itself by."""

    name: str
    container: str
    address: str
    user: str

    def run(self, command: str, check: bool = True, data: str | None = None) -> str:
        """What a shell command says that root runs on the host, standard error included."""
        done = subprocess.run(
            ["docker", "exec", "--interactive", self.container, "sh", "-c", command], input=data or "",
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        if check and done.returncode:
            raise AssertionError(f"{self.name}: {command}: exit code {done.returncode}\n{done.stdout}{done.stderr}")
        return done.stdout + done.stderr

    def copy(self, source: Path, place: str) -> None:
        """Put a file or a folder into a folder of the host."""
        _docker("cp", os.fspath(source), f"{self.container}:{place}")

    def python(self) -> str:
        """The version of the host's Python."""
        return self.run("python3 --version").split()[1]

    def reboot(self) -> None:
        """Take the power away, and start the host again."""
        _docker("restart", "--time=0", self.container)
        self.wait()

    def kill(self) -> None:
        """Take the power away for good."""
        _docker("kill", self.container)

    def root(self) -> Path:
        """Its files as this machine sees them, also while it is cut off or paused; another path after a restart."""
        return Path("/proc", _docker("inspect", "--format={{.State.Pid}}", self.container).strip(), "root")

    def pause(self) -> None:
        """Let nothing on it go on; to freeze processes that begin others all the time may take several tries."""
        end = time.monotonic() + _PATIENCE
        while subprocess.run(["docker", "pause", self.container], capture_output=True, check=False).returncode:
            if time.monotonic() > end:
                raise AssertionError(f"{self.name} cannot be paused")
            time.sleep(0.2)

    def unpause(self) -> None:
        """Let all of it go on."""
        _docker("unpause", self.container)

    def cut(self) -> None:
        """Take the network away."""
        self.run("ip link set eth0 down")

    def heal(self) -> None:
        """Give the network back."""
        self.run("ip link set eth0 up")

    def count_calls(self) -> None:
        """Have sshd tell of every command and every file transfer, also of those that share a connection."""
        self.run("echo LogLevel VERBOSE > /etc/ssh/sshd_config.d/calls.conf && systemctl reload ssh")
        # A connection that is open keeps quiet.
        self.run("pkill -f '^sshd: .*@notty'", check=False)

    def calls(self) -> int:
        """How many commands and file transfers came over ssh since they are counted."""
        told = self.run("journalctl --quiet --unit=ssh --output=cat")
        return sum(line.startswith("Starting session:") for line in told.splitlines())

    def wait(self) -> None:
        """Wait until the host takes connections over ssh."""
        end = time.monotonic() + _PATIENCE
        while not self._answers():
            if time.monotonic() > end:
                raise AssertionError(f"{self.name} does not answer on {self.address}:22")
            time.sleep(0.1)

    def _answers(self) -> bool:
        try:
            with socket.create_connection((self.address, 22), timeout=1) as connection:
                return connection.recv(4) == b"SSH-"
        except OSError:
            return False


class Hosts:
    """Test hosts on a network of their own, described by a folder.

    :param folder: where their key and their inventory are; it also gives them names that nobody else has.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.key = folder / "key"
        self._prefix = "tetra-" + hashlib.sha256(os.fsencode(folder.resolve())).hexdigest()[:8]

    def up(self, releases: dict[str, str], user: str = "root") -> dict[str, Host]:
        """Start hosts.

        :param releases: name of a host to its release of Debian.
        :param user: who logs in; one who is not root may sudo.
        """
        images.ensure_docker()
        names = {release: images.image(release) for release in sorted(set(releases.values()))}
        self.folder.mkdir(parents=True, exist_ok=True)
        if not self.key.exists():
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", self.key], check=True)
        subnet = self._network()
        taken = {host.address for host in self.known().values()}
        free = (f"{subnet}.{number}" for number in range(2, 250))
        hosts = [Host(name, f"{self._prefix}-{name}", next(one for one in free if one not in taken), user)
                 for name in releases]
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda host: self._start(host, names[releases[host.name]]), hosts))
        found = {**self.known(), **{host.name: host for host in hosts}}
        self._write(found)
        return {host.name: host for host in hosts}

    def known(self) -> dict[str, Host]:
        """The hosts that were started and not ended since."""
        inventory = self.folder / "hosts.json"
        if not inventory.exists():
            return {}
        hosts = json.loads(inventory.read_text())["all"]["hosts"]
        return {
            name: Host(name, f"{self._prefix}-{name}", found["ansible_host"], found["ansible_user"])
            for name, found in hosts.items()
        }

    def end(self, *names: str) -> None:
        """End some of the hosts for good."""
        found = self.known()
        for name in names:
            _docker("rm", "--force", "--volumes", found.pop(name).container)
        self._write(found)

    def down(self) -> None:
        """End all hosts, and their network; without dockerd nobody could tell what an earlier run left."""
        images.ensure_docker()
        listed = _docker("ps", "--all", "--quiet", f"--filter=network={self._prefix}").split()
        if listed:
            _docker("rm", "--force", "--volumes", *listed)
        if _docker("network", "ls", "--quiet", f"--filter=name=^{self._prefix}$").strip():
            _docker("network", "rm", self._prefix)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _network(self) -> str:
        """Make the network, unless it is there; the first three numbers of its addresses."""
        if not _docker("network", "ls", "--quiet", f"--filter=name=^{self._prefix}$").strip():
            start = int(self._prefix[-4:], 16)
            for number in range(_NETWORKS):
                subnet = f"10.213.{(start + number) % _NETWORKS}.0/24"
                command = ["docker", "network", "create", f"--subnet={subnet}", self._prefix]
                if subprocess.run(command, capture_output=True, check=False).returncode == 0:
                    break
        found = json.loads(_docker("network", "inspect", self._prefix))[0]["IPAM"]["Config"][0]["Subnet"]
        return found.rpartition(".")[0]

    def _start(self, host: Host, image: str) -> None:
        options = [*_OPTIONS, f"--network={self._prefix}", f"--ip={host.address}", f"--hostname={host.name}"]
        _docker("run", "--detach", f"--name={host.container}", *options, image)
        public = self.key.with_suffix(".pub").read_text()
        home = "/root" if host.user == "root" else f"/home/{host.user}"
        host.run(f"cat > {home}/.ssh/authorized_keys && chown -R {host.user}: {home}/.ssh", data=public)
        host.wait()

    def _write(self, found: dict[str, Host]) -> None:
        hosts = {
            name: {"ansible_host": host.address, "ansible_user": host.user, "ansible_become": host.user != "root"}
            for name, host in found.items()
        }
        variables = {"ansible_ssh_private_key_file": os.fspath(self.key), "ansible_ssh_common_args": SSH_OPTIONS}
        text = json.dumps({"all": {"hosts": hosts, "vars": variables}}, indent=1)
        (self.folder / "hosts.json").write_text(text)


def _docker(*arguments: str) -> str:
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise AssertionError(f"docker {' '.join(arguments)}: {done.stderr}")
    return done.stdout


def main(arguments: list[str]) -> int:
    """Start or end hosts, as the head of this file says."""
    verb, folder, *words = arguments
    hosts = Hosts(Path(folder))
    if verb == "down":
        hosts.down()
        return 0
    if verb == "kill":
        hosts.known()[words[0]].kill()
        return 0
    if verb == "end":
        hosts.end(*words)
        return 0
    wanted = [word.partition("@") for word in words]
    for user in sorted({user or "root" for _pair, _at, user in wanted}):
        pairs = (pair.partition("=") for pair, _at, one in wanted if (one or "root") == user)
        hosts.up({name: release for name, _equals, release in pairs}, user)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
