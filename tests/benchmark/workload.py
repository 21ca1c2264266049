# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is deployed: small services whose start costs next to nothing, so that what is measured is the tool.

They lie on the disk as an organization of ours, and the others take the same files from it. Every service has a folder
of its own with a program of 2 KB, and is up when its process is the sleep that the program became, in a folder that
holds exactly this program.
"""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path

ORG = "bench"
PROGRAM = "run.sh"
UNIT_PREFIX = "bench-"
"""How the units of those begin who need a name for them; ours are named by the platform."""
PLACE = "/opt/bench"
"""Where the others keep the files on a host."""

_SIZE = 2048
_DEFINITION = """\
export TSM_NAME="{name}"
export TSM_CWD="${{TETRA_RELEASE_DIR}}/files/{name}"
export TSM_COMMAND="sh {program}"
export TSM_MIN_HEALTHY="0s"
"""
_UNIT = """\
[Unit]
Description={name} of the benchmark
After=network.target

[Service]
Type=exec
WorkingDirectory={place}/{name}
ExecStart=/bin/sh {program}
Restart=on-failure

[Install]
WantedBy=multi-user.target
"""


@dataclasses.dataclass(frozen=True)
class Workload:
    """Services on the disk; ``orgs`` is the folder that holds the organization."""

    orgs: Path
    names: list[str]

    @property
    def files(self) -> Path:
        """The folder with a folder for each service."""
        return self.orgs / ORG / "files"

    def program(self, name: str) -> Path:
        """The program of a service."""
        return self.files / name / PROGRAM

    def units(self) -> dict[str, str]:
        """The text of each unit by its name, for those who write units themselves."""
        return {
            f"{UNIT_PREFIX}{name}.service": _UNIT.format(name=name, place=PLACE, program=PROGRAM)
            for name in self.names
        }

    def sums(self) -> set[str]:
        """The sha256 of each program."""
        return {hashlib.sha256(self.program(name).read_bytes()).hexdigest() for name in self.names}


def make(folder: Path, count: int) -> Workload:
    """Write ``count`` services below a folder."""
    made = Workload(folder / "orgs", [f"svc-{number:02}" for number in range(count)])
    org = made.orgs / ORG
    (org / "services").mkdir(parents=True)
    (org / "environments").mkdir()
    (org / "org.toml").write_text(f'name = "{ORG}"\ndescription = "The services of the benchmark"\n')
    for env in ("dev", "staging"):
        (org / "environments" / f"{env}.toml").write_text("")
    for name in made.names:
        (org / "services" / f"{name}.tsm").write_text(_DEFINITION.format(name=name, program=PROGRAM))
        made.program(name).parent.mkdir(parents=True)
        made.program(name).write_text(_program(name))
    # For those who render units: the same text, with the name left open.
    (folder / "unit.j2").write_text(_UNIT.format(name="{{ service }}", place=PLACE, program=PROGRAM))
    return made


def _program(name: str) -> str:
    text = "exec sleep infinity\n"
    line = f"# This is {name}, and this line is here so that its program has a size.\n"
    return line * ((_SIZE - len(text)) // len(line)) + text
