"""Builds the first shard of a plan under a memory limit, as a worker does, and says how much it took.

Run as a module: `python -m tests.sources.bounded_builder FOLDER LIMIT_BYTES`; FOLDER holds the plan.
"""

from __future__ import annotations

import json
import resource
import sys
from pathlib import Path

from pipelines.assemble import Factory
from tests.sources.bounded_reader import peak_kib


def main() -> None:
    folder, limit = Path(sys.argv[1]), int(sys.argv[2])
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))  # brk and private writable mappings, getrlimit(2)
    factory = Factory.open(folder)
    samples = factory.build(0)
    factory.close()
    sys.stdout.write(json.dumps({"samples": samples, "peak_bytes": peak_kib() * 1024}) + "\n")


if __name__ == "__main__":
    main()
