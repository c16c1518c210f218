"""Pieces of large areas: a lake of 100,000 corners is decoded and repaired once, and cut once for many samples."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING

import shapely

if TYPE_CHECKING:
    from shapely.geometry.base import BaseGeometry

    from schemas.place import BBox

LARGE_BYTES = 4_000
"""Well-known binary of about 250 corners: from there on areas are cut into pieces."""
_TOP = 5
"""Level of the largest pieces: 2**5 = 32 times as wide as the smallest, and cut out of the whole."""
_KEPT = 64
"""Large areas that a process keeps."""


@dataclass(frozen=True)
class LargeArea:
    """An area with many corners, and the pieces that were cut out of it."""

    shape: BaseGeometry
    """As it is in the extract."""
    area_deg2: float
    """Of the whole, square degrees."""
    _valid: BaseGeometry
    _pieces: dict[tuple[float, int, int], BaseGeometry] = field(default_factory=dict)

    def near(self, bbox: BBox) -> BaseGeometry:
        """The part of the area around a box in degrees, with a margin of at least the box's size on each side.

        The whole, as it is in the extract, where it does not reach further than that.
        """
        west, south, east, north = bbox
        size = 2.0 ** math.ceil(math.log2(max(east - west, north - south, 1e-6) * 4))
        found = self._piece(size, (west + east) / 2, (south + north) / 2, _TOP)
        return self.shape if found is self._valid else found

    def _piece(self, size: float, x: float, y: float, levels: int) -> BaseGeometry:
        """The part of the area in the grid cell of a point, with a margin of half a cell."""
        column, row = math.floor(x / size), math.floor(y / size)
        key = (size, column, row)
        if key not in self._pieces:
            left, low = (column - 0.5) * size, (row - 0.5) * size
            region = shapely.box(left, low, left + 2 * size, low + 2 * size)
            if shapely.contains_properly(region, shapely.box(*self._valid.bounds)):
                self._pieces[key] = self._valid
            else:
                larger = self._piece(size * 2, x, y, levels - 1) if levels else self._valid
                self._pieces[key] = shapely.intersection(larger, region)
        return self._pieces[key]


@lru_cache(maxsize=_KEPT)
def large_area(wkb: bytes) -> LargeArea:
    """A large area from its well-known binary; kept in memory for the next samples."""
    shape = shapely.from_wkb(wkb)
    valid = shape if shapely.is_valid(shape) else shapely.make_valid(shape)
    return LargeArea(shape, float(shapely.area(shape)), valid)
