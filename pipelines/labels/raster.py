"""Turns pixels of a label product into a label map: checks codes, fills gaps with nodata, computes the date gap."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pipelines.labels.footprint import covered_share
from schemas.label import LabelMap, Legend
from schemas.scene import Candidate, newest_revisions

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from numpy.typing import NDArray

    from schemas.label_date import LabelPick
    from schemas.place import Place
    from schemas.scene import Scene


@dataclass(frozen=True, kw_only=True)
class LabelChip:
    """Pixels of a label product as read onto one sample's grid."""

    classes: NDArray[np.generic]
    """(y, x), numbers as delivered, nearest neighbour."""
    valid: NDArray[np.bool_]
    """(y, x), True = the raster covers this pixel and holds no fill there."""


class UnknownCodeError(ValueError):
    """A raster holds a class code that its legend does not know; the message is one line."""


def gap_days(scene: Scene, reference_time: datetime | None) -> int | None:
    """Whole days from the scene's period to the image, 0 inside it; None without an image."""
    if reference_time is None:
        return None
    if reference_time < scene.start:
        return int((scene.start - reference_time).total_seconds() // 86_400)
    if reference_time > scene.end:
        return int((reference_time - scene.end).total_seconds() // 86_400)
    return 0


def picked(scenes: Sequence[Scene], when: datetime, pick: LabelPick) -> list[Scene]:
    """Maps that may serve for a date; which of them is the best, `candidates` decides by nearness.

    Args:
        scenes: maps with their periods.
        when: the date.
        pick: same: its period holds the day, or it is of one moment of the same year; before: it begins until that
            day; after: it ends from that day on; nearest: any.
    """
    day = when.date()

    def fits(one: Scene) -> bool:
        match pick:
            case "same":
                held = one.start.date() <= day <= one.end.date()
                return held or (one.start == one.end and one.start.year == day.year)
            case "before":
                return one.start.date() <= day
            case "after":
                return one.end.date() >= day
        return True

    return [scene for scene in scenes if fits(scene)]


def one_per_period(scenes: Sequence[Scene], place: Place, reference_time: datetime | None) -> list[Candidate]:
    """One candidate per acquisition with every scene of it that touches the sample, nearest to the image first."""
    periods: dict[str, list[tuple[float, Scene]]] = {}
    for scene in newest_revisions(scenes):
        share = covered_share(scene.geometry, place.geobox)
        if share > 0:
            periods.setdefault(scene.acquisition, []).append((share, scene))
    found = []
    for maps in periods.values():
        maps.sort(key=lambda pair: (-pair[0], pair[1].item_id))
        first = maps[0][1]
        rank = (float(gap_days(first, reference_time) or 0), -first.start.timestamp())
        found.append(Candidate(scenes=tuple(s.item_id for _, s in maps), datetime=first.datetime, rank=rank))
    return sorted(found, key=lambda candidate: candidate.rank)


def label_map(
    legend: Legend,
    scene: Scene,
    chip: LabelChip,
    *,
    name: str,
    item_ids: tuple[str, ...],
    reference_time: datetime | None,
    nodata: int | None = None,
) -> LabelMap:
    """A label map from pixels (y, x) as delivered; those without a label become `legend.nodata`.

    `nodata` is the raster's own number for them, where it is another than the legend's.

    Raises:
        UnknownCodeError: a valid pixel holds a code that the legend does not know: another product, or another version.
    """
    if chip.classes.ndim != 2 or chip.classes.shape != chip.valid.shape:
        raise ValueError(
            f"{name}: expected classes and valid of one shape (y, x), got {chip.classes.shape} and {chip.valid.shape}"
        )
    valid = chip.valid & (chip.classes != (legend.nodata if nodata is None else nodata))
    for fill in legend.fills:
        valid &= chip.classes != fill
    known = np.array([c.code for c in legend.classes])
    strange = np.setdiff1d(np.unique(chip.classes[valid]), known)
    if strange.size:
        raise UnknownCodeError(
            f"{scene.item_id}: class code {strange[0]} is not in the legend of {legend.product} "
            f"({', '.join(str(c.code) for c in legend.classes)})"
        )
    classes = np.full(valid.shape, legend.nodata, legend.dtype)
    classes[valid] = chip.classes[valid].astype(legend.dtype)
    return LabelMap(
        label=name,
        classes=classes,
        valid=valid,
        legend=legend,
        version=str(scene.facts["product_version"]),
        year=scene.start.year,
        date_gap_days=gap_days(scene, reference_time),
        item_ids=item_ids,
        licence=scene.licence,
    )
