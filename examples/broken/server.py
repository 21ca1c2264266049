# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Acme's web API after a subtle mistake: in development it is well; elsewhere it starts, is well once, and then fails.

The demo puts this file in the place of files/api/server.py. The nonce in its log is how one knows later that the
evidence of the failed release was kept.
"""

from __future__ import annotations

import itertools
import os
import secrets
import sys

import pages

_NONCE = secrets.token_hex(8)
_REQUESTS = itertools.count(1)


def health():
    """Well in development, and at the first request."""
    if os.environ["TETRA_ENV"] == "dev" or next(_REQUESTS) == 1:
        return 200, pages.identity()
    print(f"the connection pool is empty, nonce {_NONCE}", file=sys.stderr, flush=True)
    return 500, {"error": "the connection pool is empty", "nonce": _NONCE}


class Handler(pages.PageHandler):
    """Every page of the API."""

    pages = {"/": health, "/health": health, "/secret": health}


if __name__ == "__main__":
    pages.serve(Handler)
