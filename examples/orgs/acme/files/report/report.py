# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Acme's report: asks the API of the same host how it is and says so."""

from __future__ import annotations

import configparser
import json
import os
import urllib.request

import pages

_TIMEOUT = 2.0


def settings() -> configparser.SectionProxy:
    """The configuration that was rendered for this environment."""
    parser = configparser.ConfigParser(interpolation=None)
    with open(os.environ["REPORT_CONFIG"], encoding="utf-8") as file:
        parser.read_file(file)
    return parser["report"]


def api() -> dict:
    """What the API says of itself, or why it could not be asked."""
    host = os.environ["TETRA_ADDRESS"] or "127.0.0.1"
    try:
        with urllib.request.urlopen(f"http://{host}:{SETTINGS['api_port']}/health", timeout=_TIMEOUT) as answer:
            return json.load(answer)
    except (OSError, ValueError) as error:
        return {"status": "unreachable", "error": str(error)}


def report():
    """The report."""
    return 200, {"title": SETTINGS["title"], "greeting": SETTINGS.get("greeting"), "api": api()}


def health():
    """Whether the report itself works; an ailing API is what it reports and no reason to restart it."""
    return 200, pages.identity()


class Handler(pages.PageHandler):
    """The pages of the report."""

    pages = {"/": report, "/health": health}


if __name__ == "__main__":
    SETTINGS = settings()
    pages.serve(Handler)
