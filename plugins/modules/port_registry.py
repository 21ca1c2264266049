#!/usr/bin/python
# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Change the port registry of a host."""

from __future__ import annotations

DOCUMENTATION = r"""
module: port_registry
short_description: Change the port registry of a host
version_added: 0.1.0
description:
  - Sets, allocates and removes named ports, ranges and reserved ports in one call.
  - Comments, order and everything else in the file stay as they are.
options:
  path:
    description: Registry file; the default is C(config/ports.toml) in O(tetra_dir).
    type: path
  ports:
    description:
      - Name to port, V(4000), or V(5353/udp) for UDP. V(auto) takes a free one by the C(allocation_strategy) of the
        file, V(absent) removes the name.
      - C(org/env/service), or C(org/env/service/name), can only be V(absent), where no release has that port.
    type: dict
    default: {}
  ranges:
    description: Name of a range to its ports, as C(4100-4199); V(absent) removes it.
    type: dict
    default: {}
  reserved:
    description: Category to a list of ports that are never given out; V(absent) removes the category.
    type: dict
    default: {}
  exclusive:
    description: Remove plain names that are not in O(ports).
    type: bool
    default: false
  import_from:
    description:
      - A registry on the host that is taken over, as TOML, JSON, shell variables or the original's C(ports.env). All of
        it or nothing; what contradicts the registry is listed.
    type: path
  adopt:
    description:
      - Files and folders on the host whose ports get the names that the module port_registry_info proposes for them.
        All of them or nothing. An empty list stands for what listens.
    type: list
    elements: path
  resolve:
    description:
      - What becomes of ports that two have, that are reserved, outside the range of their environment, or that a
        foreign program listens on. V(report) tells of them in RV(findings), V(fail) fails and lists them all,
        V(reallocate) gives other ports to those who give way.
      - Of those who share a port the one that listens on it stays, else one of an environment, else the first in the
        file.
      - A port that was given up a short while ago, or that a transaction may have to go back to, is given to nobody.
    type: str
    default: report
    choices: [report, reallocate, fail]
  org:
    description: With O(env), resolve only what this environment has to do with, and move only its own ports.
    type: str
  env:
    description: Name of the environment, with O(org).
    type: str
  port_range:
    description:
      - Where ports of O(env) may move to, C(4100-4199) or the name of a range. Without it that is the range of the
        environment in the file, else C(min_port) to C(max_port).
    type: str
extends_documentation_fragment:
  - tetra.platform.common
  - tetra.platform.common.changes
seealso:
  - module: tetra.platform.port_registry_info
author:
  - tetra.platform contributors (@tetra-platform)
"""

EXAMPLES = r"""
- name: Name two ports
  tetra.platform.port_registry:
    ports:
      metrics: 9100
      gateway: auto
      dns: 5353/udp

- name: Show which ports would move because somebody else has them
  tetra.platform.port_registry:
    resolve: reallocate
  check_mode: true
  diff: true
"""

RETURN = r"""
ports:
  description: The plain names and their ports.
  returned: success
  type: dict
ranges:
  description: The ranges, each with its first and last port.
  returned: success
  type: dict
reserved:
  description: The reserved ports by category.
  returned: success
  type: dict
findings:
  description: What is wrong with the file then, with severity, code, message, file, line, column and hint.
  returned: success
  type: list
  elements: dict
warnings:
  description: Who listens already on a port that was given to a plain name; it may be the program that the name means.
  returned: success
  type: list
  elements: str
"""

from ansible_collections.tetra.platform.plugins.module_utils import bridge
from ansible_collections.tetra.platform.plugins.module_utils.host.operations import ports


def main() -> None:
    """Run the operation of the same name."""
    arguments = {
        **bridge.TETRA_DIR,
        "path": {"type": "path"},
        "ports": {"type": "dict", "default": {}},
        "ranges": {"type": "dict", "default": {}},
        "reserved": {"type": "dict", "default": {}},
        "exclusive": {"type": "bool", "default": False},
        "import_from": {"type": "path"},
        "adopt": {"type": "list", "elements": "path"},
        "resolve": {"type": "str", "default": "report", "choices": ["report", "reallocate", "fail"]},
        "org": {"type": "str"},
        "env": {"type": "str"},
        "port_range": {"type": "str"},
    }
    alone = [["import_from", other] for other in ("adopt", "exclusive")]
    bridge.run_module(ports.port_registry, arguments, mutually_exclusive=alone)


if __name__ == "__main__":
    main()
