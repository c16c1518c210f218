"""Share of a sample's footprint that an item covers, anywhere on Earth, with the antimeridian and the poles."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import pyproj
import shapely
import shapely.geometry

from schemas.place import BBox, GeoBox

if TYPE_CHECKING:
    from numpy.typing import NDArray


_POINTS = 17
"""Points along one edge of the sample's grid of test points: 289 in all, so a share is known to about 1 %."""


@lru_cache(maxsize=64)
def _to_lonlat(epsg: int) -> pyproj.Transformer:
    return pyproj.Transformer.from_crs(epsg, 4326, always_xy=True)


def lonlat_points(geobox: GeoBox) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Test points of the footprint, edges included: longitudes and latitudes, degrees, each (289,)."""
    x = np.linspace(geobox.x_min, geobox.x_max, _POINTS)
    y = np.linspace(geobox.y_min, geobox.y_max, _POINTS)
    grid_x, grid_y = np.meshgrid(x, y)
    lon, lat = _to_lonlat(geobox.epsg).transform(grid_x.ravel(), grid_y.ravel())
    return np.asarray(lon, dtype=np.float64), np.asarray(lat, dtype=np.float64)


def covered_share(geometry: dict[str, object], geobox: GeoBox) -> float:
    """Share 0..1 of the footprint that lies in a GeoJSON (multi)polygon; an edge that is touched counts.

    Points are tested one by one in longitude and latitude, so nothing is interpolated over the antimeridian or a
    pole; geometries written beyond +-180 degrees match too. 0.0 = no test point of the footprint is inside.
    """
    shape = shapely.geometry.shape(geometry)
    shapely.prepare(shape)
    lon, lat = lonlat_points(geobox)
    inside = np.zeros(lon.shape, dtype=bool)
    for turn in (-360.0, 0.0, 360.0):
        inside |= shapely.intersects_xy(shape, lon + turn, lat)
    return float(inside.mean())


def lonlat_bbox(geobox: GeoBox) -> BBox:
    """Box of the footprint, degrees; west > east crosses the antimeridian.

    A footprint that holds a pole gets every longitude.
    """
    lon, lat = lonlat_points(geobox)
    south, north = float(lat.min()), float(lat.max())
    ordered = np.sort(lon)
    gaps = np.diff(ordered, append=ordered[0] + 360.0)
    widest = int(np.argmax(gaps))
    if gaps[widest] < 180.0:  # the points go all round: a pole is inside
        return BBox(-180.0, south if south > 0 else -90.0, 180.0, 90.0 if south > 0 else north)
    west, east = float(ordered[(widest + 1) % ordered.size]), float(ordered[widest])
    return BBox(west, south, east, north)
