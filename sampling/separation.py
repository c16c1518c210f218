"""Distance of footprints on the ground, within one projection and between two."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import shapely

from sampling.geobox import UPS_POLE_M, Footprints, by_code, transformer
from sampling.sphere import SMALLEST_RADIUS_M
from schemas.crs import is_utm_or_ups, metric

if TYPE_CHECKING:
    from numpy.typing import NDArray

TOUCH_M = 1e-6
"""Footprints that share an edge are apart by nothing but rounding: nearer than this counts as touching."""
_STRETCH = 1.007
"""Ground metres per projected metre, at most: 1 / 0.994 at the poles in UPS, 1 / 0.9996 in UTM."""
WIDEST_STRETCH = 1.1
"""The same in any CRS: MOST_STRETCH at a sample's centre, and more towards the corners of the largest footprint."""
_UTM_SCALE, _UTM_MIDDLE_M = 0.9996, 500_000.0
"""Scale and easting of a zone's central meridian (NGA.SIG.0012, 2014, section 7)."""
_BETWEEN = 1.0005
"""More than scales differ between points half a footprint and its surroundings (100 km) apart from a line's ends."""
_UPS_SCALE = 0.994
"""Scale at the pole in UPS (the same, section 10)."""
_STEEPEST = 12.0
"""More than the tangent of any latitude within UTM (84 degrees and a footprint): bounds how an edge curves."""


def stretch_of(footprints: Footprints) -> float:
    """Ground metres per projected metre, at most, over footprints."""
    return _STRETCH if is_utm_or_ups(np.unique(footprints.epsg)).all() else WIDEST_STRETCH


def gaps(first: Footprints, second: Footprints, within_m: float = 0.0) -> NDArray[np.float64]:
    """Distance on the ground between footprints number i of both lists, from below.

    In one CRS the distance between squares is exact in projected metres and is divided by the largest scale of the
    projection there, so that the ground is never less. Across two CRS the second outline is brought into the first
    CRS with its edges cut into parts, and what the chords may hide is taken off.

    Args:
        first: n footprints.
        second: n footprints of the same size.
        within_m: distances up to this are wanted; it widens the area over which the scale is bounded.

    Returns:
        (n,) metres; negative where footprints overlap, within 1e-6 of zero where they share an edge.
    """
    size = first.size_m
    result = np.empty(len(first))
    same = first.epsg == second.epsg
    dx = np.abs(first.x_min[same] - second.x_min[same]) - size
    dy = np.abs(first.y_max[same] - second.y_max[same]) - size
    distance = np.hypot(np.maximum(dx, 0.0), np.maximum(dy, 0.0))
    result[same] = np.where(np.maximum(dx, dy) > 0.0, distance, np.maximum(dx, dy))
    for index in _pairs_of_codes(first, second, np.flatnonzero(~same)):
        result[index] = _across(first.take(index), second.take(index))
    return np.where(result > 0.0, result / _largest_scale(first, within_m), result)


def outlines_in(first: Footprints, second: Footprints) -> NDArray[np.object_]:
    """(n,) outlines of the second footprints, each in the CRS of the first of the same number."""
    size = first.size_m
    found = np.empty(len(first), dtype=object)
    same = first.epsg == second.epsg
    x, y = second.x_min[same], second.y_max[same]
    found[same] = shapely.box(x, y - size, x + size, y)
    for index in _pairs_of_codes(first, second, np.flatnonzero(~same)):
        found[index] = _outlines(first.take(index), second.take(index))
    return found


def _pairs_of_codes(first: Footprints, second: Footprints, apart: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """Numbers in `apart` by pair of CRS."""
    pair = (first.epsg[apart].astype(np.int64) << 32) + second.epsg[apart]
    return [apart[pair == code] for code in np.unique(pair).tolist()]


def _parts(size_m: float) -> int:
    """Parts that an edge is cut into before it is brought into another CRS."""
    return min(4 + math.ceil(size_m / 2_000.0), 64)


def hidden_m(size_m: float) -> float:
    """Metres that the chords of an outline in another CRS may hide: outlines as near as this count as overlapping."""
    return (size_m / _parts(size_m)) ** 2 / 8.0 / SMALLEST_RADIUS_M * _STEEPEST


def _outlines(first: Footprints, second: Footprints) -> NDArray[np.object_]:
    """Outlines of footprints of the second CRS (one) in the first CRS (one)."""
    size, parts = first.size_m, _parts(first.size_m)
    step = np.arange(parts) / parts
    zero, one = np.zeros(parts), np.ones(parts)
    u = np.concatenate([step, one, 1.0 - step, zero]) * size
    v = np.concatenate([zero, step, one, 1.0 - step]) * size
    x, y = transformer(int(second.epsg[0]), int(first.epsg[0])).transform(
        (second.x_min[:, None] + u).ravel(), (second.y_max[:, None] - size + v).ravel()
    )
    corners = np.stack([np.asarray(x), np.asarray(y)], axis=1).reshape(len(first), 4 * parts, 2)
    return np.asarray(shapely.polygons(corners), dtype=object)


def _across(first: Footprints, second: Footprints) -> NDArray[np.float64]:
    """Distance in the first CRS (one) to footprints of the second CRS (one); -1 where they overlap."""
    size = first.size_m
    outline = _outlines(first, second)
    square = shapely.box(first.x_min, first.y_max - size, first.x_min + size, first.y_max)
    distance = np.asarray(shapely.distance(square, outline)) - hidden_m(size)
    return np.where(distance > 0.0, distance, -1.0)


def _largest_scale(footprints: Footprints, margin_m: float) -> NDArray[np.float64]:
    """(n,) upper bound of projected metres per ground metre over footprints and a margin around them; at least 1."""
    reach = footprints.size_m + margin_m
    radius = SMALLEST_RADIUS_M
    off = np.abs(footprints.x_min + footprints.size_m / 2.0 - _UTM_MIDDLE_M) + reach
    utm = _UTM_SCALE * np.cosh(off / (_UTM_SCALE * radius))
    x = footprints.x_min + footprints.size_m / 2.0 - UPS_POLE_M
    y = footprints.y_max - footprints.size_m / 2.0 - UPS_POLE_M
    ups = _UPS_SCALE * (1.0 + ((np.hypot(x, y) + 2.0 * reach) / (2.0 * _UPS_SCALE * radius)) ** 2)
    scale = np.where((footprints.epsg == 32661) | (footprints.epsg == 32761), ups, utm)
    other = ~is_utm_or_ups(footprints.epsg)
    for code, index in by_code(footprints.epsg[other]):
        place = np.flatnonzero(other)[index]
        scale[place] = _scale_around(code, footprints.take(place), reach)
    return np.maximum(scale, 1.0)


def _scale_around(code: int, footprints: Footprints, reach_m: float) -> NDArray[np.float64]:
    """(n,) largest scale of a CRS at the centre, the corners and the edges' middles of squares around footprints.

    The scale of the projections that `schemas.crs` accepts grows away from lines or a point, so it is largest on the
    edge of a square; edges are looked at in three points, and what lies between adds less than `_BETWEEN`.
    """
    half = footprints.size_m / 2.0
    steps = np.array([-1.0, 0.0, 1.0]) * reach_m
    east, north = np.meshgrid(steps, steps)
    x = (footprints.x_min + half)[:, None] + east.ravel()
    y = (footprints.y_max - half)[:, None] + north.ravel()
    lon, lat = (np.asarray(c) for c in transformer(code, 4326).transform(x.ravel(), y.ravel()))
    large = metric(code).scales(lon, lat)[0].reshape(x.shape)
    known = np.where(np.isfinite(large), large, WIDEST_STRETCH)
    return np.asarray(known.max(axis=1) * _BETWEEN)
