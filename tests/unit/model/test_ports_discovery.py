# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What files and listeners say about ports, the lines that only look like it, and what is proposed for them."""

from __future__ import annotations

import json
import re
import time

import pytest
from ansible_collections.tetra.platform.plugins.module_utils.model.ports import discovery as ports_discovery
from ansible_collections.tetra.platform.plugins.module_utils.model.ports.discovery import Need, in_text, propose
from ansible_collections.tetra.platform.plugins.module_utils.model.ports.registry import Registry
from hypothesis import given
from hypothesis import strategies as st


def found(text: str, path: str = "start.sh") -> list[tuple]:
    """Name, port and protocol of each need."""
    return [(need.name, need.port, need.protocol) for need in in_text(text, path)]


def ports(text: str, path: str = "start.sh") -> list[int]:
    return [need.port for need in in_text(text, path)]


@pytest.mark.parametrize(
    ("line", "port"),
    [
        ("node server.js --port 3000", 3000),
        ("node server.js --port=3000", 3000),
        ("node server.js --port '3000'", 3000),
        ("uvicorn app:app --port ${PORT:-8000}", 8000),
        ("java -jar app.jar --server-port 9000 --quiet", 9000),
        ("chromium --remote-debugging-port=9222", 9222),
        ("npx serve -p 5000 dist", 5000),
        ("python3 -m http.server --bind 127.0.0.1 --port 80", 80),
        ("PORT=4000 node server.js", 4000),
        ("cd app && PORT=4000 node server.js", 4000),
        ("export PORT=4000", 4000),
        ("export PORT=${PORT:-4000}", 4000),
        ("PORT='4000' npm start", 4000),
        ("gunicorn --bind 0.0.0.0:8001 app", 8001),
        ("gunicorn -b :8001 app", 8001),
        ("caddy reverse-proxy --from :2015 --to localhost:9001x", 2015),
        ("curl -f http://localhost:4400/health", 4400),
        ("curl -f http://127.0.0.1:4400", 4400),
        ("nats --listen=[::]:4222", 4222),
        ("nats --addr=[::1]:4222", 4222),
        ("socat tcp://*:5555 -", 5555),
        ("DATABASE=postgres://user:secret@localhost:5432/db run", 5432),
        ("./run --listen ':8080'", 8080),
        ("./run 127.0.0.1:8080.", 8080),
        ("docker run -d -p 8080:80 nginx:1.25", 8080),
        ("sudo docker run -p 127.0.0.1:8080:80 nginx", 8080),
        ("docker run --publish=8080:80 nginx", 8080),
        ("docker run -d \\\n  -p 8080:80 \\\n  nginx", 8080),
        ("if true; then serve -p 5000; fi", 5000),
        ("./run --port 65535", 65535),
    ],
)
def test_a_port_in_a_command_is_found(line, port):
    assert ports(line) == [port]


@pytest.mark.parametrize(
    "line",
    [
        "echo 12:30",
        "at 12:30:45 do",
        "date +%H:%M # 12:30",
        "sleep 3000",
        "echo 2024-01-02T10:20:30Z",
        "pip install django==4.2.11",
        "docker pull node:18",
        "docker pull registry.example.com:5000/app",
        "curl http://db.example.com:5432/",
        "curl http://10.0.0.7:8080/",
        "psql postgres://user:12345@db.example.com/x",
        "redis-cli -u redis://:12345@cache.example.com:6379",
        "ping fe80::1:8080",
        "ping 2001:db8::8080",
        "ping ::8080",
        "curl http://[2001:db8::1]:8080/",
        "curl http://mylocalhost:8080/",
        "curl http://localhost.example.com:8080/",
        "ssh -p 2222 user@host",
        "psql -h db --port 5432",
        "mkdir -p 2024",
        "ps -p 12345",
        "sshpass -p 12345 ssh host",
        "ssh -L 8080:localhost:80 host",
        "run --port auto",
        "run --port 0",
        "run --port 7",
        "run --port 65536",
        "run --port 123456",
        "run --port 80.5",
        "run --port 3000abc",
        "run --import 3000 --viewport 1024",
        "run --port-range 3000",
        "PORTS=3000 run",
        "REPORT=2024 run",
        "docker run -p 80 nginx",
        "docker run -v /a:/b nginx",
        "# PORT=4000 node server.js",
        "run  # --port 4000",
        "LEVEL=:12345@x",
        "echo 50%:80%",
    ],
)
def test_what_only_looks_like_a_port_is_left_alone(line):
    assert ports(line) == []


ENV_FILE = """\
# Development of the pages
export TETRA_ORG=acme
export PORT=8080
API_PORT="4001"   # the API
TETRA_PORT=${TETRA_PORT:-4444}
PORT_METRICS=9100
export EMPTY_PORT=
DB_HOST=db.example.com
DB_PORT=5432
CACHE_HOST=127.0.0.1
CACHE_PORT=6379
SMTP_PORT=auto
API_TOKEN=12345
DATABASE_URL="postgres://me:s3cret@localhost:5433/pages"
REMOTE_URL=https://api.example.com:8443/
LISTEN=:7000
# see http://localhost:9999
"""


def test_an_env_file_tells_what_it_sets_and_not_what_it_uses():
    assert found(ENV_FILE, "orgs/acme/env/dev.env") == [
        ("acme", 8080, "tcp"),
        ("api", 4001, "tcp"),
        ("tetra", 4444, "tcp"),
        ("metrics", 9100, "tcp"),
        ("cache", 6379, "tcp"),
        ("database", 5433, "tcp"),
        ("acme", 7000, "tcp"),
    ]


def test_a_need_shows_its_place_and_nothing_else_of_its_line():
    text = "A=1\r\n  export API_PORT='4001'  # password: hunter2\r\nDB_URL=postgres://me:hunter2@localhost:5433/x\r\n"
    needs = in_text(text, "x/.env")
    assert [(need.line, need.column, need.kind, need.text) for need in needs] == [
        (2, 10, "env", "API_PORT='4001'"),
        (3, 30, "env", "localhost:5433"),
    ]
    assert "hunter2" not in repr(needs)


def test_what_a_need_shows_is_short_and_printable():
    assert in_text("PORT='\t4000'", ".env")[0].text == "PORT='\\t4000'"
    assert len(in_text(f"{'A' * 200}_PORT=4000", ".env")[0].text) == 80


def test_annotations_of_the_original_say_the_port_of_each_environment():
    text = "# {{dev:8580}} {{staging:9080}} {{prod:8080}}\nexport PORT=8080\n# {{dev:1}} {{qa:2}}\nA=3\nWEB_PORT=9\n"
    needs = in_text(text, "pages/local.env")
    assert [(need.name, need.port, need.line, need.column) for need in needs] == [
        ("pages-dev", 8580, 1, 3),
        ("pages-staging", 9080, 1, 16),
        ("pages-prod", 8080, 1, 33),
        ("pages", 8080, 2, 8),
        ("web", 9, 5, 1),
    ]


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/srv/Web_Shop/.env", "web-shop"),
        ("orgs/acme/env/dev.env", "acme"),
        ("arcade.env", "arcade"),
        ("/x/config/env/prod.env.tmpl", "x"),
        (".env", "service"),
        ("../.env.local", "service"),
        ("3d/.env", "service-3d"),
        ("/srv/" + "a" * 100 + "/.env", "a" * 63),
    ],
)
def test_a_port_without_a_name_is_called_as_its_file_or_folder(path, name):
    assert found("PORT=4000", path) == [(name, 4000, "tcp")]


@pytest.mark.parametrize("variable", ["TSM_NAME", "TETRA_NAME", "NAME", "APP_NAME"])
def test_a_name_in_an_env_file_wins_over_its_path(variable):
    assert found(f"export {variable}=My_App\nPORT=4000", "dev.env") == [("my-app", 4000, "tcp")]


DEFINITION = """\
#!/usr/bin/env bash
export TSM_NAME="Dev_Pages"
export TSM_PORT="${PAGES_PORT:-4000}"
export TSM_PORTS="1983:udp:osc:multicast-join:239.1.1.1 9100:tcp:metrics auto:tcp:x"
export TSM_COMMAND="cd app && PORT=4000 node server.js \\
  --debug-port 9229"
export TSM_HEALTH_CHECK="http://localhost:7777/health"
export ADMIN_PORT=4005  # for us
export API_URL=http://localhost:4100
"""


def test_a_definition_names_its_ports_by_the_service():
    assert found(DEFINITION, "x.tsm") == [
        ("dev-pages", 4000, "tcp"),
        ("dev-pages-osc", 1983, "udp"),
        ("dev-pages-metrics", 9100, "tcp"),
        ("dev-pages", 9229, "tcp"),
        ("dev-pages-admin", 4005, "tcp"),
    ]
    need = in_text(DEFINITION, "x.tsm")[1]
    assert (need.line, need.column, need.kind, need.text) == (4, 19, "definition", "1983:udp:osc")


@pytest.mark.parametrize(
    "more",
    ["if [[ ! -d x ]]; then source y; fi\n", 'TSM_CWD="$(cd "$(x)" && pwd)"\n', "web_start() {\n:\n}\n", "A='\n"],
)
def test_a_definition_that_the_reader_refuses_is_read_by_its_lines(more):
    assert found(DEFINITION + more, "x.tsm.sh") == found(DEFINITION, "x.tsm.sh")


def test_a_definition_says_what_its_reader_says():
    text = "BASE=4100\nTSM_PORT=3000\nTSM_PORT=$BASE\nTSM_PORT_TYPE=udp\nTSM_ARGS=('--port' '4200')\n"
    assert found(text, "a/services/api.tsm") == [("api", 4100, "udp"), ("api", 4200, "tcp")]


@pytest.mark.parametrize("value", ["auto", "8000+", "", "tetra", '"$(free)"', "0", "65536"])
def test_a_definition_without_a_fixed_port_needs_none(value):
    assert found(f"TSM_NAME=api\nTSM_PORT={value}\n", "api.tsm") == []


def test_a_definition_is_known_by_its_content():
    assert in_text("export TSM_PORT=4000\n", "api.txt")[0].kind == "definition"


COMPOSE = """\
version: "3.8"
x-web: &web
  ports: ["1:1"]
services:
  web_shop:
    image: nginx:1.25 # "9:9"
    command: |
      ports:
        - "99:99"
    ports:
    - "8080:80"
    - 8443:443   # tls
    - "127.0.0.1:5353:53/udp"
    - "3000-3002:3000-3002"
    - "${WEB_PORT:-${OTHER:-8081}}:81"
    - "9000"
    - "127.0.0.1::9001"
    - "[::1]:6001:6001"
    - "${NONE}:80"
    - "8083-8090:80"
    environment:
      - PORT=3999
  api:
    ports: ["4000:4000", '4001:4001', 4002:4002]
    depends_on: [db]
  db:
    ports:
      - target: 5432
        published: "5433"
        protocol: tcp
        mode: host
      - published: 7000
        target: 7001
      - {target: 80, published: 8090}
      - {"target": 80, "published": "8091", "protocol": "udp"}
  wide:
    ports: [
      "5000:80",  # one
      5001:81
    ]
    expose: ["11"]
  last:
      ports:
      - target: 80
        published: 8888
networks:
  a: {ports: ["6:6"]}
"""


def test_a_compose_file_tells_what_it_publishes():
    assert found(COMPOSE, "deploy/docker-compose.yml") == [
        ("web-shop", 8080, "tcp"),
        ("web-shop-443", 8443, "tcp"),
        ("web-shop-53", 5353, "udp"),
        ("web-shop-3000", 3000, "tcp"),
        ("web-shop-3001", 3001, "tcp"),
        ("web-shop-3002", 3002, "tcp"),
        ("web-shop-81", 8081, "tcp"),
        ("web-shop-6001", 6001, "tcp"),
        ("api", 4000, "tcp"),
        ("api-4001", 4001, "tcp"),
        ("api-4002", 4002, "tcp"),
        ("db", 5433, "tcp"),
        ("db-7001", 7000, "tcp"),
        ("db-80", 8090, "tcp"),
        ("db-80-udp", 8091, "udp"),
        ("wide", 5000, "tcp"),
        ("wide-81", 5001, "tcp"),
        ("last", 8888, "tcp"),
    ]


def test_a_published_port_has_its_place():
    needs = in_text(COMPOSE.replace("\n", "\r\n"), "compose.yaml")
    assert [(need.line, need.column, need.text) for need in needs[:2]] == [(11, 8, "8080:80"), (12, 7, "8443:443")]
    assert {need.kind for need in needs} == {"compose"}


@pytest.mark.parametrize("path", ["compose.yml", "compose.dev.yaml", "docker-compose.override.yml", "stack.yml"])
def test_a_compose_file_is_known_by_its_name_or_content(path):
    assert found("services:\n  a:\n    ports: ['80:80']\n", path) == [("a", 80, "tcp")]


@pytest.mark.parametrize(
    ("ports_of_a", "expected"),
    [
        ("\n     - 80:80\n     - 81:81", [80, 81, 99]),
        (" !override\n     - 80:80", [80, 99]),
        (" [\n    '80:80'", [80, 99]),
        ("\n     -\n       published: 80", [80, 99]),
        ("\n     - '80:80", [99]),
        ("\n     - a: [1:1", [99]),
        ("\n\t- 80:80", [99]),
        (" {}", [99]),
        ("\n     - 65536:1\n     - 0:1\n     - 5-4:5-4", [99]),
    ],
)
def test_odd_compose_files_tell_what_can_be_read(ports_of_a, expected):
    text = f"services:\n  a:\n   ports:{ports_of_a}\n  b:\n   ports:\n    - 99:99\n"
    assert ports(text, "compose.yml") == expected


def test_scripts_of_a_package_and_processes_are_commands():
    package = json.dumps(
        {"name": "@acme/Web.Shop", "scripts": {"dev": "next dev -p 3100", "api": "API_PORT=3200 node x"}, "year": 2024},
        indent=2,
    )
    assert found(package, "web/package.json") == [("web-shop", 3100, "tcp"), ("api", 3200, "tcp")]
    assert found(json.dumps(json.loads(package)), "package.json") == found(package, "package.json")
    procfile = "web: gunicorn --bind :5000 app\n# x: run --port 1111\nworker: python w.py --port 5001\n"
    assert found(procfile, "shop/Procfile") == [("web", 5000, "tcp"), ("worker", 5001, "tcp")]


def listener(port: int, **more) -> dict:
    return {
        "address": "0.0.0.0", "port": port, "protocol": "tcp", "state": "listen", "ipv6_only": False, "pid": 7,
        "command": "", "unit": "", "container": "", "owner": None, **more,
    }  # fmt: skip


def test_a_listener_is_called_by_what_says_most():
    needs = ports_discovery.from_listeners(
        [
            listener(1, owner="acme/dev/api", container="c", unit="u.service", command="node"),
            listener(2, container="acme_api_1", unit="u.service", command="node", state="published"),
            listener(3, unit="postgresql@14-main.service", command="postgres", protocol="udp"),
            listener(4, unit="session-3.scope", command="node"),
            listener(5),
            listener(6, command="curl", state="connection"),
        ]
    )
    assert [(need.name, need.port, need.protocol) for need in needs] == [
        ("api", 1, "tcp"), ("acme-api-1", 2, "tcp"), ("postgresql", 3, "udp"), ("node", 4, "tcp"), ("port-5", 5, "tcp"),
    ]  # fmt: skip
    assert (needs[0].kind, needs[0].text, needs[0].file) == ("listener", "0.0.0.0:1", "")


def need(name: str, port: int, kind: str = "env", protocol: str = "tcp", file: str = "f", line: int = 1) -> Need:
    return Need(name, port, protocol, file, line, 1, kind, "")


def judged(needs: list[Need], registry: Registry) -> list[tuple]:
    return [(one.name, one.port, one.state, one.reason) for one in propose(needs, registry)]


def test_one_port_is_one_proposal_by_its_most_telling_name():
    needs = [need("node", 80, "listener"), need("a", 80, "env"), need("web", 80, "compose"), need("b", 80, "command")]
    (proposal,) = propose(needs, Registry())
    assert (proposal.name, proposal.state, proposal.reason) == ("web", "new", "")
    assert [one.name for one in proposal.seen] == ["web", "a", "b", "node"]
    needs.append(need("shop", 80, "definition"))
    assert propose(needs, Registry())[0].name == "shop"


def test_proposals_do_not_depend_on_the_order_of_needs():
    needs = [need("a", 90), need("b", 80), need("c", 80), need("d", 80, protocol="udp"), need("b", 70)]
    expected = propose(needs, Registry())
    assert [(one.port, one.protocol) for one in expected] == [(70, "tcp"), (80, "tcp"), (80, "udp"), (90, "tcp")]
    assert propose(needs[::-1], Registry()) == expected


@pytest.mark.parametrize(
    "registry",
    [
        Registry(names={"my-app": 4000}),
        Registry(names={"My_App": 4000}),
        Registry(names={"my-app-dev": 5, "other": 6}, owned={"acme/dev": {"my-app": 4000}}),
        Registry(owned={"acme/dev": {"my/app": 4000}}),
        Registry(names={"my-app": 4000}, reserved={"x": [4000]}),
    ],
)
def test_a_port_that_its_name_has_is_registered(registry):
    assert judged([need("my-app", 4000)], registry) == [("my-app", 4000, "registered", "")]


def test_a_port_that_one_of_its_needs_has_is_registered_under_that_name():
    needs = [need("other", 4000, "definition"), need("api", 4000, "env")]
    assert judged(needs, Registry(names={"api": 4000})) == [("api", 4000, "registered", "")]


def test_what_only_listens_on_a_registered_port_is_its_holder():
    registry = Registry(names={"api": 4000})
    assert judged([need("python3", 4000, "listener")], registry) == [("api", 4000, "registered", "")]
    assert judged([need("python3", 4000, "command")], registry)[0][2] == "conflict"


@pytest.mark.parametrize(
    ("registry", "reason"),
    [
        (Registry(names={"api": 4100}), "api has port 4100"),
        (Registry(names={"api": "4000/udp"}), "api has port 4000/udp"),
        (Registry(names={"web": 4000}), "port 4000 belongs to web"),
        (Registry(owned={"acme/dev": {"web": 4000}}), "port 4000 belongs to acme/dev/web"),
        (Registry(reserved={"system": [22, 4000]}), "port 4000 is reserved (system)"),
        (Registry(names={"api": 1, "web": 4000}), "api has port 1; port 4000 belongs to web"),
    ],
)
def test_what_is_in_the_way_is_a_conflict_with_its_reason(registry, reason):
    assert judged([need("api", 4000)], registry) == [("api", 4000, "conflict", reason)]


def test_a_name_of_the_registry_is_known_however_it_is_written():
    assert judged([need("my-app", 4000)], Registry(names={"My_App": 1}))[0][2:] == ("conflict", "My_App has port 1")


def test_udp_is_not_in_the_way_of_tcp():
    assert judged([need("dns", 53)], Registry(names={"other": "53/udp"}))[0][2] == "new"


def test_one_name_is_proposed_for_one_port():
    needs = [
        need("api", 4000, file="dev.env"),
        need("api", 4001, file="prod.env", line=7),
        need("api", 3000, "compose"),
    ]
    assert judged(needs, Registry()) == [
        ("api", 3000, "new", ""),
        ("api", 4000, "conflict", "api is proposed for port 3000 (f:1) already"),
        ("api", 4001, "conflict", "api is proposed for port 3000 (f:1) already"),
    ]


def test_programs_of_one_name_get_names_of_their_own():
    needs = [need("python3", 4000, "listener"), need("python3", 4001, "listener"), need("nc", 4002, "listener")]
    assert judged(needs, Registry(names={"nc": 1})) == [
        ("python3", 4000, "new", ""), ("python3-4001", 4001, "new", ""), ("nc-4002", 4002, "new", ""),
    ]  # fmt: skip


PATHS = st.sampled_from(["a.tsm", "b/.env", "compose.yml", "package.json", "Procfile", "run.sh", "", "/", "//.env"])
PIECES = st.sampled_from(
    ["\n", " ", "  ", "- ", "PORT=", "4000", "80:80", "ports:", "services:", "  a:", "[", "]", "{", "}", '"', "'", "|",
     "${A:-", "--port ", "-p ", "localhost:", ":", "#", "$(", "TSM_NAME=", "TSM_PORTS=", "published: ", "\\", "export ",
     "{{dev:80}}", "\r", "\t", "\0", "é", "\ud800", "/udp", ",", "0-9"]
)  # fmt: skip


@given(st.one_of(st.text(), st.lists(PIECES, max_size=40).map("".join)), PATHS)
def test_no_text_makes_it_raise_and_every_need_is_a_port_with_a_valid_name(text, path):
    needs = in_text(text, path)
    for one in needs:
        assert re.fullmatch(r"[a-z][a-z0-9-]{0,62}", one.name)
        assert 1 <= one.port <= 65535
        assert one.protocol in ("tcp", "udp")
        assert one.line >= 1
        assert one.column >= 1
        assert one.text.isprintable()
        assert len(one.text) <= 80
    assert {(one.port, one.protocol) for one in propose(needs, Registry())} == {(o.port, o.protocol) for o in needs}


def test_binary_data_needs_nothing():
    assert found("PORT=4000\n\0", ".env") == []


def test_what_is_far_behind_is_not_read():
    assert ports("x" * ports_discovery.MAXIMUM_TEXT + "\nPORT=4000", ".env") == []


WORDS = ["a", "A_", " ", "\n", "=", ":", "'", '"', "\\", "\\\n", "#", " #", "${A", "${A:-", "${A:-${A:-8", "é", "0"]
COMMANDS = ["PORT=", "PORT=1 ", "-p ", "-p", "--port ", "--a-", ":${a", ":8", ":80 ", "127.", "[:", "a;", "@"]
HEAVY = {
    "a.tsm": [*WORDS, *COMMANDS, "A='", 'A="', 'A="\\', "A=1\n", "export ", "TSM_PORTS=1 ", "$("],
    "b.tsm": ["$(\n", "A='$(", 'A="$(', "TSM_COMMAND=$(a\n", "A=$(1)\n"],
    "x.env": [*WORDS, "PORT=", "PORT=4000\n", "{{", "{{dev:", "{{ ", "{{dev:80}}", "\texport A=\n", "A=:80\n"],
    "compose.yml": [*WORDS, "- ", "-", "[", "{", "a: ", "- [\n", "- |\n", ":8", "80:80 ", " - 80:80\n", " a:\n"],
    "docker-compose.yml": ["[", "]", "{", "}", ",", "a: ", '"a"', ":", "80:80,", "\n", "{published: 80}, "],
    "package.json": ['"name":"@', '"scripts":{', '"scripts" ', "}", ":80 "],
    "Procfile": ["a:", "a: ", "a:\n", "-p 80 "],
    "x.sh": [*WORDS, *COMMANDS, "services:\n", "TSM_NAME\n"],
}
HEADS = {
    "b.tsm": "A=$(x)\n", "compose.yml": "services:\n a:\n  ports:\n   - ", "package.json": '"scripts": {',
    "docker-compose.yml": "services:\n a:\n  ports: [",
}  # fmt: skip


def seconds(text: str, path: str, runs: int = 1) -> float:
    """The least processor time of some runs: whatever else the machine does only adds to it."""
    found = []
    for _run in range(runs):
        start = time.process_time()
        in_text(text, path)
        found.append(time.process_time() - start)
    return min(found)


@pytest.mark.parametrize("path", HEAVY)
def test_sixteen_times_the_text_takes_about_sixteen_times_as_long(path):
    """Not a measure of speed: what looks at every place again from every place would take 256 times as long."""
    for piece in HEAVY[path]:
        small, large = (HEADS.get(path, "") + piece * (size // len(piece)) for size in (5_000, 80_000))
        if seconds(large, path) > 0.03:
            assert seconds(large, path, 3) < 60 * seconds(small, path, 3) + 0.015, piece
