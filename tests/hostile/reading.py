"""Reads damaged files, in a process of its own with little memory: prints what became of each seed.

python -m tests.hostile.reading FOLDER FIRST COUNT MEMORY_MIB
"""

from __future__ import annotations

import json
import resource
import sys
import time
import warnings
from collections import Counter
from pathlib import Path

from pipelines.access.chips import Chip, ChipRequest
from pipelines.access.http.client import AccessError, Client
from pipelines.access.rasters.cog import Reader
from schemas.place import GeoBox
from testbed.services import serve_catalogue
from tests.hostile.corrupt import damaged

BOXES = [
    GeoBox(epsg=epsg, x_min=500_000 + x, y_max=5_000_000 - y, resolution_m=resolution, width=n, height=n)
    for epsg, x, y, resolution, n in ((32632, 0, 0, 10, 100), (32632, 5, 5, 20, 64), (32633, 38_000, 0, 60, 8))
]


def peak_kib() -> int:
    """Largest resident set since this program began (VmHWM, proc_pid_status(5)); ru_maxrss counts the parent's too."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1])


def main(folder: Path, first: int, count: int, memory_mib: int) -> None:
    """Read one file a seed; stops at the first exception that is not classed."""
    sources = [p.read_bytes() for p in sorted(folder.glob("*.tif"))]
    work = folder / f"work-{first}"
    work.mkdir(exist_ok=True)
    memory = memory_mib << 20
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    tally: Counter[str] = Counter()
    slowest = 0.0
    with serve_catalogue([], {"/w/": work}) as services:
        client = Client(retries=1, timeout_s=20.0, backoff_s=0.001, concurrency=2)
        for seed in range(first, first + count):
            sys.stderr.write(f"{seed}\n")
            (work / f"{seed}.tif").write_bytes(damaged(sources[seed % len(sources)], seed))
            href = f"{services.base_url}/w/{seed}.tif"
            began = time.process_time()
            requests = [
                ChipRequest(hrefs=(href,), bands=(1,), geobox=box, kernel=kernel, epsgs=(32632,))
                for box in BOXES
                for kernel in ("nearest", "bilinear")
            ]
            with Reader(client, workers=2) as reader:
                for got in reader.read_chips(requests):
                    if isinstance(got, Chip):
                        assert got.pixels.shape == got.valid.shape
                        tally["chip"] += 1
                    else:
                        assert isinstance(got, AccessError)
                        tally[got.reason.value] += 1
            slowest = max(slowest, time.process_time() - began)
            (work / f"{seed}.tif").unlink()
    peak = peak_kib() >> 10
    sys.stdout.write(json.dumps({"tally": dict(tally), "peak_mib": peak, "slowest_s": round(slowest, 2)}) + "\n")


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main(Path(sys.argv[1]), *(int(a) for a in sys.argv[2:5]))
