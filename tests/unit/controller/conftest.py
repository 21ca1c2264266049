# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Organizations to test with."""

from __future__ import annotations

import pytest


@pytest.fixture
def make_org(tmp_path):
    """Write the directory of an organization: path to text or bytes. There is always a service ``web``."""

    def make(files=None, name="acme"):
        directory = tmp_path / name
        for path, content in {"services/web.tsm": 'TSM_COMMAND="true"\n', **(files or {})}.items():
            place = directory / path
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(content if isinstance(content, bytes) else content.encode())
        return directory

    return make
