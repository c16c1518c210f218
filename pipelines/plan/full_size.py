"""What a recipe costs at full size, before anything is searched: from its samples, dates, pixels, density of scenes.

`plan` asks the archives and is exact about scenes; this asks nobody, so it says what a recipe is about to cost while
its files and archives are out of reach. Constants are those of the plan's own estimate (`pipelines.plan.estimate`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from pipelines.access.earthengine.meter import PlannedChip
from pipelines.access.earthengine.meter import estimate as engine_cost
from pipelines.assemble import sample_bytes
from pipelines.plan.blocks import days_of, requests_at_most
from pipelines.plan.estimate import (
    BLOCK_PX,
    HEADER_BYTES,
    LINK_BYTES_S,
    MEGABYTE_S,
    REQUEST_S,
    REQUESTS_AT_ONCE,
    SAMPLE_S,
    STORED_SHARE,
)
from pipelines.plan.places import PART_SAMPLES
from pipelines.progress import counted, duration
from pipelines.sources.piles import side_by_side
from sampling import SamplingError, locate
from sampling.land import on_land
from sampling.region import area_m2, region_of
from schemas.declared_source import DeclaredSource
from schemas.earthengine import EarthEngineProvider
from schemas.label_source import DynamicWorldLabel, ObjectLabel, WorldCoverLabel
from schemas.place import GeoBox
from schemas.sampling import GridSampling, PointsSampling, UniformSampling
from schemas.sensors import EnmapSource
from schemas.source import DatedSource

if TYPE_CHECKING:
    from pathlib import Path

    from pipelines.recipes import RecipeFile
    from schemas.label_source import RasterLabelEntry
    from schemas.modality import Layer, SearchDensity
    from schemas.recipe import Recipe
    from schemas.sensors import Source
    from schemas.window import Window

_LAND_KM2 = 1.49e8
"""Land of the Earth: ground of samples where the recipe's area cannot be read."""
_LOOKED_AT = 4_096
"""Points that the share of an area's boxes that is inside, and land, is taken from."""


@dataclass(kw_only=True)
class LayerCost:
    """One source or label, over all samples."""

    dates: float
    """Dates of a sample; of every scene of a window as many as the archive is expected to hold."""
    scenes: float
    """Scenes that are looked at for one date."""
    requests: float = 0.0
    bytes: float = 0.0
    eecu_hours: float = 0.0
    searches: int = 0


@dataclass(frozen=True, kw_only=True)
class FullSize:
    """Expected cost of a recipe."""

    samples: int
    scattered: bool
    """True: no two samples are taken to share a scene, which is the most that they can cost."""
    layers: dict[str, LayerCost] = field(default_factory=dict)
    stored_bytes: int = 0
    """Pixels of all samples before compression."""

    def total(self, what: str) -> float:
        """Sum of a number over all layers."""
        return float(sum(getattr(layer, what) for layer in self.layers.values()))

    @property
    def seconds(self) -> float:
        """With one worker, as `plan` predicts it."""
        cpu = self.samples * SAMPLE_S + MEGABYTE_S * self.stored_bytes / 1e6
        return self.total("bytes") / LINK_BYTES_S + self.total("requests") * REQUEST_S / REQUESTS_AT_ONCE + cpu


class _Spread(NamedTuple):
    """How samples lie on the ground."""

    samples: int
    per_km2: float
    """0 = scattered."""
    area_km2: float
    at_once: int
    """Samples of a shard, which share what they read."""

    def group(self, edge_km: float) -> float:
        """Samples of a shard that lie on one scene."""
        return min(max(1.0, self.per_km2 * edge_km**2), float(self.at_once), float(self.samples))


def full_size(file: RecipeFile, samples: int | None = None) -> FullSize:
    """The expected cost of a recipe.

    Args:
        file: the recipe and its folder.
        samples: their number, where the recipe or its files do not say it.

    Raises:
        SamplingError: the number of samples is not known.
    """
    recipe = file.recipe
    spread = _spread(recipe, file.folder, samples)
    layers = {s.name: _source(recipe, s, spread) for s in recipe.sources}
    rasters = [x for x in recipe.read_labels if not isinstance(x, ObjectLabel)]
    layers |= {x.layer: _label(recipe, x, spread) for x in rasters}
    return FullSize(
        samples=spread.samples,
        scattered=spread.per_km2 == 0.0,
        layers=layers,
        stored_bytes=spread.samples * sample_bytes(recipe),
    )


def full_size_text(found: FullSize) -> str:
    """The cost as lines for a person."""
    shared = "no two share a scene" if found.scattered else "neighbours share scenes"
    lines = [f"samples   {found.samples:,}; {shared}", "layers    requests, read, for dates x scenes of a sample"]
    for name, cost in found.layers.items():
        engine = f", {cost.eecu_hours:,.3g} EECU-hours" if cost.eecu_hours else ""
        dates = f"{cost.dates:,.3g} x {cost.scenes:,.3g}"
        lines.append(f"  {name:15} {cost.requests:>14,.0f}, {_size(cost.bytes)}{engine}, for {dates}")
    lines.append(f"searches  at most {counted(found.total('searches'), 'request')}")
    lines.append(f"to fetch  about {counted(found.total('requests'), 'request')}, {_size(found.total('bytes'))}")
    lines.append(f"to store  about {_size(found.stored_bytes)} of pixels before compression")
    lines.append(f"to build  about {duration(found.seconds)} with one worker")
    lines.append(
        f"assumed   tiles of {BLOCK_PX} pixels stored at {STORED_SHARE:.0%} of their size, scenes as dense as each "
        "layer's product says, every date obtained; nothing was searched: `plan` with --limit 100 looks at the archives"
    )
    return "\n".join(lines)


def _size(count: float) -> str:
    unit, factor = next(((u, f) for u, f in (("TB", 1e12), ("GB", 1e9)) if count >= f), ("MB", 1e6))
    return f"{count / factor:,.3g} {unit}"


def _spread(recipe: Recipe, folder: Path, samples: int | None) -> _Spread:
    sampling, inside_km2 = recipe.sampling, _area_km2(recipe, folder)
    count, per_km2 = samples, 0.0
    if isinstance(sampling, GridSampling):
        per_km2 = 1e6 / sampling.spacing_m**2
        known = None if inside_km2 is None else round(inside_km2 * per_km2)
        count = samples or (sampling.count and min(sampling.count, known or sampling.count)) or known
    elif isinstance(sampling, PointsSampling):
        count = samples or _listed(recipe, folder)
    else:
        count = samples or sampling.count
        if isinstance(sampling, UniformSampling) and inside_km2 is not None:
            per_km2 = count / inside_km2
    if not count:
        name = sampling.file if isinstance(sampling, PointsSampling) else sampling.area.file
        raise SamplingError(f"{name} is not here, so the number of samples is not known: state it with --samples N")
    if recipe.subset is not None and not (samples or isinstance(sampling, PointsSampling)):  # not counted yet
        whole, count = count, min(count, recipe.subset.kept(count))
        per_km2 *= count / whole
    count = min(count, recipe.limit or count)
    return _Spread(count, per_km2, inside_km2 or _LAND_KM2, recipe.shards.size(count))


def _area_km2(recipe: Recipe, folder: Path) -> float | None:
    """Ground that samples may lie on; None where the file of the area cannot be read."""
    try:
        region = region_of(recipe.sampling.area, folder)
    except SamplingError:
        return None
    lon, lat, inside = region.draw(recipe.seed, 0, _LOOKED_AT)
    if recipe.sampling.area.land_only:
        inside = inside & on_land(lon, lat)
    return area_m2(region) / 1e6 * float(inside.mean()) or None


def _listed(recipe: Recipe, folder: Path) -> int | None:
    """Samples of a file of points; None where it is not there."""
    assert recipe.points_file is not None  # noqa: S101 - of points
    return len(locate(recipe, folder)) if (folder / recipe.points_file).is_file() else None


def _days(window: Window) -> float:
    """Days of one date slot."""
    whole = days_of(window.period) if window.period is not None else sum(reach.days for reach in window.reach) + 1
    return float(whole / window.count if window.every is None else whole)


def _dates(recipe: Recipe, source: Source) -> tuple[float, float]:
    """(dates of a sample, scenes that are looked at for each)."""
    if not isinstance(source, DatedSource):
        return 1.0, 1.0
    slots, per_day = recipe.slots_of(source), source.modality.density.per_day or 0.0
    series = {w.name: w for w in slots if w.every == "scene"}
    dates = float(sum(w.every != "scene" for w in slots))
    held = [max(1.0, per_day * _days(w)) for w in slots if w.every != "scene"]
    scenes = sum(min(float(source.scenes_per_date), each) for each in held)
    for name, window in series.items():
        found = min(float(sum(w.name == name for w in slots)), max(1.0, per_day * _days(window)))
        dates, scenes = dates + found, scenes + found
    return dates, scenes / max(dates, 1.0)


def _source(recipe: Recipe, source: Source, spread: _Spread) -> LayerCost:
    dates, scenes = _dates(recipe, source)
    cost = LayerCost(dates=dates, scenes=scenes, searches=_searches(recipe, source, spread))
    composed = source.name in recipe.composed
    if isinstance(recipe.providers[source.providers[0]], EarthEngineProvider):
        _engine(recipe, source, spread, cost, composed=composed)
        return cost
    for layer in source.modality.layers:
        looked = scenes if composed or layer.name == source.modality.cloud_layer else 1.0
        edge_m = recipe.size_of(source.name)
        for bands, planes in _rasters(source, layer):
            itemsize = np.dtype(layer.dtype).itemsize * bands
            chip = _Chip(edge_m, layer.resolution_m, itemsize, planes)
            _read(cost, spread, dates * looked, chip, source.modality.density)
    return cost


def _label(recipe: Recipe, label: RasterLabelEntry, spread: _Spread) -> LayerCost:
    ready = isinstance(label, WorldCoverLabel | DynamicWorldLabel)
    edge_m = 10.0 if ready else recipe.resolution_of(label.layer, None)
    cost = LayerCost(dates=1.0, scenes=1.0)
    parts = math.ceil(spread.samples / PART_SAMPLES)
    cost.searches = requests_at_most(spread.samples, spread.area_km2, parts, label.density, 365.0)
    if isinstance(recipe.providers[label.providers[0]], EarthEngineProvider):
        _ask(cost, spread.samples, [PlannedChip(geobox=_box(recipe, label.layer, edge_m), bands=1, dtype="uint8")])
    else:
        _read(cost, spread, 1.0, _Chip(recipe.size_of(label.layer), edge_m, 1, 1), label.density)
    return cost


def _rasters(source: Source, layer: Layer) -> list[tuple[int, int]]:
    """Of each raster that an array is read from: bands, and how many of them have tiles of their own (EnMAP's have)."""
    if isinstance(source, EnmapSource):
        return [(len(layer.bands), len(layer.bands))]
    if not isinstance(source, DeclaredSource):
        return [(1, 1)] * len(layer.bands)
    named = [source.arrays[layer.name].bands[b.name].assets[0].partition("#")[0] for b in layer.bands]
    return [(named.count(name), 1) for name in dict.fromkeys(named)]


class _Chip(NamedTuple):
    """The ground of a layer on one raster."""

    edge_m: float
    pixel_m: float
    """Edge of the raster's pixels, metres."""
    itemsize: int
    """Bytes of a pixel, all bands together."""
    planes: int
    """Bands with tiles of their own."""


def _read(cost: LayerCost, spread: _Spread, times: float, chip: _Chip, density: SearchDensity) -> None:
    """Count what one raster of each scene is read for: its header, and the tiles under the chips of a group."""
    edge_m, pixel_m, itemsize, planes = chip
    tile_m, group = BLOCK_PX * pixel_m, spread.group(density.edge_km)
    wide = edge_m / tile_m + 1.0
    tiles, runs = group * wide**2, group * wide
    if group > 1.0:  # neighbours touch the same tiles
        across = math.sqrt(group / spread.per_km2) * 1e3 / tile_m + 1.0
        tiles, runs = min(tiles, across**2), min(runs, across)
    groups = spread.samples / group * times
    cost.requests += groups * (1.0 + runs * planes)
    cost.bytes += groups * (HEADER_BYTES + tiles * BLOCK_PX**2 * itemsize * STORED_SHARE)


def _engine(recipe: Recipe, source: Source, spread: _Spread, cost: LayerCost, *, composed: bool) -> None:
    modality, chips = source.modality, []
    edges = {x.name: recipe.resolution_of(source.name, x.name) for x in modality.layers}
    looked = max(1, round(cost.scenes))
    for layer in modality.layers:
        box, bands = _box(recipe, source.name, edges[layer.name]), len(layer.bands)
        if composed:
            apart = looked if side_by_side(modality, layer, edges) else 1
            chips.append(PlannedChip(geobox=box, bands=apart * bands, dtype=layer.dtype, images=looked))
        else:
            again = looked if layer.name == modality.cloud_layer else 1
            chips += [PlannedChip(geobox=box, bands=bands, dtype=layer.dtype)] * again
    _ask(cost, spread.samples * cost.dates, chips)


def _ask(cost: LayerCost, times: float, chips: list[PlannedChip]) -> None:
    one = engine_cost(chips)
    cost.requests += times * one.requests
    cost.bytes += times * one.bytes
    cost.eecu_hours += times * one.eecu_hours


def _box(recipe: Recipe, layer: str, edge_m: float) -> GeoBox:
    """A chip of a layer, somewhere."""
    across = recipe.pixels_of(layer, edge_m)
    where: dict[str, Any] = {"epsg": 32631, "x_min": 5e5, "y_max": 5e6}
    return GeoBox(**where, resolution_m=edge_m, width=across, height=across)


def _searches(recipe: Recipe, source: Source, spread: _Spread) -> int:
    """Most pages of search results, over the windows of a source."""
    parts, density = math.ceil(spread.samples / PART_SAMPLES), source.modality.density
    windows = {w.name: w for w in recipe.slots_of(source)}
    days = [_days(w) * (w.count if w.every is None else 1) for w in windows.values()] or [365.0]
    return sum(requests_at_most(spread.samples, spread.area_km2, parts, density, each) for each in days)
