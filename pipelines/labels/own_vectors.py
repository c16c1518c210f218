"""Vectors of the user's own: classes by a column, burnt as GDAL burns them, and the features of each sample."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING

import numpy as np
import shapely
from rasterio.features import rasterize
from rasterio.transform import Affine

from pipelines.access.openstreetmap.objects import id_order
from pipelines.access.vectors.periods import Periods
from pipelines.crosswalks import legend_of_choice
from pipelines.labels.clip import Drawn, as_json, project, to_crs, vector_features
from pipelines.labels.labeller import VectorLabeller
from schemas.crosswalk import MOST_CODE
from schemas.crs import ground_scale
from schemas.label import LabelClass, LabelMap, Legend, VectorFeature, VectorLayer
from schemas.vector_label import ONE_CLASS, VectorLabel

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date, datetime

    from numpy.typing import NDArray
    from shapely.geometry.base import BaseGeometry

    from pipelines.access.openstreetmap.extract import Extract
    from pipelines.access.openstreetmap.features import OsmFeature
    from schemas.place import GeoBox, Place

_EDGE_POINTS = 16
"""Points along an edge of the file's extent, which is a box in degrees."""


class OwnVectors(VectorLabeller[VectorLabel]):
    """A file of vectors with the recipe's settings."""

    @property
    def legend(self) -> Legend:
        """The recipe's legend; the first number that is no class means 'no label here'."""
        if self.config.crosswalk is not None:
            return legend_of_choice(self.config.crosswalk)
        classes = tuple(
            LabelClass(code=c.code, name=c.name, colour=c.colour, common=c.common)
            for c in sorted(self.config.classes, key=lambda c: c.code)
        )
        classes = classes or (LabelClass(code=1, name=ONE_CLASS, colour="#e6550d", common="unknown"),)
        codes = {c.code for c in classes}
        return Legend(
            product=self.config.product or self.name,
            nodata=next(code for code in range(MOST_CODE + 2) if code not in codes),
            source="the recipe",
            classes=classes,
        )

    def layers(
        self,
        place: Place,
        resolution_m: float,
        features: Sequence[OsmFeature],
        extract: Extract,
        reference_time: datetime | None,
    ) -> tuple[LabelMap, VectorLayer]:
        """The features of a sample, and their classes on its grid.

        Args:
            place: the sample.
            resolution_m: pixel edge of the raster, metres.
            features: those that may touch it, from `FeatureStore.within`.
            extract: the prepared file.
            reference_time: time of the image that is labelled, None without one.

        Without a date, of the label or of an image, the sample has no class and no feature.
        """
        moment, grid = self.moment(place, reference_time), place.geobox.at(resolution_m)
        there = [] if moment is None else self._there(features, moment.date())
        drawn = project(there, place.geobox, max(2.0 * resolution_m, self.config.width_m or 0.0))
        legend, day = self.legend, extract.snapshot.date() if moment is None else moment.date()
        classes = np.full(grid.shape, legend.nodata, legend.dtype) if moment is None else (
            self._burnt(drawn, grid, extract)
        )  # fmt: skip
        label = LabelMap(
            label=self.name,
            classes=classes,
            valid=classes != legend.nodata,
            legend=legend,
            version=day.isoformat(),
            year=day.year,
            date_gap_days=None if reference_time is None else abs((reference_time.date() - day).days),
            item_ids=(extract.name,),
            licence=self.config.licence,
        )
        scale = ground_scale(place.geobox.epsg, place.lon, place.lat)
        found = map(self._kept, vector_features(drawn, *scale)) if self.config.objects else ()
        ordered = tuple(sorted(found, key=lambda f: id_order(f.osm_id, f.kind)))
        return label, VectorLayer(features=ordered, snapshot=day, licence=self.config.licence)

    def _there(self, features: Sequence[OsmFeature], day: date) -> Sequence[OsmFeature]:
        """The features that are there on a day."""
        if not self.config.dated:
            return features
        periods = Periods(begins=self.config.begins, until=self.config.until)
        return [feature for feature in features if periods.holds(feature.tags, day)]

    def why_none(self, extract: Extract, objects: int, place: Place, image: datetime | None) -> str:
        """Why a sample has no class, in words."""
        moment = self.moment(place, image)
        if moment is None:
            said = "no image has a date here" if self.config.date is None else f"{self.config.date} has no value here"
            return f"{extract.file} gives no class here: {said}"
        if not self.config.dated:
            return super().why_none(extract, objects, place, image)
        return f"{extract.file} gives no class here on {moment:%Y-%m-%d} ({objects} objects that are there then)"

    def _kept(self, made: VectorFeature) -> VectorFeature:
        chosen = self.config.attributes
        if chosen is None:
            return made
        return dataclasses.replace(made, tags={k: v for k, v in made.tags.items() if k in chosen})

    def _burnt(self, drawn: Sequence[Drawn], grid: GeoBox, extract: Extract) -> NDArray[np.unsignedinteger]:
        """(y, x) codes, what is on top last: as GDAL's rasterize in the order of `_order`."""
        legend = self.legend
        shapes = [
            (self._shape(one), code) for one in sorted(drawn, key=self._order) if (code := self._code(one)) is not None
        ]
        shapes = [(shape, code) for shape, code in shapes if not shape.is_empty]
        if self.config.background is not None and extract.bounds is not None:
            ground = to_crs(np.array([_outline(extract.bounds)], dtype=object), grid.epsg)[0]
            shapes.insert(0, (ground, self.config.names[self.config.background]))
        if not shapes:
            return np.full(grid.shape, legend.nodata, legend.dtype)
        burnt: NDArray[np.unsignedinteger] = rasterize(
            zip(as_json([shape for shape, _ in shapes]), (code for _, code in shapes), strict=True),
            out_shape=grid.shape,
            transform=Affine(*grid.transform),
            fill=legend.nodata,
            all_touched=self.config.all_touched,
            dtype=legend.dtype,
        )
        return burnt

    def _shape(self, one: Drawn) -> BaseGeometry:
        if one.feature.kind == "area" or self.config.width_m is None:
            return one.near
        return shapely.buffer(
            one.near, self.config.width_m / 2, cap_style="flat" if one.feature.kind == "line" else "round"
        )

    def _code(self, one: Drawn) -> int | None:
        if self.config.column is None:
            return self.config.one_code
        said = one.feature.tags.get(self.config.column)
        return self.config.other_code if said is None else self.config.codes.get(said, self.config.other_code)

    def _order(self, one: Drawn) -> tuple[int, float, float, tuple[str, int, bool]]:
        """Sort key: the last is on top."""
        names = {code: name for name, code in self.config.names.items()}
        name, over = names.get(self._code(one) or -1), self.config.over
        said = one.feature.tags.get(self.config.priority or "")
        try:
            priority = -math.inf if said is None else float(said)
        except ValueError:
            priority = -math.inf
        above = over.index(name) + 1 if name in over else 0
        return above, priority, -one.whole_deg2, id_order(one.feature.osm_id, one.feature.kind)


def _outline(bounds: tuple[float, float, float, float]) -> BaseGeometry:
    """Box in degrees with points along its edges, which are not straight elsewhere."""
    west, south, east, north = bounds
    step = max(east - west, north - south) / _EDGE_POINTS
    box = shapely.box(west, south, east, north)
    return shapely.segmentize(box, step) if step > 0.0 else box
