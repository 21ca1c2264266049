# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Organizations that somebody wrote to do harm: one for each case of the rows A01 to A25 that a controller sees.

Each is told what becomes of it: valid, and then what it says stays text, or invalid with words that name the reason.
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping
from pathlib import Path

from ansible_collections.tetra.platform.plugins.plugin_utils import host_code

CANARY = "@CANARY@"
"""Stands in files for a path that nobody has any reason to make."""
LOOKUP = "{{ lookup('ansible.builtin.pipe', 'touch @CANARY@') }}"
RUN = 'TSM_COMMAND="sleep 1000"\n'


@dataclasses.dataclass(frozen=True)
class Attack:
    """One organization, without the files that every one has.

    ``files`` is path to content; a content that begins with ``-> `` is the target of a link, one of None a named pipe.
    ``said`` are words of the reason, each of which has to be told; without any the organization is valid.
    """

    name: str
    files: Mapping[str, str | bytes | None]
    said: tuple[str, ...] = ()

    @property
    def row(self) -> str:
        """The row of the table of guarantees."""
        return self.name.partition("-")[0]

    @property
    def org(self) -> str:
        """The name of the organization, and of its directory."""
        return self.name.lower()

    def write(self, place: Path, canaries: Path) -> None:
        """Write the organization into a folder; a canary of its own is in another one."""
        canary = canaries / self.org
        plain = {"org.toml": f'name = "{self.org}"\n', "services/web.tsm": RUN, "environments/dev.toml": ""}
        for path, content in {**plain, **self.files}.items():
            _put(place / self.org / path, content, canary)


def _put(place: Path, content: str | bytes | None, canary: Path) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    if content is None:
        os.mkfifo(place)
    elif isinstance(content, str) and content.startswith("-> "):
        place.symlink_to(content[3:].replace(CANARY, os.fspath(canary)))
    else:
        data = content if isinstance(content, bytes) else content.encode("utf-8", "surrogateescape")
        place.write_bytes(data.replace(CANARY.encode(), os.fsencode(canary)))


def _service(name: str, text: str, *said: str) -> Attack:
    return Attack(name, {"services/web.tsm": text}, said)


def _template(name: str, text: str, *said: str) -> Attack:
    return Attack(name, {"templates/x.conf.j2": text}, said)


def _values(name: str, text: str, *said: str) -> Attack:
    return Attack(name, {"environments/dev.toml": text}, said)


_QUOTED = "{{ lookup(`ansible.builtin.pipe`, `touch @CANARY@`) }}".replace("`", "")

INERT = [
    _service("A01-lookup-in-a-description", f'{RUN}TSM_DESCRIPTION="{LOOKUP}"\n'),
    _service("A01-lookup-in-a-command", f'TSM_COMMAND="echo {LOOKUP}"\n'),
    _service("A01-lookup-in-an-argument", f'TSM_COMMAND=echo\nTSM_ARGS=("{LOOKUP}")\n'),
    _service("A01-lookup-in-a-variable", f'{RUN}export A="{LOOKUP}"\n'),
    _service("A01-lookup-in-inline-variables", f"{RUN}TSM_ENV='A=\"{_QUOTED}\"'\n"),
    _service("A01-lookup-in-a-pre-command", f'{RUN}TSM_PRE_START="echo {LOOKUP}"\n'),
    _service("A01-lookup-in-a-health-check", f'{RUN}TSM_HEALTH_CHECK="echo {LOOKUP}"\n'),
    _service("A01-lookup-in-a-folder", f'{RUN}TSM_CWD="{LOOKUP}"\n'),
    _service("A01-lookup-in-an-unknown-key", f'{RUN}TSM_COLOUR="{LOOKUP}"\n'),
    _service("A01-lookup-in-a-comment", f"# {LOOKUP}\n{RUN}"),
    _values("A01-lookup-in-a-value", f'[values]\nx = "{LOOKUP}"\n'),
    _values("A01-lookup-in-a-variable-of-the-environment", f'[environment]\nX = "{LOOKUP}"\n'),
    Attack("A01-lookup-in-what-is-said-of-the-organization",
           {"org.toml": f'name = "a01-lookup-in-what-is-said-of-the-organization"\ndescription = "{LOOKUP}"\n'}),
    Attack("A01-lookup-in-a-file-of-variables",
           {"services/web.tsm": f"{RUN}TSM_ENV_FILE=web.env\n", "services/web.env": f'A="{LOOKUP}"\n'}),
    Attack("A01-lookup-in-a-file", {"files/web/index.html": LOOKUP}),
    Attack("A01-lookup-in-the-name-of-a-file", {"files/web/{{ lookup('env', 'HOME') }}": "x"}),
]
REFUSED_TEXT = [
    _template("A01-lookup-in-a-template", f"a\n{LOOKUP}\n", "templates/x.conf.j2:2", "'lookup' is not defined"),
    _service("A01-lookup-in-a-port", f'{RUN}TSM_PORT="{LOOKUP}"\n', "services/web.tsm:2", "is not a port"),
    _service("A01-lookup-in-a-user", f'{RUN}TSM_USER="{LOOKUP}"\n', "services/web.tsm:2", "is not the name of a user"),
    _service("A01-lookup-in-a-size", f'{RUN}TSM_MEMORY_LIMIT="{LOOKUP}"\n', "services/web.tsm:2", "is not a size"),
    _service("A01-lookup-in-a-dependency", f'{RUN}TSM_DEPENDS="{LOOKUP}"\n', "services/web.tsm:2"),
    _service("A01-lookup-in-a-service-name", f'{RUN}TSM_NAME="{LOOKUP}"\n', "services/web.tsm", "is not a name for"),
    Attack("A02-lookup-in-the-name-of-the-organization", {"org.toml": f'name = "{LOOKUP}"\n'},
           ("org.toml:1", "is not a name for the organization")),
    Attack("A02-lookup-in-the-name-of-a-definition", {"services/{{ lookup('env', 'HOME') }}.tsm": RUN},
           ("is not a name for the service",)),
    Attack("A02-lookup-in-a-placement", {
        "org.toml": f'name = "a02-lookup-in-a-placement"\n[placement]\nweb = ["{LOOKUP}"]\n'}, ("lookup",)),
    Attack("A02-lookup-in-a-service-of-the-ports", {"ports.toml": f'[ports]\n"{LOOKUP}" = 4000\n'}),
    Attack("A02-lookup-in-an-environment", {"environments/dev.toml": f'inherit = "{LOOKUP}"\n'},
           ("environments/dev.toml:1",)),
]

ODD = [
    _template("A03-tag-that-ends-what-was-not-begun", "{% endraw %}{{ env }}", "templates/x.conf.j2:1"),
    _template("A03-raw-without-an-end", "{% raw %}{{ env }}", "templates/x.conf.j2:1"),
    _template("A03-comment-without-an-end", "{# never", "templates/x.conf.j2:1", "comment"),
    _template("A03-mark-of-byte-order-in-a-template", b"\xef\xbb\xbfx", "byte order mark"),
    _template("A03-nul-in-a-template", "a\0b", "byte 1 is NUL"),
    _service("A03-mark-of-byte-order-in-a-definition", b"\xef\xbb\xbf" + RUN.encode(), "byte order mark"),
    _service("A03-nul-in-a-variable", f'{RUN}export A="a\0b"\n', "NUL"),
    _service("A03-escape-in-a-description", f'{RUN}TSM_DESCRIPTION="\x1b]0;owned\x07"\n', "control character U+001B"),
    _service("A03-other-direction-in-a-variable", f'{RUN}export A="\u202eabc\u200b"\n', "control character U+202E"),
    _service("A03-other-direction-in-a-key", f"{RUN}export A\u202eB=1\n", "services/web.tsm:2"),
    _service("A03-escape-in-an-error", f"{RUN}TSM_PORT='\x1b[2J\u202e'\n", "web.tsm:2", "character U+001B"),
    Attack("A03-other-direction-in-the-name-of-a-file", {"files/web/a\u202eb": "x"}, ("control character",)),
    Attack("A03-line-end-in-the-name-of-a-file", {"files/web/a\nb": "x"}, ("control character",)),
    Attack("A03-name-of-a-file-that-is-not-utf-8", {"files/web/a\udcff": "x"}, ("not UTF-8",)),
    Attack("A03-zero-width-in-the-name-of-a-service", {"services/w\u200bb.tsm": RUN}, ("control character",)),
    Attack("A03-emoji-in-the-name-of-a-service", {"services/\U0001f600.tsm": RUN}, ("is not a name for the service",)),
    Attack("A03-bidi-in-the-name-of-the-organization", {"org.toml": 'name = "a\u202eb"\n'}, ("is not a name for",)),
    Attack("A03-emoji-in-a-value", {"environments/dev.toml": '[values]\nx = "\U0001f600 {% raw %}"\n'}),
]
TEMPLATES = [
    _template("A04-classes-of-python", "\n{{ ''.__class__.__mro__ }}", "x.conf.j2:2", "unsafe"),
    _template("A04-classes-by-index", "{{ ''['__class__'] }}", "x.conf.j2:1", "unsafe"),
    _template("A04-filter-attr", "{{ ''|attr('__class__') }}", "x.conf.j2:1", "No filter named 'attr'"),
    _template("A04-filter-map-attribute", "{{ ['']|map(attribute='__class__')|list }}", "x.conf.j2:1"),
    _template("A04-format", "{{ '{0.__class__.__mro__}'.format('') }}", "x.conf.j2:1"),
    _template("A04-format-map", "{{ '{a.__class__}'.format_map({'a': ''}) }}", "x.conf.j2:1"),
    _template("A04-globals-of-a-function", "{{ cycler.__init__.__globals__ }}", "x.conf.j2:1"),
    _template("A04-globals-of-a-namespace", "{{ namespace.__init__.__globals__['os'] }}", "x.conf.j2:1"),
    _template("A04-globals-of-the-template", "{{ self.__init__.__globals__ }}", "x.conf.j2:1"),
    _template("A04-imports", "{{ ().__class__.__base__.__subclasses__() }}", "x.conf.j2:1"),
    _template("A04-change-of-a-value", "{% set _ = services.update({'a': 1}) %}", "x.conf.j2:1", "unsafe"),
    _template("A04-another-file", "a\n{% include '/etc/passwd' %}", "x.conf.j2:2", "no template '/etc/passwd'"),
    _template("A04-import-of-another-file", "{% from 'x' import y %}", "x.conf.j2:1", "there is no template 'x'"),
    _template("A04-loop-without-end", "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
              "templates/x.conf.j2", "rendering"),
    _template("A04-range-that-is-too-long", "{{ range(10**9)|list }}", "x.conf.j2:1"),
    _template("A04-text-without-end", "{{ 'a' * 10**9 }}", "x.conf.j2:1"),
    _template("A04-power-without-end", "{{ 10**(10**8) }}", "templates/"),
    _template("A04-output-without-end", "{% for a in range(99999) %}{{ 'a' * 1000 }}{% endfor %}",
              "larger than 4194304"),
    _template("A04-macro-that-calls-itself", "{% macro a() %}{{ a() }}{% endmacro %}{{ a() }}", "nested too deeply"),
    _template("A04-nested-without-end", "{{ " + "(" * 20000 + ")" * 20000 + " }}", "x.conf.j2"),
    _template("A04-secrets", "{{ secrets }}{{ tetra_secrets }}", "x.conf.j2:1", "is not defined"),
    _template("A04-variables-of-the-controller", "{{ hostvars }}", "x.conf.j2:1", "is not defined"),
    _template("A04-chance", "{{ [1, 2]|random }}", "x.conf.j2:1", "random"),
]
SHELL = [
    _service("A05-command-substitution", f'{RUN}export A="$(touch @CANARY@)"\n', "web.tsm:2:11", "substitution"),
    _service("A05-backticks", f"{RUN}export A=`touch @CANARY@`\n", "web.tsm:2", "substitution"),
    _service("A05-command-behind-a-value", f"{RUN}A=1; touch @CANARY@\n", "web.tsm:2", "a command"),
    _service("A05-command-after-a-variable", f"{RUN}TSM_X=1 touch @CANARY@\n", "web.tsm:2", "a command"),
    _service("A05-source", f"{RUN}source /etc/profile\n", "web.tsm:2", "another file being read"),
    _service("A05-function", f"{RUN}tsm() {{ touch @CANARY@; }}\n", "web.tsm:2", "a shell function"),
    _service("A05-here-document", f"{RUN}cat > @CANARY@ <<END\nx\nEND\n", "web.tsm:2", "a command"),
    _service("A05-redirection", f"{RUN}A=1 > @CANARY@\n", "web.tsm:2"),
    _service("A05-condition", f"{RUN}if true; then touch @CANARY@; fi\n", "web.tsm:2", "shell control flow"),
    _service("A05-arithmetic", f'{RUN}export A="$((1+1))"\n', "web.tsm:2"),
    _service("A05-index-that-is-run", f"{RUN}A[$(touch @CANARY@)]=1\n", "web.tsm:2"),
    _service("A05-indirect-variable", f'{RUN}export A="${{!HOME}}"\n', "web.tsm:2"),
    _service("A05-default-that-is-run", f'{RUN}export A="${{B:-$(touch @CANARY@)}}"\n', "web.tsm:2"),
    _service("A05-replacement-that-is-run", f'{RUN}export A="${{HOME/x/$(touch @CANARY@)}}"\n', "web.tsm:2"),
    _service("A05-eval", f"{RUN}eval touch @CANARY@\n", "web.tsm:2", "a command"),
    _service("A05-trap", f"{RUN}trap 'touch @CANARY@' EXIT\n", "web.tsm:2", "a command"),
    _service("A05-continued-line", f"{RUN}A=1 \\\ntouch @CANARY@\n", "web.tsm:3", "a command"),
    _service("A05-line-ends-of-windows", f"{RUN}A=1\r\ntouch @CANARY@\r\n", "web.tsm:3", "a command"),
    _service("A05-process-substitution", f"{RUN}A=<(touch @CANARY@)\n", "web.tsm:2"),
    _service("A05-quote-without-an-end", f'{RUN}export A="x\n', "web.tsm:2"),
    Attack("A05-in-a-file-of-variables",
           {"services/web.tsm": f"{RUN}TSM_ENV_FILE=web.env\n", "services/web.env": "A=1\n$(touch @CANARY@)\n"},
           ("services/web.env:2",)),
]
PROCESS = [
    _service("A06-nul-in-a-command", "TSM_COMMAND=$'a\\0b'\n", "web.tsm:1"),
    _service("A06-argument-of-a-mebibyte", f'TSM_COMMAND="sleep {"1" * 2**20}"\n', "web.tsm"),
    _service("A06-no-command", 'TSM_COMMAND=""\n', "web.tsm"),
    *(_service(f"A07-variable-{name.lower().replace('_', '-')}", f"{RUN}export {name}=/x\n", "web.tsm:2", name)
      for name in ("LD_PRELOAD", "LD_LIBRARY_PATH", "LD_AUDIT", "BASH_ENV")),
    _values("A07-variable-of-the-environment", '[environment]\nLD_PRELOAD = "/x"\n', "LD_PRELOAD"),
    _service("A07-name-of-a-variable-with-an-equal-sign", f"{RUN}export 'A=B'=1\n", "web.tsm:2"),
    _service("A07-name-of-a-variable-with-a-line-end", f"{RUN}TSM_ENV=$'A\\nB=1'\n", "web.tsm:2"),
    _values("A07-name-of-a-variable-in-the-environment", '[environment]\n"A\\nExecStartPre" = "+id"\n', "dev.toml:2"),
]
NAMES = [
    Attack("A08-service-with-a-dash", {"services/-x.tsm": RUN}, ("is not a name for the service",)),
    Attack("A08-service-with-an-at", {"services/a@b.tsm": RUN}, ("is not a name for the service",)),
    Attack("A08-service-that-is-long", {f"services/{'a' * 64}.tsm": RUN}, ("is not a name for the service",)),
    _service("A08-service-of-300-characters", f"{RUN}TSM_NAME={'a' * 300}\n", "is not a name for the service"),
    _service("A08-service-with-a-path", f"{RUN}TSM_NAME=../x\n", "is not a name for the service"),
    _service("A08-service-with-a-dot", f"{RUN}TSM_NAME=web.service\n", "is not a name for the service"),
    _service("A08-service-with-a-unit-of-another", f'{RUN}TSM_NAME="x.service tetra-boot"\n', "is not a name"),
    Attack("A08-services-alike-but-for-capitals", {"services/Web.tsm": RUN}, ("both define service web",)),
    Attack("A08-services-alike-but-for-lines", {"services/a_b.tsm": RUN, "services/a-b.tsm": RUN},
           ("both define service a-b",)),
    Attack("A08-services-alike-by-their-keys", {"services/other.tsm": f"{RUN}TSM_NAME=web\n"},
           ("both define service web",)),
    Attack("A08-services-alike-when-composed",
           {"services/caf\u00e9.tsm": RUN, "services/cafe\u0301.tsm": RUN}, ("is not a name for the service",)),
    Attack("A08-organization-with-a-path", {"org.toml": 'name = "../../etc"\n'}, ("is not a name for the org",)),
    Attack("A08-organization-of-another-name", {"org.toml": 'name = "acme"\n'}, ("it names the organization acme",)),
    # The names of our own units hold dots, or no organization: nobody can have them.
    Attack("A08-service-called-like-a-unit-of-the-host", {"services/ssh.tsm": RUN, "services/tetra-boot.tsm": RUN}),
]
PATHS = [
    Attack("A09-link-to-a-file-of-the-machine", {"files/web/x": "-> /etc/passwd"}, ("leaves the tree",)),
    Attack("A09-link-out-of-the-organization", {"files/web/x": "-> ../../../other"}, ("leaves the tree",)),
    Attack("A09-link-to-other-folders", {"files/web/x": "-> ../../org.toml"}, ("leaves files/",)),
    Attack("A09-link-over-a-link", {"files/web/a": "-> ..", "files/web/b": "-> a/../../x"}, ("files/web/b",)),
    Attack("A09-link-in-a-circle", {"files/web/a": "-> b", "files/web/b": "-> a"}, ("circle",)),
    Attack("A09-link-to-nothing", {"files/web/a": "-> b"}, ("leads to nothing",)),
    Attack("A09-link-as-a-definition", {"services/x.tsm": "-> /etc/passwd"}, ("services/x.tsm is a link",)),
    Attack("A09-link-as-a-template", {"templates/x": "-> /etc/passwd"}, ("templates/x is a link",)),
    Attack("A09-link-as-the-head", {"ports.toml": "-> /etc/passwd"}, ("ports.toml is not a regular file",)),
    Attack("A09-link-as-a-folder", {"templates": "-> /etc"}, ("templates is not a folder",)),
    Attack("A09-named-pipe", {"files/web/x": None}, ("is a named pipe",)),
    Attack("A09-named-pipe-as-the-head", {"ports.toml": None}, ("ports.toml is not a regular file",)),
    Attack("A09-backslash", {"files/web/..\\x": "x"}, ("backslash",)),
    _service("A09-variables-out-of-the-organization", f"{RUN}TSM_ENV_FILE=../../etc/passwd\n", "is not there"),
    _service("A09-variables-of-the-machine", f"{RUN}TSM_ENV_FILE=/etc/passwd\n", "is not there"),
    _service("A09-variables-of-a-home", f"{RUN}TSM_ENV_FILE=~/x\n", "is not there"),
    _service("A09-variables-of-a-host", f'{RUN}TSM_ENV_FILE="$HOME/x"\n', "that only the host knows"),
]
LARGE = [
    _values("A12-key-twice", "[values]\nx = 1\nx = 2\n", "dev.toml:3"),
    _values("A12-table-twice", "[values]\n[values]\n", "dev.toml:2"),
    _values("A12-lists-10000-deep", f"values = {'[' * 10000}{']' * 10000}\n", "nested too deeply"),
    _values("A12-table-of-10000-parts", f"[values{'.a' * 10000}]\nx = 1\n", "dev.toml:1", "more than 20 parts"),
    _values("A12-key-of-10000-parts", f"values{'.a' * 10000} = 1\n", "dev.toml:1", "more than 20 parts"),
    _values("A12-key-of-10000-parts-inline", f"values = {{a{'.a' * 10000} = 1}}\n", "dev.toml:1", "20 parts"),
    _values("A12-inline-tables-10000-deep", "x = " + "{a = " * 10000 + "1" + "}" * 10000 + "\n", "nested too deeply"),
    _values("A12-number-of-a-million-digits", f"[values]\nx = {'9' * 10**6}\n", "environments/dev.toml"),
    _values("A12-not-a-number", "[values]\nx = nan\n", "environments/dev.toml:2", "is not a number"),
    _values("A12-infinity", "[values]\nx = -inf\n", "environments/dev.toml:2", "is not a number"),
    _values("A12-50-mebibytes", "#" * (50 * 2**20), "more than 1048576"),
    _values("A12-a-million-keys", "[values]\n" + "".join(f"k{n}=1\n" for n in range(120_000)), "environments/dev.toml"),
    _values("A12-yes-is-no-word", "[values]\nx = yes\n", "dev.toml:2"),
    _values("A12-octal", "[values]\nx = 08\n", "dev.toml:2"),
    _values("A12-python-object", "[values]\nx = !!python/object:os.system\n", "dev.toml:2"),
    _service("A12-key-twice-in-a-definition", f'{RUN}TSM_COMMAND="true"\n'),
    _service("A12-definition-of-2-mebibytes", RUN + "#" * 2**21, "web.tsm"),
    _service("A12-defaults-10000-deep", f'{RUN}export A="{"${A:-" * 10000}{"}" * 10000}"\n', "web.tsm:2"),
    _service("A12-a-value-that-doubles", RUN + "A=xxxxxxxxxxxxxxxx\n" + "A=$A$A$A$A\n" * 40, "web.tsm"),
    _values("A12-environments-in-a-circle", 'inherit = "dev"\n', "dev.toml"),
]
BROKEN = [
    _values("A13-utf-16-values", "[values]\n".encode("utf-16"), "environments/dev.toml", "UTF-16"),
    _values("A13-binary-values", bytes(range(256)), "environments/dev.toml", "byte 0 is NUL"),
    _values("A13-latin-1-values", "[values]\nx = 'ä'\n".encode("latin-1"), "environments/dev.toml", "byte 14"),
    _values("A13-values-that-end-early", '[values]\nx = "a', "environments/dev.toml:2"),
    Attack("A13-utf-16-organization", {"org.toml": 'name = "x"\n'.encode("utf-16")}, ("org.toml", "UTF-16")),
    Attack("A13-organization-that-ends-early", {"org.toml": 'name = "a13'}, ("org.toml:1",)),
    Attack("A13-organization-of-other-kinds", {"org.toml": "name = 1\n"}, ("org.toml:1",)),
    Attack("A13-binary-ports", {"ports.toml": b"\x7fELF\0"}, ("ports.toml", "NUL")),
    Attack("A13-ports-that-end-early", {"ports.toml": "[ports"}, ("ports.toml:1",)),
    _service("A13-utf-16-definition", RUN.encode("utf-16"), "services/web.tsm", "UTF-16"),
    _service("A13-binary-definition", b"\x7fELF\0\xff", "services/web.tsm", "NUL"),
    _service("A13-definition-that-ends-early", 'TSM_COMMAND="sleep', "services/web.tsm:1"),
    _template("A13-binary-template", b"\xff\xfe\0", "templates/x.conf.j2", "UTF-16"),
    _template("A13-latin-1-template", b"\xe4", "templates/x.conf.j2", "byte 0"),
    Attack("A13-binary-file-of-variables",
           {"services/web.tsm": f"{RUN}TSM_ENV_FILE=web.env\n", "services/web.env": b"\0"},
           ("services/web.env", "NUL")),
    Attack("A13-binary-files-are-files", {"files/web/x": bytes(range(256))}),
]
SECRETS = [
    _service("A21-secret-in-a-description", f'{RUN}TSM_DESCRIPTION="${{secret:A}}"\n', "web.tsm:2"),
    _service("A21-secret-in-a-command", 'TSM_COMMAND="echo ${secret:A}"\n', "web.tsm:1"),
    _service("A21-secret-in-an-argument", 'TSM_COMMAND=echo\nTSM_ARGS=("${secret:A}")\n', "web.tsm:2"),
    _service("A21-secret-in-a-health-check", f'{RUN}TSM_HEALTH_CHECK="http://x/${{secret:A}}"\n', "web.tsm:2"),
    _service("A21-secret-in-a-pre-command", f'{RUN}TSM_PRE_START="echo ${{secret:A}}"\n', "web.tsm:2"),
    _service("A21-secret-in-a-folder", f'{RUN}TSM_CWD="${{secret:A}}"\n', "web.tsm:2"),
    _service("A21-secret-in-a-user", f'{RUN}TSM_USER="${{secret:A}}"\n', "web.tsm:2"),
    _values("A21-secret-in-a-value", '[values]\nx = "${secret:A}"\n', "dev.toml:2"),
]
PORTS = [
    *(_service(f"A23-port-{name}", f"{RUN}TSM_PORT='{text}'\n", "services/web.tsm:2", "is not a port")
      for name, text in {"zero": "0", "below-zero": "-1", "beyond-the-last": "65536", "with-a-fraction": "80.5",
                         "with-a-command": "4000; rm",
                         "in-other-digits": "\u0664\u0660\u0660\u0660", "of-many-digits": "9" * 10**4}.items()),
    *(Attack(f"A23-pin-{name}", {"ports.toml": f"[ports]\nweb = {text}\n"}, ("ports.toml:2", "is not a port"))
      for name, text in {"zero": "0", "below-zero": "-1", "beyond-the-last": "65536", "with-a-fraction": "80.5",
                         "with-a-command": '"4000; rm"', "of-a-truth": "true", "of-a-list": "[4000]"}.items()),
    Attack("A23-range-that-runs-backwards", {"ports.toml": '[port_ranges]\ndev = "4199-4100"\n'}, ("ports.toml:2",)),
    Attack("A23-two-services-with-one-port", {"services/web.tsm": f"{RUN}TSM_PORT=4000\n",
                                              "services/api.tsm": f"{RUN}TSM_PORT=4000\n"}, ("4000",)),
]
CHECKS = [
    *(_service(f"A25-check-by-{scheme}", f'{RUN}TSM_HEALTH_CHECK="{scheme}://localhost/etc/passwd"\n',
               "services/web.tsm:2", "no way to ask a service") for scheme in ("file", "gopher", "ftp", "dict")),
    _service("A25-check-of-its-own-port", f'{RUN}TSM_PORT=auto\nTSM_HEALTH_CHECK="http://localhost:$PORT/"\n'),
]

ALL = [*INERT, *REFUSED_TEXT, *ODD, *TEMPLATES, *SHELL, *PROCESS, *NAMES, *PATHS, *LARGE, *BROKEN, *SECRETS, *PORTS,
       *CHECKS]

_NO_NAME = "is not a name for the organization"
REQUESTS: Mapping[str, tuple[Mapping[str, str], str]] = {
    **{f"A14-organization-that-is-{name}": ({"org": text}, _NO_NAME) for name, text in {
        "an-option": "--upload-pack=touch @CANARY@", "a-command": "ext::sh -c touch% @CANARY@",
        "a-folder-of-the-machine": "file:///etc", "an-address": "https://example.com/org.git", "a-path": "/etc",
        "a-path-upwards": "../../etc", "a-path-up-and-down": "acme/../..", "a-place-of-ssh": "git@example.com:acme",
        "this-folder": ".", "a-dash": "-x", "two-lines": "acme\nx",
    }.items()},
    **{f"A14-folder-that-is-{name}": ({"orgs": text, "org": "nowhere"}, "organization nowhere was not found; tried")
       for name, text in {
        "an-option": "--upload-pack=touch @CANARY@", "a-command": "ext::sh -c touch% @CANARY@",
        "an-address": "https://example.com/orgs", "a-place-of-ssh": "git@example.com:orgs",
    }.items()},
    **{f"A14-environment-that-is-{name}": ({"env": text}, "environment") for name, text in {
        "an-option": "--limit=all", "a-path": "../dev", "a-command": "dev; touch @CANARY@", "an-address": "http://dev",
    }.items()},
    "A14-source-that-is-a-path": ({"action": "promote", "source": "../../dev"}, "environment"),
    "A14-host-that-is-a-path": ({"action": "remove_host", "host": "../../etc/passwd"}, "is not a host of"),
}  # fmt: skip
"""What somebody asks for, and a word of what is said: there are no sources but folders, and names are no paths."""


@dataclasses.dataclass(frozen=True)
class Lie:
    """A host whose agent is a script that somebody else wrote.

    :param name: of the host.
    :param script: what its agent does, for a shell.
    :param said: a word of why its answer is none; empty when it is one, with this ``detail`` of the only check.
    :param python: what its Python says instead of running a module.
    """

    name: str
    script: str
    said: str = ""
    detail: str = "fine"
    python: str = ""

    def write(self, place: Path) -> None:
        """Write the host into a folder."""
        folder = place / self.name / "bin"
        folder.mkdir(parents=True)
        for name, script in ((f"tsm-{host_code.version()}", self.script), ("python", self.python)):
            (folder / name).write_text(f"#!/bin/sh\ncat > /dev/null\n{script}\n")
            (folder / name).chmod(0o755)

    def variables(self, place: str) -> dict[str, str]:
        """The variables of the host, whose folder is in a place."""
        found = {"ansible_connection": "local", "tetra_dir": f"{place}/{self.name}",
                 "ansible_python_interpreter": "{{ ansible_playbook_python }}"}
        return {**found, "ansible_python_interpreter": f"{place}/{self.name}/bin/python"} if self.python else found


def _says(answer: object) -> str:
    text = answer if isinstance(answer, str) else json.dumps(answer)
    return f"cat <<'END'\n{text}\nEND"


def _healthy(detail: str = "fine", **more: object) -> dict:
    checks = {"api": {"ok": True, "detail": detail, "check": "http"}}
    return {"changed": False, "healthy": True, "checks": checks, **more}


_FOREIGN = {
    "ansible_facts": {"ansible_connection": "ssh", "injected": True}, "add_host": {"host_name": "evil", "groups": []},
    "ansible_stats": {"data": {"injected": True}}, "_ansible_delegated_vars": {"ansible_host": "evil"},
    "_ansible_item_label": "x", "invocation": {}, "exception": "evil", "unreachable": True, "skipped": True,
}  # fmt: skip
_NO_AGENT = "echo 'tetra: no agent of this version'"
_ODD = "\x1b]0;owned\x07\x1b[2J\u202e"
_SHOWN = "\\u001b]0;owned\\u0007\\u001b[2J\\u202e"
LIES = [
    Lie("truth", _says({"result": _healthy()})),
    Lie("A15-facts-and-new-hosts", _says({"result": _healthy(**_FOREIGN)})),
    Lie("A15-facts-of-a-module", _NO_AGENT, python=_says(_healthy(**_FOREIGN))),
    Lie("A15-module-that-fails-with-facts", _NO_AGENT, "evil",
        python=_says({"failed": True, "msg": "evil", **_FOREIGN})),
    Lie("A15-escape-in-a-result", _says({"result": _healthy(_ODD)}), detail=_SHOWN),
    Lie("A15-template-in-a-result", _says({"result": _healthy("{{ lookup('env', 'HOME') }}")}),
        detail="{{ lookup('env', 'HOME') }}"),
    Lie("A15-escape-on-standard-error", "printf '\\033[2J' >&2; exit 3", "\\u001b[2J"),
    Lie("A15-escape-in-an-error", _says({"error": {"message": _ODD, "hint": "", "code": "unconfirmed"}}), _SHOWN),
    Lie("A15-error-of-another-form", _says({"error": {"message": ["x"]}}), "no error of ours"),
    Lie("A15-error-with-a-code-that-is-none", _says({"error": {"message": "", "hint": "", "code": "fine"}}),
        "code is 'fine', not one of"),
    Lie("A15-not-a-number", _says('{"result": {"changed": NaN}}'), "no answer came"),
    Lie("A15-infinity", _says('{"result": {"changed": false, "healthy": 1e999}}'), "healthy is inf, not true or false"),
    Lie("A15-number-without-end", _says('{"result": ' + "9" * 5000 + "}"), "no answer came"),
    Lie("A15-nested-without-end", _says("[" * 200_000), "no answer came"),
    Lie("A15-other-types", _says({"result": {**_healthy(), "checks": [1]}}), "checks is a list, not a mapping"),
    Lie("A15-missing-keys", _says({"result": {"changed": False}}), "healthy is missing"),
    Lie("A15-no-result", _says({"outcome": "applied"}), "it is None, not a record"),
    Lie("A15-answer-to-another", _says({"result": {"changed": True, "state": "confirmed"}}), "healthy is missing"),
    Lie("A15-no-json", _says("applied"), "no answer came"),
    Lie("A15-binary", "head -c 100000 /dev/zero", "no answer came"),
    Lie("A15-nothing", "true", "no answer came"),
    Lie("A15-one-gibibyte", "head -c 1G /dev/zero", "takes more than 256 MiB of memory"),
    Lie("A15-lines-without-end", "yes '{}' | head -c 1G", "takes more than 256 MiB of memory"),
]
