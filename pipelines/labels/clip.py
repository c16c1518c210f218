"""Objects in a sample's CRS, cut to its footprint: of map extracts and of users' own files."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

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
_COLLECTION = shapely.GeometryType.GEOMETRYCOLLECTION


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
    valid = np.array([f.valid for f in features], bool)
    near = _cut(to_crs(_cut_in_degrees(shapes, geobox, valid), geobox.epsg), _box(geobox, reach_m), valid)
    inside = shapely.transform(_cut(near, _box(geobox, 0.0), valid), lambda xy: np.round(xy, 3))
    dimensions = np.array([_DIMENSION[f.kind] for f in features])
    near, inside = _of_dimensions(near, dimensions), _of_dimensions(inside, dimensions)
    return [
        Drawn(features[at], float(whole[at]), near[at], inside[at])
        for at in np.flatnonzero(~shapely.is_empty(near)).tolist()
    ]


def vector_features(drawn: Sequence[Drawn], metre: float, square: float) -> list[VectorFeature]:
    """Objects inside the footprint, measured on the ground.

    Args:
        drawn: objects; those outside are left out.
        metre: metres of the grid per metre on the ground.
        square: square metres of the grid per square metre on the ground.
    """
    drawn = [
        one for one, outside in zip(drawn, shapely.is_empty([d.inside for d in drawn]), strict=True) if not outside
    ]
    shapes = np.array([d.inside for d in drawn], dtype=object)
    wkb = shapely.to_wkb(shapely.normalize(shapes), byte_order=1)
    areas, lengths = shapely.area(shapes).tolist(), shapely.length(shapes).tolist()
    return [
        VectorFeature(
            osm_id=one.feature.osm_id,
            kind=one.feature.kind,
            tags=one.feature.tags,
            wkb=wkb[at],
            area_m2=round(areas[at] / square, 3) if one.feature.kind == "area" else 0.0,
            length_m=round(lengths[at] / metre, 3) if one.feature.kind == "line" else 0.0,
        )
        for at, one in enumerate(drawn)
    ]


def as_json(shapes: Sequence[BaseGeometry]) -> list[dict[str, Any]]:
    """Shapes as the GeoJSON that GDAL burns; shapely's own way there takes three times the time."""
    whole = np.array(shapes, dtype=object)
    found: list[Any] = [None] * len(whole)
    areas = np.isin(shapely.get_type_id(whole), (shapely.GeometryType.POLYGON, shapely.GeometryType.MULTIPOLYGON))
    if areas.any():
        several_parts = [*whole[areas], shapely.MultiPolygon()]  # so that all are taken for multipolygons
        _, places, (rings, polygons, several) = shapely.to_ragged_array(several_parts, include_z=False)
        corners, starts, parts = places.tolist(), rings.tolist(), polygons.tolist()
        outlines = [corners[start:end] for start, end in itertools.pairwise(starts)]
        filled = [outlines[start:end] for start, end in itertools.pairwise(parts)]
        for at, (start, end) in zip(np.flatnonzero(areas), itertools.pairwise(several.tolist()), strict=False):
            found[at] = {"type": "MultiPolygon", "coordinates": filled[start:end]}
    for at in np.flatnonzero(~areas):
        found[at] = whole[at].__geo_interface__
    return found


def to_crs(shapes: NDArray[np.object_], epsg: int) -> NDArray[np.object_]:
    """Shapes in longitude and latitude in another CRS."""
    there = transformer(4326, epsg)

    def move(lonlat: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.column_stack(there.transform(lonlat[:, 0], lonlat[:, 1]))

    moved: NDArray[np.object_] = shapely.transform(shapes, move)
    return moved


def _cut_in_degrees(shapes: NDArray[np.object_], geobox: GeoBox, valid: NDArray[np.bool_]) -> NDArray[np.object_]:
    """Only what comes near the footprint: a lake of 100 km is not projected whole. Over 180 degrees: left whole."""
    west, south, east, north = lonlat_bbox(geobox)
    if west > east or east - west > 180.0:
        return shapes
    x_margin, y_margin = (east - west) * _MARGIN, (north - south) * _MARGIN
    box = (west - x_margin, south - y_margin, east + x_margin, north + y_margin)
    bounds = shapely.bounds(shapes)
    large = (bounds[:, 2] - bounds[:, 0] > 2 * (east - west)) | (bounds[:, 3] - bounds[:, 1] > 2 * (north - south))
    cut, known = shapes.copy(), valid[large]
    cut[large] = _cut(shapes[large], shapely.box(*box), known)
    valid[large] = known
    return cut


def _cut(shapes: NDArray[np.object_], box: shapely.Polygon, valid: NDArray[np.bool_]) -> NDArray[np.object_]:
    """Intersection with a box; shapes inside it stay unchanged, invalid ones are repaired first.

    `valid`: shapes that are known to be valid; those that are cut become so.
    """
    shapely.prepare(box)
    crossing = np.flatnonzero(~shapely.contains_properly(box, shapes))
    rest, cut = shapes[crossing], shapes.copy()
    _repair(rest, ~valid[crossing])
    try:
        cut[crossing] = shapely.intersection(rest, box)
    except shapely.errors.GEOSException:  # projected, a valid shape may cross itself by less than a millimetre
        _repair(rest, np.ones(len(rest), bool))
        cut[crossing] = shapely.intersection(rest, box)
    valid[crossing] = True
    return cut


def _repair(shapes: NDArray[np.object_], unsure: NDArray[np.bool_]) -> None:
    """Make those of the unsure shapes valid that are not."""
    at = np.flatnonzero(unsure)
    at = at[~shapely.is_valid(shapes[at])]
    shapes[at] = shapely.make_valid(shapes[at])


def _box(geobox: GeoBox, margin_m: float) -> shapely.Polygon:
    west, south, east, north = geobox.bounds
    return shapely.box(west - margin_m, south - margin_m, east + margin_m, north + margin_m)


def _of_dimensions(shapes: NDArray[np.object_], dimensions: NDArray[np.int64]) -> NDArray[np.object_]:
    """The parts of each shape that have its object's dimension."""
    whole = shapely.is_empty(shapes) | (
        (shapely.get_type_id(shapes) != _COLLECTION) & (shapely.get_dimensions(shapes) == dimensions)
    )
    found = shapes.copy()
    for at in np.flatnonzero(~whole):
        found[at] = _of_dimension(shapes[at], int(dimensions[at]))
    return found


def _of_dimension(shape: BaseGeometry, dimension: int) -> BaseGeometry:
    """The parts of that dimension (0 points, 1 lines, 2 areas): an area that only touches the edge is not inside."""
    flat = [part for group in shapely.get_parts(shape) for part in shapely.get_parts(group)]
    parts = [part for part in flat if not part.is_empty and shapely.get_dimensions(part) == dimension]
    collect = (shapely.multipoints, shapely.multilinestrings, shapely.multipolygons)[dimension]
    found: BaseGeometry = parts[0] if len(parts) == 1 else collect(parts) if parts else shapely.GeometryCollection()
    return found
