# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a supervisor starts that would leave something of itself to the services: it becomes the shell that becomes one.

Nothing of ours is loaded for it, because a service waits for it.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys

_SHELL = "/bin/sh"
_UNTOUCHABLE = (signal.SIGKILL, signal.SIGSTOP)


def main(path: str) -> int:
    """Become the service of a launch script, with no signal setting, descriptor or variable of this process.

    :returns: an exit code, and says why on standard error; when all goes well, this does not return.
    """
    try:
        os.dup2(os.open(path, os.O_RDONLY), 0)
        _reset_signals()
        _close_descriptors()
        os.execve(_SHELL, ["sh", "-s"], {})
    except OSError as error:
        sys.stderr.write(f"tsm: {error.filename}: {error.strerror}; its service is not started\n")
    from ..model.launch_script import CANNOT_START

    return CANNOT_START


def _reset_signals() -> None:
    for number in signal.valid_signals():
        if number not in _UNTOUCHABLE:
            with contextlib.suppress(OSError):
                signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])


def _close_descriptors() -> None:
    """Leave the three standard files alone."""
    for name in os.listdir("/proc/self/fd"):
        if int(name) > 2:
            with contextlib.suppress(OSError):
                os.close(int(name))
