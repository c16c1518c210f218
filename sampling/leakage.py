"""Looks whether footprints of different splits overlap, and how near they come."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
from scipy.spatial import KDTree

from sampling.nearness import nearest_gaps, overlapping_pairs
from sampling.separation import stretch_of
from sampling.sphere import geocentric
from sampling.splits import SPLITS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sampling.geobox import Footprints


@dataclass(frozen=True, kw_only=True, slots=True)
class Leakage:
    """Overlap and distance between two splits on the ground."""

    split: str
    other: str
    pairs: int
    """Pairs of footprints, one of each split, that overlap; of crowds that projections part
    (`sampling.nearness.MOST_CROSSING`), those whose centres are nearer than an edge, which is a part of them."""
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
    reach = math.sqrt(2.0) * footprints.size_m * stretch_of(footprints)
    pairs = overlapping_pairs(footprints, one, two, reach)
    if pairs:
        return pairs, 0.0
    tree = KDTree(geocentric(footprints.lon[two], footprints.lat[two]))
    centres, _ = tree.query(geocentric(footprints.lon[one], footprints.lat[one]))
    reach += float(centres.min())
    nearest = nearest_gaps(footprints, one, two, reach, reach).min(initial=math.inf)
    return 0, round(max(0.0, float(nearest)), 3)
