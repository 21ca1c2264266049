# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A host that is told lies: packs that are not what they say, releases that are not for it, files that change between
two steps. It refuses before anything moves.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import os
import secrets
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from ansible_collections.tetra.platform.plugins.module_utils.host import engine, holds, journal, running, store
from ansible_collections.tetra.platform.plugins.module_utils.model import canonical, pack, release
from ansible_collections.tetra.platform.plugins.plugin_utils import bundle, source

from ..single import Single, done

ADDRESS = "127.0.89.9"
KEPT = 3
WEB = {"web.tsm": "TSM_COMMAND=sleep\nTSM_ARGS=(1000)\nTSM_MIN_HEALTHY=0s\nexport KEY='${secret:KEY}'\n"}


@pytest.fixture(scope="module")
def host(tmp_path_factory) -> Iterator[Single]:
    """A host that had four releases, of which three are kept: ``names`` has them."""
    made = Single(tmp_path_factory.mktemp("single"), ADDRESS)
    made.names = {}
    try:
        for name in ("first", "second", "third", "fourth"):
            made.write(WEB, {"web/page": name})
            made.apply({})
            made.names[name] = store.current(made.environment)
        why = {"transaction": "t", "reason": "a test", "check": ""}
        holds.put(made.environment, store.manifest(made.environment, made.names["third"])["bundle"], why)
        yield made
    finally:
        made.down()


def state(host: Single) -> list:
    """What must not move: the release, the processes, what is kept of releases and transactions, the journal."""
    services = {name: (one["pid"], one["started"]) for name, one in running.observe(host.scope).items()}
    folder = Path(host.environment.root)
    kept = ("releases", "bundles", "tx", "holds")
    files = sorted(os.fspath(path) for name in kept for path in (folder / name).iterdir())
    return [store.current(host.environment), services, files, journal.head(host.environment)]


@pytest.fixture
def unmoved(host) -> Iterator[None]:
    """Nothing at all moves in this test."""
    # What earlier attempts left goes when the next one is staged, also when that is refused in the end.
    engine.retain(host.scope, KEPT)
    before = state(host)
    assert before[1]["web"][0]
    yield
    assert state(host) == before


def offered(host: Single, name: str = "offered") -> dict:
    """A request to stage something new."""
    host.write(WEB, {"web/page": name})
    return host.stage_request({})


def blob(data: bytes) -> tuple[str, int]:
    return hashlib.sha256(data).hexdigest(), len(data)


def packed(blobs: list, content: bytes, **more: object) -> bytes:
    """A pack that may lie."""
    return canonical.dumps({"format": 1, "blobs": blobs, **more}).encode() + b"\n" + content


GOOD = blob(b"good")
# What it is called, the pack, and a word of the reason.
PACKS = {
    "A11-one-byte-too-few": (packed([GOOD], b"goo"), "was damaged on its way"),
    "A11-one-byte-too-many": (packed([GOOD], b"good!"), "longer than its index"),
    "A11-other-bytes": (packed([GOOD], b"evil"), "was damaged on its way"),
    "A11-name-with-a-path": (packed([["../../../../etc/cron.d/x", 4]], b"good"), "is no sha256"),
    "A11-name-from-the-root": (packed([["/etc/cron.d/x", 4]], b"good"), "is no sha256"),
    "A11-name-in-capitals": (packed([[GOOD[0].upper(), 4]], b"good"), "is no sha256"),
    "A11-name-that-is-a-list": (packed([[["x"], 4]], b"good"), "is no sha256"),
    "A11-blob-twice": (packed([GOOD, GOOD], b"goodgood"), "announces a blob twice"),
    "A11-size-below-zero": (packed([[GOOD[0], -1]], b"good"), "has the size -1"),
    "A11-size-with-a-fraction": (packed([[GOOD[0], 4.0]], b"good"), "has the size 4.0"),
    "A11-size-of-a-truth": (packed([[GOOD[0], True]], b"good"), "has the size True"),
    "A11-blob-that-is-too-large": (packed([[GOOD[0], pack.MAX_BLOB + 1]], b""), "at most"),
    "A11-more-than-there-is-room-for": (packed([[f"{one:064x}", pack.MAX_BLOB] for one in range(200)], b""),
                                        "at most 8589934592 are taken"),
    "A11-a-mebibyte-of-names-without-bytes": (packed([[f"{one:064x}", 1] for one in range(15_000)], b""), "damaged"),
    "A11-index-without-an-end": (b"[" * 5_000_000, "does not begin with an index"),
    "A11-index-that-is-nested": (b"[" * 100_000 + b"\n", "does not begin with an index"),
    "A11-index-of-other-kinds": (packed("x", b""), "does not consist of"),  # type: ignore[arg-type]
    "A11-index-with-more-keys": (packed([GOOD], b"good", path="/etc"), "does not consist of"),
    "A11-newer-format": (packed([GOOD], b"good").replace(b'"format":1', b'"format":2'), "newer version"),
    "A11-no-pack-at-all": (b"\x1f\x8b\x08\x00", "does not begin with an index"),
    "A11-archive": (b"x.txt\0" + b"\0" * 600, "does not begin with an index"),
}  # fmt: skip


@pytest.mark.guarantee("A11")
@pytest.mark.parametrize("name", PACKS)
def test_a_pack_that_lies_is_refused_and_leaves_nothing(host, unmoved, name):
    content, said = PACKS[name]
    request = {**offered(host), "pack_bytes": base64.b64encode(content).decode()}
    begun = time.monotonic()
    answer = host.step("staged", host.identity(), stage=request)
    assert said in answer["error"]["message"], answer
    assert time.monotonic() - begun < 20
    assert not list(Path(host.environment.blobs).glob(".tmp-*"))
    # Those before the one that lies may stay, as each is what its name says.
    assert all(store.verify_blob(host.environment, name) for name in os.listdir(host.environment.blobs))


def test_the_pack_that_was_lied_about_is_taken_when_it_is_true(host):
    answer = done(host.step("staged", identity := host.identity(), stage=offered(host, "true")))
    assert (answer["state"], answer["blobs"] > 0) == ("staged", True)
    assert done(host.step("aborted", identity))["state"] == "aborted"


@contextlib.contextmanager
def waiting(make: Callable[[Path], object]) -> Iterator[str]:
    """The path of a pack that waits in the folder for packs."""
    path = Path(pack.path(secrets.token_hex(16)))
    make(path)
    try:
        yield os.fspath(path)
    finally:
        path.unlink(missing_ok=True)


def test_a_pack_that_waits_is_taken_and_gone(host):
    request = offered(host, "waits")
    content = base64.b64decode(request["pack_bytes"])
    with waiting(lambda path: path.write_bytes(content)) as path:
        identity = host.identity()
        assert done(host.step("staged", identity, stage={**request, "pack_bytes": None, "pack": path}))["blobs"]
        assert not os.path.lexists(path)
        done(host.step("aborted", identity))


@pytest.mark.guarantee("A11")
@pytest.mark.parametrize("name", ["A11-link-to-a-file", "A11-named-pipe", "A11-file-of-the-machine",
                                  "A11-path-upwards"])
def test_a_pack_is_taken_from_its_own_place_only(host, unmoved, tmp_path, name):
    secret = tmp_path / "secret"
    secret.write_bytes(base64.b64decode(offered(host, name)["pack_bytes"]))
    make = {"A11-link-to-a-file": lambda path: path.symlink_to(secret), "A11-named-pipe": os.mkfifo}.get(name)
    plain = {"A11-file-of-the-machine": os.fspath(secret), "A11-path-upwards": f"/tmp/../{secret}"}.get(name, "")
    with waiting(make) if make else contextlib.nullcontext(plain) as path:
        answer = host.step("staged", host.identity(), stage={**offered(host, name), "pack_bytes": None, "pack": path})
    assert "error" in answer, answer
    assert secret.exists(), "what is not a pack of ours is not removed either"


# What becomes of a staged release before it is switched to, and what is said.
CHANGES: dict[str, tuple[Callable[[Single, str], object], str]] = {
    "A19-file-of-the-release": (lambda host, name: page(host, name).write_text("evil"), "files/web/page"),
    "A19-file-of-the-same-length": (lambda host, name: page(host, name).write_text("A19-FILE-of-the-same-length"),
                                    "files/web/page"),
    "A19-file-that-may-be-run": (lambda host, name: page(host, name).chmod(0o755), "files/web/page"),
    "A19-file-that-is-a-link": (lambda host, name: relink(page(host, name), "/etc/passwd"), "files/web/page"),
    "A19-file-that-is-gone": (lambda host, name: page(host, name).unlink(), "files/web/page"),
    "A19-file-that-was-added": (lambda host, name: page(host, name).with_name("more").write_text(""), "files/web/more"),
    "A19-release-that-is-a-link": (lambda host, name: moved(tree(host, name)), "was changed on the host"),
    "A19-manifest-of-the-release": (lambda host, name: edited(manifest(host, name)), "is damaged"),
}


def tree(host: Single, name: str) -> Path:
    return Path(host.environment.releases, name)


def manifest(host: Single, name: str) -> Path:
    return Path(host.environment.releases, f"{name}.json")


def page(host: Single, name: str) -> Path:
    return tree(host, name) / "files" / "web" / "page"


def relink(path: Path, target: str) -> None:
    path.unlink()
    path.symlink_to(target)


def moved(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))
    path.symlink_to("elsewhere")


def edited(path: Path) -> None:
    path.write_text(path.read_text().replace("sleep", "slEEp"))


@pytest.mark.guarantee("A19")
@pytest.mark.parametrize("name", CHANGES)
def test_what_changes_between_stage_and_switch_is_not_switched_to(host, name):
    change, said = CHANGES[name]
    before = state(host)
    request = offered(host, name)
    identity = host.identity()
    done(host.step("staged", identity, stage=request))
    wanted = request["plan"]["release"]
    whole = manifest(host, wanted).read_text()
    change(host, wanted)
    answer = host.step("active", identity)
    assert answer["error"]["code"] == "refused", answer
    assert said in answer["error"]["message"]
    after = state(host)
    assert (after[0], after[1], after[3]) == (before[0], before[1], before[3])
    manifest(host, wanted).write_text(whole)
    done(host.step("aborted", identity))


def test_what_was_changed_is_laid_anew_by_the_next_stage(host):
    request = offered(host, "laid anew")
    first, wanted = host.identity(), request["plan"]["release"]
    done(host.step("staged", first, stage=request))
    page(host, wanted).write_text("evil")
    again = done(host.step("staged", host.identity(), stage={**request, "seen": [first]}))
    assert store.verify_release(host.environment, wanted) == []
    done(host.step("aborted", again["transaction"]))


@pytest.mark.guarantee("A19")
@pytest.mark.parametrize("flip", [0, -1], ids=["A19-first-byte-of-a-pack-on-its-way",
                                               "A19-last-byte-of-a-pack-on-its-way"])
def test_a_pack_that_changes_on_its_way_is_refused(host, unmoved, flip):
    request = offered(host, f"flip {flip}")
    content = bytearray(base64.b64decode(request["pack_bytes"]))
    content[content.index(b"\n") + 1 if flip == 0 else flip] ^= 1
    with waiting(lambda path: path.write_bytes(content)) as path:
        answer = host.step("staged", host.identity(), stage={**request, "pack_bytes": None, "pack": path})
        assert not os.path.lexists(path)
    assert "was damaged on its way" in answer["error"]["message"]


@pytest.mark.guarantee("A19")
@pytest.mark.parametrize("which", ["bundle", "manifest"], ids=["A19-another-bundle", "A19-another-release"])
def test_a_manifest_that_is_not_the_planned_one_is_refused(host, unmoved, which):
    request = offered(host, "planned")
    other = json.loads(json.dumps(request[which]))
    other["files"]["files/web/more"] = other["files"]["files/web/page"]
    answer = host.step("staged", host.identity(), stage={**request, which: other})
    assert "the manifest that came is not" in answer["error"]["message"]


def back(host: Single, name: str, **changes: object) -> dict:
    """A request to go back to a release, whose plan an attacker wrote."""
    request = {**offered(host), "pack_bytes": None, "manifest": None, "bundle": None, "lift_hold": ""}
    known = manifest(host, name).exists()
    record = {**request["plan"], "action": "rollback", "release": name, "ports": {}, "secrets": {},
              "bundle": store.manifest(host.environment, name)["bundle"] if known else "0" * 64}
    return {**request, "plan": {**record, **changes}}


def taken_back(host: Single) -> str:
    """A release that was switched to, taken back and put on hold; the next one that is staged removes it."""
    host.write(WEB, {"web/page": f"taken back {time.monotonic()}"})
    switched = host.switch({})
    name = store.current(host.environment)
    done(host.step("rolled_back", switched["transaction"], cause={"reason": "a test", "verdict": True}))
    return name


def never_confirmed(host: Single) -> dict:
    """A release that was staged and given up."""
    request = offered(host, "given up")
    identity = host.identity()
    done(host.step("staged", identity, stage=request))
    done(host.step("aborted", identity))
    return back(host, request["plan"]["release"])


def of_another(host: Single, **changes: str) -> dict:
    """A release of the same sources, made for another environment or organization."""
    origin = source.read(host.org)
    built = bundle.build(origin, "dev", bundle.services(origin, "dev"), {}, {"KEY": "0" * 64}, "k")
    record = {**built.manifest, **changes}
    name = release.digest(record)
    return {**back(host, name, bundle=record["bundle"]), "manifest": record}


def disguised(host: Single) -> dict:
    """The release that is on hold, as if it were of a bundle that is not."""
    good = store.manifest(host.environment, host.names["second"])
    return back(host, host.names["third"], bundle=good["bundle"])


# What somebody wants to go back to, and what is said.
WAYS: dict[str, tuple[Callable[[Single], dict], str]] = {
    "A29-never-confirmed": (never_confirmed, "was never confirmed here"),
    "A29-taken-back": (lambda host: back(host, taken_back(host)), "was never confirmed here"),
    "A29-held": (lambda host: back(host, host.names["third"]), "is on hold"),
    "A29-held-under-another-bundle": (disguised, "is not of bundle"),
    "A29-of-another-environment": (lambda host: of_another(host, env="prod"), "was never confirmed here"),
    "A29-of-another-organization": (lambda host: of_another(host, org="other"), "was never confirmed here"),
    "A29-push-of-another-environment": (
        lambda host: pushed(of_another(host, env="prod")), "prod"),
    "A29-push-of-another-organization": (
        lambda host: pushed(of_another(host, org="other")), "other"),
    "A29-taken-back-with-the-hold-lifted": (
        lambda host: {**back(host, taken_back(host)), "lift_hold": "because"}, "was never confirmed here"),
    "A29-pruned": (lambda host: back(host, host.names["first"]), "is not on this host"),
    "A29-never-there": (lambda host: back(host, "1" * 64), "is not on this host"),
    "A29-path-instead-of-a-name": (lambda host: back(host, "../../../../../etc"), ""),
    "A29-plan-of-another-base": (
        lambda host: back(host, host.names["second"], hosts={"here": {"from": host.names["second"], "epoch": 2}}),
        "the base moved"),
}  # fmt: skip


def pushed(request: dict) -> dict:
    return {**request, "plan": {**request["plan"], "action": "push"}, "pack_bytes": ""}


@pytest.mark.guarantee("A29")
@pytest.mark.parametrize("name", WAYS)
def test_a_way_back_that_is_none_is_refused_before_anything_moves(host, name):
    make, said = WAYS[name]
    request = make(host)
    before = state(host)
    answer = host.step("staged", host.identity(), stage=request)
    assert "error" in answer, answer
    assert said in answer["error"]["message"], answer
    assert state(host) == before


def test_the_way_back_that_is_one_is_taken(host):
    identity = host.identity()
    done(host.step("staged", identity, stage=back(host, host.names["second"])))
    done(host.step("active", identity))
    assert done(host.step("confirmed", identity))["release"] == host.names["second"]
