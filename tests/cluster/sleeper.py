"""A builder for tests (protocol of deploy/flink/builder.py): sleeps, notes the attempt, writes one file atomically."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path


def say(**answer: object) -> None:
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


def main(folder: Path, seconds: float, fates: dict[str, str]) -> None:
    """Answer each shard after `seconds`; `fates` says what becomes of some: die, hang, err."""
    if "refuse" in fates:
        say(refused=fates["refuse"])
        return
    say(ready=True)
    for line in sys.stdin:
        shard = int(line)
        if (folder / f"{shard}.txt").exists():  # as the factory leaves a published shard as it is
            say(shard=shard, error=None)
            continue
        (folder / "attempts" / f"{shard}-{time.time_ns()}-{os.getpid()}").touch()
        match fates.get(str(shard)):
            case "die":
                sys.stderr.write("out of memory, says the kernel\n")
                sys.stderr.flush()
                os.kill(os.getpid(), 9)
            case "hang":
                time.sleep(3600)
            case "err":
                say(shard=shard, error="Traceback: our mistake")
                continue
        time.sleep(seconds)
        aside = folder / f".{shard}.{os.getpid()}"
        aside.write_text(f"{shard * shard} {time.time_ns()}\n")
        aside.replace(folder / f"{shard}.txt")
        say(shard=shard, error=None)


if __name__ == "__main__":
    main(Path(sys.argv[1]), float(sys.argv[2]), json.loads(sys.argv[3]))
