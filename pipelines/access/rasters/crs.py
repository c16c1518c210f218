"""Coordinate reference systems of rasters: which ones are the same on the ground, and the place of a chip in them.

Coordinates are GDAL's, as in the warp that follows: PROJ alone orders axes otherwise for some polar systems (EPSG:5041)
and picks other operations between datums.
"""

from __future__ import annotations

import math
import re
import warnings
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import pyproj
from pyproj.transformer import TransformerGroup
from rasterio._err import CPLE_BaseError
from rasterio.crs import CRS
from rasterio.errors import CRSError, RasterioError
from rasterio.warp import transform

from pipelines.access.http.client import AccessError
from schemas.outcome import Reason

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

warnings.filterwarnings("ignore", message="Best transformation is not available")  # nor is it for GDAL

GDAL_ERRORS = (RasterioError, CPLE_BaseError)
"""What rasterio raises for a file that GDAL cannot read: some calls do not translate GDAL's own errors."""
_UNNAMED = re.compile(r"un(known|named|defined|specified)|not[ _]specified|user[-_ ]defined|based[ _](up)?on", re.I)
"""Datums that writers name so are taken for that of the system they are compared with, as GDAL transforms them."""
_HEIGHTS = ("COMPD_CS", "COMPOUNDCRS", ",3]")
"""What the WKT of a system with heights holds: a compound, or a coordinate system of three axes."""
_SHIFTED = ("TOWGS84", "BOUNDCRS")
"""What the WKT of a system with its own shift to WGS 84 holds; its names are those of the system without."""
_SAME_M = 1e-3
"""Coordinates of one point in two systems that are the same, at most this far apart, metres (degrees times 1e5)."""
_CORNERS = np.array([[0.2, 0.2], [0.2, 0.8], [0.8, 0.5]])
"""Points of a system's area of use, shares of its width and height, at which two systems are compared."""


def horizontal(crs: CRS) -> CRS:
    """The horizontal part of a coordinate reference system."""
    wkt = crs.to_wkt()
    if not any(mark in wkt for mark in _HEIGHTS):
        return crs
    found = pyproj.CRS.from_wkt(wkt)
    while found.is_compound:
        found = found.sub_crs_list[0]
    return CRS.from_wkt(found.to_2d().to_wkt())


@lru_cache(maxsize=256)
def by_epsg(code: int) -> CRS:
    """The coordinate reference system of an EPSG code, without heights.

    Raises:
        CRSError: there is none.
    """
    return horizontal(CRS.from_epsg(code))


def same(crs: CRS, epsg: int) -> bool:
    """Whether a system is the one of an EPSG code: by its names, or by its numbers where its datum has none."""
    try:
        other = by_epsg(epsg)
    except CRSError:
        return False
    if any(mark in crs.to_wkt() for mark in _SHIFTED):
        return _coincide(crs, other, epsg)
    return bool(crs == other) or crs.to_epsg() == epsg or (_nameless(crs) and _coincide(crs, other, epsg))


def name(crs: CRS) -> str:
    """Name of a coordinate reference system for messages: its code, or the name that its writer gave."""
    code = crs.to_epsg()
    if code is not None:
        return f"EPSG:{code}"
    named = re.search(r'"([^"]{1,60})"', crs.to_wkt())
    return f"a CRS named {named.group(1)!r}" if named else "a CRS without a name"


def _nameless(crs: CRS) -> bool:
    try:
        datum = pyproj.CRS.from_wkt(crs.to_wkt()).datum
    except pyproj.exceptions.CRSError:
        return False
    return datum is None or _UNNAMED.search(datum.name) is not None


def _coincide(crs: CRS, other: CRS, epsg: int) -> bool:
    """Whether points of the system of an EPSG code have the same coordinates in another."""
    area = pyproj.CRS.from_epsg(epsg).area_of_use
    if area is None or crs.is_geographic != other.is_geographic:
        return False
    west, east = area.west, area.east + (360.0 if area.east < area.west else 0.0)
    points = np.array([west, area.south]) + _CORNERS * [east - west, area.north - area.south]
    try:
        there = np.array(transform(by_epsg(4326), other, *points.T.tolist()))
        here = np.array(transform(other, crs, *there.tolist()))
    except GDAL_ERRORS:
        return False
    return bool(np.abs(here - there).max() <= _SAME_M * (1e-5 if crs.is_geographic else 1.0))


def turn_of(crs: CRS) -> float | None:
    """A full turn in the units of a geographic system (360 degrees, 400 grads, ...); None for a projected one."""
    if not crs.is_geographic:
        return None
    return round(2.0 * math.pi / float(crs.units_factor[1]), 6)


def seen_from(epsg: int, crs: CRS, x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    """Transforms points from an EPSG code to another system: (2, ...), easting or longitude first.

    Raises:
        AccessError: WRONG_GRID if they have no coordinates there.
    """
    try:
        found = np.array(transform(by_epsg(epsg), crs, x.ravel().tolist(), y.ravel().tolist()))
    except GDAL_ERRORS as error:
        raise AccessError(Reason.WRONG_GRID, f"the raster's CRS cannot be transformed from EPSG:{epsg}") from error
    if not np.isfinite(found).all():
        raise AccessError(Reason.WRONG_GRID, f"the raster's CRS cannot be transformed from EPSG:{epsg}")
    return found.reshape(2, *x.shape)


def doubt(epsg: int, wkt: str, x: float, y: float) -> tuple[float, float]:
    """Largest difference (x, y) of a point between the available datum transformations, in units of `wkt`.

    A warp may take another way than `seen_from`: GDAL chooses by the area of the image. For prime meridians other than
    Greenwich it misjudges that, and then takes the datums for the same.
    """
    ways = _ways(wkt)
    if len(ways) < 2:
        return 0.0, 0.0
    ((lon,), (lat,)) = seen_from(epsg, by_epsg(4326), np.array([x]), np.array([y]))
    found = np.array([way(lon, lat) for way in ways])
    found = found[np.isfinite(found).all(axis=1)]
    return (float(np.ptp(found[:, 0])), float(np.ptp(found[:, 1]))) if len(found) else (0.0, 0.0)


@lru_cache(maxsize=256)
def by_wkt(wkt: str) -> CRS:
    """The system that a WKT describes, made once."""
    return CRS.from_wkt(wkt)


@lru_cache(maxsize=64)
def _ways(wkt: str) -> tuple[Callable[[float, float], tuple[float, float]], ...]:
    """From WGS 84 longitude and latitude to (x, y): each operation that PROJ knows, and none between the datums."""
    crs = pyproj.CRS.from_wkt(wkt)
    try:
        known = [way.transform for way in TransformerGroup(4326, crs, always_xy=True).transformers]
    except pyproj.exceptions.ProjError:
        return ()
    base, meridian = crs.geodetic_crs, crs.prime_meridian
    if base is None or meridian is None or meridian.longitude == 0.0:
        return tuple(known)
    plain = pyproj.Transformer.from_crs(base, crs, always_xy=True).transform
    unit = base.axis_info[0].unit_conversion_factor
    from_here = meridian.longitude * float(meridian.unit_conversion_factor)

    def unshifted(lon: float, lat: float) -> tuple[float, float]:
        return plain((math.radians(lon) - from_here) / unit, math.radians(lat) / unit)

    return (*known, unshifted)
