"""OpenStreetMap: clips objects of an extract to the sample; gives a class raster and a list of objects with tags."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import shapely
from rasterio.features import rasterize
from rasterio.transform import Affine

from pipelines.access.openstreetmap.objects import id_order
from pipelines.access.openstreetmap.rules import area_tags, edge_tags, is_area
from pipelines.labels.clip import Drawn, as_json, project, vector_features
from pipelines.labels.labeller import VectorLabeller
from pipelines.labels.osm_channels import burn
from pipelines.labels.osm_classes import CODE, LEGEND, PAINT_ORDER, class_of_area, class_of_line
from schemas.crs import ground_scale
from schemas.label import LabelMap, VectorLayer
from schemas.label_source import OpenStreetMapLabel

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date, datetime

    from numpy.typing import NDArray
    from shapely.geometry.base import BaseGeometry

    from pipelines.access.openstreetmap.extract import Extract
    from pipelines.access.openstreetmap.features import OsmFeature
    from schemas.place import GeoBox, Place


class OpenStreetMap(VectorLabeller[OpenStreetMapLabel]):
    """OpenStreetMap with the recipe's settings."""

    product = LEGEND

    def map_day(self, extract: Extract, image: datetime | None) -> date | None:
        """The recipe's day, or the image's; the last one of the history for a later image or a sample without one."""
        end = extract.snapshot.date()
        if not extract.dated:
            return None
        if self.config.date != "image":
            return self.config.date
        return None if image is None or image.date() >= end else image.date()

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
        snapshot = self.map_day(extract, reference_time) or extract.snapshot.date()
        label = LabelMap(
            label=self.name,
            classes=classes,
            valid=classes != LEGEND.nodata,
            legend=self.legend,
            version=snapshot.isoformat(),
            year=snapshot.year,
            date_gap_days=None if reference_time is None else abs((reference_time.date() - snapshot).days),
            item_ids=(extract.name,),
            licence=self.config.licence,
        )
        metre, square = ground_scale(place.geobox.epsg, place.lon, place.lat)
        ordered = tuple(sorted(vector_features(drawn, metre, square), key=lambda f: id_order(f.osm_id, f.kind)))
        channels = None
        if self.config.channels:
            channels = burn(self.config.channels, drawn, place.geobox.at(resolution_m), _class_tags)
        return label, VectorLayer(features=ordered, snapshot=snapshot, licence=self.config.licence, channels=channels)


def draw(drawn: Sequence[Drawn], grid: GeoBox) -> NDArray[np.uint8]:
    """(y, x) class codes on the grid, `LEGEND.nodata` where nothing is mapped; what covers a pixel's centre counts."""
    areas: list[tuple[float, str, BaseGeometry, int]] = []
    over: dict[str, list[tuple[BaseGeometry, int]]] = {name: [] for name in PAINT_ORDER}
    lines: list[tuple[BaseGeometry, str, float]] = []
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
                lines.append((one.near, *rule))
    wide = shapely.buffer([shape for shape, _, _ in lines], [metres / 2 for _, _, metres in lines], cap_style="flat")
    for shape, (_, name, _) in zip(wide, lines, strict=True):
        over[name].append((shape, CODE[name]))
    shapes = [(shape, code) for _, _, shape, code in sorted(areas, key=lambda a: a[:2])]
    shapes += [pair for name in PAINT_ORDER for pair in over[name]]
    shapes = [(shape, code) for shape, code in shapes if not shape.is_empty]
    if not shapes:
        return np.full(grid.shape, LEGEND.nodata, dtype=np.uint8)
    burnt: NDArray[np.uint8] = rasterize(
        zip(as_json([shape for shape, _ in shapes]), (code for _, code in shapes), strict=True),
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
