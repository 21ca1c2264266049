# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A connection to this machine that loses requests and answers, or takes its time, as LOSSY_RULES says."""

from __future__ import annotations

import json
import os
import time

from ansible.errors import AnsibleConnectionFailure
from ansible.plugins.connection.local import Connection as Local

DOCUMENTATION = """
name: lossy
short_description: Lose what goes to the agent and what comes back
description:
  - For tests. LOSSY_RULES is a list of rules as JSON. One holds for a host the first time that it is asked for a state,
    and with C(onward) for all that it is asked then; C(what) is C(request) (it is not sent), C(answer) (what came back
    is lost), C(half) (half of the answer comes), or C(slow) (it is sent after C(seconds)).
  - Every request goes into the file LOSSY_FILE as host, state, and what became of it.
options: {}
extends_documentation_fragment:
  - connection_pipelining
"""


class Connection(Local):
    """A local connection that the rules apply to."""

    transport = "lossy"

    def exec_command(self, cmd, in_data=None, sudoable=True):
        """Run a command; what the rules say happens to its request or its answer."""
        host, state = _asked(in_data)
        rule = _rule(host, state)
        what = rule["what"] if rule else ""
        _note(host, state, what)
        if what == "request":
            raise AnsibleConnectionFailure("the request was lost")
        if what == "slow":
            time.sleep(rule["seconds"])
        code, output, errors = super().exec_command(cmd, in_data=in_data, sudoable=sudoable)
        if what == "answer":
            raise AnsibleConnectionFailure("the answer was lost")
        return code, output[: len(output) // 2] if what == "half" else output, errors


def _asked(data: bytes | None) -> tuple[str, str]:
    """The host that a request is for, and the state that it is asked for; ``look`` for a request without one."""
    request = json.loads(data) if data else {}
    return os.path.basename(request.get("tetra_dir", "")), request.get("state", "look")


def _rule(host: str, state: str) -> dict | None:
    for rule in json.loads(os.environ["LOSSY_RULES"]):
        asked = _was_asked(host, rule["state"])
        first = rule["state"] == state and not asked
        if rule["host"] == host and (first or (asked and rule.get("onward"))):
            return rule
    return None


def _was_asked(host: str, state: str) -> bool:
    try:
        with open(os.environ["LOSSY_FILE"], encoding="utf-8") as file:
            return any(line.split("\t")[:2] == [host, state] for line in file)
    except FileNotFoundError:
        return False


def _note(host: str, state: str, what: str) -> None:
    with open(os.environ["LOSSY_FILE"], "a", encoding="utf-8") as file:
        file.write(f"{host}\t{state}\t{what}\n")
