# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Puts the agent on a host, as one file that starts itself with a Python of the host."""

from __future__ import annotations

import importlib.util
import io
import marshal
import os
import shlex
import sys
import zipfile

from . import durable

# The Python of the system may be replaced by another version under an agent that has to take a release back.
_START = """\
#!/bin/sh
for python in {interpreter} /usr/bin/python3; do
    if [ -x "$python" ]; then exec "$python" -IS "$0" "$@"; fi
done
echo "tsm: there is no Python to run $0 with; put one at /usr/bin/python3, or prepare the host anew" >&2
exit 127
"""
# PEP 552: byte code that goes with the hash of its source, which nobody has to check.
_UNCHECKED_HASH = (1).to_bytes(4, "little")


def install(program: str, archive: bytes) -> None:
    """Write the agent, to be run by the Python that runs this; without that, by the one of the system.

    :param archive: the zipapp of the sources, without its start.
    """
    interpreter = os.path.realpath(sys.executable)
    start = _START.format(interpreter=shlex.quote(interpreter))
    durable.write_file(program, start.encode() + compiled(archive), 0o755)


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
