# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ports that the kernel does not give to outgoing connections, so that they are free when their service starts.

The kernel takes the source port of a connection from a range, and leaves out the ports of a list. We add to that list
and never replace it. What we added is remembered in a file: the kernel forgets its list when the host restarts, and
only what we added may be taken off again.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping

from ..model import units
from ..model.errors import REFUSED, TetraError
from ..model.ports import lists as port_lists
from . import durable, transactions
from .layout import Home

RANGE = "/proc/sys/net/ipv4/ip_local_port_range"
RESERVED = "/proc/sys/net/ipv4/ip_local_reserved_ports"

# What the kernel has when nobody changed it.
_DEFAULT_RANGE = (32768, 60999)
_FORMAT = 1
_LOCK_TIMEOUT = 5.0
# Every other port, which is the longest list, has fewer bytes.
_LARGEST = 256 * 1024
_PIECE = 4000


def ephemeral() -> tuple[int, int]:
    """The lowest and the highest port that the kernel gives to outgoing connections."""
    try:
        with open(RANGE, encoding="ascii") as file:
            return units.port_range("-".join(file.read().split()))
    except (OSError, ValueError, TetraError):
        return _DEFAULT_RANGE


def reserved() -> frozenset[int]:
    """The ports of its range that the kernel leaves out, whoever put them there; none when it does not say."""
    try:
        return _kernel()
    except (OSError, ValueError, TetraError):
        return frozenset()


def follow(home: Home, ports: Iterable[int]) -> str | None:
    """Keep the ports of a registry out of the kernel's hands, and no others.

    :param ports: all ports that services of the host may have; those that no connection gets anyway are left aside.
    :returns: why it could not be done, else None.
    """
    low, high = ephemeral()
    return keep(home, {port for port in ports if low <= port <= high})


def keep(home: Home, wanted: Iterable[int]) -> str | None:
    """Have some ports on the kernel's list, beside what others put there.

    What we put there before and is not wanted any more is taken off. Nothing is written when nothing changes.

    :returns: why it could not be done, else None. Services work without it, so this raises nothing.
    """
    ports = frozenset(wanted)
    return _attempt(lambda: _keep(home, ports))


def again(home: Home) -> str | None:
    """Put on the kernel's list what was wanted last; the restart of the host emptied it.

    :returns: as for :func:`keep`.
    """
    return _attempt(lambda: _keep(home, _ports(home, _record(home), "wanted")))


def forget(home: Home) -> str | None:
    """Take off the kernel's list what we put there, and remember nothing.

    :returns: as for :func:`keep`; then it is still remembered.
    """

    def act() -> None:
        _keep(home, frozenset())
        durable.remove(path(home))

    return _attempt(act)


def path(home: Home) -> str:
    """The file that says what we put on the kernel's list."""
    return os.path.join(home.config, "kernel-ports.json")


def _attempt(act: Callable[[], None]) -> str | None:
    try:
        act()
    except OSError as error:
        return f"{error.filename or RESERVED}: {error.strerror or error}"
    except TetraError as error:
        return str(error)
    return None


def _keep(home: Home, wanted: frozenset[int]) -> None:
    if _is_kept(home, wanted):
        return
    if _decide(home, wanted).kernel != _kernel() and not os.access(RESERVED, os.W_OK):
        raise TetraError(f"{RESERVED} cannot be written by this user, or by nobody here", code=REFUSED)
    durable.make_folder(home.config)
    with durable.lock(os.path.join(home.config, "kernel-ports.lock"), timeout=_LOCK_TIMEOUT):
        _change(home, wanted)


def _is_kept(home: Home, wanted: frozenset[int]) -> bool:
    record = _record(home)
    if not record and not wanted:
        return True
    kept = _decide(home, wanted)
    return kept.kernel == _kernel() and record == _new_record(kept.ours, wanted)


def _change(home: Home, wanted: frozenset[int]) -> None:
    """The order makes it safe to be killed at any moment: what is on the list because of us is always remembered."""
    kept = _decide(home, wanted)
    _remember(home, _new_record(kept.ours | _ours(home), wanted))
    if kept.kernel != _kernel():
        _write(kept.kernel)
    _remember(home, _new_record(kept.ours, wanted))


def _decide(home: Home, wanted: frozenset[int]) -> port_lists.Kept:
    return port_lists.keep(_ours(home), _kernel(), wanted)


def _kernel() -> frozenset[int]:
    """The kernel's list; not knowing it must never be taken for an empty one, which would be written back."""
    # The kernel gives as much as is asked for at once, and nothing after that.
    with open(RESERVED, "rb", buffering=0) as file:
        return port_lists.parse(file.read(_LARGEST).decode("ascii", "replace"))


def _write(ports: frozenset[int]) -> None:
    # The kernel takes a page at once: the first piece is its list, any other, of hundreds of entries, is added to it.
    with open(RESERVED, "wb", buffering=0) as file:
        for piece in port_lists.pieces(ports, _PIECE):
            file.write(piece.encode("ascii"))
    if _kernel() != ports:
        raise TetraError(f"{RESERVED} did not take the ports that were written to it", code=REFUSED)


def _ours(home: Home) -> frozenset[int]:
    """What we put on the list that the kernel has now: after a restart of the host nothing on it is ours."""
    record = _record(home)
    return _ports(home, record, "ours") if record.get("boot") == transactions.boot_id() else frozenset()


def _ports(home: Home, record: Mapping[str, object], key: str) -> frozenset[int]:
    try:
        return port_lists.parse(str(record.get(key, "")))
    except TetraError as error:
        raise TetraError(f"{path(home)} is damaged: {key}: {error.message}", hint="remove it", code=REFUSED) from error


def _new_record(ours: frozenset[int], wanted: frozenset[int]) -> dict[str, object]:
    return {"format": _FORMAT, "boot": transactions.boot_id(), "ours": port_lists.text(ours),
            "wanted": port_lists.text(wanted)}


def _remember(home: Home, record: Mapping[str, object]) -> None:
    if record != _record(home):
        durable.write_file(path(home), durable.sealed(record))


def _record(home: Home) -> dict[str, object]:
    """What is remembered; nothing when there is no file."""
    try:
        return durable.read_sealed(path(home), _FORMAT, "remove it")
    except FileNotFoundError:
        return {}
