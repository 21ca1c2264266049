# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""From the sources of an organization to its services and its release."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from ansible_collections.tetra.platform.plugins.module_utils.model import canonical, release
from ansible_collections.tetra.platform.plugins.module_utils.model.errors import TetraError
from ansible_collections.tetra.platform.plugins.module_utils.model.service import Service
from ansible_collections.tetra.platform.plugins.plugin_utils import bundle, source

ACME = Path(__file__).resolve().parents[3] / "examples" / "orgs" / "acme"
COMMAND = 'TSM_COMMAND="true"\n'
DIGEST = "ab" * 32


@pytest.fixture
def services(make_org):
    """The services of an organization; ``dev`` unless said otherwise."""

    def read(files=None, env="dev", **options):
        return bundle.services(source.read(make_org(files)), env, **options)

    return read


@pytest.fixture
def build(make_org):
    """The release of an organization."""

    def build(files=None, env="dev", ports=None, digests=None):
        origin = source.read(make_org(files))
        return bundle.build(origin, env, bundle.services(origin, env), ports or {}, digests or {}, "k1")

    return build


def problem(services, files, **options):
    """What is said about sources that are wrong."""
    with pytest.raises(TetraError) as caught:
        services(files, **options)
    assert caught.value.code == "invalid"
    return str(caught.value)


def test_every_definition_directly_in_services_is_a_service(services):
    found = services({
        "services/api.tsm.sh": COMMAND,
        "services/b.tsm": f"{COMMAND}TSM_NAME=c",
        "services/notes.txt": "x",
        "services/deep/d.tsm": COMMAND,
    })
    assert sorted(found.services) == ["api", "c", "web"]
    assert [finding.file for finding in found.findings] == ["services/deep/d.tsm"]


def test_definitions_are_read_with_the_values_of_the_environment(services):
    files = {
        "services/web.tsm": 'export GREETING="$hello ${TSM_PORT}"\nTSM_COMMAND="true"\nTSM_PORT=auto',
        "environments/dev.toml": "[values]\nhello = 'hi'\n[environment]\nLEVEL = 5\nGREETING = 'never'\n"
                                 "[services.web]\nPORT = '9000+'\nEXTRA = 'x'",
    }
    web = services(files).services["web"].to_wire()
    assert web["environment"] == {"EXTRA": "x", "GREETING": ["hi ", {"var": "TSM_PORT"}], "LEVEL": "5"}
    assert web["port"] == {"kind": "from", "number": 9000, "name": None}


def test_two_files_that_name_one_service_are_refused(services):
    text = problem(services, {"services/My_Api.tsm": COMMAND, "services/my-api.tsm": COMMAND})
    assert "services/My_Api.tsm and services/my-api.tsm both define service my-api" in text


def test_two_files_may_look_alike_when_they_name_two_services(services):
    found = services({"services/My_Api.tsm": f"{COMMAND}TSM_NAME=one", "services/my-api.tsm": COMMAND})
    assert {"one", "my-api"} <= set(found.services)


def test_an_organization_without_services_is_refused(tmp_path):
    (tmp_path / "services").mkdir()
    (tmp_path / "org.toml").write_text('name = "acme"')
    with pytest.raises(TetraError, match="has no services"):
        bundle.services(source.read(tmp_path), "dev")


def test_everything_that_is_wrong_is_said_at_once(services):
    text = problem(services, {
        "services/a.tsm": "TSM_COMMAND=$(id)",
        "services/b.tsm": "TSM_PORT=99999\nTSM_COMMAND=x",
        "services/c.tsm": b"\xff",
        "services/d.tsm": f"{COMMAND}TSM_DEPENDS=nope",
        "environments/dev.toml": "[values]\nenv = 1",
        "ports.toml": "[ports]\nweb = 0",
        "org.toml": "once = ['gone']",
    })
    lines = text.splitlines()
    assert len(lines) == 7
    for place in ("services/a.tsm:1:", "services/b.tsm:1:", "services/c.tsm:", "services/d.tsm:",
                  "environments/dev.toml:2:", "ports.toml:2:", "org.toml:1:"):
        assert any(line.startswith(place) for line in lines), place


def test_a_dependency_that_is_no_service_is_refused_with_the_nearest_one(services):
    text = problem(services, {"services/api.tsm": f"{COMMAND}TSM_DEPENDS='wbe'"})
    assert "services/api.tsm: service api depends on wbe, which is not a service (did you mean web?)" in text


def test_a_dependency_on_a_definition_that_is_wrong_is_no_second_error(services):
    text = problem(services, {"services/api.tsm": "TSM_COMMAND=$(id)", "services/b.tsm": f"{COMMAND}TSM_DEPENDS=api"})
    assert len(text.splitlines()) == 1


@pytest.mark.parametrize(
    ("depends", "circle"),
    [
        ({"a": "b", "b": "a"}, "a -> b -> a"),
        ({"a": "b", "b": "c", "c": "b"}, "b -> c -> b"),
        ({"a": "b d", "b": "c", "c": "a", "d": ""}, "a -> b -> c -> a"),
    ],
)
def test_a_circle_of_dependencies_is_refused(services, depends, circle):
    files = {f"services/{name}.tsm": f"{COMMAND}TSM_DEPENDS='{on}'" for name, on in depends.items()}
    assert f"in a circle: {circle}" in problem(services, files)


def test_dependencies_without_a_circle_are_fine(services):
    depends = {"a": "b c", "b": "d", "c": "d", "d": ""}
    files = {f"services/{name}.tsm": f"{COMMAND}TSM_DEPENDS='{on}'" for name, on in depends.items()}
    assert services(files).services["a"].depends == ["b", "c"]


def test_placement_names_services_as_they_are_called_here(services):
    found = services({
        "services/my-api.tsm": COMMAND,
        "org.toml": "once = ['web']\n[placement]\nMy_Api = 'front'\nweb = ['a', 'b']",
    })
    assert found.placement == {"my-api": ["front"], "web": ["a", "b"]}
    assert found.once == ["web"]


def test_further_ports_are_pinned_by_their_keys(services):
    ported = f"{COMMAND}TSM_PORT=auto\nTSM_PORTS='auto:udp:dns auto:tcp:My_Admin'\n"
    pins = '[ports]\n"api/dns" = "5353/udp"\n[ports.dev]\n"Api/my_admin" = 4101\n"api/none" = 1\n'
    found = services({"services/api.tsm": ported, "ports.toml": pins})
    assert found.pins == {"api/dns": "5353/udp", "api/my-admin": 4101}
    (finding,) = found.findings
    assert (finding.line, "there is no such port of a service" in finding.message) == (5, True)


def test_further_ports_are_numbers_in_templates_and_stand_in_the_manifest(build):
    files = {
        "services/api.tsm": f"{COMMAND}TSM_PORT=auto\nTSM_PORTS=auto:udp:dns\n",
        "templates/ports.conf": "{{ services.api.port }} {{ services.api.ports.dns }} {{ ports.api }}\n",
    }
    built = build(files, ports={"api": 4100, "api/dns": "5353/udp"})
    assert built.manifest["services"]["api"]["ports"] == {"main": 4100, "dns": "5353/udp"}
    rendered = built.manifest["files"]["templates/ports.conf"]["sha256"]
    assert built.contents[rendered]() == b"4100 5353 4100\n"


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("[placement]\n\nwbe = 'x'", "org.toml:3: placement: wbe is not a service (did you mean web?)"),
        ("\nonce = ['web', 'wbe']", "org.toml:2: once: wbe is not a service (did you mean web?)"),
        ("[placement]\nonce = ['wbe']", "org.toml:2: placement.once: wbe is not a service (did you mean web?)"),
        ("[placement]\nWEB = 'x'\nweb = 'x'", "org.toml:1: two names in [placement] are the same service: WEB, web"),
    ],
)
def test_a_placement_that_cannot_be_is_refused(services, text, place):
    assert place in problem(services, {"org.toml": text})


def test_an_override_for_a_service_that_is_not_there_is_refused(services):
    text = problem(services, {"environments/dev.toml": "\n[services.wbe]\nPORT = 1"})
    assert "environments/dev.toml:3: services.wbe: there is no service of that name (did you mean web?)" in text


def test_pins_of_the_environment_win_over_those_of_all(services):
    text = """
[ports]
web = 4000
api = 4001
old = ""
[ports.staging]
web = 5000
job = 5001
[ports.development]
api = 4101
web = 4999
[ports.dev]
web = 4100
[port_ranges]
dev = "4100-4199"
production = "5000 - 5999"
"""
    found = services({"services/api.tsm": COMMAND, "services/job.tsm": COMMAND, "ports.toml": text})
    assert found.pins == {"web": 4100, "api": 4101}
    assert found.port_ranges == {"dev": "4100-4199", "prod": "5000-5999"}
    assert found.findings == ()


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("[ports]\nweb = 0", "ports.toml:2: ports.web: "),
        ("[ports]\nweb = 65536", "ports.toml:2: ports.web: "),
        ("[ports]\nweb = 80.5", "ports.toml:2: ports.web: "),
        ("[ports]\nweb = true", "ports.toml:2: ports.web: "),
        ("[ports]\nweb = '4000; rm'", "ports.toml:2: ports.web: "),
        ("[ports.dev]\n\nweb = -1", "ports.toml:3: ports.dev.web: "),
        ("[port_ranges]\ndev = '9-1'", "ports.toml:2: port_ranges.dev: "),
        ("[port_ranges]\ndev = 4000", "ports.toml:2: port_ranges.dev: "),
        ("ports = 5", "ports.toml:1: ports is not a table"),
        ("[ports", "ports.toml:1:"),
    ],
)
def test_what_is_wrong_with_ports_toml_is_said_with_its_place(services, text, place):
    assert problem(services, {"ports.toml": text}).startswith(place)


def test_a_pin_for_a_service_that_is_not_there_is_remarked_on(services):
    found = services({"ports.toml": "[ports]\nwbe = 4000\n[metadata]\nversion = 1"})
    assert [(finding.line, finding.severity) for finding in found.findings] == [(3, "warning"), (2, "warning")]
    assert found.pins == {}


@pytest.mark.parametrize(
    ("key", "path"),
    [
        ("TSM_ENV_FILE=more.env", "services/more.env"),
        ("TSM_ENV_FILE=more.env", "environments/more.env"),
        ("TSM_ENV_FILE=environments/more.env", "environments/more.env"),
        ("TSM_ENV_FILE=../environments/more.env", "environments/more.env"),
        ("TSM_ENV=env/local.env", "services/env/local.env"),
    ],
)
def test_a_file_of_variables_beside_the_definition_is_read(services, key, path):
    found = services({
        "services/web.tsm": f"{COMMAND}{key}\nexport OWN=definition",
        path: "# more\nexport MORE='a b'\nOWN=file\nSHARED=file\nTSM_PORT=1",
        "environments/dev.toml": "[environment]\nSHARED = 'environment'",
    })
    assert found.services["web"].environment == {"MORE": "a b", "OWN": "definition", "SHARED": "file"}
    assert found.places["web", "MORE"] == (path, 2)
    assert any("TSM_PORT" in finding.message and finding.file == path for finding in found.findings)


@pytest.mark.parametrize("name", ["more.env", "../../more.env", "/etc/environment", "files/web/x.env", '"$HOME/x"'])
def test_a_file_of_variables_that_is_not_in_the_sources_is_refused(services, name):
    text = problem(services, {"services/web.tsm": f"{COMMAND}TSM_ENV_FILE={name}", "files/web/x.env": "A=1"})
    assert text.startswith("services/web.tsm: the file of variables")


def test_an_alias_decides_which_file_an_environment_has(services):
    files = {"environments/qa.toml": "[environment]\nA = 'qa'"}
    assert services(files, "staging").services["web"].environment == {"A": "qa"}
    assert services(files, "staging", aliases={}).services["web"].environment == {}


def test_a_release_holds_the_files_and_the_rendered_templates_and_nothing_else(build):
    built = build({
        "org.toml": "name = 'acme'",
        "files/web/x": "x",
        "templates/run.sh.j2": "#!/bin/sh\n",
        "templates/deep/b": "{{ org }} {{ env }}",
        "environments/dev.toml": "",
    })
    manifest = built.manifest
    release.check_manifest(manifest)
    assert sorted(manifest["files"]) == ["files/web/x", "templates/deep/b", "templates/run.sh"]
    contents = {digest: read() for digest, read in built.contents.items()}
    assert contents == {canonical.sha256(data): data for data in (b"#!/bin/sh\n", b"acme dev")}
    assert manifest["files"]["templates/deep/b"]["size"] == 8


def test_a_template_keeps_its_executable_bit(make_org):
    directory = make_org({"templates/run.j2": "x", "templates/data.j2": "x"})
    os.chmod(directory / "templates/run.j2", 0o755)
    origin = source.read(directory)
    files = bundle.build(origin, "dev", bundle.services(origin, "dev"), {}, {}, None).manifest["files"]
    assert files["templates/run"]["executable"] is True
    assert files["templates/data"]["executable"] is False


def test_templates_know_the_ports_of_all_services(build):
    files = {
        "services/api.tsm": f"{COMMAND}TSM_PORT=auto",
        "templates/t": "{{ services.api.port }} {{ ports.api }} {{ services|length }} {{ ports|length }}",
    }
    built = build(files, ports={"api": 4100})
    assert [read() for read in built.contents.values()] == [b"4100 4100 2 1"]


def test_templates_know_nothing_of_files_secrets_and_hosts(build):
    for name in ("source", "secrets", "files", "bundle", "release", "host"):
        with pytest.raises(TetraError, match="is not defined for environment dev"):
            build({"templates/t": f"{{{{ {name} }}}}"})


def test_a_release_names_its_bundle_its_services_and_their_ports(build, make_org):
    files = {"org.toml": "name = 'acme'", "services/api.tsm": f"{COMMAND}TSM_PORT=auto"}
    manifest = build(files, ports={"api": 4100}).manifest
    assert manifest["bundle"] == source.read(make_org(files)).digest
    assert (manifest["org"], manifest["env"]) == ("acme", "dev")
    assert manifest["services"]["api"]["ports"] == {"main": 4100}
    assert manifest["services"]["web"]["ports"] == {}
    assert Service.from_wire(manifest["services"]["api"]["definition"]).name == "api"


def test_only_the_secrets_that_are_used_are_in_a_release_and_only_as_digests(build):
    files = {"services/web.tsm": f"{COMMAND}export A='${{secret:ONE}}'"}
    manifest = build(files, digests={"ONE": DIGEST, "TWO": DIGEST}).manifest
    assert (manifest["secrets"], manifest["secrets_key"]) == ({"ONE": DIGEST}, "k1")


def test_a_secret_without_a_digest_is_refused(build):
    with pytest.raises(TetraError, match="unknown secret ONE"):
        build({"services/web.tsm": f"{COMMAND}export A='${{secret:ONE}}'"})


@pytest.mark.parametrize(
    ("change", "changed"),
    [
        ({"files/web/x": "2"}, {"web"}),
        ({"files/common/x": "2"}, {"web", "api"}),
        ({"templates/t.j2": "2"}, {"api"}),
        ({"services/web.tsm": f"{COMMAND}export X=1"}, {"web"}),
        ({"environments/dev.toml": "[environment]\nX = 1"}, {"web", "api"}),
        ({"environments/dev.toml": "[services.api]\nX = 1"}, {"api"}),
        ({"environments/staging.toml": "[environment]\nX = 1"}, set()),
        ({"README.md": "x"}, set()),
        ({"org.toml": "name = 'acme'\ndescription = 'x'"}, set()),
    ],
)
def test_the_digest_of_a_service_changes_with_what_it_uses(build, change, changed):
    base = {
        "org.toml": "name = 'acme'",
        "services/api.tsm": f'{COMMAND}export CONFIG="$TETRA_RELEASE_DIR/templates/t"',
        "files/web/x": "1",
        "files/common/x": "1",
        "templates/t.j2": "1",
        "environments/base.toml": "",
        "environments/dev.toml": "",
    }
    before = build(base).manifest["services"]
    after = build({**base, **change}).manifest["services"]
    assert {name for name in before if before[name]["digest"] != after[name]["digest"]} == changed


def test_a_template_that_cannot_be_rendered_stops_the_release(build):
    with pytest.raises(TetraError, match=r"templates/t\.j2:1:4: variable 'nope' is not defined for environment dev"):
        build({"templates/t.j2": "{{ nope }}"})
    with pytest.raises(TetraError, match=r"templates/u: the file is not UTF-8"):
        build({"templates/u": b"\xff"})


def contents_of(built):
    """The files that templates added to a release: path to text."""
    return {path: built.contents[entry["sha256"]]().decode() for path, entry in built.manifest["files"].items()
            if path.startswith("templates/")}


@pytest.mark.parametrize(("env", "expected"), [("dev", "base dev"), ("staging", "base staging, own"), ("prod", "own")])
def test_the_templates_of_an_environment_go_on_top_of_those_of_all(build, env, expected):
    built = build({
        "environments/base.toml": "", "environments/dev.toml": "", "environments/staging.toml": "",
        "environments/production.toml": "",
        "templates/t.j2": "base {{ env }}{% block more %}{% endblock %}",
        "templates/staging/t.j2": "{% extends 't.j2' %}{% block more %}, own{% endblock %}",
        "templates/production/t.j2": "own",
    }, env)  # fmt: skip
    assert contents_of(built) == {"templates/t": expected}


def test_an_environment_inherits_templates_with_values(build):
    files = {"environments/dev.toml": "", "environments/staging.toml": 'inherit = "dev"',
             "templates/t": "all", "templates/dev/t": "dev"}
    assert contents_of(build(files, "staging")) == {"templates/t": "dev"}


def test_a_definition_may_be_a_template(services):
    found = services({
        "environments/dev.toml": "[values]\ndebug = true\nworkers = 3",
        "templates/_common.tsm": "TSM_MIN_HEALTHY=0s\n",
        "services/api.tsm.tmpl": "{% include '_common.tsm' %}\nTSM_COMMAND='run --workers {{ workers }}'\n"
                                 "{{#if debug}}\nexport DEBUG=1\n{{/if}}\nTSM_ENV_FILE=api.env\n",
        "services/api.env.tmpl": "COLOR={{ env }}\n",
    })  # fmt: skip
    api = found.services["api"]
    assert (api.command, api.environment) == ({"argv": ["run", "--workers", "3"]}, {"DEBUG": "1", "COLOR": "dev"})
    assert api.min_healthy == 0


def test_what_is_wrong_with_a_definition_that_is_a_template_names_the_line_of_the_template(services):
    files = {"services/api.tsm.tmpl": "{% if env == 'dev' %}\n{% endif %}\nTSM_COMMAND='true'\nTSM_PORT=x y\n"}
    assert problem(services, files).startswith("services/api.tsm.tmpl:4:")
    missing = problem(services, {"services/api.tsm.tmpl": "\n{{ ports.web }}"})
    assert missing.startswith("services/api.tsm.tmpl:2:4: variable 'ports' is not defined")
    assert "services/web.tsm.tmpl and services/web.tsm have the same output" in problem(
        services, {"services/web.tsm.tmpl": ""})


def test_a_release_is_the_same_from_the_directory_and_from_the_bundle(make_org):
    files = {"org.toml": "", "files/web/x": "x", "templates/t": "{{ env }}", "environments/dev.toml": ""}
    origin = source.read(make_org(files))
    contents = {file.entry["sha256"]: file.read() for file in origin.files.values() if file.read}
    del contents[origin.files["files/web/x"].entry["sha256"]]
    back = source.from_blobs(json.loads(json.dumps(origin.manifest)), contents.__getitem__)
    manifests = [
        bundle.build(one, "dev", bundle.services(one, "dev"), {}, {}, "k1").manifest for one in (origin, back)
    ]
    assert release.digest(manifests[0]) == release.digest(manifests[1])


@pytest.mark.parametrize(("env", "greeting"), [("dev", "Hello from development"), ("staging", "Hello from staging")])
def test_the_example_is_without_a_remark(env, greeting):
    origin = source.read(ACME)
    services = bundle.services(origin, env, protected=True)
    ports = {name: 4100 + index for index, name in enumerate(sorted(services.services))
             if services.services[name].port.kind != "none"}
    built = bundle.build(origin, env, services, ports, {"API_TOKEN": DIGEST}, "k1")
    assert services.findings == ()
    assert sorted(services.services) == ["api", "report", "site", "worker"]
    assert services.services["api"].environment["GREETING"] == greeting
    (rendered,) = built.contents.values()
    assert b"api_port = 4100" in rendered()


def test_two_services_that_state_one_port_are_wrong_unless_a_pin_gives_one_another(services):
    files = {"services/a.tsm": f"{COMMAND}TSM_PORT=4000", "services/b.tsm": f"{COMMAND}\nTSM_PORT=4000"}
    assert problem(services, files) == (
        "services/b.tsm:3: services a and b both want port 4000 (give one of them another port)"
    )
    assert services({**files, "ports.toml": "[ports]\na = 4001"}).pins == {"a": 4001}


def test_it_is_known_which_files_name_a_value(services):
    found = services({
        "environments/base.toml": "[values]\nhost = 'h'\nidle = 1",
        "environments/dev.toml": "[values]\nhost = 'd'\n[environment]\nURL = '${host}/x'",
        "services/web.tsm": f"{COMMAND}export A=$host\n",
        "services/t.tsm.tmpl": f"{COMMAND}{{# idle #}}export B='{{{{ host }}}}'\n",
    })  # fmt: skip
    assert found.mentioned["host"] == ["environments/dev.toml", "services/t.tsm.tmpl", "services/web.tsm"]
    assert "idle" not in found.mentioned
    assert found.environment.layers["values", "host"] == [("environments/dev.toml", 2), ("environments/base.toml", 2)]
