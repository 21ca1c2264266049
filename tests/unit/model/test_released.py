# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Freed ports rest, and are held for who may have to go back to them."""

from __future__ import annotations

from ansible_collections.tetra.platform.plugins.module_utils.model.ports import released
from ansible_collections.tetra.platform.plugins.module_utils.model.ports.registry import Registry

NOW = 1000.0
HELD = {"by": "acme/dev/api", "until": NOW + released.LONGEST_HOLD, "held": True}


def said(cooldown=60.0, **ports):
    return Registry(owned={"acme/dev": ports}, cooldown=cooldown)


def after(before, now_said, old=None, held=False):
    return released.after(old or {}, before, now_said, NOW, held)


def test_a_port_that_is_given_up_rests_for_the_time_of_the_registry():
    assert after(said(api=4000), said()) == {"4000": {"by": "acme/dev/api", "until": NOW + 60, "held": False}}


def test_a_port_that_is_left_for_another_is_given_up():
    assert list(after(said(api=4000), said(api=4001))) == ["4000"]


def test_the_protocol_is_part_of_what_is_given_up():
    assert list(after(said(dns="5353/udp"), said(dns=5353))) == ["5353/udp"]


def test_during_a_transaction_it_is_held():
    assert after(said(api=4000), said(api=4001), held=True) == {"4000": HELD}


def test_who_has_a_port_again_has_not_given_it_up():
    assert after(said(), said(api=4000), {"4000": HELD}) == {}


def test_services_that_exchange_their_ports_give_up_none():
    assert after(said(api=4000, web=4001), said(api=4001, web=4000)) == {}


def test_what_has_rested_long_enough_is_forgotten():
    rested = {"by": "x", "until": NOW, "held": False}
    assert after(said(), said(), {"4000": rested, "4001": HELD}) == {"4001": HELD}
    assert released.known({"4000": rested, "4001": HELD}, NOW, 60.0) == {"4001": HELD}


def test_what_a_clock_that_was_ahead_gave_up_does_not_rest_until_then():
    ahead = {"by": "x", "until": NOW + 365 * 86400, "held": False}
    held = {**ahead, "held": True}
    assert released.known({"4000": ahead, "4001": held}, NOW, 60.0) == {"4001": held}
    assert released.known({"4000": ahead}, NOW, 366 * 86400) == {"4000": ahead}


def test_the_end_of_a_transaction_lets_go_of_what_was_held_for_it_alone():
    other = {**HELD, "by": "beta/dev/api"}
    resting = {"by": "acme/dev/old", "until": NOW + 5, "held": False}
    found = released.settled({"4000": HELD, "4001": other, "4002": resting}, "acme/dev", NOW, 60.0)
    assert found == {"4000": {"by": "acme/dev/api", "until": NOW + 60, "held": False}, "4001": other, "4002": resting}
