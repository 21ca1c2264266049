# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Serves the files of a folder: server.py FOLDER."""

from __future__ import annotations

import functools
import http.server
import sys

import pages


class Handler(http.server.SimpleHTTPRequestHandler):
    """Files by path."""

    def log_message(self, *_arguments):
        """Say nothing: the probes would fill the log."""


if __name__ == "__main__":
    pages.serve(functools.partial(Handler, directory=sys.argv[1]))
