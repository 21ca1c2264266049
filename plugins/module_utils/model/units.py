# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""How people write durations, sizes, yes and no, ports and names, and what is said when they are not understood."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable
from typing import Union

from . import canonical
from .errors import TetraError

Written = Union[str, int, float]

_NAME = re.compile(r"[a-z][a-z0-9-]{0,62}")
_PORT_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,62}")
_USER = re.compile(r"[a-z_][a-z0-9_-]{0,31}")
_NUMBER = r"[0-9]{1,12}(?:\.[0-9]{1,9})?"
_DURATION = re.compile(rf"(?:{_NUMBER}(?:ms|s|m|h|d)[ \t]*)+|{_NUMBER}")
_DURATION_STEP = re.compile(rf"({_NUMBER})(ms|s|m|h|d|)")
_SECONDS = {"ms": 0.001, "s": 1, "": 1, "m": 60, "h": 3600, "d": 86400}
_SIZE = re.compile(rf"({_NUMBER})[ \t]*([kmgt]?)(?:i?b)?", re.IGNORECASE)
_BYTES = {"": 1, "k": 1024, "m": 1024**2, "g": 1024**3, "t": 1024**4}
_BOOLEANS = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}

_LONGEST_USER = 32
MAXIMUM_PORT = 65535
_MAXIMUM_DURATION = 10 * 365 * 86400


def duration(text: Written) -> float:
    """Seconds in a duration: ``30``, ``30s``, ``500ms``, ``5m``, ``1h``, ``2d`` or several together, ``1m30s``.

    :raises TetraError: for anything else, and for more than ten years.
    """
    written = str(text).strip()
    if isinstance(text, bool) or not _DURATION.fullmatch(written):
        raise _wrong(text, "a duration", "write seconds, or a number with ms, s, m, h or d: 30, 500ms, 5m, 1m30s")
    seconds = sum(float(number) * _SECONDS[unit] for number, unit in _DURATION_STEP.findall(written))
    if seconds > _MAXIMUM_DURATION:
        raise _wrong(text, "a duration", "it is longer than ten years")
    return round(seconds, 3)


def size(text: Written) -> int:
    """Bytes in a size: ``1048576``, ``512K``, ``256M``, ``1.5G``, ``1T``; a unit is a power of 1024 (``MB`` is ``M``).

    :raises TetraError: for anything else.
    """
    match = _SIZE.fullmatch(str(text).strip())
    if isinstance(text, bool) or not match:
        raise _wrong(text, "a size", "write bytes, or a number with K, M, G or T: 1048576, 256M, 1.5G")
    return int(float(match.group(1)) * _BYTES[match.group(2).lower()])


def boolean(text: Written) -> bool:
    """Yes or no: ``true yes on 1`` or ``false no off 0``, in capitals or not.

    :raises TetraError: for anything else.
    """
    written = str(text).strip().lower()
    if written not in _BOOLEANS:
        raise _wrong(text, "yes or no", "write true or false (also yes, on, 1, no, off, 0)")
    return _BOOLEANS[written]


def integer(text: Written, low: int, high: int) -> int:
    """A whole number from ``low`` to ``high``, both included.

    :raises TetraError: for anything else.
    """
    written = str(text).strip()
    if isinstance(text, bool) or not re.fullmatch(r"[0-9]{1,12}", written) or not low <= int(written) <= high:
        raise _wrong(text, "a number that can stand here", f"write a whole number from {low} to {high}")
    return int(written)


def cores(text: Written) -> float:
    """Processor cores: ``0.5``, ``2``, or per cent of one core, ``150%``.

    :raises TetraError: for anything else, and for nothing at all.
    """
    match = re.fullmatch(rf"({_NUMBER})(%?)", str(text).strip())
    number = float(match.group(1)) / (100 if match.group(2) else 1) if match else 0.0
    if isinstance(text, bool) or not 0 < number <= 4096:
        raise _wrong(text, "a number of processor cores", "write cores, or per cent of one: 0.5, 2, 150%")
    return number


def port(text: Written) -> int:
    """A port number from 1 to 65535.

    :raises TetraError: for anything else.
    """
    written = str(text).strip()
    number = int(written) if re.fullmatch(r"[0-9]{1,5}", written) else 0
    if isinstance(text, bool) or not 1 <= number <= MAXIMUM_PORT:
        raise _wrong(text, "a port", f"write a number from 1 to {MAXIMUM_PORT}")
    return number


def port_range(text: str) -> tuple[int, int]:
    """The lowest and the highest port of a range like ``4100-4199``.

    :raises TetraError: for anything else, and for a range that ends before it begins.
    """
    low, separator, high = str(text).partition("-")
    if not separator:
        raise _wrong(text, "a range of ports", "write the lowest and the highest port: 4100-4199")
    result = port(low), port(high)
    if result[0] > result[1]:
        raise _wrong(text, "a range of ports", "write the lower port first: 4100-4199")
    return result


@dataclasses.dataclass(frozen=True)
class PortRequest:
    """Which port a service asks for: ``none``, ``auto``, ``from`` a number on, ``fixed`` or ``named``; tcp or udp."""

    kind: str
    number: int | None = None
    name: str | None = None
    protocol: str = "tcp"


def port_request(text: str) -> PortRequest:
    """Which port a service asks for.

    :param text: ``8000``, ``8000+`` (the next free one from there on), ``auto`` or nothing (any free one), ``none``,
        or a name of the port registry.
    :raises TetraError: for anything else.
    """
    written = text.strip()
    if written in ("", "auto"):
        return PortRequest("auto")
    if written == "none":
        return PortRequest("none")
    if _PORT_NAME.fullmatch(written):
        return PortRequest("named", name=written)
    if not re.fullmatch(r"[0-9]+\+?", written):
        hint = "write a number, a number with + (the next free one), auto, none, or a name of the port registry"
        raise _wrong(text, "a port", hint)
    return PortRequest("from" if written.endswith("+") else "fixed", port(written.rstrip("+")))


def further_port(text: str) -> tuple[str, PortRequest, str]:
    """A further port of a service, as the original writes it: ``PORT[:PROTOCOL[:NAME[:MORE]]]``.

    :param text: ``1983:udp:osc``; the port as for :func:`port_request`, tcp unless said. A port without a name is
        called by its number.
    :returns: its name, what is asked for, and the rest, which the original gives to programs of its own.
    :raises TetraError: for anything else.
    """
    port_text, protocol, name, more = [*text.strip().split(":", 3), "", "", ""][:4]
    request = port_request(port_text)
    if request.kind == "none":
        raise _wrong(text, "a further port", "write it as PORT:PROTOCOL:NAME, like 9100:tcp:metrics")
    if not name and request.kind != "fixed":
        raise _wrong(text, "a further port", "give it a name: auto:tcp:metrics")
    request = dataclasses.replace(request, protocol=one_of(protocol or "tcp", ("tcp", "udp")))
    name = name.lower().replace("_", "-") or f"p{request.number}"
    return check_name("port", name), request, more


def user_name(text: str) -> str:
    """The name of a system account.

    :raises TetraError: for anything that could not be one.
    """
    if not _USER.fullmatch(text):
        raise _wrong(text, "the name of a user", "write small letters, digits, - and _, at most 32, a letter first")
    return text


def process_unit(org: str, env: str, service: str) -> str:
    """The name of the unit, or of the program, that a supervisor knows a service by; unique on a host."""
    return f"tetra-{org}-{env}-{service}"


def org_user(org: str) -> str:
    """The name of the user that services of an organization run as: ``tetra-ORG``.

    Linux takes 32 characters; a longer name ends in what tells it from others that begin alike.
    """
    name = f"tetra-{org}"
    if len(name) <= _LONGEST_USER:
        return name
    tail = canonical.sha256(org.encode())[:8]
    return f"{name[: _LONGEST_USER - 9]}-{tail}"


def one_of(text: str, choices: Iterable[str]) -> str:
    """One of the given words, in capitals or not.

    :raises TetraError: for anything else, with the words that are possible.
    """
    known = list(choices)
    written = text.strip().lower()
    if written not in known:
        raise _wrong(text, "one of the words that can stand here", f"write {', '.join(known)}")
    return written


def check_name(kind: str, text: str) -> str:
    """A name of an organization, environment or service, exactly as it must be written.

    :param kind: what it names, for the error: ``service``.
    :raises TetraError: when it does not match ``^[a-z][a-z0-9-]{0,62}$``.
    """
    if not isinstance(text, str) or not _NAME.fullmatch(text):
        hint = "use small letters, digits and -, at most 63, a letter first"
        raise _wrong(text, f"a name for the {kind}", hint)
    return text


def service_name(text: str) -> tuple[str, str | None]:
    """The name of a service, and a warning when it had to be changed: the original allowed ``_`` and capitals.

    :raises TetraError: when it is no name even then.
    """
    name = text.lower().replace("_", "-")
    check_name("service", name)
    return name, (f'the service "{text}" is called "{name}" here' if name != text else None)


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name that was probably meant, or None."""
    # Comparing is slow for long names and long lists, and both may come from a hostile file.
    candidates = sorted(candidate for candidate in known if len(candidate) <= 128)[:1000]
    # Only who made a mistake waits for it to load.
    import difflib

    found = difflib.get_close_matches(name[:128], candidates, 1)
    return found[0] if found else None


def _wrong(text: object, wanted: str, hint: str) -> TetraError:
    shown = str(text)
    if len(shown) > 60:
        shown = shown[:57] + "..."
    return TetraError(f'"{shown}" is not {wanted}', hint=hint)
