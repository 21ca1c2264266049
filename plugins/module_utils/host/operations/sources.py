# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Operations that bring back what an environment really runs: its bundle, and what was edited by hand."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

from ...model import canonical, pack, release, transaction
from ...model.errors import REFUSED, TetraError
from .. import engine, hand_edits, holds, journal, membership, running, store
from ..scope import Scope, open_scope


def deploy_edits(request: Mapping[str, Any]) -> dict[str, Any]:
    """What an environment runs on this host, with what was edited by hand; writes nothing.

    :param request: ``tetra_dir``, ``org``, ``env``.
    :returns: ``epoch``, ``current``, ``bundle``, ``removed``; ``manifest`` of the bundle, and ``earlier``, how paths
        were in bundles that were confirmed here before (digests of entries, empty for a path that was not there);
        ``files``, ``settings`` and ``left`` as ``host.hand_edits`` has them; ``stopped``, services that a person
        stopped, and whether that is remembered.
    :raises TetraError: code ``refused`` when nothing runs here, or a transaction is open.
    """
    scope = open_scope(request["tetra_dir"], request["org"], request["env"])
    engine.check_no_open_transaction(scope)
    current = store.current(scope.environment)
    if current is None:
        raise TetraError(f"{scope.org}/{scope.env} runs nothing here", hint="push something first", code=REFUSED)
    bundle = store.manifest(scope.environment, current)["bundle"]
    manifest = store.bundle(scope.environment, bundle)
    services = running.observe(scope)
    files, left = hand_edits.files(scope, current)
    settings, further = hand_edits.settings(scope, services)
    return {
        "changed": False,
        "epoch": journal.head(scope.environment)["seq"],
        "current": current,
        "bundle": bundle,
        "removed": membership.removed(scope.environment),
        "manifest": manifest,
        "earlier": _earlier(scope, bundle, manifest),
        "files": files,
        "settings": settings,
        "stopped": {name: service["stopped"] for name, service in services.items()
                    if service["stopped"] or service["state"] == "stopped"},
        "left": [*left, *further],
    }


def _earlier(scope: Scope, bundle: str, manifest: Mapping[str, Any]) -> dict[str, list[str]]:
    """How paths were in the bundles that were confirmed here before, where that is not how they are now.

    What failed, or was rolled back and is on hold, is not what the organization has left behind.
    """
    confirmed = [record["bundle"] for record in journal.read(scope.environment)
                 if record.get("outcome") == transaction.CONFIRMED]
    before = (set(confirmed[:-1]) - set(holds.read(scope.environment)) - {bundle}).intersection(
        store.bundle_digests(scope.environment))
    now: Mapping[str, Any] = manifest["files"]
    found: dict[str, set[str]] = {}
    for name in before:
        files = store.bundle(scope.environment, name)["files"]
        for path in {*now, *files}:
            if files.get(path) != now.get(path):
                found.setdefault(path, set()).add(canonical.digest(files[path]) if path in files else "")
    return {path: sorted(digests) for path, digests in sorted(found.items())}


def deploy_blobs(request: Mapping[str, Any]) -> dict[str, Any]:
    """Parts of files of the current bundle.

    :param request: ``tetra_dir``, ``org``, ``env``, ``parts``: ``[sha256, offset, length]`` each, in bytes.
    :returns: ``data``, the parts one after the other, base64.
    :raises TetraError: code ``refused`` for a file that is not one of the bundle, or not here.
    """
    scope = open_scope(request["tetra_dir"], request["org"], request["env"])
    current = store.current(scope.environment)
    bundle = store.manifest(scope.environment, current)["bundle"] if current else ""
    known = release.blobs(store.bundle(scope.environment, bundle)) if bundle else {}
    total = sum(int(length) for _sha256, _offset, length in request["parts"])
    if total > pack.MAX_PART:
        raise TetraError(f"{total} bytes are asked for at once, at most {pack.MAX_PART} are sent")
    data = b""
    for sha256, offset, length in request["parts"]:
        if sha256 not in known:
            raise TetraError(f"{str(sha256)[:12]} is no file of the bundle that runs here", hint="run again",
                             code=REFUSED)
        data += store.part(scope.environment, sha256, int(offset), int(length))
    return {"changed": False, "data": base64.b64encode(data).decode("ascii")}
