# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Releases as text: everything that makes two of them different shows, and no secret does."""

from __future__ import annotations

import copy

import pytest
from ansible_collections.tetra.platform.plugins.module_utils.model import definition, release_text, service_reader

TEXT = """
TSM_COMMAND="python3 server.py --data ${HOME}/data"
TSM_PORT=auto
TSM_HEALTH_CHECK=http://localhost:${PORT}/health
TSM_PRE_COMMAND="make assets"
export GREETING=hello
export DB_PASSWORD=hunter2
export DATABASE=postgres://me:hunter2@db/x
export TOKEN='${secret:TOKEN}'
"""


def manifest(text=TEXT, key="k1"):
    found, _findings = service_reader.from_definition(definition.parse(text, "services/web.tsm", {}), {}, {})
    return {
        "bundle": "b" * 64, "secrets": {"TOKEN": "d" * 64}, "secrets_key": key,
        "services": {"web": {"digest": "a" * 64, "definition": found.to_wire(), "ports": {"main": 4100}}},
        "files": {
            "files/web/run": {"type": "file", "sha256": "c" * 64, "size": 5, "executable": True},
            "files/web/link": {"type": "link", "target": "run"}, "files/common": {"type": "dir"},
        },
    }  # fmt: skip


def lines(before, after):
    text = release_text.difference(before, after, ("old", "new"))
    return [line for line in text.splitlines()[2:] if line[0] in "+-"]


def test_a_release_in_full():
    assert release_text.describe(None, manifest())[1].splitlines() == [
        "bundle bbbbbbbbbbbb",
        "service web: port main: 4100",
        "service web: autostart: true",
        'service web: command argv: ["python3", "server.py", "--data", "${HOME}/data"]',
        "service web: hardening: none",
        "service web: health interval: 5.0",
        "service web: health kind: http",
        "service web: health retries: 3",
        "service web: health start_period: 10.0",
        "service web: health timeout: 2.0",
        "service web: health url: http://localhost:${PORT}/health",
        "service web: max_restarts: 3",
        "service web: min_healthy: 3.0",
        'service web: before argv: ["make", "assets"]',
        "service web: restart: on-failure",
        "service web: stop_timeout: 10.0",
        "service web: variable DATABASE: (hidden: it looks like a secret)",
        "service web: variable DB_PASSWORD: (hidden: it looks like a secret)",
        "service web: variable GREETING: hello",
        "service web: variable TOKEN: ${secret:TOKEN}",
        "service web: digest: aaaaaaaaaaaa",
        "folder files/common",
        "link files/web/link -> run",
        "file files/web/run: 5 bytes, executable, sha256 cccccccccccc",
        "secret TOKEN: keyed digest dddddddddddd",
    ]


@pytest.mark.parametrize(("path", "value", "told"), [
    (["bundle"], "e" * 64, ["-bundle bbbbbbbbbbbb", "+bundle eeeeeeeeeeee"]),
    (["services", "web", "ports", "main"], 4200, ["-service web: port main: 4100", "+service web: port main: 4200"]),
    (["services", "web", "definition", "cwd"], "sub", ["+service web: cwd: sub"]),
    (["services", "web", "definition", "memory_limit"], 1024, ["+service web: memory_limit: 1024"]),
    (["services", "web", "definition", "environment", "GREETING"], "x\n\x1b[2J",
     ["-service web: variable GREETING: hello", "+service web: variable GREETING: x\\n\\u001b[2J"]),
    (["files", "files/web/run", "executable"], False,
     ["-file files/web/run: 5 bytes, executable, sha256 cccccccccccc",
      "+file files/web/run: 5 bytes, sha256 cccccccccccc"]),
    (["files", "files/web/link", "target"], "x", ["-link files/web/link -> run", "+link files/web/link -> x"]),
    (["secrets", "TOKEN"], "e" * 64,
     ["-secret TOKEN: keyed digest dddddddddddd", "+secret TOKEN: keyed digest eeeeeeeeeeee"]),
    (["services", "web", "digest"], "e" * 64,
     ["-service web: digest: aaaaaaaaaaaa", "+service web: digest: eeeeeeeeeeee"]),
])  # fmt: skip
def test_each_difference_shows(path, value, told):
    after = copy.deepcopy(manifest())
    node = after
    for key in path[:-1]:
        node = node[key]
    node[path[-1]] = value
    assert lines(manifest(), after) == told
    assert lines(manifest(), manifest()) == []


def test_digests_of_two_keys_are_not_compared():
    after = {**manifest(key="k2"), "secrets": {"TOKEN": "e" * 64}}
    assert lines(manifest(), after) == []
    assert "secret TOKEN\n" in release_text.describe(manifest(), after)[1]


def test_no_secret_shows():
    assert "hunter2" not in "".join(release_text.describe(manifest(), manifest(TEXT.replace("hello", "hunter"))))
    url = TEXT.replace("python3 server.py", "server postgres://me:hunter2@db/x")
    assert "hunter2" not in release_text.describe(None, manifest(url))[1]
