"""Outlines of scenes in the projection of a chip: seams, poles and bent edges taken care of."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import pyproj
import shapely

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from shapely.geometry.base import BaseGeometry

_SEGMENT_DEG = 0.25


@lru_cache(maxsize=8192)
def footprint(geojson: str, epsg: int) -> BaseGeometry:
    """A footprint in the chip's CRS, its edges bent as on the ground; empty where it cannot be brought there."""
    parts = shapely.get_parts(shapely.force_2d(shapely.from_geojson(geojson)))
    shape = shapely.union_all([_unrolled(part) for part in parts])
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


def _unrolled(polygon: BaseGeometry) -> BaseGeometry:
    """A polygon whose vertices jump across the 180th meridian, with longitudes that go on instead.

    An edge from -180 to 180 degrees is no jump: it runs along a parallel, or along the pole of an outline that holds
    one. An outline that goes round a pole without closing over it gets the pole's edge.
    """
    ring = shapely.get_exterior_ring(polygon)
    points = shapely.get_coordinates(ring)
    jumps = np.abs(np.diff(points[:, 0]))
    if len(points) < 4 or not ((jumps > 180.0) & (jumps < 359.99)).any():
        return polygon
    points[:, 0] = np.rad2deg(np.unwrap(np.deg2rad(points[:, 0])))
    if abs(points[-1, 0] - points[0, 0]) > 180.0:
        pole = math.copysign(90.0, points[:, 1].mean())
        points = np.concatenate([points, [[points[-1, 0], pole], [points[0, 0], pole]], points[:1]])
    return shapely.Polygon(points)


@lru_cache(maxsize=128)
def _transformer(epsg: int) -> pyproj.Transformer:
    return pyproj.Transformer.from_crs(4326, epsg, always_xy=True)
