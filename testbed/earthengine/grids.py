"""Pixel grids of the miniature Earth Engine: where a grid's pixel centres lie in another projection."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from pyproj import CRS, Transformer
from pyproj.exceptions import CRSError
from shapely import transform

from testbed.earthengine.errors import bad

if TYPE_CHECKING:
    from shapely.geometry.base import BaseGeometry

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Projection:
    """A CRS and the affine transform of pixel corners in it."""

    crs: str
    """'EPSG:32633', or WKT."""
    transform: Affine
    """(column, row) of a pixel corner -> (x, y)."""

    @property
    def metres(self) -> float:
        """Nominal scale, metres."""
        return abs(self.transform.a) * metres_per_unit(self.crs)


@dataclass(frozen=True, slots=True)
class Grid:
    """A projection with a size."""

    projection: Projection
    width: int
    height: int

    def centres(self) -> tuple[Floats, Floats]:
        """(x, y) of pixel centres, each (height, width)."""
        columns, rows = np.meshgrid(np.arange(self.width) + 0.5, np.arange(self.height) + 0.5)
        t = self.projection.transform
        return t.a * columns + t.b * rows + t.c, t.d * columns + t.e * rows + t.f

    def positions(self, other: Projection) -> tuple[Floats, Floats]:
        """(column, row) in pixels of another projection at this grid's pixel centres, each (height, width)."""
        x, y = self.centres()
        if other.crs != self.projection.crs:
            x, y = transformer(self.projection.crs, other.crs).transform(x, y)
        t = ~other.transform
        return t.a * x + t.b * y + t.c, t.d * x + t.e * y + t.f


WORLD = Projection("EPSG:4326", Affine(1, 0, -180, 0, -1, 90))
"""Default projection of constants and composites: WGS 84, pixels of one degree
(https://developers.google.com/earth-engine/guides/projections)."""


@lru_cache(maxsize=256)
def crs_of(code: str) -> CRS:
    """The CRS of a code or WKT.

    Raises:
        EeError: 400.
    """
    try:
        return CRS.from_user_input(code)
    except CRSError:
        raise bad(f"The CRS '{code[:60]}' could not be parsed.") from None


@lru_cache(maxsize=256)
def transformer(source: str, target: str) -> Transformer:
    """Between two CRSs, x before y. One per thread is not needed: pyproj keeps contexts apart."""
    return Transformer.from_crs(crs_of(source), crs_of(target), always_xy=True)


def reprojected(shape: BaseGeometry, source: str, target: str) -> BaseGeometry:
    """A shape in another CRS, its edges bent."""
    dense = shape.segmentize(max(shape.length / 64, 1e-9)) if shape.length else shape
    mover = transformer(source, target)

    def move(points: Floats) -> Floats:
        return np.column_stack(mover.transform(points[:, 0], points[:, 1]))

    return transform(dense, move)


def metres_per_unit(code: str) -> float:
    """Metres of one unit of a CRS; a degree is one of the equator's."""
    crs = crs_of(code)
    if crs.is_geographic:
        return math.pi * 6378137.0 / 180.0
    return float(crs.axis_info[0].unit_conversion_factor)


def covering(positions: tuple[Floats, Floats], projection: Projection, pad: int) -> tuple[Grid, int, int] | None:
    """The part of a projection's lattice under some (column, row) positions, with a border of `pad` pixels.

    Returns:
        The grid, and the column and row of its first pixel in the lattice; None if no position is finite.
    """
    columns, rows = positions
    finite = np.isfinite(columns) & np.isfinite(rows)
    if not finite.any():
        return None
    first_column, first_row = (math.floor(float(v[finite].min())) - pad for v in (columns, rows))
    last_column, last_row = (math.floor(float(v[finite].max())) + pad for v in (columns, rows))
    transform = projection.transform * Affine.translation(first_column, first_row)
    width, height = last_column - first_column + 1, last_row - first_row + 1
    if width * height > 1 << 28:
        raise bad("User memory limit exceeded.")
    return Grid(Projection(projection.crs, transform), width, height), first_column, first_row
