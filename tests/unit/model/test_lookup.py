# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which services a word means."""

from __future__ import annotations

import pytest
from ansible_collections.tetra.platform.plugins.module_utils.model import lookup
from ansible_collections.tetra.platform.plugins.module_utils.model.errors import INVALID, TetraError

SERVICES = lookup.numbered([
    ("acme", "prod", "web"), ("acme", "dev", "web"), ("acme", "dev", "web-admin"), ("acme", "dev", "worker"),
    ("beta", "dev", "mailer2"),
])  # fmt: skip


def paths(found):
    return [one.path for one in found]


def test_services_are_numbered_by_organization_environment_and_name():
    assert [(one.number, one.path) for one in SERVICES] == [
        (0, "acme/dev/web"), (1, "acme/dev/web-admin"), (2, "acme/dev/worker"), (3, "acme/prod/web"),
        (4, "beta/dev/mailer2"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["0"], ["acme/dev/web"]),
        (["004"], ["beta/dev/mailer2"]),
        (["worker"], ["acme/dev/worker"]),
        (["prod/web"], ["acme/prod/web"]),
        (["acme/dev/web"], ["acme/dev/web"]),
        (["work"], ["acme/dev/worker"]),
        (["admin"], ["acme/dev/web-admin"]),
        (["Web_Admin"], ["acme/dev/web-admin"]),
        (["dev/adm"], ["acme/dev/web-admin"]),
        (["3", "worker", "prod/web"], ["acme/dev/worker", "acme/prod/web"]),
        (["prod/*"], ["acme/prod/web"]),
        (["beta/dev/all"], ["beta/dev/mailer2"]),
        (["*"], paths(SERVICES)),
        (["all", "2"], paths(SERVICES)),
        ([], []),
    ],
)
def test_a_word_means_a_service(words, found):
    assert paths(lookup.find(words, SERVICES)) == found


@pytest.mark.parametrize(
    ("word", "candidates"),
    [
        ("web", ["0  acme/dev/web", "3  acme/prod/web"]),
        ("w", ["0  acme/dev/web", "1  acme/dev/web-admin", "2  acme/dev/worker", "3  acme/prod/web"]),
        ("dev/er", ["2  acme/dev/worker", "4  beta/dev/mailer2"]),
    ],
)
def test_a_word_that_may_mean_several_is_refused_with_all_of_them(word, candidates):
    with pytest.raises(TetraError) as caught:
        lookup.find([word], SERVICES)
    assert [line.strip() for line in caught.value.message.splitlines()[1:]] == candidates
    assert caught.value.code == INVALID


@pytest.mark.parametrize(
    "word", ["5", "9" * 30, "\u0663", "", "/", "dev/", "nothing", "acme/web", "x/acme/dev/web", "qa/*", "prod/worker"]
)
def test_a_word_that_means_none_is_refused(word):
    with pytest.raises(TetraError, match="there is no service"):
        lookup.find([word], SERVICES)


def test_an_unknown_word_names_the_nearest_service_or_what_there_is():
    with pytest.raises(TetraError) as caught:
        lookup.find(["wroker"], SERVICES)
    assert "did you mean worker?" in caught.value.hint
    with pytest.raises(TetraError, match="4  beta/dev/mailer2"):
        lookup.find(["zzz"], SERVICES)
    with pytest.raises(TetraError, match="nor any other"):
        lookup.find(["web"], [])


def test_a_long_list_is_cut():
    many = lookup.numbered([("acme", "dev", f"web-{number:03}") for number in range(100)])
    with pytest.raises(TetraError) as caught:
        lookup.find(["web"], many)
    assert len(caught.value.message.splitlines()) == 22
    assert "80 more" in caught.value.message


def test_all_of_nothing_is_nothing():
    assert lookup.find(["*"], []) == []


@pytest.mark.parametrize(
    ("org", "env", "numbers"),
    [(None, None, [0, 1, 2, 3, 4]), ("acme", None, [0, 1, 2, 3]), (None, "dev", [0, 1, 2, 4]), ("beta", "dev", [4]),
     ("beta", "prod", [])],
)  # fmt: skip
def test_a_narrowed_list_keeps_its_numbers(org, env, numbers):
    inside = lookup.narrowed(SERVICES, org, env)
    assert [one.number for one in inside] == numbers
    if (org, env) == ("beta", "dev"):
        assert paths(lookup.find(["4"], inside)) == ["beta/dev/mailer2"]
        with pytest.raises(TetraError):
            lookup.find(["0"], inside)
