# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where an environment goes back to: to what was confirmed, never to what merely came before."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from . import listing
from .errors import REFUSED, TetraError

_ELSE = "push or promote a good bundle instead"


def target(observed: Mapping[str, Mapping[str, Any]], name: str = "") -> str:
    """The release that an environment goes back to.

    Hosts must agree on it, or the environment would end mixed.

    :param observed: host to what the operation ``release_info`` returned.
    :param name: how the name of a release begins that every host has confirmed; without it the newest before the
        current one that is not on hold.
    :raises TetraError: code ``refused`` when there is none, or when hosts disagree.
    """
    if name:
        return _named(observed, name)
    targets = {host: previous(answer) for host, answer in observed.items()}
    distinct = set(targets.values())
    if None in distinct:
        where = ", ".join(sorted(host for host, found in targets.items() if found is None))
        raise TetraError(f"there is no confirmed release to go back to on {where}", hint=_ELSE, code=REFUSED)
    if len(distinct) > 1:
        text = ", ".join(f"{host}: {listing.short(found)}" for host, found in sorted(targets.items()))
        raise TetraError(
            f"the hosts would go back to different releases ({text})",
            hint="promote the bundle that all of them shall run",
            code=REFUSED,
        )
    return str(distinct.pop())


def previous(observed: Mapping[str, Any]) -> str | None:
    """The release that one host would go back to, or None."""
    releases = observed["releases"]
    for release, _entry in _confirmed(observed):
        if release == observed["current"] or release not in releases:
            continue
        if releases[release]["bundle"] not in observed["holds"]:
            return release
    return None


def _confirmed(observed: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The releases that a host has confirmed, the newest first, each with the record of when."""
    for entry in reversed(observed["history"]):
        yield str(entry["release"]), entry


def _named(observed: Mapping[str, Mapping[str, Any]], name: str) -> str:
    found = {release for answer in observed.values() for release, _entry in _confirmed(answer)
             if release.startswith(name)}  # fmt: skip
    if len(found) != 1:
        what = "more than one confirmed release begins" if found else "no confirmed release begins"
        raise TetraError(f"{what} with {name}", hint=_choices(observed), code=REFUSED)
    release = found.pop()
    never = sorted(host for host, answer in observed.items() if release not in dict(_confirmed(answer)))
    if never:
        raise TetraError(f"release {listing.short(release)} was never confirmed on {', '.join(never)}",
                         hint=_choices(observed), code=REFUSED)
    gone = sorted(host for host, answer in observed.items() if release not in answer["releases"])
    if gone:
        raise TetraError(f"what release {listing.short(release)} needs is no longer on {', '.join(gone)}: its files, "
                         "or the secrets that it ran with", hint=_choices(observed), code=REFUSED)
    return release


def _choices(observed: Mapping[str, Mapping[str, Any]]) -> str:
    """The releases that all hosts could go back to, for a person."""
    known = [{release: str(entry["time"]) for release, entry in _confirmed(answer)
              if release in answer["releases"] and release != answer["current"]}
             for answer in observed.values()]  # fmt: skip
    shared = [release for release in known[0] if all(release in one for one in known)] if known else []
    told = ", ".join(f"{listing.short(release)} of {known[0][release]}" for release in shared)
    return f"there are {told}" if told else _ELSE
