# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Changes the port registry file ``ports.toml`` without touching the rest of it.

After each change the text is read again, and has to say exactly what was meant.
"""

from __future__ import annotations

import collections
from collections.abc import Callable, Container, Iterable, Mapping
from typing import Any, TypeVar

from .. import toml_text, units
from ..errors import TetraError
from ..toml_edit import Editor
from ..toml_text import Document
from . import file as ports_file
from . import registry
from .registry import PortValue, Registry

_T = TypeVar("_T")

_NEW_FILE = """\
# Which name owns which port on this host. Lines and comments of your own are kept.
[metadata]
version = "1"
"""


def edit(text: str, changes: Mapping[str, Any], path: str = "ports.toml") -> str:
    """The text with changes made, every other character as it was.

    :param changes: any of ``owned``: {"org/env": {key: port value or None}}, ``names``: {name: port value or None},
        ``ranges``: {name: [first, last] or None}, ``reserved``: {category: [ports] or None}; None removes.
    :returns: the new text; the same text when it says already what is wanted.
    :raises TetraError: for a change that is not valid, one that the form of the file does not allow, and when the
        new text, read again, does not say exactly what was meant.
    """
    return revise(text, ports_file.read(text, path), changes, path)[0]


def revise(text: str, before: Registry, changes: Mapping[str, Any], path: str) -> tuple[str, Registry]:
    """As :func:`edit`, of a text that was read already.

    :param before: what the text says.
    :returns: the new text, and what it says.
    """
    mark = "\ufeff" if text.startswith("\ufeff") else ""
    body = text[len(mark) :]
    wanted = _Wanted(before, changes)
    editor = Editor(body if body.strip() else _NEW_FILE, path)
    changed = [
        _edit_names(editor, before, changes.get("names", {}), path),
        *(_edit_owned(editor, before, owner, changes) for owner in changes.get("owned", {})),
        _edit_ranges(editor, before, changes.get("ranges", {})),
        _edit_reserved(editor, before, changes.get("reserved", {})),
    ]
    if not any(changed):
        return text, before
    result = editor.result()
    document = toml_text.scan(result)
    after = ports_file.read_document(document, path)
    _check_result(after, document, editor.document, wanted, path)
    return mark + result, after


class _Wanted:
    """What a registry has to say after changes."""

    def __init__(self, before: Registry, changes: Mapping[str, Any]) -> None:
        unknown = set(changes) - {"owned", "names", "ranges", "reserved"}
        if unknown:
            raise TetraError(f"a registry has no {', '.join(sorted(unknown))}", "give owned, names, ranges or reserved")
        for section in ("names", "ranges", "reserved"):
            for name in changes.get(section, {}):
                _check_name(name)
        self.names = _merged(before.names, changes.get("names", {}), _valid_port)
        self.ranges = _merged(before.ranges, changes.get("ranges", {}), _valid_range)
        self.reserved = {
            category: set(ports)
            for category, ports in _merged(before.reserved, changes.get("reserved", {}), _valid_reserved).items()
        }
        owned = {owner: dict(keys) for owner, keys in before.owned.items()}
        for owner, keys in changes.get("owned", {}).items():
            _check_owner(owner)
            for key in keys:
                _check_key(key)
            owned[owner] = _merged(owned.get(owner, {}), keys, _valid_port)
        self.owned = {owner: keys for owner, keys in owned.items() if keys}

    def is_said_by(self, said: Registry) -> bool:
        """Whether a registry says just this."""
        reserved = {category: set(ports) for category, ports in said.reserved.items()}
        return (self.names, self.owned, self.ranges, self.reserved) == (said.names, said.owned, said.ranges, reserved)


def _merged(before: Mapping[str, _T], changes: Mapping[str, Any], valid: Callable[[str, Any], _T]) -> dict[str, _T]:
    result = dict(before)
    for name, value in changes.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = valid(name, value)
    return result


def _check_name(name: str) -> None:
    if not ports_file.BARE.match(name):
        raise TetraError(f"{name!r} is not a name for the port registry", "use letters, digits, '-' and '_'")


def _check_key(key: str) -> None:
    parts = key.split("/")
    if len(parts) > 2:
        raise TetraError(f"{key!r} is not a port of a service", "write it as service, or service/name")
    for part in parts:
        _check_name(part)


def _check_owner(owner: str) -> None:
    parts = owner.split("/")
    if len(parts) != 2:
        raise TetraError(f"{owner!r} is not an organization and an environment", "write it as org/env")
    for part in parts:
        _check_name(part)


def _valid_port(name: str, port: object) -> PortValue:
    if isinstance(port, str) and port.endswith(f"/{registry.UDP}"):
        return registry.port_value(port)
    return _valid_number(name, port)


def _valid_number(name: str, port: object) -> int:
    if isinstance(port, bool) or not isinstance(port, int) or not 1 <= port <= units.MAXIMUM_PORT:
        raise TetraError(f"{port!r} is not a port for {name}", "a port is a whole number from 1 to 65535")
    return port


def _valid_range(name: str, bounds: Iterable[int]) -> tuple[int, int]:
    low, high = (_valid_number(f"range {name}", port) for port in bounds)
    if low > high:
        raise TetraError(f"range {name} ends before it begins ({low}-{high})", "write the lower port first")
    return low, high


def _valid_reserved(name: str, ports: Iterable[int]) -> list[int]:
    return [_valid_number(f"reserved {name}", port) for port in ports]


def _edit_names(editor: Editor, before: Registry, changes: Mapping[str, Any], path: str) -> bool:
    changed = False
    for name, port in changes.items():
        if port is not None and name not in before.names:
            _check_no_organization(editor.document, name, path)
        changed |= _edit_port(editor, ("ports", name), before.names.get(name), port)
    return changed


def _check_no_organization(document: Document, name: str, path: str) -> None:
    item = document.below(("ports", name))
    if item:
        raise TetraError(
            f"{path}:{item.line}:{item.column}: {name} is an organization here and cannot be a plain name as well",
            hint=f"use another name, for example {name}-main",
        )


def _edit_owned(editor: Editor, before: Registry, owner: str, changes: Mapping[str, Any]) -> bool:
    changed = False
    new_names = {name for name, port in changes.get("names", {}).items() if port is not None}
    for key, port in changes["owned"][owner].items():
        path = (*_table_of(editor.document, owner, new_names), key)
        for table in _tables(owner):
            path = (*table, key) if editor.document.find((*table, key)) else path
        changed |= _edit_port(editor, path, before.owned.get(owner, {}).get(key), port)
    return changed


def _edit_port(
    editor: Editor, path: tuple[str, ...], before: PortValue | None, written: PortValue | None
) -> bool:
    port = None if written is None else _valid_port(path[-1], written)
    if port is not None and port != before:
        editor.set(path, str(port) if isinstance(port, int) else f'"{port}"')
        return True
    # A removed name of the original ("") is none already; a value that is no port is removed with its name.
    if port is None and any(pair.value != "" for pair in editor.document.find(path)):
        editor.remove(path)
        return True
    return False


def _tables(owner: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The two ways to write the table of an owner: ``[ports.org.env]`` and ``[ports."org/env"]``."""
    return ("ports", *owner.split("/")), ("ports", owner)


def _table_of(document: Document, owner: str, new_names: Container[str]) -> tuple[str, ...]:
    """The table of an owner: the second way only where a plain name is called like the organization.

    TOML lets no name be a value and a table at once, and the original's names are often those of organizations.
    """
    plain, quoted = _tables(owner)
    is_name = document.find(plain[:2]) or document.find(plain) or plain[1] in new_names
    return quoted if is_name else plain


def _edit_ranges(editor: Editor, before: Registry, changes: Mapping[str, Any]) -> bool:
    changed = False
    for name, bounds in changes.items():
        path = ("port_ranges", name)
        if bounds is None and editor.document.find(path):
            editor.remove(path)
            changed = True
        elif bounds is not None and before.ranges.get(name) != tuple(bounds):
            editor.set(path, f'"{bounds[0]}-{bounds[1]}"')
            changed = True
    return changed


def _edit_reserved(editor: Editor, before: Registry, changes: Mapping[str, Any]) -> bool:
    changed = False
    for category, ports in changes.items():
        path = ("reserved", category)
        if ports is None and editor.document.find(path):
            editor.remove(path)
            changed = True
        elif ports is not None and set(before.reserved.get(category, [-1])) != set(ports):
            editor.set_numbers(path, sorted(set(ports)))
            changed = True
    return changed


def _check_result(after: Registry, document: Document, original: Document, wanted: _Wanted, path: str) -> None:
    problems = collections.Counter(problem.code for problem in document.problems)
    problems.subtract(problem.code for problem in original.problems)
    if not wanted.is_said_by(after) or max(problems.values(), default=0) > 0:
        raise TetraError(
            f"{path} was left as it is: with the change it would not say, read again, what was meant",
            hint="put each name on a line of its own, each table under one header, and try again",
        )
