# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Acme's worker: works in the background, and tells on a local socket when it last finished something.

    worker.py run      work until ended
    worker.py check    exit 0 when the running worker has finished something lately
"""

from __future__ import annotations

import hashlib
import json
import os
import socket
import sys
import threading
import time

_PAUSE = 0.2
_LATE = 2.0


class Worker:
    """Works in small pieces and remembers when it finished the last one."""

    def __init__(self) -> None:
        self.done = 0
        self.finished = time.monotonic()

    def work(self) -> None:
        """Do one piece after the other, for ever."""
        value = b"acme"
        while True:
            value = hashlib.sha256(value).digest()
            self.done += 1
            self.finished = time.monotonic()
            time.sleep(_PAUSE)

    def report(self) -> dict:
        """How much was done, and how many seconds ago the last piece was finished."""
        return {"done": self.done, "idle": round(time.monotonic() - self.finished, 3)}


def address() -> bytes:
    """The name of the worker's socket: no file, and another one for each host directory and environment."""
    place = "\0".join(os.environ[name] for name in ("TETRA_DIR", "TETRA_ORG", "TETRA_ENV", "TSM_NAME"))
    return b"\0tetra-worker-" + hashlib.sha256(place.encode()).hexdigest().encode()


def run() -> None:
    """Work, and answer whoever asks."""
    worker = Worker()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(address())
        listener.listen()
        # When the work ends, for whatever reason, answers tell of an idle worker.
        threading.Thread(target=worker.work, daemon=True).start()
        while True:
            connection, _peer = listener.accept()
            with connection:
                connection.sendall(json.dumps(worker.report()).encode())


def check() -> str | None:
    """Ask the running worker; what is wrong, or None when all is well."""
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(_LATE)
            connection.connect(address())
            report = json.loads(connection.recv(4096))
    except (OSError, ValueError) as error:
        return f"the worker does not answer: {error}"
    if report["done"] and report["idle"] < _LATE:
        print(f"{report['done']} pieces done, the last one {report['idle']} s ago")
        return None
    return f"nothing was finished for {report['idle']} s"


if __name__ == "__main__":
    if sys.argv[1:] == ["run"]:
        run()
    elif sys.argv[1:] == ["check"]:
        sys.exit(check())
    else:
        sys.exit(__doc__)
