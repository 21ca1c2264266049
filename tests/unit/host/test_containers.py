# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is made of the answer of Docker or Podman, who are not trusted."""

from __future__ import annotations

import json

import pytest
from ansible_collections.tetra.platform.plugins.module_utils.host import containers
from hypothesis import given
from hypothesis import strategies as st

ID = "ab" * 32
OK = b"HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n\r\n"
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["Id", "Names", "Ports", "IP", "Type"]), inner),
    max_leaves=20,
)


def read(document, head=OK):
    return containers.read_answer(head + json.dumps(document).encode())


def record(ports=(), **changes):
    return {"Id": ID, "Names": ["/web"], "Ports": list(ports), **changes}


def port(**changes):
    return {"IP": "0.0.0.0", "PrivatePort": 80, "PublicPort": 8080, "Type": "tcp", **changes}


def test_a_container_is_read_with_its_published_ports():
    internal = {"PrivatePort": 443, "Type": "tcp"}
    [one] = read([record([port(), port(IP="::"), port(Type="udp", PublicPort=53), internal])])
    assert one.identity == ID
    assert one.name == "web"
    assert one.published == (("0.0.0.0", 8080, "tcp"), ("::", 8080, "tcp"), ("0.0.0.0", 53, "udp"))


@pytest.mark.parametrize(
    ("changes", "published"),
    [
        ({"IP": ""}, ("0.0.0.0", 8080, "tcp")),
        ({"IP": None}, ("0.0.0.0", 8080, "tcp")),
        ({"IP": "0:0:0:0:0:0:0:1"}, ("::1", 8080, "tcp")),
        ({"IP": "somewhere"}, None),
        ({"IP": 5}, None),
        ({"IP": True}, None),
        ({"IP": ["::"]}, None),
        ({"Type": "sctp"}, None),
        ({"Type": ["tcp"]}, None),
        ({"PublicPort": 0}, None),
        ({"PublicPort": 65536}, None),
        ({"PublicPort": "8080"}, None),
        ({"PublicPort": 80.5}, None),
        ({"PublicPort": True}, None),
    ],
)
def test_a_port_that_is_none_is_left_out_and_the_others_stay(changes, published):
    [one] = read([record([port(**changes), "odd", None, port(PublicPort=9)])])
    assert one.published == tuple(filter(None, [published, ("0.0.0.0", 9, "tcp")]))


@pytest.mark.parametrize(
    ("names", "name"),
    [
        (["/web"], "web"),
        (["/other/alias", "/web"], "web"),
        (["/a\x1b[31m\nb"], "a?[31m?b"),
        (["/" + "x" * 500], "x" * 80),
        ([], ID[:12]),
        (None, ID[:12]),
        ([5, "/"], ID[:12]),
        ("web", ID[:12]),
    ],
)
def test_the_name_of_a_container_can_be_shown(names, name):
    assert [one.name for one in read([record(Names=names)])] == [name]


@pytest.mark.parametrize("identity", ["", "web", ID.upper(), ID + "0", 5, None, ["a"], "\x1b" * 12])
def test_what_has_no_id_is_no_container(identity):
    assert read([record(Id=identity), record()]) == read([record()])


@pytest.mark.parametrize(
    "answer",
    [
        b"", b"HTTP/1.0 200 OK", OK, OK + b"[", OK + b"{}", OK + b"null", OK + b'"x"', OK + b"[1, [], null]",
        OK + b"\xff\xfe[", OK + b"[" * 200_000, OK + b'{"message": "no"}',
        b"HTTP/1.0 404 Not Found\r\n\r\n[]", b"SSH-2.0-OpenSSH\r\n\r\n[]", b"HTTP/1.0 2000 OK\r\n\r\n[]",
    ],
)  # fmt: skip
def test_an_odd_answer_is_no_containers(answer):
    assert containers.read_answer(answer) == []


def test_an_error_is_not_read_for_containers():
    assert read([record()], head=b"HTTP/1.0 500 Internal Server Error\r\n\r\n") == []
    assert len(read([record()])) == 1


def test_a_number_of_a_million_digits_is_read_at_once():
    body = json.dumps([record([port()])]).replace("8080", "9" * 3_000_000)
    assert [one.published for one in containers.read_answer(OK + body.encode())] == [()]


@given(JSON)
def test_no_answer_makes_trouble(document):
    found = containers.read_answer(OK + json.dumps([record(Names=document, Ports=document), document]).encode())
    assert found[0].identity == ID
