# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One bundle through several environments in one run, until one of them does not take it."""

from __future__ import annotations

import pytest

from .conftest import Fleet, Run, tree
from .faults.controllers import current

NETWORK = 96
PATH = {"dev": "dev-1", "staging": "staging-1", "prod": "staging-1"}
"""The environments, each with a host of it; production runs beside staging."""
ENVIRONMENTS = {
    "dev": {"port_range": "4100-4199", "lease": "30s"},
    "staging": {"promotes_from": "dev", "port_range": "4200-4299", "lease": "30s"},
    "prod": {"hosts": "staging", "promotes_from": "staging", "port_range": "4300-4399", "lease": "30s"},
    "lab": {"hosts": "dev"},
}


@pytest.fixture(scope="module")
def rolled_out(fleet) -> Fleet:
    """A fleet in which one bundle went to all environments."""
    fleet.variables |= {"tetra_probe_passes": 1, "tetra_environments": ENVIRONMENTS}
    fleet.only("api")
    run = rollout(fleet)
    assert (run.code, run.outcome) == (0, "applied"), run.output
    assert run.result["environments"] == dict.fromkeys(PATH, "applied")
    return fleet


def rollout(fleet: Fleet, *options: str, envs: object = "dev,staging,prod", **variables: object) -> Run:
    """Run the playbook."""
    return fleet.play("rollout", *options, tetra_envs=envs, **variables)


def bundles(fleet: Fleet) -> dict[str, str]:
    """The bundle that each environment runs."""
    found = {env: fleet.status(env)[host] for env, host in PATH.items()}
    return {env: host["bundle"] for env, host in found.items()}


def test_every_environment_gets_the_bundle_and_the_next_run_changes_nothing(rolled_out):
    assert len(set(bundles(rolled_out).values())) == 1
    before = tree(rolled_out.state)
    run = rollout(rolled_out, envs=["dev", "staging", "prod"])
    assert (run.code, run.outcome) == (0, "unchanged"), run.output
    assert run.result["environments"] == dict.fromkeys(PATH, "unchanged")
    assert not [line for line in run.output.splitlines() if "changed=" in line and "changed=0 " not in line]
    assert tree(rolled_out.state) == before


def test_check_mode_ends_where_the_next_environment_would_get_what_is_not_there_yet(rolled_out):
    rolled_out.touch("checked")
    before = tree(rolled_out.state)
    run = rollout(rolled_out, "--check", "--diff")
    assert (run.code, run.outcome) == (0, "unchanged"), run.output
    assert run.result["environments"] == {"dev": "unchanged", "staging": None, "prod": None}
    assert "api: restart" in run.output
    assert tree(rolled_out.state) == before


def test_it_stops_where_an_environment_goes_back(rolled_out):
    before = bundles(rolled_out)
    file = rolled_out.org / "environments" / "staging.toml"
    text = file.read_text()
    file.write_text(f'{text}COMMAND = "sleep 600"\n')
    run = rollout(rolled_out)
    assert run.code != 0
    # One environment is on, the others are not.
    assert run.outcome == "partial", run.output
    assert run.result["environments"] == {"dev": "applied", "staging": "rolled_back", "prod": None}
    assert "rollout: dev applied, staging rolled_back, prod not yet" in run.output
    after = bundles(rolled_out)
    assert (after["staging"], after["prod"]) == (before["staging"], before["prod"])
    assert after["dev"] not in before.values()
    # The bundle is on hold there now, which nothing before it is.
    again = rollout(rolled_out)
    assert (again.outcome, again.result["environments"]) == (
        "refused", {"dev": "unchanged", "staging": "refused", "prod": None})  # fmt: skip
    file.write_text(text)
    assert rollout(rolled_out).result["environments"] == dict.fromkeys(PATH, "applied")


def test_it_begins_with_a_promotion_where_the_first_environment_takes_bundles_from_another(rolled_out):
    rolled_out.touch("pushed before")
    assert rolled_out.push().outcome == "applied"
    rolled_out.touch("not pushed")
    run = rollout(rolled_out, envs="staging prod")
    assert run.result["environments"] == {"staging": "applied", "prod": "applied"}, run.output
    assert len(set(bundles(rolled_out).values())) == 1


@pytest.mark.parametrize(
    ("envs", "variables", "said"),
    [
        ("", {}, "no environment is named"),
        ("dev,stagin", {}, "did you mean staging?"),
        ("dev,prod", {}, "name staging before prod"),
        ("prod,staging", {}, "in the order of the promotion path"),
        ("dev,dev", {}, "once"),
        ("staging,lab", {}, "lab is only pushed to"),
        ("dev,staging", {"tetra_plan": "some.json"}, "a plan is one of a single environment"),
    ],
)
def test_what_cannot_be_done_is_said_before_any_host_is_asked(rolled_out, envs, variables, said):
    runs = {host: current(rolled_out, host) for host in PATH.values()}
    run = rollout(rolled_out, envs=envs, **variables)
    assert run.code != 0
    assert run.outcome in ("refused", "invalid")
    assert said in run.output.replace("\n", " ")
    assert "Look at the hosts" not in run.output
    assert {host: current(rolled_out, host) for host in PATH.values()} == runs


def test_what_is_wrong_with_any_environment_is_said_before_the_first_one_moves(rolled_out):
    runs = current(rolled_out, "dev-1")
    file = rolled_out.org / "environments" / "prod.toml"
    text = file.read_text()
    file.write_text(f'{text}HEALTH_TIMEOUT = "soon"\n')
    run = rollout(rolled_out)
    file.write_text(text)
    assert (run.outcome, current(rolled_out, "dev-1")) == ("invalid", runs), run.output
    assert "prod: services/api.tsm: TSM_HEALTH_TIMEOUT" in run.output


def test_a_limit_leaves_nobody_out(rolled_out):
    run = rollout(rolled_out, "--limit", "dev,localhost")
    assert (run.outcome, run.code != 0) == ("refused", True), run.output
    assert "leaves out" in run.output
