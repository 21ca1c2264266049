# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
import pytest
from ansible_collections.tetra.platform.plugins.module_utils.model import rollback
from ansible_collections.tetra.platform.plugins.module_utils.model.errors import REFUSED, TetraError

A, B, C = ("a" * 64, "b" * 64, "ab" * 32)


def host(current=B, history=(A, B), held=(), releases=(A, B, C)):
    return {
        "current": current, "holds": {f"bundle {name}": {} for name in held},
        "history": [{"release": name, "time": f"T{number}"} for number, name in enumerate(history)],
        "releases": {name: {"bundle": f"bundle {name}"} for name in releases},
    }  # fmt: skip


@pytest.mark.parametrize(("observed", "expected"), [
    (host(), A),
    (host(current=C, history=(A, B, C)), B),
    (host(current=C, history=(A, B, C), held=[B]), A),
    (host(current=B, history=(A, B, C, B), held=[C]), A),
    (host(current=A, history=(A, B, A), held=[B]), None),
    (host(current=A, history=(A,)), None),
    (host(releases=[B]), None),
])  # fmt: skip
def test_it_goes_to_the_newest_good_release_before(observed, expected):
    if expected:
        assert rollback.target({"h1": observed}) == expected
    else:
        with pytest.raises(TetraError, match="no confirmed release"):
            rollback.target({"h1": observed})


def test_hosts_that_would_go_back_to_different_releases_are_refused():
    with pytest.raises(TetraError, match="different releases"):
        rollback.target({"h1": host(), "h2": host(current=C, history=(A, B, C))})


@pytest.mark.parametrize(("name", "expected"), [(A[:4], A), (A, A), (B[:12], B)])
def test_it_goes_to_a_confirmed_release_by_the_beginning_of_its_name(name, expected):
    # A hold is for the plan to see, which a person may lift.
    assert rollback.target({"h1": host(held=[A]), "h2": host()}, name) == expected


THREE = host(current=C, history=(A, B, C))


@pytest.mark.parametrize(("hosts", "name", "message"), [
    ({"h1": host()}, "ffff", "no confirmed release begins with ffff (there are aaaaaaaaaaaa of T0)"),
    ({"h1": host(releases=[B])}, "ffff",
     "no confirmed release begins with ffff (push or promote a good bundle instead)"),
    ({"h1": host()}, C, f"no confirmed release begins with {C} (there are aaaaaaaaaaaa of T0)"),
    ({"h1": THREE}, "a",
     "more than one confirmed release begins with a (there are bbbbbbbbbbbb of T1, aaaaaaaaaaaa of T0)"),
    ({"h1": THREE, "h2": host(current=C, history=(B, C))}, A[:4],
     "release aaaaaaaaaaaa was never confirmed on h2 (there are bbbbbbbbbbbb of T1)"),
    ({"h1": THREE, "h2": host(current=C, history=(A, B, C), releases=[B, C])}, A[:4],
     "what release aaaaaaaaaaaa needs is no longer on h2: its files, or the secrets that it ran with (there are "
     "bbbbbbbbbbbb of T1)"),
])  # fmt: skip
def test_it_is_refused_before_anything_moves(hosts, name, message):
    with pytest.raises(TetraError) as error:
        rollback.target(hosts, name)
    assert (error.value.code, str(error.value)) == (REFUSED, message)
