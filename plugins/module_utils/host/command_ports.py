# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""``tsm ports``: the port registry of a host for people who are logged in on it."""

from __future__ import annotations

import argparse
import difflib
import os
from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple

from ..model import listing, table, transaction, units
from ..model.errors import REFUSED, TetraError
from ..model.ports import registry as words
from ..model.ports import transfer as ports_transfer
from ..model.ports.names import ABSENT, AUTO, REALLOCATE
from . import registry
from .answer import Answer
from .layout import Home
from .operations import ports

USAGE = """\
usage: tsm ports [ACTION] [--check] [--json] [--dir DIR]

  list                   the registered ports, and who listens there; what is meant without an action
  check                  what is in conflict; exit code 10 when something is
  allocate NAME[=PORT]   give names ports: the number, 5353/udp, or a free one
  release NAME...        take names out; ORG/ENV/SERVICE only where no release has it
  resolve                give other ports to those who are in conflict
  export [FORM]          print the registry as toml, json, env or ports.env
  import FILE            take over a registry in any of these forms, all of it or nothing
  scan [FILE...]         ports that definitions, env files, commands, compose files and listeners name
  adopt [FILE...]        register what scan finds in these files, or what listens; all of it or nothing

--check shows what would change and writes nothing."""

_NO_REGISTRY = "no port is registered"


def add_options(parser: argparse.ArgumentParser) -> None:
    """The words and options that only ``tsm ports`` has."""
    parser.add_argument("words", nargs="*", metavar="ACTION")
    parser.add_argument("--check", action="store_true")


def carry_out(home: Home, options: argparse.Namespace, places: Collection[str] | None) -> Answer:
    """Carry out an action.

    :param places: the environments to be shown, as ``org/env``; None for everything.
    :raises TetraError: for an unknown action, and as the action does.
    """
    action, *arguments = options.words or ["list"]
    if action == "help":
        return Answer({"usage": USAGE}, USAGE)
    if action not in _ACTIONS:
        near = units.nearest(action, _ACTIONS)
        raise TetraError(f'"{action}" is nothing that tsm ports does',
                         hint=f"did you mean {near}? tsm ports help shows all" if near else "tsm ports help shows all")
    return _ACTIONS[action](home, arguments, _Way(options.check, places))


class _Way(NamedTuple):
    """How an action is carried out: whether it only shows what would change, and which environments are shown."""

    check: bool
    places: Collection[str] | None


def _none_of(arguments: list[str], action: str) -> None:
    if arguments:
        raise TetraError(f"tsm ports {action} takes no {arguments[0]!r}", hint="tsm ports help shows all")


def _some_of(arguments: list[str], action: str, what: str) -> None:
    if not arguments:
        raise TetraError(f"tsm ports {action} of which {what}?", hint="tsm ports help shows all")


def _list(home: Home, arguments: list[str], way: _Way) -> Answer:
    _none_of(arguments, "list")
    found = ports.port_registry_info({"tetra_dir": home.root})
    rows = [(owner, key, value) for owner, keys in found["ports"]["owned"].items() for key, value in keys.items()
            if way.places is None or owner in way.places]
    if way.places is None:
        rows += [("", name, value) for name, value in found["ports"]["plain"].items()]
    by_port: dict[words.PortValue, list[Mapping[str, Any]]] = {}
    for one in found["listeners"]:
        by_port.setdefault(words.value_of(one["port"], one["protocol"]), []).append(one)
    registered = [
        {"owner": owner, "service": key, "port": value, "listeners": by_port.get(value, [])}
        for owner, key, value in sorted(rows, key=lambda row: (words.number_of(row[2]), row[:2]))
    ]
    document = {"ports": registered, **{key: found[key] for key in ("ranges", "reserved", "released", "findings")}}
    remarks = [table.printable(f"{one['severity']}: {one['message']}") for one in found["findings"]]
    return Answer(document, "\n".join([table.or_nothing(listing.ports(registered), _NO_REGISTRY), *remarks]))


def _check(home: Home, arguments: list[str], _way: _Way) -> Answer:
    _none_of(arguments, "check")
    findings = ports.port_registry_info({"tetra_dir": home.root})["findings"]
    rows = [["SEVERITY", "WHERE", "WHAT", "WHAT TO DO"]]
    for one in findings:
        where = ":".join(str(part) for part in (os.path.basename(one["file"]), one["line"]) if part)
        rows.append([one["severity"], where, one["message"], one["hint"]])
    return Answer({"findings": findings}, table.or_nothing(rows, "nothing is in conflict"),
                  code=REFUSED if findings else transaction.UNCHANGED)


def _allocate(home: Home, arguments: list[str], way: _Way) -> Answer:
    _some_of(arguments, "allocate", "name")
    wanted = {name: value or AUTO for name, _sign, value in (word.partition("=") for word in arguments)}
    answer = _change(home, way.check, ports=wanted)
    rows = [["PORT", "NAME"], *([str(answer.document["ports"][name]), name] for name in wanted)]
    return Answer(answer.document, "\n".join(filter(None, [table.table(rows), answer.text])))


def _release(home: Home, arguments: list[str], way: _Way) -> Answer:
    _some_of(arguments, "release", "name")
    known = [identity for identity, _value in registry.load(home.root).registry.identities()]
    for name in arguments:
        if name not in known:
            near = units.nearest(name, known)
            raise TetraError(f'there is no port of "{name}"',
                             hint=f"did you mean {near}?" if near else "tsm ports shows all")
    return _change(home, way.check, ports=dict.fromkeys(arguments, ABSENT))


def _resolve(home: Home, arguments: list[str], way: _Way) -> Answer:
    _none_of(arguments, "resolve")
    return _change(home, way.check, resolve=REALLOCATE)


def _export(home: Home, arguments: list[str], _way: _Way) -> Answer:
    _none_of(arguments[1:], "export")
    form = units.one_of(arguments[0] if arguments else "toml", ports_transfer.FORMS)
    text = ports.port_registry_info({"tetra_dir": home.root, "export": form})["text"]
    return Answer({"form": form, "text": text}, text.rstrip("\n"))


def _import(home: Home, arguments: list[str], way: _Way) -> Answer:
    _some_of(arguments, "import", "file")
    _none_of(arguments[1:], "import")
    return _change(home, way.check, import_from=os.path.abspath(arguments[0]))


def _scan(home: Home, arguments: list[str], _way: _Way) -> Answer:
    found = ports.port_registry_info({"tetra_dir": home.root, "scan": list(map(os.path.abspath, arguments))})
    rows = [["PORT", "NAME", "STATE", "SEEN IN"]]
    for one in found["proposals"]:
        seen = [f"{place['file']}:{place['line']}" if place["line"] else place["kind"] for place in one["seen"]]
        more = f" and {len(seen) - 1} more" if len(seen) > 1 else ""
        rows.append([str(one["port"]), one["name"], one["reason"] or one["state"], seen[0] + more])
    return Answer({"proposals": found["proposals"]}, table.or_nothing(rows, "no port is named there"))


def _adopt(home: Home, arguments: list[str], way: _Way) -> Answer:
    return _change(home, way.check, adopt=list(map(os.path.abspath, arguments)))


def _change(home: Home, check: bool, **request: Any) -> Answer:
    """Ask for a change; the text is what became different in the file."""
    result = ports.port_registry({"tetra_dir": home.root, "check": check, **request})
    before, after = (result["diff"][side].splitlines() for side in ("before", "after"))
    diff = difflib.unified_diff(before, after, "ports.toml", "ports.toml", lineterm="", n=0)
    lines = [*diff, *(f"note: {warning}" for warning in result["warnings"])]
    return Answer(result, "\n".join(map(table.printable, lines)) or "nothing changes")


_ACTIONS: Mapping[str, Callable[[Home, list[str], _Way], Answer]] = {
    "list": _list,
    "check": _check,
    "allocate": _allocate,
    "release": _release,
    "resolve": _resolve,
    "export": _export,
    "import": _import,
    "scan": _scan,
    "adopt": _adopt,
}
