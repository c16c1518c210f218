"""Share of a sample's footprint that an item covers, anywhere on Earth, with the antimeridian and the poles."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import shapely
import shapely.geometry

from sampling.geobox import transformer

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from schemas.place import GeoBox


_POINTS = 17
"""Points along one edge of the sample's grid of test points: 289 in all, so a share is known to about 1 %."""


def lonlat_points(geobox: GeoBox) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Test points of the footprint, edges included: longitudes and latitudes, degrees, each (289,)."""
    x = np.linspace(geobox.x_min, geobox.x_max, _POINTS)
    y = np.linspace(geobox.y_min, geobox.y_max, _POINTS)
    grid_x, grid_y = np.meshgrid(x, y)
    lon, lat = transformer(geobox.epsg, 4326).transform(grid_x.ravel(), grid_y.ravel())
    return np.asarray(lon, dtype=np.float64), np.asarray(lat, dtype=np.float64)


def covered_share(geometry: dict[str, object], geobox: GeoBox) -> float:
    """Share 0..1 of the footprint that lies in a GeoJSON (multi)polygon; an edge that is touched counts.

    Points are tested one by one in longitude and latitude, so nothing is interpolated over the antimeridian or a
    pole; geometries written beyond +-180 degrees match too. 0.0 = no test point of the footprint is inside.

    Images are compared by area in the chip's projection (`pipelines.sources.outline`). There the edges of three-degree
    tiles, as label products have them, are up to 8 m away from those on the ground: a row of pixels would be missed.
    """
    shape = shapely.geometry.shape(geometry)
    shapely.prepare(shape)
    lon, lat = lonlat_points(geobox)
    inside = np.zeros(lon.shape, dtype=bool)
    for turn in (-360.0, 0.0, 360.0):
        inside |= shapely.intersects_xy(shape, lon + turn, lat)
    return float(inside.mean())
