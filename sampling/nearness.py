"""Which footprints of two sets lie near one another: in near linear time, however many crowd at one spot."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import shapely
from scipy.spatial import KDTree

from sampling.geobox import by_code
from sampling.separation import TOUCH_M, gaps, hidden_m, outlines_in, stretch_of
from sampling.sphere import SMALLEST_RADIUS_M, geocentric

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from sampling.geobox import Footprints

_AT_ONCE = 50_000
"""Footprints whose neighbours are looked for at once: bounds memory."""
_SLACK = 1.02
"""More than degrees of latitude differ in length over the Earth (1 %)."""
MOST_CROSSING = 20_000_000
"""More pairs of two projections whose centres are near are not measured one by one: those that overlap for certain are
counted."""
_CROSSED_AT_ONCE = 256
"""Squares that are compared at once with outlines of another CRS."""


def neighbourhoods(
    footprints: Footprints, mine: NDArray[np.int64], others: NDArray[np.int64], reach_m: float
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Footprints that have another one near, some at a time.

    Args:
        footprints: (n,) all of them.
        mine: numbers of footprints.
        others: numbers of other footprints.
        reach_m: distance of centres through the Earth, metres, up to which they are near.

    Yields:
        (numbers in `mine`, of one CRS, each with one of `others` within reach; numbers in `others` that have one of
        these within reach). Every one of `mine` that has others within reach comes once, with all of them.
    """
    if not len(mine) or not len(others):
        return
    near = mine[_within(footprints, mine, others, reach_m)]
    others = others[np.argsort(footprints.lat[others], kind="stable")]
    north = footprints.lat[others]
    high = _SLACK * np.degrees(2.0 * np.arcsin(min(1.0, reach_m / 2.0 / SMALLEST_RADIUS_M)))
    for _, index in by_code(footprints.epsg[near]):
        some = near[index]
        some = some[np.argsort(footprints.lat[some], kind="stable")]
        for start in range(0, len(some), _AT_ONCE):
            part = some[start : start + _AT_ONCE]
            low, end = footprints.lat[part[0]] - high, footprints.lat[part[-1]] + high
            band = others[np.searchsorted(north, low) : np.searchsorted(north, end, side="right")]
            yield part, band[_within(footprints, band, part, reach_m)]


def nearest_gaps(
    footprints: Footprints, mine: NDArray[np.int64], others: NDArray[np.int64], reach_m: float, within_m: float
) -> NDArray[np.float64]:
    """Distance on the ground from each footprint to the nearest of the others, from below (`separation.gaps`).

    Args:
        footprints: (n,) all of them.
        mine: (m,) numbers of footprints.
        others: numbers of other footprints.
        reach_m: as for `neighbourhoods`.
        within_m: as for `separation.gaps`.

    Returns:
        (m,) metres, negative where footprints overlap; infinite where no centre is within reach.
    """
    least = np.full(len(footprints), np.inf)
    for part, near in neighbourhoods(footprints, mine, others, reach_m):
        size = footprints.size_m - TOUCH_M  # those that only share an edge are apart then, so that an overlap is nearer
        x, y = footprints.x_min[part], footprints.y_max[part]
        squares = shapely.box(x + TOUCH_M, y - size, x + size, y - TOUCH_M)
        for group in _by_crs(footprints, part, near):
            tree = shapely.STRtree(outlines_of(footprints, part, group))
            left, right = tree.query_nearest(squares, all_matches=False)
            apart = gaps(footprints.take(part[left]), footprints.take(group[right]), within_m)
            least[part[left]] = np.minimum(least[part[left]], apart)
    return least[mine]


def overlapping_pairs(
    footprints: Footprints, mine: NDArray[np.int64], others: NDArray[np.int64], reach_m: float
) -> int:
    """Pairs of one footprint of each set that overlap by more than a shared edge; arguments as for `neighbourhoods`.

    Pairs of two projections are a part of all where more than MOST_CROSSING of them are near.
    """
    pairs = 0
    for part, near in neighbourhoods(footprints, mine, others, reach_m):
        for group in _by_crs(footprints, part, near):
            if footprints.epsg[group[0]] == footprints.epsg[part[0]]:
                corners = [KDTree(np.stack([footprints.x_min[i], footprints.y_max[i]], axis=1)) for i in (part, group)]
                pairs += int(corners[0].count_neighbors(corners[1], footprints.size_m - TOUCH_M, p=np.inf))
            else:
                pairs += _crossing(footprints, part, group, reach_m)
    return pairs


def outlines_of(footprints: Footprints, part: NDArray[np.int64], others: NDArray[np.int64]) -> NDArray[np.object_]:
    """Outlines of `others` in the CRS of `part`, which have one."""
    return outlines_in(footprints.take(np.full(len(others), part[0])), footprints.take(others))


def _by_crs(footprints: Footprints, part: NDArray[np.int64], near: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """`near` in the CRS of `part` and in other ones; nothing that is empty."""
    same = footprints.epsg[near] == footprints.epsg[part[0]]
    return [group for group in (near[same], near[~same]) if len(group)]


def _within(
    footprints: Footprints, mine: NDArray[np.int64], others: NDArray[np.int64], reach_m: float
) -> NDArray[np.bool_]:
    """(m,) True where a centre of the others is within reach."""
    found = np.zeros(len(mine), dtype=bool)
    tree = KDTree(geocentric(footprints.lon[others], footprints.lat[others]))
    for start in range(0, len(mine), _AT_ONCE):
        some = mine[start : start + _AT_ONCE]
        points = geocentric(footprints.lon[some], footprints.lat[some])
        found[start : start + len(some)] = np.isfinite(tree.query(points, distance_upper_bound=reach_m)[0])
    return found


def _crossing(footprints: Footprints, part: NDArray[np.int64], others: NDArray[np.int64], reach_m: float) -> int:
    """Pairs that overlap, where `others` are of other CRS than `part`."""
    centres = [KDTree(geocentric(footprints.lon[i], footprints.lat[i])) for i in (part, others)]
    if centres[0].count_neighbors(centres[1], reach_m) > MOST_CROSSING:
        return int(centres[0].count_neighbors(centres[1], footprints.size_m / stretch_of(footprints)))
    tree, pairs, size = shapely.STRtree(outlines_of(footprints, part, others)), 0, footprints.size_m
    for start in range(0, len(part), _CROSSED_AT_ONCE):
        some = part[start : start + _CROSSED_AT_ONCE]
        x, y = footprints.x_min[some], footprints.y_max[some]
        squares = shapely.box(x, y - size, x + size, y)
        pairs += tree.query(squares, predicate="dwithin", distance=hidden_m(size)).shape[1]
    return pairs
