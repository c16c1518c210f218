"""Builds the shards whose numbers arrive on standard input, one per line; answers each with a JSON line.

Runs in the Python of the pipelines, started by a Flink worker (job.py) with another Python. Answers `{"ready": true}`
once, or `{"refused": "why"}` and ends if it cannot build here; then `{"shard": 3, "error": null}` for each shard, with
the traceback of a bug in `error`.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.metadata
import json
import os
import sys
import threading
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

CHECKOUT = Path(__file__).resolve().parents[2]
ROOMS = ("landweave", "pipelines", "sampling", "schemas")
"""Packages whose code decides the bytes of a shard."""
LIBRARIES = (
    "numpy",
    "numcodecs",
    "awscrt",
    "imagecodecs",
    "pyarrow",
    "rasterio",
    "pyproj",
    "shapely",
    "scipy",
    "osmium",
)
"""Libraries whose versions decide them too."""


def code_version(checkout: Path = CHECKOUT) -> str:
    """Digest of the factory's code and of the libraries it computes with: workers must have the submitter's."""
    digest = hashlib.sha256()
    for room in ROOMS:
        for path in sorted((checkout / room).rglob("*.py")):
            digest.update(f"{path.relative_to(checkout)}\0".encode())
            digest.update(path.read_bytes())
    for library in LIBRARIES:
        digest.update(f"{library} {importlib.metadata.version(library)}\0".encode())
    return digest.hexdigest()[:16]


def main() -> int:
    """Serve until standard input ends."""
    parser = argparse.ArgumentParser(prog="python -m deploy.flink.builder", description=__doc__.splitlines()[0])
    parser.add_argument("dataset", type=Path, help="folder of a planned dataset")
    parser.add_argument("--code", required=True, help="`code_version()` of the submitter")
    parser.add_argument(
        "--workers", type=int, default=1, help="number of builders that share the limits of the archives"
    )
    asked = parser.parse_args()
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # whatever a library prints goes to the log

    def say(**answer: object) -> None:
        answers.write(json.dumps(answer) + "\n")

    if code_version() != asked.code:
        say(
            refused=f"worker {os.uname().nodename} has other code or library versions than the submitter: "
            "install the same"
        )
        return 1
    from pipelines.access.http.client import SettingError
    from pipelines.access.openstreetmap.extract import BadExtractError
    from pipelines.journal import JournalError
    from pipelines.tables import PlanError
    from pipelines.worker import attempt, open_worker

    try:
        factory = open_worker(asked.dataset, asked.workers)
    except (BadExtractError, JournalError, PlanError, SettingError) as error:
        say(refused=f"worker {os.uname().nodename}: {error}")
        return 1
    say(ready=True)
    for shard in _arriving():
        say(shard=shard, error=attempt(factory, shard).error)  # what a limit leaves, the submitter finds unbuilt
    factory.close()
    return 0


def _arriving() -> Iterator[int]:
    """Numbers from standard input. When it ends amid a shard the worker has died: end at once, another builds it."""
    queue: SimpleQueue[int | None] = SimpleQueue()
    building = threading.Event()

    def listen() -> None:
        for line in sys.stdin:
            queue.put(int(line))
        if building.is_set():
            os._exit(1)
        queue.put(None)

    threading.Thread(target=listen, name="listen", daemon=True).start()
    while True:
        building.clear()
        shard = queue.get()
        if shard is None:
            return
        building.set()
        yield shard


if __name__ == "__main__":
    sys.exit(main())
