"""Looks whether footprints of different splits overlap, and how near they come."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
from scipy.spatial import KDTree

from sampling.separation import TOUCH_M, gaps, stretch_of
from sampling.sphere import geocentric
from sampling.splits import SPLITS, near_pairs

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sampling.geobox import Footprints

MOST_PAIRS = 20_000_000
"""More pairs whose centres are near are not measured one by one: those that overlap for certain are counted."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Leakage:
    """Overlap and distance between two splits on the ground."""

    split: str
    other: str
    pairs: int
    """Pairs of footprints, one of each split, that overlap; of more than MOST_PAIRS near ones, those whose centres are
    nearer than an edge, which is a part of them."""
    nearest_m: float
    """Least distance between footprints of the two, metres, from below; 0 where a pair overlaps or touches."""


def leakage(footprints: Footprints, split: NDArray[np.int8]) -> tuple[Leakage, ...]:
    """Overlap and distance of each pair of splits that hold samples.

    Args:
        footprints: (n,) samples.
        split: (n,) place in SPLITS.
    """
    members = {code: np.flatnonzero(split == code) for code in range(len(SPLITS))}
    return tuple(
        Leakage(split=SPLITS[a], other=SPLITS[b], pairs=pairs, nearest_m=nearest)
        for a, b in combinations(members, 2)
        if len(members[a]) and len(members[b])
        for pairs, nearest in [_between(footprints, members[a], members[b])]
    )


def _between(footprints: Footprints, one: NDArray[np.int64], two: NDArray[np.int64]) -> tuple[int, float]:
    """(pairs that overlap, least distance in metres)."""
    one, two = (one, two) if len(one) <= len(two) else (two, one)
    stretch = stretch_of(footprints)
    reach = math.sqrt(2.0) * footprints.size_m * stretch
    trees = [KDTree(geocentric(footprints.lon[i], footprints.lat[i])) for i in (one, two)]
    if trees[0].count_neighbors(trees[1], reach) > MOST_PAIRS:
        return int(trees[0].count_neighbors(trees[1], footprints.size_m / stretch)), 0.0
    pairs, _ = _looked_at(footprints, one, two, reach)
    if pairs:
        return pairs, 0.0
    centres, _ = trees[1].query(trees[0].data)
    _, nearest = _looked_at(footprints, one, two, float(centres.min()) + reach)
    return 0, round(max(0.0, nearest), 3)


def _looked_at(
    footprints: Footprints, one: NDArray[np.int64], two: NDArray[np.int64], reach_m: float
) -> tuple[int, float]:
    pairs, nearest = 0, math.inf
    for left, right in near_pairs(footprints, one, two, reach_m):
        apart = gaps(footprints.take(left), footprints.take(right), reach_m)
        pairs += int((apart < -TOUCH_M).sum())
        nearest = min(nearest, float(apart.min(initial=math.inf)))
    return pairs, nearest
