"""What a plan will cost: requests, bytes and time, before anything is fetched."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from schemas.modality import MODALITIES

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pipelines.tables import Plan
    from schemas.place import GeoBox, Place
    from schemas.recipe import Recipe
    from schemas.scene import Candidate, Scene

BLOCK_PX = 512
"""Assumed edge of a COG's internal tile: the COG driver's default, and what Sentinel-2 COGs have (GDAL, COG driver)."""
STORED_SHARE = 0.6
"""Assumed compressed size of a tile against its pixels: deflate on reflectances gives 0.5 to 0.7 (docs/measured.md)."""
HEADER_BYTES = 32_768
"""Read to learn a raster's layout."""
LINK_BYTES_S = 20e6
"""Assumed speed of the link of one machine, bytes a second."""
REQUEST_S = 0.05
"""Assumed time to first byte of one request, seconds."""
REQUESTS_AT_ONCE = 8
"""Assumed requests under way at once."""
SAMPLE_S = 0.05
"""Assumed CPU time for one sample: warp, label, compress, verify, seconds."""


@dataclass(kw_only=True)
class Tally:
    """Requests and bytes so far."""

    requests: float = 0.0
    bytes: float = 0.0

    def add(self, blocks: int, runs: int, block_bytes: float) -> None:
        """One raster opened once: its header, its blocks, merged into runs."""
        self.requests += 1 + runs
        self.bytes += HEADER_BYTES + blocks * block_bytes


def estimate(plan: Plan) -> dict[str, float]:
    """Expected cost of building a plan: 'samples', 'scenes', 'requests', 'bytes' and 'seconds' (one worker).

    Every candidate's cloud layer is read, and all bands of the best candidate. Tiles are counted once per scene and
    shard, as they are read.
    """
    tally = Tally()
    wished: dict[str, list[tuple[str, tuple[Candidate, ...]]]] = {}
    for (sample_id, layer, _), candidates in plan.candidates.items():
        wished.setdefault(sample_id, []).append((layer, candidates))
    for places in plan.shards:
        _shard(plan, places, wished, tally)
    samples = sum(len(places) for places in plan.shards)
    seconds = tally.bytes / LINK_BYTES_S + tally.requests * REQUEST_S / REQUESTS_AT_ONCE + samples * SAMPLE_S
    return {
        "samples": samples,
        "scenes": sum(len(scenes) for scenes in plan.scenes.values()),
        "requests": round(tally.requests),
        "bytes": round(tally.bytes),
        "seconds": round(seconds, 1),
    }


def _shard(
    plan: Plan, places: Iterable[Place], wished: Mapping[str, list[tuple[str, tuple[Candidate, ...]]]], tally: Tally
) -> None:
    chips: dict[tuple[str, str, bool], list[GeoBox]] = {}
    for place in places:
        for layer, candidates in wished.get(place.sample_id, ()):
            for rank, candidate in enumerate(candidates):
                for item in candidate.scenes:
                    chips.setdefault((layer, item, rank == 0), []).append(place.geobox)
    for (layer, item, best), boxes in sorted(chips.items(), key=lambda entry: entry[0]):
        scene = plan.scenes[layer][item]
        for resolution_m, itemsize, rasters in _rasters(plan.recipe, layer, scene, best=best):
            blocks, runs = _blocks(boxes, resolution_m)
            for bands in rasters:
                tally.add(blocks * bands, runs * bands, BLOCK_PX**2 * itemsize * STORED_SHARE)


def _rasters(recipe: Recipe, layer: str, scene: Scene, *, best: bool) -> list[tuple[float, int, list[int]]]:
    """(pixel edge in metres, bytes a pixel, bands needed of each raster) for each layer that is read of a scene."""
    if layer not in MODALITIES:
        return [(recipe.resolution_of(layer, None), 1, [1])] if best else []
    modality, wanted = MODALITIES[layer], []
    for part in modality.layers:
        if part.name != modality.cloud_layer and not best:
            continue
        hrefs = [scene.assets[band.name].href for band in part.bands if band.name in scene.assets]
        rasters = [hrefs.count(href) for href in sorted(set(hrefs))]
        wanted.append((part.resolution_m, np.dtype(part.dtype).itemsize, rasters))
    return wanted


def _blocks(boxes: list[GeoBox], resolution_m: float) -> tuple[int, int]:
    """Internal tiles that chips touch, and runs of neighbours along a row (each about one merged request)."""
    edge_m = BLOCK_PX * resolution_m
    touched: set[tuple[int, int, int]] = set()
    for box in boxes:
        columns = range(math.floor(box.x_min / edge_m), math.ceil(box.x_max / edge_m))
        rows = range(math.floor(box.y_min / edge_m), math.ceil(box.y_max / edge_m))
        touched.update((box.epsg, row, column) for row in rows for column in columns)
    runs = sum((epsg, row, column - 1) not in touched for epsg, row, column in touched)
    return len(touched), runs
