"""One task of `benchmarks.catalogue` with a dataset, in a process that imports nothing but the reader."""

from __future__ import annotations

import json
import resource
import sys
import time
from pathlib import Path
from typing import Any

import landweave


def use(task: str, place: str, sample_id: str) -> dict[str, Any]:
    """Seconds of a task, wall and CPU, and the largest resident size of this process.

    Args:
        task: 'open', 'split', 'query', 'item', 'stream', 'sql' or 'texts'.
        place: path or URL of the dataset.
        sample_id: the sample that 'item' reads.
    """
    start_s = time.perf_counter()
    data = landweave.open(place)
    opened_s = time.perf_counter() - start_s
    if task != "open":
        start_s = time.perf_counter()
    spent_s = time.process_time()
    found = _found(task, data, sample_id)
    seconds, spent_s = time.perf_counter() - start_s, time.process_time() - spent_s
    return {"seconds": seconds, "cpu_s": spent_s, "memory_mb": _peak_mb(), "opened_s": opened_s, "found": found}


def _peak_mb() -> float:
    """The largest resident size since this program began; `ru_maxrss` would count what forked it."""
    if sys.platform != "linux":
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def _found(task: str, data: landweave.Dataset, sample_id: str) -> int:
    match task:
        case "open":
            return len(data)
        case "split":
            return len(data.query(split="train"))
        case "query":
            box, period = (5.0, 40.0, 5.4, 40.2), ("2021-01-01", "2021-08-01")
            return len(data.query("worldcover_trees > 0.3", bbox=box, time=period))
        case "item":
            return int(data.sample(sample_id).item["id"] == sample_id)
        case "sql" | "texts":
            about = data.sql("worldcover_trees > 0.5") if task == "sql" else data.speaking_of("water", limit=20_000)
            return len(about)
    stream = data.stream(batch_size=32, shuffle=True, arrays=["sentinel1/backscatter"], columns=["captions"])
    return len(next(iter(stream))["captions"])


if __name__ == "__main__":
    print(json.dumps(use(*sys.argv[1:4])))
