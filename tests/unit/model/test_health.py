# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""When a service that was started counts as well."""

from __future__ import annotations

import dataclasses

import pytest
from ansible_collections.tetra.platform.plugins.module_utils.model import health
from hypothesis import given, settings
from hypothesis import strategies as st

POLICY = health.Policy(passes=3, spacing=0.5, min_healthy=1.0, retries=2, start_period=5.0)
STARTED = 100.0

# What a check can be like: passed, failed, answered by somebody else, nobody there; by the first or a second process.
KINDS = {
    "+": (True, True, "1:1"),
    "-": (False, True, "1:1"),
    "?": (True, False, "1:1"),
    "0": (False, False, ""),
    "P": (True, True, "2:1"),
    "M": (False, True, "2:1"),
}


def watched(text, spacing=0.5):
    """Checks, one a character, from the start of the service on."""
    return [
        health.Sample(STARTED + number * spacing, *KINDS[character], f"check {number}")
        for number, character in enumerate(text)
    ]


def judged(text, policy=POLICY, now=None):
    samples = watched(text)
    return health.verdict(samples, samples[-1].at if now is None else now, STARTED, policy)


@pytest.mark.parametrize(("text", "state"), [
    ("++", health.UNPROVEN), ("+-+", health.UNPROVEN), ("-", health.FAILED), ("+-", health.FAILED),
    ("?", health.FAILED), ("0", health.FAILED), ("+++", health.HEALTHY), ("++--", health.FAILED),
])  # fmt: skip
def test_when_the_time_is_over_only_a_last_check_that_failed_is_held_against_a_service(text, state):
    assert health.at_the_end(judged(text), watched(text)).state == state


@pytest.mark.parametrize(
    ("text", "state"),
    [
        ("+", health.WAITING),
        ("++", health.WAITING),
        ("+++", health.HEALTHY),
        ("-+++", health.HEALTHY),
        ("0000-+++", health.HEALTHY),
        ("+-+", health.WAITING),
        ("+-++", health.WAITING),
        ("+-+++", health.HEALTHY),
        ("+++-", health.WAITING),
        ("++--", health.FAILED),
        ("+--", health.FAILED),
        ("+0", health.WAITING),
        ("+00", health.FAILED),
        ("??", health.WAITING),
        ("?++", health.WAITING),
        ("+??", health.FAILED),
        ("+P", health.FAILED),
        ("+M", health.FAILED),
        ("+0P", health.FAILED),
        ("++P++P", health.FAILED),
        ("-PPP", health.HEALTHY),
        ("-M-PPP", health.HEALTHY),
    ],
)
def test_the_verdict_over_some_checks(text, state):
    assert judged(text).state == state


def test_nothing_is_known_before_the_first_check():
    assert health.verdict([], STARTED + 1000, STARTED, POLICY) == health.Verdict(health.WAITING)


def test_enough_passes_in_too_short_a_time_are_not_enough():
    samples = watched("++++", spacing=0.1)
    assert health.verdict(samples, samples[-1].at, STARTED, POLICY).state == health.WAITING


def test_a_long_time_with_too_few_passes_is_not_enough():
    samples = watched("++", spacing=60.0)
    assert health.verdict(samples, samples[-1].at, STARTED, POLICY).state == health.WAITING


def test_one_pass_is_enough_when_the_policy_says_so():
    policy = health.Policy(passes=1, spacing=0.0, min_healthy=0.0)
    assert judged("+", policy).state == health.HEALTHY


@pytest.mark.parametrize(("after", "state"), [(4.9, health.WAITING), (5.0, health.FAILED)])
def test_failures_before_the_first_pass_are_forgiven_in_the_start_period_only(after, state):
    assert judged("---", now=STARTED + after).state == state


def test_one_failure_after_the_start_period_is_not_yet_a_verdict():
    assert judged("-", now=STARTED + 100).state == health.WAITING


@pytest.mark.parametrize("policy", [health.Policy(retries=0), health.Policy(passes=0)])
def test_a_policy_that_asks_for_nothing_still_needs_a_check(policy):
    assert health.verdict([], STARTED + 1000, STARTED, policy).state == health.WAITING


def test_the_reason_of_a_failure_is_what_the_last_check_said():
    assert judged("+--").reason == "2 checks in a row failed: check 2"


def test_the_reason_names_a_foreign_answer():
    assert "another program answered" in judged("+??").reason


def test_the_reason_names_a_restart():
    assert "started again" in judged("++P").reason


texts = st.text(alphabet="".join(KINDS), min_size=1, max_size=12)
policies = st.builds(
    health.Policy,
    passes=st.integers(1, 4),
    min_healthy=st.floats(0, 3),
    retries=st.integers(1, 4),
    start_period=st.floats(0, 5),
)


@settings(max_examples=200)
@given(texts, policies)
def test_healthy_is_only_who_passed_often_and_long_enough_as_one_process(text, policy):
    samples = watched(text)
    if health.verdict(samples, samples[-1].at, STARTED, policy).state == health.HEALTHY:
        proof = samples[-policy.passes :]
        assert len(proof) == policy.passes
        assert all(sample.ok and sample.own_process for sample in proof)
        assert len({sample.identity for sample in proof}) == 1
        assert samples[-1].at - samples[0].at >= policy.min_healthy


@settings(max_examples=200)
@given(texts, policies)
def test_a_failure_at_the_end_is_never_healthy(text, policy):
    assert judged(text + "-", policy).state != health.HEALTHY


@settings(max_examples=200)
@given(texts, texts, policies)
def test_a_process_that_passed_and_was_replaced_has_failed_for_good(before, after, policy):
    text = f"{before}+P{after}"
    assert judged(text, policy).state == health.FAILED


@settings(max_examples=200)
@given(texts, policies, st.floats(0, 1e6))
def test_the_verdict_does_not_depend_on_when_the_clock_began(text, policy, shift):
    # Powers of two, so that the sums are exact.
    shift = float(int(shift))
    moved = [dataclasses.replace(sample, at=sample.at + shift) for sample in watched(text)]
    there = health.verdict(moved, moved[-1].at, STARTED + shift, policy)
    assert there == judged(text, policy)
