"""Reads one label layer for many samples: rasters scene by scene, or objects of an extract place by place.

What a failure means is said in `pipelines.reading`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pipelines.access.chips import ChipRequest
from pipelines.access.errors import AccessError
from pipelines.access.openstreetmap.features import FeatureStore
from pipelines.labels.labeller import BAND
from pipelines.labels.raster import LabelChip, UnknownCodeError
from pipelines.reading import Attempts, decide, read_chips
from sampling.geobox import lonlat_bbox
from schemas.label import LabelMap
from schemas.outcome import Reason

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from pipelines.access.chips import Chip, ChipReader
    from pipelines.access.openstreetmap.extract import Extract
    from pipelines.labels.labeller import RasterLabeller, VectorLabeller
    from schemas.label import VectorLayer
    from schemas.outcome import Outcome
    from schemas.place import Place
    from schemas.recipe import Recipe
    from schemas.scene import Candidate, Scene


@dataclass(frozen=True, kw_only=True, slots=True)
class LabelRequest:
    """One label to read."""

    place: Place
    """The sample."""
    candidates: tuple[Candidate, ...] = ()
    """Maps that the plan found, best first; () for an extract."""
    reference_time: datetime | None = None
    """Time of the image that is labelled; None without a dated image."""
    why: str = ""
    """Why none of the maps that the plan found can serve, where that is so."""


@dataclass(slots=True, kw_only=True)
class _Attempts(Attempts[LabelMap]):
    """Attempts at one label."""

    request: LabelRequest


def gather(
    labeller: RasterLabeller[Any],
    recipe: Recipe,
    requests: Sequence[LabelRequest],
    scenes: Mapping[str, Scene],
    reader: Callable[[str], ChipReader],
) -> list[LabelMap | Outcome]:
    """Label maps of one raster product for the samples of a shard.

    Args:
        labeller: The product.
        recipe: For the resolution.
        requests: Neighbours together.
        scenes: Item id -> scene, for all item ids of the candidates.
        reader: Provider name -> its reader (`Archives.reader`).

    Returns:
        In the order of the requests: the map, or why there is none. A map has at least one valid pixel.
    """
    attempts = [
        _Attempts(
            sample_id=r.place.sample_id,
            layer=labeller.name,
            slot=0,
            waiting=[tuple(scenes[i] for i in c.scenes) for c in r.candidates],
            request=r,
        )
        for r in requests
    ]
    resolution_m = recipe.resolution_of(labeller.name, None)
    decide(
        attempts,
        lambda turn: _read(labeller, resolution_m, turn, reader),
        lambda one: one.failed[0] if one.failed else _nothing(labeller, one),
    )
    return [one.result for one in attempts if one.result is not None]


def gather_objects(
    labeller: VectorLabeller[Any], recipe: Recipe, requests: Sequence[LabelRequest], extract: Extract
) -> list[tuple[LabelMap | Outcome, VectorLayer]]:
    """Class rasters and objects of one extract for the samples of a shard, in the order of the requests.

    Where nothing that the legend knows is mapped, the raster is the outcome `label_missing`; the objects (perhaps none)
    are given all the same.
    """
    resolution_m = recipe.resolution_of(labeller.name, None)
    found: list[tuple[LabelMap | Outcome, VectorLayer]] = []
    with FeatureStore(extract.parquet) as store:
        for r in requests:
            day = labeller.map_day(extract, r.reference_time)
            features = store.within(lonlat_bbox(r.place.geobox), whole=False, day=day)
            label, vectors = labeller.layers(r.place, resolution_m, features, extract, r.reference_time)
            if label.valid.any():
                found.append((label, vectors))
                continue
            detail = labeller.why_none(extract, len(vectors.features), r.place, r.reference_time)
            detail = " ".join(filter(None, (detail, lost_of(extract))))
            none = Attempts[LabelMap](sample_id=r.place.sample_id, layer=labeller.name, slot=0, waiting=[])
            found.append((none.absent((), Reason.LABEL_MISSING, detail), vectors))
    return found


def lost_of(extract: Extract) -> str:
    """Objects of an extract near the samples that could not be drawn, for the ledger; '' if there are none."""
    lost: dict[str, list[str]] = {}
    for (file, words), number in extract.lost.items():
        lost.setdefault(file, []).append(f"{words} {number:,}")
    return "; ".join(f"not drawn, of {file} near the samples: {', '.join(said)}" for file, said in lost.items())


def _read(
    labeller: RasterLabeller[Any],
    resolution_m: float,
    turn: Sequence[tuple[_Attempts, tuple[Scene, ...]]],
    reader: Callable[[str], ChipReader],
) -> None:
    """Read one candidate of each request; settle or drop it."""
    wanted = [(scenes[0].provider, [_chip(labeller, scenes, one.request.place, resolution_m)]) for one, scenes in turn]
    for (one, scenes), got in zip(turn, read_chips(wanted, reader), strict=True):
        if isinstance(got, AccessError):
            one.fail(scenes, got)
        else:
            _settle(labeller, one, scenes, got[0])


def _chip(labeller: RasterLabeller[Any], scenes: Sequence[Scene], place: Place, resolution_m: float) -> ChipRequest:
    first = scenes[0]
    nodata = first.radiometry[BAND].nodata
    return ChipRequest(
        hrefs=tuple(s.assets[BAND].href for s in scenes),
        bands=(first.assets[BAND].index,),
        geobox=place.geobox.at(resolution_m),
        kernel="nearest",
        fill=() if nodata is None else (nodata,),
        epsgs=tuple(s.epsg for s in scenes),
        beside=True,
        reduce=labeller.reduce,
    )


def _settle(labeller: RasterLabeller[Any], one: _Attempts, scenes: tuple[Scene, ...], chip: Chip) -> None:
    read = LabelChip(classes=chip.pixels[0], valid=chip.valid[0])
    try:
        label = labeller.label(scenes, read, one.request.reference_time)
    except UnknownCodeError as error:
        one.drop(scenes, Reason.BAD_ITEM, str(error))
        return
    if label.valid.any():
        one.result = label
    else:
        one.drop(scenes, Reason.LABEL_MISSING, f"{labeller.legend.product} holds no label on this chip")


def _nothing(labeller: RasterLabeller[Any], one: _Attempts) -> Outcome:
    detail = f"the archive has no map of {labeller.legend.product} for this place and time"
    detail += f": {one.request.why}" if one.request.why else ""
    return one.absent((), Reason.LABEL_MISSING, detail)
