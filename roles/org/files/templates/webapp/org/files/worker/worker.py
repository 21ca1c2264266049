"""Does a piece of work every minute; replace it with yours."""

from __future__ import annotations

import time


def work() -> None:
    """One piece of work."""
    print("worked", flush=True)


if __name__ == "__main__":
    while True:
        work()
        time.sleep(60)
