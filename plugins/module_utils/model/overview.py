# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""An organization over all its environments: what each runs, since when, who brought it there, and what is behind."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from . import drift, listing, recovery


def environment(answers: Mapping[str, Mapping[str, Any]], comes_from: str | None) -> dict[str, Any]:
    """What is to be known of one environment.

    :param answers: host to what the operation ``release_info`` returned, or to why it did not.
    :param comes_from: the environment that its bundles come from.
    :returns: ``bundles``, ``since`` and ``actor`` of the newest confirmation, ``drifts`` (``host: kind: what``),
        ``holds`` (bundles), ``open`` and ``silent`` (lines for a person), ``hosts`` and ``from``.
    """
    told = {host: answer for host, answer in recovery.present(answers).items() if "epoch" in answer}
    last = max((answer["history"][-1] for answer in told.values() if answer["history"]),
               key=lambda entry: str(entry["time"]), default={"time": "", "actor": ""})  # fmt: skip
    return {
        "hosts": sorted(told),
        "from": comes_from,
        "bundles": sorted({answer["bundle"] or "" for answer in told.values()}),
        "since": last["time"],
        "actor": last["actor"],
        "drifts": [f"{host}: {found['kind']}: {found['what']}" for host, answer in sorted(told.items())
                   for found in drift.of_host(answer, {})],
        "holds": sorted({bundle for answer in told.values() for bundle in answer["holds"]}),
        "open": [f"{host}: transaction {answer['transaction']['id']} of {answer['transaction']['actor']} is "
                 f"{answer['transaction']['state']}" for host, answer in sorted(told.items()) if answer["transaction"]],
        "silent": [f"{host}: {answer.get('msg', 'the host did not answer')}"
                   for host, answer in sorted(recovery.present(answers).items()) if host not in told],
    }  # fmt: skip


def step(name: str, found: Mapping[str, Mapping[str, Any]], directory: str | None) -> str:
    """In a few words, how an environment stands to what would come next.

    :param found: environment to what :func:`environment` returned.
    :param directory: the bundle that the organization's directory would make, if that is known.
    """
    own = found[name]
    if not own["bundles"] or own["bundles"] == [""]:
        return "runs nothing"
    if len(own["bundles"]) > 1:
        return "its hosts differ"
    before = found[own["from"]]["bundles"] if own["from"] in found else [directory] if directory else []
    if not before:
        return "-"
    source = own["from"] if own["from"] in found else "its directory"
    return f"as {source}" if before == own["bundles"] else f"differs from {source}"


def differences(values: Mapping[str, Mapping[str, str]]) -> dict[str, dict[str, str]]:
    """The values that are not the same everywhere.

    :param values: environment to name of a value to its text.
    :returns: name to environment to text, "" where it has none.
    """
    names = {name for own in values.values() for name in own}
    found = {name: {env: own.get(name, "") for env, own in values.items()} for name in sorted(names)}
    return {name: texts for name, texts in found.items() if len(set(texts.values())) > 1}


def in_order(comes_from: Mapping[str, str | None]) -> list[str]:
    """Environments on their way to production, each after the one that its bundles come from."""
    ordered: list[str] = []
    pending: Sequence[str] = sorted(comes_from)
    while pending:
        ready = [name for name in pending if comes_from[name] is None or comes_from[name] not in pending]
        ordered += ready or pending
        pending = [name for name in pending if name not in ordered]
    return ordered


def rows(found: Mapping[str, Mapping[str, Any]], directory: str | None) -> list[list[str]]:
    """The environments for a table."""
    result = [["ENVIRONMENT", "BUNDLE", "SINCE", "BY", "HOSTS", "DRIFT", "ON HOLD", "STEP"]]
    for name, own in found.items():
        result.append([
            name, _joined(map(listing.short, filter(None, own["bundles"]))), own["since"] or "-", own["actor"] or "-",
            f"{len(own['hosts'])}" + (f", {len(own['silent'])} silent" if own["silent"] else ""),
            str(len(own["drifts"]) or "-"), _joined(map(listing.short, own["holds"])), step(name, found, directory),
        ])  # fmt: skip
    return result


def _joined(words: Iterable[str]) -> str:
    return ", ".join(words) or "-"
