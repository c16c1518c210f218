"""Shards that only wait, for `benchmarks.engines`: all other time is overhead of the engine.

Run as a program it is a builder for Flink (the protocol of deploy/flink/builder.py).
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path


def wait(shard: int, seconds: float, folder: str) -> int:
    """Wait, and note (start, end, process) on the monotonic clock, which all processes of this machine share."""
    start = time.monotonic()
    time.sleep(seconds)
    aside = Path(folder) / f".{shard}-{os.getpid()}"
    aside.write_text(json.dumps([start, time.monotonic(), os.getpid()]))
    aside.replace(Path(folder) / f"{shard}.json")
    return shard


def main(folder: str, seconds: float) -> None:
    """Answer each shard on standard input after `seconds`."""
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        print(json.dumps({"shard": wait(int(line), seconds, folder), "error": None}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]))
