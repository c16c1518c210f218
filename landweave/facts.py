"""Facts of a sample from its arrays and tables: what captions claim, and what `prove` executes their claims against."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

REGIONS = ("top left", "top right", "bottom left", "bottom right", "middle")
"""The five regions of ChatEarthNet (zhu-xlab/ChatEarthNet, generate_description_chatgpt3_5_text.py), in its order."""
MONTHS = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
    "December",
)  # fmt: skip
COMMON = (
    "unknown", "water", "trees", "shrub", "grass", "crops", "built", "bare", "snow and ice", "wetland",
    "moss and lichen",
)  # fmt: skip
"""The common taxonomy in the order of its codes; `ClassSpec.common` names one of them. 0 = no label."""
MIN_PIXELS = 20
"""Classes with fewer pixels in a region are left out (ChatEarthNet, generate_description_chatgpt3_5_text.py)."""
_MIN_SHARE = 0.01
"""... or, where less than 2,000 pixels are labelled, fewer than this share of them: tiny chips keep their classes."""
TOP_CLASSES = 3
"""Classes kept in a region (ChatEarthNet)."""
TROPIC_DEG = 23.436
"""Latitude of the tropics: the obliquity of the ecliptic in 2020-2030, 23.436 degrees (IAU 2006, P03)."""


class Share(NamedTuple):
    """Share of one class over a part of the scene."""

    name: str
    """Name of the common taxonomy."""
    percent: int
    """Share of the labelled pixels, rounded to whole percent, 0..100."""
    pixels: int
    """Number of pixels."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Facts:
    """What one sample's arrays and tables say; None or empty where it does not have them."""

    overall: tuple[Share, ...] = ()
    """Over the whole scene, largest first; classes under the least number of pixels are left out."""
    regions: dict[str, tuple[Share, ...]] = field(default_factory=dict)
    """Name of `REGIONS` -> up to three classes, largest first."""
    objects: tuple[tuple[str, int], ...] = ()
    """Map objects by kind and count, most frequent first."""
    road_length_m: int | None = None
    """Metres, rounded to 10."""
    elevation_min_m: int | None = None
    """Metres."""
    elevation_max_m: int | None = None
    """Metres."""
    slope_mean_deg: float | None = None
    """Degrees, one decimal."""
    relief: str | None = None
    """'flat', 'rolling', 'hilly' or 'mountainous'."""
    season: str | None = None
    """'spring', 'summer', 'autumn', 'winter' or 'tropics' at the image's date and latitude."""
    month: int | None = None
    """1..12."""
    year: int | None = None
    """Of the image."""
    place: str | None = None
    """Hemisphere and climate band."""
    size_m: int = 0
    """Edge of the footprint, metres."""


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


def shares_of(common: NDArray[np.uint8], most: int | None = None) -> tuple[Share, ...]:
    """Classes by area, largest first; equal areas in the order of the taxonomy.

    Args:
        common: (any shape) codes of `COMMON`, 0 = no label.
        most: number of classes to keep; None: all.
    """
    counts = np.bincount(common.ravel(), minlength=len(COMMON))
    labelled = int(counts[1:].sum())
    least = min(MIN_PIXELS, max(1, math.ceil(labelled * _MIN_SHARE)))
    found = [
        Share(COMMON[code], math.floor(100 * int(n) / labelled + 0.5), int(n))
        for code, n in enumerate(counts)
        if code and n >= least
    ]
    return tuple(sorted(found, key=lambda s: (-s.pixels, COMMON.index(s.name)))[:most])


def region_shares(common: NDArray[np.uint8]) -> dict[str, tuple[Share, ...]]:
    """Up to three classes in each region that has any label; regions without are left out.

    Args:
        common: (y, x) codes of `COMMON`, 0 = no label; y grows southwards.
    """
    height, width = common.shape
    top, bottom, left, right = slice(height // 2), slice(height // 2, None), slice(width // 2), slice(width // 2, None)
    middle = (slice(height // 4, height - height // 4), slice(width // 4, width - width // 4))
    cuts = ((top, left), (top, right), (bottom, left), (bottom, right), middle)
    found = {name: shares_of(common[cut], TOP_CLASSES) for name, cut in zip(REGIONS, cuts, strict=True)}
    return {name: shares for name, shares in found.items() if shares}


def kind_of(tags: Mapping[str, str]) -> str | None:
    """Kind of a map object by the closed table; None = not spoken of."""
    if tags.get("building", "no") != "no":
        return "building"
    highway = tags.get("highway")
    if highway is not None:
        return "road" if highway in _ROADS else "path" if highway in _PATHS else None
    return next((kind for key, values, kind in _KIND_RULES if tags.get(key) in values), None)


def objects_of(features: Iterable[tuple[str, Mapping[str, str]]]) -> tuple[tuple[str, int], ...]:
    """Kinds and their numbers, most frequent first, of (OSM id, tags): an area with a line along its edge is one."""
    once = dict(features)
    counts = Counter(kind for tags in once.values() if (kind := kind_of(tags)) is not None)
    return tuple(sorted(counts.items(), key=lambda pair: (-pair[1], pair[0])))


def road_length_of(lines: Iterable[tuple[Mapping[str, str], float]]) -> int:
    """Metres of road, rounded to 10, of (tags, length in metres) of lines."""
    return round(sum(length for tags, length in lines if kind_of(tags) == "road") / 10) * 10


def terrain_of(elevation: NDArray[np.float64], pixel_m: float) -> tuple[int | None, int | None, float | None]:
    """Lowest and highest elevation (whole metres) and mean slope (degrees) over measured pixels; None without any.

    Args:
        elevation: (y, x) metres, NaN where nothing was measured.
        pixel_m: edge of a pixel, metres.
    """
    measured = np.isfinite(elevation)
    if not measured.any():
        return None, None, None
    slope = None
    if min(elevation.shape) >= 2:
        per_row, per_column = np.gradient(elevation, pixel_m)
        slopes = np.degrees(np.arctan(np.hypot(per_row, per_column)))
        if np.isfinite(slopes).any():
            slope = round(float(np.nanmean(slopes)), 1)
    return round(float(elevation[measured].min())), round(float(elevation[measured].max())), slope


def relief(range_m: float, slope_deg: float) -> str:
    """'flat', 'rolling', 'hilly' or 'mountainous' from elevation range (metres) and mean slope (degrees)."""
    names = ("flat", "rolling", "hilly", "mountainous")
    step = sum(range_m > limit for limit in (_FLAT_M, _ROLLING_M, _HILLY_M))
    return names[min(3, step + (slope_deg >= _STEEP_DEG and step < 3))]


def season_of(month: int, lat: float) -> str:
    """Meteorological season of a month (1..12) at a latitude: December to February is the northern winter.

    Between the tropics temperature does not make four seasons: the answer there is 'tropics'.
    """
    if abs(lat) <= TROPIC_DEG:
        return "tropics"
    names: Sequence[str] = ("winter", "spring", "summer", "autumn")
    quarter = month % 12 // 3
    return names[quarter if lat > 0 else (quarter + 2) % 4]


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
