# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What acme's small web servers share: pages by path, on the address and the port that the platform gives."""

from __future__ import annotations

import http.server
import json
import os
import socketserver


class PageHandler(http.server.BaseHTTPRequestHandler):
    """Answers GET with what ``pages[path]()`` returns, (status, record), as JSON; subclasses fill ``pages``."""

    pages: dict = {}

    def do_GET(self):
        page = self.pages.get(self.path.partition("?")[0])
        status, record = page() if page else (404, {"error": "not found"})
        body = json.dumps(record).encode() + b"\n"
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_arguments):
        """Say nothing: the probes would fill the log."""


class Server(http.server.ThreadingHTTPServer):
    """An HTTP server that does not ask the name service for its own name before it listens."""

    def server_bind(self):
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = self.server_address[:2]


def identity() -> dict:
    """Which service of which release answers, and that it is well."""
    return {
        "service": os.environ["TSM_NAME"],
        "release": os.environ["TETRA_RELEASE"],
        "env": os.environ["TETRA_ENV"],
        "status": "ok",
    }


def serve(handler) -> None:
    """Answer on HOST and TSM_PORT until the process is ended."""
    Server((os.environ["HOST"], int(os.environ["TSM_PORT"])), handler).serve_forever()
