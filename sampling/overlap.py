"""Removes overlapping samples: accepts footprints in order and leaves out a later one that overlaps."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from sampling.geobox import Footprints, joined
from sampling.separation import TOUCH_M, WIDEST_STRETCH, gaps
from sampling.sphere import geocentric

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

_BITS = 21
"""Bits of one axis in a cell's key: cells down to 12 m edge over the Earth's 2 * 6,378 km."""
_STEPS = tuple((dx << (2 * _BITS)) + (dy << _BITS) for dx in (-1, 0, 1) for dy in (-1, 0, 1))
"""What to add to a cell's key to reach the middle of the nine columns of three cells around it: a column's cells have
keys that follow one another."""
_MOST_PAIRS = 4_000_000
"""Pairs of footprints in one cube that are compared at once, some 100 bytes each."""
_GROWTH = 6
"""A level of the index is merged into the next once it holds 1 / this number of it: few levels to look
into, and each footprint is moved a few times only."""


class OccupiedGround:
    """The admitted footprints in a spatial hash of geocentric cubes, which has no seam and no poles.

    Admitted footprints do not overlap, so a cube holds a bounded number of them and a footprint costs about the same
    whether it comes first or last. Held are 48 bytes a footprint.
    """

    def __init__(self, size_m: float) -> None:
        """Empty ground for square footprints with edge `size_m`."""
        self._size_m = size_m
        self._reach_m = max(math.sqrt(2.0) * size_m * WIDEST_STRETCH, 14.0)
        self._levels: list[tuple[NDArray[np.int64], Footprints]] = []

    def admit(self, footprints: Footprints, at_most: int | None = None) -> NDArray[np.bool_]:
        """Admit footprints in order, each unless it overlaps one admitted before (by more than a shared edge).

        The test is exact within a CRS. Across two CRS (zone borders, UPS) outlines are compared in the earlier one's
        CRS, and footprints nearer than the error of that comparison (centimetres) count as overlapping.

        Args:
            footprints: in order of preference.
            at_most: stop as soon as this many are admitted.

        Returns:
            (m,) bool, True = admitted; m < len(footprints) only where `at_most` was reached at number m - 1.
        """
        free = up_to(self.free(footprints), at_most)
        self.occupy(footprints.take(np.flatnonzero(free)))
        return free

    def free(self, footprints: Footprints) -> NDArray[np.bool_]:
        """(n,) True where `admit` would admit a footprint; nothing is admitted."""
        keys = self._keys(footprints)
        taken = np.zeros(len(footprints), dtype=bool)
        for level, held in self._levels:
            for mine, place in _neighbours(level, keys):
                hit = self._overlap(held.take(place), footprints.take(mine))
                taken[mine[hit]] = True
        free = ~taken
        some = np.flatnonzero(free)
        free[some] = self._apart(footprints.take(some), keys[some])
        return free

    def _apart(self, footprints: Footprints, keys: NDArray[np.int64]) -> NDArray[np.bool_]:
        """(n,) True where a footprint is admitted among these footprints alone.

        Where many crowd in few cubes, the first half is settled before the second is looked at: pairs stay few.
        """
        order = np.argsort(keys, kind="stable")
        crowd = np.unique(keys[order], return_counts=True)[1].astype(np.float64)
        if (half := len(keys) // 2) and (crowd**2).sum() > _MOST_PAIRS:
            first, second = footprints.take(slice(0, half)), footprints.take(slice(half, None))
            found = self._apart(first, keys[:half])
            ground = OccupiedGround(self._size_m)
            ground.occupy(first.take(np.flatnonzero(found)))
            return np.concatenate([found, ground.free(second)])
        pairs = [np.empty((2, 0), dtype=np.int64)]
        for mine, place in _neighbours(keys[order], keys):
            other = order[place]
            earlier = other < mine
            one, two = other[earlier], mine[earlier]
            hit = self._overlap(footprints.take(one), footprints.take(two))
            pairs.append(np.stack([one[hit], two[hit]]))
        return _first_come(np.ones(len(keys), dtype=bool), np.concatenate(pairs, axis=1))

    def occupy(self, footprints: Footprints) -> None:
        """Add footprints that overlap neither each other nor earlier ones."""
        if not len(footprints):
            return
        self._levels.append((self._keys(footprints), footprints))
        while len(self._levels) > 1 and len(self._levels[-1][0]) * _GROWTH > len(self._levels[-2][0]):
            (first, held), (second, new) = self._levels[-2:]
            self._levels[-2:] = [(np.concatenate([first, second]), joined([held, new]))]
        keys, held = self._levels[-1]
        order = np.argsort(keys, kind="stable")
        self._levels[-1] = (keys[order], held.take(order))

    def _keys(self, footprints: Footprints) -> NDArray[np.int64]:
        """(n,) number of the cube that holds each centre."""
        points = geocentric(footprints.lon, footprints.lat)
        cells = np.floor((points + 6_400_000.0) / self._reach_m).astype(np.int64) + 1
        return (cells[:, 0] << (2 * _BITS)) + (cells[:, 1] << _BITS) + cells[:, 2]

    def _overlap(self, one: Footprints, two: Footprints) -> NDArray[np.bool_]:
        """(n,) True where footprints number i overlap, `one` being the earlier."""
        clear = self._size_m - TOUCH_M
        same = one.epsg == two.epsg
        near = (np.abs(one.x_min - two.x_min) < clear) & (np.abs(one.y_max - two.y_max) < clear)
        hit: NDArray[np.bool_] = same & near
        across = np.flatnonzero(~same)
        if len(across):
            apart = geocentric(one.lon[across], one.lat[across]) - geocentric(two.lon[across], two.lat[across])
            across = across[np.sqrt((apart**2).sum(axis=1)) < self._reach_m]
        if len(across):
            hit[across] = gaps(one.take(across), two.take(across)) < -TOUCH_M
        return hit


def up_to(free: NDArray[np.bool_], at_most: int | None) -> NDArray[np.bool_]:
    """The beginning of `free` that ends with its `at_most`-th True; all of it if there are fewer."""
    if at_most is None:
        return free
    if at_most <= 0:
        return free[:0]
    places = np.flatnonzero(free)
    return free if len(places) < at_most else free[: places[at_most - 1] + 1]


def _neighbours(
    level: NDArray[np.int64], keys: NDArray[np.int64]
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Pairs (number of a key, position in the sorted level) of neighbouring cubes, in nine parts."""
    if not len(level):
        return
    asked = np.argsort(keys, kind="stable")
    ordered = keys[asked]
    for step in _STEPS:
        low = np.searchsorted(level, ordered + (step - 1), side="left")
        count = np.searchsorted(level, ordered + (step + 1), side="right") - low
        some = np.flatnonzero(count)
        count, low = count[some], low[some]
        within = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
        yield np.repeat(asked[some], count), np.repeat(low, count) + within


def _first_come(open_: NDArray[np.bool_], pairs: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Accepted footprints: each is accepted unless it conflicts with an earlier accepted one.

    Args:
        open_: (n,) True = not refused already.
        pairs: (2, p) conflicts, the earlier number first.

    In rounds: a footprint without an earlier conflict is accepted, and those in conflict with it are removed.
    """
    admitted = np.zeros(len(open_), dtype=bool)
    waiting = open_.copy()
    while waiting.any():
        first = waiting.copy()
        first[pairs[1]] = False
        admitted |= first
        waiting &= ~first
        waiting[pairs[1][admitted[pairs[0]]]] = False
        pairs = pairs[:, waiting[pairs[0]] & waiting[pairs[1]]]
    return admitted
