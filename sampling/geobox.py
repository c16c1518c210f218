"""Raster grid of a point: snaps footprints to UTM or UPS, and gives their outlines in longitude/latitude."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import pyproj
import shapely

from sampling.sphere import rounded, wrapped
from schemas.crs import metric
from schemas.place import BBox, GeoBox

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from schemas.grid import GridSpec

UPS = {32661: 90.0, 32761: -90.0}
"""EPSG codes of UPS north and south, and the latitude of their pole."""
UPS_POLE_M = 2_000_000.0
"""Easting and northing of the pole in UPS (NGA.SIG.0012, 2014, section 10)."""
_EQUATOR_SOUTH_M = 10_000_000.0
"""Northing of the equator in southern UTM zones (NGA.SIG.0012, 2014, section 7)."""
_MILLIMETRES = 3
_LATTICE = 9
"""Decimals of a metre that corners on a lattice keep: 0.3, not 0.30000000000000004."""
_SLIVER_M = 0.02
"""Outlines are rounded to 1e-7 degrees, about a centimetre: a strip narrower than this has no area left."""
_EDGE_PARTS = 16
"""Parts of an edge in an outline: an edge of 100 km then departs from the true curve by less than 8 m at 84 degrees,
one of 2.56 km by less than 1 cm."""


@dataclass(frozen=True, eq=False, slots=True)
class Footprints:
    """Many square footprints of one size, as columns."""

    epsg: NDArray[np.int32]
    """(n,) EPSG code: of UTM, UPS or the grid's own CRS."""
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
        """Number of footprints."""
        return len(self.epsg)

    def take(self, index: NDArray[np.int64] | NDArray[np.bool_] | slice) -> Footprints:
        """The entries at `index` (positions, mask or slice)."""
        return Footprints(
            epsg=self.epsg[index],
            x_min=self.x_min[index],
            y_max=self.y_max[index],
            lon=self.lon[index],
            lat=self.lat[index],
            size_m=self.size_m,
        )

    def over(self, size_m: float) -> Footprints:
        """Squares of another edge around the same centres."""
        margin = (size_m - self.size_m) / 2.0
        return replace(self, x_min=self.x_min - margin, y_max=self.y_max + margin, size_m=size_m)

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
    """Joins several lists of footprints (at least one), in order."""
    return Footprints(
        epsg=np.concatenate([p.epsg for p in parts]),
        x_min=np.concatenate([p.x_min for p in parts]),
        y_max=np.concatenate([p.y_max for p in parts]),
        lon=np.concatenate([p.lon for p in parts]),
        lat=np.concatenate([p.lat for p in parts]),
        size_m=parts[0].size_m,
    )


def utm_epsgs(lon: NDArray[np.float64], lat: NDArray[np.float64]) -> NDArray[np.int32]:
    """EPSG codes of the UTM zones of many points (WGS 84 degrees), with the Norway and Svalbard exceptions; UPS beyond.

    UPS north (32661) from 84 degrees N, UPS south (32761) below 80 degrees S: the limits of UTM,
    NGA.SIG.0012 (2014) sections 7 and 10. Zone exceptions 32V, 31X-37X: the same source, section 7-4.
    """
    lon = np.mod(lon + 180.0, 360.0) - 180.0
    zone = np.minimum(np.floor((lon + 180.0) / 6.0).astype(np.int32) + 1, 60)
    zone = np.where((lat >= 56.0) & (lat < 64.0) & (lon >= 3.0) & (lon < 12.0), 32, zone)
    svalbard = (lat >= 72.0) & (lon >= 0.0) & (lon < 42.0)
    zone = np.where(svalbard, np.select([lon < 9.0, lon < 21.0, lon < 33.0], [31, 33, 35], 37), zone)
    epsg = np.where(lat >= 0.0, 32600, 32700) + zone
    return np.where(lat >= 84.0, 32661, np.where(lat < -80.0, 32761, epsg)).astype(np.int32)


def usable(lon: NDArray[np.float64], lat: NDArray[np.float64], epsg: int | None) -> NDArray[np.bool_]:
    """(n,) whether a grid in an EPSG code can be laid at points: see `schemas.crs`; None = UTM, everywhere."""
    return np.ones(len(lon), dtype=bool) if epsg is None else metric(epsg).holds(lon, lat)


def place_footprints(
    lon: NDArray[np.float64], lat: NDArray[np.float64], grid: GridSpec, epsg: NDArray[np.int32] | None = None
) -> Footprints:
    """Square footprints centred on points as nearly as the lattice allows.

    The north-western corner lies on whole multiples of `grid.snap_m` in x and in y, y counted from the equator in
    southern UTM zones too. There northings start at 10,000,000, which is no multiple of 60; Sentinel-2's 60 m pixels
    do the same (ULY 7200040 of a tile in 53S, 6300040 in 20S), so chips copy their pixels in both hemispheres.
    With `snap_m: null` corners are rounded to a millimetre. Centres move by at most snap_m / sqrt(2).

    Args:
        lon: (n,) longitudes, degrees.
        lat: (n,) latitudes, degrees.
        grid: size and lattice.
        epsg: (n,) CRS of each; that of the grid if absent.
    """
    if epsg is None:
        epsg = utm_epsgs(lon, lat) if grid.epsg is None else np.full(len(lon), grid.epsg, dtype=np.int32)
    x, y = projected(epsg, lon, lat)
    half = grid.size_m / 2.0
    origin = np.where((epsg > 32700) & (epsg < 32761), _EQUATOR_SOUTH_M, 0.0)
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


def footprint(geobox: GeoBox) -> dict[str, Any]:
    """A GeoBox's ground as GeoJSON: a Polygon, or a MultiPolygon where it crosses 180 degrees.

    Positions are longitude, latitude in WGS 84 degrees within [-180, 180], outer rings counter-clockwise
    (RFC 7946, sections 3.1.6 and 3.1.9); edges are cut into 16 parts so that they follow the ground. A GeoBox that
    holds a pole becomes a Polygon from -180 to 180 with the pole as its edge.
    """
    return dict(shapely.geometry.mapping(_outline(geobox)))


def outlines(footprints: Footprints) -> NDArray[np.object_]:
    """(n,) polygons or multipolygons of the ground of footprints, as `footprint` gives them."""
    found = np.empty(len(footprints), dtype=object)
    for code, index in by_code(footprints.epsg):
        x, y = _edges(BBox(0.0, -footprints.size_m, footprints.size_m, 0.0))
        some = footprints.take(index)
        lon, lat = transformer(code, 4326).transform(
            (some.x_min[:, None] + x).ravel(), (some.y_max[:, None] + y).ravel()
        )
        rings = np.round(np.stack([np.asarray(lon), np.asarray(lat)], axis=1), 7).reshape(len(index), len(x), 2)
        found[index] = shapely.polygons(rings)
        odd = np.ptp(rings[:, :, 0], axis=1) >= 180.0 if code not in UPS else np.ones(len(index), dtype=bool)
        for number in index[odd].tolist():
            found[number] = _outline(footprints.geobox(number, footprints.size_m))
    return found


def bbox(geobox: GeoBox) -> list[BBox]:
    """Boxes in degrees that hold a GeoBox: one, or two where it crosses 180 degrees.

    For searches that know nothing of the antimeridian: the box at 180 comes first, the box at -180 second. A GeoBox
    with a pole inside gets the whole cap.
    """
    boxes = [BBox(*part.bounds) for part in shapely.get_parts(_outline(geobox))]
    return sorted(boxes, key=lambda b: (-b.east, b.west))


def lonlat_bbox(geobox: GeoBox) -> BBox:
    """One box in degrees that holds a GeoBox; west > east where it crosses 180 degrees."""
    boxes = bbox(geobox)
    return BBox(boxes[0].west, min(b.south for b in boxes), boxes[-1].east, max(b.north for b in boxes))


def _outline(geobox: GeoBox) -> shapely.Polygon | shapely.MultiPolygon:
    polar = _polar_bounds(geobox)
    if geobox.epsg in UPS and _on_polar_seam(geobox.epsg, polar):
        halves = [h for sign in (-1, 1) if (h := _polar_half(geobox.epsg, polar, sign)) is not None]
        return shapely.geometry.polygon.orient(halves[0]) if len(halves) == 1 else _oriented(shapely.union_all(halves))
    x, y = _edges(geobox.bounds)
    lon, lat = transformer(geobox.epsg, 4326).transform(x, y)
    polygon = shapely.Polygon(np.stack([np.round(lon, 7), np.round(lat, 7)], axis=1))
    if float(np.ptp(lon)) < 180.0:
        return shapely.geometry.polygon.orient(polygon)
    import antimeridian

    return _oriented(antimeridian.fix_polygon(polygon, fix_winding=False, great_circle=False))


def _oriented(geometry: shapely.Geometry) -> shapely.Polygon | shapely.MultiPolygon:
    """Outer rings counter-clockwise, one Polygon if there is one part."""
    parts = [shapely.geometry.polygon.orient(part) for part in shapely.get_parts(geometry)]
    return parts[0] if len(parts) == 1 else shapely.MultiPolygon(parts)


def _edges(bounds: BBox) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(x, y) along a box counter-clockwise from its south-western corner, open, every edge cut into parts."""
    x_min, y_min, x_max, y_max = bounds
    x = np.linspace(x_min, x_max, _EDGE_PARTS + 1)[:-1]
    y = np.linspace(y_min, y_max, _EDGE_PARTS + 1)[:-1]
    back_x, back_y = np.linspace(x_max, x_min, _EDGE_PARTS + 1)[:-1], np.linspace(y_max, y_min, _EDGE_PARTS + 1)[:-1]
    return (
        np.concatenate([x, np.full(_EDGE_PARTS, x_max), back_x, np.full(_EDGE_PARTS, x_min)]),
        np.concatenate([np.full(_EDGE_PARTS, y_min), y, np.full(_EDGE_PARTS, y_max), back_y]),
    )


def _polar_bounds(geobox: GeoBox) -> BBox:
    """Bounds whose edges lie on the pole's axes where they come within what outlines are rounded to: no slivers."""
    x_min, y_min, x_max, y_max = (UPS_POLE_M if abs(v - UPS_POLE_M) < _SLIVER_M else v for v in geobox.bounds)
    return BBox(x_min, y_min, x_max, y_max)


def _on_polar_seam(epsg: int, bounds: BBox) -> bool:
    """True where a UPS box touches the meridian of 180 degrees: x = 2,000 km, beyond the pole."""
    x_min, y_min, x_max, y_max = bounds
    beyond = y_max >= UPS_POLE_M if UPS[epsg] > 0 else y_min <= UPS_POLE_M
    return x_min <= UPS_POLE_M <= x_max and beyond


def _polar_half(epsg: int, bounds: BBox, sign: int) -> shapely.Polygon | None:
    """The half of a UPS box with longitudes of one sign, cut in the plane, where neither seam nor pole is special.

    Vertices on the cut get longitude 0 or 180 by their side of the pole; the pole itself becomes an edge between
    the longitudes before and after it.
    """
    x_min, y_min, x_max, y_max = bounds
    x_min, x_max = (UPS_POLE_M, x_max) if sign > 0 else (x_min, UPS_POLE_M)
    if x_max <= x_min:
        return None
    x, y = _edges(BBox(x_min, y_min, x_max, y_max))
    if y_min < UPS_POLE_M < y_max:
        seam = np.flatnonzero((x == UPS_POLE_M) & ((y > UPS_POLE_M) if sign > 0 else (y < UPS_POLE_M)))
        x, y = np.insert(x, seam[-1] + 1, UPS_POLE_M), np.insert(y, seam[-1] + 1, UPS_POLE_M)
    lon, lat = (np.asarray(c) for c in transformer(epsg, 4326).transform(x, y))
    pole = UPS[epsg]
    beyond = (y - UPS_POLE_M) * pole > 0
    lon = np.where(x == UPS_POLE_M, np.where(beyond, sign * 180.0, 0.0), lon)
    ring: list[tuple[float, float]] = []
    for i in range(len(x)):
        if x[i] == UPS_POLE_M and y[i] == UPS_POLE_M:
            ring += [(float(lon[i - 1]), pole), (float(lon[(i + 1) % len(x)]), pole)]
        else:
            ring.append((round(float(lon[i]), 7), round(float(lat[i]), 7)))
    return shapely.Polygon(ring)


def _snapped(value: NDArray[np.float64], origin: NDArray[np.float64], snap_m: float | None) -> NDArray[np.float64]:
    if snap_m is None:
        return np.round(value, _MILLIMETRES)
    return origin + np.round(np.rint((value - origin) / snap_m) * snap_m, _LATTICE)
