# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the tasks before have registered of each host, and what the inventory says of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ansible_collections.tetra.platform.plugins.plugin_utils.planning import Answers

Answer = Mapping[str, Any]
"""What a host answered to one task."""


def answers(templar: Any, variables: dict[str, Any], request: dict[str, Any], origin: str) -> Answers:
    """What is known of the hosts of a request.

    :param templar: resolves what variables of hosts refer to.
    :param variables: those of the task.
    :param request: the result of ``deploy_request``.
    :param origin: the host that was asked for the bundle, or empty.
    """
    hosts, targets = variables["hostvars"], request["target_hosts"]

    def registered(name: str, names: list[str]) -> dict[str, dict[str, Any]]:
        return {host: dict(hosts[host].get(name) or {}) for host in names}

    return Answers(
        observed=registered("tetra_observed", targets),
        origin=registered("tetra_source_observed", request["source_hosts"]),
        pack=dict(hosts[origin].get("tetra_pack") or {}) if origin else {},
        groups={host: list(hosts[host]["group_names"]) for host in targets},
        secrets={host: set(templar.template(hosts[host].get("tetra_secrets") or {})) for host in targets},
    )


def told(
    variables: dict[str, Any], name: str, hosts: list[str], key: str, shape: Callable[[Answer], dict[str, Any]]
) -> dict[str, dict[str, Any]]:
    """What each host told, in the shape in which it is shown; a ``message`` for one that did not.

    :param name: the variable that a task has registered, and ``key`` what is only in an answer that came.
    """
    answers = {host: variables["hostvars"][host].get(name) or {} for host in hosts}
    return {
        host: shape(answer) if key in answer else {"message": str(answer.get("msg", "the host did not answer"))}
        for host, answer in answers.items()
    }


def silent(hosts: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The hosts of which :func:`told` has a message, with it."""
    return [f"{name}: {host['message']}" for name, host in hosts.items() if "message" in host]
