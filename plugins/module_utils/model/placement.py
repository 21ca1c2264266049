# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which service runs on which hosts of an environment."""

from __future__ import annotations

import fnmatch
from collections.abc import Container, Iterable, Mapping, Sequence

from .errors import TetraError


def place(
    services: Iterable[str],
    placement: Mapping[str, Sequence[str]],
    once: Container[str],
    hosts: Mapping[str, Sequence[str]],
) -> dict[str, list[str]]:
    """The services of each host, sorted; a host without services has an empty list.

    :param services: the services of the organization.
    :param placement: service to where it runs: names of hosts or groups, ``*`` and ``?`` allowed. A service that is
        not in it runs on every host.
    :param once: services that run on one host only: the first by name of those where they may run.
    :param hosts: the hosts of the environment, each with the groups of the inventory that it is in.
    :raises TetraError: listing every name that no host of the environment answers to.
    """
    result: dict[str, list[str]] = {host: [] for host in sorted(hosts)}
    problems: list[str] = []
    for service in sorted(services):
        patterns = placement.get(service, ["*"])
        unknown = [pattern for pattern in patterns if not _matching(pattern, hosts)]
        problems += [f"placement of {service}: no host of the environment matches {pattern!r}" for pattern in unknown]
        chosen = sorted({host for pattern in patterns for host in _matching(pattern, hosts)})
        for host in chosen[:1] if service in once else chosen:
            result[host].append(service)
    if problems:
        raise TetraError(
            "\n".join(problems),
            hint=f"correct [placement] in org.toml, or the groups of the inventory; the hosts are {', '.join(result)}",
        )
    return result


def _matching(pattern: str, hosts: Mapping[str, Sequence[str]]) -> list[str]:
    return [
        host for host, groups in hosts.items() if any(fnmatch.fnmatchcase(name, pattern) for name in (host, *groups))
    ]
