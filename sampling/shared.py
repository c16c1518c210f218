"""Ground that samples of different splits share, if the recipe allows it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import permutations
from typing import TYPE_CHECKING

import numpy as np
import shapely

from sampling.separation import TOUCH_M, outlines_in, stretch_of
from sampling.splits import SPLITS, near_pairs

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sampling.geobox import Footprints


@dataclass(frozen=True, kw_only=True, slots=True)
class SharedGround:
    """Ground that samples of one split share with another split."""

    split: str
    """Whose samples are looked at."""
    other: str
    """The split that they share ground with."""
    samples: int
    """Samples of `split` that overlap a sample of `other`."""
    share: float
    """Share of the ground of all samples of `split` that samples of `other` cover too, 0..1."""


def shared_ground(footprints: Footprints, split: NDArray[np.int8]) -> tuple[SharedGround, ...]:
    """Measure the shared ground of each pair of splits; pairs without shared ground are left out.

    Each footprint is measured in its own CRS: the part of its square that the union of the other split's footprints
    covers. Edges of footprints of another CRS are cut into parts, so a share is right to about 1e-4.

    Args:
        footprints: (n,) samples.
        split: (n,) place in SPLITS.
    """
    found = []
    reach_m = math.sqrt(2.0) * footprints.size_m * stretch_of(footprints)
    for one, two in permutations(range(len(SPLITS)), 2):
        mine, others = np.flatnonzero(split == one), np.flatnonzero(split == two)
        samples, square_m = 0, 0.0
        if len(mine) and len(others):
            for left, right in near_pairs(footprints, mine, others, reach_m):
                covered = _covered(footprints, left, right)
                samples += len(covered)
                square_m += float(covered.sum())
        if samples:
            share = square_m / (len(mine) * footprints.size_m**2)
            found.append(SharedGround(split=SPLITS[one], other=SPLITS[two], samples=samples, share=round(share, 6)))
    return tuple(found)


def _covered(footprints: Footprints, left: NDArray[np.int64], right: NDArray[np.int64]) -> NDArray[np.float64]:
    """Square metres of each footprint in `left` (ascending, repeated) that those in `right` cover; none where 0."""
    first = footprints.take(left)
    size = footprints.size_m
    squares = shapely.box(first.x_min, first.y_max - size, first.x_min + size, first.y_max)
    pieces = shapely.intersection(squares, outlines_in(first, footprints.take(right)))
    hit = np.flatnonzero(shapely.area(pieces) > TOUCH_M * size)
    groups = np.split(pieces[hit], np.flatnonzero(np.diff(left[hit])) + 1) if len(hit) else []
    return np.array([shapely.area(shapely.union_all(group) if len(group) > 1 else group[0]) for group in groups])
