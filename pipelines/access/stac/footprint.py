"""Place and time of an untrusted item, as far as they are readable."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely

if TYPE_CHECKING:
    from shapely.geometry.base import BaseGeometry

_FEW_POINTS = 32
_ROUNDING = 1e-9
"""Twice an area in square degrees that may be 0 in truth."""
_JUMP_DEG = 180.0
_ROUND_DEG = 359.99
"""An edge from -180 to 180 degrees is no jump: it runs along a parallel, or along a pole."""


def footprint_of(item: dict[str, Any]) -> dict[str, Any] | None:
    """The footprint as GeoJSON, Polygon or MultiPolygon in WGS 84 degrees; None if it cannot be read.

    Rings that do not close are closed, polygons are taken out of collections. Where the geometry is missing or none
    that can be computed with, the item's box stands for it. Longitudes may run beyond 180.
    """
    shape = item.get("geometry")
    if isinstance(shape, dict):
        if shape.get("type") in ("Polygon", "MultiPolygon") and shape.get("coordinates"):
            found = {"type": shape["type"], "coordinates": shape["coordinates"]}
            if _is_sound(found):
                return found
        mended = _mended(shape)
        if mended is not None and _is_sound(mended):
            return mended
    boxed = _boxed(item.get("bbox"))
    return boxed if boxed is not None and _is_sound(boxed) else None


def moment(value: object) -> datetime | None:
    """The time in an RFC 3339 text, UTC; None if it is not a usable time."""
    if not isinstance(value, str) or len(value) > 64:
        return None
    try:
        when = datetime.fromisoformat(value.strip().upper().replace("Z", "+00:00"))
        return when.replace(tzinfo=UTC) if when.tzinfo is None else when.astimezone(UTC)
    except (ValueError, OverflowError):  # no time; year 1 east of Greenwich
        return None


def unrolled(polygon: BaseGeometry) -> BaseGeometry:
    """A polygon that crosses the 180th meridian, with longitudes that continue instead of jumping.

    An edge from -180 to 180 degrees is no jump: it runs along a parallel, or along the pole of an outline that holds
    one. An outline that goes round a pole without closing over it gets the pole's edge.
    """
    ring = shapely.get_exterior_ring(polygon)
    points = shapely.get_coordinates(ring)
    jumps = np.abs(np.diff(points[:, 0]))
    if len(points) < 4 or not ((jumps > _JUMP_DEG) & (jumps < _ROUND_DEG)).any():
        return polygon
    points[:, 0] = np.rad2deg(np.unwrap(np.deg2rad(points[:, 0])))
    if abs(points[-1, 0] - points[0, 0]) > _JUMP_DEG:
        pole = np.copysign(90.0, points[:, 1].mean())
        points = np.concatenate([points, [[points[-1, 0], pole], [points[0, 0], pole]], points[:1]])
    return shapely.Polygon(points)


def shape_of(footprint: dict[str, Any]) -> BaseGeometry:
    """A valid footprint as a geometry; longitudes continue across the 180th meridian."""
    parts = shapely.get_parts(shapely.force_2d(shapely.from_geojson(json.dumps(footprint))))
    return shapely.union_all([shapely.make_valid(unrolled(part)) for part in parts])


def number(value: object) -> float | None:
    """A number that may be given as text ('72', 'nan'); None if it is not a number."""
    if value is None or type(value) is float:
        return value
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        return float(value)
    except (ValueError, OverflowError):
        return None


def finite(value: object) -> float | None:
    """`number`, None if it is not finite: what is computed with."""
    found = number(value)
    return found if found is not None and math.isfinite(found) else None


def _is_sound(found: dict[str, Any]) -> bool:
    """True if the footprint is usable: finite, with an area, on the Earth (longitudes may exceed 180)."""
    if _plainly_sound(found):
        return True
    try:
        shape = shapely.from_geojson(json.dumps(found))
        west, south, east, north = shape.bounds
    except (shapely.errors.ShapelyError, ValueError, TypeError, RecursionError):
        return False
    return bool(shape.area > 0.0 and -361.0 <= west <= east <= 541.0 and -90.0 <= south <= north <= 90.0)


def _plainly_sound(found: dict[str, Any]) -> bool:
    """True if the coordinates alone show that it is usable: one ring of a few points, like nearly all footprints."""
    rings = found["coordinates"]
    ring = rings[0] if found["type"] == "Polygon" and isinstance(rings, list) and len(rings) == 1 else None
    if not isinstance(ring, list) or not 4 <= len(ring) <= _FEW_POINTS or ring[0] != ring[-1]:
        return False
    for point in ring:
        if type(point) is not list or len(point) != 2 or not all(type(v) in (int, float) for v in point):
            return False
        if not (-361.0 <= point[0] <= 541.0 and -90.0 <= point[1] <= 90.0):
            return False
    twice = sum((ring[i][0] - ring[0][0]) * (ring[i - 1][1] - ring[i + 1][1]) for i in range(1, len(ring) - 1))
    return bool(abs(twice) > _ROUNDING)


def _mended(shape: dict[str, Any]) -> dict[str, Any] | None:
    """All polygons in a geometry, rings closed."""
    polygons = _polygons(shape, 4)
    if not polygons:
        return None
    return {"type": "MultiPolygon", "coordinates": polygons}


def _polygons(shape: object, levels: int) -> list[list[Any]]:
    if not isinstance(shape, dict) or levels == 0:
        return []
    members = shape.get("geometries")
    if shape.get("type") == "GeometryCollection" and isinstance(members, list):
        return [polygon for member in members for polygon in _polygons(member, levels - 1)]
    listed = shape.get("coordinates")
    if not isinstance(listed, list):
        return []
    listed = [listed] if shape.get("type") == "Polygon" else listed if shape.get("type") == "MultiPolygon" else []
    return [[_closed(ring) for ring in polygon] for polygon in listed if isinstance(polygon, list)]


def _closed(ring: Any) -> Any:
    return [*ring, ring[0]] if isinstance(ring, list) and ring and ring[0] != ring[-1] else ring


def _boxed(box: object) -> dict[str, Any] | None:
    """A bbox of 4 or 6 numbers as a polygon; west > east crosses the 180th meridian."""
    if not isinstance(box, list) or len(box) not in (4, 6):
        return None
    numbers = [finite(v) for v in box]
    west, south, east, north = numbers[0], numbers[1], numbers[len(box) // 2], numbers[len(box) // 2 + 1]
    if west is None or south is None or east is None or north is None:
        return None
    if east < west:
        east += 360.0
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    return {"type": "Polygon", "coordinates": [ring]}
