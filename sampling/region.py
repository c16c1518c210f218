"""The recipe's area: draws points uniformly over it, and tests whether a point is inside."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely
import shapely.affinity

from sampling.chance import Purpose, uniforms
from sampling.errors import SamplingError
from sampling.lonlat import check_geojson
from sampling.parquet import one_line, read_parquet
from sampling.sphere import SEMI_MAJOR_M, authalic_sine, latitude_of, rounded, wrapped

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from numpy.typing import NDArray

    from schemas.area import Area


_FARTHEST = 900.0
"""Largest longitude that a file may hold, degrees: two turns and a half."""


@dataclass(frozen=True, eq=False, slots=True)
class Region:
    """An area as boxes and, if it comes from a file, the one polygon inside each box; none of them overlap."""

    boxes: NDArray[np.float64]
    """(m, 4) west, south, east, north, degrees; west in [-180, 180), east up to west + 360."""
    polygons: tuple[shapely.Polygon, ...] | None
    """One polygon a box, in lon/lat degrees within [-180, 180]; None if the boxes are the area."""

    def draw(
        self, seed: int, start: int, stop: int
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:
        """Candidates start..stop-1 of the endless sequence of points uniform over the area (equal-area, WGS 84).

        Candidate k depends on seed and k alone. A box is drawn from directly; a polygon by rejection from its box.

        Returns:
            lon, lat: (n,) degrees; inside: (n,) bool, False where a candidate fell outside its polygon.
        """
        u = uniforms(seed, Purpose.POINTS, start, stop)
        low, high = authalic_sine(self.boxes[:, 1]), authalic_sine(self.boxes[:, 3])
        shares = np.cumsum((high - low) * (self.boxes[:, 2] - self.boxes[:, 0]))
        part = np.minimum(np.searchsorted(shares, u[:, 2] * shares[-1], side="right"), len(shares) - 1)
        west, south, east, north = self.boxes[part].T
        lat = np.clip(latitude_of(low[part] + u[:, 0] * (high - low)[part]), south, north)
        lon = wrapped(west + u[:, 1] * (east - west))
        return lon, rounded(lat), self.within(part, lon, rounded(lat))

    def contains(self, lon: NDArray[np.float64], lat: NDArray[np.float64]) -> NDArray[np.bool_]:
        """True where a point lies in the area (borders of a box included)."""
        if self.polygons is None:
            west, south, east, north = self.boxes[0]
            return np.asarray((lat >= south) & (lat <= north) & (np.mod(lon - west, 360.0) <= east - west))
        point, part = shapely.STRtree(self.polygons).query(shapely.points(lon, lat))
        inside = np.zeros(len(lon), dtype=bool)
        inside[point[self.within(part, lon[point], lat[point])]] = True
        return inside

    def within(self, part: NDArray[np.int64], lon: NDArray[np.float64], lat: NDArray[np.float64]) -> NDArray[np.bool_]:
        """True where point number i, which lies in box number part[i], lies in the polygon of that box."""
        if self.polygons is None or not len(lon):
            return np.ones(len(lon), dtype=bool)
        inside = np.zeros(len(lon), dtype=bool)
        order = np.argsort(part, kind="stable")
        used, first = np.unique(part[order], return_index=True)
        for index, chosen in zip(used, np.split(order, first[1:]), strict=True):
            inside[chosen] = shapely.contains_xy(self.polygons[index], lon[chosen], lat[chosen])
        return inside


def region_of(area: Area, recipe_dir: Path) -> Region:
    """The region that an area of a recipe means; no bbox and no file is the whole Earth.

    Args:
        area: from the recipe's sampling section.
        recipe_dir: folder that `area.file` is relative to.

    Raises:
        SamplingError: the file is missing, unreadable, not in longitude/latitude, or holds no polygon.
    """
    if area.file is not None:
        parts = _disjoint(_polygons(area.file, recipe_dir))
        if not parts:
            raise SamplingError(f"area file {area.file!r} holds no polygon with an area")
        for part in parts:
            shapely.prepare(part)
        return Region(boxes=np.array([p.bounds for p in parts]), polygons=tuple(parts))
    west, south, east, north = area.bbox or (-180.0, -90.0, 180.0, 90.0)
    if west == east or (west, east) == (180.0, -180.0):
        raise SamplingError(f"area.bbox has no width: west is {west:g} and east is {east:g}")
    return Region(boxes=np.array([[west, south, east + 360.0 if east < west else east, north]]), polygons=None)


def area_m2(region: Region) -> float:
    """Surface of a region's boxes, square metres, on a sphere of the equator's radius."""
    west, south, east, north = np.radians(region.boxes.T)
    return float(np.sum((np.sin(north) - np.sin(south)) * (east - west))) * SEMI_MAJOR_M**2


def _polygons(name: str, recipe_dir: Path) -> list[shapely.Geometry]:
    """Geometries of a GeoJSON or GeoParquet file, longitude/latitude."""
    path = recipe_dir / name
    if not path.is_file():
        raise SamplingError(f"area file {name!r} does not exist; its path is relative to the recipe")
    suffix = path.suffix.lower()
    if suffix in {".json", ".geojson"}:
        return _geojson(name, path)
    if suffix in {".parquet", ".geoparquet"}:
        geometries = read_parquet(f"area file {name}", path).geometries
        if geometries is None:
            raise SamplingError(f"area file {name!r} has no geometries: it is Parquet but not GeoParquet")
        return geometries
    raise SamplingError(f"area file {name!r}: expected .geojson, .json or .parquet, found {suffix or 'no suffix'!r}")


def _geojson(name: str, path: Path) -> list[shapely.Geometry]:
    try:
        document: Any = json.loads(path.read_bytes())
        check_geojson(f"area file {name}", document)
        entries = document.get("features") if document.get("type") == "FeatureCollection" else [document]
        shapes = [e.get("geometry") if e.get("type") == "Feature" else e for e in entries]
        return [shapely.from_geojson(json.dumps(s)) for s in shapes if s]
    except SamplingError:
        raise
    except (OSError, ValueError, AttributeError, TypeError, RecursionError, shapely.errors.ShapelyError) as e:
        raise SamplingError(f"area file {name!r} is not readable as GeoJSON: {one_line(e)}") from e


def _disjoint(geometries: Iterable[shapely.Geometry]) -> list[shapely.Polygon]:
    """Polygons that do not overlap, cut at 180 degrees, in a fixed order; other geometries are not areas."""
    whole = [on_earth("area file", polygon) for polygon in _simple_polygons(geometries)]
    union = shapely.union_all(whole)
    parts = [p for p in _simple_polygons([union]) if p.area > 0]
    return sorted(parts, key=lambda p: (*p.bounds, p.area))


def on_earth(name: str, polygon: shapely.Polygon) -> shapely.Geometry:
    """A valid polygon or several within [-180, 180] degrees: the same ground, cut where it crosses 180 degrees.

    Raises:
        SamplingError: it is not in degrees, or its ring goes round a pole.
    """
    west, south, east, north = polygon.bounds
    if not (-90.0 <= south <= north <= 90.0 and west >= -_FARTHEST and east <= _FARTHEST):
        raise SamplingError(
            f"{name}: a polygon spans {west:g}, {south:g}, {east:g}, {north:g}; "
            f"expected degrees of longitude and latitude"
        )
    if west < -180.0 or east > 180.0:
        return _cut(polygon)
    return shapely.make_valid(_cut(shapely.Polygon(*_unrolled(polygon))) if _crosses(polygon) else polygon)


def ground_of(name: str, geometry: shapely.Geometry | None) -> list[shapely.Polygon]:
    """The polygons of a geometry, valid and within [-180, 180] degrees; [] where it has no area."""
    cut = [on_earth(name, p) for p in _simple_polygons([] if geometry is None else [geometry])]
    return [p for p in _simple_polygons(cut) if p.area > 0]


def _simple_polygons(geometries: Iterable[shapely.Geometry]) -> list[shapely.Polygon]:
    flat = shapely.get_parts(shapely.get_parts(np.array(list(geometries), dtype=object)))
    return [g for g in flat if isinstance(g, shapely.Polygon) and not g.is_empty]


def _crosses(polygon: shapely.Polygon) -> bool:
    """True where a ring in [-180, 180] was meant to cross 180 degrees.

    It has an edge longer than half a turn, and only if that edge crosses 180 degrees is its inside on its left, as
    RFC 7946 (section 3.1.6) has it: a ring that is counter-clockwise as it stands is as wide as it says.
    """
    lon = np.asarray(polygon.exterior.coords)[:, 0]
    leap = np.abs(np.diff(lon)) > 180.0
    seam = (np.abs(lon[:-1]) == 180.0) & (np.abs(lon[1:]) == 180.0)
    return bool(np.any(leap & ~seam)) and not polygon.exterior.is_ccw


def _cut(polygon: shapely.Geometry) -> shapely.Geometry:
    """The same ground within [-180, 180], cut where it crosses 180 degrees; a whole turn and more is the whole band."""
    polygon = shapely.make_valid(polygon)
    turns = np.arange(-3, 4) * 360.0
    parts = [polygon.intersection(shapely.box(t - 180.0, -90.0, t + 180.0, 90.0)) for t in turns]
    return shapely.union_all([shapely.affinity.translate(p, -t) for p, t in zip(parts, turns, strict=True)])


def _unrolled(polygon: shapely.Polygon) -> tuple[NDArray[np.float64], list[NDArray[np.float64]]]:
    """Outer and inner rings of the polygon, with longitudes that continue beyond 180 degrees.

    Raises:
        SamplingError: the ring goes round a pole.
    """
    rings = []
    for ring in (polygon.exterior, *polygon.interiors):
        coordinates = np.asarray(ring.coords)[:, :2].copy()
        coordinates[:, 0] = np.unwrap(coordinates[:, 0], period=360.0)
        if abs(coordinates[0, 0] - coordinates[-1, 0]) > 180.0:
            raise SamplingError(
                "area file: a ring surrounds a pole; draw it from -180 to 180 degrees with an edge along the pole"
            )
        coordinates[:, 0] += 360.0 * np.round((180.0 - coordinates[:, 0].mean()) / 360.0)
        rings.append(coordinates)
    return rings[0], rings[1:]
