"""Weak labels: land-cover products and map objects on a sample's grid, with version, year and crosswalk."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, assert_never

from schemas.label_source import DynamicWorldLabel, ObjectLabel, RasterLabel, WorldCoverLabel
from schemas.vector_label import VectorLabel

if TYPE_CHECKING:
    from pipelines.labels.labeller import Labeller, RasterLabeller, VectorLabeller
    from schemas.label import Legend
    from schemas.label_source import RasterLabelEntry, ReadLabel


def open_labeller(label: ReadLabel) -> Labeller[Any]:
    """The labeller of one entry of the recipe's `labels`: of objects of a file, or of rasters."""
    if isinstance(label, ObjectLabel):
        return open_vector_labeller(label)
    return open_raster_labeller(label)


def open_raster_labeller(label: RasterLabelEntry) -> RasterLabeller[Any]:
    """The labeller of a product with rasters in an archive."""
    match label:
        case WorldCoverLabel():
            from pipelines.labels.worldcover import WorldCover

            return WorldCover(label)
        case DynamicWorldLabel():
            from pipelines.labels.dynamicworld import DynamicWorld

            return DynamicWorld(label)
        case RasterLabel():
            from pipelines.labels.custom_raster import CustomRaster

            return CustomRaster(label)
        case _:
            assert_never(label)


def open_vector_labeller(label: ObjectLabel) -> VectorLabeller[Any]:
    """The labeller of a map extract, or of the user's own vectors."""
    if isinstance(label, VectorLabel):
        from pipelines.labels.own_vectors import OwnVectors

        return OwnVectors(label)
    from pipelines.labels.openstreetmap import OpenStreetMap

    return OpenStreetMap(label)


def legend_of(label: ReadLabel) -> Legend:
    """Legend of a label layer: codes, names, colours, crosswalk."""
    return open_labeller(label).legend
