# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is left of an answer that a host made up, and what is said of one that is none."""

from __future__ import annotations

import json
import resource
import sys
import time

import pytest
from ansible_collections.tetra.platform.plugins.module_utils.host.operations import index
from ansible_collections.tetra.platform.plugins.module_utils.model.errors import TetraError
from ansible_collections.tetra.platform.plugins.plugin_utils import answers, bundle, forms, memory, source

CHECKED = {"changed": False, "healthy": True, "checks": {"api": {"ok": True, "detail": "fine", "check": "http x"}}}
ENDED = {"changed": True, "transaction": "t", "state": "confirmed", "release": "a" * 64}
SERVICE = """\
TSM_COMMAND="python3 ${TETRA_RELEASE_DIR}/files/api/server.py ${MODE:-${USER}}"
TSM_PORT=auto
TSM_PRE_COMMAND="mkdir -p ${HOME}/data"
TSM_PRE_START="true; echo before > ${HOME}/before"
TSM_HEALTH_CHECK="test -e ${HOME}/before"
TSM_CWD="${HOME}"
export TOKEN="${secret:TOKEN}"
"""
# What Ansible itself takes from a result, and what no operation tells.
FOREIGN = {
    "ansible_facts": {"ansible_connection": "local"}, "add_host": {"host_name": "evil"}, "add_group": "all",
    "ansible_stats": {"data": {"tetra_outcome": "applied"}}, "_ansible_no_log": True, "invocation": {}, "results": [],
    "failed_when_result": False, "unreachable": True, "skipped": True,
}  # fmt: skip


def nested(depth):
    return "[" * depth + "]" * depth


def test_what_an_operation_does_not_tell_is_left_out():
    assert answers.result("health_check", {**CHECKED, **FOREIGN}) == CHECKED


def test_every_operation_that_an_action_asks_for_has_a_form():
    asked = set(index.OPERATIONS) - {"service_definition", "service_definition_info"}
    assert set(answers.OPERATIONS) == asked


@pytest.mark.parametrize(
    ("operation", "record", "said"),
    [
        ("health_check", None, "it is None, not a record"),
        ("health_check", [], "it is a list, not a record"),
        ("health_check", {"changed": False}, "healthy is missing"),
        ("health_check", {**CHECKED, "changed": "yes"}, "changed is 'yes', not true or false"),
        ("health_check", {**CHECKED, "checks": []}, "checks is a list, not a mapping"),
        ("health_check", {**CHECKED, "checks": {"api": {}}}, "checks.api.ok is missing"),
        ("release", {**ENDED, "state": "fine"}, "state is 'fine', not one of staged, armed"),
        ("release", {**ENDED, "release": "../../etc"}, "release is '../../etc', not a text like"),
        ("release", {**ENDED, "services": {"../x": "start"}}, "services is '../x', not a name that can stand here"),
        ("release", {**ENDED, "reports": {"x": float("inf")}}, "reports.x is inf, not plain data"),
        ("release", {**ENDED, "blobs": 10**5000}, "blobs is a number without end, not a whole number"),
        ("tsm_service", {"changed": True, "services": {"x": "\x1b[2J" * 50}}, None),
        ("journal_info", {"changed": False, "records": [json.loads(nested(200))]}, "not at most 50 deep"),
    ],
)  # fmt: skip
def test_an_answer_of_another_form_is_refused_with_its_place(operation, record, said):
    if said is None:
        assert "\x1b" not in str(answers.result(operation, record))
        return
    with pytest.raises(TetraError) as caught:
        answers.result(operation, record)
    assert f"what came is no answer to {operation}: " in caught.value.message
    assert said in caught.value.message
    assert len(caught.value.message) < 300
    assert caught.value.code == "unconfirmed"


def told(folder):
    """A bundle that a host tells of, with a release in which there is every kind of value."""
    (folder / "acme" / "services").mkdir(parents=True)
    (folder / "acme" / "services" / "api.tsm").write_text(SERVICE)
    origin = source.read(folder / "acme")
    services = bundle.services(origin, "dev")
    built = bundle.build(origin, "dev", services, {"api": 4000}, {"TOKEN": "a" * 64}, "key")
    return {"changed": False, "manifest": built.manifest, "pack": ""}


def test_a_release_with_every_kind_of_value_is_an_answer(tmp_path):
    answer = told(tmp_path)
    assert answers.result("deploy_pack", answer) == answer


@pytest.mark.parametrize("wrong", [None, "echo", ["echo"], [{"argv": [[{"what": "is this"}]]}]])
def test_a_release_with_commands_of_another_form_is_none(tmp_path, wrong):
    answer = told(tmp_path)
    answer["manifest"]["services"]["api"]["definition"]["pre_commands"] = wrong
    with pytest.raises(TetraError, match="manifest"):
        answers.result("deploy_pack", answer)


@pytest.mark.parametrize("record", [None, {}, {"message": 1, "hint": "", "code": "refused"},
                                    {"message": "x", "hint": "", "code": "applied, honestly"}])
def test_an_error_of_another_form_is_none_of_ours(record):
    with pytest.raises(TetraError, match="what came is no error of ours"):
        answers.error(record)


@pytest.mark.parametrize("output", ["", "nonsense", "{", '{"result": NaN}', '{"result": -Infinity}',
                                    nested(sys.getrecursionlimit() * 50), f'{{"result": {"9" * 5000}}}'])
def test_what_is_no_json_is_no_answer(output):
    with pytest.raises(ValueError):
        answers.decode(output)


def test_text_is_shown_and_not_obeyed():
    assert forms.shown("one\n\ttwo \x1b[2J\u202e") == "one\n\ttwo \\u001b[2J\\u202e"
    assert forms.text("\udcff") == "\\udcff"


def test_what_takes_too_much_memory_ends_and_the_limit_goes():
    before = resource.getrlimit(resource.RLIMIT_AS)
    held = []
    with pytest.raises(MemoryError), memory.limited(64 << 20):
        while len(held) < 1000:
            held.append(bytes(8 << 20))
            time.sleep(0.01)
    assert 8 <= len(held) < 500
    held.clear()
    assert resource.getrlimit(resource.RLIMIT_AS) == before
    with memory.limited(64 << 20):
        assert bytes(8 << 20)
