# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Operation that asks services how they are, once."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any

from .. import probes, probing, running
from ..scope import open_scope


def health_check(request: Mapping[str, Any]) -> dict[str, Any]:
    """Check services of an environment, or checks that come with the request.

    :param request: ``tetra_dir``, ``org``, ``env`` and ``services`` (names; none means all), or ``checks``: a list of
        ``{"name", "url"}`` or ``{"name", "address", "port"}`` with an optional ``timeout`` in seconds.
    :returns: ``healthy`` and ``checks``: by name ``ok``, ``detail`` and what was asked. (Ansible keeps ``results`` for
        loops, and renames it in what a module returns.)
    """
    checks = _inline(request["checks"]) if request.get("checks") else _services(request)
    return {"changed": False, "healthy": all(check["ok"] for check in checks.values()), "checks": checks}


def _services(request: Mapping[str, Any]) -> dict[str, Any]:
    scope = open_scope(request["tetra_dir"], request["org"], request["env"])
    observed = running.observe(scope)
    names = request.get("services") or sorted(observed)
    results = {name: {"ok": False, "detail": "no such service", "check": ""} for name in names if name not in observed}
    for name, sample in probing.check_once(scope, [name for name in names if name in observed]).items():
        check = probing.describe(running.launch_record(scope, name))
        ok = sample.ok and sample.own_process
        detail = sample.detail if ok or not sample.ok else "another program answered on the port of the service"
        results[name] = {"ok": ok, "detail": detail, "check": check}
    return results


def _inline(checks: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    results = {}
    for check in checks:
        health = {"kind": "http" if check.get("url") else "tcp", "timeout": check.get("timeout") or 2.0,
                  "url": check.get("url"), "address": check.get("address"), "port": str(check.get("port"))}
        result = probes.check(health, "", os.sep, {})
        target = check.get("url") or f"{check.get('address')}:{check.get('port')}"
        results[check["name"]] = {"ok": result.ok, "detail": result.detail, "check": target}
    return results
