# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads what was edited by hand on this host, so that it can be taken over into the files of the organization.

Nothing is written. What holds a secret is only told of.
"""

from __future__ import annotations

import base64
import hashlib
import os
import stat
from collections.abc import Iterator, Mapping
from typing import Any

from ..model import hand_edits
from ..model.errors import TetraError
from ..model.hand_edits import Edits
from . import evidence, running, store
from .scope import Scope

MOST_FILES = 1000
MOST_BYTES = 4 * 1024 * 1024
"""How many files, and bytes of them, one answer holds; what is more is told of."""

_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def files(scope: Scope, release: str) -> tuple[list[dict[str, Any]], list[dict[str, str]]]:
    """The files of a release that are not as they were laid, and those of which only a person can make something.

    :returns: records ``{"path", "entry", "data", "before"}``: the entry as in a manifest, None for what is gone; the
        content, base64, None for what is no file; and of what was made from a template what it was, base64, else None.
        Then records ``{"what", "why"}``.
    """
    manifest, secrets = store.manifest(scope.environment, release), evidence.secrets(scope, release)
    tree = os.path.join(scope.environment.releases, release)
    found: list[dict[str, Any]] = []
    left: list[dict[str, str]] = []
    room = MOST_BYTES
    for path in store.verify_release(scope.environment, release):
        try:
            record = _record(scope, tree, path, manifest["files"].get(path), room, secrets)
        except (TetraError, OSError) as error:
            left.append({"what": path, "why": error.message if isinstance(error, TetraError) else str(error.strerror)})
            continue
        if record and len(found) < MOST_FILES:
            room -= len(record["data"] or "") + len(record["before"] or "")
            found.append(record)
        elif record:
            left.append({"what": path, "why": f"more than {MOST_FILES} files were edited"})
    return found, left[:MOST_FILES]


def settings(
    scope: Scope, services: Mapping[str, Mapping[str, Any]]
) -> tuple[dict[str, dict[str, str]], list[dict[str, str]]]:
    """What was edited in units and launch files: service to the keys and variables that say the same, and the rest.

    :param services: what ``running.observe`` returned.
    """
    found: dict[str, dict[str, str]] = {}
    left: list[dict[str, str]] = []
    # What was put aside for a stopped service is written anew when it starts.
    for name, service in ((name, one) for name, one in services.items() if not one["stopped"]):
        for what, edits in _edits(scope, name, service):
            found.setdefault(name, {}).update(edits.settings)
            left += [{"what": what, "why": why} for why in edits.left]
    return {name: keys for name, keys in found.items() if keys}, left


def _record(
    scope: Scope, tree: str, path: str, known: Mapping[str, Any] | None, room: int, secrets: list[str]
) -> dict[str, Any] | None:
    """The record of a path, or None for a folder, which is there for what lies in it."""
    place = os.path.join(tree, path)
    blank = {"path": path, "entry": None, "data": None, "before": None}
    if path == ".":
        raise TetraError("the release itself is gone")
    if not os.path.lexists(place):
        return blank if known and known["type"] != "dir" else None
    mode = os.lstat(place).st_mode
    if stat.S_ISLNK(mode):
        return {**blank, "entry": {"type": "link", "target": os.readlink(place)}}
    if stat.S_ISDIR(mode):
        return None
    if not stat.S_ISREG(mode):
        raise TetraError("it is neither a file nor a link")
    data = _content(place, room)
    if any(secret.encode() in data for secret in secrets):
        raise TetraError("it holds a secret")
    made = known and known["type"] == "file" and path.startswith("templates/")
    entry = {"type": "file", "sha256": hashlib.sha256(data).hexdigest(), "size": len(data),
             "executable": bool(mode & stat.S_IXUSR)}
    before = store.blob(scope.environment, known["sha256"]) if known and made else None
    return {**blank, "entry": entry, "data": _text(data), "before": None if before is None else _text(before)}


def _content(place: str, room: int) -> bytes:
    with open(os.open(place, _READ), "rb") as file:
        # Base64 takes four bytes for three.
        data = file.read(max(0, room) * 3 // 4 + 1)
    if len(data) > room * 3 // 4:
        raise TetraError(f"what was edited is more than {MOST_BYTES >> 20} MiB")
    return data


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _edits(scope: Scope, name: str, service: Mapping[str, Any]) -> Iterator[tuple[str, Edits]]:
    try:
        wanted = running.expected_launch(scope, service["release"], name)
    except TetraError as error:
        yield f"service {name}", Edits(left=[f"what it was started with is not known: {error.message}"])
        return
    hidden = evidence.secrets(scope, service["release"])
    for what, edits in (("run", _launch(scope, name, wanted, hidden)), ("unit", _unit(scope, name, wanted, hidden))):
        if edits.settings or edits.left:
            yield f"{what} of {name}", edits


def _launch(scope: Scope, name: str, wanted: Mapping[str, Any], secrets: list[str]) -> Edits:
    """What was edited in the launch script, else in the record that the next one is made from."""
    text = running.script(scope, name, wanted)
    try:
        with open(running.script_path(scope, name), encoding="utf-8", errors="replace") as file:
            found = file.read()
    except OSError:
        return Edits()
    variables, others = hand_edits.exports(text)
    now, other = hand_edits.exports(found)
    edits = hand_edits.of_launch(variables, now, secrets, others == other)
    return edits if edits.settings or edits.left else _launch_record(scope, name, wanted, secrets)


def _launch_record(scope: Scope, name: str, wanted: Mapping[str, Any], secrets: list[str]) -> Edits:
    try:
        found = running.launch_record(scope, name)
        same = {**found, "environment": None, "seal": None} == {**wanted, "environment": None, "seal": None}
        now = {str(key): str(value) for key, value in found["environment"].items()}
    except (OSError, TetraError, KeyError, AttributeError):
        return Edits(left=["what it is started with is gone, or no record of ours"])
    return hand_edits.of_launch(wanted["environment"], now, secrets, same)


def _unit(scope: Scope, name: str, wanted: Mapping[str, Any], secrets: list[str]) -> Edits:
    paths = scope.supervisor.edited([scope.unit(name)]).get(scope.unit(name), [])
    if not paths:
        return Edits()
    original = scope.supervisor.unit_text(running.unit_spec(scope, name, wanted))
    own = f"/{scope.unit(name)}.service"
    try:
        texts = [_read(path) for path in paths]
    except OSError as error:
        return Edits(left=[f"{error.filename}: {error.strerror}"])
    if not any(path.endswith(own) for path in paths):
        texts = [original, *texts]
    return hand_edits.of_unit(original, texts, wanted["environment"], secrets)


def _read(path: str) -> str:
    with open(os.open(path, _READ), encoding="utf-8", errors="replace") as file:
        return file.read(MOST_BYTES)
