# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where everything lies on a host, below one directory (``tetra_dir``)."""

from __future__ import annotations

import contextlib
import dataclasses
import os

from ..model import units
from ..model.errors import TetraError
from . import durable

_PRIVATE = ("private", "run", "evidence", "logs", "tx")
_PUBLIC = ("blobs", "bundles", "releases", "holds", "stopped", "removed")


class Home:
    """The directory of tetra on a host.

    :param tetra_dir: an absolute path without ``..``, control characters and ``;`` (which starts a comment in the files
        of supervisord); doubled and final slashes are taken out.
    :raises TetraError: for any other path, and for the root of the file system.
    """

    def __init__(self, tetra_dir: str) -> None:
        plain = tetra_dir.startswith("/") and tetra_dir.isprintable() and ";" not in tetra_dir
        if not plain or ".." in tetra_dir.split("/") or not tetra_dir.strip("/."):
            raise TetraError(
                f"tetra_dir {tetra_dir!r} is not an absolute path of plain characters",
                hint="for example /var/lib/tetra",
            )
        # Two slashes at the beginning have a meaning of their own in POSIX, which Linux does not use.
        self.root = os.path.normpath(f"/{tetra_dir.lstrip('/')}")
        self.config = os.path.join(self.root, "config")
        self.bin = os.path.join(self.root, "bin")
        self.supervisor = os.path.join(self.root, "supervisor")
        self.homes = os.path.join(self.root, "home")

    def environment(self, org: str, env: str) -> Environment:
        """The part of one environment of one organization.

        :raises TetraError: when a name is not valid.
        """
        units.check_name("organization", org)
        units.check_name("environment", env)
        return Environment(os.path.join(self.root, "orgs", org, env), org, env)

    def environments(self) -> list[Environment]:
        """The environments that have a folder here, by organization and name; what has no valid name is none."""
        found = []
        for org in _folders(os.path.join(self.root, "orgs")):
            for env in _folders(os.path.join(self.root, "orgs", org)):
                with contextlib.suppress(TetraError):
                    found.append(self.environment(org, env))
        return found


@dataclasses.dataclass(frozen=True)
class Environment:
    """The files of one environment; each attribute is the path of a folder or a file."""

    root: str
    org: str
    env: str

    @property
    def current(self) -> str:
        """The link that names the running release."""
        return os.path.join(self.root, "current")

    @property
    def lock(self) -> str:
        """The lock of the environment."""
        return os.path.join(self.root, "lock")

    @property
    def blobs(self) -> str:
        """Contents of files by their sha256."""
        return os.path.join(self.root, "blobs")

    @property
    def bundles(self) -> str:
        """Manifests of bundles."""
        return os.path.join(self.root, "bundles")

    @property
    def releases(self) -> str:
        """Manifests of releases, and their trees."""
        return os.path.join(self.root, "releases")

    @property
    def private(self) -> str:
        """What only this host needs of a release: its services and secrets."""
        return os.path.join(self.root, "private")

    @property
    def run(self) -> str:
        """What each service is started with."""
        return os.path.join(self.root, "run")

    @property
    def tx(self) -> str:
        """Transactions."""
        return os.path.join(self.root, "tx")

    @property
    def evidence(self) -> str:
        """What was kept of failed releases."""
        return os.path.join(self.root, "evidence")

    @property
    def holds(self) -> str:
        """Bundles that must not move."""
        return os.path.join(self.root, "holds")

    @property
    def stopped(self) -> str:
        """Services that a person stopped."""
        return os.path.join(self.root, "stopped")

    @property
    def removed(self) -> str:
        """Hosts that a person took out of the environment."""
        return os.path.join(self.root, "removed")

    @property
    def logs(self) -> str:
        """Output of services."""
        return os.path.join(self.root, "logs")

    @property
    def journal(self) -> str:
        """The append-only record of transactions and decisions."""
        return os.path.join(self.root, "journal.jsonl")

    def services(self) -> list[str]:
        """The services that were started here, by the files that they are started with."""
        names = os.listdir(self.run) if os.path.isdir(self.run) else []
        return sorted(name[: -len(".json")] for name in names if name.endswith(".json"))

    def folders(self) -> dict[str, int]:
        """The folders inside, and the mode that each is made with."""
        modes = {**dict.fromkeys(_PUBLIC, 0o755), **dict.fromkeys(_PRIVATE, 0o700)}
        return {os.path.join(self.root, name): mode for name, mode in modes.items()}

    def parents(self) -> list[str]:
        """The folders from ``tetra_dir`` down to the environment itself."""
        organization = os.path.dirname(self.root)
        organizations = os.path.dirname(organization)
        return [os.path.dirname(organizations), organizations, organization, self.root]

    def prepare(self) -> None:
        """Make the folders of the environment; what holds secrets or logs is for its owner alone.

        :raises TetraError: code ``refused`` when one of them, up to ``tetra_dir``, is a link or others can change it.
        """
        for path in self.parents():
            durable.make_folder(path, 0o755)
        for path, mode in self.folders().items():
            durable.make_folder(path, mode)

    def sweep(self) -> None:
        """Remove what killed runs left half-written; the caller holds the lock of the environment."""
        for folder in (self.root, *self.folders()):
            if os.path.isdir(folder):
                durable.sweep(folder)


def _folders(path: str) -> list[str]:
    """The names of the folders in a folder; a link is none."""
    if not os.path.isdir(path):
        return []
    with os.scandir(path) as entries:
        return sorted(entry.name for entry in entries if entry.is_dir(follow_symlinks=False))
