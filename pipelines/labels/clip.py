"""Objects in a sample's CRS, cut to its footprint: of map extracts and of users' own files."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import shapely

from sampling.geobox import lonlat_bbox, transformer
from schemas.label import VectorFeature

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from shapely.geometry.base import BaseGeometry

    from pipelines.access.openstreetmap.features import OsmFeature
    from schemas.place import GeoBox

_MARGIN = 0.25
"""Giant objects are cut in degrees to the footprint's box and this share of its size around it before projection."""
_WIDEST_M = 20.0
"""Lines this far outside the footprint still reach into it with their width."""
_DIMENSION = {"point": 0, "line": 1, "area": 2}


@dataclass(frozen=True, slots=True)
class Drawn:
    """One object in the sample's CRS."""

    feature: OsmFeature
    whole_deg2: float
    """Area of the whole object in square degrees: orders areas by size, nothing else."""
    near: BaseGeometry
    """Inside the footprint and a little around it."""
    inside: BaseGeometry
    """Inside the footprint; empty where it only comes near."""


def project(features: Sequence[OsmFeature], geobox: GeoBox, reach_m: float = _WIDEST_M) -> list[Drawn]:
    """Objects in the sample's CRS (metres, to the millimetre), cut to the footprint; those outside are left out.

    `near` of each reaches `reach_m` metres beyond the footprint.
    """
    if not features:
        return []
    shapes = np.array([f.geometry for f in features], dtype=object)
    areas = shapely.area(shapes)
    whole = [deg2 if f.whole_deg2 is None else f.whole_deg2 for f, deg2 in zip(features, areas, strict=True)]
    near = _cut(to_crs(_cut_in_degrees(shapes, geobox), geobox.epsg), _box(geobox, reach_m))
    inside = shapely.transform(_cut(near, _box(geobox, 0.0)), lambda xy: np.round(xy, 3))
    found = []
    for feature, deg2, around, within in zip(features, whole, near, inside, strict=True):
        dimension = _DIMENSION[feature.kind]
        around_only = _of_dimension(around, dimension)
        if not around_only.is_empty:
            found.append(Drawn(feature, float(deg2), around_only, _of_dimension(within, dimension)))
    return found


def vector_feature(one: Drawn, metre: float, square: float) -> VectorFeature:
    """An object, measured on the ground: a grid's metres and square metres are so many of the ground's."""
    kind = one.feature.kind
    return VectorFeature(
        osm_id=one.feature.osm_id,
        kind=kind,
        tags=one.feature.tags,
        wkb=shapely.to_wkb(shapely.normalize(one.inside), byte_order=1),
        area_m2=round(float(one.inside.area) / square, 3) if kind == "area" else 0.0,
        length_m=round(float(one.inside.length) / metre, 3) if kind == "line" else 0.0,
    )


def to_crs(shapes: NDArray[np.object_], epsg: int) -> NDArray[np.object_]:
    """Shapes in longitude and latitude in another CRS."""
    there = transformer(4326, epsg)

    def move(lonlat: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.column_stack(there.transform(lonlat[:, 0], lonlat[:, 1]))

    moved: NDArray[np.object_] = shapely.transform(shapes, move)
    return moved


def _cut_in_degrees(shapes: NDArray[np.object_], geobox: GeoBox) -> NDArray[np.object_]:
    """Only what comes near the footprint: a lake of 100 km is not projected whole. Over 180 degrees: left whole."""
    west, south, east, north = lonlat_bbox(geobox)
    if west > east or east - west > 180.0:
        return shapes
    x_margin, y_margin = (east - west) * _MARGIN, (north - south) * _MARGIN
    box = (west - x_margin, south - y_margin, east + x_margin, north + y_margin)
    bounds = shapely.bounds(shapes)
    large = (bounds[:, 2] - bounds[:, 0] > 2 * (east - west)) | (bounds[:, 3] - bounds[:, 1] > 2 * (north - south))
    cut = shapes.copy()
    cut[large] = _cut(shapes[large], shapely.box(*box))
    return cut


def _cut(shapes: NDArray[np.object_], box: shapely.Polygon) -> NDArray[np.object_]:
    """Intersection with a box; shapes inside it stay unchanged, invalid ones are repaired first."""
    shapely.prepare(box)
    whole = shapely.contains_properly(box, shapes)
    cut = shapes.copy()
    rest = shapes[~whole]
    valid = shapely.is_valid(rest)
    rest[~valid] = shapely.make_valid(rest[~valid])
    cut[~whole] = shapely.intersection(rest, box)
    return cut


def _box(geobox: GeoBox, margin_m: float) -> shapely.Polygon:
    west, south, east, north = geobox.bounds
    return shapely.box(west - margin_m, south - margin_m, east + margin_m, north + margin_m)


def _of_dimension(shape: BaseGeometry, dimension: int) -> BaseGeometry:
    """The parts of that dimension (0 points, 1 lines, 2 areas): an area that only touches the edge is not inside."""
    if shape.is_empty or (shape.geom_type != "GeometryCollection" and shapely.get_dimensions(shape) == dimension):
        return shape
    flat = [part for group in shapely.get_parts(shape) for part in shapely.get_parts(group)]
    parts = [part for part in flat if not part.is_empty and shapely.get_dimensions(part) == dimension]
    collect = (shapely.multipoints, shapely.multilinestrings, shapely.multipolygons)[dimension]
    found: BaseGeometry = parts[0] if len(parts) == 1 else collect(parts) if parts else shapely.GeometryCollection()
    return found
