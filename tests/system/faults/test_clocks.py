# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Clocks that are wrong, jump, or differ: leases go by a clock that nobody can set, and the journal by numbers."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.tetra.platform.plugins.module_utils.host import journal, registry, store, transactions
from ansible_collections.tetra.platform.plugins.module_utils.model import transaction

from .. import invariants
from ..conftest import LONG
from ..single import SECRET, Single, done

ADDRESS = "127.0.84.6"
PORT, OTHER = 4300, 4301
SERVICE = """\
TSM_COMMAND='exec python3 -m http.server $PORT --bind $HOST --directory ${{TETRA_RELEASE_DIR}}/files/api'
TSM_PORT=auto
TSM_MIN_HEALTHY=0s
export TRY={number}
"""
YEAR = 365 * 86400
# Runs a program of Python by a clock that is off. (Under libfaketime a Python that sleeps gets an error, unless the
# clock that nobody can set is moved as well, which no jump of a clock does.)
RUN_BY_ANOTHER_CLOCK = """
import runpy, sys, time
offset, *sys.argv = float(sys.argv[1]), *sys.argv[2:]
right, broken_down = time.time, time.gmtime
time.time = lambda: right() + offset
time.gmtime = lambda seconds=None: broken_down(time.time() if seconds is None else seconds)
runpy.run_path(sys.argv[0], run_name="__main__")
"""
CLOCKS = {"a-year-ahead": YEAR, "ten-years-behind": -10 * YEAR, "an-hour-ahead": 3600, "right": 0}
# A clock when a transaction is armed, and one when it is confirmed.
JUMPS = [pair for pair in itertools.product(CLOCKS, repeat=2)
         if LONG or pair in [("a-year-ahead", "ten-years-behind"), ("ten-years-behind", "a-year-ahead"),
                             ("an-hour-ahead", "right")]]  # fmt: skip


@pytest.fixture(scope="module")
def host(tmp_path_factory):
    """A host whose agent can be given another clock."""
    made = Single(tmp_path_factory.mktemp("single"), ADDRESS)
    try:
        write(made)
        made.apply({"api": PORT})
        yield made
    finally:
        made.down()


def write(host: Single) -> None:
    host.write({"api.tsm": SERVICE.format(number=host.identity())}, {"api/page": host.identity()})


@contextlib.contextmanager
def clock(host: Single, seconds: int) -> Iterator[None]:
    """The clock of the host is off by some seconds, for its agent; the one that nobody can set goes on as ever."""
    host.wrapper = [sys.executable, "-IS", "-c", RUN_BY_ANOTHER_CLOCK, str(seconds)]
    try:
        yield
    finally:
        host.wrapper = []


def assert_well(host: Single) -> None:
    assert invariants.broken(host.scope, {store.current(host.environment)}, SECRET) == []


@pytest.mark.parametrize(("armed", "confirmed"), [
    pytest.param(*pair, marks=pytest.mark.guarantee("F10"), id=f"F10-{'-then-'.join(pair)}") for pair in JUMPS
])  # fmt: skip
def test_a_clock_that_jumps_between_two_steps_changes_nothing(host, armed, confirmed):
    write(host)
    identity, begun = host.identity(), time.monotonic()
    with clock(host, CLOCKS[armed]):
        done(host.step("staged", identity, stage=host.stage_request({"api": PORT})))
        assert done(host.step("active", identity))["state"] == transaction.PROBING
    with clock(host, CLOCKS[confirmed]):
        shown = done(host.ask("release_info", {}))["transaction"]
        assert 0 <= shown["age"] <= time.monotonic() - begun
        assert 0 < shown["seconds_left"] <= host.lease
        assert done(host.step("confirmed", identity))["state"] == transaction.CONFIRMED
    records = journal.read(host.environment)
    assert [record["seq"] for record in records] == list(range(1, len(records) + 1))
    assert records[-1]["transaction"] == identity
    assert 0 <= records[-1]["seconds"] <= time.monotonic() - begun
    assert_well(host)


@pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.guarantee("F10"), id=f"F10-lease-{name}")
                                  for name in CLOCKS if LONG or name != "an-hour-ahead"])  # fmt: skip
def test_a_lease_lasts_as_long_as_it_does_whatever_the_clock_says(host, name):
    before = store.current(host.environment)
    write(host)
    host.lease = 5.0
    with clock(host, CLOCKS[name]):
        identity = host.stage({"api": PORT})
        begun = time.monotonic()
        assert done(host.step("active", identity))["state"] == transaction.PROBING
        host.wait_until_closed()
        took = time.monotonic() - begun
    host.lease = 20.0
    assert 5.0 <= took <= 5.0 + 10.0
    assert transactions.states(host.environment)[identity] == transaction.ROLLED_BACK
    assert store.current(host.environment) == before
    host.settle()
    assert_well(host)


@pytest.mark.guarantee("F10")
def test_what_controllers_with_old_clocks_did_last_is_not_forgotten_first(host):
    # The name of a transaction begins with the time of its controller; ten that have ended are kept.
    names = [f"2016{month:02d}01t000000-{month:08x}" for month in range(12, 12 - (10 if LONG else 4), -1)]
    while len(transactions.states(host.environment)) < 9:
        write(host)
        host.apply({"api": PORT})
    for identity in names:
        write(host)
        done(host.step("staged", identity, stage=host.stage_request({"api": PORT})))
        done(host.step("active", identity))
        assert done(host.step("confirmed", identity))["state"] == transaction.CONFIRMED
    known = transactions.states(host.environment)
    assert len(known) <= 11
    assert set(names) <= set(known)
    assert_well(host)


@pytest.mark.guarantee("F10")
def test_files_of_a_clock_that_was_ahead_are_no_drift(host):
    write(host)
    identity = host.stage({"api": PORT})
    ahead = time.time() + YEAR
    for path in Path(host.environment.releases, store_of(host, identity)).rglob("*"):
        os.utime(path, (ahead, ahead))
    assert done(host.step("active", identity))["state"] == transaction.PROBING
    assert done(host.step("confirmed", identity))["state"] == transaction.CONFIRMED
    assert_well(host)


def store_of(host: Single, identity: str) -> str:
    """The release that a transaction leads to."""
    return transactions.load(host.environment, identity).record["to"]


@pytest.mark.guarantee("F10")
def test_a_port_that_was_given_up_by_a_clock_that_was_ahead_rests_no_longer_than_any_other(host):
    write(host)
    with clock(host, YEAR):
        for port in (OTHER, PORT):
            write(host)
            host.apply({"api": port})
    released = json.loads(Path(host.scope.home.config, "ports.released.json").read_text())["released"]
    assert released[str(OTHER)]["until"] > time.time() + YEAR / 2
    assert str(OTHER) not in registry.load(host.scope.home.root).released
    write(host)
    host.apply({"api": OTHER})
    write(host)
    host.apply({"api": PORT})
    assert_well(host)
