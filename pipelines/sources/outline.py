"""Outlines of scenes in the projection of a chip, correct at the antimeridian, the poles and on curved edges."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import pyproj
import shapely
from shapely import affinity

from pipelines.access.stac.footprint import unrolled
from sampling.geobox import transformer

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from shapely.geometry.base import BaseGeometry

_SEGMENT_DEG = 0.25
_WIDE_DEG = 60.0
"""Outlines wider than this are cut to the surroundings of the CRS's own area: beyond them its formulas fold or fail."""
_AROUND_DEG = 15.0
"""How far beyond that area the surroundings reach."""


@lru_cache(maxsize=8192)
def footprint(geojson: str, epsg: int) -> BaseGeometry:
    """A footprint in the chip's CRS, its edges bent as on the ground; empty where it cannot be brought there."""
    parts = shapely.get_parts(shapely.force_2d(shapely.from_geojson(geojson)))
    shape = shapely.union_all([unrolled(part) for part in parts])
    west, south, east, north = shapely.bounds(shape)
    if east - west > _WIDE_DEG or north - south > _WIDE_DEG:
        shape = _near(shape, epsg)
    shape = shapely.segmentize(shape, _SEGMENT_DEG)
    lonlat_to_chip = transformer(4326, epsg)

    def project(points: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.stack(lonlat_to_chip.transform(points[:, 0], points[:, 1]), axis=1)

    try:
        flat = shapely.transform(shape, project)
        bounds = shapely.bounds(flat)
        if not np.isfinite(bounds).all():
            return shapely.Polygon()
        return flat if shapely.is_valid(flat) else shapely.make_valid(flat)
    except (pyproj.exceptions.ProjError, shapely.errors.GEOSException):
        return shapely.Polygon()


def _near(shape: BaseGeometry, epsg: int) -> BaseGeometry:
    """The part of a wide outline (lon/lat degrees) that lies in or around the area that a CRS is made for."""
    area = pyproj.CRS.from_epsg(epsg).area_of_use
    if area is None:
        return shape
    east = area.east if area.east >= area.west else area.east + 360.0
    box = shapely.box(
        area.west - _AROUND_DEG,
        max(area.south - _AROUND_DEG, -90.0),
        min(east + _AROUND_DEG, area.west - _AROUND_DEG + 360.0),
        min(area.north + _AROUND_DEG, 90.0),
    )
    turned = [affinity.translate(shape, turn) for turn in (-360.0, 0.0, 360.0)]
    return shapely.union_all([shapely.intersection(one, box) for one in turned])
