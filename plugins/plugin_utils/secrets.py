# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Secrets of services: which ones they name, whether those are known, and what looks like one in plain text.

No value of a secret is ever part of a message.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping

from ansible_collections.tetra.platform.plugins.module_utils.model import plain_secrets, units, values
from ansible_collections.tetra.platform.plugins.module_utils.model.errors import (
    ERROR,
    WARNING,
    Finding,
    raise_on_errors,
)
from ansible_collections.tetra.platform.plugins.module_utils.model.service import Service
from ansible_collections.tetra.platform.plugins.module_utils.model.values import Value
from ansible_collections.tetra.platform.plugins.plugin_utils.overlay import EnvironmentValues
from ansible_collections.tetra.platform.plugins.plugin_utils.source import Source

Places = Mapping[tuple[str, str], tuple[str, int]]
"""Service and key to the file and the line (0 when unknown) where its value is written."""

MAX_SCANNED = 1024 * 1024

_HINT = "write ${secret:NAME} instead, and put the value into tetra_secrets of the environment (ansible-vault)"
_CONTENTS = (
    ("a private key", re.compile(rb"-----BEGIN (?:[A-Z0-9]{1,20} ){0,3}PRIVATE KEY(?: BLOCK)?-----")),
    ("an access key of AWS", re.compile(rb"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b")),
    ("a token of GitHub", re.compile(rb"\b(?:gh[pousr]_[0-9A-Za-z]{36}|github_pat_[0-9A-Za-z_]{60})")),
    ("a token of GitLab", re.compile(rb"\bglpat-[0-9A-Za-z_-]{20}")),
    ("a token of Slack", re.compile(rb"\bxox[abprs]-[0-9A-Za-z-]{10}")),
    ("a key of Stripe", re.compile(rb"\b[sr]k_live_[0-9A-Za-z]{16}")),
    ("a key of Google", re.compile(rb"\bAIza[0-9A-Za-z_-]{35}")),
    ("a key of SendGrid", re.compile(rb"\bSG\.[0-9A-Za-z_-]{22}\.[0-9A-Za-z_-]{43}")),
)


def used(services: Mapping[str, Service]) -> dict[str, list[tuple[str, str]]]:
    """The secrets that services name: name to the services and keys that do, all sorted."""
    found: dict[str, list[tuple[str, str]]] = {}
    for service in sorted(services):
        for key, value in sorted(services[service].environment.items()):
            for name in values.secrets_in(value):
                found.setdefault(name, []).append((service, key))
    return dict(sorted(found.items()))


def check_known(
    services: Mapping[str, Service], known: Collection[str], host: str, places: Places | None = None
) -> None:
    """Check that a host is given every secret that the services name.

    :param known: the names in ``tetra_secrets`` of that host.
    :param places: where the values are written, for the message.
    :raises TetraError: listing each secret that is missing, with the service, the key and the file that name it.
    """
    findings = []
    for name, uses in used(services).items():
        if name in known:
            continue
        near = units.nearest(name, known)
        hint = f"did you mean {near}? otherwise add it" if near else "add it"
        for service, key in uses:
            file, line = (places or {}).get((service, key), ("", 0))
            message = f"unknown secret {name} in {key} of service {service}"
            whole_hint = f"{hint} to tetra_secrets of host {host}"
            findings.append(Finding(ERROR, "unknown-secret", message, file, line, 0, whole_hint))
    raise_on_errors(findings)


def plain_findings(
    services: Mapping[str, Service], places: Places, environment: EnvironmentValues, protected: bool
) -> list[Finding]:
    """What looks like a secret in plain text among variables of services and values for templates.

    :param protected: whether the environment is, which makes each of them an error.
    """
    severity = ERROR if protected else WARNING
    findings = []
    seen = set()
    for service, key, value in _variables(services):
        place = (key, *places[service, key])
        # A variable of the environment is written once, however many services get it.
        if plain_secrets.looks_secret(key, value) and place not in seen:
            seen.add(place)
            message = f"{key} of service {service} looks like a secret in plain text"
            findings.append(Finding(severity, "plain-secret", message, place[1], place[2], 0, _HINT))
    for path, value in _leaves(("values",), environment.values):
        if plain_secrets.looks_secret(path[-1], value):
            file, line = environment.place(*path[:2])
            message = f"{'.'.join(path)} looks like a secret in plain text"
            hint = "values go into files; give it to the service as a variable with ${secret:NAME}"
            findings.append(Finding(severity, "plain-secret", message, file, line, 0, hint))
    return findings


def file_findings(source: Source, protected: bool) -> list[Finding]:
    """Private keys and tokens of well-known forms in the files of an organization.

    The first MiB of each text is looked at. Files that did not travel with a bundle were looked at when it was pushed.
    """
    findings: list[Finding] = []
    for path in sorted(source.files):
        if source.files[path].read is None or (path.startswith("files/") and not source.complete):
            continue
        findings += _content_findings(path, source.data(path)[:MAX_SCANNED], protected)
    return findings


def _content_findings(path: str, data: bytes, protected: bool) -> Iterator[Finding]:
    if b"\0" in data[:8192]:
        return
    for what, pattern in _CONTENTS:
        match = pattern.search(data)
        if match:
            line = data.count(b"\n", 0, match.start()) + 1
            hint = "keep it out of the organization and give it to the service as ${secret:NAME}"
            severity = ERROR if protected else WARNING
            yield Finding(severity, "plain-secret", f"this looks like {what}", path, line, 0, hint)


def _variables(services: Mapping[str, Service]) -> Iterator[tuple[str, str, Value]]:
    for service in sorted(services):
        for key, value in services[service].environment.items():
            yield service, key, value


def _leaves(path: tuple[str, ...], value: object) -> Iterator[tuple[tuple[str, ...], str]]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _leaves((*path, key), item)
    elif isinstance(value, list):
        for item in value:
            yield from _leaves(path, item)
    elif isinstance(value, str):
        yield path, value
