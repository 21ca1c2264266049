"""Serves a folder, and /health, on the address and the port that the platform gives: serve.py FOLDER."""

from __future__ import annotations

import functools
import http.server
import json
import os
import socketserver
import sys


class Handler(http.server.SimpleHTTPRequestHandler):
    """The files of a folder, and who serves them."""

    def do_GET(self):
        """Answer /health with the service, its release and its environment, anything else with a file."""
        if self.path != "/health":
            super().do_GET()
            return
        names = {"service": "TSM_NAME", "release": "TETRA_RELEASE", "env": "TETRA_ENV"}
        body = json.dumps({key: os.environ[name] for key, name in names.items()}).encode() + b"\n"
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_arguments):
        """Say nothing: the probes would fill the log."""


class Server(http.server.ThreadingHTTPServer):
    """A server that does not ask the name service for its own name before it listens."""

    def server_bind(self):
        """Take the port."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = self.server_address[:2]


if __name__ == "__main__":
    place = os.environ["HOST"], int(os.environ["TSM_PORT"])
    Server(place, functools.partial(Handler, directory=sys.argv[1])).serve_forever()
