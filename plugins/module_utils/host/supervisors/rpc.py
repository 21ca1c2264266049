# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""XML-RPC over a unix socket in a folder that nobody else can reach."""

from __future__ import annotations

import http.client
import os
import shutil
import socket
import stat
import xml.parsers.expat
import xmlrpc.client
from collections.abc import Collection
from typing import Any

from ...model.errors import REFUSED, TetraError

_TIMEOUT = 20.0


class SilentError(Exception):
    """Nobody answered on the socket, or not as XML-RPC."""


class Client:
    """Speaks to whoever listens on ``folder/s.sock``.

    The folder is private, because whoever could put a socket there would be obeyed, and its path is short, because the
    path of a socket has room for 107 bytes.

    :param log: the file that the hint of an error names.
    """

    def __init__(self, folder: str, log: str) -> None:
        self.folder = folder
        self._hint = f"look at {log}"
        self.socket = os.path.join(folder, "s.sock")

    def call(self, method: str, *arguments: str | int, timeout: float = _TIMEOUT, accept: Collection[int] = ()) -> Any:
        """Make one call.

        :param accept: codes of faults that are answered with None.
        :raises SilentError: when there was no answer.
        :raises TetraError: code ``refused`` for any other fault, and for a folder that is not ours alone.
        """
        self.check_folder()
        try:
            answer = self._exchange(xmlrpc.client.dumps(arguments, method), timeout)
            return xmlrpc.client.loads(answer)[0][0]
        except xmlrpc.client.Fault as fault:
            if fault.faultCode in accept:
                return None
            shown = ", ".join(str(argument) for argument in arguments)
            message = f"supervisord refused {method}({shown}): {fault.faultString}"
            raise TetraError(message, hint=self._hint, code=REFUSED) from fault
        except (OSError, http.client.HTTPException, xml.parsers.expat.ExpatError, xmlrpc.client.Error) as error:
            raise SilentError(f"{self.socket}: {error or type(error).__name__}") from error

    def _exchange(self, body: str, timeout: float) -> bytes:
        connection = _UnixConnection(self.socket, timeout)
        try:
            connection.request("POST", "/RPC2", body.encode(), {"Content-Type": "text/xml"})
            response = connection.getresponse()
            if response.status != 200:
                raise http.client.HTTPException(f"status {response.status}")
            return response.read()
        finally:
            connection.close()

    def make_folder(self) -> None:
        """Make the folder, or empty the one that is there."""
        self.remove_folder()
        os.mkdir(self.folder, 0o700)

    def remove_folder(self) -> None:
        """Remove the folder with its socket, if there is one.

        :raises TetraError: code ``refused`` when it is not ours alone.
        """
        self.check_folder()
        shutil.rmtree(self.folder, ignore_errors=True)

    def check_folder(self) -> None:
        """Refuse a folder that is a link, is somebody else's or can be entered by others; a missing one is fine."""
        try:
            found = os.lstat(self.folder)
        except FileNotFoundError:
            return
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o077:
            raise TetraError(
                f"{self.folder} is not a folder of this user alone, so what listens there cannot be trusted",
                hint="find out who made it, then remove it",
                code=REFUSED,
            )


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over a unix socket."""

    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        """Connect to the socket instead of to a host."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)
