# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A callback that writes a line for every boundary between two tasks, and signals its own controller at one of them."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: at_boundary
type: notification
short_description: Kill or stop the controller between two tasks
description:
  - For tests. Every boundary goes into the file BOUNDARY_FILE as its number, where it is (before a task, after the
    first of the hosts that it moves answered, after the last task), the action and the name of the task.
  - At the boundary BOUNDARY_NUMBER, if it is set, the controller gets the signal BOUNDARY_SIGNAL.
"""


def _workers() -> list[int]:
    """The processes that this controller made for its hosts, which are in sessions of their own."""
    return [int(pid) for pid in Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split()]


def _signal(number: int) -> None:
    if number == signal.SIGKILL:
        # Who takes a controller away at once takes all of it: a container, a cgroup, a machine.
        for pid in _workers():
            os.kill(pid, number)
        os.killpg(0, number)
    elif number == signal.SIGSTOP:
        os.killpg(0, number)
    else:
        os.kill(os.getpid(), number)
        # Python handles it a little later, and where it is then an interrupt may be lost.
        time.sleep(0.2)


class CallbackModule(CallbackBase):
    """Counts from the moment it is loaded; callbacks run in the controller's main process."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "notification"
    CALLBACK_NAME = "at_boundary"

    def __init__(self):
        super().__init__()
        self._number = 0
        self._answered = ""
        # Tests may run where these are ignored, as behind nohup; a person's terminal does not ignore them.
        for number, action in ((signal.SIGHUP, signal.SIG_DFL), (signal.SIGINT, signal.default_int_handler)):
            if signal.getsignal(number) is signal.SIG_IGN:
                signal.signal(number, action)

    def v2_playbook_on_task_start(self, task, is_conditional):
        self._pass("before", task)

    def v2_runner_on_ok(self, result):
        self._answer(result)

    def v2_runner_on_failed(self, result, ignore_errors=False):
        self._answer(result)

    def v2_runner_on_unreachable(self, result):
        self._answer(result)

    def v2_playbook_on_stats(self, stats):
        self._pass("after", None)

    def _answer(self, result):
        task = result._task
        if task.action == "tetra.platform.release" and task._uuid != self._answered:
            self._answered = task._uuid
            self._pass("within", task)

    def _pass(self, where, task):
        self._number += 1
        action, name = (task.action, task.get_name()) if task else ("", "the last task")
        with open(os.environ["BOUNDARY_FILE"], "a", encoding="utf-8") as file:
            file.write(f"{self._number}\t{where}\t{action}\t{name.rpartition(' : ')[2]}\n")
        if str(self._number) == os.environ.get("BOUNDARY_NUMBER"):
            _signal(int(os.environ["BOUNDARY_SIGNAL"]))
