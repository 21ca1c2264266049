"""Says every so many seconds that something is due: scheduler.py SECONDS. Replace it with yours."""

from __future__ import annotations

import sys
import time

if __name__ == "__main__":
    while True:
        print("due", flush=True)
        time.sleep(int(sys.argv[1]))
