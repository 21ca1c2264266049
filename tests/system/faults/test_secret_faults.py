# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Secrets that change or are damaged in the middle of a transaction; and the way back to the old one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from ansible_collections.tetra.platform.plugins.module_utils.host import store, transactions
from ansible_collections.tetra.platform.plugins.module_utils.model import transaction

from .. import invariants
from ..single import Single, done

ADDRESS = "127.0.86.2"
SERVICE = "TSM_COMMAND='sleep 600'\nTSM_MIN_HEALTHY=0s\nexport KEY=${secret:KEY}\nexport TRY={number}\n"
OLD, NEW = "old-secret-0815", "new-secret-4711"


@pytest.fixture(scope="module")
def host(tmp_path_factory):
    made = Single(tmp_path_factory.mktemp("single"), ADDRESS)
    try:
        yield made
    finally:
        made.down()


@pytest.fixture
def old(host):
    """A host that runs with the old secret."""
    bring(host, OLD, "old")
    host.apply({})
    return store.current(host.environment)


def bring(host: Single, secret: str, number: str) -> None:
    host.secrets = {"KEY": secret}
    host.write({"worker.tsm": SERVICE.replace("{number}", number)}, {})


def used(host: Single) -> str:
    """The secret that the process of the service has."""
    pid = done(host.ask("tsm_service_info", {}))["services"]["worker"]["pid"]
    variables = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    return next(one for one in variables if one.startswith(b"KEY=")).partition(b"=")[2].decode()


@pytest.mark.guarantee("F27")
def test_a_secret_that_changed_after_the_plan_is_refused_before_anything_moves(host, old):
    bring(host, NEW, "changed")
    request = host.stage_request({})
    error = host.step("staged", host.identity(), stage={**request, "secrets": {"KEY": "yet-another"}})["error"]
    assert error["code"] == transaction.REFUSED
    assert "secret KEY is not what it was when the plan was made" in error["message"]
    assert "yet-another" not in json.dumps(error)
    assert (store.current(host.environment), used(host)) == (old, OLD)
    assert invariants.broken(host.scope, {old}, OLD) == []


@pytest.mark.guarantee("F27")
def test_a_secret_that_changes_after_it_was_staged_is_that_of_the_release_all_the_same(host, old):
    bring(host, NEW, "pinned")
    identity = host.stage({})
    host.secrets = {"KEY": "newer-still"}
    assert done(host.step("active", identity))["state"] == transaction.PROBING
    assert used(host) == NEW
    assert done(host.step("confirmed", identity))["state"] == transaction.CONFIRMED
    assert used(host) == NEW
    assert invariants.broken(host.scope, {store.current(host.environment)}, NEW) == []


@pytest.mark.guarantee("F27")
@pytest.mark.parametrize("way", ["rolled_back", "lease"])
def test_who_goes_back_has_the_old_secret_again(host, old, way):
    bring(host, NEW, f"back {way}")
    host.lease = 4.0
    identity = host.stage({})
    host.lease = 20.0
    assert done(host.step("active", identity))["state"] == transaction.PROBING
    assert used(host) == NEW
    if way == "rolled_back":
        done(host.step("rolled_back", identity))
    host.wait_until_closed()
    assert transactions.states(host.environment)[identity] == transaction.ROLLED_BACK
    assert used(host) == OLD
    host.settle()
    assert invariants.broken(host.scope, {old}, OLD) == []


@pytest.mark.guarantee("F27")
@pytest.mark.parametrize("damage", ["edited", "removed"])
def test_secrets_that_are_damaged_between_staging_and_the_switch_stop_it(host, old, damage):
    bring(host, NEW, f"damaged {damage}")
    identity = host.stage({})
    path = Path(host.environment.private, f"{transactions.load(host.environment, identity).record['to']}.json")
    text = path.read_text()
    assert NEW in text
    if damage == "removed":
        path.unlink()
    else:
        path.write_text(text.replace(NEW, "false-secret-99"))
    error = host.step("active", identity)["error"]
    assert error["code"] == transaction.REFUSED
    assert NEW not in json.dumps(error) and "false" not in json.dumps(error)
    assert (store.current(host.environment), used(host)) == (old, OLD)
    assert transactions.states(host.environment)[identity] == transaction.STAGED
    done(host.step("aborted", identity))
    assert invariants.broken(host.scope, {old}, OLD) == []
