# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Secrets that services name, and what looks like one in plain text."""

from __future__ import annotations

import pytest
from ansible_collections.tetra.platform.plugins.module_utils.model.errors import TetraError
from ansible_collections.tetra.platform.plugins.plugin_utils import bundle, secrets, source

# In two pieces, so that a search for leaked keys does not find this file.
CANARY = "hunter2" + "canary"
COMMAND = 'TSM_COMMAND="true"\n'


@pytest.fixture
def services(make_org):
    """The services of an organization in the environment ``dev``."""

    def read(files, **options):
        return bundle.services(source.read(make_org(files)), "dev", **options)

    return read


def plain(found):
    """The remarks on secrets in plain text."""
    return [finding for finding in found.findings if finding.code == "plain-secret"]


def test_the_secrets_of_services_are_collected_with_who_names_them(services):
    found = services({
        "services/web.tsm": f"{COMMAND}export A='${{secret:ONE}}'\nexport B=\"x-${{secret:TWO}}-${{secret:ONE}}\"",
        "services/api.tsm": f"{COMMAND}export A=${{TETRA_ADDRESS:-${{secret:ONE}}}}",
        "environments/dev.toml": "[environment]\nC = '${secret:THREE}'\n[services.api]\nD = '${secret:FOUR}'",
    })
    assert secrets.used(found.services) == {
        "FOUR": [("api", "D")],
        "ONE": [("api", "A"), ("web", "A"), ("web", "B")],
        "THREE": [("api", "C"), ("web", "C")],
        "TWO": [("web", "B")],
    }


def test_secrets_that_are_known_are_fine(services):
    found = services({"services/web.tsm": f"{COMMAND}export A='${{secret:ONE}}'"})
    secrets.check_known(found.services, {"ONE", "TWO"}, "dev-1")


def test_a_secret_that_is_not_known_is_named_with_service_key_file_and_line(services):
    found = services({
        "services/web.tsm": f"{COMMAND}\nexport A='${{secret:ONE}}'",
        "environments/dev.toml": "[environment]\n\n\nC = '${secret:THREE}'\n[services.web]\nD = '${secret:TOW}'",
    })
    with pytest.raises(TetraError) as caught:
        secrets.check_known(found.services, {"TWO"}, "dev-1", found.places)
    assert str(caught.value).splitlines() == [
        "services/web.tsm:3: unknown secret ONE in A of service web (add it to tetra_secrets of host dev-1)",
        "environments/dev.toml:4: unknown secret THREE in C of service web (add it to tetra_secrets of host dev-1)",
        "environments/dev.toml:6: unknown secret TOW in D of service web "
        "(did you mean TWO? otherwise add it to tetra_secrets of host dev-1)",
    ]


@pytest.mark.parametrize(
    "key",
    ["PASSWORD", "DB_PASSWORD", "db_password", "TOKEN", "API_TOKEN", "CLIENT_SECRET", "API_KEY", "SECRET_KEY",
     "AWS_SECRET_ACCESS_KEY", "DB_PASS", "SIGNING_KEY", "PASSWORD2", "GOOGLE_CREDENTIALS", "SSH_PASSPHRASE"],
)
def test_a_key_called_like_a_secret_with_a_text_is_found(services, key):
    (finding,) = plain(services({"services/web.tsm": f"{COMMAND}export {key}={CANARY}"}))
    assert (finding.severity, finding.file, finding.line) == ("warning", "services/web.tsm", 2)
    assert key in finding.message
    assert "${secret:NAME}" in finding.hint


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("PASSWORD", ""),
        ("PASSWORD", "'${secret:DB}'"),
        ("PASSWORD", "'prefix-${secret:DB}'"),
        ("PASSWORD", "$TETRA_ADDRESS"),
        ("PASSWORD", "/run/secrets/password"),
        ("TOKEN", '"${TETRA_RELEASE_DIR}/token"'),
        ("REQUIRE_TOKEN", "true"),
        ("PASSWORD_MIN_LENGTH", "12"),
        ("TOKEN_URL", "http://x/"),
        ("SECRETARY", "Ann"),
        ("COMPASS", "north"),
        ("MONKEY", "see"),
        ("PRIMARY_KEY", "id"),
        ("PUBLIC_KEY", "abc"),
        ("BYPASS", "x"),
        ("URL", "http://host:80/a@b"),
        ("URL", "'postgres://user:${secret:DB}@host/db'"),
        ("URL", "'postgres://user@host/db'"),
    ],
)
def test_what_is_no_secret_is_left_alone(services, key, value):
    assert plain(services({"services/web.tsm": f"{COMMAND}export {key}={value}"})) == []


def test_a_default_of_a_secret_in_plain_text_is_found(services):
    assert plain(services({"services/web.tsm": f"{COMMAND}export PASSWORD=${{HOST:-{CANARY}}}"}))


def test_a_url_with_a_password_is_found_whatever_its_key(services):
    (finding,) = plain(services({"services/web.tsm": f"{COMMAND}export DATABASE=postgres://u:{CANARY}@h/db"}))
    assert "DATABASE" in finding.message


def test_secrets_in_the_files_of_the_environment_are_found_where_they_are_written(services):
    found = plain(services({
        "environments/base.toml": f"[values.db]\npassword = '{CANARY}'",
        "environments/dev.toml": f"[environment]\nA_TOKEN = '{CANARY}'\n[services.web]\nB_TOKEN = '{CANARY}'",
    }))
    assert [(finding.file, finding.line) for finding in found] == [
        ("environments/dev.toml", 2),
        ("environments/dev.toml", 4),
        ("environments/base.toml", 1),
    ]
    assert "values.db.password" in found[2].message


def test_a_variable_of_all_services_is_one_remark(services):
    found = plain(services({
        "services/api.tsm": COMMAND,
        "environments/dev.toml": f"[environment]\nTOKEN = '{CANARY}'",
    }))
    assert [(finding.file, finding.line) for finding in found] == [("environments/dev.toml", 2)]


@pytest.mark.parametrize(
    ("what", "text"),
    [
        ("a private key", "-----BEGIN " + "RSA PRIVATE KEY-----\nx"),
        ("a private key", "-----BEGIN " + "PRIVATE KEY-----"),
        ("a private key", "-----BEGIN " + "OPENSSH PRIVATE KEY-----"),
        ("a private key", "-----BEGIN " + "PGP PRIVATE KEY BLOCK-----"),
        ("an access key of AWS", "AKIA" + "A" * 16),
        ("a token of GitHub", "ghp_" + "a" * 36),
        ("a token of GitHub", "github_pat_" + "a" * 60),
        ("a token of GitLab", "glpat-" + "a" * 20),
        ("a token of Slack", "xoxb-" + "1" * 10),
        ("a key of Stripe", "sk_live_" + "a" * 16),
        ("a key of Google", "AIza" + "a" * 35),
        ("a key of SendGrid", "SG." + "a" * 22 + "." + "b" * 43),
    ],
)
@pytest.mark.parametrize("path", ["files/web/x.txt", "templates/x.conf.j2", "services/web.tsm"])
def test_a_well_known_secret_is_found_in_any_file(services, path, what, text):
    comment = "# " if path.endswith(".tsm") else ""
    (finding,) = plain(services({path: f"{COMMAND}{comment}{text.splitlines()[0]}"}))
    assert (finding.file, finding.line) == (path, 2)
    assert what in finding.message


@pytest.mark.parametrize(
    "text",
    ["-----BEGIN CERTIFICATE-----", "-----BEGIN PUBLIC KEY-----", "AKIA", "ghp_short", "\0ghp_" + "a" * 36],
)
def test_other_files_are_left_alone(services, text):
    assert plain(services({"files/web/x": text})) == []


def test_in_a_protected_environment_each_of_them_is_an_error(services):
    files = {
        "services/web.tsm": f"{COMMAND}export TOKEN={CANARY}",
        "environments/dev.toml": f"[values]\npassword = '{CANARY}'",
        "files/web/key": "-----BEGIN " + f"PRIVATE KEY-----\n{CANARY}",
    }
    with pytest.raises(TetraError) as caught:
        services(files, protected=True)
    assert len(str(caught.value).splitlines()) == 3


def test_no_message_holds_the_value(services):
    files = {
        "services/web.tsm": f"{COMMAND}export TOKEN={CANARY}\nexport URL=http://u:{CANARY}@h/",
        "environments/dev.toml": f"[values]\npassword = '{CANARY}'",
        "files/web/key": "ghp_" + (CANARY * 4)[:36],
    }
    found = services(files)
    assert len(plain(found)) == 4
    assert not any(CANARY in str(finding) for finding in found.findings)
    with pytest.raises(TetraError) as caught:
        services(files, protected=True)
    assert CANARY not in str(caught.value)


def test_files_that_did_not_travel_with_a_bundle_are_not_asked_for(make_org):
    original = source.read(make_org({"files/web/x": "far away", "org.toml": ""}))
    contents = {file.entry["sha256"]: file.read() for file in original.files.values()}
    del contents[original.files["files/web/x"].entry["sha256"]]
    back = source.from_blobs(original.manifest, contents.__getitem__)
    assert secrets.file_findings(back, True) == []
