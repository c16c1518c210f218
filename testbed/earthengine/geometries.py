"""Geometries of expressions, as shapes in longitude and latitude."""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from shapely import contains_xy
from shapely.geometry import LineString, MultiPoint, MultiPolygon, Point, Polygon, box, shape
from shapely.geometry.base import BaseGeometry
from shapely.ops import unary_union

from testbed.earthengine.errors import bad
from testbed.earthengine.grids import Grid, Projection, crs_of, reprojected, transformer

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from testbed.earthengine.evaluate import Evaluation

Args = dict[str, Any]


def geometry_of(value: Any) -> BaseGeometry | None:
    """A shape from a shape, a feature or nothing."""
    if value is None or isinstance(value, BaseGeometry):
        return value
    if hasattr(value, "geometry"):
        return geometry_of(value.geometry)
    if hasattr(value, "footprint"):
        return geometry_of(value.footprint)
    raise bad("Geometry: Cannot read the value as a geometry.")


def union_of(features: Any) -> BaseGeometry | None:
    """All features as one shape."""
    shapes = [g for g in map(geometry_of, features or []) if g is not None]
    return unary_union(shapes) if shapes else None


def inside(outline: BaseGeometry, grid: Grid) -> NDArray[np.bool_]:
    """True where a pixel's centre is inside, or within a millionth of a degree of it (the outline is rounded)."""
    x, y = grid.centres()
    lon, lat = transformer(grid.projection.crs, "EPSG:4326").transform(x, y)
    return np.asarray(contains_xy(outline.buffer(1e-6), lon, lat))


def code_of(crs: Any) -> str:
    """A CRS code from a code, a projection or GeoJSON's crs member."""
    if isinstance(crs, Projection):
        return crs.crs
    if isinstance(crs, dict):
        crs = crs.get("properties", {}).get("name", "")
    crs_of(str(crs))
    return str(crs)


def _placed(geometry: BaseGeometry, args: Args) -> BaseGeometry:
    if args.get("crs") is None:
        return geometry
    return reprojected(geometry, code_of(args["crs"]), "EPSG:4326")


def _pairs(coordinates: Any) -> list[tuple[float, float]]:
    flat = list(coordinates)
    if flat and isinstance(flat[0], (int, float)):
        return [(float(a), float(b)) for a, b in zip(flat[::2], flat[1::2], strict=True)]
    return [(float(p[0]), float(p[1])) for p in flat]


def _polygon(coordinates: Any) -> Polygon:
    if coordinates and isinstance(coordinates[0], (int, float)):
        return Polygon(_pairs(coordinates))
    if coordinates and isinstance(coordinates[0][0], (int, float)):
        return Polygon(_pairs(coordinates))
    rings = [_pairs(ring) for ring in coordinates]
    return Polygon(rings[0], rings[1:])


def _rectangle(coordinates: Any) -> BaseGeometry:
    points = MultiPoint(_pairs(coordinates))
    return box(*points.bounds)


def _from_json(_: Evaluation, args: Args) -> BaseGeometry:
    value = args.get("geoJson") or args.get("geometry")
    if value is None:
        raise bad("Geometry: a GeoJSON object is required.")
    return shape(json.loads(value) if isinstance(value, str) else value)


def _made(make: Callable[[Any], BaseGeometry], _: Evaluation, args: Args) -> BaseGeometry:
    return _placed(make(args["coordinates"]), args)


def constructors() -> dict[str, Callable[[Evaluation, Args], Any]]:
    """GeometryConstructors.<name> -> what it makes."""
    shapes: dict[str, Callable[[Any], BaseGeometry]] = {
        "Point": lambda c: Point(*_pairs([c] if not isinstance(c[0], (int, float)) else c)[0]),
        "MultiPoint": lambda c: MultiPoint(_pairs(c)),
        "LineString": lambda c: LineString(_pairs(c)),
        "Polygon": _polygon,
        "Rectangle": _rectangle,
        "MultiPolygon": lambda c: MultiPolygon([_polygon(p) for p in c]),
    }
    found: dict[str, Callable[[Evaluation, Args], Any]] = {
        f"GeometryConstructors.{name}": partial(_made, make) for name, make in shapes.items()
    }
    found["GeometryConstructors.BBox"] = lambda _, a: box(a["west"], a["south"], a["east"], a["north"])
    found["Geometry.bounds"] = lambda _, a: box(*a["geometry"].bounds)
    found["Geometry.buffer"] = lambda _, a: a["geometry"].buffer(float(a["distance"]) / 111_319.49)
    return found
