"""Reads one shard of 256 samples under a memory limit, as a worker does, and says how much it took.

Run as a module: `python -m tests.sources.bounded_reader STAC_URL LIMIT_BYTES`.
"""

from __future__ import annotations

import json
import random
import resource
import sys
from datetime import date
from pathlib import Path

import pyproj

from pipelines.access.archives import Archives
from pipelines.sources import open_source
from pipelines.sources.read_shard import ObservationRequest, gather
from schemas.place import BBox, GeoBox, Place
from schemas.provider import Provider
from schemas.recipe import Recipe
from schemas.stack import Observation
from tests.sources.test_sources_gather import EDGE_M, LEFT, TOP

SAMPLES = 256
SIZE_M = 2580


def shard() -> list[Place]:
    found = []
    chance = random.Random(3)
    for i in range(SAMPLES):
        x = LEFT + 60 * chance.randrange((EDGE_M - SIZE_M) // 60)
        y = TOP - 60 * chance.randrange((EDGE_M - SIZE_M) // 60)
        box = GeoBox(epsg=32632, x_min=x, y_max=y, resolution_m=10, width=SIZE_M // 10, height=SIZE_M // 10)
        lon, lat = pyproj.Transformer.from_crs(32632, 4326, always_xy=True).transform(x + SIZE_M / 2, y - SIZE_M / 2)
        found.append(Place(sample_id=f"s{i}", lon=lon, lat=lat, geobox=box, split="train", block="b", cell="c"))
    return found


def peak_kib() -> int:
    """Largest resident set since this program began (VmHWM, proc_pid_status(5)); ru_maxrss counts the parent's too."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1])


def main() -> None:
    url, limit = sys.argv[1], int(sys.argv[2])
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))  # brk and private writable mappings, getrlimit(2)
    recipe = Recipe.model_validate(
        {
            "name": "m", "seed": 1, "sampling": {"kind": "points", "file": "p.csv"}, "grid": {"size_m": SIZE_M},
            "windows": [{"name": "june", "start": "2022-06-01", "end": "2022-06-30"}],
            "providers": {"p": {"url": url}}, "sources": [{"kind": "sentinel2", "providers": ["p"]}],
        }
    )  # fmt: skip
    source, provider = open_source(recipe.sources[0]), Provider(url=url)
    before = peak_kib()
    with Archives({"p": provider}) as archives:
        items = archives.search("p", "sentinel-2-l2a", [BBox(5, 40, 15, 50)], (date(2022, 6, 1), date(2022, 6, 30)))
        scenes = source.collapse([source.scene(i, "p", provider) for i in items])
        requests = [ObservationRequest(p, 0, tuple(source.candidates(scenes, p, recipe.windows[0]))) for p in shard()]
        seen = 0
        for got in gather(source, recipe, requests, {s.item_id: s for s in scenes}, archives.reader):
            seen += isinstance(got, Observation)
    after = peak_kib()
    said = {"observations": seen, "started_bytes": before * 1024, "peak_bytes": after * 1024}
    sys.stdout.write(json.dumps(said) + "\n")


if __name__ == "__main__":
    main()
