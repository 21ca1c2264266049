# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A service that notes each of its starts in its home, and crashes while a file there tells it to."""

import os
import sys
import time
from pathlib import Path

home, name = Path(os.environ["HOME"]), os.environ["TSM_NAME"]
with (home / f"{name}.starts").open("a") as file:
    file.write(f"{os.getpid()}\n")
while not (home / f"{name}.crash").exists():
    time.sleep(0.02)
sys.exit(3)
