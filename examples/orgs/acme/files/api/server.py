# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Acme's web API."""

from __future__ import annotations

import hashlib
import os

import pages


def health():
    """Who answers, for probes and people."""
    return 200, pages.identity()


def greeting():
    """What this environment says to its visitors."""
    return 200, {"greeting": os.environ["GREETING"], "env": os.environ["TETRA_ENV"]}


def secret():
    """Which secret the process was given, without telling it: the first digits of its sha256."""
    return 200, {"api_token_sha256": hashlib.sha256(os.environ["API_TOKEN"].encode()).hexdigest()[:12]}


class Handler(pages.PageHandler):
    """The pages of the API."""

    pages = {"/": greeting, "/health": health, "/secret": secret}


if __name__ == "__main__":
    pages.serve(Handler)
