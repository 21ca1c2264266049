# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The tables of the kernel, row by row. They are written in the byte order of the machine: here as x86 and ARM do."""

from __future__ import annotations

import ipaddress
import struct

import pytest
from ansible_collections.tetra.platform.plugins.module_utils.host import socket_tables
from ansible_collections.tetra.platform.plugins.module_utils.host.socket_tables import BOUND, CLOSED, CONNECTED, Row

HEAD = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"


def end(address: str, port: int) -> str:
    """One end of a socket as the kernel writes it: groups of four bytes in the byte order of this machine."""
    packed = ipaddress.ip_address(address).packed
    count = len(packed) // 4
    return f"{struct.pack(f'={count}I', *struct.unpack(f'!{count}I', packed)).hex().upper()}:{port:04X}"


def line(number: int, own: str, other: str, state: str, inode: int) -> str:
    """One row of a table; what we do not read is as it often is."""
    return f"{number:4}: {own} {other} {state} 00000000:00000000 02:000003E8 00000000  1000        0 {inode} 2 0 20 4\n"


NOBODY, NOBODY6, PEER = end("0.0.0.0", 0), end("::", 0), end("10.0.0.1", 443)
TCP = HEAD + "".join([
    line(0, end("127.0.9.1", 8080), NOBODY, "0A", 1668),
    line(1, end("0.0.0.0", 22), NOBODY, "0A", 1700),
    line(10, end("10.0.0.2", 4000), PEER, "01", 1800),
    line(100, end("10.0.0.2", 4001), PEER, "06", 0),
    line(101, end("10.0.0.2", 8080), PEER, "03", 0),
    line(102, end("10.0.0.2", 4002), PEER, "08", 1900),
])  # fmt: skip
TCP6 = HEAD + "".join([
    line(0, end("::", 80), NOBODY6, "0A", 2001),
    line(1, end("::1", 81), NOBODY6, "0A", 2002),
    line(2, end("::ffff:127.0.9.1", 82), NOBODY6, "0A", 2003),
])  # fmt: skip
UDP = HEAD + "".join([
    line(1234, end("0.0.0.0", 5353), NOBODY, "07", 3001),
    line(12345, end("10.0.0.2", 68), end("10.0.0.1", 67), "01", 3002),
])  # fmt: skip


def test_listeners_are_told_from_connections_and_from_what_is_left_of_them():
    assert socket_tables.rows(TCP, "tcp", (BOUND, CONNECTED, CLOSED)) == [
        Row(8080, "tcp", "127.0.9.1", BOUND, 1668),
        Row(22, "tcp", "0.0.0.0", BOUND, 1700),
        Row(4000, "tcp", "10.0.0.2", CONNECTED, 1800),
        Row(4001, "tcp", "10.0.0.2", CLOSED, 0),
        Row(4002, "tcp", "10.0.0.2", CONNECTED, 1900),
    ]


def test_addresses_of_ipv6_are_read_and_mapped_ones_are_those_of_ipv4():
    assert [(row.address, row.port) for row in socket_tables.rows(TCP6, "tcp", (BOUND,))] == [
        ("::", 80), ("::1", 81), ("127.0.9.1", 82)
    ]  # fmt: skip


def test_a_udp_socket_is_bound_or_connected():
    assert socket_tables.rows(UDP, "udp", (BOUND, CONNECTED)) == [
        Row(5353, "udp", "0.0.0.0", BOUND, 3001),
        Row(68, "udp", "10.0.0.2", CONNECTED, 3002),
    ]


def test_the_codes_of_one_protocol_mean_nothing_in_the_other():
    assert socket_tables.rows(UDP, "tcp", (BOUND,)) == []
    assert socket_tables.rows(TCP, "udp", (BOUND,)) == []


@pytest.mark.parametrize(("port", "inodes"), [(8080, [1668]), (22, [1700]), (443, []), (4001, [])])
def test_only_the_rows_of_one_port_and_state_are_taken(port, inodes):
    assert [row.inode for row in socket_tables.rows(TCP, "tcp", (BOUND,), port)] == inodes


@pytest.mark.parametrize("text", ["", "no table\n", TCP.replace(":", ";"), TCP[:150]])
def test_what_is_no_row_is_left_out(text):
    assert len(socket_tables.rows(text, "tcp", (BOUND,))) == 0
