# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Attacks on real servers with systemd: folders that a local user prepared, commands and variables that mean something
to systemd, health checks that reach elsewhere, and ways for a secret to get out.
"""

from __future__ import annotations

import json
import secrets
import socket
import threading
from collections.abc import Iterator

import pytest

from ..conftest import Servers

NAME = "dev-1"
QUICK = {"tetra_org": "lab", "tetra_probe_passes": 1}
SECRET = f"canary-{secrets.token_hex(12)}"
TETRA = "/var/lib/tetra"
WORDS = ["+x", "-x", "!x", "@x", ":x", "|x", ";", "%n", "%%", "${HOME}", "$HOME", "a b", "", "'", '"', "\\x41",
         "one\nExecStartPre=+/usr/bin/touch /tmp/canary", "{{ lookup('env', 'HOME') }}", "\U0001f600"]
VARIABLES = {
    "LINES": "x\nExecStartPre=+/usr/bin/touch /tmp/canary\nUser=root", "PERCENT": "%n %h", "DOLLAR": "${HOME} $HOME",
    "LISTEN_FDS": "1", "NOTIFY_SOCKET": "/tmp/x", "TEMPLATE": "{{ lookup('env', 'HOME') }}",
}  # fmt: skip
SERVER = """
import http.server, json, os, sys
class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/away":
            self.send_response(302)
            self.send_header("Location", os.environ["ELSEWHERE"])
            self.end_headers()
            return
        self.send_response(200)
        self.end_headers()
        if self.path == "/endless":
            while True:
                self.wfile.write(b"x" * 65536)
        self.wfile.write(json.dumps([sys.argv[1:], dict(os.environ), os.getuid()]).encode())
    def log_message(self, *words):
        pass
http.server.ThreadingHTTPServer(("0.0.0.0", int(os.environ["PORT"])), Page).serve_forever()
"""


class Listener:
    """Somebody on another machine: this one, at the address by which the hosts reach it."""

    def __init__(self, address: str) -> None:
        self.socket = socket.create_server((address, 0))
        self.url = f"http://{address}:{self.socket.getsockname()[1]}/"
        self.asked: list[str] = []
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        while True:
            try:
                connection, peer = self.socket.accept()
            except OSError:
                return
            self.asked.append(peer[0])
            connection.close()


@pytest.fixture(scope="module")
def servers(tmp_path_factory) -> Iterator[Servers]:
    """One host, which is prepared."""
    made = Servers(tmp_path_factory.mktemp("servers"), {NAME: "bookworm"})
    made.secrets = {"TOKEN": SECRET}
    try:
        prepared = made.play("prepare")
        assert prepared.code == 0, prepared.output
        yield made
    finally:
        made.down()


@pytest.fixture(scope="module")
def host(servers):
    return servers.hosts[NAME]


@pytest.fixture(scope="module")
def elsewhere(host) -> Iterator[Listener]:
    """Another machine, which a check could ask; that the host reaches it is shown first."""
    made = Listener(f"{host.address.rpartition('.')[0]}.1")
    host.run(f"python3 -c \"import socket; socket.create_connection(('{made.url[7:].partition(':')[0]}', "
             f"{made.url[:-1].rpartition(':')[2]}), 5)\"")
    assert made.asked == [host.address]
    made.asked.clear()
    yield made
    made.socket.close()


def quoted(text: str) -> str:
    """A word as bash takes it literally."""
    return "'" + text.replace("'", "'\\''") + "'"


def push(servers, **services: str):
    """Push an organization of these services, each with the server as its program."""
    org = servers.orgs / "lab"
    for folder in ("services", "files/common"):
        (org / folder).mkdir(parents=True, exist_ok=True)
    for old in (org / "services").iterdir():
        old.unlink()
    (org / "files" / "common" / "server.py").write_text(SERVER)
    (org / "org.toml").write_text('name = "lab"\n')
    program = ("TSM_PORT=auto\nTSM_COMMAND=python3\nTSM_MIN_HEALTHY=0s\nTSM_HEALTH_RETRIES=2\n"
               "TSM_HEALTH_START_PERIOD=1s\n")
    for name, text in services.items():
        words = "" if "TSM_ARGS" in text else 'TSM_ARGS=("${TETRA_RELEASE_DIR}/files/common/server.py")\n'
        (org / "services" / f"{name}.tsm").write_text(program + words + text)
    return servers.push("-vvv", "--diff", **QUICK)


@pytest.fixture(scope="module")
def served(servers, host, elsewhere) -> dict:
    """What a service says that was given odd words and variables, and whose answers lead elsewhere or never end."""
    words = " ".join(map(quoted, WORDS))
    variables = "".join(f"export {name}={quoted(value)}\n" for name, value in VARIABLES.items())
    run = push(
        servers,
        odd=f'TSM_ARGS=("${{TETRA_RELEASE_DIR}}/files/common/server.py" {words})\n{variables}'
            "TSM_DESCRIPTION='%n ; {{ lookup(\"env\", \"HOME\") }} ExecStart=+/usr/bin/touch /tmp/canary'\n"
            "TSM_PRE_START='true; echo before'\nexport TOKEN='${secret:TOKEN}'\n",
        away=f"export ELSEWHERE={elsewhere.url}\nTSM_HEALTH_CHECK='http://localhost:${{PORT}}/away'\n",
        endless="TSM_HEALTH_CHECK='http://localhost:${PORT}/endless'\n",
        whose="TSM_HEALTH_CHECK='id -u > $HOME/whose; cat /etc/shadow > $HOME/shadow; true'\n",
    )  # fmt: skip
    assert run.outcome == "applied", run.output[-3000:]
    port = json.loads(host.run("tsm status --json"))["services"]
    found = {one["name"]: one for one in port}
    page = host.run(f"python3 -c \"import urllib.request as u; print(u.urlopen('http://127.0.0.1:"
                    f"{found['odd']['ports']['main']}/').read().decode())\"")
    return {"page": json.loads(page), "output": run.output}


@pytest.mark.guarantee("A06")
@pytest.mark.parametrize("name", ["A06-words-of-systemd-through-a-push"])
def test_every_word_of_a_command_arrives_and_none_is_obeyed(served, host, name):
    words, _variables, user = served["page"]
    assert words == WORDS
    assert user == int(host.run("id -u tetra-lab"))
    assert host.run("ls /tmp/canary", check=False).strip().endswith("No such file or directory")


@pytest.mark.guarantee("A07")
@pytest.mark.parametrize("name", ["A07-lines-of-units-and-names-that-rule-a-process"])
def test_every_variable_arrives_and_none_is_obeyed(served, host, name):
    variables = served["page"][1]
    assert {one: variables[one] for one in VARIABLES} == VARIABLES
    shown = host.run("systemctl show --property=User,Environment,ExecStartPre tetra-lab-dev-odd")
    assert "User=tetra-lab" in shown
    assert "canary" not in shown
    assert host.run("systemd-analyze verify /etc/systemd/system/tetra-lab-dev-odd.service", check=False).strip() == ""


@pytest.mark.guarantee("A01")
@pytest.mark.parametrize("name", ["A01-lookup-in-a-pushed-service"])
def test_template_text_arrives_as_it_was_written(served, host, name):
    words, variables, _user = served["page"]
    assert "{{ lookup('env', 'HOME') }}" in words
    assert variables["TEMPLATE"] == "{{ lookup('env', 'HOME') }}"
    assert '{{ lookup("env", "HOME") }}' in host.run("systemctl show --property=Description tetra-lab-dev-odd")


@pytest.mark.guarantee("A25")
@pytest.mark.parametrize("name", ["A25-redirect-to-another-host", "A25-body-without-end"])
def test_a_check_follows_nobody_elsewhere_and_reads_no_further_than_it_must(served, elsewhere, name):
    assert elsewhere.asked == []


@pytest.mark.guarantee("A25")
@pytest.mark.parametrize("name", ["A25-command-as-the-user-of-the-service"])
def test_a_check_by_command_is_no_shell_of_root(served, host, name):
    home = f"{TETRA}/home/lab"
    assert host.run(f"cat {home}/whose").strip() == host.run("id -u tetra-lab").strip()
    assert host.run(f"cat {home}/shadow") == ""


@pytest.mark.guarantee("A25")
@pytest.mark.parametrize("check", [
    pytest.param("{elsewhere}", id="A25-another-host"),
    pytest.param("tcp://{address}", id="A25-another-host-by-tcp"),
    pytest.param("http://169.254.169.254/latest/meta-data/", id="A25-metadata"),
    pytest.param("http://2852039166/", id="A25-metadata-in-one-number"),
])  # fmt: skip
def test_a_check_that_asks_another_host_fails_and_the_other_is_not_asked(served, servers, host, elsewhere, check):
    url = check.format(elsewhere=elsewhere.url, address=elsewhere.url[7:-1])
    before = host.run(f"readlink {TETRA}/orgs/lab/dev/current")
    run = push(servers, spy=f"TSM_HEALTH_CHECK='{url}'\n")
    assert run.outcome == "rolled_back", run.output[-2000:]
    assert "is another host" in run.result["message"]
    assert elsewhere.asked == []
    assert host.run(f"readlink {TETRA}/orgs/lab/dev/current") == before


@pytest.mark.guarantee("A21")
@pytest.mark.parametrize("where", [
    pytest.param("journalctl --no-pager --output=export", id="A21-journal-of-the-host"),
    pytest.param("grep -r --exclude-dir=private --exclude-dir=run . /var/lib/tetra | tr -d '\\200-\\377'",
                 id="A21-files-of-tetra"),
    pytest.param("cat /etc/systemd/system/tetra-*", id="A21-units"),
    pytest.param("systemctl show --all 'tetra-*'", id="A21-what-systemd-shows"),
    pytest.param("cat /proc/[0-9]*/cmdline", id="A21-command-lines"),
    pytest.param("ls -a /tmp; cat /tmp/* /tmp/.ansible* 2>&1", id="A21-temporary-files"),
    pytest.param("find /var /tmp /root /home -name 'core*' -type f -exec cat {} +", id="A21-cores"),
    pytest.param("tsm status --json; tsm logs odd; tsm doctor", id="A21-command-of-the-host"),
    pytest.param("runuser -u admin -- sh -c 'cat /proc/[0-9]*/environ /var/lib/tetra/orgs/lab/dev/*/*'",
                 id="A21-another-user"),
])  # fmt: skip
def test_a_secret_is_nowhere_but_where_it_has_to_be(served, host, where):
    assert served["page"][1]["TOKEN"] == SECRET
    assert SECRET not in host.run(where, check=False)


@pytest.mark.guarantee("A21")
@pytest.mark.parametrize("name", ["A21-loudest-output-of-a-push"])
def test_a_secret_is_not_in_what_the_controller_says(served, name):
    assert SECRET not in served["output"]
    assert "PLAY RECAP" in served["output"]


@pytest.mark.guarantee("A21")
@pytest.mark.parametrize("name", ["A21-core-of-a-service-that-crashes"])
def test_a_service_that_crashes_leaves_no_core(served, host, name):
    pid = host.run("systemctl show --property=MainPID --value tetra-lab-dev-odd").strip()
    limit = next(line for line in host.run(f"cat /proc/{pid}/limits").splitlines() if line.startswith("Max core"))
    assert limit.split()[4] == "0"


AGENT = f"{TETRA}/bin/tsm"
# What a local user, or somebody before us, left behind, and the place that the host objects to.
PREPARED = {
    "A10-directory-of-a-user": ("install -d -o admin /srv/a", "/srv/a", "/srv/a"),
    "A10-directory-that-is-a-link": ("ln -s /etc /srv/b", "/srv/b", "/srv/b"),
    "A10-directory-that-all-may-change": ("install -d -m 0777 /srv/c", "/srv/c", "/srv/c"),
    "A10-directory-below-one-of-a-user": ("install -d -o admin /srv/d; mkdir /srv/d/t", "/srv/d/t", "/srv/d"),
    "A10-directory-below-one-that-all-may-change": ("install -d -m 0777 /srv/e", "/srv/e/t", "/srv/e"),
    "A10-directory-below-a-link-of-a-user": ("install -d -o admin /srv/f; ln -s /etc /srv/f/x", "/srv/f/x/t", "/srv/f"),
    "A10-directory-of-a-user-among-temporary-files": ("install -d -o admin /tmp/g", "/tmp/g", "/tmp/g"),
    "A10-settings-behind-a-link": ("mkdir /srv/h; ln -s /etc /srv/h/config", "/srv/h", "/srv/h/config"),
    "A10-programs-behind-a-link": ("mkdir /srv/i; ln -s /etc /srv/i/bin", "/srv/i", "/srv/i/bin"),
    "A10-programs-of-a-user": ("mkdir /srv/j; install -d -o admin /srv/j/bin", "/srv/j", "/srv/j/bin"),
    "A10-file-in-the-place-of-a-folder": ("mkdir /srv/k; touch /srv/k/config", "/srv/k", "/srv/k/config"),
}  # fmt: skip


@pytest.mark.guarantee("A10")
@pytest.mark.parametrize("name", PREPARED)
def test_a_host_is_not_prepared_where_somebody_else_could_change_it(host, name):
    before, tetra_dir, place = PREPARED[name]
    host.run(f"rm -rf /srv/? /tmp/g; {before}; touch /tmp/now")
    request = {"tetra_dir": tetra_dir, "state": "present", "supervisor": "systemd", "supervisord": "", "address": "",
               "users": {}, "journal_max": "", "version": "0" * 64, "code": "", "check": False}
    answer = json.loads(host.run(f"{AGENT} run agent", data=json.dumps(request)))
    assert answer["error"]["code"] == "refused", answer
    assert answer["error"]["message"].startswith(f"{place} "), answer
    assert host.run("find /etc /srv -newer /tmp/now").strip() == ""


# A folder of the environment that is not as it was made, below that of an organization.
STAGED = {
    "A10-organization-that-is-a-link": ("ln -s /etc {orgs}/evil", "evil"),
    "A10-organization-of-a-user": ("install -d -o admin {orgs}/evil", "evil"),
    "A10-environment-that-is-a-link": ("mkdir {orgs}/evil; ln -s /etc {orgs}/evil/dev", "evil/dev"),
    **{f"A10-{folder}-behind-a-link": (f"mkdir -p {{orgs}}/evil/dev; ln -s /etc {{orgs}}/evil/dev/{folder}",
                                       f"evil/dev/{folder}")
       for folder in ("blobs", "bundles", "releases", "private", "run", "tx", "evidence", "logs", "holds")},
    "A10-transactions-of-a-user": ("mkdir -p {orgs}/evil/dev; install -d -o admin {orgs}/evil/dev/tx", "evil/dev/tx"),
}  # fmt: skip


@pytest.mark.guarantee("A10")
@pytest.mark.parametrize("name", STAGED)
def test_nothing_is_staged_into_a_folder_that_somebody_else_prepared(host, name):
    orgs = f"{TETRA}/orgs"
    before, place = STAGED[name]
    host.run(f"rm -rf {orgs}/evil; {before.format(orgs=orgs)}; touch /tmp/now")
    request = {"tetra_dir": TETRA, "org": "evil", "env": "dev", "state": "staged",
               "transaction": "20260101t000000-00000001", "stage": {"plan": {"hosts": {"x": {}}}, "host": "x"}}
    answer = json.loads(host.run(f"{AGENT} run release; rm -rf {orgs}/evil", data=json.dumps(request)))
    assert answer["error"]["code"] == "refused", answer
    assert answer["error"]["message"].startswith(f"{orgs}/{place} "), answer
    assert host.run("find /etc -newer /tmp/now").strip() == ""
