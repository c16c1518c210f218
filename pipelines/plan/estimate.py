"""Predicts the cost of a plan: requests, bytes and time."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from pipelines.access.errors import AccessError
from pipelines.access.rasters.raster import Unread, look_at
from pipelines.assemble import sample_bytes
from pipelines.plan.earthengine_cost import EngineTally, at_earth_engine
from pipelines.plan.raster_reads import Seen, seen_of
from pipelines.tables import Estimate, ProviderCost
from schemas.scene import Candidate

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pipelines.access.archives import Archives
    from pipelines.tables import PartPlan
    from schemas.place import GeoBox, Place
    from schemas.recipe import Recipe
    from schemas.scene import AssetBand, Scene

Example = tuple[str, str]
"""(provider, address) of a raster."""
BLOCK_PX = 512
"""Assumed edge of an internal tile where no raster of a layer could be looked at (GDAL's COG driver: 512)."""
STORED_SHARE = 0.6
"""Assumed stored size of a tile against its pixels, in the same case."""
HEADER_BYTES = 32_768
"""Read to learn a raster's layout."""
LINK_BYTES_S = 20e6
"""Assumed speed of the link of one machine, bytes per second."""
REQUEST_S = 0.05
"""Assumed time to first byte of one request, seconds."""
REQUESTS_AT_ONCE = 8
"""Assumed requests under way at once."""
SAMPLE_S, MEGABYTE_S = 0.15, 0.15
"""CPU time for one sample and for each megabyte of its pixels: decode, warp, label, compress, verify, seconds; measured
on the quick start (0.3 s for a sample of 0.9 MB)."""


@dataclass(frozen=True, kw_only=True)
class Cut:
    """Block layout of a layer's rasters, from the header of one of them."""

    edge_px: float
    """Edge of a block, pixels of the layer's own resolution."""
    block_bytes: float
    """Mean stored size of a block."""
    separate: bool
    """True where each band has its own blocks."""
    seen: Seen | None = None
    """That raster; None if none could be read."""
    whole_bytes: int | None = None
    """Size of that raster, if any of its pixels cost all of it."""


@dataclass(kw_only=True)
class Tally:
    """Requests and bytes so far."""

    requests: float = 0.0
    bytes: float = 0.0
    opened: set[str] = field(default_factory=set)
    """Rasters whose header is counted: a worker reads it once."""

    def open(self, href: str, head_bytes: int = HEADER_BYTES) -> None:
        """Count one raster's header."""
        if href not in self.opened:
            self.opened.add(href)
            self.requests += 1
            self.bytes += head_bytes

    def add(self, blocks: int, runs: int, block_bytes: float) -> None:
        """Count blocks of one raster, merged into runs."""
        self.requests += runs
        self.bytes += blocks * block_bytes


class _Part(NamedTuple):
    """A part of a scene that is read: one array of its layer, or a label's classes."""

    name: str
    resolution_m: float
    """Pixel edge in the dataset."""
    itemsize: int
    """Bytes per pixel."""
    rasters: list[tuple[AssetBand, int]]
    """Each raster of it, and the number of bands that are read from it."""


class _Chips(NamedTuple):
    """Chips of one shard that are read from one scene."""

    boxes: list[GeoBox]
    resolution_m: float


class _Chip(NamedTuple):
    """A footprint that lies in a scene."""

    box: GeoBox
    best: bool
    """True where all bands are read: the scene is a sample's best one, or one of many that make its date."""


Found = dict[tuple[object, ...], tuple[int, int]]
"""What rasters under the same chips, with the same blocks, were found to cost: two numbers, see `_raster`."""
Wanted = dict[str, list[tuple[str, tuple[Candidate, ...]]]]
"""Sample id -> (layer, candidates of one of its dates)."""


def estimate(plan: PartPlan, cuts: Mapping[str, Cut]) -> Estimate:
    """Expected cost of building a partition.

    Every candidate's cloud layer is read, and all bands of the best candidate.
    Tiles are counted once per scene and shard, as they are read.

    Args:
        plan: the partition.
        cuts: how rasters are cut, by `cut_key` (from `cut_of`); a part of a layer that is not there is assumed.
    """
    tallies: dict[str, Tally] = {}
    engine = EngineTally()
    wanted: Wanted = {}
    for (sample_id, layer, _), candidates in plan.candidates.items():
        wanted.setdefault(sample_id, []).append((layer, candidates))
    for places in plan.shards.values():
        _shard(plan, places, wanted, cuts, tallies)
        for place in places:
            for layer, candidates in wanted.get(place.sample_id, ()):
                box = plan.recipe.place_of(place, layer).geobox
                engine.add(plan.recipe, layer, box, candidates, plan.scenes[layer])
    samples = sum(len(places) for places in plan.shards.values())
    requests, size = sum(t.requests for t in tallies.values()), sum(t.bytes for t in tallies.values())
    cpu_s = samples * (SAMPLE_S + MEGABYTE_S * sample_bytes(plan.recipe) / 1e6)
    engine_cost = engine.total(plan.recipe)
    seconds = size / LINK_BYTES_S + requests * REQUEST_S / REQUESTS_AT_ONCE + cpu_s
    return Estimate(
        samples=samples,
        scenes=sum(len(scenes) for scenes in plan.scenes.values()),
        requests=round(requests),
        bytes=round(size),
        cpu_seconds=round(cpu_s, 1),
        seconds=round(seconds + (3600.0 * engine_cost.hours if engine_cost else 0.0), 1),
        providers={
            name: ProviderCost(requests=round(t.requests), bytes=round(t.bytes)) for name, t in sorted(tallies.items())
        },
        earthengine=engine_cost,
    )


def _shard(
    plan: PartPlan,
    places: Iterable[Place],
    wanted: Wanted,
    cuts: Mapping[str, Cut],
    tallies: dict[str, Tally],
) -> None:
    """Count the requests and bytes of one shard."""
    known: Found = {}
    for (layer, item), chips in sorted(_chips_of(plan, places, wanted).items()):
        scene = plan.scenes[layer][item]
        if at_earth_engine(scene):
            continue
        tally = tallies.setdefault(scene.provider, Tally())
        for part in _parts(plan.recipe, layer, scene):
            modality = plan.recipe.modalities.get(layer)
            first = modality is None or part.name != modality.cloud_layer
            boxes = [chip.box for chip in chips if chip.best or not first]
            if not boxes:
                continue
            assumed = Cut(edge_px=BLOCK_PX, block_bytes=BLOCK_PX**2 * part.itemsize * STORED_SHARE, separate=True)
            cut = cuts.get(cut_key(layer, part.name), assumed)
            for asset, bands in part.rasters:
                planes = bands if cut.separate else 1
                _raster(asset, cut, planes, _Chips(boxes, part.resolution_m), tally, known)


def _chips_of(plan: PartPlan, places: Iterable[Place], wanted: Wanted) -> dict[tuple[str, str], list[_Chip]]:
    """(layer, item) -> the footprints that are read from it."""
    composed = plan.recipe.composed
    chips: dict[tuple[str, str], list[_Chip]] = {}
    for place in places:
        for layer, candidates in wanted.get(place.sample_id, ()):
            box = plan.recipe.place_of(place, layer).geobox
            for rank, candidate in enumerate(candidates):
                chip = _Chip(box, rank == 0 or layer in composed)
                for item in candidate.scenes:
                    chips.setdefault((layer, item), []).append(chip)
    return chips


def _raster(asset: AssetBand, cut: Cut, planes: int, chips: _Chips, tally: Tally, known: Found) -> None:
    """Count one raster, of which `planes` are read; `known` keeps (runs, bytes), or (blocks, runs) where no raster of
    the layer could be looked at."""
    under = tuple(map(id, chips.boxes))  # of one shard, whose chips outlive the count
    if cut.whole_bytes is not None:
        tally.open(asset.href)
        tally.add(1, 1, cut.whole_bytes)
    elif cut.seen is not None:
        tally.open(asset.href, cut.seen.head_bytes)
        key: tuple[object, ...] = (id(cut), under, chips.resolution_m, planes, asset.transform)
        if key not in known:
            known[key] = cut.seen.cost(chips.boxes, chips.resolution_m, planes, asset.transform)
        runs, size = known[key]
        tally.add(1, runs, size)
    else:
        tally.open(asset.href)
        key = (under, cut.edge_px * chips.resolution_m)
        if key not in known:
            known[key] = _blocks(chips.boxes, cut.edge_px * chips.resolution_m)
        blocks, runs = known[key]
        tally.add(blocks * planes, runs * planes, cut.block_bytes)


def cut_key(layer: str, part: str) -> str:
    """Name of a part of a layer among the cuts."""
    return f"{layer}/{part}"


def examples_of(plan: PartPlan) -> dict[str, Example]:
    """One raster of each part of each layer of a partition, by `cut_key`: (provider, address)."""
    found: dict[str, Example] = {}
    for layer, scenes in sorted(plan.scenes.items()):
        scene = scenes[min(scenes)]
        modality = plan.recipe.modalities.get(layer)
        parts = {"": "classes"} if modality is None else {p.name: p.bands[0].name for p in modality.layers}
        if not at_earth_engine(scene):
            known = {part: band for part, band in parts.items() if band in scene.assets}
            found |= {cut_key(layer, p): (scene.provider, scene.assets[b].href) for p, b in known.items()}
    return found


@lru_cache(maxsize=256)
def cut_of(archives: Archives, example: Example) -> Cut | None:
    """Block layout of a raster, from its header; None if it cannot be read. Read once."""
    try:
        raster = look_at(archives.client(example[0]), example[1])
    except AccessError:
        return None
    if isinstance(raster, Unread):
        return Cut(edge_px=BLOCK_PX, block_bytes=raster.size, separate=False, whole_bytes=raster.size)
    image = raster.levels[0].image
    if image is None:
        return None
    edge = (image.block_width * image.block_height) ** 0.5
    stored = raster.mean_block_bytes(image)
    return Cut(edge_px=edge, block_bytes=stored, separate=image.separate, seen=seen_of(raster, image))


def read_whole(plan: PartPlan, cuts: Mapping[str, Cut]) -> Counter[str]:
    """What to say of files that cannot be read by range -> the number of them in a partition's scenes."""
    found: Counter[str] = Counter()
    scenes = [(layer, s) for layer, some in plan.scenes.items() for s in some.values() if not at_earth_engine(s)]
    for layer, scene in scenes:
        for part in _parts(plan.recipe, layer, scene):
            cut = cuts.get(cut_key(layer, part.name))
            if cut is not None and cut.whole_bytes is not None:
                found[
                    f"{layer} of {scene.provider}: files of {part.name or 'classes'} that are read whole, "
                    f"about {cut.whole_bytes / 1e6:,.1f} MB each, because the one that was looked at cannot be read by "
                    "range (no TIFF, and no JPEG 2000 of several tiles that lists its tile-parts: docs/providers.md)"
                ] += len(part.rasters)
    return found


def _parts(recipe: Recipe, layer: str, scene: Scene) -> list[_Part]:
    """Every part of a scene that is read."""
    if layer not in recipe.modalities:
        return [_Part("", recipe.resolution_of(layer, None), 1, [(next(iter(scene.assets.values())), 1)])]
    parts = []
    for part in recipe.modalities[layer].layers:
        found = [scene.assets[band.name] for band in part.bands if band.name in scene.assets]
        first = {asset.href: asset for asset in reversed(found)}
        rasters = [(first[href], sum(a.href == href for a in found)) for href in sorted(first)]
        parts.append(_Part(part.name, part.resolution_m, np.dtype(part.dtype).itemsize, rasters))
    return parts


def _blocks(boxes: list[GeoBox], edge_m: float) -> tuple[int, int]:
    """Internal tiles that chips touch, and runs of neighbours along a row (each about one merged request)."""
    touched: set[tuple[int, int, int]] = set()
    for box in boxes:
        columns = range(math.floor(box.x_min / edge_m), math.ceil(box.x_max / edge_m))
        rows = range(math.floor(box.y_min / edge_m), math.ceil(box.y_max / edge_m))
        touched.update((box.epsg, row, column) for row in rows for column in columns)
    runs = sum((epsg, row, column - 1) not in touched for epsg, row, column in touched)
    return len(touched), runs
