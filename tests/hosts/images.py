#!/usr/bin/env python
# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Builds the images of the test hosts: Debian 11, 12 and 13 with systemd, sshd and Python, from Debian packages alone.

images.py [bullseye | bookworm | trixie]... builds what is missing and prints the name of each image. It needs root and
apt; where no dockerd runs, one is started, and it is left running.
"""

from __future__ import annotations

import concurrent.futures
import hashlib
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import packages

RELEASES = ("bullseye", "bookworm", "trixie")

_PACKAGES = "systemd,systemd-sysv,dbus,python3,openssh-server,sudo,iproute2,procps,ca-certificates"
_NEEDED = {"dockerd": "docker.io", "debootstrap": "debootstrap", "iptables": "iptables", "ssh": "openssh-client"}
_LOG = Path("/var/log/tetra-dockerd.log")
_PATIENCE = 60
# What turns a minimal Debian into a host that a team would hand over: an administrator who logs in by ssh and may sudo.
_FINISH = r"""
set -eu
rm -rf /var/cache/apt/archives/*.deb /var/lib/apt/lists/* /usr/share/doc/* /usr/share/man/* /usr/share/locale/*
for unit in getty@tty1 systemd-resolved systemd-networkd systemd-timesyncd apt-daily.timer apt-daily-upgrade.timer \
    e2scrub_all.timer fstrim.timer man-db.timer dpkg-db-backup.timer; do
    systemctl disable "$unit" > /dev/null 2>&1 || true
done
systemctl mask systemd-udevd systemd-udev-trigger systemd-modules-load sys-kernel-debug.mount > /dev/null 2>&1
systemctl enable ssh > /dev/null 2>&1
useradd --create-home --shell /bin/bash admin
echo 'admin ALL=(ALL) NOPASSWD: ALL' > /etc/sudoers.d/admin
chmod 0440 /etc/sudoers.d/admin
printf 'MaxStartups 200\nMaxSessions 200\nUseDNS no\n' > /etc/ssh/sshd_config.d/tests.conf
mkdir -p -m 0700 /root/.ssh /home/admin/.ssh
# Sandboxed units mount into namespaces that must see each other; at boot of a real machine this is so.
printf '#!/bin/sh\nmount --make-rshared /\nexec /sbin/init\n' > /usr/local/sbin/boot
chmod 0755 /usr/local/sbin/boot
"""


def ensure_docker() -> None:
    """See to it that images can be built and containers run.

    :raises SystemExit: saying what is missing and cannot be had.
    """
    packages.ensure(_NEEDED, "test hosts")
    if not _docker_answers():
        _start_dockerd()


def image(release: str) -> str:
    """The name of the image of a release of Debian, which is built when it is not there."""
    recipe = hashlib.sha256(f"{release}{_PACKAGES}{_FINISH}".encode()).hexdigest()[:12]
    name = f"tetra-host:{release}-{recipe}"
    if subprocess.run(["docker", "image", "inspect", name], capture_output=True, check=False).returncode:
        _build(release, name)
    return name


def _docker_answers() -> bool:
    return subprocess.run(["docker", "info"], capture_output=True, check=False).returncode == 0


def _start_dockerd() -> None:
    if Path("/run/systemd/system").is_dir():
        subprocess.run(["systemctl", "start", "docker"], check=True)
    else:
        with _LOG.open("ab") as log:
            subprocess.Popen(["dockerd"], stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
    end = time.monotonic() + _PATIENCE
    while not _docker_answers():
        if time.monotonic() > end:
            sys.exit(f"dockerd did not start; look at {_LOG}")
        time.sleep(0.2)


def _build(release: str, name: str) -> None:
    print(f"building {name}", file=sys.stderr, flush=True)
    # Not below the clone: debootstrap does not work in a path with a blank.
    with tempfile.TemporaryDirectory(prefix="tetra-image-", dir="/var/tmp") as folder:
        root, log = Path(folder, "root"), Path(folder, "log")
        with log.open("wb") as output:
            command = ["debootstrap", "--variant=minbase", f"--include={_PACKAGES}", release, root]
            done = subprocess.run(command, stdout=output, stderr=output, check=False)
        if done.returncode:
            sys.exit(f"{log.read_text()[-4000:]}\ndebootstrap {release} failed")
        subprocess.run(["chroot", root, "sh", "-c", _FINISH], check=True)
        with subprocess.Popen(["tar", "-C", root, "-c", "."], stdout=subprocess.PIPE) as tar:
            change = ["-c", 'CMD ["/usr/local/sbin/boot"]', "-c", "ENV container=docker"]
            subprocess.run(["docker", "import", *change, "-", name], stdin=tar.stdout, check=True, capture_output=True)


if __name__ == "__main__":
    ensure_docker()
    with concurrent.futures.ThreadPoolExecutor() as pool:
        print("\n".join(pool.map(image, sys.argv[1:] or RELEASES)))
