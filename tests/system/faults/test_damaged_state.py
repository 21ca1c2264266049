# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every kind of state file of a host is damaged in every way, before every step. What cannot be trusted is named, with
what to do, and nothing else changes; what is certain all the same is used. Then what the error says is done, and helps.
"""

from __future__ import annotations

import itertools
import os
import re
import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import pytest
from ansible_collections.tetra.platform.plugins.module_utils.host import (
    engine,
    holds,
    membership,
    running,
    store,
    transactions,
)
from ansible_collections.tetra.platform.plugins.module_utils.host.operations import index, preparation
from ansible_collections.tetra.platform.plugins.module_utils.model import transaction
from ansible_collections.tetra.platform.plugins.module_utils.model.errors import TetraError

from .. import invariants
from ..conftest import LONG, get
from ..single import SECRET, Single, done

ADDRESS = "127.0.84.3"
PORT, EARLIER = 4300, 4301
SERVICE = """\
TSM_COMMAND='exec python3 -m http.server $PORT --bind $HOST --directory ${TETRA_RELEASE_DIR}/files/api'
TSM_PORT=auto
TSM_HEALTH_CHECK=http://127.0.0.1:${TSM_PORT}/page
TSM_MIN_HEALTHY=0s
export KEY=${secret:KEY}
"""
HELD = "ab" * 32
NUMBERS = itertools.count(1)


def write(host: Single) -> str:
    """Make another release of the organization; what its page says."""
    page = f"page {next(NUMBERS)}"
    host.write({"api.tsm": SERVICE}, {"api/page": page})
    return page


@pytest.fixture(scope="module")
def host(tmp_path_factory):
    """A host that has every kind of state file."""
    made = Single(tmp_path_factory.mktemp("single"), ADDRESS)
    try:
        for port in (PORT, EARLIER, PORT):
            write(made)
            made.apply({"api": port})
        with engine.locked(made.scope):
            holds.put(made.environment, HELD, {"transaction": "", "reason": "a test", "check": ""})
            taken_out = {"actor": "test", "reason": "a test", "time": engine.now()}
            membership.change(made.environment, "gone", membership.REMOVED, taken_out)
        yield made
    finally:
        made.down()


def ask(host: Single, operation: str, **request: object) -> dict:
    """What the agent would answer; a process of its own for each question would take long."""
    whole = {"tetra_dir": os.fspath(host.root), "org": "acme", "env": "dev", **request}
    try:
        return {"result": index.run(operation, whole)}
    except TetraError as error:
        return {"error": {"message": error.message, "hint": error.hint, "code": error.code}}
    except OSError as error:
        return {"error": index.disk_error(error)}


def flipped(text: bytes) -> bytes:
    """A text with another byte in its middle; where there was none, with one."""
    if not text:
        return b"x"
    place = len(text) // 2
    return text[:place] + bytes([text[place] ^ 4]) + text[place + 1 :]


# What a file holds then; nothing stands for a folder in its place, and for nothing at all.
DAMAGES: Mapping[str, Callable[[bytes], bytes] | None] = {
    "empty": lambda _text: b"",
    "flipped": flipped,
    "binary": lambda _text: bytes(range(256)),
    "newer": lambda text: text.replace(b'"format":1', b'"format":99'),
    "folder": None,
    "missing": None,
}


class Damage:
    """Damages a file; and puts it back, as from a backup."""

    def __init__(self, path: Path, how: str) -> None:
        self.path = path
        self._link = os.readlink(path) if path.is_symlink() else ""
        self._text = b"" if self._link else path.read_bytes()
        self._status = path.lstat()
        path.unlink()
        change = DAMAGES[how]
        if how == "folder":
            path.mkdir()
        elif change and self._link and how == "flipped":
            path.symlink_to(f"{self._link[:-1]}{'0' if self._link[-1] != '0' else '1'}")
        elif change:
            path.write_bytes(change(self._text))
            path.chmod(self._status.st_mode & 0o7777)
        self._left = look(path)

    def remains(self) -> bool:
        """Whether nobody has mended the file."""
        return look(self.path) == self._left

    def undo(self) -> None:
        """Put back what was there."""
        self.remove()
        if self._link:
            self.path.symlink_to(self._link)
        else:
            self.path.write_bytes(self._text)
            self.path.chmod(self._status.st_mode & 0o7777)
            os.utime(self.path, ns=(self._status.st_atime_ns, self._status.st_mtime_ns))

    def remove(self) -> None:
        """Remove what is there now."""
        if self.path.is_dir() and not self.path.is_symlink():
            shutil.rmtree(self.path)
        else:
            self.path.unlink(missing_ok=True)


def look(path: Path) -> object:
    """What is in a place."""
    if path.is_symlink():
        return os.readlink(path)
    return path.read_bytes() if path.is_file() else path.is_dir()


# What was stored beside the rest, and is of no use to anybody yet, may stay; so may the logs.
INERT = ("blobs", "bundles", "releases", "private", "logs", "supervisor", "evidence")


def state(host: Single) -> dict[str, object]:
    """All that a step would change on a host, the process of its service included."""
    found = {os.fspath(path): look(path) for path in sorted(host.root.rglob("*"))
             if not set(INERT) & set(path.relative_to(host.root).parts) and path.suffix != ".lock"}
    return {**found, "processes": host.scope.supervisor.states([host.scope.unit("api")])}


def at_rest(host: Single) -> None:
    """Give up what is staged or open."""
    for identity, now in transactions.states(host.environment).items():
        if now == transaction.STAGED:
            done(ask(host, "release", state="aborted", transaction=identity))
        elif now in transaction.OPEN:
            done(ask(host, "release", state="rolled_back", transaction=identity))
    host.settle()


Error = Mapping[str, str]


def push_the_same(host: Single, _damage: Damage, _error: Error) -> None:
    """Push once more what the host runs."""
    at_rest(host)
    page = get(f"http://{ADDRESS}:{PORT}/page")[1]
    host.write({"api.tsm": SERVICE}, {"api/page": page})
    host.apply({"api": PORT})


def prepare(host: Single, _damage: Damage, _error: Error) -> None:
    preparation.agent(host.prepared)


def remove(_host: Single, damage: Damage, _error: Error) -> None:
    damage.remove()


def restore(_host: Single, damage: Damage, _error: Error) -> None:
    damage.undo()


def rename(_host: Single, damage: Damage, error: Error) -> None:
    """Rename the record of a transaction as the error says; of one that is gone there is nothing to rename."""
    if os.path.lexists(damage.path):
        damage.path.rename(damage.path.with_name(re.search(r"rename it to (\S+);", error["hint"])[1]))


def write_into_it(_host: Single, damage: Damage, error: Error) -> None:
    """Write the lines that the error gives; of what is no text the backup is taken."""
    said = re.search(r"below (\[.*?\]): (.*)$", error.get("hint", ""))
    damage.undo()
    if said:
        damage.path.write_text(f"{said[1]}\n" + said[2].replace(", ", "\n") + "\n")


def begin_anew(host: Single, damage: Damage, error: Error) -> None:
    """Move the files of the transactions away that the error names; of what is no journal the backup is taken."""
    names = re.findall(r"[0-9]{8}t[0-9]{6}-[0-9a-f]{8}", error.get("message", ""))
    for path in (path for name in names for path in Path(host.environment.tx).glob(f"{name}.*")):
        path.unlink()
    if not names:
        damage.undo()


class Kind(NamedTuple):
    """A kind of state file: where it is, how what the error about it says is done, and in which steps it is there."""

    path: Callable[[Single, str], str]
    help: Callable[[Single, Damage, Error], None] = restore
    steps: tuple[str, ...] = ("look", "stage", "activate", "confirm", "roll-back", "deadman")


def of_current(folder: str) -> Callable[[Single, str], str]:
    return lambda host, _identity: os.path.join(getattr(host.environment, folder),
                                                f"{store.current(host.environment)}.json")  # fmt: skip


def bundle_file(host: Single, _identity: str) -> str:
    bundle = store.manifest(host.environment, store.current(host.environment))["bundle"]
    return os.path.join(host.environment.bundles, f"{bundle}.json")


def blob_file(host: Single, _identity: str) -> str:
    current = store.manifest(host.environment, store.current(host.environment))
    return os.path.join(host.environment.blobs, current["files"]["files/api/page"]["sha256"])


def record_file(host: Single, identity: str) -> str:
    return os.path.join(host.environment.tx, f"{identity}.{transactions.states(host.environment)[identity]}")


def ended_file(host: Single, _identity: str) -> str:
    known = transactions.states(host.environment)
    return record_file(host, [name for name, now in known.items() if now == transaction.CONFIRMED][-1])


def beside(part: str) -> Kind:
    return Kind(lambda host, identity: os.path.join(host.environment.tx, f"{identity}.{part}"),
                steps=("confirm", "roll-back", "deadman"))  # fmt: skip


def configured(name: str, help: Callable[[Single, Damage, Error], None]) -> Kind:
    return Kind(lambda host, _identity: os.path.join(host.scope.home.config, name), help)


KINDS: Mapping[str, Kind] = {
    "current": Kind(lambda host, _identity: host.environment.current, remove),
    "release": Kind(of_current("releases"), push_the_same),
    "private": Kind(of_current("private"), push_the_same),
    "bundle": Kind(bundle_file),
    "blob": Kind(blob_file),
    "launch": Kind(lambda host, _identity: running.launch_path(host.scope, "api")),
    "script": Kind(lambda host, _identity: running.script_path(host.scope, "api")),
    "journal": Kind(lambda host, _identity: host.environment.journal, begin_anew),
    "hold": Kind(lambda host, _identity: os.path.join(host.environment.holds, f"{HELD}.json")),
    "removed": Kind(lambda host, _identity: os.path.join(host.environment.removed, "gone.json")),
    "settings": configured("host.json", prepare),
    "registry": configured("ports.toml", write_into_it),
    "released": configured("ports.released.json", remove),
    "key": configured("digest.key", prepare),
    "ended": Kind(ended_file),
    "transaction": Kind(record_file, rename, steps=("activate", "confirm", "roll-back", "deadman")),
    "lease": beside("lease"),
    "holder": beside("holder"),
    "watcher": beside("watcher"),
    "decision": beside("decision"),
    "proven": beside("proven"),
}


def end_the_lease(host: Single, identity: str) -> dict:
    """Have the deadman take the host back, unless it cannot know how; then look at the host."""
    if transactions.seconds_left(host.environment, identity) > 0:
        transactions.write_lease(host.environment, identity, 0, 0)
    end = time.monotonic() + 3
    while transactions.states(host.environment).get(identity) in transaction.OPEN and time.monotonic() < end:
        time.sleep(0.05)
    return ask(host, "release_info")


def taken_to(name: str) -> Callable[[Single, str], dict]:
    return lambda host, identity: ask(host, "release", state=name, transaction=identity)


STEPS: Mapping[str, Callable[[Single, str], dict]] = {
    "look": lambda host, _identity: ask(host, "release_info"),
    "stage": lambda host, identity: ask(host, "release", state="staged", transaction=identity, stage=host.planned),
    # It signs as the one that works on the transaction, whom a deadman ends.
    "activate": lambda host, identity: host.step("active", identity),
    "confirm": taken_to("confirmed"),
    "roll-back": taken_to("rolled_back"),
    "deadman": end_the_lease,
}


NOT_NEEDED, DRIFT, TOLD = "not needed", "drift", "told"
# What becomes of each kind when a host is only looked at, by damage; a registry that is still one counts as edited, and
# of hold and removed the name of the file says all that is needed.
LOOKS: Mapping[str, Mapping[str, str]] = {
    "current": {**dict.fromkeys(DAMAGES, TOLD), "flipped": DRIFT, "missing": DRIFT},
    "release": dict.fromkeys(DAMAGES, DRIFT),
    "private": {**dict.fromkeys(DAMAGES, DRIFT)},
    "launch": {**dict.fromkeys(DAMAGES, DRIFT), "newer": TOLD},
    "script": {**dict.fromkeys(DAMAGES, DRIFT), "newer": NOT_NEEDED},
    "journal": {**dict.fromkeys(DAMAGES, TOLD), "empty": NOT_NEEDED, "missing": NOT_NEEDED},
    "hold": {**dict.fromkeys(DAMAGES, NOT_NEEDED), "newer": TOLD},
    "settings": dict.fromkeys(DAMAGES, TOLD),
    # It is a file that people edit: another byte in it may well be what somebody wanted.
    "registry": {**dict.fromkeys(DAMAGES, TOLD), "flipped": f"{NOT_NEEDED} or {TOLD}", "newer": NOT_NEEDED},
    "released": {**dict.fromkeys(DAMAGES, TOLD), "missing": NOT_NEEDED},
    "key": {**dict.fromkeys(DAMAGES, TOLD), "flipped": NOT_NEEDED, "newer": NOT_NEEDED},
}


def cases():
    """At rest every damage of every kind, else some of them, or all with ``make test-long``."""
    for place, (kind, found) in enumerate(KINDS.items()):
        for number, how in enumerate(DAMAGES):
            for turn, step in enumerate(STEPS):
                chosen = LONG or step == "look" or (turn == (place + number) % 6 and number == place % 6)
                if chosen and step in found.steps:
                    yield pytest.param(kind, how, step, marks=pytest.mark.guarantee("F08"),
                                       id=f"F08-{kind}-{how}-{step}")  # fmt: skip


@pytest.mark.parametrize(("kind", "how", "step"), [*cases()])
def test_a_damaged_file_is_named_or_not_needed_and_the_host_gets_well(host, kind, how, step):
    page, identity = write(host), host.identity()
    if step == "stage":
        host.planned = host.stage_request({"api": PORT})
    elif step != "look":
        identity = host.stage({"api": PORT})
    if step not in ("look", "stage", "activate"):
        assert done(host.step("active", identity))["state"] == transaction.PROBING
        transactions.write_decision(host.environment, identity, {"decision": "confirm", "hosts": ["here"]})
    damage = Damage(Path(KINDS[kind].path(host, identity)), how)
    before = state(host)
    answer = STEPS[step](host, identity)
    error = answer.get("error", {})
    if step == "look":
        seen = TOLD if error else DRIFT if answer["result"]["drift"] else NOT_NEEDED
        assert seen in LOOKS.get(kind, {}).get(how, NOT_NEEDED), answer
    if error:
        assert_is_told(host, damage.path, error)
    if error and step not in ("roll-back", "deadman"):
        assert state(host) == before
    if step == "look" and not error:
        return damage.undo()
    if damage.remains():
        # What a newer version wrote is for that version.
        (restore if how == "newer" else KINDS[kind].help)(host, damage, error)
    at_rest(host)
    page = write(host)
    host.apply({"api": PORT})
    assert get(f"http://{ADDRESS}:{PORT}/page") == (200, page)
    assert invariants.broken(host.scope, {store.current(host.environment)}, SECRET) == []
    if not damage.path.exists() and damage.path.parent.name in ("holds", "removed", "config"):
        damage.undo()
    return None


def assert_is_told(host: Single, path: Path, error: Error) -> None:
    """The error names the file, or says what its absence means, and what to do."""
    assert error["code"] in (transaction.REFUSED, transaction.INVALID), error
    assert error["hint"], error
    absence = ("the base moved", f"{host.root} was never prepared", "this host knows no transaction")
    assert os.fspath(path) in error["message"] or error["message"].startswith(absence), error
