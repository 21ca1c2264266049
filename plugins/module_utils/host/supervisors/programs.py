# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What supervisord is given to read: its configuration, one file for each program, and the guard that starts them.

Supervisord's own limit of restarts cannot be used: it takes any end within ``startsecs`` for a failed start, so a job
that ended well would be run again, and it forgets the count when a process lives longer, so one that crashes a little
later would be restarted for ever. Therefore ``startsecs`` is 0, and the guard counts.
"""

from __future__ import annotations

import os
import re
import shlex

from ...model.errors import TetraError
from ...model.launch_script import FRUITFUL, GIVEN_UP
from .base import UnitSpec

# A program that ends again and again is started anew after a pause that grows up to this many seconds.
_LONGEST_PAUSE = 10

GUARD = f"""\
# guard FILE LIMIT PROGRAM [ARGUMENT]... runs a program, unless it was restarted too often in vain.
# FILE holds how many restarts there were in a row, how many in all, the second after boot of the last start, and which
# process that was (pid:start; the start is the twenty-second field of its stat).
file=$1 limit=$2
shift 2
counted() {{
    read -r row all last process < "$file" && [ "$row" -ge 0 ] && [ "$all" -ge 0 ] && [ "$last" -ge 0 ]
}}
read -r now rest < /proc/uptime
now=${{now%.*}}
if counted 2> /dev/null; then
    # What the process before left in its group would still have its port.
    old=${{process%:*}}
    if [ "$old" -gt 1 ] && [ ! -e "/proc/$old" ]; then kill -s KILL -- "-$old"; fi 2> /dev/null
    lived=$((now - last)) row=$((row + 1)) all=$((all + 1))
    if [ "$lived" -lt 0 ] || [ "$lived" -ge {FRUITFUL} ]; then row=1; fi
    if [ "$row" -gt "$limit" ]; then
        echo "tetra: given up; it ended, and was restarted $limit times in vain" >&2
        exit {GIVEN_UP}
    fi
    pause=$((row - 1))
    if [ "$pause" -gt {_LONGEST_PAUSE} ]; then pause={_LONGEST_PAUSE}; fi
    if [ "$pause" -gt 0 ]; then sleep "$pause"; fi
    now=$((now + pause))
else
    row=0 all=0
fi
read -r x x x x x x x x x x x x x x x x x x x x x start x < /proc/self/stat
echo "$row $all $now $$:$start" 2> /dev/null > "$file"
exec "$@"
"""

# What the guard writes.
STARTS = re.compile(r"\d+ (?P<restarts>\d+) \d+ (?P<identity>\d+:\d+)\n")

_AUTORESTART = {"always": "unexpected", "on-failure": "unexpected", "no": "false"}
_EXPECTED = {"always": [GIVEN_UP], "on-failure": [0, GIVEN_UP], "no": [0, GIVEN_UP]}

# What a configuration cannot say: the first is replaced before escaped percent signs are looked at, and whatever comes
# after the others is a comment.
_HERE = "%(here)s"
_MISREAD = re.compile(rf"{re.escape(_HERE)}| [#;]")


def configuration(folder: str, socket: str) -> str:
    """The configuration of supervisord itself.

    :param folder: where its files are, with those of programs in ``programs``.
    :raises TetraError: when supervisord would misread the path.
    """
    if _MISREAD.search(folder) or re.search(r"[][*?]", folder):
        raise TetraError(
            f"supervisord cannot have its files in {folder}",
            hint="choose a tetra_dir without brackets, * and ?, and without # or ; after a blank",
        )
    place = _escaped(folder)
    # Without it, root is warned that it is root.
    user = "user=root\n" if os.geteuid() == 0 else ""
    return (
        f"[unix_http_server]\nfile={socket}\nchmod=0600\n\n"
        f"[supervisord]\nlogfile={place}/supervisord.log\nlogfile_maxbytes=5MB\nlogfile_backups=2\n"
        f"pidfile={place}/supervisord.pid\nidentifier=tetra\nsilent=true\nnocleanup=true\n"
        # As low as any user's limits.
        f"minfds=256\nminprocs=16\n{user}\n"
        "[rpcinterface:supervisor]\n"
        "supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface\n\n"
        # Seen from this file, because blanks would separate patterns.
        "[include]\nfiles=programs/*.conf\n"
    )


def program(spec: UnitSpec, command: list[str]) -> str:
    """The configuration of one program.

    :param command: the guard with its arguments, and the program's.
    :raises TetraError: when supervisord would misread an argument or the path of the log.
    """
    plain = all(text.isprintable() and _HERE not in text for text in (*command, spec.log))
    if not plain or _MISREAD.search(spec.log):
        raise TetraError(
            f"{spec.unit}: supervisord cannot be told to run {spec.argv} with the log {spec.log!r}",
            hint=f"use no control characters, no {_HERE}, and in the path of the log no # or ; after a blank",
        )
    lines = {
        "command": _escaped(" ".join(map(_quoted, command))),
        "autostart": "true",
        "autorestart": _AUTORESTART[spec.restart],
        "exitcodes": ",".join(map(str, _EXPECTED[spec.restart])),
        "startsecs": "0",
        # These are starts of the guard that failed.
        "startretries": str(spec.max_restarts),
        "stopsignal": "TERM",
        "stopwaitsecs": str(max(1, round(spec.stop_timeout))),
        "stopasgroup": "true",
        "killasgroup": "true",
        "redirect_stderr": "true",
        # Supervisord expands this one twice.
        "stdout_logfile": _escaped(_escaped(spec.log)),
        "stdout_logfile_maxbytes": "10MB",
        "stdout_logfile_backups": "3",
    }
    return f"[program:{spec.unit}]\n" + "".join(f"{key}={value}\n" for key, value in lines.items())


def without_autostart(text: str) -> str:
    """The configuration of a program that supervisord has and does not start."""
    return text.replace("\nautostart=true\n", "\nautostart=false\n")


def _escaped(text: str) -> str:
    """A value in which a percent sign begins no expansion."""
    return text.replace("%", "%%")


def _quoted(word: str) -> str:
    """A word of a command; a blank before # or ; begins a comment even between quotes, so more quotes part them."""
    return shlex.quote(word).replace(" #", " ''#").replace(" ;", " '';")
