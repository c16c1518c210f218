"""Reads one label layer for many samples: rasters scene by scene, or objects of an extract place by place.

The same rules as for sensors (`pipelines.sources.read_shard`): a temporary failure makes the label absent with that
reason, so that a later run gives the same result as a clean run; after a permanent failure the next candidate is read.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pipelines.access.chips import ChipRequest
from pipelines.access.http.client import AccessError
from pipelines.access.openstreetmap.features import FeatureStore
from pipelines.labels.footprint import lonlat_bbox
from pipelines.labels.labeller import BAND, LabelChip, UnknownCodeError
from schemas.outcome import Outcome, Reason

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from pipelines.access.chips import Chip, ChipReader
    from pipelines.access.openstreetmap.extract import Extract
    from pipelines.labels.labeller import RasterLabeller, VectorLabeller
    from schemas.label import LabelMap, VectorLayer
    from schemas.place import Place
    from schemas.recipe import Recipe
    from schemas.scene import Candidate, Scene


@dataclass(frozen=True, kw_only=True, slots=True)
class Assignment:
    """One requested label of a place."""

    place: Place
    """The sample."""
    candidates: tuple[Candidate, ...] = ()
    """Maps that the plan found, best first; () for an extract."""
    reference_time: datetime | None = None
    """Time of the image that is labelled; None without a dated image."""


@dataclass(slots=True)
class _Wish:
    assignment: Assignment
    waiting: list[tuple[Scene, ...]]
    candidates: list[Candidate]
    lost: list[Outcome] = field(default_factory=list)
    result: LabelMap | Outcome | None = None


def gather(
    labeller: RasterLabeller,
    recipe: Recipe,
    assignments: Sequence[Assignment],
    scenes: Mapping[str, Scene],
    reader: Callable[[str], ChipReader],
) -> list[LabelMap | Outcome]:
    """Label maps of one raster product for the samples of a shard.

    Args:
        labeller: The product.
        recipe: For the resolution.
        assignments: Wishes, neighbours together.
        scenes: Item id -> scene, for all item ids of the candidates.
        reader: Provider name -> its reader (`Archives.reader`).

    Returns:
        In the order of the assignments: the map, or why there is none. A map has at least one valid pixel.
    """
    wishes = [
        _Wish(a, [tuple(scenes[i] for i in c.scenes) for c in a.candidates], list(a.candidates)) for a in assignments
    ]
    resolution_m = recipe.resolution_of(labeller.name, None)
    while pending := [w for w in wishes if w.result is None]:
        _read_best(labeller, resolution_m, pending, reader)
    return [w.result for w in wishes if w.result is not None]


def gather_objects(
    labeller: VectorLabeller, recipe: Recipe, assignments: Sequence[Assignment], extract: Extract
) -> list[tuple[LabelMap | Outcome, VectorLayer]]:
    """Class rasters and objects of one extract for the samples of a shard, in the order of the assignments.

    Where nothing that the legend knows is mapped, the raster is the outcome `label_missing`; the objects (perhaps none)
    are given all the same.
    """
    resolution_m = recipe.resolution_of(labeller.name, None)
    found: list[tuple[LabelMap | Outcome, VectorLayer]] = []
    with FeatureStore(extract.parquet) as store:
        for a in assignments:
            features = store.within(lonlat_bbox(a.place.geobox), whole=False)
            label, vectors = labeller.layers(a.place, resolution_m, features, extract, a.reference_time)
            if label.valid.any():
                found.append((label, vectors))
                continue
            detail = f"the extract has no map here ({len(vectors.features)} objects); is the place inside the extract?"
            detail = " ".join(filter(None, (detail, lost_of(extract))))
            found.append((_outcome(labeller.name, a.place, (), Reason.LABEL_MISSING, detail), vectors))
    return found


def lost_of(extract: Extract) -> str:
    """Objects of an extract near the samples that could not be drawn, for the ledger; '' if there are none."""
    lost = ", ".join(f"{words} {number:,}" for words, number in extract.lost.items())
    return f"not drawn, of {extract.file} near the samples: {lost}" if lost else ""


def _read_best(
    labeller: RasterLabeller, resolution_m: float, wishes: Sequence[_Wish], reader: Callable[[str], ChipReader]
) -> None:
    """Read the next candidate of each request; finish the requests that are decided."""
    plan: dict[str, list[tuple[_Wish, tuple[Scene, ...], Candidate]]] = defaultdict(list)
    for wish in wishes:
        if not wish.waiting:
            wish.result = wish.lost[0] if wish.lost else _nothing(labeller, wish)
            continue
        scenes = wish.waiting.pop(0)
        plan[scenes[0].provider].append((wish, scenes, wish.candidates.pop(0)))
    for provider in sorted(plan):
        requests = [
            _request(labeller, scenes, wish.assignment.place, resolution_m) for wish, scenes, _ in plan[provider]
        ]
        chips = reader(provider).read_chips(requests)
        for (wish, scenes, candidate), chip in zip(plan[provider], chips, strict=True):
            _settle(labeller, wish, scenes, candidate, chip)


def _request(labeller: RasterLabeller, scenes: Sequence[Scene], place: Place, resolution_m: float) -> ChipRequest:
    first = scenes[0]
    nodata = first.radiometry[BAND].nodata
    return ChipRequest(
        hrefs=tuple(s.assets[BAND].href for s in scenes),
        bands=(first.assets[BAND].index,),
        geobox=place.geobox.at(resolution_m),
        kernel="nearest",
        fill=() if nodata is None else (nodata,),
        epsgs=tuple(_epsg(s) for s in scenes),
        beside=True,
        reduce=labeller.reduce,
    )


def _epsg(scene: Scene) -> int | None:
    said = scene.facts.get("crs")
    return int(said.removeprefix("EPSG:")) if isinstance(said, str) and said.startswith("EPSG:") else None


def _settle(
    labeller: RasterLabeller,
    wish: _Wish,
    scenes: tuple[Scene, ...],
    candidate: Candidate,
    chip: Chip | AccessError,
) -> None:
    place = wish.assignment.place
    if isinstance(chip, AccessError):
        outcome = _outcome(labeller.name, place, scenes, chip.reason, chip.detail)
        if chip.reason.retryable:
            wish.result = outcome
        else:
            wish.lost.append(outcome)
        return
    try:
        read = LabelChip(classes=chip.pixels[0], valid=chip.valid[0])
        by_id = {s.item_id: s for s in scenes}
        label = labeller.label(place, candidate, by_id, read, wish.assignment.reference_time)
    except UnknownCodeError as error:
        wish.lost.append(_outcome(labeller.name, place, scenes, Reason.BAD_ITEM, str(error)))
        return
    if label.valid.any():
        wish.result = label
    else:
        detail = f"{labeller.legend.product} holds no label on this chip"
        wish.lost.append(_outcome(labeller.name, place, scenes, Reason.LABEL_MISSING, detail))


def _nothing(labeller: RasterLabeller, wish: _Wish) -> Outcome:
    detail = f"the archive has no map of {labeller.legend.product} for this place and time"
    return _outcome(labeller.name, wish.assignment.place, (), Reason.LABEL_MISSING, detail)


def _outcome(layer: str, place: Place, scenes: Sequence[Scene], reason: Reason, detail: str) -> Outcome:
    return Outcome(
        sample_id=place.sample_id,
        layer=layer,
        slot=0,
        reason=reason,
        provider=scenes[0].provider if scenes else None,
        item_ids=tuple(s.item_id for s in scenes),
        detail=detail,
    )
