"""No two samples on the same ground: footprints are admitted in order, a later one that overlaps is left out."""

from __future__ import annotations

import math
from itertools import product
from typing import TYPE_CHECKING

import numpy as np

from sampling.geobox import Footprints, joined
from sampling.separation import LARGEST_STRETCH, TOUCH_M, gaps
from sampling.sphere import geocentric

if TYPE_CHECKING:
    from numpy.typing import NDArray

_BITS = 21
"""Bits of one axis in a cell's key: cells down to 12 m edge over the Earth's 2 * 6,378 km."""
_STEPS = tuple((dx << (2 * _BITS)) + (dy << _BITS) + dz for dx, dy, dz in product((-1, 0, 1), repeat=3))
"""What to add to a cell's key to reach its 27 neighbours (itself among them)."""


class OccupiedGround:
    """The footprints admitted so far, in a spatial hash of geocentric cubes: no seam, no poles, any zones together.

    Admitted footprints do not overlap, so a cube holds a bounded number of them and a footprint costs the same
    whether it comes first or last: time grows with the number of footprints, however crowded they are.
    """

    def __init__(self, size_m: float) -> None:
        """Empty ground for square footprints with edge `size_m`."""
        self._size_m = size_m
        self._reach_m = max(math.sqrt(2.0) * size_m * LARGEST_STRETCH, 14.0)
        self._cubes: dict[int, list[int]] = {}
        self._rows: list[tuple[int, float, float, float, float]] = []
        self._points: list[tuple[float, float, float]] = []

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
        points = geocentric(footprints.lon, footprints.lat)
        cells = np.floor((points + 6_400_000.0) / self._reach_m).astype(np.int64) + 1
        keys = ((cells[:, 0] << (2 * _BITS)) + (cells[:, 1] << _BITS) + cells[:, 2]).tolist()
        columns = (footprints.epsg, footprints.x_min, footprints.y_max, footprints.lon, footprints.lat)
        rows = list(zip(*(c.tolist() for c in columns), strict=True))
        admitted = 0
        answer: list[bool] = []
        for key, row, point in zip(keys, rows, map(tuple, points.tolist()), strict=True):
            if at_most is not None and admitted >= at_most:
                break
            free = self._is_free(key, row, point)
            answer.append(free)
            if free:
                admitted += 1
                self._cubes.setdefault(key, []).append(len(self._rows))
                self._rows.append(row)
                self._points.append(point)
        return np.array(answer, dtype=bool)

    def _is_free(self, key: int, row: tuple[int, float, float, float, float], point: tuple[float, ...]) -> bool:
        clear = self._size_m - TOUCH_M
        epsg, x_min, y_max = row[:3]
        cubes, rows = self._cubes, self._rows
        for step in _STEPS:
            for number in cubes.get(key + step, ()):
                other = rows[number]
                if other[0] == epsg:
                    if abs(other[1] - x_min) < clear and abs(other[2] - y_max) < clear:
                        return False
                elif math.dist(self._points[number], point) < self._reach_m and self._overlap(other, row):
                    return False
        return True

    def _overlap(
        self, one: tuple[int, float, float, float, float], two: tuple[int, float, float, float, float]
    ) -> bool:
        both = joined([_single(one, self._size_m), _single(two, self._size_m)])
        return bool(gaps(both.take(slice(0, 1)), both.take(slice(1, 2)))[0] < -TOUCH_M)


def _single(row: tuple[int, float, float, float, float], size_m: float) -> Footprints:
    epsg, x_min, y_max, lon, lat = row
    return Footprints(
        epsg=np.array([epsg], dtype=np.int32),
        x_min=np.array([x_min]),
        y_max=np.array([y_max]),
        lon=np.array([lon]),
        lat=np.array([lat]),
        size_m=size_m,
    )
