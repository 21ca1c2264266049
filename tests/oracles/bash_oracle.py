# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a real bash has after it sourced a definition, and what our reader makes of it."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from ansible_collections.tetra.platform.plugins.module_utils.model import definition, values

BASH = shutil.which("bash")

HOST = {
    "HOME": "/home/some one",
    "USER": "ann",
    "HOST": "127.0.1.9",
    "PORT": "8123",
    "TSM_PORT": "8123",
    "TETRA_DIR": "/var/lib/té tra*",
    "TETRA_RELEASE_DIR": "/r",
    "TETRA_SRC": "/src",
}
"""What the host knows; bash gets the same as its environment. HOME is not that of the process that runs the tests."""
GIVEN = {"greeting": "Hello 'w\u00f6rld' $HOME", "empty": ""}

# The folder of a definition is named with dirname and pwd alone, so bash finds no other program.
_END = "-- the end of what a file sets --"
_SCRIPT = rf"""
dirname() {{ [ "$1" != -- ] || shift; printf '%s\n' "${{1%/*}}"; }}
for __file in "$__FOLDER"/*.tsm; do (
    set -a; source "$__file" || exit 9; set +a
    printf '%s\0' "${{__file##*/}}"
    for __name in "${{@}}"; do
        declare -n __array="$__name"
        printf 'ARRAY\0%s\0%s\0' "$__name" "${{#__array[@]}}"; printf '%s\0' "${{__array[@]}}"
    done
    exec "$__ENV" -0
) || {{ echo "$__file" >&2; exit 9; }}; printf '%s\0' '{_END}'; done
"""


def bash_sets(folder: Path, text: str, arrays: Sequence[str] = ()) -> tuple[dict, dict]:
    """The variables and the arrays that bash has after it sourced a file."""
    fields = _source(folder, {"service": text}, arrays)["service"]
    found = {}
    while fields and fields[0] == "ARRAY":
        name, count = fields[1], int(fields[2])
        found[name] = fields[3 : 3 + count]
        fields = fields[3 + max(count, 1) :]
    return dict(field.split("=", 1) for field in fields), found


def bash_sets_all(folder: Path, texts: dict[str, str]) -> dict[str, dict]:
    """The variables that bash has after it sourced each of several files, by the name of the file."""
    return {name: dict(field.split("=", 1) for field in fields) for name, fields in _source(folder, texts, ()).items()}


def _source(folder: Path, texts: dict[str, str], arrays: Sequence[str]) -> dict[str, list[str]]:
    for old in folder.glob("*.tsm"):
        old.unlink()
    for name, text in texts.items():
        (folder / f"{name}.tsm").write_bytes(text.encode())
    environment = {**HOST, **GIVEN, "__ENV": shutil.which("env"), "__FOLDER": str(folder), "PATH": "/nonexistent",
                   "LC_ALL": "C.UTF-8"}
    done = subprocess.run([BASH, "--norc", "--noprofile", "-c", _SCRIPT, "bash", *arrays], cwd=folder, env=environment,
                          capture_output=True, check=False, timeout=300)
    assert done.returncode == 0, (texts if len(texts) == 1 else "", done.stderr)
    blocks = [block.split("\0") for block in done.stdout.decode().split(f"{_END}\0")[:-1]]
    return {block[0].removesuffix(".tsm"): block[1:-1] for block in blocks}


def ours(text: str, folder: Path) -> tuple[dict, dict]:
    """What our own reader finds, with everything that only the host knows filled in."""
    read = definition.parse(text, "service.tsm", GIVEN)
    host = {**HOST, "PWD": str(folder), "PATH": "/nonexistent", "TETRA_SERVICE_DIR": str(folder)}
    arrays = {name: [values.resolve(word, host, {}) for word in words] for name, words in read.arrays.items()}
    return {name: values.resolve(value, host, {}) for name, value in read.values.items()}, arrays


def assert_same(folder: Path, text: str) -> None:
    """Bash and our reader find the same in a definition."""
    mine, arrays = ours(text, folder)
    theirs, their_arrays = bash_sets(folder, text, tuple(arrays))
    assert mine == {name: theirs.get(name) for name in mine}, text
    assert arrays == their_arrays, text
