# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where everything lies on a host, and who may read it."""

from __future__ import annotations

import os
import stat

import pytest
from ansible_collections.tetra.platform.plugins.module_utils.host.layout import Home
from ansible_collections.tetra.platform.plugins.module_utils.model.errors import REFUSED, TetraError

PUBLIC = ["blobs", "bundles", "holds", "releases", "stopped"]
PRIVATE = ["evidence", "logs", "private", "run", "tx"]


@pytest.fixture
def home(tmp_path):
    return Home(os.fspath(tmp_path / "tetra"))


@pytest.mark.parametrize(
    ("tetra_dir", "root"),
    [
        ("/var/lib/tetra", "/var/lib/tetra"),
        ("/var/lib/tetra/", "/var/lib/tetra"),
        ("/var//lib/./tetra", "/var/lib/tetra"),
        ("//var/lib/tetra", "/var/lib/tetra"),
        ("/srv/with blank/tétra", "/srv/with blank/tétra"),
        ("/.tetra", "/.tetra"),
        (f"/{'x' * 200}", f"/{'x' * 200}"),
    ],
)
def test_a_plain_absolute_path_is_taken(tetra_dir, root):
    assert Home(tetra_dir).root == root


@pytest.mark.parametrize(
    "tetra_dir",
    [
        "", "/", "//", "/.", "tetra", "./tetra", "~/tetra", "/var/../tetra", "/var/lib/..",
        "/tetra\n", "/te\0tra", "/te\ttra", "/te\x1btra", "/te;tra", "/te\udc80tra",
    ],
)  # fmt: skip
def test_any_other_path_is_refused(tetra_dir):
    with pytest.raises(TetraError, match="is not an absolute path"):
        Home(tetra_dir)


def test_everything_of_an_environment_lies_below_it(home):
    environment = home.environment("acme", "dev")
    assert environment.root == f"{home.root}/orgs/acme/dev"
    assert environment.current == f"{environment.root}/current"
    assert environment.lock == f"{environment.root}/lock"
    assert environment.journal == f"{environment.root}/journal.jsonl"
    for name in PUBLIC + PRIVATE:
        assert getattr(environment, name) == f"{environment.root}/{name}"


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "Acme", "a_b", "-a", "1a", "a\n", "a" * 64])
@pytest.mark.parametrize("kind", ["organization", "environment"])
def test_a_name_that_is_not_one_is_refused(home, name, kind):
    names = {"organization": "acme", "environment": "dev", kind: name}
    with pytest.raises(TetraError, match=kind):
        home.environment(names["organization"], names["environment"])


def test_what_holds_secrets_or_logs_is_for_its_owner_alone(home):
    environment = home.environment("acme", "dev")
    environment.prepare()
    modes = {name: stat.S_IMODE(os.stat(f"{environment.root}/{name}").st_mode) for name in PUBLIC + PRIVATE}
    assert modes == {**dict.fromkeys(PUBLIC, 0o755), **dict.fromkeys(PRIVATE, 0o700)}
    assert stat.S_IMODE(os.stat(environment.root).st_mode) == 0o755


def test_preparing_again_changes_nothing(home):
    environment = home.environment("acme", "dev")
    environment.prepare()
    before = {name: os.stat(f"{environment.root}/{name}").st_mtime_ns for name in PUBLIC + PRIVATE}
    environment.prepare()
    assert {name: os.stat(f"{environment.root}/{name}").st_mtime_ns for name in PUBLIC + PRIVATE} == before


@pytest.mark.parametrize("planted", ["tetra", "tetra/orgs", "tetra/orgs/acme", "tetra/orgs/acme/dev"])
def test_a_link_that_somebody_planted_is_not_followed(tmp_path, home, planted):
    victim = tmp_path / "victim"
    victim.mkdir()
    (tmp_path / planted).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / planted).symlink_to(victim)
    with pytest.raises(TetraError, match="is not a folder") as caught:
        home.environment("acme", "dev").prepare()
    assert caught.value.code == REFUSED
    assert os.listdir(victim) == []


def test_a_folder_that_others_may_write_to_is_refused(tmp_path, home):
    (tmp_path / "tetra").mkdir()
    (tmp_path / "tetra").chmod(0o777)
    with pytest.raises(TetraError, match="others may write"):
        home.environment("acme", "dev").prepare()


def test_what_killed_runs_left_anywhere_is_swept(home):
    environment = home.environment("acme", "dev")
    environment.prepare()
    for name in ["", *PUBLIC, *PRIVATE]:
        with open(os.path.join(environment.root, name, ".tmp-left"), "wb"):
            pass
    environment.sweep()
    left = [name for _folder, _folders, names in os.walk(environment.root) for name in names]
    assert left == []


def test_an_environment_that_was_never_prepared_is_swept_without_a_word(home):
    home.environment("acme", "dev").sweep()
    assert not os.path.exists(home.root)


def test_the_environments_of_a_host_are_its_folders_with_valid_names(home):
    assert home.environments() == []
    for path in ("b/dev", "a/prod", "a/dev", "a/Not-Valid", "a/.tmp-0123", "B/dev"):
        os.makedirs(os.path.join(home.root, "orgs", path))
    os.symlink("dev", os.path.join(home.root, "orgs", "a", "linked"))
    with open(os.path.join(home.root, "orgs", "a", "file"), "w", encoding="ascii"):
        pass
    found = [(environment.org, environment.env) for environment in home.environments()]
    assert found == [("a", "dev"), ("a", "prod"), ("b", "dev")]
