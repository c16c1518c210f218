"""Reads rasters that unpack to far more than they are, as a worker does, and says what became of each and the peak.

Run as a module: `python -m tests.hostile.raster_bombs FOLDER`.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from pipelines.access.chips import Chip, ChipRequest
from pipelines.access.http.client import Client
from pipelines.access.rasters.cog import Reader
from schemas.place import GeoBox
from testbed.services import serve_catalogue


def peak_kib() -> int:
    """Largest resident set since this program began (VmHWM, proc_pid_status(5)); ru_maxrss counts the parent's too."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1])


def main(folder: Path) -> None:
    box = GeoBox(epsg=32632, x_min=500_000, y_max=5_000_000, resolution_m=10, width=256, height=256)
    names = sorted(p.name for p in folder.iterdir())
    with serve_catalogue([], {"/f/": folder}) as services, Reader(Client(retries=1, backoff_s=0.001)) as reader:
        requests = [
            ChipRequest(hrefs=(f"{services.base_url}/f/{name}",), bands=(1,), geobox=box, kernel="bilinear", fill=(0,))
            for name in names
        ]
        found = {
            name: ["chip", ""] if isinstance(got, Chip) else [got.reason.value, got.detail]
            for name, got in zip(names, reader.read_chips(requests), strict=True)
        }
    sys.stdout.write(json.dumps({"found": found, "peak_mib": peak_kib() >> 10}) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
