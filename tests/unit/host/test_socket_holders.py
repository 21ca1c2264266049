# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a process belongs to, from the text that the kernel has for it."""

from __future__ import annotations

import pytest
from ansible_collections.tetra.platform.plugins.module_utils.host import socket_holders

ID = "0123456789abcdef" * 4
OTHER = "f" * 64
V1 = "12:pids:/docker/{0}\n3:cpu,cpuacct:/docker/{0}\n1:name=systemd:/docker/{0}\n0::/\n"


@pytest.mark.parametrize(
    ("text", "unit", "container"),
    [
        ("", "", ""),
        ("0::/\n", "", ""),
        ("garbage\n::\n", "", ""),
        ("0::/system.slice/nginx.service\n", "nginx.service", ""),
        ("0::/system.slice/system-getty.slice/getty@tty1.service\n", "getty@tty1.service", ""),
        ("0::/user.slice/user-1000.slice/user@1000.service/app.slice/api.service\n", "api.service", ""),
        ("0::/user.slice/user-1000.slice/session-3.scope\n", "session-3.scope", ""),
        ("0::/system.slice/web.service/workers/one\n", "web.service", ""),
        ("0::/system.slice/dbus.socket\n", "dbus.socket", ""),
        ("0::/system.slice/not.a.servicename\n", "", ""),
        ("9:cpu:/\n1:name=systemd:/system.slice/ssh.service\n0::/\n", "ssh.service", ""),
        ("9:cpu:/user.slice\n1:name=systemd:/a.service\n0::/b.service\n", "b.service", ""),
        ("9:cpu:/machine/x.scope\n1:name=systemd:/a.service\n", "a.service", ""),
        (f"0::/system.slice/docker-{ID}.scope\n", f"docker-{ID}.scope", ID),
        (V1.format(ID), "", ID),
        (f"0::/docker/{OTHER}/docker/{ID}\n", "", ID),
        (f"0::/machine.slice/libpod-{ID}.scope/container\n", f"libpod-{ID}.scope", ID),
        (f"0::/machine.slice/libpod-conmon-{ID}.scope\n", f"libpod-conmon-{ID}.scope"[:80], ID),
        (f"0::/kubepods.slice/kubepods-pod1.slice/cri-containerd-{ID}.scope\n", f"cri-containerd-{ID}.scope"[:80], ID),
        (f"0::/kubepods/besteffort/pod-1/{ID}\n", "", ID),
        (f"0::/system.slice/{ID}.service\n", f"{ID}.service", ""),
        (f"0::/x/{ID}0\n", "", ""),
        (f"0::/x/{ID[:63]}\n", "", ""),
        ("0::/system.slice/a\x1b[2Jb.service\n", "a?[2Jb.service", ""),
        (f"0::/{'x' * 300}.service\n", "x" * 80, ""),
    ],
)
def test_the_unit_and_the_container_of_a_process(text, unit, container):
    assert socket_holders.group(text) == (unit, container)


def test_the_eldest_of_several_processes_is_the_parent_of_the_others():
    assert socket_holders.eldest({1}) == 1
    assert socket_holders.eldest(set()) is None
