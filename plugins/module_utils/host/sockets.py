# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who listens on this host, read from the kernel."""

from __future__ import annotations

import contextlib
import ipaddress
import os
import re
import socket
import struct

from . import processes

_TABLES = ("/proc/net/tcp", "/proc/net/tcp6")
_LISTEN = "0A"
_SOCKET = re.compile(r"^socket:\[(\d+)\]$")
_WILDCARDS = ("0.0.0.0", "::")


def listeners() -> list[dict]:
    """Every TCP listener: ``address``, ``port``, ``pid`` and ``command`` where they may be known, ``owner`` None."""
    found = _listening()
    pids = _pids_of({inode for _address, _port, inode in found})
    result = []
    for address, port, inode in found:
        pid = pids.get(inode)
        command = processes.command(pid) if pid else ""
        result.append({"address": address, "port": port, "pid": pid, "command": command, "owner": None})
    return sorted(result, key=lambda listener: (listener["port"], listener["address"]))


def listening_pid(address: str, port: int, pids: set[int]) -> bool:
    """Whether one of some processes, or a descendant of theirs, is who answers on an address and port."""
    inodes = {inode for found, number, inode in _listening()
              if number == port and (not address or found in (address, *_WILDCARDS))}
    if not inodes:
        return False
    family = {pid for parent in pids for pid in processes.family(parent)}
    return any(inodes & _inodes_of(pid) for pid in family)


def can_bind(address: str, port: int) -> str | None:
    """Why a service could not listen on an address and port now; None when it could."""
    host = address or "0.0.0.0"
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
            probe.listen(1)
        except OSError as error:
            return f"{host}:{port}: {error.strerror}{_holder(port)}"
    return None


def _holder(port: int) -> str:
    held = [listener for listener in listeners() if listener["port"] == port]
    return f" ({held[0]['command'] or 'unknown'}, pid {held[0]['pid'] or 'unknown'})" if held else ""


def _listening() -> list[tuple[str, int, int]]:
    result = []
    for table in _TABLES:
        with contextlib.suppress(FileNotFoundError), open(table, encoding="ascii") as file:
            rows = [line.split() for line in file.readlines()[1:]]
            result += [(*_endpoint(row[1]), int(row[9])) for row in rows if row[3] == _LISTEN]
    return result


def _endpoint(text: str) -> tuple[str, int]:
    """Address and port of a row: groups of four bytes in the byte order of the machine."""
    address, port = text.split(":")
    raw = bytes.fromhex(address)
    words = struct.unpack(f"={len(raw) // 4}I", raw)
    packed = b"".join(struct.pack("!I", word) for word in words)
    if len(packed) == 4:
        return str(ipaddress.IPv4Address(packed)), int(port, 16)
    parsed = ipaddress.IPv6Address(packed)
    return str(parsed.ipv4_mapped or parsed), int(port, 16)


def _pids_of(inodes: set[int]) -> dict[int, int]:
    result: dict[int, int] = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            for inode in _inodes_of(int(name)) & inodes:
                result.setdefault(inode, int(name))
    return result


def _inodes_of(pid: int) -> set[int]:
    folder = f"/proc/{pid}/fd"
    found = set()
    with contextlib.suppress(OSError):
        for name in os.listdir(folder):
            with contextlib.suppress(OSError):
                match = _SOCKET.match(os.readlink(os.path.join(folder, name)))
                if match:
                    found.add(int(match.group(1)))
    return found
