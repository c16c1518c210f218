"""From a point to its raster grid: footprints snapped to UTM or UPS, and their outlines in longitude/latitude."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import pyproj

from sampling.sphere import rounded, wrapped
from schemas.place import GeoBox

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from schemas.recipe import GridSpec

UPS = {32661: 90.0, 32761: -90.0}
"""EPSG codes of UPS north and south, and the latitude of their pole."""
UPS_POLE_M = 2_000_000.0
"""Easting and northing of the pole in UPS (NGA.SIG.0012, 2014, section 10)."""
_EQUATOR_SOUTH_M = 10_000_000.0
"""Northing of the equator in southern UTM zones (NGA.SIG.0012, 2014, section 7)."""
_MILLIMETRES = 3
_EDGE_PARTS = 16
"""Parts of an edge in an outline: an edge of 100 km then departs from the true curve by less than 8 m at 84 degrees,
one of 2.56 km by less than 1 cm."""


@dataclass(frozen=True, eq=False, slots=True)
class Footprints:
    """Many square footprints of one size as columns: what this room computes with before it makes Places."""

    epsg: NDArray[np.int32]
    """(n,) UTM or UPS code."""
    x_min: NDArray[np.float64]
    """(n,) western edge, metres."""
    y_max: NDArray[np.float64]
    """(n,) northern edge, metres."""
    lon: NDArray[np.float64]
    """(n,) longitude of the centre, degrees in [-180, 180)."""
    lat: NDArray[np.float64]
    """(n,) latitude of the centre, degrees."""
    size_m: float
    """Edge, metres."""

    def __len__(self) -> int:
        """How many."""
        return len(self.epsg)

    def take(self, index: NDArray[np.int64] | NDArray[np.bool_] | slice) -> Footprints:
        """Those at `index` (positions, mask or slice)."""
        return Footprints(
            epsg=self.epsg[index],
            x_min=self.x_min[index],
            y_max=self.y_max[index],
            lon=self.lon[index],
            lat=self.lat[index],
            size_m=self.size_m,
        )

    def geobox(self, index: int, resolution_m: float) -> GeoBox:
        """Footprint number `index` as a GeoBox with such pixels."""
        count = round(self.size_m / resolution_m)
        return GeoBox(
            epsg=int(self.epsg[index]),
            x_min=float(self.x_min[index]),
            y_max=float(self.y_max[index]),
            resolution_m=resolution_m,
            width=count,
            height=count,
        )


def joined(parts: list[Footprints]) -> Footprints:
    """Footprints of several lists in one, in order; at least one list."""
    return Footprints(
        epsg=np.concatenate([p.epsg for p in parts]),
        x_min=np.concatenate([p.x_min for p in parts]),
        y_max=np.concatenate([p.y_max for p in parts]),
        lon=np.concatenate([p.lon for p in parts]),
        lat=np.concatenate([p.lat for p in parts]),
        size_m=parts[0].size_m,
    )


def utm_epsgs(lon: NDArray[np.float64], lat: NDArray[np.float64]) -> NDArray[np.int32]:
    """EPSG codes of the UTM zones (UPS beyond) of many points: `schemas.place.utm_epsg` for arrays."""
    lon = np.mod(lon + 180.0, 360.0) - 180.0
    zone = np.minimum(np.floor((lon + 180.0) / 6.0).astype(np.int32) + 1, 60)
    zone = np.where((lat >= 56.0) & (lat < 64.0) & (lon >= 3.0) & (lon < 12.0), 32, zone)
    svalbard = (lat >= 72.0) & (lon >= 0.0) & (lon < 42.0)
    zone = np.where(svalbard, np.select([lon < 9.0, lon < 21.0, lon < 33.0], [31, 33, 35], 37), zone)
    epsg = np.where(lat >= 0.0, 32600, 32700) + zone
    return np.where(lat >= 84.0, 32661, np.where(lat < -80.0, 32761, epsg)).astype(np.int32)


def place_footprints(lon: NDArray[np.float64], lat: NDArray[np.float64], grid: GridSpec) -> Footprints:
    """Square footprints centred on points as nearly as the lattice allows.

    The north-western corner lies on whole multiples of `grid.snap_m` in x and in y, y counted from the equator in
    southern UTM zones too. There northings start at 10,000,000, which is no multiple of 60; Sentinel-2's 60 m pixels
    do the same (ULY 7200040 of a tile in 53S, 6300040 in 20S), so chips copy their pixels in both hemispheres.
    With `snap_m: null` corners are rounded to a millimetre. Centres move by at most snap_m / sqrt(2).

    Args:
        lon: (n,) longitudes, degrees.
        lat: (n,) latitudes, degrees.
        grid: size and lattice.
    """
    epsg = utm_epsgs(lon, lat)
    x, y = projected(epsg, lon, lat)
    half = grid.size_m / 2.0
    origin = np.where((epsg > 32700) & (epsg != 32761), _EQUATOR_SOUTH_M, 0.0)
    x_min = _snapped(x - half, np.zeros_like(x), grid.snap_m)
    y_max = _snapped(y + half, origin, grid.snap_m)
    return footprints_at(epsg, x_min, y_max, grid.size_m)


def footprints_at(
    epsg: NDArray[np.int32], x_min: NDArray[np.float64], y_max: NDArray[np.float64], size_m: float
) -> Footprints:
    """Footprints with exactly these north-western corners."""
    lon = np.empty(len(epsg))
    lat = np.empty(len(epsg))
    for code, index in by_code(epsg):
        lon[index], lat[index] = transformer(code, 4326).transform(
            x_min[index] + size_m / 2.0, y_max[index] - size_m / 2.0
        )
    return Footprints(epsg=epsg, x_min=x_min, y_max=y_max, lon=wrapped(lon), lat=rounded(lat), size_m=size_m)


def projected(
    epsg: NDArray[np.int32], lon: NDArray[np.float64], lat: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(x, y) in metres of points, each in its own CRS."""
    x, y = np.empty(len(epsg)), np.empty(len(epsg))
    for code, index in by_code(epsg):
        x[index], y[index] = transformer(4326, code).transform(lon[index], lat[index])
    return x, y


def by_code(codes: NDArray[np.int32]) -> list[tuple[int, NDArray[np.int64]]]:
    """Positions of every distinct code, codes ascending, positions ascending."""
    order = np.argsort(codes, kind="stable")
    used, first = np.unique(codes[order], return_index=True)
    return list(zip(used.tolist(), np.split(order, first[1:]), strict=True)) if len(codes) else []


@lru_cache(maxsize=1024)
def transformer(source: int, target: int) -> pyproj.Transformer:
    """Transformation between two EPSG codes, x (longitude) before y (latitude)."""
    return pyproj.Transformer.from_crs(source, target, always_xy=True)


def geobox_at(lon: float, lat: float, grid: GridSpec) -> GeoBox:
    """The GeoBox of one point: see `place_footprints`."""
    return place_footprints(np.array([lon]), np.array([lat]), grid).geobox(0, grid.resolution_m)


def ring(geobox: GeoBox) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Outline of a GeoBox in degrees, counter-clockwise from the south-west, open, edges cut into parts.

    Returns:
        lon in [-180, 180] as the projection gives it (it may leap at 180), lat; each (4 * 16,).
    """
    step = np.arange(_EDGE_PARTS) / _EDGE_PARTS
    zero, one = np.zeros(_EDGE_PARTS), np.ones(_EDGE_PARTS)
    u = np.concatenate([step, one, 1.0 - step, zero])
    v = np.concatenate([zero, step, one, 1.0 - step])
    x = geobox.x_min + u * (geobox.x_max - geobox.x_min)
    y = geobox.y_min + v * (geobox.y_max - geobox.y_min)
    lon, lat = transformer(geobox.epsg, 4326).transform(x, y)
    return np.asarray(lon), np.asarray(lat)


def footprint(geobox: GeoBox) -> dict[str, Any]:
    """A GeoBox's ground as GeoJSON Polygon, or MultiPolygon where it crosses 180 degrees or holds a pole.

    Positions are longitude, latitude in WGS 84 degrees within [-180, 180], outer rings counter-clockwise
    (RFC 7946, sections 3.1.6 and 3.1.9); edges are cut into 16 parts so that they follow the ground.
    """
    import antimeridian
    import shapely

    lon, lat = ring(geobox)
    pole = _pole_inside(geobox)
    polygon = shapely.Polygon(np.stack([np.round(lon, 7), np.round(lat, 7)], axis=1))
    if pole is None and float(np.ptp(lon)) < 180.0:
        return dict(shapely.geometry.mapping(shapely.geometry.polygon.orient(polygon)))
    fixed = antimeridian.fix_polygon(
        polygon, fix_winding=False, great_circle=False, force_north_pole=pole == 90.0, force_south_pole=pole == -90.0
    )
    return dict(shapely.geometry.mapping(fixed))


def bbox(geobox: GeoBox) -> list[tuple[float, float, float, float]]:
    """Boxes (west, south, east, north) in degrees that hold a GeoBox: one, or two where it crosses 180 degrees.

    For searches that know nothing of the antimeridian. A GeoBox with a pole inside gets the whole cap.
    """
    lon, lat = ring(geobox)
    south, north = float(lat.min()), float(lat.max())
    pole = _pole_inside(geobox)
    if pole is not None:
        return [(-180.0, min(south, pole), 180.0, max(north, pole))]
    if float(np.ptp(lon)) < 180.0:
        return [(float(lon.min()), south, float(lon.max()), north)]
    return [(float(lon[lon > 0].min()), south, 180.0, north), (-180.0, south, float(lon[lon <= 0].max()), north)]


def _snapped(value: NDArray[np.float64], origin: NDArray[np.float64], snap_m: float | None) -> NDArray[np.float64]:
    if snap_m is None:
        return np.round(value, _MILLIMETRES)
    return origin + np.rint((value - origin) / snap_m) * snap_m


def _pole_inside(geobox: GeoBox) -> float | None:
    """Latitude of the pole that a UPS GeoBox holds (or touches), if any."""
    if geobox.epsg not in UPS:
        return None
    x_min, y_min, x_max, y_max = geobox.bounds
    inside = x_min <= UPS_POLE_M <= x_max and y_min <= UPS_POLE_M <= y_max
    return UPS[geobox.epsg] if inside else None
