"""Derives facts from the stack of one sample: a small record with a hash."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np

from landweave.facts import (
    objects_of,
    place_words,
    region_shares,
    relief,
    road_length_of,
    season_of,
    shares_of,
    terrain_of,
)
from schemas.caption import ClassShare, Facts, facts_json

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray

    from landweave.facts import Share
    from schemas.label import LabelMap, VectorFeature
    from schemas.stack import Observation, Stack


MAP = "openstreetmap"
"""Layer whose objects captions speak of."""


def facts_of(stack: Stack, label: str | None) -> Facts:
    """The facts of one sample.

    Args:
        stack: what was obtained.
        label: name of the label layer that class shares come from; None, or one that is not there: no shares.
    """
    chosen = stack.labels.get(label) if label is not None else None
    common = None if chosen is None else _common(chosen)
    shares = () if common is None else _classes(shares_of(common))
    regions = {} if common is None else {r: _classes(found) for r, found in region_shares(common).items()}
    low, high, slope = _terrain(stack)
    when = None if stack.reference is None or stack.reference.composite else stack.reference.datetime
    features = stack.vectors[MAP].features if MAP in stack.vectors else None
    box = stack.place.geobox
    return Facts(
        label=None if chosen is None else label,
        overall=shares,
        regions=regions,
        objects=() if features is None else objects_of((f.osm_id, f.tags) for f in features),
        road_length_m=None if features is None else road_length_of(_lines(features)),
        elevation_min_m=low,
        elevation_max_m=high,
        slope_mean_deg=slope,
        relief=None if low is None or high is None or slope is None else relief(high - low, slope),
        season=None if when is None else season_of(when.month, stack.place.lat),
        month=None if when is None else when.month,
        year=None if when is None else when.year,
        place=place_words(stack.place.lat),
        size_m=round(box.width * box.resolution_m),
    )


def facts_for(stack: Stack, facts_from: str | None) -> Facts:
    """The stack's own facts, or those of the label layer `facts_from` (None: of the first layer it has)."""
    if stack.facts is not None:
        return stack.facts
    return facts_of(stack, facts_from if facts_from is not None else next(iter(stack.labels), None))


def facts_sha256(facts: Facts) -> str:
    """SHA-256 of the canonical JSON, lower-case hex."""
    return hashlib.sha256(facts_json(facts).encode()).hexdigest()


def _common(label: LabelMap) -> NDArray[np.uint8]:
    """(y, x) codes of COMMON_CLASSES, 0 where there is no label."""
    return label.legend.common(label.classes, label.valid)


def _classes(shares: Iterable[Share]) -> tuple[ClassShare, ...]:
    return tuple(ClassShare(name=s.name, percent=s.percent, pixels=s.pixels) for s in shares)


def _lines(features: Iterable[VectorFeature]) -> Iterator[tuple[dict[str, str], float]]:
    return ((f.tags, f.length_m) for f in features if f.kind == "line")


def ground_of(stack: Stack) -> Observation | None:
    """The observation that measures the elevation of the ground."""
    return next((o for _, o in sorted(stack.observations.items()) if o.terrain is not None), None)


def _terrain(stack: Stack) -> tuple[int | None, int | None, float | None]:
    """Lowest and highest elevation (whole metres) and mean slope (degrees), over measured pixels; None without any."""
    dem = ground_of(stack)
    if dem is None or dem.terrain is None:
        return None, None, None
    elevation = np.asarray(dem.arrays[dem.terrain], dtype=np.float64)
    elevation = elevation.reshape(elevation.shape[-2:])
    if dem.valid.shape == elevation.shape:
        elevation = np.where(dem.valid, elevation, np.nan)
    box = stack.place.geobox
    return terrain_of(elevation, box.width * box.resolution_m / elevation.shape[1])
