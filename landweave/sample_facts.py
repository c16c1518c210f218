"""Facts of a stored sample: what one of its arrays or tables says, by the name that a claim gives it as its source."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np

from landweave.errors import CorruptError
from landweave.facts import (
    COMMON,
    REGIONS,
    objects_of,
    place_words,
    region_shares,
    relief,
    road_length_of,
    season_of,
    shares_of,
    terrain_of,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from landweave.sample import Sample

ENOUGH_SURE = 0.9
"""Nothing is said of the land cover of a part of the scene (or of the whole) where less than this share of its pixels
has a class that is sure enough. A choice of ours: what is left out then moves no share by more than ten points."""
_SURE = re.compile(r"classes\?confidence>=(0(?:\.\d{1,4})?|1(?:\.0{1,4})?)")


def sure_classes(label: str, sure: float) -> str:
    """Name of the source 'classes of a label, where its confidence is at least `sure` (0..1)'."""
    return f"{label}/classes?confidence>={sure:g}"


def facts_from(sample: Sample, size_m: float, source: str) -> dict[str, Any]:
    """Fields of `landweave.facts.Facts` that one array or table gives.

    Args:
        sample: the sample.
        size_m: edge of its footprint, metres.
        source: 'catalogue', 'GROUP/vectors', 'GROUP/datetimes/SLOT', 'LABEL/classes', 'LABEL/classes?confidence>=0.8',
            or an array of elevations.

    Raises:
        AbsentError: nothing was obtained for it. UnknownNameError: the dataset has no such array.
        CorruptError: the shard is damaged.
    """
    group, _, rest = source.partition("/")
    if source == "catalogue":
        return {"place": place_words(sample.lonlat[1]), "size_m": round(size_m)}
    if rest == "vectors":
        return _map(sample, group)
    if rest.startswith("datetimes/"):
        return _time(sample, group, rest.partition("/")[2])
    if rest == "classes":
        common = _common(sample, group)
        return {"overall": shares_of(common), "regions": region_shares(common)}
    sure = _SURE.fullmatch(rest)
    return _ground(sample, size_m, source) if sure is None else _sure(sample, group, float(sure[1]))


def _common(sample: Sample, label: str) -> NDArray[np.uint8]:
    """(y, x) codes of `COMMON`."""
    codes = np.asarray(sample[f"{label}/classes"])
    found = np.zeros(codes.shape, np.uint8)
    for kind in sample.legend(label):
        found[codes == kind.code] = COMMON.index(kind.common) if kind.common in COMMON else 0
    return found


def _sure(sample: Sample, label: str, sure: float) -> dict[str, Any]:
    """Shares of the pixels that are sure; none for the parts of the scene where too few are."""
    common = _common(sample, label)
    common[np.asarray(sample.physical(f"{label}/confidence")) < np.float32(sure)] = 0
    shares = region_shares(common)
    marks = region_shares(np.where(common > 0, 1, 2).astype(np.uint8))
    enough = {name for name in REGIONS if _first_share(marks.get(name, ())) >= ENOUGH_SURE}
    whole = bool(common.size) and float((common > 0).mean()) >= ENOUGH_SURE
    return {
        "overall": shares_of(common) if whole else (),
        "regions": {name: found for name, found in shares.items() if name in enough},
    }


def _first_share(marks: Any) -> float:
    """Share of the mark 1 among both."""
    pixels = {share.name: share.pixels for share in marks}
    total = sum(pixels.values())
    return pixels.get(COMMON[1], 0) / total if total else 0.0


def _map(sample: Sample, label: str) -> dict[str, Any]:
    rows = sample.vectors(label).select(["osm_id", "kind", "tags", "length_m"]).to_pylist()
    tags = [dict(row["tags"] or ()) for row in rows]
    lines = [(t, row["length_m"] or 0.0) for t, row in zip(tags, rows, strict=True) if row["kind"] == "line"]
    objects = objects_of((row["osm_id"], t) for t, row in zip(tags, rows, strict=True))
    return {"objects": objects, "road_length_m": road_length_of(lines)}


def _time(sample: Sample, modality: str, slot: str) -> dict[str, Any]:
    times = sample.datetimes(modality)
    when = times[int(slot)] if slot.isdecimal() and int(slot) < len(times) else None
    if when is None:
        raise CorruptError(f"sample {sample.id} has no image {modality} in slot {slot}")
    return {"month": when.month, "year": when.year, "season": season_of(when.month, sample.lonlat[1])}


def _ground(sample: Sample, size_m: float, source: str) -> dict[str, Any]:
    elevation = np.asarray(sample[source], np.float64)
    elevation = elevation.reshape(elevation.shape[-2:])
    valid = sample.get(f"{source.partition('/')[0]}/valid")
    if valid is not None and np.shape(valid) == elevation.shape:
        elevation = np.where(valid, elevation, np.nan)
    low, high, slope = terrain_of(elevation, size_m / elevation.shape[1])
    word = None if low is None or high is None or slope is None else relief(high - low, slope)
    return {"elevation_min_m": low, "elevation_max_m": high, "slope_mean_deg": slope, "relief": word}
