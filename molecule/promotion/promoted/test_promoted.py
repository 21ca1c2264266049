# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What runs on every host after the first promotions."""

import json

testinfra_hosts = ["ansible://all"]


def environment(host) -> str:
    return host.check_output("hostname").partition("-")[0]


def test_services_run_as_the_user_of_their_organization(host):
    env = environment(host)
    for name in ("api", "report", "site"):
        service = host.service(f"tetra-acme-{env}-{name}")
        assert service.is_running
        assert service.is_enabled
        pid = service.systemd_properties["MainPID"]
        assert host.check_output(f"stat -c %U /proc/{pid}") == "tetra-acme"


def test_they_answer_with_the_release_and_the_environment(host):
    env = environment(host)
    port = {"dev": 4100, "staging": 4200, "prod": 4300}[env]
    program = f"import urllib.request; print(urllib.request.urlopen('http://127.0.0.1:{port}/health').read().decode())"
    answer = json.loads(host.check_output(f'python3 -c "{program}"'))
    current = host.check_output(f"readlink /var/lib/tetra/orgs/acme/{env}/current")
    assert (answer["env"], answer["release"]) == (env, current.rpartition("/")[2])


def test_one_host_alone_of_an_environment_has_the_worker(host):
    name = host.check_output("hostname")
    assert host.service(f"tetra-acme-{environment(host)}-worker").is_running == name.endswith("-1")


def test_no_secret_can_be_read_by_others(host):
    run = f"/var/lib/tetra/orgs/acme/{environment(host)}/run"
    with host.sudo():
        assert host.file(run).mode == 0o700
        assert {host.file(path).mode for path in host.check_output(f"find {run} -type f").split()} == {0o600}


def test_the_host_is_well(host):
    with host.sudo():
        assert host.run("tsm doctor").rc == 0
