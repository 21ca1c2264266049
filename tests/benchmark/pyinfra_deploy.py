# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What pyinfra carries out on every host: the files and the unit of each service, then each of them started."""

from __future__ import annotations

from pyinfra import host
from pyinfra.operations import files, systemd
from pyinfra.operations.util import any_changed

units = []
for service in host.data.services:
    files.put(
        name=f"{service}: files", src=f"{host.data.source}/{service}/{host.data.program}",
        dest=f"{host.data.place}/{service}/{host.data.program}", mode="644",
    )  # fmt: skip
    units.append(files.template(
        name=f"{service}: unit", src=host.data.unit, dest=f"/etc/systemd/system/{host.data.prefix}{service}.service",
        mode="644", service=service,
    ))  # fmt: skip
systemd.daemon_reload(name="read the units", _if=any_changed(*units))
for service in host.data.services:
    systemd.service(
        name=f"{service}: start", service=f"{host.data.prefix}{service}.service", running=True, enabled=True
    )
