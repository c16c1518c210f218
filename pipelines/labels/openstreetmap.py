"""OpenStreetMap: clips objects of an extract to the sample; gives a class raster and a list of objects with tags."""

from __future__ import annotations

from datetime import date
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
from schemas.label import EDITED_SINCE, LabelMap, VectorLayer
from schemas.label_source import OpenStreetMapLabel

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from numpy.typing import NDArray
    from shapely.geometry.base import BaseGeometry

    from pipelines.access.openstreetmap.extract import Extract
    from pipelines.access.openstreetmap.features import OsmFeature
    from schemas.place import GeoBox, Place


_UNMAPPED, _BEFORE, _LATER, _UNKNOWN = 0, 1, 2, 3
"""Whether a pixel's object was edited after a day."""
_EDITS = 256
"""A class and an edit are drawn as one number: class + _EDITS * edit."""


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
        that lies in the footprint, whatever its tags are. The measure `edited_since` is the share of the valid pixels
        whose object was edited on a later day (UTC) than that of the image; None without an image, or where one of
        these objects does not say when it was edited.

        Args:
            place: the sample.
            resolution_m: pixel edge of the raster, metres.
            features: objects that may touch it, from `FeatureStore.within`.
            extract: where they come from.
            reference_time: time of the image that is labelled, None without one.
        """
        drawn = project(features, place.geobox)
        day = None if reference_time is None else reference_time.date()
        classes, edits = draw(drawn, place.geobox.at(resolution_m), day)
        snapshot = self.map_day(extract, reference_time) or extract.snapshot.date()
        label = LabelMap(
            label=self.name,
            classes=classes,
            valid=classes != LEGEND.nodata,
            legend=self.legend,
            version=snapshot.isoformat(),
            year=snapshot.year,
            date_gap_days=None if day is None else abs((day - snapshot).days),
            item_ids=(extract.name,),
            licence=self.config.licence,
            measures={EDITED_SINCE: None if day is None else edited_share(edits)},
        )
        metre, square = ground_scale(place.geobox.epsg, place.lon, place.lat)
        ordered = tuple(sorted(vector_features(drawn, metre, square), key=lambda f: id_order(f.osm_id, f.kind)))
        channels = None
        if self.config.channels:
            channels = burn(self.config.channels, drawn, place.geobox.at(resolution_m), _class_tags)
        return label, VectorLayer(features=ordered, snapshot=snapshot, licence=self.config.licence, channels=channels)


def edited_share(edits: NDArray[np.uint8]) -> float | None:
    """Share of the mapped pixels whose object was edited later; None where nothing is mapped, or an edit is not known.

    Args:
        edits: (y, x) from `draw`.
    """
    mapped = np.bincount(edits.ravel(), minlength=_UNKNOWN + 1)[_UNMAPPED + 1 :]
    if mapped[_UNKNOWN - 1] or not mapped.any():
        return None
    return float(mapped[_LATER - 1] / mapped.sum())


def draw(drawn: Sequence[Drawn], grid: GeoBox, day: date | None = None) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Classes on a grid, and whether the object of each pixel was edited after a day; what covers its centre counts.

    Returns:
        (y, x) class codes, `LEGEND.nodata` where nothing is mapped.
        (y, x) 0 where nothing is mapped, 1 where the object was not edited later, 2 where it was, 3 where that is not
        known; without a day 1 for all objects.
    """
    number = None if day is None else (day - date(1970, 1, 1)).days
    areas: list[tuple[float, str, BaseGeometry, int]] = []
    over: dict[str, list[tuple[BaseGeometry, int]]] = {name: [] for name in PAINT_ORDER}
    lines: list[tuple[BaseGeometry, str, float, int]] = []
    for one in drawn:
        edit = _edit(one.feature.edited, number) * _EDITS
        if one.feature.kind == "area":
            name = class_of_area(_class_tags(one.feature))
            if name == "Building":
                over[name].append((one.near, CODE[name] + edit))
            elif name is not None:
                areas.append((-one.whole_deg2, one.feature.osm_id, one.near, CODE[name] + edit))
        elif one.feature.kind == "line":
            rule = class_of_line(_class_tags(one.feature))
            if rule is not None:
                lines.append((one.near, *rule, edit))
    wide = shapely.buffer([line[0] for line in lines], [line[2] / 2 for line in lines], cap_style="flat")
    for shape, (_, name, _, edit) in zip(wide, lines, strict=True):
        over[name].append((shape, CODE[name] + edit))
    shapes = [(shape, code) for _, _, shape, code in sorted(areas, key=lambda a: a[:2])]
    shapes += [pair for name in PAINT_ORDER for pair in over[name]]
    shapes = [(shape, code) for shape, code in shapes if not shape.is_empty]
    if not shapes:
        return np.full(grid.shape, LEGEND.nodata, np.uint8), np.full(grid.shape, _UNMAPPED, np.uint8)
    burnt: NDArray[np.uint16] = rasterize(
        zip(as_json([shape for shape, _ in shapes]), (code for _, code in shapes), strict=True),
        out_shape=grid.shape,
        transform=Affine(*grid.transform),
        fill=LEGEND.nodata,
        all_touched=False,
        dtype="uint16",
    )
    return (burnt % _EDITS).astype(np.uint8), (burnt // _EDITS).astype(np.uint8)


def _edit(edited: int | None, day: int | None) -> int:
    """Whether an object was edited after a day, both since 1970-01-01."""
    if day is None:
        return _BEFORE
    return _UNKNOWN if edited is None else _LATER if edited > day else _BEFORE


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
