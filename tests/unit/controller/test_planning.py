# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""From what hosts answered to the goal of a run."""

from __future__ import annotations

import base64
import os

import pytest
from ansible_collections.tetra.platform.plugins.module_utils.model import canonical, pack, release
from ansible_collections.tetra.platform.plugins.module_utils.model.errors import TetraError
from ansible_collections.tetra.platform.plugins.module_utils.model.ports import file as ports_file
from ansible_collections.tetra.platform.plugins.plugin_utils import planning

WEB = b"<h1>hello</h1>\n"
FILES = {"services/web.tsm": 'TSM_COMMAND="true"\nTSM_PORT=auto\n', "files/web/index.html": WEB}
LIMITED = 'TSM_COMMAND="true"\nTSM_USER=web\nexport TSM_MEMORY_LIMIT=64M\n'


def observed(**changes):
    """What a host says that runs nothing yet."""
    return {
        "supervisor": "supervisord", "honours": ["COMMAND"], "address": "127.0.0.1", "current": None, "bundle": None,
        "epoch": 0, "transaction": None, "history": [], "holds": {}, "removed": {}, "releases": {}, "services": {},
        "blobs": [], "drift": [],
        "registry": ports_file.read("", "ports.toml").to_wire(), "listeners": [],
        "released": {}, "ephemeral": [0, 0], "kept": "",
        "secret_digests": {"key": "k1", "digests": {}},
        **changes,
    }  # fmt: skip


def answers(**changes):
    parts = {
        "observed": {"a": observed(), "b": observed()}, "origin": {}, "pack": {}, "groups": {"a": [], "b": ["edge"]},
        "secrets": {"a": set(), "b": set()},
    }  # fmt: skip
    return planning.Answers(**{**parts, **changes})


def request(action="push", directory=None, source=None):
    return {
        "action": action, "org": "acme", "env": "dev", "source": source, "source_hosts": ["origin"] if source else [],
        "release": "",
        "directory": os.fspath(directory) if directory else None, "aliases": {}, "protected": False,
        "port_range": "4000-4009", "fleet": {},
    }  # fmt: skip


@pytest.fixture
def pushed(make_org):
    """The goal of a push."""

    def push(files=None, **changes):
        return planning.goal(request(directory=make_org(files or FILES)), planning.checked(answers(**changes)))

    return push


def test_a_push_gives_every_service_a_port_and_sends_what_a_host_lacks(pushed):
    goal = pushed()
    assert goal.desired.ports == {"web": 4000}
    assert goal.desired.placement == {"a": ["web"], "b": ["web"]}
    page = canonical.sha256(WEB)
    assert goal.contents[page]() == WEB
    everything = goal.missing([])
    assert page in everything
    assert goal.missing([page]) == [digest for digest in everything if digest != page]
    assert goal.missing(everything) == []
    assert {*everything} <= {*goal.contents}


def test_a_port_that_rests_or_that_connections_may_get_is_left_to_others(pushed):
    resting = observed(released={"4000": {"by": "beta/dev/x", "held": False}}, ephemeral=[4001, 4008], kept="4002")
    assert pushed(observed={"a": observed(), "b": resting}).desired.ports == {"web": 4002}


def test_a_host_that_did_not_answer_is_named_with_what_it_said(pushed):
    with pytest.raises(TetraError, match="b: it is on fire") as caught:
        pushed(observed={"a": observed(), "b": {"failed": True, "msg": "it is on fire"}})
    assert caught.value.code == "refused"


def test_a_key_that_a_supervisor_cannot_honour_is_a_warning_with_its_place_and_its_hosts(pushed):
    found = pushed(
        {"services/web.tsm": LIMITED, "environments/dev.toml": '[services.web]\nMEMORY_LIMIT = "32M"\n'},
        observed={"a": observed(honours=["MEMORY_LIMIT", "USER"], supervisor="systemd"), "b": observed()},
    ).findings
    assert [(finding.severity, finding.code, finding.file, finding.line) for finding in found] == [
        ("warning", "unhonoured-key", "environments/dev.toml", 2), ("warning", "unhonoured-key", "services/web.tsm", 2),
    ]  # fmt: skip
    assert [finding.message for finding in found] == [
        "web: TSM_MEMORY_LIMIT has no effect on b, as supervisord cannot honour it",
        "web: TSM_USER has no effect on b, as supervisord cannot honour it",
    ]


def test_a_key_is_no_matter_on_a_host_that_does_not_run_the_service(pushed):
    files = {"services/web.tsm": LIMITED, "org.toml": 'name = "acme"\n[placement]\nweb = ["a"]\n'}
    assert pushed(files, observed={"a": observed(honours=["MEMORY_LIMIT", "USER"]), "b": observed()}).findings == ()


def test_remarks_on_definitions_are_among_the_findings(pushed):
    found = pushed({"services/web.tsm": "TSM_COMMAND=true\nTSM_COMAND=false\n"}).findings
    assert [(finding.code, finding.hint) for finding in found] == [("unknown-key", "did you mean TSM_COMMAND?")]


def test_remarks_on_the_registry_of_a_host_name_the_host(pushed):
    odd = ports_file.read("[ports]\nweb = 70000\n", "config/ports.toml").to_wire()
    found = pushed(observed={"a": observed(), "b": observed(registry=odd)}).findings
    assert [(finding.file, finding.line, finding.message[:3]) for finding in found] == [("config/ports.toml", 2, "b: ")]


@pytest.fixture
def promotion(pushed):
    """The answers to a promotion of what was pushed."""
    goal = pushed()
    digests = goal.missing([])
    blobs = [goal.contents[digest]() for digest in digests]
    index = pack.header((digest, len(data)) for digest, data in zip(digests, blobs))
    content = base64.b64encode(index + b"".join(blobs)).decode()
    return {
        "origin": {"origin": observed(bundle=goal.desired.bundle)},
        "pack": {"manifest": goal.bundle_manifest, "pack": content},
    }


def promoted(promotion, **changes):
    return planning.goal(request("promote", source="test"), planning.checked(answers(**{**promotion, **changes})))


def test_a_promotion_makes_the_same_release_from_the_bundle_of_a_host(pushed, promotion):
    goal = promoted(promotion)
    assert goal.desired.bundle == pushed().desired.bundle
    assert goal.manifest == pushed().manifest
    assert goal.contents[canonical.sha256(WEB)]() == WEB


def test_a_bundle_that_is_not_the_one_that_was_verified_is_refused(promotion):
    other = {"origin": {"origin": observed(bundle="ab" * 32)}}
    with pytest.raises(TetraError, match="the bundle that came is not abab"):
        promoted(promotion, **other)


def test_what_was_done_by_hand_where_a_bundle_was_tried_is_told(promotion):
    by_hand = {"kind": "hand edit", "what": "files/web/index.html", "services": ["web"]}
    edited = {"origin": {**promotion["origin"]["origin"], "drift": [by_hand]}}
    (found,) = promoted(promotion, origin=edited).findings
    assert (found.code, found.message) == ("drift", "origin: hand edit: files/web/index.html")


def test_bytes_that_were_changed_on_their_way_are_refused(promotion):
    data = bytearray(base64.b64decode(promotion["pack"]["pack"]))
    data[-1] ^= 1
    with pytest.raises(TetraError, match="was damaged on its way"):
        promoted(promotion, pack={**promotion["pack"], "pack": base64.b64encode(data).decode()})


def test_an_origin_that_gave_no_bundle_is_named(promotion):
    with pytest.raises(TetraError, match="origin did not give its bundle: gone"):
        promoted(promotion, pack={"msg": "gone"})


def test_a_rollback_sends_nothing(pushed):
    goal = pushed()
    old = release.digest(goal.manifest)
    summary = {"bundle": "b1", "services": {"web": "d1"}, "ports": {"web": 4000}, "secrets": {}, "placed": ["web"]}
    host = observed(
        current="newer", releases={old: summary, "newer": {**summary, "bundle": "b2"}},
        history=[{"release": old}, {"release": "newer"}],
    )  # fmt: skip
    back = planning.goal(request("rollback"), planning.checked(answers(observed={"a": host, "b": host})))
    assert (back.desired.release, back.desired.bundle) == (old, "b1")
    assert back.desired.placement == {"a": ["web"], "b": ["web"]}
    assert back.missing([]) == []
