# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes ``ansible_collections.tetra.platform`` mean this clone, wherever it is, with and without Ansible."""

from __future__ import annotations

import atexit
import importlib.util
import os
import shutil
import sys
import tempfile
from pathlib import Path

import hypothesis

_ROOT = Path(__file__).resolve().parent.parent
_COLLECTION = "ansible_collections.tetra.platform"


def _is_this_clone() -> bool:
    try:
        spec = importlib.util.find_spec(_COLLECTION)
    except ModuleNotFoundError:
        return False
    places = list(spec.submodule_search_locations or []) if spec else []
    return bool(places) and os.path.samefile(places[0], _ROOT)


def _collections_folder() -> Path:
    linked = _ROOT / ".collections"
    place = Path("ansible_collections", "tetra", "platform")
    if (linked / place).exists() and (linked / place).samefile(_ROOT):
        return linked
    folder = Path(tempfile.mkdtemp(prefix="tetra-collections-"))
    atexit.register(shutil.rmtree, folder)
    (folder / place).parent.mkdir(parents=True)
    (folder / place).symlink_to(_ROOT)
    return folder


# Under ansible-test its own loader has found the collection already.
if not _is_this_clone():
    sys.path.insert(0, os.fspath(_collections_folder()))

# Facts are no variables of their own any more in an ansible-core to come; nothing here may need it.
os.environ["ANSIBLE_INJECT_FACT_VARS"] = "false"

# A busy machine is no reason to fail.
hypothesis.settings.register_profile("tetra", deadline=None)
hypothesis.settings.load_profile("tetra")
