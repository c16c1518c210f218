"""Derives facts from the stack of one sample: a small record with a hash."""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

from pipelines.captions.words import REGIONS
from sampling.seasons import TROPIC_DEG, season
from schemas.caption import ClassShare, Facts, facts_json
from schemas.label import COMMON_CLASSES

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from schemas.label import LabelMap, VectorFeature
    from schemas.stack import Stack

MIN_PIXELS = 20
"""Classes with fewer pixels in a region are left out (ChatEarthNet, generate_description_chatgpt3_5_text.py)."""
_MIN_SHARE = 0.01
"""... or, where less than 2,000 pixels are labelled, fewer than this share of them: tiny chips keep their classes."""
_TOP_CLASSES = 3
"""Classes kept in a region (ChatEarthNet)."""


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_ROADS = _words(
    "motorway trunk primary secondary tertiary unclassified residential road living_street service motorway_link "
    "trunk_link primary_link secondary_link tertiary_link"
)
_PATHS = _words("path footway cycleway track bridleway steps pedestrian")
_KIND_RULES: tuple[tuple[str, frozenset[str], str], ...] = tuple(
    (key, _words(values), kind)
    for key, values, kind in (
        ("waterway", "river", "river"),
        ("waterway", "stream", "stream"),
        ("waterway", "canal", "canal"),
        ("waterway", "ditch drain", "ditch"),
        ("waterway", "dam", "dam"),
        ("water", "lake", "lake"),
        ("water", "pond", "pond"),
        ("water", "reservoir basin", "reservoir"),
        ("landuse", "reservoir", "reservoir"),
        ("railway", "rail light_rail narrow_gauge tram", "railway"),
        ("aeroway", "runway", "runway"),
        ("power", "line minor_line", "power line"),
        ("generator:source", "wind", "wind turbine"),
        ("plant:source", "solar", "solar plant"),
        ("landuse", "farmland", "field"),
        ("landuse", "orchard", "orchard"),
        ("landuse", "vineyard", "vineyard"),
        ("landuse", "cemetery", "cemetery"),
        ("landuse", "quarry", "quarry"),
        ("natural", "beach", "beach"),
        ("leisure", "park", "park"),
        ("leisure", "pitch", "sports pitch"),
        ("leisure", "golf_course", "golf course"),
        ("leisure", "marina", "marina"),
        ("amenity", "parking", "parking lot"),
        ("amenity", "school", "school"),
        ("amenity", "hospital", "hospital"),
        ("amenity", "place_of_worship", "place of worship"),
    )
)
"""(key, values, kind): the first rule that fits names the object; raw tag text never leaves this table."""

_FLAT_M, _ROLLING_M, _HILLY_M = 30.0, 150.0, 300.0
"""Local relief below which land is flat, rolling, hilly, else mountainous: Hammond's classes (1964; Karagulle et al.
2017, Transactions in GIS 21(5), table 1: plains to 30 m, irregular plains and low hills to 150 m, hills to 300 m)."""
_STEEP_DEG = 8.0
"""A chip is smaller than Hammond's 6 km window: land this steep on the mean is one step rougher than its range says."""


def facts_of(stack: Stack, label: str | None) -> Facts:
    """The facts of one sample.

    Args:
        stack: what was obtained.
        label: name of the label layer that class shares come from; None, or one that is not there: no shares.
    """
    chosen = stack.labels.get(label) if label is not None else None
    shares = () if chosen is None else _shares(_common(chosen), None)
    regions = {} if chosen is None else _regions(_common(chosen))
    low, high, slope = _terrain(stack)
    when = None if stack.reference is None or stack.reference.composite else stack.reference.datetime
    features = stack.vectors["openstreetmap"].features if "openstreetmap" in stack.vectors else None
    box = stack.place.geobox
    return Facts(
        label=None if chosen is None else label,
        overall=shares,
        regions=regions,
        objects=() if features is None else _objects(features),
        road_length_m=None if features is None else _road_length_m(features),
        elevation_min_m=low,
        elevation_max_m=high,
        slope_mean_deg=slope,
        relief=None if low is None or high is None or slope is None else relief(high - low, slope),
        season=None if when is None else season(when.month, stack.place.lat),
        month=None if when is None else when.month,
        year=None if when is None else when.year,
        place=place_words(stack.place.lat),
        size_m=round(box.width * box.resolution_m),
    )


def facts_for(stack: Stack, facts_from: str | None) -> Facts:
    """The stack's own facts, or those of the label layer `facts_from` (None: of the first layer it has)."""
    if stack.facts is not None:
        return stack.facts
    return facts_of(stack, facts_from if facts_from is not None else next(iter(stack.labels), None))


def facts_sha256(facts: Facts) -> str:
    """SHA-256 of the canonical JSON, lower-case hex."""
    return hashlib.sha256(facts_json(facts).encode()).hexdigest()


def place_words(lat: float) -> str:
    """Hemisphere and band by latitude alone: tropics, subtropics to 35, mid-latitudes to 60, polar from 66.6."""
    if abs(lat) <= TROPIC_DEG:
        return "tropics"
    half = "northern" if lat > 0 else "southern"
    if abs(lat) <= 35.0:
        return f"{half} subtropics"
    if abs(lat) <= 60.0:
        return f"{half} mid-latitudes"
    return f"{half} high latitudes" if abs(lat) < 90.0 - TROPIC_DEG else f"{half} polar region"


def relief(range_m: float, slope_deg: float) -> str:
    """'flat', 'rolling', 'hilly' or 'mountainous' from elevation range (metres) and mean slope (degrees)."""
    names = ("flat", "rolling", "hilly", "mountainous")
    step = sum(range_m > limit for limit in (_FLAT_M, _ROLLING_M, _HILLY_M))
    return names[min(3, step + (slope_deg >= _STEEP_DEG and step < 3))]


def kind_of(tags: dict[str, str]) -> str | None:
    """Kind of a map object by the closed table; None = not spoken of."""
    if tags.get("building", "no") != "no":
        return "building"
    highway = tags.get("highway")
    if highway is not None:
        return "road" if highway in _ROADS else "path" if highway in _PATHS else None
    return next((kind for key, values, kind in _KIND_RULES if tags.get(key) in values), None)


def _common(label: LabelMap) -> NDArray[np.uint8]:
    """(y, x) codes of COMMON_CLASSES, 0 where there is no label."""
    return label.legend.common(label.classes, label.valid)


def _shares(common: NDArray[np.uint8], most: int | None) -> tuple[ClassShare, ...]:
    """Classes by area, largest first; equal areas in the order of the taxonomy."""
    counts = np.bincount(common.ravel(), minlength=len(COMMON_CLASSES))
    labelled = int(counts[1:].sum())
    least = min(MIN_PIXELS, max(1, math.ceil(labelled * _MIN_SHARE)))
    found = [
        ClassShare(name=COMMON_CLASSES[code], percent=math.floor(100 * int(n) / labelled + 0.5), pixels=int(n))
        for code, n in enumerate(counts)
        if code and n >= least
    ]
    return tuple(sorted(found, key=lambda s: (-s.pixels, COMMON_CLASSES.index(s.name)))[:most])


def _regions(common: NDArray[np.uint8]) -> dict[str, tuple[ClassShare, ...]]:
    """Up to three classes in each region that has any label; regions without are left out."""
    height, width = common.shape
    top, bottom, left, right = slice(height // 2), slice(height // 2, None), slice(width // 2), slice(width // 2, None)
    middle = (slice(height // 4, height - height // 4), slice(width // 4, width - width // 4))
    cuts = ((top, left), (top, right), (bottom, left), (bottom, right), middle)
    found = {name: _shares(common[cut], _TOP_CLASSES) for name, cut in zip(REGIONS, cuts, strict=True)}
    return {name: shares for name, shares in found.items() if shares}


def _objects(features: Iterable[VectorFeature]) -> tuple[tuple[str, int], ...]:
    once = {f.osm_id: f.tags for f in features}  # an area with a line along its edge is one object
    counts = Counter(kind for tags in once.values() if (kind := kind_of(tags)) is not None)
    return tuple(sorted(counts.items(), key=lambda pair: (-pair[1], pair[0])))


def _road_length_m(features: Iterable[VectorFeature]) -> int:
    return round(sum(f.length_m for f in features if f.kind == "line" and kind_of(f.tags) == "road") / 10) * 10


def _terrain(stack: Stack) -> tuple[int | None, int | None, float | None]:
    """Lowest and highest elevation (whole metres) and mean slope (degrees), over measured pixels; None without any."""
    dem = next((o for _, o in sorted(stack.observations.items()) if o.terrain is not None), None)
    if dem is None or dem.terrain is None:
        return None, None, None
    elevation = np.asarray(dem.arrays[dem.terrain], dtype=np.float64)
    elevation = elevation.reshape(elevation.shape[-2:])
    if dem.valid.shape == elevation.shape:
        elevation = np.where(dem.valid, elevation, np.nan)
    measured = np.isfinite(elevation)
    if not measured.any():
        return None, None, None
    box = stack.place.geobox
    slope = None
    if min(elevation.shape) >= 2:
        pixel_m = box.width * box.resolution_m / elevation.shape[1]
        per_row, per_column = np.gradient(elevation, pixel_m)
        slopes = np.degrees(np.arctan(np.hypot(per_row, per_column)))
        if np.isfinite(slopes).any():
            slope = round(float(np.nanmean(slopes)), 1)
    return round(float(elevation[measured].min())), round(float(elevation[measured].max())), slope
