# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
import pytest
from ansible_collections.tetra.platform.plugins.module_utils.model import hand_edits
from hypothesis import given
from hypothesis import strategies as st

UNIT = "[Unit]\nDescription=x\n[Service]\nExecStart=/bin/x\nMemoryMax=1000\nTimeoutStopSec=10.000\n"
SECRET = "a-secret-value"


def of_unit(*texts: str) -> tuple[dict[str, str], list[str]]:
    edits = hand_edits.of_unit(UNIT, texts, {"HOME"}, [SECRET])
    return edits.settings, edits.left


@pytest.mark.parametrize(
    ("line", "settings"),
    [
        ("MemoryMax=64M", {"TSM_MEMORY_LIMIT": "64M"}),
        ("CPUQuota=150%", {"TSM_CPU_LIMIT": "1.5"}),
        ("TimeoutStopSec=30", {"TSM_STOP_TIMEOUT": "30s"}),
        ("TimeoutStopSec=500ms", {"TSM_STOP_TIMEOUT": "500ms"}),
        ("Environment=LEVEL=debug", {"LEVEL": "debug"}),
        ('Environment="LEVEL=a b" MODE=fast\nEnvironment=X=1', {"LEVEL": "a b", "MODE": "fast", "X": "1"}),
        ("Environment=A=1\nEnvironment=", {}),
        ("# MemoryMax=64M\n;MemoryMax=1", {}),
        ("MemoryMax=1\nMemoryMax=1000", {}),
        ("CPUQuota = 50%", {"TSM_CPU_LIMIT": "0.5"}),
    ],
)
def test_what_a_drop_in_says_becomes_keys_and_variables(line, settings):
    assert of_unit(UNIT, f"[Service]\n{line}\n") == (settings, [])


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("Nice=5", "Nice=5"),
        ("MemoryMax=infinity", "MemoryMax=infinity"),
        ("TimeoutStopSec=1min 30s", "TimeoutStopSec=1min 30s"),
        ("ExecStart=\nExecStart=/bin/y", "ExecStart=/bin/y"),
        ("Environment=HOME=/x", "Environment=HOME does nothing, its launch script sets it"),
        ("Environment=BARE", "Environment=BARE does nothing, it has no value"),
        (f"Environment=LEVEL=x{SECRET}", "LEVEL has another value, which holds a secret"),
        ("Environment=DB_PASSWORD=hunter2", "DB_PASSWORD has another value, which looks like a secret: it belongs into "
         "tetra_secrets"),
        ("Environment=TETRA_RELEASE=x", "TETRA_RELEASE has another value, which is for tetra to give"),
        ("Environment=PORT=1", "PORT has another value, which is for tetra to give"),
        ("Environment=A=${B}", "A has another value, which no file of an organization can hold"),
    ],
)
def test_what_has_no_word_is_told(line, told):
    assert of_unit(UNIT, f"[Service]\n{line}\n") == ({}, [told])


def test_what_is_gone_from_a_unit_is_told():
    assert of_unit(UNIT.replace("MemoryMax=1000\n", "")) == ({}, ["MemoryMax is gone from the unit"])


def test_other_sections_and_line_continuations():
    text = "[Unit]\nMemoryMax=1\n[Service]\nEnvironment=A=1 \\\n B=2\n"
    assert of_unit(UNIT, text) == ({"A": "1", "B": "2"}, [])


def test_variables_of_a_launch_script():
    script = "{\nexec < /dev/null\nexport A='x y'\nexport B=1\nexec sleep 1\n}\n# sha256 00\n"
    variables, others = hand_edits.exports(script)
    assert (variables, others) == ({"A": "x y", "B": "1"}, ["{", "exec < /dev/null", "exec sleep 1", "}"])
    # A quote that is left open is no variable.
    edited = hand_edits.exports(script.replace("B=1", "B=2\nexport C='"))
    edits = hand_edits.of_launch(variables, edited[0], [SECRET], others == edited[1])
    assert (edits.settings, edits.left) == ({"B": "2"}, ["how it is started was edited, besides its variables"])
    edits = hand_edits.of_launch(variables, {"A": SECRET}, [SECRET], True)
    assert (edits.settings, edits.left) == ({}, ["A has another value, which holds a secret", "B is not set any more"])


@given(st.text(), st.text())
def test_no_text_is_too_odd(original, edited):
    edits = hand_edits.of_unit(original, [original, edited], {"HOME"}, [SECRET])
    assert not any(SECRET in value for value in edits.settings.values())
    hand_edits.exports(edited)
