"""OpenStreetMap: clips objects of an extract to the sample; gives a class raster and a list of objects with tags."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import pyproj
import shapely
from rasterio.features import rasterize
from rasterio.transform import Affine

from pipelines.access.openstreetmap.objects import id_order
from pipelines.access.openstreetmap.rules import area_tags, edge_tags, is_area
from pipelines.labels.footprint import lonlat_bbox
from pipelines.labels.labeller import VectorLabeller
from pipelines.labels.osm_classes import CODE, LEGEND, PAINT_ORDER, class_of_area, class_of_line
from schemas.crs import ground_scale
from schemas.label import LabelMap, VectorFeature, VectorLayer
from schemas.label_source import OpenStreetMapLabel

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from numpy.typing import NDArray
    from shapely.geometry.base import BaseGeometry

    from pipelines.access.openstreetmap.extract import Extract
    from pipelines.access.openstreetmap.features import OsmFeature
    from schemas.place import GeoBox, Place

_LICENCE = "ODbL-1.0"
_MARGIN = 0.25
"""Giant objects are cut in degrees to the footprint's box and this share of its size around it before projection."""
_WIDEST_M = 20.0
"""Lines this far outside the footprint still reach into it with their width."""
_DIMENSION = {"point": 0, "line": 1, "area": 2}


@dataclass(frozen=True, slots=True)
class _Drawn:
    """One object in the sample's CRS."""

    feature: OsmFeature
    whole_deg2: float
    """Area of the whole object in square degrees: orders areas by size, nothing else."""
    near: BaseGeometry
    """Inside the footprint and a little around it."""
    inside: BaseGeometry
    """Inside the footprint; empty where it only comes near."""


class OpenStreetMap(VectorLabeller[OpenStreetMapLabel]):
    """OpenStreetMap with the recipe's settings."""

    product = LEGEND

    def layers(
        self,
        place: Place,
        resolution_m: float,
        features: Sequence[OsmFeature],
        extract: Extract,
        reference_time: datetime | None,
    ) -> tuple[LabelMap, VectorLayer]:
        """The map's objects and classes of a sample.

        The raster is True in `valid` where an area or a line of the closed tables covers the pixel's centre;
        everything else is unmapped ground (`legend.nodata`), never 'no class'. The list holds every object with tags
        that lies in the footprint, whatever its tags are.

        Args:
            place: the sample.
            resolution_m: pixel edge of the raster, metres.
            features: objects that may touch it, from `FeatureStore.within`.
            extract: where they come from.
            reference_time: time of the image that is labelled, None without one.
        """
        drawn = project(features, place.geobox)
        classes = draw(drawn, place.geobox.at(resolution_m))
        snapshot = extract.snapshot.date()
        label = LabelMap(
            label=self.name,
            classes=classes,
            valid=classes != LEGEND.nodata,
            legend=self.legend,
            version=snapshot.isoformat(),
            year=snapshot.year,
            date_gap_days=None if reference_time is None else abs((reference_time.date() - snapshot).days),
            item_ids=(extract.name,),
            licence=_LICENCE,
        )
        metre, square = ground_scale(place.geobox.epsg, place.lon, place.lat)
        found = (_vector_feature(d, metre, square) for d in drawn if not d.inside.is_empty)
        ordered = tuple(sorted(found, key=lambda f: id_order(f.osm_id, f.kind)))
        return label, VectorLayer(features=ordered, snapshot=snapshot, licence=_LICENCE)


def project(features: Sequence[OsmFeature], geobox: GeoBox) -> list[_Drawn]:
    """Objects in the sample's CRS (metres, to the millimetre), cut to the footprint; those outside are left out."""
    if not features:
        return []
    shapes = np.array([f.geometry for f in features], dtype=object)
    areas = shapely.area(shapes)
    whole = [deg2 if f.whole_deg2 is None else f.whole_deg2 for f, deg2 in zip(features, areas, strict=True)]
    near = _cut(_to_crs(_cut_in_degrees(shapes, geobox), geobox.epsg), _box(geobox, _WIDEST_M))
    inside = shapely.transform(_cut(near, _box(geobox, 0.0)), lambda xy: np.round(xy, 3))
    found = []
    for feature, deg2, around, within in zip(features, whole, near, inside, strict=True):
        dimension = _DIMENSION[feature.kind]
        around_only = _of_dimension(around, dimension)
        if not around_only.is_empty:
            found.append(_Drawn(feature, float(deg2), around_only, _of_dimension(within, dimension)))
    return found


def draw(drawn: Sequence[_Drawn], grid: GeoBox) -> NDArray[np.uint8]:
    """(y, x) class codes on the grid, `LEGEND.nodata` where nothing is mapped; what covers a pixel's centre counts."""
    areas: list[tuple[float, str, BaseGeometry, int]] = []
    over: dict[str, list[tuple[BaseGeometry, int]]] = {name: [] for name in PAINT_ORDER}
    for one in drawn:
        if one.feature.kind == "area":
            name = class_of_area(_class_tags(one.feature))
            if name == "Building":
                over[name].append((one.near, CODE[name]))
            elif name is not None:
                areas.append((-one.whole_deg2, one.feature.osm_id, one.near, CODE[name]))
        elif one.feature.kind == "line":
            rule = class_of_line(_class_tags(one.feature))
            if rule is not None:
                name, width_m = rule
                over[name].append((shapely.buffer(one.near, width_m / 2, cap_style="flat"), CODE[name]))
    shapes = [(shape, code) for _, _, shape, code in sorted(areas, key=lambda a: a[:2])]
    shapes += [pair for name in PAINT_ORDER for pair in over[name]]
    shapes = [(shape, code) for shape, code in shapes if not shape.is_empty]
    if not shapes:
        return np.full(grid.shape, LEGEND.nodata, dtype=np.uint8)
    burnt: NDArray[np.uint8] = rasterize(
        shapes,
        out_shape=grid.shape,
        transform=Affine(*grid.transform),
        fill=LEGEND.nodata,
        all_touched=False,
        dtype="uint8",
    )
    return burnt


def _class_tags(feature: OsmFeature) -> dict[str, str]:
    """Tags that decide the class: of a closed way that is an area with a line along its edge, those of the one or of
    the other. A multipolygon is an area whatever its tags are."""
    if feature.osm_id[0] != "w":
        return feature.tags
    if feature.kind == "area":
        return area_tags(feature.tags)
    if is_area(feature.tags) and shapely.is_closed(feature.geometry):
        return edge_tags(feature.tags)
    return feature.tags


def _vector_feature(one: _Drawn, metre: float, square: float) -> VectorFeature:
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


@lru_cache(maxsize=64)
def _from_lonlat(epsg: int) -> pyproj.Transformer:
    return pyproj.Transformer.from_crs(4326, epsg, always_xy=True)


def _to_crs(shapes: NDArray[np.object_], epsg: int) -> NDArray[np.object_]:
    transformer = _from_lonlat(epsg)

    def move(lonlat: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.column_stack(transformer.transform(lonlat[:, 0], lonlat[:, 1]))

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
