# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""When a service that was started counts as well: a judgement over the checks that were made of it."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence

WAITING = "waiting"
HEALTHY = "healthy"
FAILED = "failed"
UNPROVEN = "unproven"


@dataclasses.dataclass(frozen=True)
class Policy:
    """How much proof is asked for.

    ``passes`` checks in a row, ``spacing`` seconds apart, over at least ``min_healthy`` seconds; ``retries`` failures
    in a row are a verdict, but not within ``start_period`` seconds of the start and before the first pass.
    """

    passes: int = 3
    spacing: float = 0.5
    min_healthy: float = 3.0
    retries: int = 3
    start_period: float = 10.0


@dataclasses.dataclass(frozen=True)
class Sample:
    """One check: when (monotonic seconds), whether it passed, whether the service itself answered, and who that was.

    ``identity`` is ``pid:start`` of the process, empty when there was none.
    """

    at: float
    ok: bool
    own_process: bool
    identity: str
    detail: str

    @property
    def good(self) -> bool:
        """Whether the check proves that this very service is well."""
        return self.ok and self.own_process


@dataclasses.dataclass(frozen=True)
class Verdict:
    """The judgement, and why."""

    state: str
    reason: str = ""


def verdict(samples: Sequence[Sample], now: float, started: float, policy: Policy) -> Verdict:
    """Judge a service by its checks so far.

    A process that was replaced after a check had passed has crashed, whatever its successor answers. A service that
    passed once and then fails is not starting any more, so it has no start period left.

    :param samples: the checks, oldest first.
    :param now: monotonic seconds, as in the samples and in ``started``, when the watch began.
    """
    good = [sample for sample in samples if sample.good]
    if good and _replaced(samples[samples.index(good[0]) :]):
        return Verdict(FAILED, "the process ended and was started again while it was being watched")
    failures = _trailing(samples, False)
    if failures and len(failures) >= policy.retries and (good or now - started >= policy.start_period):
        return Verdict(FAILED, f"{len(failures)} checks in a row failed: {_why(failures[-1])}")
    passed = _trailing(samples, True)
    if passed and len(passed) >= policy.passes and passed[-1].at - passed[0].at >= policy.min_healthy:
        return Verdict(HEALTHY, f"{len(passed)} checks in a row passed")
    return Verdict(WAITING, _why(samples[-1]) if samples else "")


def at_the_end(found: Verdict, samples: Sequence[Sample]) -> Verdict:
    """The judgement when the time is over: what lacked nothing but time is ``unproven``, which says nothing against it.

    :param found: the verdict on the samples, of which there is at least one.
    """
    if found.state != WAITING:
        return found
    if samples[-1].good:
        return Verdict(UNPROVEN, "there was no time left to prove it healthy, though its last check passed")
    return Verdict(FAILED, f"it did not become healthy in time: {found.reason}")


def _replaced(samples: Sequence[Sample]) -> bool:
    """Whether the process is not the one of the first sample any more; one that is gone may yet come back."""
    return any(sample.identity not in ("", samples[0].identity) for sample in samples)


def _trailing(samples: Sequence[Sample], good: bool) -> list[Sample]:
    """The last samples in a row that passed, or that failed, oldest first."""
    found = list(itertools.takewhile(lambda sample: sample.good is good, reversed(samples)))
    return found[::-1]


def _why(sample: Sample) -> str:
    if sample.ok and not sample.own_process:
        return f"another program answered on the port of the service: {sample.detail}"
    return sample.detail
