# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A real shell is the oracle for registries that go out as variables."""

from __future__ import annotations

import subprocess

from ansible_collections.tetra.platform.plugins.module_utils.model.ports import transfer as ports_transfer
from ansible_collections.tetra.platform.plugins.module_utils.model.ports.registry import Registry
from hypothesis import given, settings
from hypothesis import strategies as st

PORTS = st.one_of(st.integers(1, 65535), st.integers(1, 65535).map("{}/udp".format))
BARE = st.from_regex(r"[A-Za-z0-9_-]{1,4}", fullmatch=True)
EVIL = [
    "$(touch evil)",
    "`touch evil`",
    "a\ntouch evil\n",
    "a;touch evil",
    "'",
    '"',
    "\\",
    "# x",
    "a b",
    "PATH",
    "é",
    "%s",
]
NAMES = st.one_of(BARE, st.sampled_from(EVIL))


def sourced(text: str, folder) -> dict[str, str]:
    """The variables that a shell has after it has read a file, beside those that it has anyway."""
    (folder / "ports.sh").write_text(text, encoding="utf-8")
    result = subprocess.run(
        ["sh", "-euc", "set -a; . ./ports.sh; exec env -0"],
        cwd=folder, env={}, capture_output=True, check=True, timeout=30,
    )  # fmt: skip
    assert result.stderr == b""
    pairs = (item.split("=", 1) for item in result.stdout.decode().split("\0") if item)
    return {name: value for name, value in pairs if name not in ("PWD", "OLDPWD", "_", "SHLVL")}


def test_a_shell_gets_the_numbers(tmp_path):
    registry = Registry(
        names={"dev-pages": 4000, "3d": 4001, "dns": "53/udp"},
        owned={"acme/dev": {"api": 4100, "api/metrics": 4101}},
        ranges={"dev": (4000, 4999)},
        reserved={"system": [22, 80], "none": []},
        allocation=(1, 2), strategy="random", system_ports=True, cooldown=1.5,
    )  # fmt: skip
    assert sourced(ports_transfer.export(registry, "env"), tmp_path) == {
        "DEV_PAGES_PORT": "4000",
        "_3D_PORT": "4001",
        "DNS_PORT": "53",
        "ACME_DEV_API_PORT": "4100",
        "ACME_DEV_API_METRICS_PORT": "4101",
        "PORT_RANGE_DEV": "4000-4999",
        "PORT_RESERVED_SYSTEM": "22 80",
        "PORT_RESERVED_NONE": "",
        "PORT_ALLOCATION_MIN_PORT": "1",
        "PORT_ALLOCATION_MAX_PORT": "2",
        "PORT_ALLOCATION_ALLOCATION_STRATEGY": "random",
        "PORT_ALLOCATION_AVOID_SYSTEM_PORTS": "false",
        "PORT_ALLOCATION_COOLDOWN": "1.5",
    }


def test_a_shell_runs_nothing_and_loses_nothing(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shell")

    @settings(max_examples=40, deadline=None)
    @given(
        st.dictionaries(NAMES, PORTS, max_size=6),
        st.dictionaries(BARE.map("acme/{}".format), st.dictionaries(BARE, PORTS, min_size=1, max_size=3), max_size=3),
        st.dictionaries(NAMES, st.just((1, 2)), max_size=3),
        st.dictionaries(NAMES, st.lists(st.integers(1, 65535), max_size=3), max_size=3),
    )
    def check(names, owned, ranges, reserved):
        registry = Registry(names, owned, ranges, reserved)
        variables = sourced(ports_transfer.export(registry, "env"), folder)
        ports = sorted(str(port).partition("/")[0] for _identity, port in registry.identities())
        others = ["1-2"] * len(ranges) + [" ".join(map(str, numbers)) for numbers in reserved.values()]
        assert sorted(variables.values()) == sorted([*ports, *others])
        assert [path.name for path in folder.iterdir()] == ["ports.sh"]

    check()


def test_a_shell_and_we_read_the_same_lines(tmp_path):
    text = "API_PORT=4000\nexport WEB_PORT='4001'  # why\n  export  DB_PORT=\"4002\"\nNONE_PORT=\n# X_PORT=1\n"
    variables = sourced(text, tmp_path)
    said, findings = ports_transfer.parse(text, "env", "ports.sh")
    assert findings == []
    assert {name: str(port) for name, port in said.names.items()} == {
        name[: -len("_PORT")].lower(): value for name, value in variables.items() if value
    }
