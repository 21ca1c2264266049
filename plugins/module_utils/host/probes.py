# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One check of one service: over http, by connecting, or by a command; never longer than its timeout."""

from __future__ import annotations

import contextlib
import dataclasses
import http.client
import os
import queue
import select
import signal
import socket
import ssl
import subprocess
import threading
import time
import urllib.parse
from collections.abc import Callable, Mapping
from typing import IO, Any

from ..model.errors import TetraError
from . import accounts, own_addresses

_KEPT = 64 * 1024
_SHOWN = 500
_LOCAL = ("localhost", "127.0.0.1", "::1")
_LATE = "no answer in time"

_Answer = tuple[bool, str]


@dataclasses.dataclass(frozen=True)
class Result:
    """Whether a check passed, what it said in one line, and how many seconds it took."""

    ok: bool
    detail: str
    seconds: float


def check(
    health: Mapping[str, Any], address: str, cwd: str, environment: Mapping[str, str], user: str = "",
    own: bool = False,
) -> Result:
    """Make one check.

    :param health: ``kind`` http with ``url``, tcp with ``address`` and ``port``, or command with ``argv``; and
        ``timeout`` in seconds.
    :param address: where the services of the host bind; localhost in a check means this, unless it is empty.
    :param cwd: where a command runs, with exactly ``environment``, as ``user``; empty for the user of this process.
    :param own: ask this host alone. Who writes a definition could otherwise have this process, which may be that of
        root, ask whatever it reaches, and read the answer.
    """
    begun = time.monotonic()
    deadline = begun + health["timeout"]
    try:
        if health["kind"] == "http":
            ok, detail = _http(health["url"], address, own, deadline)
        elif health["kind"] == "tcp":
            ok, detail = _tcp(_target(health["address"], address), int(health["port"]), own, deadline)
        else:
            ok, detail = _command(health["argv"], cwd, environment, user, deadline)
    except http.client.HTTPException as error:
        ok, detail = False, f"no answer over http ({type(error).__name__}: {error})"
    except (OSError, ValueError, TetraError) as error:
        ok, detail = False, str(error) or type(error).__name__
    return Result(ok, _one_line(detail), time.monotonic() - begun)


def _http(url: str, address: str, own: bool, deadline: float) -> _Answer:
    parsed = urllib.parse.urlsplit(url)
    if parsed.scheme not in ("http", "https") or not parsed.hostname:
        raise ValueError(f"{url} is not a URL for http or https")
    connection = _Connection(parsed, _target(parsed.hostname, address), own, _left(deadline))
    path = urllib.parse.urlunsplit(("", "", parsed.path or "/", parsed.query, ""))
    host = parsed.netloc.rpartition("@")[2]
    return _within(deadline, lambda: _get(connection, path, host, deadline), connection.cut)


def _get(connection: _Connection, path: str, host: str, deadline: float) -> _Answer:
    try:
        headers = {"Host": host, "User-Agent": "tetra-platform", "Accept": "*/*", "Connection": "close"}
        connection.request("GET", path, headers=headers)
        response = connection.getresponse()
        body = b""
        while len(body) < _KEPT and _left(deadline):
            chunk = response.read1(_KEPT)
            body += chunk
            if not chunk:
                break
        # A redirect is an answer of the service, as it is for curl -f; it is not followed, it could lead anywhere.
        return 200 <= response.status < 400, f"status {response.status}: {_text(body)}"
    finally:
        connection.close()


class _Connection(http.client.HTTPConnection):
    """A connection that goes to ``target`` and asks for the host of a URL."""

    def __init__(self, url: urllib.parse.SplitResult, target: str, own: bool, timeout: float) -> None:
        self._secure = url.scheme == "https"
        super().__init__(url.hostname or "", url.port or (443 if self._secure else 80), timeout=timeout)
        self._target, self._own = target, own

    def connect(self) -> None:
        """Connect; over https the certificate has to be for the host of the URL."""
        self.sock = _connected(self._target, self.port, self._own, self.timeout)
        if self._secure:
            self.sock = ssl.create_default_context().wrap_socket(self.sock, server_hostname=self.host)

    def cut(self) -> None:
        """Wake up whoever still reads from the connection."""
        with contextlib.suppress(OSError, AttributeError):
            self.sock.shutdown(socket.SHUT_RDWR)


def _tcp(host: str, port: int, own: bool, deadline: float) -> _Answer:
    def connect() -> _Answer:
        with _connected(host, port, own, _left(deadline)):
            return True, f"connected to port {port}"

    return _within(deadline, connect, lambda: None)


def _connected(host: str, port: int, own: bool, timeout: float | None) -> socket.socket:
    """A connection to one of the addresses of a host, which are asked for once: the next answer could be another."""
    addresses = [str(one[4][0]) for one in socket.getaddrinfo(host, port, 0, socket.SOCK_STREAM)]
    foreign = [address for address in addresses if own and not own_addresses.is_own(address)]
    if foreign:
        raise ValueError(f"{host} is another host ({foreign[0]}), and a check asks its own; a command may ask any, as "
                         "the user of the service: curl -f -o /dev/null URL")
    for number, address in enumerate(addresses, 1):
        try:
            return socket.create_connection((address, port), timeout)
        except OSError:
            if number == len(addresses):
                raise
    raise OSError(f"{host} has no address")


def _within(deadline: float, ask: Callable[[], _Answer], cut: Callable[[], None]) -> _Answer:
    """Ask in another thread, which is left behind when it is late: a name server cannot be interrupted."""
    answers: queue.SimpleQueue[_Answer | Exception] = queue.SimpleQueue()

    def work() -> None:
        try:
            answers.put(ask())
        except (OSError, ValueError, http.client.HTTPException, AttributeError) as error:
            answers.put(error)

    threading.Thread(target=work, daemon=True).start()
    try:
        answer = answers.get(timeout=_left(deadline))
    except queue.Empty:
        cut()
        raise TimeoutError(_LATE) from None
    if isinstance(answer, Exception):
        raise answer
    return answer


def _command(argv: list[str], cwd: str, environment: Mapping[str, str], user: str, deadline: float) -> _Answer:
    process = subprocess.Popen(
        argv, cwd=cwd, env=dict(environment), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, start_new_session=True, **(accounts.credentials(user) if user else {}),
    )  # fmt: skip
    try:
        if process.stdout is None:
            raise AssertionError("standard output is a pipe")
        with process.stdout as said:
            output = _output(process.pid, said, deadline)
    finally:
        # While it is not waited for, nobody else can have its number.
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    return process.returncode == 0, f"exit code {process.returncode}: {_text(output)}"


def _output(pid: int, said: IO[bytes], deadline: float) -> bytes:
    """What a command says until it ends; what it started may go on and keep its output open."""
    output = b""
    while not _has_ended(pid):
        chunk = _chunk(said, min(0.02, _left(deadline)))
        output = (output + chunk)[:_KEPT]
        if not chunk:
            time.sleep(0.005)
    while len(output) < _KEPT:
        chunk = _chunk(said, 0.0)
        if not chunk:
            break
        output += chunk
    return output


def _chunk(said: IO[bytes], seconds: float) -> bytes:
    readable = select.select([said], [], [], seconds)[0]
    return os.read(said.fileno(), _KEPT) if readable else b""


def _has_ended(pid: int) -> bool:
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _target(host: str, address: str) -> str:
    return address if address and host in _LOCAL else host


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError(_LATE)
    return left


def _text(data: bytes) -> str:
    return data[:_SHOWN].decode("utf-8", "replace")


def _one_line(text: str) -> str:
    """What a service said is shown to people, so it must not move their cursors."""
    return " ".join("".join(character if character.isprintable() else " " for character in text).split())
