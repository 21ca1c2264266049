#!/usr/bin/python
# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Look at the port registry of a host."""

from __future__ import annotations

DOCUMENTATION = r"""
module: port_registry_info
short_description: Look at the port registry of a host
version_added: 0.1.0
description:
  - Returns who owns which port, what listens, and what is wrong with the file.
  - Writes nothing.
options:
  path:
    description: Registry file; the default is C(config/ports.toml) in O(tetra_dir).
    type: path
  export:
    description: Also return the registry as RV(text) in this form.
    type: str
    choices: [toml, json, env, ports.env]
  scan:
    description:
      - Files and folders on the host in which ports are sought - definitions, env files, commands, Compose files - for
        RV(proposals). An empty list stands for what listens alone.
    type: list
    elements: path
extends_documentation_fragment:
  - tetra.platform.common
  - tetra.platform.common.reads
seealso:
  - module: tetra.platform.port_registry
author:
  - tetra.platform contributors (@tetra-platform)
"""

EXAMPLES = r"""
- name: Look at the ports
  tetra.platform.port_registry_info:
  register: found

- name: Show the ports of an environment
  ansible.builtin.debug:
    msg: "{{ {inventory_hostname: found} | tetra.platform.resolve_ports(org='acme', env='staging') }}"
"""

RETURN = r"""
ports:
  description:
    - Ports by plain name (C(plain)), and by C(org/env) and then service, or C(service/name) for a further port of it
      (C(owned)). A port is a number for TCP, or text like V(5353/udp).
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
released:
  description: Ports that rest after they were given up, each with who had it and gets it back.
  returned: success
  type: dict
address:
  description: Where services of this host bind; empty for every address.
  returned: success
  type: str
listeners:
  description:
    - Who holds ports of this host, with C(address), C(port), C(protocol) (tcp or udp), C(pid), C(command), C(unit) of
      systemd, C(container), and C(owner), which is C(org/env/service) for a service.
    - C(state) is listen, published (the kernel hands the port to a container) or connection (an outgoing connection has
      the port as its own).
    - C(ipv6_only) tells whether a listener on every IPv6 address leaves those of IPv4 to others.
  returned: success
  type: list
  elements: dict
text:
  description: The registry in the form of O(export).
  returned: with O(export)
  type: str
proposals:
  description:
    - Ports that files need or that somebody listens on, each with a name for it, its state (C(new), C(registered) or
      C(conflict)), the reason of a conflict, and where it was seen.
  returned: with O(scan)
  type: list
  elements: dict
findings:
  description:
    - What is wrong with the file, and ports of environments that somebody else listens on, with severity, code,
      message, file, line, column and hint.
  returned: success
  type: list
  elements: dict
"""

from ansible_collections.tetra.platform.plugins.module_utils import bridge
from ansible_collections.tetra.platform.plugins.module_utils.host.operations import ports


def main() -> None:
    """Run the operation of the same name."""
    arguments = {
        **bridge.TETRA_DIR,
        "path": {"type": "path"},
        "export": {"type": "str", "choices": ["toml", "json", "env", "ports.env"]},
        "scan": {"type": "list", "elements": "path"},
    }
    bridge.run_module(ports.port_registry_info, arguments)


if __name__ == "__main__":
    main()
