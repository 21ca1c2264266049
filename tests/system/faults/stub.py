# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A service that behaves as ``MODE`` says: well, or in one of the ways in which services and their checks go wrong."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
import time

MODE = os.environ.get("MODE", "well")
RELEASE = os.environ["TETRA_RELEASE"]
PLACE = (os.environ["HOST"], int(os.environ["PORT"]))
BEGUN = time.monotonic()
# What it sends at once is large enough to be noticed in the memory of who reads it.
PIECE = b"x" * 2**20
PIECES = 1024


def answer(status: str, body: str, *headers: str) -> bytes:
    """A whole answer over http."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers, "", body]
    return "\r\n".join(lines).encode()


def serve(connection: socket.socket, number: int) -> None:
    """Answer one request, the how manieth this is."""
    connection.recv(65536)
    age = time.monotonic() - BEGUN
    if MODE == "hangs":
        time.sleep(600)
    elif MODE == "fails":
        connection.sendall(answer("500 Sick", "sick"))
    elif MODE == "flaps":
        connection.sendall(answer("500 Sick", "sick") if number % 2 else answer("200 OK", RELEASE))
    elif MODE == "lies":
        connection.sendall(answer("200 OK", "0" * 64))
    elif MODE == "redirects":
        connection.sendall(answer("302 Found", "", f"Location: {os.environ['ELSEWHERE']}"))
    elif MODE == "endless-headers":
        connection.sendall(b"HTTP/1.1 200 OK\r\n")
        for _piece in range(PIECES):
            connection.sendall(b"X: " + PIECE + b"\r\n")
    elif MODE == "many-headers":
        connection.sendall(b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200_000 + b"\r\n")
    elif MODE == "large-body":
        connection.sendall(f"HTTP/1.1 200 OK\r\nContent-Length: {PIECES * len(PIECE)}\r\n\r\n".encode())
        for _piece in range(PIECES):
            connection.sendall(PIECE)
    elif MODE == "slowloris":
        for byte in answer("200 OK", RELEASE):
            connection.sendall(bytes([byte]))
            time.sleep(0.2)
    elif MODE == "starts-slowly" and age < float(os.environ["SLOW"]):
        connection.sendall(answer("503 Starting", "not yet"))
    else:
        connection.sendall(answer("200 OK", RELEASE))


def work(connection: socket.socket, number: int) -> None:
    """Answer one request; who asked may have gone."""
    with connection:
        try:
            serve(connection, number)
        except OSError as error:
            print(f"request {number}: {error}", flush=True)


def main() -> None:
    """Listen, after what the mode does before that."""
    if MODE == "crashes-at-start":
        sys.exit(3)
    if MODE == "ignores-the-signal":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if MODE == "forks-away" and os.fork():
        sys.exit(0)
    if MODE == "binds-late":
        time.sleep(float(os.environ["SLOW"]))
    if MODE == "dies-early":
        threading.Timer(float(os.environ["SLOW"]), os._exit, [7]).start()
    with socket.socket() as listener:
        # As careless as servers are that several processes share.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if "SHARED" in os.environ:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listener.bind((os.environ.get("BIND", PLACE[0]), PLACE[1]))
        listener.listen()
        print("listens", flush=True)
        number = 0
        while True:
            connection, _peer = listener.accept()
            number += 1
            threading.Thread(target=work, args=(connection, number), daemon=True).start()


if __name__ == "__main__":
    main()
