"""Burns the channels of a map: objects by their tags, each channel by itself."""

from __future__ import annotations

from datetime import UTC, datetime, time
from typing import TYPE_CHECKING

import numpy as np
import shapely
from rasterio.features import rasterize
from rasterio.transform import Affine

from pipelines.labels.clip import as_json
from pipelines.labels.osm_classes import class_of_line
from sampling.geobox import lonlat_bbox
from schemas.osm_channels import ARRAY, LAYER, matches
from schemas.outcome import Outcome, Reason
from schemas.stack import Observation

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray
    from shapely.geometry.base import BaseGeometry

    from pipelines.access.openstreetmap.extract import Extract
    from pipelines.access.openstreetmap.features import OsmFeature
    from pipelines.labels.clip import Drawn
    from schemas.label import VectorLayer
    from schemas.osm_channels import Channel
    from schemas.place import GeoBox, Place


def burn(
    channels: Mapping[str, Channel],
    drawn: Sequence[Drawn],
    grid: GeoBox,
    tags_of: Callable[[OsmFeature], dict[str, str]],
) -> NDArray[np.uint8]:
    """(channel, y, x), 1 where an object of the channel lies: an area over the pixel's centre, a line with the width
    that lines of its class have (else one pixel thin), the pixel of a point.

    Args:
        channels: what lies in each.
        drawn: objects in the grid's CRS.
        grid: the pixels.
        tags_of: the tags that say what an object is.
    """
    drawable = [(tags_of(one.feature), _shape(one)) for one in drawn]
    drawable = [(tags, shape) for tags, shape in drawable if not shape.is_empty]
    shapes = list(zip((tags for tags, _ in drawable), as_json([shape for _, shape in drawable]), strict=True))
    found = np.zeros((len(channels), *grid.shape), np.uint8)
    for out, channel in zip(found, channels.values(), strict=True):
        chosen = [shape for tags, shape in shapes if matches(channel, tags)]
        if chosen:
            rasterize(chosen, out=out, transform=Affine(*grid.transform), default_value=1, all_touched=False)
    return found


def _shape(one: Drawn) -> BaseGeometry:
    rule = class_of_line(one.feature.tags) if one.feature.kind == "line" else None
    return one.near if rule is None else shapely.buffer(one.near, rule[1] / 2, cap_style="flat")


def observed(place: Place, vectors: VectorLayer, pixels: NDArray[np.uint8], extract: Extract) -> Observation | Outcome:
    """The channels of a sample; an outcome where it is not inside the extract: there the map says nothing."""
    west, south, east, north = lonlat_bbox(place.geobox)
    held = extract.bounds
    if held is not None and (west < held[0] or south < held[1] or east > held[2] or north > held[3]):
        return Outcome(
            sample_id=place.sample_id,
            layer=LAYER,
            slot=0,
            reason=Reason.LABEL_MISSING,
            detail=f"the sample is not wholly inside {extract.file}",
        )
    return Observation(
        modality=LAYER,
        slot=0,
        datetime=datetime.combine(vectors.snapshot, time(), UTC) if extract.dated else extract.snapshot,
        arrays={ARRAY: pixels},
        valid=np.ones(pixels.shape[-2:], np.bool_),
        cloud=None,
        valid_fraction=1.0,
        cloud_fraction=None,
        item_ids=(extract.name,),
        provider="",
        radiometry={},
        resampling={ARRAY: "none"},
        licence=vectors.licence,
    )
