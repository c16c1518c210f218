"""Ground that samples of different splits share, if the recipe allows it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import permutations
from typing import TYPE_CHECKING

import numpy as np
import shapely

from sampling.nearness import neighbourhoods, outlines_of
from sampling.separation import TOUCH_M, stretch_of
from sampling.splits import SPLITS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sampling.geobox import Footprints

_COLUMN_BITS = 32
"""Bits of a square's row in its code."""
_MIDDLE = 1 << (_COLUMN_BITS - 1)
"""Added to a row, which may lie south of the origin."""


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
        for part, near in neighbourhoods(footprints, mine, others, reach_m):
            covered = _covered(footprints, part, near)
            samples += int(np.count_nonzero(covered > TOUCH_M * footprints.size_m))
            square_m += float(covered.sum())
        if samples:
            share = square_m / (len(mine) * footprints.size_m**2)
            found.append(SharedGround(split=SPLITS[one], other=SPLITS[two], samples=samples, share=round(share, 6)))
    return tuple(found)


def _covered(footprints: Footprints, part: NDArray[np.int64], others: NDArray[np.int64]) -> NDArray[np.float64]:
    """(m,) square metres of each footprint in `part`, of one CRS, that those in `others` cover.

    The ground is cut into squares as wide as a footprint. The others are joined once per square, so that a footprint
    is compared with what covers the few squares that it touches, and not with every other footprint.
    """
    x, y, size = footprints.x_min[part], footprints.y_max[part], footprints.size_m
    squares, outlines = shapely.box(x, y - size, x + size, y), outlines_of(footprints, part, others)
    mine, my_cells = _cells_of(squares, size)
    theirs, their_cells = _cells_of(outlines, size)
    held = np.isin(their_cells, my_cells)
    theirs, their_cells = theirs[held], their_cells[held]
    order = np.argsort(their_cells, kind="stable")
    cells, starts = np.unique(their_cells[order], return_index=True)
    pieces = shapely.intersection(outlines[theirs[order]], _square_of(their_cells[order], size))
    filled = np.array([_union(group) for group in np.split(pieces, starts[1:])], dtype=object)
    touched = np.isin(my_cells, cells)
    mine, my_cells = mine[touched], my_cells[touched]
    areas = shapely.area(shapely.intersection(squares[mine], filled[np.searchsorted(cells, my_cells)]))
    return np.asarray(np.bincount(mine, weights=areas, minlength=len(part)), np.float64)


def _union(pieces: NDArray[np.object_]) -> shapely.Geometry:
    return pieces[0] if len(pieces) == 1 else shapely.union_all(pieces)


def _cells_of(shapes: NDArray[np.object_], edge_m: float) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pairs of a shape's number and the code of a square of this edge that its bounds touch."""
    low, high = np.hsplit(np.floor(shapely.bounds(shapes) / edge_m).astype(np.int64), 2)
    numbers = np.arange(len(shapes))
    found = []
    for step in np.ndindex(*((high - low).max(axis=0) + 1).tolist()):
        cell = low + np.array(step)
        inside = (cell <= high).all(axis=1)
        found.append((numbers[inside], (cell[inside, 0] << _COLUMN_BITS) + cell[inside, 1] + _MIDDLE))
    return np.concatenate([n for n, _ in found]), np.concatenate([c for _, c in found])


def _square_of(cells: NDArray[np.int64], edge_m: float) -> NDArray[np.object_]:
    """Squares by the codes that `_cells_of` gives them."""
    x, y = (cells >> _COLUMN_BITS) * edge_m, ((cells & (2 * _MIDDLE - 1)) - _MIDDLE) * edge_m
    return np.asarray(shapely.box(x, y, x + edge_m, y + edge_m), dtype=object)
