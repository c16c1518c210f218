"""Reads chips with landweave: takes the same jobs as `benchmarks.peers`, and reads all chips of a job together."""

from __future__ import annotations

import json
import resource
import sys
import time
from typing import TYPE_CHECKING, Any

from benchmarks.peers import checksum, repeated
from pipelines.access.chips import Chip, ChipRequest
from pipelines.access.http.client import AccessError, Client
from pipelines.access.rasters.cog import Reader
from pipelines.access.rasters.description import described_small
from schemas.place import GeoBox

if TYPE_CHECKING:
    from collections.abc import Mapping

CONCURRENCY = 8
"""Requests under way at once: the recipe's default."""


def requests_of(job: Mapping[str, Any]) -> list[ChipRequest]:
    """Every band of every chip on the band's own lattice: no pixel is resampled."""
    found = []
    for chip in job["chips"]:
        for band, resolution in job["bands"].items():
            px = -(-chip["px"] * 10 // resolution)
            box = GeoBox(
                epsg=job["epsg"], x_min=chip["x"], y_max=chip["y"], resolution_m=resolution, width=px, height=px
            )
            href = chip["href"].format(band=band)
            found.append(ChipRequest(hrefs=(href,), bands=(1,), geobox=box, kernel="nearest", fill=(0.0,)))
    return found


def products_of(job: Mapping[str, Any]) -> list[ChipRequest]:
    """All bands of one file for every chip, warped where the file's lattice is another."""
    found = []
    for chip in job["chips"]:
        px = round(chip["px"] * 10 / job["resolution_m"])
        box = GeoBox(
            epsg=job["epsg"], x_min=chip["x"], y_max=chip["y"], resolution_m=job["resolution_m"], width=px, height=px
        )
        bands = tuple(range(1, job["count"] + 1))
        found.append(ChipRequest(hrefs=(chip["href"],), bands=bands, geobox=box, kernel=job["kernel"]))
    return found


def read(job: Mapping[str, Any]) -> dict[str, Any]:
    """Do one job.

    Returns:
        seconds of wall and CPU, one checksum per chip, and the peak memory of this process so far, bytes.
    """
    requests = products_of(job) if "resolution_m" in job else requests_of(job)
    client = Client(concurrency=job.get("concurrency", CONCURRENCY))
    described_small.cache_clear()  # headers that an earlier job has read are no part of this one
    started, busy = time.perf_counter(), time.process_time()
    with Reader(client) as reader:
        chips = reader.read_chips(requests)
    wall, cpu = time.perf_counter() - started, time.process_time() - busy
    client.close()
    pixels = []
    for chip in chips:
        if isinstance(chip, AccessError):
            raise chip
        pixels.append(chip)
    return {"wall_s": wall, "cpu_s": cpu, "checksums": list(_sums(job, pixels)), "peak_bytes": peak_bytes()}


def _sums(job: Mapping[str, Any], chips: list[Chip]) -> list[str]:
    if "resolution_m" in job:
        return []
    count = len(job["bands"])
    sums = []
    for i, chip in enumerate(job["chips"]):
        bands = chips[i * count : (i + 1) * count]
        resolutions = list(job["bands"].values())
        sums.append(checksum([repeated(b.pixels[0], r, chip["px"]) for b, r in zip(bands, resolutions, strict=True)]))
    return sums


def peak_bytes() -> int:
    """Largest resident set of this process so far (ru_maxrss is in KiB on Linux, getrusage(2))."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def main() -> None:
    """Answer jobs until there are no more."""
    for line in sys.stdin:
        print(json.dumps(read(json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
