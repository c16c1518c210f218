"""Reads a planned run as the builder does: per shard, clouds first, then the bands of the chosen scenes."""

from __future__ import annotations

import json
import sys
import time
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import pyproj

from benchmarks import scenes as land
from benchmarks.ours import CONCURRENCY, peak_bytes
from benchmarks.peers import checksum, repeated
from pipelines.access.http.client import Client
from pipelines.access.rasters.cog import Reader
from pipelines.sources import open_source
from pipelines.sources.read_shard import ObservationRequest, gather
from pipelines.sources.sharing import cover
from sampling import pack
from schemas.place import GeoBox, Place
from schemas.provider import Provider
from schemas.recipe import Recipe
from schemas.stack import Observation

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pipelines.sources.sensor import SensorSource
    from schemas.scene import Candidate, Scene

PX = 258
"""Edge of a sample: 256 pixels, and on to whole pixels of 60 m."""
DATES = 12
SLOTS = 4
"""Parts of the period; each sample wants one of them."""
FIRST = date(2024, 6, 3)
STEP = timedelta(days=5)


def recipe_of(job: Mapping[str, Any]) -> Recipe:
    """Clear observations of two months, one in each half of a month."""
    source = {
        "kind": "sentinel2", "providers": ["archive"], "max_candidates": job["candidates"], "max_cloud": 0.2,
        "min_valid": 0.9, "sharing": job["sharing"],
    }  # fmt: skip
    return Recipe.model_validate(
        {
            "name": "benchmark", "seed": 1, "sampling": {"kind": "points", "file": "points.csv"},
            "grid": {"size_m": PX * 10}, "providers": {"archive": {"url": "http://127.0.0.1"}}, "sources": [source],
            "shards": {"samples": 256},
            "windows": [{"name": "summer", "start": "2024-06-01", "end": "2024-07-30", "count": SLOTS}],
        }
    )  # fmt: skip


def places(count: int) -> list[Place]:
    """Uniform over the ground of all granules, on the 60 m lattice."""
    rng = np.random.default_rng([land.SEED, 9])
    edge = max(c for c, _ in land.TILES.values()) * land.STEP_M + land.EDGE_M
    to_degrees = pyproj.Transformer.from_crs(land.EPSG, 4326, always_xy=True).transform
    found = []
    for i, (a, b) in enumerate(rng.uniform(0, (edge - PX * 10) / 60, (count, 2)).astype(int)):
        x, y = land.LEFT + 60 * int(a), land.TOP - 60 * int(b)
        lon, lat = to_degrees(x + PX * 5, y - PX * 5)
        box = GeoBox(epsg=land.EPSG, x_min=x, y_max=y, resolution_m=10, width=PX, height=PX)
        found.append(Place(sample_id=f"s{i:05d}", lon=lon, lat=lat, geobox=box, split="train", block="b", cell="c"))
    return found


def item_of(tile: str, number: int, url: str) -> dict[str, Any]:
    """A granule of one date, as a STAC API says it."""
    left, top = land.origin(tile)
    ring = np.array([(0, 0), (1, 0), (1, -1), (0, -1), (0, 0)]) * land.EDGE_M + (left, top)
    lon, lat = pyproj.Transformer.from_crs(land.EPSG, 4326, always_xy=True).transform(ring[:, 0], ring[:, 1])
    day = FIRST + number * STEP
    files = {band: band for band in land.S2_BANDS} | {"SCL": f"SCL-{number % land.SKIES}"}
    return {
        "type": "Feature", "stac_version": "1.0.0", "id": f"S2A_{tile}_{day:%Y%m%d}", "collection": "sentinel-2-l2a",
        "links": [], "bbox": [lon.min(), lat.min(), lon.max(), lat.max()],
        "geometry": {"type": "Polygon", "coordinates": [np.stack([lon, lat], axis=1).tolist()]},
        "properties": {
            "datetime": f"{day:%Y-%m-%d}T10:00:00Z", "proj:epsg": land.EPSG, "platform": "sentinel-2a",
            "eo:cloud_cover": 8.0 + 7 * number % 5, "s2:processing_baseline": "05.10", "s2:mgrs_tile": tile,
            "earthsearch:boa_offset_applied": True,
        },
        "assets": {
            name: {"href": f"{url}/s2/{tile}/{day:%Y%m%d}/{file}.tif", "type": "image/tiff"}
            for name, file in files.items()
        },
    }  # fmt: skip


def run(job: Mapping[str, Any]) -> dict[str, Any]:
    """Plan and read.

    Returns:
        seconds of wall and CPU of the reading, samples obtained, scenes opened for bands (counted once a shard), peak
        memory of this process, and of `job['checked']` samples the chip (for peers to read again) and its checksum.
    """
    recipe = recipe_of(job)
    source, provider = open_source(recipe.sources[0]), Provider(url="http://127.0.0.1")
    items = [item_of(tile, n, job["url"]) for tile in land.TILES for n in range(DATES)]
    parsed: list[Scene] = source.collapse([source.scene(item, "archive", provider) for item in items])
    known = {scene.item_id: scene for scene in parsed}
    client = Client(concurrency=job.get("concurrency", CONCURRENCY))
    shards = pack(places(job["samples"]), recipe.shards)
    planned = [_choices(source, recipe, parsed, shard, job["sharing"]) for shard in shards]
    checked: dict[str, str] = {}
    chips: dict[str, dict[str, Any]] = {}
    used = obtained = 0
    started, busy = time.perf_counter(), time.process_time()
    with Reader(client) as reader:
        for shard, found in zip(shards, planned, strict=True):
            requests = [ObservationRequest(p, _slot(p), found[p.sample_id]) for p in shard]
            opened: set[str] = set()
            for place, got in zip(shard, gather(source, recipe, requests, known, lambda _: reader), strict=True):
                if not isinstance(got, Observation):
                    continue
                obtained += 1
                opened.update(got.item_ids)
                if len(got.item_ids) == 1 and len(checked) < job["checked"]:
                    checked[place.sample_id] = _sum(got)
                if len(got.item_ids) == 1:
                    chips[place.sample_id] = _chip(place, got.item_ids[0], job["url"])
            used += len(opened)
    wall, cpu = time.perf_counter() - started, time.process_time() - busy
    client.close()
    return {
        "wall_s": wall, "cpu_s": cpu, "samples": obtained, "scenes": used, "shards": len(shards),
        "peak_bytes": peak_bytes(), "checksums": checked, "chips": chips,
    }  # fmt: skip


def _slot(place: Place) -> int:
    return int(place.sample_id[1:]) % SLOTS


def _choices(
    source: SensorSource, recipe: Recipe, parsed: Sequence[Scene], shard: Sequence[Place], sharing: float
) -> dict[str, tuple[Candidate, ...]]:
    """As the planner does it: candidates by rank, then neighbours of one slot agree."""
    found: dict[str, tuple[Candidate, ...]] = {}
    for slot in range(SLOTS):
        here = [p for p in shard if _slot(p) == slot]
        listed = {p.sample_id: source.candidates(parsed, p, recipe.windows[0], slot) for p in here}
        found |= cover(listed, sharing) if sharing else {k: tuple(v) for k, v in listed.items()}
    return found


def _chip(place: Place, item_id: str, url: str) -> dict[str, Any]:
    _, tile, day = item_id.split("_")
    left, top = land.origin(tile)
    return {
        "href": f"{url}/s2/{tile}/{day}/{{band}}.tif", "item": item_id, "date": f"{day[:4]}-{day[4:6]}-{day[6:]}",
        "left": left, "top": top, "x": place.geobox.x_min, "y": place.geobox.y_max, "px": PX,
    }  # fmt: skip


def _sum(got: Observation) -> str:
    layers = [got.arrays["bands_10m"], got.arrays["bands_20m"], got.arrays["bands_60m"]]
    bands = [band for layer in layers for band in layer]
    return checksum([repeated(b, r, PX) for b, r in zip(bands, land.S2_BANDS.values(), strict=True)])


def main() -> None:
    """Answer jobs until there are no more."""
    for line in sys.stdin:
        print(json.dumps(run(json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
