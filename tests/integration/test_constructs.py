# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every construct that users of the original wrote into definitions: it is read as bash reads it, or refused with its
place, its reason and what to write instead. Nothing is ever run.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys

import pytest
from ansible_collections.tetra.platform.plugins.module_utils.model import definition, service_reader
from ansible_collections.tetra.platform.plugins.module_utils.model.errors import TetraError
from bash_oracle import HOST, assert_same, bash_sets_all, ours

HOME = {"var": "HOME"}
DIR = {"var": "TETRA_SERVICE_DIR"}
PORT = {"var": "TSM_PORT"}
RUN = {"command": {"argv": ["node", "server.js"]}}
COMMAND = 'export TSM_COMMAND="node server.js"\n'

# What it is called, its text, and what comes of it: keys of the service, or of its environment.
READ = [
    ("plain assignment", "TSM_COMMAND=node\n", {"command": {"argv": ["node"]}}),
    ("export", 'export TSM_COMMAND="node server.js"\n', RUN),
    ("export of a name set before", f'TSM_X=1\n{COMMAND}A=b\nexport A\n', {"environment": {"A": "b"}}),
    ("several on a line", f"{COMMAND}export A=1 B='2 3'; export C=4\n",
     {"environment": {"A": "1", "B": "2 3", "C": "4"}}),
    ("unquoted value with a variable", f"{COMMAND}export PW_DIR=$HOME/work\n",
     {"environment": {"PW_DIR": [HOME, "/work"]}}),
    ("single quotes", f"{COMMAND}export A='$x \"y\"'\n", {"environment": {"A": '$x "y"'}}),
    ("double quotes", f'{COMMAND}export A="it\'s \\"so\\""\n', {"environment": {"A": "it's \"so\""}}),
    ("quotes side by side", f"{COMMAND}export A='a'\"b\"c\n", {"environment": {"A": "abc"}}),
    ("a comment after a value", f'{COMMAND}export A="b" # not c\n', {"environment": {"A": "b"}}),
    ("a hash in a value", f"{COMMAND}export A=b#c\n", {"environment": {"A": "b#c"}}),
    ("a key that is commented out", f"{COMMAND}#export TSM_PORT=1\n  # TSM_CWD=/x\n", {"cwd": None}),
    ("shebang and header", f"#!/usr/bin/env bash\n# Service\n\n{COMMAND}", RUN),
    ("line ends of Windows", COMMAND.replace("\n", "\r\n"), RUN),
    ("no line end at the end", COMMAND.rstrip(), RUN),
    ("host variables", f'{COMMAND}export A="$HOME:${{TETRA_SRC}}:$TETRA_DIR"\n',
     {"environment": {"A": [HOME, ":", {"var": "TETRA_SRC"}, ":", {"var": "TETRA_DIR"}]}}),
    ("a default", f'{COMMAND}export A="${{NOT_SET:-x y}}"\n', {"environment": {"A": "x y"}}),
    ("a key set above", f'{COMMAND}TSM_PORT=8123\nexport U="http://localhost:${{TSM_PORT}}/"\n',
     {"environment": {"U": ["http://localhost:", PORT, "/"]}}),
    ("a private helper", f'{COMMAND}TSM_CADDY_DIR="$HOME/caddy"\nexport A="${{TSM_CADDY_DIR}}/x"\n',
     {"environment": {"A": [HOME, "/caddy/x"]}}),
    ("the folder of the file", f'{COMMAND}export TSM_CWD="$(dirname "${{BASH_SOURCE[0]}}")"\n', {"cwd": [DIR]}),
    ("the same, unquoted", f"{COMMAND}TSM_CWD=$(dirname $BASH_SOURCE)/bin\n", {"cwd": [DIR, "/bin"]}),
    ("its absolute path", f'{COMMAND}TSM_CWD="$(cd "$(dirname "${{BASH_SOURCE[0]}}")" && pwd)"\n', {"cwd": [DIR]}),
    ("the same, quietly", f'{COMMAND}D="$(cd -- "$(dirname -- "${{BASH_SOURCE[0]}}")" >/dev/null 2>&1 && pwd -P)"\n'
     'export A="$D/x"\n', {"environment": {"A": [DIR, "/x"]}}),
    ("a dot as the folder", f"{COMMAND}TSM_CWD=.\n", {"cwd": "."}),
    ("several lines in double quotes", 'export TSM_COMMAND="sh -c \\"\n  exec node ${HOME}/x\n\\""\n',
     {"command": {"argv": ["sh", "-c", ["\n  exec node ", HOME, "/x\n"]]}}),
    ("several lines in single quotes", f"{COMMAND}TSM_PRE_START='\nmkdir -p x\ntouch x/y\n'\n",
     {"pre_commands": [{"shell": "\nmkdir -p x\ntouch x/y\n"}]}),
    ("a command with shell syntax", "TSM_COMMAND='cd app && PORT=1 node x'\n",
     {"command": {"shell": "cd app && PORT=1 node x"}}),
    ("an array of arguments", "export TSM_COMMAND=node\nexport TSM_ARGS=('server.js' '--production')\n",
     {"command": {"argv": ["node", "server.js", "--production"]}}),
    ("a port", f"{COMMAND}TSM_PORT=4400\n", {"port": {"kind": "fixed", "number": 4400, "name": None}}),
    ("a port from a number on", f'{COMMAND}TSM_PORT="8000+"\n',
     {"port": {"kind": "from", "number": 8000, "name": None}}),
    ("any port", f'{COMMAND}TSM_PORT="auto"\n', {"port": {"kind": "auto", "number": None, "name": None}}),
    ("a port with a default", f"{COMMAND}TSM_PORT=${{PORT:-8090}}\n",
     {"port": {"kind": "fixed", "number": 8090, "name": None}}),
    ("an empty port", f'{COMMAND}TSM_PORT=""\n', {"port": {"kind": "auto", "number": None, "name": None}}),
    ("inline variables", f'{COMMAND}TSM_ENV="A=1 B=two"\n', {"environment": {"A": "1", "B": "two"}}),
    ("no variables", f"{COMMAND}TSM_ENV=none\n", {"environment": {}}),
    ("an environment by its name", f"{COMMAND}TSM_ENV=dev\n", {"environment": {}}),
    ("a file of variables", f"{COMMAND}TSM_ENV_FILE=env/dev.env\n", RUN),
    ("a check by address", f"{COMMAND}TSM_PORT=auto\nTSM_HEALTH_CHECK='http://localhost:${{TSM_PORT}}/health'\n",
     {"health": {"kind": "http", "url": ["http://localhost:", PORT, "/health"], "interval": 5.0, "timeout": 2.0,
                 "start_period": 10.0, "retries": 3}}),
    ("a check by command", f"{COMMAND}TSM_HEALTH_CHECK='pgrep -f server.js'\n",
     {"health": {"kind": "command", "command": {"argv": ["pgrep", "-f", "server.js"]}, "interval": 5.0, "timeout": 2.0,
                 "start_period": 10.0, "retries": 3}}),
    ("dependencies", f'{COMMAND}TSM_DEPENDS="db cache"\n', {"depends": ["db", "cache"]}),
    ("programs it needs", f'{COMMAND}TSM_DEPS="node"\n', {"unused": ["TSM_DEPS"]}),
    ("ports of other kinds", f'{COMMAND}TSM_PORT=auto\nTSM_PORTS="1983:udp:osc"\nTSM_PORT_TYPE=udp\n',
     {"port": {"kind": "auto", "number": None, "name": None, "protocol": "udp"},
      "ports": {"osc": {"kind": "fixed", "number": 1983, "name": None, "protocol": "udp"}}}),
    ("words of the original",
     f"{COMMAND}TSM_AUTOSTART=true\nTSM_RESTART_ON_FAILURE=\"true\"\nTSM_DESCRIPTION='My — app'\n",
     {"autostart": True, "restart": "on-failure", "description": "My — app"}),
    ("what other tools wrote", f"{COMMAND}TSM_AUTO_RELOAD=true\nTSM_WATCH_PATTERNS='*.js'\n",
     {"unused": ["TSM_AUTO_RELOAD", "TSM_WATCH_PATTERNS"]}),
]  # fmt: skip

# What it is called, its text, where it stands, why it is refused, and a word of the advice.
REFUSED = [
    ("command substitution", f'{COMMAND}export A="$(readlink x)"\n', "2:11", "a command substitution", "NAME:-default"),
    ("backticks", f"{COMMAND}A=`date`\n", "2:3", "a command substitution", "NAME:-default"),
    ("the folder above", f'{COMMAND}A="$(cd "$(dirname "${{BASH_SOURCE[0]}}")/.." && pwd)"\n', "2:4",
     "a command substitution",
     "NAME:-default"),
    ("a function", "api_start() {\n  node x\n}\n", "1:1", "a shell function", "TSM_COMMAND"),
    ("a condition", f'{COMMAND}if [[ ! -d x ]]; then\n  source y\nfi\n', "2:1", "shell control flow",
     "environments/<env>.toml"),
    ("another file", f'{COMMAND}source "$HOME/tetra.sh"\n', "2:1", "another file being read", "TSM_ENV_FILE"),
    ("another file, with a dot", f"{COMMAND}. ./env\n", "2:1", "another file being read", "TSM_ENV_FILE"),
    ("a here-document", f"{COMMAND}cat <<END\nx\nEND\n", "2:1", "a command", "TSM_COMMAND"),
    ("a command", "node server.js\n", "1:1", "a command", "TSM_COMMAND"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), [row[1:] for row in READ], ids=[row[0] for row in READ])
def test_a_construct_is_read(text, expected):
    found, _findings = service_reader.from_definition(definition.parse(text, "api.tsm", {}), {}, {})
    wire = found.to_wire()
    assert {key: wire[key] for key in expected} == expected


@pytest.mark.parametrize("row", REFUSED, ids=[row[0] for row in REFUSED])
def test_a_construct_is_refused_with_its_place_its_reason_and_advice(row):
    _name, text, place, reason, advice = row
    with pytest.raises(TetraError) as caught:
        definition.parse(text, "api.tsm", {})
    assert caught.value.message.startswith(f"api.tsm:{place}: found {reason}")
    assert advice in caught.value.hint


@pytest.mark.parametrize("text", [row[1] for row in READ], ids=[row[0] for row in READ])
def test_bash_finds_the_same_in_it(tmp_path, text):
    assert_same(tmp_path, text.replace("\r\n", "\n"))


FILES = 5000
SEED = 20261125
# What would leave a file behind if it were run.
RUN_ME = ["$(touch {0})", "`touch {0}`", "$(cd \"$(touch {0})\" && pwd)"]


class Writer:
    """Somebody who writes definitions, by chance, out of the constructs above.

    :param canary: a file that must never be there.
    """

    def __init__(self, chance: random.Random, canary: str) -> None:
        self.chance = chance
        self.canary = canary
        self.known = ["HOME", "TETRA_SRC", "TETRA_DIR", "PORT"]

    def file(self) -> str:
        """A definition; one in thirty would run something."""
        lines = [self.chance.choice(["#!/usr/bin/env bash\n# A service\n", "", "# Generated - do not edit\n\n"])]
        lines.append(f"export TSM_NAME={self.chance.choice(['api', chr(34) + 'my-app' + chr(34)])}\n")
        lines.append(f"export TSM_COMMAND={self.quoted()}\n")
        # A port is known on the host alone, which has the one that bash is given as well.
        lines.append(self.chance.choice(["", f"TSM_PORT={HOST['PORT']}\n", "export TSM_PORT=${PORT:-8090}\n"]))
        lines += [self.line() for _number in range(self.chance.randint(1, 12))]
        if self.chance.random() < 1 / 30:
            lines.append(f"export BAD=\"{self.chance.choice(RUN_ME).format(self.canary)}\"\n")
        return "".join(lines)

    def line(self) -> str:
        name = self.chance.choice(["TSM_CWD", "TSM_DIR", "NODE_ENV", "A_1", "URL", "TSM_DESCRIPTION", "pg"])
        forms = ["{0}={1}\n", "export {0}={1}\n", "  export {0}={1}   # remark\n", "{0}={1}; {0}_2={2}\n",
                 "#export {0}=old\n{0}={1}\n", "\nexport {0}={1} {0}_2={2}\n"]
        text = self.chance.choice(forms).format(name, self.word(), self.word())
        self.known.append(name)
        return text

    def word(self) -> str:
        kinds = [self.bare, self.quoted, self.single, self.folder, lambda: self.bare() + self.quoted()]
        return self.chance.choice(kinds)()

    def bare(self) -> str:
        plain = ["4400", "8000+", "auto", "true", "a/b.js", "", "x=y", "~/app", "a\\ b"]
        return self.chance.choice([*plain, self.reference()])

    def single(self) -> str:
        script = "'\nmkdir -p x\n  echo \"$y\" | tee z\n'"
        return self.chance.choice(["'a b'", "'$HOME \"x\"'", script, "'#no'", "'é — ü'"])

    def quoted(self) -> str:
        plain = ["node server.js", " --port ", '\\"quoted\\"', "\n  next line", "it's", "#", "\\$HOME", "\\\\", " | ;"]
        count = self.chance.randint(1, 5)
        pieces = [self.chance.choice([*plain, self.reference(), self.folder()]) for _number in range(count)]
        return '"' + "".join(pieces) + '"'

    def reference(self) -> str:
        name = self.chance.choice(self.known)
        return self.chance.choice(["$" + name + "/", "${" + name + "}", "${" + name + ":-8090}", "${NOT_SET:-none}"])

    def folder(self) -> str:
        """Never unquoted, where bash would split the folder's name."""
        return self.chance.choice(['$(dirname "${BASH_SOURCE[0]}")', '$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)'])


def test_of_many_definitions_nearly_all_are_read_with_the_values_of_bash_and_nothing_is_run(tmp_path):
    canary = tmp_path / "canary"
    chance = random.Random(SEED)
    texts = {f"{number:04}": Writer(chance, str(canary)).file() for number in range(FILES)}
    folder = tmp_path / "definitions"
    folder.mkdir()
    read = {}
    for name, text in texts.items():
        try:
            read[name] = ours(text, folder)[0]
        except TetraError as error:
            assert "a command substitution" in error.message, (text, error)
    assert not canary.exists()
    print(f"{len(read)} of {FILES} files are read ({100 * len(read) / FILES:.1f} %), the others would run something")
    assert len(read) >= 0.95 * FILES
    theirs = bash_sets_all(folder, {name: texts[name] for name in read})
    different = [texts[name] for name, mine in read.items() if mine != {key: theirs[name].get(key) for key in mine}]
    assert not different, different[0]
    assert os.path.expanduser("~") != HOST["HOME"]


MUTATED = 800
READER = """
import json, sys, tracemalloc
from ansible_collections.tetra.platform.plugins.module_utils.model import definition
from ansible_collections.tetra.platform.plugins.module_utils.model.errors import TetraError
texts = json.load(sys.stdin)
tracemalloc.start()
read = most = 0
for text in texts:
    tracemalloc.reset_peak()
    before = tracemalloc.get_traced_memory()[0]
    try:
        definition.parse(text, "x.tsm", {})
        read += 1
    except TetraError:
        pass
    most = max(most, tracemalloc.get_traced_memory()[1] - before)
print(read, most)
"""
PIECES = [*"\"'$`\\{}()\n#~\0\x1b€", "${A:-", "$(", "<<", "=(", "\\\n", "${secret:"]


def mutated(chance: random.Random, text: str) -> str:
    """A file of which pieces were lost, doubled, moved or replaced by something that means much to a shell."""
    for _number in range(chance.randint(1, 6)):
        start = chance.randrange(len(text) + 1)
        end = min(len(text), start + chance.choice([1, 1, 5, 40]))
        often = chance.choice([1, 2, 5000])
        piece = chance.choice(["", text[start:end] * often, chance.choice(PIECES) * often])
        text = text[:start] + piece + text[end:]
    return text


def test_mutated_definitions_never_crash_hang_or_take_much_memory(tmp_path):
    chance = random.Random(SEED)
    texts = [mutated(chance, Writer(chance, str(tmp_path / "canary")).file()) for _number in range(MUTATED)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run([sys.executable, "-c", READER], input=json.dumps(texts), env=environment, capture_output=True,
                          text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
    read, most = map(int, done.stdout.split())
    print(f"{read} of {MUTATED} mutated files are read, the others refused; one took at most {most / 2**20:.1f} MiB")
    assert 0 < read < MUTATED
    assert most < 64 * 2**20
    assert not (tmp_path / "canary").exists()
