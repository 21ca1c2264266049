# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A run is killed, or its disk refuses, while it removes what nobody needs: that goes, sooner or later.

A confirmation removes what can be gone back to no more, and whoever stages a release what failed before. The host has
more releases, transactions and evidence than are kept. It is put back to that before each point.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from ansible_collections.tetra.platform.plugins.module_utils.host import holds, journal, store
from ansible_collections.tetra.platform.plugins.module_utils.model import release

from .. import guarantees, strace
from ..conftest import LONG
from . import kill_points

KEEP, TRANSACTIONS = 2, 10
CHAIN = ("format", "seq", "prev", "hash")
COUNT = 4
FOREVER = {"keep": 9, "lease": 3600.0}


class Shelf:
    """A host that is about to stage or to confirm the release ``last``, and to remove others then.

    The process of its only service was started with the release ``first`` and is left alone ever since.

    :param step: ``staged`` or ``confirmed``.
    """

    def __init__(self, host: kill_points.Host, step: str) -> None:
        self.step = step
        self.host = host
        self.environment = host.scope.environment
        self._copy = host.folder / "copy"
        host.write_org("first", {"api": kill_points.ORGS["a"][0]["api"]}, "")
        host.push("first", **FOREVER)
        for name in ("failed", "held", "second", "third", "last", "next"):
            self._derive(name)
        host.push("failed", "rolled_back", **FOREVER)
        host.push("held", "rolled_back", verdict=True, **FOREVER)
        for name in ("second", "third"):
            host.push(name, **FOREVER)
        host.push("second", "staged", **FOREVER)
        self._repeat()
        *before, self.run = host.runs(step, "last", **{**FOREVER, "keep": KEEP})
        for run in before:
            run()
        # What runs afterwards, and what can be gone back to.
        self.runs, self.kept = {"staged": ("third", {"first", "second", "third"}),
                                "confirmed": ("last", {"first", "third", "last"})}[step]
        shutil.copytree(self.environment.root, self._copy, symlinks=True)
        self.run()
        self.restore()

    def _repeat(self) -> None:
        """Let the first failure have happened many times more since, without evidence."""
        record = next(one for one in journal.read(self.environment) if one.get("outcome") == "rolled_back")
        file = Path(self.environment.tx, f"{record['transaction']}.rolled_back")
        told = {key: value for key, value in record.items() if key not in CHAIN}
        told["from"] = self.host.current
        for _number in range(TRANSACTIONS):
            identity = self.host.identity()
            shutil.copy(file, file.with_name(f"{identity}.rolled_back"))
            journal.append(self.environment, {**told, "transaction": identity})

    def _derive(self, name: str) -> None:
        """Make an organization of another bundle, and another release, that restarts no service."""
        shutil.copytree(self.host.folder / "first", self.host.folder / name)
        pages = self.host.folder / name / "acme" / "files" / "pages"
        pages.mkdir()
        (pages / "page").write_text(f"page {name}\n")
        self.host.ports[name] = self.host.ports["first"]

    def restore(self) -> None:
        """Put all files back to where the run is still to come."""
        shutil.rmtree(self.environment.root)
        shutil.copytree(self._copy, self.environment.root, symlinks=True)

    def points(self) -> list[strace.Point]:
        """The calls by which a run changes files; of a confirmation those by which it removes some, at its end."""
        found = strace.calls(self.run.command, self.host.folder / "log", self.run.request)
        self.restore()
        written = [number for number, point in enumerate(found) if point.below(self.environment.journal)]
        first = written[-1] + 1 if self.step == "confirmed" else 0
        return [point for point in found[first:] if point.below(*self.host.places) and not point.failed]

    def holds(self, fault: str, point: strace.Point, number: int) -> bool:
        """Let something go wrong at a point; whether it did. It raises when something is missing, or left for good."""
        hit = kill_points.FAULTS[fault](self.host, point, self.run, number)
        if (self.step, fault) == ("confirmed", "refused"):
            assert self.host.answer["result"]["state"] == "confirmed", self.host.answer
        self.host.settle()
        missing = self.missing(self.kept)
        assert not missing, missing
        problems = self.host.problems({self.host.releases[self.runs]})
        assert not problems, problems
        if self.step == "staged":
            self.host.push("last", keep=KEEP)
        self.host.push("next", keep=KEEP)
        missing = self.missing({"first", "last", "next"})
        assert not missing, missing
        left = self.left({"first", "last", "next"})
        assert not left, left
        self.restore()
        return hit

    def missing(self, names: set[str]) -> list[str]:
        """What is not there of some releases, or of the evidence that a hold names."""
        problems = []
        for digest in (self.host.releases[name] for name in names):
            problems += store.verify_release(self.environment, digest)
            store.private(self.environment, digest)
            manifest = store.bundle(self.environment, store.manifest(self.environment, digest)["bundle"])
            problems += [blob for blob in release.blobs(manifest) if not store.verify_blob(self.environment, blob)]
        (hold,) = holds.read(self.environment).values()
        kept = Path("evidence", hold["transaction"])
        problems += [f"{path.name} of the evidence" for path in (self._copy / kept).iterdir()
                     if path.read_bytes() != (Path(self.environment.root) / kept / path.name).read_bytes()]
        return problems

    def left(self, names: set[str]) -> list[str]:
        """What is there and nobody needs, when some releases are all that is kept."""
        root = Path(self.environment.root)
        kept = {self.host.releases[name] for name in names}
        manifests = [store.manifest(self.environment, digest) for digest in kept]
        bundles = {manifest["bundle"] for manifest in manifests}
        needing = [*manifests, *(store.bundle(self.environment, digest) for digest in bundles)]
        records = [record for record in journal.read(self.environment) if record["kind"] == "transaction"]
        ended = [record["transaction"] for record in records[-TRANSACTIONS:]]
        (hold,) = holds.read(self.environment).values()
        wanted = {
            "releases": {*kept, *(f"{digest}.json" for digest in kept)},
            "private": {f"{digest}.json" for digest in kept},
            "bundles": {f"{digest}.json" for digest in bundles},
            "blobs": {blob for record in needing for blob in release.blobs(record)},
            "evidence": {hold["transaction"]},
        }
        here = {folder: {path.name for path in (root / folder).iterdir()} for folder in wanted}
        here["tx"] = {path.stem for path in (root / "tx").iterdir()}
        wanted["tx"] = set(ended)
        here["logs"] = {path.name.split(".")[1] for path in (root / "logs").glob("deadman.*")}
        wanted["logs"] = set(ended)
        return [f"{folder}/{name}" for folder, found in here.items() for name in found - wanted[folder]]


@pytest.fixture(scope="module", params=["staged", "confirmed"])
def shelf(tmp_path_factory, request):
    folder = tmp_path_factory.mktemp("shelf")
    with kill_points.hosting(folder, "supervisord", os.fspath(folder / "host")) as host:
        yield Shelf(host, request.param)


@pytest.mark.parametrize(("row", "fault"), [("K3", "killed"), ("D3", "refused")])
def test_whatever_goes_wrong_while_releases_are_removed_only_those_go_and_later_all_of_them(shelf, row, fault):
    known = shelf.points()
    report = kill_points.Report(len(known))
    report.fill(fault, known, 0 if LONG else COUNT, lambda point, number: shelf.holds(fault, point, number))
    guarantees.tell(row, report.tried, report.held, report.figures(f"before it is {shelf.step}"))
    if report.problem:
        pytest.fail(report.problem, pytrace=False)
    assert not report.missed
