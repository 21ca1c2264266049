# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a service's health is checked, from the text that says so: a URL, an address, or a command."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from . import command, units, values
from .errors import TetraError
from .values import Value

_URL = re.compile(r"https?://[^\s/?#]\S*")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
# People add this to health checks by habit; a check that fails has failed without it.
_OR_EXIT = re.compile(r"[ \t]*\|\|[ \t]*exit[ \t]+1[ \t]*$")
_FLAG = re.compile(r"-[fsS]+|--fail|--silent|--show-error")
_FAIL = re.compile(r"-[sS]*f[fsS]*|--fail")


def read(value: Value, expand: Callable[[str], Value]) -> dict[str, Any]:
    """The check that a text describes.

    :param expand: reads text once more for ``$NAME`` in it: a URL in single quotes means the variables that it names.
    :returns: ``{"kind": "http", "url": value}`` for a URL and for ``curl -f URL``, ``{"kind": "tcp", "address": value,
        "port": value}`` for ``tcp://host:port``, else ``{"kind": "command", "command": command}``.
    :raises TetraError: for a URL or a command that cannot work.
    """
    start = _start(value)
    if start.startswith(("http://", "https://")):
        return {"kind": "http", "url": _checked_url(values.map_text(_stripped(value), expand))}
    if start.startswith("tcp://"):
        return _tcp(values.map_text(_stripped(value), expand))
    if _SCHEME.match(start):
        raise TetraError(f"{start.partition(':')[0]}: is no way to ask a service",
                         hint="write http://, https:// or tcp://, or a command")
    url = _curl(value, expand) if re.match(r"curl[ \t]", start) else None
    return {"kind": "http", "url": url} if url else {"kind": "command", "command": command.read(value)}


def _start(value: Value) -> str:
    first = values.parts(value)[0] if value else ""
    return first.lstrip() if isinstance(first, str) else ""


def _stripped(value: Value) -> Value:
    pieces = list(values.parts(value))
    for index, strip in ((0, str.lstrip), (-1, str.rstrip)):
        piece = pieces[index]
        if isinstance(piece, str):
            pieces[index] = strip(piece)
    return values.join(pieces)


def _checked_url(url: Value) -> Value:
    if not _URL.fullmatch(values.show(url)):
        hint = "write http://localhost:${TSM_PORT}/health, without blanks"
        raise TetraError(f"{values.show(url)[:60]} is not a URL", hint=hint)
    if values.secrets_in(url):
        raise TetraError("a health check holds a secret", hint="let a command read the variable that holds it")
    return url


def _tcp(value: Value) -> dict[str, Any]:
    first, *rest = values.parts(value)
    pieces = [str(first)[len("tcp://") :], *rest]
    for index in reversed(range(len(pieces))):
        piece = pieces[index]
        if isinstance(piece, str) and ":" in piece:
            before, _colon, after = piece.rpartition(":")
            address = values.join([*pieces[:index], before])
            return _tcp_check(address, values.join([after, *pieces[index + 1 :]]))
    raise TetraError(f"{values.show(value)[:60]} has no port", hint="write tcp://host:port")


def _tcp_check(address: Value, port: Value) -> dict[str, Any]:
    if isinstance(port, str):
        port = str(units.port(port.rstrip("/")))
    if isinstance(address, str):
        address = address.strip("[]")
    secret = values.secrets_in(address) | values.secrets_in(port)
    if not address or secret or re.search(r"[\s/]", values.show(address)):
        raise TetraError(f"{values.show(address)[:60]} is not a host", hint="write tcp://host:port")
    return {"kind": "tcp", "address": address, "port": port}


def _curl(value: Value, expand: Callable[[str], Value]) -> Value | None:
    """The URL of ``curl -f URL``, which is checked without curl; None when curl is told anything else."""
    pieces = list(values.parts(value))
    if isinstance(pieces[-1], str):
        pieces[-1] = _OR_EXIT.sub("", pieces[-1])
    try:
        words = command.split(values.map_text(values.join(pieces), expand), plain="?")
    except TetraError:
        return None
    if words is None:
        return None
    flags = [word for word in words[1:] if isinstance(word, str) and _FLAG.fullmatch(word)]
    others = [word for word in words[1:] if word not in flags]
    if len(others) != 1 or not any(_FAIL.fullmatch(flag) for flag in flags):
        return None
    url = others[0] if _SCHEME.match(values.show(others[0])) else values.join(["http://", others[0]])
    return url if _URL.fullmatch(values.show(url)) and not values.secrets_in(url) else None
