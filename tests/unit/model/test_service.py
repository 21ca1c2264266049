# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Services: what each key of a definition means, what it is when it is left out, and what is said about mistakes."""

from __future__ import annotations

import json

import pytest
from ansible_collections.tetra.platform.plugins.module_utils.model import command, definition, service, service_reader
from ansible_collections.tetra.platform.plugins.module_utils.model.errors import WARNING, Finding, TetraError
from ansible_collections.tetra.platform.plugins.module_utils.model.units import PortRequest

HOME = {"var": "HOME"}
PORT = {"var": "TSM_PORT"}
TOKEN = {"secret": "TOKEN"}
COMMAND = "TSM_COMMAND='python3 server.py'\n"
DEFAULTS = {
    "name": "api",
    "description": "",
    "command": {"argv": ["python3", "server.py"]},
    "pre_commands": [],
    "cwd": None,
    "port": {"kind": "none", "number": None, "name": None},
    "environment": {},
    "depends": [],
    "health": None,
    "min_healthy": 3.0,
    "autostart": True,
    "restart": "on-failure",
    "max_restarts": 3,
    "stop_timeout": 10.0,
    "user": None,
    "memory_limit": None,
    "cpu_limit": None,
    "hardening": "none",
    "image": None,
    "unused": [],
}


def read(text: str, environment=None, overrides=None, path: str = "services/api.tsm"):
    return service_reader.from_definition(definition.parse(text, path, {}), environment or {}, overrides or {})


def service_of(text: str, **more) -> service.Service:
    return read(COMMAND + text, **more)[0]


def findings_of(text: str, **more) -> list[Finding]:
    return read(COMMAND + text, **more)[1]


def error_of(text: str, **more) -> TetraError:
    with pytest.raises(TetraError) as caught:
        read(text, **more)
    return caught.value


def test_a_service_is_complete_with_a_command_alone():
    assert read(COMMAND) == (service.Service.from_wire(DEFAULTS), [])


@pytest.mark.parametrize(
    ("text", "field", "expected"),
    [
        ("TSM_NAME=web", "name", "web"),
        ("TSM_DESCRIPTION=\"At $HOME\"", "description", "At ${HOME}"),
        ("TSM_CWD=sub/folder", "cwd", "sub/folder"),
        ("TSM_CWD=a..b/..c", "cwd", "a..b/..c"),
        ("TSM_CWD=$HOME/x", "cwd", [HOME, "/x"]),
        ("TSM_CWD=\"$PWD/app\"", "cwd", "./app"),
        ("TSM_CWD=", "cwd", None),
        ("TSM_PORT=", "port", PortRequest("auto")),
        ("TSM_PORT=auto", "port", PortRequest("auto")),
        ("TSM_PORT=4400", "port", PortRequest("fixed", 4400)),
        ("TSM_PORT='8000+'", "port", PortRequest("from", 8000)),
        ("TSM_PORT=public-web", "port", PortRequest("named", None, "public-web")),
        ("TSM_PORT=none", "port", PortRequest("none")),
        ("TSM_PORT=${X:-8090}", "port", PortRequest("fixed", 8090)),
        ("TSM_PORT=${PORT:-8090}", "port", PortRequest("fixed", 8090)),
        ("TSM_PORT=${TSM_PORT:-8090+}", "port", PortRequest("from", 8090)),
        ("TSM_PRE_START='make x'\nTSM_PRE_COMMAND='cd a && b'", "pre_commands",
         [{"shell": "cd a && b"}, {"argv": ["make", "x"]}]),
        ("TSM_DEPENDS='db cache'", "depends", ["db", "cache"]),
        ("TSM_DEPENDS='db, cache db'", "depends", ["db", "cache"]),
        ("TSM_DEPENDS=(db cache)", "depends", ["db", "cache"]),
        ("TSM_MIN_HEALTHY=1s", "min_healthy", 1.0),
        ("TSM_AUTOSTART=no", "autostart", False),
        ("TSM_RESTART_ON_FAILURE=true", "restart", "on-failure"),
        ("TSM_RESTART_ON_FAILURE=false", "restart", "no"),
        ("TSM_RESTART_POLICY=always", "restart", "always"),
        ("TSM_RESTART_POLICY=on_failure\nTSM_RESTART_ON_FAILURE=no", "restart", "on-failure"),
        ("TSM_MAX_RESTARTS=0", "max_restarts", 0),
        ("TSM_STOP_TIMEOUT=1m", "stop_timeout", 60.0),
        ("TSM_USER=deploy", "user", "deploy"),
        ("TSM_MEMORY_LIMIT=256M", "memory_limit", 256 * 1024 * 1024),
        ("TSM_CPU_LIMIT=150%", "cpu_limit", 1.5),
        ("TSM_SECURITY_HARDENING=strict", "hardening", "strict"),
        ("TSM_IMAGE=nginx:1", "image", "nginx:1"),
        ("export A=1\nB=2", "environment", {"A": "1"}),
        ("export A=\"${secret:TOKEN}\"", "environment", {"A": [TOKEN]}),
        ("TSM_ENV='A=1 B=\"two words\" C=${secret:TOKEN}'", "environment", {"A": "1", "B": "two words", "C": [TOKEN]}),
        ("TSM_ENV=\"A=$HOME/x\"", "environment", {"A": [HOME, "/x"]}),
        ("TSM_ENV=none", "environment", {}),
        ("export TSM_ENV='A=1'\nexport A=2", "environment", {"A": "2"}),
        ("export TSM_OWN_DIR=/x", "environment", {"TSM_OWN_DIR": "/x"}),
        ("TSM_ENV_FILE=env/dev.env", "env_files", ["env/dev.env"]),
        ("TSM_ENV_FILES='a.env b.env'\nTSM_ENV=./c.env", "env_files", ["a.env", "b.env", "./c.env"]),
        ("TSM_ENV_FILES=('a b.env')", "env_files", ["a b.env"]),
        ("TSM_ENV=dev", "env_files", []),
        ("TSM_DEPS=git", "unused", ["TSM_DEPS"]),
        ("TSM_PORTS=(4001 4002:udp)", "ports",
         {"p4001": PortRequest("fixed", 4001), "p4002": PortRequest("fixed", 4002, protocol="udp")}),
        ("TSM_PORTS='1983:udp:osc, auto:tcp:metrics'", "ports",
         {"osc": PortRequest("fixed", 1983, protocol="udp"), "metrics": PortRequest("auto")}),
        ("TSM_PORTS=9000+::My_Debug", "ports", {"my-debug": PortRequest("from", 9000)}),
        ("TSM_PORT=5353\nTSM_PORT_TYPE=udp", "port", PortRequest("fixed", 5353, protocol="udp")),
        ("TSM_PORT=auto\nTSM_PORT_TYPE=http", "port", PortRequest("auto")),
    ],
)  # fmt: skip
def test_a_key_means_what_it_says(text, field, expected):
    assert getattr(service_of(text), field) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("TSM_COMMAND='python3 app.py --x \"a b\"'", {"argv": ["python3", "app.py", "--x", "a b"]}),
        ('TSM_COMMAND="run --port $TSM_PORT --at=$HOME/x"',
         {"argv": ["run", "--port", [PORT], ["--at=", HOME, "/x"]]}),
        ('TSM_COMMAND="cd $HOME && run"', {"shell": ["cd ", HOME, " && run"]}),
        ("TSM_COMMAND='run $TSM_PORT'", {"shell": "run $TSM_PORT"}),
        ("TSM_COMMAND=run\nTSM_ARGS=('a b' \"$HOME\" '')", {"argv": ["run", "a b", [HOME], ""]}),
        ("TSM_COMMAND='run -x'\nTSM_ARGS='a \"b c\"'", {"argv": ["run", "-x", "a", "b c"]}),
        ("TSM_COMMAND='a && b'\nTSM_ARGS=('c \"$d' \"$HOME\")",
         {"shell": ['a && b "c \\"\\$d" "', HOME, '"']}),
    ],
)  # fmt: skip
def test_a_command_is_words_or_text_for_a_shell(text, expected):
    assert read("TSM_PORT=auto\n" + text)[0].command == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a 'b c' \"d\" e\\ f", ["a", "b c", "d", "e f"]),
        ("  a\t b\n", ["a", "b"]),
        ("a '' \"\"", ["a", "", ""]),
        ('a "b\\"c\\\\d\\e"', ["a", 'b"c\\d\\e']),
        (["a ", HOME, "b '", HOME, " c' ", HOME], ["a", [HOME, "b"], [HOME, " c"], [HOME]]),
        ("", []),
    ],
)
def test_text_without_shell_syntax_is_split_into_words(text, expected):
    assert command.split(text) == expected


@pytest.mark.parametrize(
    "text",
    ["a | b", "a; b", "a & b", "a > b", "a $b", "a \"$b\"", "a `b`", "a\nb", "a *.py", "a ?", "a [b]", "a {b,c}",
     "a ~/b", "# a", "! a", "(a)", "A=1 a", "cd x", "exec a", ". x", "source x", "ulimit -n 5", "if", "a b\\"],
)  # fmt: skip
def test_text_that_only_a_shell_understands_is_left_to_it(text):
    assert command.read(text) == {"shell": text}


@pytest.mark.parametrize("text", ["a 'b", 'a "b', "it's"])
def test_an_open_quote_in_a_command_is_found(text):
    with pytest.raises(TetraError, match="is never closed"):
        command.read(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('"http://localhost:$TSM_PORT/h"', {"kind": "http", "url": ["http://localhost:", PORT, "/h"]}),
        ("'http://localhost:${TSM_PORT}/h?a=1&b'", {"kind": "http", "url": ["http://localhost:", PORT, "/h?a=1&b"]}),
        ("'https://localhost/${VERSION}'", {"kind": "http", "url": "https://localhost/v1"}),
        ("' http://x/ '", {"kind": "http", "url": "http://x/"}),
        ("tcp://localhost:5432", {"kind": "tcp", "address": "localhost", "port": "5432"}),
        ("'tcp://[::1]:5432/'", {"kind": "tcp", "address": "::1", "port": "5432"}),
        ("'tcp://$HOST:$PORT'", {"kind": "tcp", "address": [{"var": "HOST"}], "port": [{"var": "PORT"}]}),
        ("'curl -f http://x:$PORT/h'", {"kind": "http", "url": ["http://x:", {"var": "PORT"}, "/h"]}),
        ("'curl -fsS \"http://x/h?a=1\"'", {"kind": "http", "url": "http://x/h?a=1"}),
        ("'curl -s --fail http://x/ || exit 1'", {"kind": "http", "url": "http://x/"}),
        ("'curl -f x:80/h'", {"kind": "http", "url": "http://x:80/h"}),
        ("'python3 check.py a'", {"kind": "command", "command": {"argv": ["python3", "check.py", "a"]}}),
        ("'test -S $HOME/s'", {"kind": "command", "command": {"shell": "test -S $HOME/s"}}),
        ("'curl http://x/'", {"kind": "command", "command": {"argv": ["curl", "http://x/"]}}),
        ("'curl -f -k https://x/'", {"kind": "command", "command": {"argv": ["curl", "-f", "-k", "https://x/"]}}),
        ("'curl -f http://x/ | grep ok'", {"kind": "command", "command": {"shell": "curl -f http://x/ | grep ok"}}),
        ("'curl -f ftp://x/'", {"kind": "command", "command": {"argv": ["curl", "-f", "ftp://x/"]}}),
        ("'curl -f http://x/$UNSET'", {"kind": "command", "command": {"shell": "curl -f http://x/$UNSET"}}),
        ("'curl -f http://x/$KEY'", {"kind": "command", "command": {"shell": "curl -f http://x/$KEY"}}),
    ],
)
def test_a_health_check_is_a_url_an_address_or_a_command(text, expected):
    found = service_of(f"TSM_PORT=auto\nexport VERSION=v1 KEY='${{secret:KEY}}'\nTSM_HEALTH_CHECK={text}").health
    assert found == {**expected, "interval": 5.0, "timeout": 2.0, "start_period": 10.0, "retries": 3}


def test_a_health_check_has_its_timing():
    timing = "TSM_HEALTH_INTERVAL=1m TSM_HEALTH_TIMEOUT=500ms TSM_HEALTH_RETRIES=5 TSM_HEALTH_START_PERIOD=0"
    found = service_of(f"TSM_HEALTH_CHECK=x {timing}").health
    assert (found["interval"], found["timeout"], found["retries"], found["start_period"]) == (60.0, 0.5, 5, 0.0)


def test_what_a_definition_exports_wins_over_the_environment():
    found = service_of("export A=own", environment={"A": "shared", "B": "${secret:TOKEN}"})
    assert found.environment == {"A": "own", "B": [TOKEN]}


def test_an_environment_replaces_keys_by_either_name():
    found = service_of("TSM_PORT=1\nTSM_CWD=a", overrides={"PORT": "4180+", "TSM_CWD": "b"})
    assert (found.port, found.cwd) == (PortRequest("from", 4180), "b")


def test_an_environment_replaces_variables():
    assert service_of("export A=1", overrides={"A": "${secret:TOKEN}"}).environment == {"A": [TOKEN]}


def test_an_environment_replaces_an_array_of_arguments():
    assert service_of("TSM_ARGS=(a b)", overrides={"ARGS": "c"}).command == {"argv": ["python3", "server.py", "c"]}


@pytest.mark.parametrize(
    ("path", "name"), [("x/api.tsm", "api"), ("api.tsm.sh", "api"), ("/a/My_Web.tsm", "my-web"), ("api.sh", "api")]
)
def test_a_service_without_a_name_is_called_after_its_file(path, name):
    assert service_of("", path=path).name == name


@pytest.mark.parametrize(
    ("text", "start", "hint"),
    [
        ("TSM_PORT=70000", "api.tsm:2:1: TSM_PORT: \"70000\" is not a port", "from 1 to 65535"),
        ("# c\n  export TSM_MAX_RESTARTS=many", "api.tsm:3:10: TSM_MAX_RESTARTS: \"many\"", "from 0 to 1000"),
        ("TSM_HEALTH_RETRIES=0", "api.tsm:2:1: TSM_HEALTH_RETRIES: \"0\"", "from 1 to 1000"),
        ("TSM_HEALTH_INTERVAL=soon", "api.tsm:2:1: TSM_HEALTH_INTERVAL: \"soon\" is not a duration", "1m30s"),
        ("TSM_AUTOSTART=maybe", "api.tsm:2:1: TSM_AUTOSTART: \"maybe\" is not yes or no", "true or false"),
        ("TSM_MEMORY_LIMIT=big", "api.tsm:2:1: TSM_MEMORY_LIMIT: \"big\" is not a size", "256M"),
        ("TSM_CPU_LIMIT=all", "api.tsm:2:1: TSM_CPU_LIMIT: \"all\"", "150%"),
        ("TSM_RESTART_POLICY=often", "api.tsm:2:1: TSM_RESTART_POLICY: \"often\"", "always, on-failure, no"),
        ("TSM_SECURITY_HARDENING=hard", "api.tsm:2:1: TSM_SECURITY_HARDENING: \"hard\"", "none, standard, strict"),
        ("TSM_USER='a b'", "api.tsm:2:1: TSM_USER: \"a b\" is not the name of a user", "letters"),
        ("TSM_USER=$USER", "api.tsm:2:1: TSM_USER: depends on USER, which only the host knows", "write the value"),
        ("TSM_PORT=$PORT", "api.tsm:2:1: TSM_PORT: depends on PORT", "write the value"),
        ("TSM_NAME='a b'", "api.tsm:2:1: TSM_NAME: \"a b\" is not a name for the service", "small letters"),
        ("TSM_PORTS='9100:tcp:Main'", "api.tsm:2:1: TSM_PORTS: main is the name of the first port", "TSM_PORT"),
        ("TSM_DEPENDS='a/b'", "api.tsm:2:1: TSM_DEPENDS: \"a/b\" is not a name", "small letters"),
        ("TSM_DEPENDS='api'", "api.tsm:2:1: TSM_DEPENDS: the service depends on itself", "take"),
        ("TSM_PRE_COMMAND=\"it's\"", "api.tsm:2:1: TSM_PRE_COMMAND: a ' is never closed", "close"),
        ("TSM_ENV='A=1; B=2'", "api.tsm:2:1: TSM_ENV: has shell syntax", "quotes"),
        ("TSM_CWD=(a b)", "api.tsm:2:1: TSM_CWD: is an array", "one text"),
        ("TSM_CWD=../x", "api.tsm:2:1: TSM_CWD: has .. in its path", "TETRA_RELEASE_DIR"),
        ("TSM_CWD=a/..", "api.tsm:2:1: TSM_CWD: has .. in its path", "TETRA_RELEASE_DIR"),
        ("TSM_CWD=$TETRA_RELEASE_DIR/../..", "api.tsm:2:1: TSM_CWD: has .. in its path", "TETRA_RELEASE_DIR"),
        ("export LD_PRELOAD=/x.so", "api.tsm:2:8: LD_PRELOAD: would be loaded", "env NAME=value"),
        ("export UID=1000", "api.tsm:2:8: UID: is kept by shells", "use another name"),
        ("TSM_ENV='BASH_ENV=/x'", "api.tsm: BASH_ENV: would be loaded", "env NAME=value"),
        ("TSM_HEALTH_CHECK='http://'", "api.tsm:2:1: TSM_HEALTH_CHECK: http:// is not a URL", "http://localhost"),
        ("TSM_HEALTH_CHECK='http://a b'", "api.tsm:2:1: TSM_HEALTH_CHECK: http://a b is not a URL", "blanks"),
        ("TSM_HEALTH_CHECK='http://$NOPE/'", "api.tsm:2:1: TSM_HEALTH_CHECK: NOPE is not set", ":-text"),
        ("TSM_HEALTH_CHECK=tcp://x", "api.tsm:2:1: TSM_HEALTH_CHECK: tcp://x has no port", "host:port"),
        ("TSM_HEALTH_CHECK=tcp://x:0", "api.tsm:2:1: TSM_HEALTH_CHECK: \"0\" is not a port", "65535"),
        ("TSM_HEALTH_CHECK=tcp://:80", "api.tsm:2:1: TSM_HEALTH_CHECK:  is not a host", "host:port"),
        ("TSM_PRE_START='${secret:TOKEN}'", "api.tsm:2:1: TSM_PRE_START: holds a secret", "export"),
        ("TSM_ARGS=(a '${secret:TOKEN}')", "api.tsm:2:1: TSM_ARGS: holds a secret", "export"),
        ("TSM_DESCRIPTION='${secret:TOKEN}'", "api.tsm:2:1: TSM_DESCRIPTION: holds a secret", "export"),
        ("TSM_HEALTH_CHECK='http://x/${secret:T}'", "api.tsm:2:1: TSM_HEALTH_CHECK: holds a secret", "export"),
        ("export K='${secret:T}'\nTSM_HEALTH_CHECK='http://x/$K'", "api.tsm:3:1: TSM_HEALTH_CHECK: a health check",
         "command"),
        ("TSM_ENV_FILE='${secret:T}'", "api.tsm:2:1: TSM_ENV_FILE: holds a secret", "export"),
        ("TSM_HEALTH_CHECK='http://x:$TSM_PORT/'", "api.tsm:2:1: TSM_HEALTH_CHECK: refers to TSM_PORT, but", "auto"),
        ("export A=$PORT", "api.tsm:2:8: A: refers to PORT, but the service has no port", "auto"),
    ],
)  # fmt: skip
def test_a_mistake_is_named_with_its_key_and_place(text, start, hint):
    error = error_of(COMMAND + text, path="api.tsm")
    assert error.message.startswith(start)
    assert hint in error.hint


def test_a_service_needs_a_command():
    assert error_of("A=1", path="api.tsm").message == "api.tsm: TSM_COMMAND: the definition has no command"


def test_an_empty_command_is_none():
    assert error_of("TSM_COMMAND=' '", path="api.tsm").message == "api.tsm:1:1: TSM_COMMAND: the command is empty"


def test_a_mistake_of_the_environment_is_not_sought_in_the_definition():
    error = error_of(COMMAND + "TSM_PORT=1", path="api.tsm", overrides={"PORT": "x y"})
    assert error.message.startswith("api.tsm: TSM_PORT, as set by the environment: ")


@pytest.mark.parametrize("name", ["1A", "A B", "", "A-B", "caf\u00e9"])
def test_a_variable_has_a_name_that_a_process_can_have(name):
    assert "is not the name of a variable" in error_of(COMMAND, environment={name: "x"}).message


def test_a_value_with_nul_is_refused():
    assert "NUL" in error_of(COMMAND, environment={"A": "x\0y"}).message


def test_a_value_that_is_not_text_is_refused():
    assert "a value must be text" in error_of(COMMAND, overrides={"PORT": 8000}).message


@pytest.mark.parametrize(
    ("text", "code", "line", "words"),
    [
        ("TSM_HEALTH_CHEK=x", "unknown-key", 2, ("TSM_HEALTH_CHEK", "did you mean TSM_HEALTH_CHECK?")),
        ("TSM_ZZZ=x", "unknown-key", 2, ("TSM_ZZZ",)),
        ("\nTSM_PORTS='1983:udp:osc:multicast-join:239.1.1.1'", "unused-key", 3,
         ("TSM_PORTS", "multicast-join:239.1.1.1", "does nothing")),
        ("TSM_ENV=dev", "unused-key", 2, ("TSM_ENV=dev", "environments/dev.toml")),
        ("TSM_NAME=My_Api", "changed-name", 2, ('"my-api"',)),
        ("TSM_DEPENDS=My_Db", "changed-name", 2, ('"my-db"',)),
        ("GREETING=x", "not-exported", 2, ("GREETING", "export GREETING=")),
    ],
)
def test_what_is_odd_is_remarked_on(text, code, line, words):
    (finding,) = findings_of(text)
    assert (finding.severity, finding.code, finding.line, finding.file) == (WARNING, code, line, "services/api.tsm")
    assert all(word in str(finding) for word in words)


@pytest.mark.parametrize("text", ["export GREETING=x", "DIR=/x\nTSM_CWD=$DIR", "TSM_OWN_DIR=/x\nTSM_CWD=$TSM_OWN_DIR"])
def test_what_is_used_is_not_remarked_on(text):
    assert findings_of(text) == []


def test_an_override_that_nothing_knows_is_remarked_on():
    (finding,) = findings_of("", overrides={"COMAND": "x"})
    assert "did you mean TSM_COMMAND?" in str(finding)


FULL = COMMAND + """
export TSM_NAME=web TSM_PORT=8000+ TSM_CWD=$HOME/x TSM_USER=ann TSM_IMAGE=i TSM_MEMORY_LIMIT=1G TSM_CPU_LIMIT=2
export A="${B:-$HOME}" C='${secret:TOKEN}'
TSM_HEALTH_CHECK="curl -f http://localhost:$PORT/"
TSM_PRE_COMMAND='a && b'
"""


@pytest.mark.parametrize("text", [COMMAND, FULL])
def test_a_service_survives_a_journey_as_json(text):
    found, _findings = read(text)
    assert service.Service.from_wire(json.loads(json.dumps(found.to_wire()))) == found


def test_the_record_of_a_service_has_every_key_and_no_other():
    assert set(read(FULL)[0].to_wire()) == set(DEFAULTS)


def test_a_record_is_a_copy():
    found, _findings = read(FULL)
    found.to_wire()["environment"]["A"] = "changed"
    assert found.environment["A"] != "changed"


@pytest.mark.parametrize(
    "change",
    [{"name": None}, {"port": 8000}, {"port": {"kind": "auto"}}, {"max_restarts": "3"}, {"surplus": 1},
     {"environment": []}],
)  # fmt: skip
def test_a_record_of_another_form_is_refused(change):
    with pytest.raises(TetraError, match=next(iter(change))):
        service.Service.from_wire({**DEFAULTS, **change})


def test_a_record_without_a_key_is_refused():
    with pytest.raises(TetraError, match="health"):
        service.Service.from_wire({key: value for key, value in DEFAULTS.items() if key != "health"})
