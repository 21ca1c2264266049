# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Puts the agent on a host, as one file that starts with the host's own Python."""

from __future__ import annotations

import importlib.util
import io
import marshal
import os
import sys
import zipfile

from ..model.errors import TetraError
from . import durable

# What every Linux that runs Python 3.9 takes as a first line; longer ones are cut or refused.
_SHEBANG_LIMIT = 120
# PEP 552: byte code that goes with the hash of its source, which nobody has to check.
_UNCHECKED_HASH = (1).to_bytes(4, "little")


def install(program: str, archive: bytes) -> None:
    """Write the agent.

    :param archive: the zipapp of the sources, without its first line.
    :raises TetraError: when the path of this Python cannot stand in a first line.
    """
    durable.write_file(program, _first_line(os.path.realpath(sys.executable)) + compiled(archive), 0o755)


def _first_line(interpreter: str) -> bytes:
    line = f"#!{interpreter} -IS\n"
    if " " in interpreter or len(line) > _SHEBANG_LIMIT:
        raise TetraError(
            f"the Python interpreter {interpreter} cannot be named in a script's first line",
            hint="set ansible_python_interpreter to a short path without blanks, for example /usr/bin/python3",
        )
    return line.encode()


def compiled(archive: bytes) -> bytes:
    """A zipapp with byte code of this Python beside each source, or every start would compile all of it again.

    Another Python takes the sources, which stay.
    """
    buffer = io.BytesIO(archive)
    with zipfile.ZipFile(buffer, "a", zipfile.ZIP_DEFLATED) as zipapp:
        for entry in list(zipapp.infolist()):
            source = zipapp.read(entry)
            # Only its name in the archive, as zipimport would have it relative to wherever the file is.
            code = marshal.dumps(compile(source, entry.filename, "exec", dont_inherit=True))
            header = importlib.util.MAGIC_NUMBER + _UNCHECKED_HASH + importlib.util.source_hash(source)
            zipapp.writestr(zipfile.ZipInfo(f"{entry.filename}c", entry.date_time), header + code)
    return buffer.getvalue()
