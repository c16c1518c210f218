"""Outlines of scenes in the projection of a chip, correct at the antimeridian, the poles and on curved edges."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import pyproj
import shapely

from pipelines.access.stac.footprint import unrolled

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from shapely.geometry.base import BaseGeometry

_SEGMENT_DEG = 0.25


@lru_cache(maxsize=8192)
def footprint(geojson: str, epsg: int) -> BaseGeometry:
    """A footprint in the chip's CRS, its edges bent as on the ground; empty where it cannot be brought there."""
    parts = shapely.get_parts(shapely.force_2d(shapely.from_geojson(geojson)))
    shape = shapely.union_all([unrolled(part) for part in parts])
    shape = shapely.segmentize(shape, _SEGMENT_DEG)
    transformer = _transformer(epsg)

    def project(points: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.stack(transformer.transform(points[:, 0], points[:, 1]), axis=1)

    try:
        flat = shapely.transform(shape, project)
        bounds = shapely.bounds(flat)
        if not np.isfinite(bounds).all():
            return shapely.Polygon()
        return flat if shapely.is_valid(flat) else shapely.make_valid(flat)
    except (pyproj.exceptions.ProjError, shapely.errors.GEOSException):
        return shapely.Polygon()


@lru_cache(maxsize=128)
def _transformer(epsg: int) -> pyproj.Transformer:
    return pyproj.Transformer.from_crs(4326, epsg, always_xy=True)
