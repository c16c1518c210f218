"""The ground whose map objects are kept: boxes around the samples, and quick tests of points and boxes against them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Self

import numpy as np
import shapely

if TYPE_CHECKING:
    from numpy.typing import NDArray

UNITS = 10_000_000
"""OpenStreetMap's unit of longitude and latitude: 1e-7 degrees."""
_ACROSS, _DOWN = 2048, 1024
"""Cells of the coarse table: 0.18 degrees along an edge, 8 MB."""
_EXACT = 500_000
"""Boxes up to this number are tested one by one after the coarse table; more are not, and a little more is kept."""
_METRES_PER_DEGREE = 111_195.0
"""Of latitude, on a sphere of 6,371 km."""
_MARGIN_M = 500.0
"""Kept around footprints: wider than any line is drawn, and than what a sphere differs from the ellipsoid."""


@dataclass(frozen=True)
class Near:
    """Boxes on the ground."""

    boxes: NDArray[np.float64]
    """(n, 4) west, south, east, north, degrees; west <= east."""
    _sums: NDArray[np.int32] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Count the boxes that touch each coarse cell; then add up, so that any rectangle is four look-ups."""
        x0, y0, x1, y1 = _cells(self.boxes)
        edges = np.zeros((_DOWN + 1, _ACROSS + 1), np.int32)
        for y, x, sign in ((y0, x0, 1), (y0, x1 + 1, -1), (y1 + 1, x0, -1), (y1 + 1, x1 + 1, 1)):
            np.add.at(edges, (y, x), sign)
        touched = np.cumsum(np.cumsum(edges, axis=0), axis=1)[:-1, :-1] > 0
        sums = np.zeros((_DOWN + 1, _ACROSS + 1), np.int32)
        sums[1:, 1:] = np.cumsum(np.cumsum(touched, axis=0, dtype=np.int32), axis=1)
        object.__setattr__(self, "_sums", sums)

    @classmethod
    def footprints(cls, lon: NDArray[np.float64], lat: NDArray[np.float64], size_m: float) -> Self:
        """Boxes that hold square footprints of this edge around these centres, however they are turned."""
        reach = (size_m * 0.7072 * 1.01 + _MARGIN_M) / _METRES_PER_DEGREE
        south, north = np.clip(lat - reach, -90.0, 90.0), np.clip(lat + reach, -90.0, 90.0)
        furthest = np.clip(np.maximum(np.abs(south), np.abs(north)), 0.0, 89.99)
        wide = np.minimum(reach / np.cos(np.radians(furthest)), 180.0)
        wide[np.abs(lat) + reach > 89.9] = 180.0
        whole = np.column_stack([lon - wide, south, lon + wide, north])
        left, right = whole[whole[:, 0] < -180.0], whole[whole[:, 2] > 180.0]
        turn = np.array([360.0, 0.0, 360.0, 0.0])
        found = np.concatenate([whole, left + turn, right - turn])
        found[:, [0, 2]] = np.clip(found[:, [0, 2]], -180.0, 180.0)
        return cls(np.unique(np.round(found, 7), axis=0))

    @property
    def sha256(self) -> str:
        """Hash of the boxes, lower-case hex."""
        return hashlib.sha256(self.boxes.astype("<f8").tobytes()).hexdigest()

    @cached_property
    def _tree(self) -> shapely.STRtree | None:
        return (
            shapely.STRtree([shapely.box(*box) for box in self.boxes.tolist()]) if len(self.boxes) <= _EXACT else None
        )

    def touches(self, rectangles: NDArray[np.int64]) -> NDArray[np.bool_]:
        """(n,) True where a rectangle (west, south, east, north in 1e-7 degrees, (n, 4)) touches a box."""
        degrees = rectangles / UNITS
        x0, y0, x1, y1 = _cells(degrees)
        sums = self._sums
        found: NDArray[np.bool_] = (sums[y1 + 1, x1 + 1] - sums[y0, x1 + 1] - sums[y1 + 1, x0] + sums[y0, x0]) > 0
        tree = self._tree
        if tree is not None and (at := np.flatnonzero(found)).size:
            hits, _ = tree.query(shapely.box(*degrees[at].T))
            found[at] = False
            found[at[hits]] = True
        return found


def _cells(boxes: NDArray[np.float64]) -> tuple[NDArray[np.int64], ...]:
    """Coarse cells of the edges of boxes in degrees: first and last, across and down."""
    x = np.clip((boxes[:, [0, 2]] + 180.0) * (_ACROSS / 360.0), 0, _ACROSS - 1).astype(np.int64)
    y = np.clip((boxes[:, [1, 3]] + 90.0) * (_DOWN / 180.0), 0, _DOWN - 1).astype(np.int64)
    return x[:, 0], y[:, 0], x[:, 1], y[:, 1]
