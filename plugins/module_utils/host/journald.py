# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""How large the journal of a host may get, with all that its services say."""

from __future__ import annotations

import re
import subprocess

from ..model.errors import TetraError

PATH = "/etc/systemd/journald.conf.d/tetra.conf"

_SIZE = re.compile(r"[0-9]{1,6}[KMGT]?")


def encode(size: str) -> bytes:
    """The text of the settings: the journal is kept over restarts of the host, up to a size such as ``1G``.

    :raises TetraError: for a size that journald does not know.
    """
    if not _SIZE.fullmatch(size):
        raise TetraError(f"{size!r} is not a size of a journal", hint="write a number with K, M, G or T: 1G")
    return f"# Written by tetra; see tsm_journal_max.\n[Journal]\nStorage=persistent\nSystemMaxUse={size}\n".encode()


def restart() -> None:
    """Have journald take its settings; it loses nothing by that."""
    subprocess.run(["systemctl", "restart", "systemd-journald"], stdin=subprocess.DEVNULL, check=False)
