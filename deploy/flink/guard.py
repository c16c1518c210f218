"""Ends process groups when their parent process ends, even by a kill: the parent holds the other end of our input.

Input: the number of one process group per line. When input ends, all groups are killed; after a line `leave`, none.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys


def main() -> None:
    """Wait for the end of standard input."""
    groups: list[int] = []
    for line in sys.stdin:
        if line.strip() == "leave":
            return
        groups.append(int(line))
    for group in groups:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(group, signal.SIGKILL)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    main()
