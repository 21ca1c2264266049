# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Clients who ask services for pages all the time, and what they saw while something was done to those services."""

from __future__ import annotations

import dataclasses
import http.client
import json
import threading
import time
from collections.abc import Iterable
from typing import NamedTuple

PATIENCE = 5.0
"""After how many seconds without an answer a client gives up; a busy machine is slow, and that drops no request."""


class Answer(NamedTuple):
    """What came of asking once: when, whether it was well, and the release that answered (empty if it did not say)."""

    begin: float
    end: float
    ok: bool
    release: str


class Visitor(threading.Thread):
    """Asks one service for one page, so often a second and each time over a new connection."""

    def __init__(self, service: str, host: str, address: str, port: int, path: str, rate: float = 10.0) -> None:
        super().__init__(daemon=True)
        self.service = service
        self.host = host
        self.answers: list[Answer] = []
        self._place = (address, port, path)
        self._interval = 1 / rate
        self._over = threading.Event()

    def run(self) -> None:
        """Ask until told to end; an answer that takes long delays what is asked next."""
        due = time.monotonic()
        while not self._over.wait(max(0.0, due - time.monotonic())):
            self.answers.append(ask(*self._place))
            due = max(due + self._interval, time.monotonic())

    def end(self) -> None:
        """Ask no more."""
        self._over.set()
        self.join()

    def seen(self, begin: float, end: float) -> Seen:
        """What was seen between two moments."""
        return Seen([answer for answer in self.answers if begin <= answer.begin <= end])


def ask(address: str, port: int, path: str) -> Answer:
    """Ask for a page over a connection of its own."""
    begin = time.monotonic()
    connection = http.client.HTTPConnection(address, port, timeout=PATIENCE)
    ok, release = False, ""
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        text = answer.read()
        ok = answer.status == 200
        release = json.loads(text)["release"] if ok and path == "/health" else ""
    except (OSError, http.client.HTTPException, ValueError, KeyError):
        ok = False
    finally:
        connection.close()
    return Answer(begin, time.monotonic(), ok, release)


@dataclasses.dataclass(frozen=True)
class Seen:
    """Some of the answers that a client got, in their order."""

    answers: list[Answer]

    @property
    def asked(self) -> int:
        """How often it asked."""
        return len(self.answers)

    @property
    def dropped(self) -> int:
        """How often it got no good answer."""
        return sum(not answer.ok for answer in self.answers)

    @property
    def gap(self) -> float:
        """The longest time, in seconds, between two good answers of which the second was not the next to be asked."""
        good = [number for number, answer in enumerate(self.answers) if answer.ok]
        pairs = [(one, other) for one, other in zip(good, good[1:]) if other - one > 1]
        return max((self.answers[other].end - self.answers[one].end for one, other in pairs), default=0.0)

    def handover(self) -> float | None:
        """Seconds from the last answer of one release to the first of the next; None when only one answered."""
        good = [answer for answer in self.answers if answer.ok and answer.release]
        changes = [(one, other) for one, other in zip(good, good[1:]) if one.release != other.release]
        return changes[0][1].end - changes[0][0].end if changes else None


def share(seen: Iterable[Seen]) -> float:
    """Which share of what was asked got a good answer."""
    found = list(seen)
    return 1 - sum(one.dropped for one in found) / sum(one.asked for one in found)
