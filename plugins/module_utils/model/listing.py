# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rows of the tables that ``tsm`` shows on a host; the first row is the heading. What is not known is ``-``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from .ports import holder

_DIGEST = 12
_DETAIL = 80
_NOTHING = "-"
_FAILED = "failed"


def services(found: Iterable[Mapping[str, Any]]) -> list[list[str]]:
    """The services of a host in short."""
    rows = [["ID", "ORG", "ENV", "SERVICE", "STATE", "PID", "PORT", "RELEASE"]]
    for one in found:
        rows.append([
            str(one["id"]), one["org"], one["env"], one["name"], state(one), _text(one["pid"]),
            _text(one["ports"].get("main")), short(one["release"]),
        ])  # fmt: skip
    return rows


def health(found: Iterable[Mapping[str, Any]]) -> list[list[str]]:
    """The services of a host with how they are."""
    rows = [["ID", "SERVICE", "STATE", "HEALTH", "CPU", "MEMORY", "RESTARTS", "SINCE", "URL", "DETAIL"]]
    for one in found:
        alive = one["pid"] is not None
        rows.append([
            str(one["id"]), path(one), state(one), _health(one),
            f"{one['cpu_seconds']:.1f} s" if alive else _NOTHING, size(one["memory"]) if alive else _NOTHING,
            _text(one["restarts"]), one["since"] or _NOTHING, one["url"] or _NOTHING,
            line(one["health"]["detail"]) if _health(one) == _FAILED else "",
        ])  # fmt: skip
    return rows


def changes(found: Iterable[Mapping[str, Any]]) -> list[list[str]]:
    """What was done to services, and what they are now."""
    rows = [["ID", "SERVICE", "DONE", "STATE"]]
    return rows + [[str(one["id"]), path(one), one["done"], state(one)] for one in found]


def ports(found: Iterable[Mapping[str, Any]]) -> list[list[str]]:
    """The registered ports of a host, and who listens there."""
    rows = [["PORT", "OWNER", "SERVICE", "LISTENS NOW"]]
    for one in found:
        listening = ", ".join(map(listener, one["listeners"])) or "nobody"
        rows.append([str(one["port"]), one["owner"] or _NOTHING, one["service"], listening])
    return rows


def listener(found: Mapping[str, Any]) -> str:
    """Who holds a port: the service if it is known, else the unit or the container; the program, and its process."""
    if found["owner"]:
        return f"{found['owner']}: {holder.who({**found, 'unit': ''})}"
    known = found["pid"] or found["container"]
    program = holder.who(found) if known else "a program (pid unknown)"
    return f"a connection of {program}" if found["state"] == holder.CONNECTION else program


def history(records: Iterable[Mapping[str, Any]]) -> list[list[str]]:
    """How transactions ended."""
    rows = [["TIME", "ENVIRONMENT", "ACTION", "OUTCOME", "ACTOR", "RELEASE", "TRANSACTION", "REASON"]]
    for one in records:
        environment = f"{one['org']}/{one['env']}"
        rows.append([one["time"], environment, one["action"], one["outcome"], one["actor"], short(one["release"]),
                     one["transaction"], line(one["detail"] or one["reason"])])
    return rows


def state(service: Mapping[str, Any]) -> str:
    """The state of a service; one that a person stopped is told from one that ended."""
    return "stopped by hand" if service["stopped"] and not service["running"] else service["state"]


def _health(service: Mapping[str, Any]) -> str:
    """Whether a service is well; of one that a person stopped nobody expects that."""
    if service["stopped"] and not service["running"]:
        return _NOTHING
    return "ok" if service["health"]["ok"] else _FAILED


def path(service: Mapping[str, Any]) -> str:
    """The name that no other service of the host has."""
    return f"{service['org']}/{service['env']}/{service['name']}"


def short(digest: str | None) -> str:
    """The beginning of a digest, which is enough for people."""
    return (digest or _NOTHING)[:_DIGEST]


def size(count: int) -> str:
    """Bytes in the unit that people read best; a unit is a power of 1024."""
    number, units = float(count), ["B", "K", "M", "G"]
    while number >= 1024 and len(units) > 1:
        number /= 1024
        units.pop(0)
    return f"{number:.0f} {units[0]}" if number >= 10 or units[0] == "B" else f"{number:.1f} {units[0]}"


def line(text: str) -> str:
    """The first line of a text, and no more of it than a table can hold."""
    first = text.partition("\n")[0]
    return first if len(first) <= _DETAIL else f"{first[:_DETAIL - 3]}..."


def _text(value: object) -> str:
    return _NOTHING if value is None else str(value)
