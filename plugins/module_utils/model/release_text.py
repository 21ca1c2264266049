# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A release as text, line by line, so that two of them can be compared by eye: all that it consists of, no secret."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator, Mapping
from typing import Any

from . import listing, plain_secrets, table, values

_HIDDEN = "(hidden: it looks like a secret)"
# What is told elsewhere: in the heading, in a line of its own, or as the port that was given.
_TOLD = ("name", "environment", "port")


def describe(before: Mapping[str, Any] | None, after: Mapping[str, Any] | None) -> tuple[str, str]:
    """All that two releases consist of, for comparing them; None is no release, and empty."""
    # Keyed digests that were made with two keys differ anyhow.
    comparable = not before or not after or before["secrets_key"] == after["secrets_key"]
    return _text(before, comparable), _text(after, comparable)


def difference(before: Mapping[str, Any] | None, after: Mapping[str, Any] | None, names: tuple[str, str]) -> str:
    """What is different between two releases, as a unified diff; empty when nothing is.

    :param names: what the two are called in it.
    """
    old, new = (text.splitlines() for text in describe(before, after))
    return "".join(f"{line}\n" for line in difflib.unified_diff(old, new, *names, lineterm=""))


def _text(manifest: Mapping[str, Any] | None, with_secrets: bool) -> str:
    if manifest is None:
        return ""
    lines = [f"bundle {listing.short(manifest['bundle'])}"]
    for name, entry in sorted(manifest["services"].items()):
        # Each with its name, as a diff shows lines without what stands above them.
        lines += [f"service {name}: {line}" for line in _service(entry)]
    lines += [_file(path, entry) for path, entry in sorted(manifest["files"].items())]
    for name, digest in sorted(manifest["secrets"].items()):
        lines.append(f"secret {name}" + (f": keyed digest {listing.short(digest)}" if with_secrets else ""))
    return "".join(f"{table.printable(line)}\n" for line in lines)


def _service(entry: Mapping[str, Any]) -> Iterator[str]:
    definition = entry["definition"]
    for name, port in sorted(entry["ports"].items()):
        yield f"port {name}: {port}"
    for key, value in sorted(definition.items()):
        if key not in _TOLD and value not in (None, "", [], {}):
            yield from _key(key, value)
    for key, value in sorted(definition["environment"].items()):
        yield f"variable {key}: {_HIDDEN if plain_secrets.looks_secret(key, value) else values.show(value)}"
    # Whatever else made it a different one, such as a value that is hidden.
    yield f"digest: {listing.short(entry['digest'])}"


def _key(key: str, value: object) -> Iterator[str]:
    if key == "pre_commands" and isinstance(value, list):
        for command in value:
            yield from _key("before", command)
    elif isinstance(value, Mapping):
        for name, part in sorted(value.items()):
            yield from _key(f"{key} {name}", part)
    else:
        shown = _shown(value)
        yield f"{key}: {_HIDDEN if plain_secrets.looks_secret('', shown) else shown}"


def _shown(value: object) -> str:
    """A text, a symbolic text, or a list of words that may be either."""
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        symbolic = any(isinstance(part, Mapping) for part in value)
        return values.show(value) if symbolic else json.dumps([_shown(part) for part in value])
    return json.dumps(value)


def _file(path: str, entry: Mapping[str, Any]) -> str:
    if entry["type"] == "dir":
        return f"folder {path}"
    if entry["type"] == "link":
        return f"link {path} -> {entry['target']}"
    executable = ", executable" if entry["executable"] else ""
    return f"file {path}: {entry['size']} bytes{executable}, sha256 {listing.short(entry['sha256'])}"
