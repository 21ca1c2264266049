# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A callback that writes a line for every command that Ansible runs on a host, into COUNT_CALLS_FILE."""

from __future__ import annotations

import os

from ansible.plugins.action import ActionBase
from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: count_calls
type: notification
short_description: Count the commands that are run on hosts
description: For tests.
"""

_run = ActionBase._low_level_execute_command


def _counted(self, *arguments, **options):
    with open(os.environ["COUNT_CALLS_FILE"], "a", encoding="utf-8") as file:
        file.write(f"{self._task.get_name()}\t{self._templar.available_variables['inventory_hostname']}\n")
    return _run(self, *arguments, **options)


class CallbackModule(CallbackBase):
    """Counts from the moment it is loaded; workers are forks and inherit it."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "notification"
    CALLBACK_NAME = "count_calls"

    def __init__(self):
        super().__init__()
        ActionBase._low_level_execute_command = _counted
