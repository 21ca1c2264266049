# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The tables of the kernel, row by row. They are written in the byte order of the machine: here as x86 and ARM do."""

from __future__ import annotations

import sys

import pytest
from ansible_collections.tetra.platform.plugins.module_utils.host import socket_tables
from ansible_collections.tetra.platform.plugins.module_utils.host.socket_tables import BOUND, CLOSED, CONNECTED, Row

pytestmark = pytest.mark.skipif(sys.byteorder != "little", reason="the rows of this file are those of another machine")

TCP = """\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0109007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1668 1 0000000069fd3893 100
   1: 00000000:0016 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1700 1 0000000069fd3894 100
  10: 0200000A:0FA0 0100000A:01BB 01 00000000:00000000 02:000003E8 00000000  1000        0 1800 2 0000000069fd3895 20 4
 100: 0200000A:0FA1 0100000A:01BB 06 00000000:00000000 03:00001770 00000000     0        0 0 3 00000000e1886960
 101: 0200000A:1F90 0100000A:01BB 03 00000000:00000000 01:00000064 00000000     0        0 0 3 00000000e1886961
 102: 0200000A:0FA2 0100000A:01BB 08 00000001:00000000 00:00000000 00000000  1000        0 1900 1 0000000069fd3896 20 4
"""
TCP6 = """\
  sl  local_address                         remote_address                        st tx_queue rx_queue tr tm->when retrnsmt
   0: 00000000000000000000000000000000:0050 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 2001 1 0 100
   1: 00000000000000000000000001000000:0051 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 2002 1 0 100
   2: 0000000000000000FFFF00000109007F:0052 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 2003 1 0 100
"""  # noqa: E501
UDP = """\
   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops
 1234: 00000000:14E9 00000000:0000 07 00000000:00000000 00:00000000 00000000   104        0 3001 2 0000000000000000 0
12345: 0200000A:0044 0100000A:0043 01 00000000:00000000 00:00000000 00000000     0        0 3002 2 0000000000000000 0
"""


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
