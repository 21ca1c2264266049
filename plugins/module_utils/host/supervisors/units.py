# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What systemd is given to read: the units of services, of deadmen and of the start of a host."""

from __future__ import annotations

from collections.abc import Mapping

from ...model import launch_script, seal, unit_file
from .base import UnitSpec

OWNER = "X-Tetra-Owner"
DIRECTORY = "X-Tetra-Dir"

_REMARK = "Written by tetra, which replaces it; change the definition of the service instead."
_PAUSE = 1

# Each of these is shown to bite by a test, or to be without effect on the kernel that it ran on.
_STANDARD: Mapping[str, str] = {
    "NoNewPrivileges": "yes",
    "LockPersonality": "yes",
    "PrivateTmp": "yes",
    "ProtectClock": "yes",
    "ProtectControlGroups": "yes",
    "ProtectHome": "read-only",
    "ProtectHostname": "yes",
    "ProtectKernelLogs": "yes",
    "ProtectKernelModules": "yes",
    "ProtectKernelTunables": "yes",
    "ProtectSystem": "full",
    "RestrictRealtime": "yes",
    "RestrictSUIDSGID": "yes",
}
_STRICT: Mapping[str, str] = {
    **_STANDARD,
    "CapabilityBoundingSet": "",
    "PrivateDevices": "yes",
    "ProtectHome": "yes",
    "ProtectProc": "invisible",
    "ProtectSystem": "strict",
    "RestrictAddressFamilies": "AF_UNIX AF_INET AF_INET6",
    "RestrictNamespaces": "yes",
    "SystemCallArchitectures": "native",
    "SystemCallFilter": "@system-service",
    "UMask": "0077",
}
SANDBOXES: Mapping[str, Mapping[str, str]] = {"none": {}, "standard": _STANDARD, "strict": _STRICT}
"""What each value of TSM_SECURITY_HARDENING means, as directives of systemd."""


def is_of(text: str, tetra_dir: str, owner: str | None = None) -> bool:
    """Whether a unit is of a directory of tetra, and of an owner (``org/env/service``) if one is named."""
    lines = text.splitlines()
    wanted = [f"{DIRECTORY}={unit_file.plain(tetra_dir)}", *([f"{OWNER}={owner}"] if owner else [])]
    return all(line in lines for line in wanted)


def owner_of(text: str) -> str:
    """Whom a unit says that it is of; empty when it does not say."""
    return next((line[len(OWNER) + 1:] for line in text.splitlines() if line.startswith(f"{OWNER}=")), "")


def service(spec: UnitSpec, tetra_dir: str) -> str:
    """The unit of a service.

    :param tetra_dir: the directory of tetra that it belongs to.
    """
    unit = {
        "Description": unit_file.plain(f"{spec.owner} {spec.description}"),
        OWNER: spec.owner,
        DIRECTORY: unit_file.plain(tetra_dir),
        "After": " ".join(["network.target", *(f"{name}.service" for name in spec.after)]),
        # The launch script counts restarts that were in vain, which systemd cannot. This stops what does not get that
        # far, and leaves room for as many restarts that were not.
        "StartLimitIntervalSec": str((spec.max_restarts + 2) * (launch_script.FRUITFUL + _PAUSE)),
        "StartLimitBurst": str(2 * (spec.max_restarts + 2)),
    }
    process = {
        "Type": "exec",
        "ExecStart": unit_file.command(spec.argv),
        "StandardInput": f"file:{unit_file.path(spec.script)}" if spec.script else "null",
        "IgnoreSIGPIPE": "no",
        "User": spec.user or None,
        "Restart": spec.restart,
        "RestartSec": str(_PAUSE),
        "RestartPreventExitStatus": str(launch_script.GIVEN_UP),
        "RuntimeDirectory": spec.unit,
        "RuntimeDirectoryPreserve": "restart",
        "TimeoutStopSec": f"{max(spec.stop_timeout, 0.1):.3f}",
        **_limits(spec),
        **_sandbox(spec),
    }
    return seal.sealed(unit_file.text({"Unit": unit, "Service": process}, _REMARK))


def _limits(spec: UnitSpec) -> dict[str, str]:
    limits = {}
    if spec.memory_limit is not None:
        # No swap beside it, or the limit would only make the host slow.
        limits.update({"MemoryMax": str(spec.memory_limit), "MemorySwapMax": "0"})
    if spec.cpu_limit is not None:
        limits["CPUQuota"] = f"{max(1, round(spec.cpu_limit * 100))}%"
    return limits


def _sandbox(spec: UnitSpec) -> dict[str, str]:
    directives = dict(SANDBOXES[spec.hardening])
    if spec.low_port:
        directives["AmbientCapabilities"] = "CAP_NET_BIND_SERVICE"
        if "CapabilityBoundingSet" in directives:
            directives["CapabilityBoundingSet"] = "CAP_NET_BIND_SERVICE"
    if directives.get("ProtectSystem") == "strict" and spec.writable:
        directives["ReadWritePaths"] = unit_file.path_word(spec.writable)
    return directives


def deadman(spec: UnitSpec, tetra_dir: str) -> str:
    """The unit of a deadman; nothing keeps it from being started again until it has done its work."""
    unit = {
        "Description": unit_file.plain(f"takes back {spec.owner} unless it is confirmed"),
        OWNER: spec.owner,
        DIRECTORY: unit_file.plain(tetra_dir),
        "StartLimitIntervalSec": "0",
    }
    process = {
        "Type": "exec",
        "ExecStart": unit_file.command(spec.argv),
        "Restart": "on-failure",
        "RestartSec": str(_PAUSE),
        # What must work when memory is short.
        "OOMScoreAdjust": "-900",
    }
    return unit_file.text({"Unit": unit, "Service": process}, _REMARK)


def timer(spec: UnitSpec, seconds: float) -> str:
    """The timer of a deadman, counted from its own start, also that with the host, by a clock that nobody can set."""
    unit = {"Description": unit_file.plain(f"the lease of {spec.owner}"), OWNER: spec.owner}
    times = {"OnActiveSec": f"{seconds:.3f}", "AccuracySec": "1s"}
    return unit_file.text({"Unit": unit, "Timer": times}, _REMARK)


def boot(program: str, tetra_dir: str) -> str:
    """The unit that settles open transactions when the host starts.

    :param program: the agent.
    """
    unit = {
        "Description": "settles what a restart of the host interrupted (tetra)",
        DIRECTORY: unit_file.plain(tetra_dir),
        "After": "network.target",
    }
    process = {"Type": "exec", "ExecStart": unit_file.command([program, "boot", tetra_dir])}
    install = {"WantedBy": "multi-user.target"}
    return unit_file.text({"Unit": unit, "Service": process, "Install": install}, _REMARK)
