"""Composites: one observation from many scenes of a window, pixel by pixel over those that are clear there.

Every scene that the plan lists is read on the sample's grids and made canonical. A pixel of a scene counts where it is
measured and not cloud; a pixel that is coarser than the cloud layer counts where no cloud touches it. Medians and means
are computed in float64 over the stored numbers (decibels of radar stay decibels) and rounded half up for whole numbers;
of an even count the median is the mean of the middle two. `mosaic` takes the first clear scene in the order of the
plan. Classes and bits, the cloud layer among them, are always mosaicked. Where no scene is clear, the pixel is fill and
not valid.

A temporary failure of any scene makes the observation absent, to be tried again: the plan gives the same bytes always.
A permanent failure, a contradiction or too much cloud over the chip leaves a scene out, and the others are reduced.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from pipelines.access.errors import AccessError
from pipelines.reading import Attempts
from pipelines.sources.observation import Layered, asks, assemble, delivered, enlarged, facts_of_scenes
from pipelines.sources.spill import spilled_layers
from schemas.outcome import Outcome, Reason
from schemas.stack import Observation

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from pipelines.access.chips import Chip
    from pipelines.sources.observation import Ask, ObservationRequest, Unusable
    from pipelines.sources.sensor import SensorSource
    from schemas.modality import Layer
    from schemas.recipe import Recipe
    from schemas.scene import Scene

Reads = list[tuple["Ask", "Chip"]]
Read = Callable[[Sequence[tuple[str, list["Ask"]]]], list[Reads | AccessError]]
"""Reads what is asked of providers, all together; of each entry all its chips, or the failure that decides."""
_REDUCED_BYTES = 32 << 20
"""Numbers that are reduced at once; sorting them takes about four times as much."""


@dataclass(frozen=True, slots=True)
class Room:
    """What fits into memory while composites are made."""

    scenes: int
    """Scenes of one sample."""
    folder: Path | None = None
    """Holds what does not fit; the system's folder for temporary files if absent."""


def compose(
    source: SensorSource,
    recipe: Recipe,
    requests: Sequence[ObservationRequest],
    scenes: Mapping[str, Scene],
    read: Read,
    room: Room,
) -> Iterator[Observation | Outcome]:
    """The composite of each request, in order; neighbours are read together.

    Args:
        source: the sensor; its configuration says how to reduce.
        recipe: for resolutions.
        requests: a group that fits into memory with all its scenes, or a single one.
        scenes: item id -> scene.
        read: reads what is asked of providers, as `read_shard` does.
        room: what fits into memory; a request with more scenes is read in parts, which are kept in a file until all
            are there.
    """
    wanted = [(r, tuple(scenes[i] for i in c.scenes)) for r in requests for c in r.candidates]
    plan = [
        (
            chosen[0].provider,
            [
                ask
                for layer in source.modality.layers
                for ask in asks(source, layer, chosen, r.place, recipe.resolution_of(source.modality.name, layer.name))
            ],
        )
        for r, chosen in wanted
    ]
    got = _in_parts(plan, read, room.scenes)
    for request in requests:
        mine = ((tuple(scenes[i] for i in c.scenes), next(got)) for c in request.candidates)
        made = _composite(source, recipe, request, mine, room)
        for _ in mine:
            pass  # a failure decided before all was read
        yield made


def _in_parts(plan: Sequence[tuple[str, list[Ask]]], read: Read, at_once: int) -> Iterator[Reads | AccessError]:
    """What is read of the entries of a plan, in order, some scenes at a time."""
    for start in range(0, len(plan), at_once):
        part = read(plan[start : start + at_once])
        part.reverse()
        while part:
            yield part.pop()


def _composite(
    source: SensorSource,
    recipe: Recipe,
    request: ObservationRequest,
    reads: Iterator[tuple[tuple[Scene, ...], Reads | AccessError]],
    room: Room,
) -> Observation | Outcome:
    used: list[tuple[tuple[Scene, ...], dict[str, Layered]]] = []
    tried = Attempts[Observation](
        sample_id=request.place.sample_id, layer=source.modality.name, slot=request.slot, waiting=[]
    )
    for scenes, got in reads:
        if isinstance(got, AccessError):
            tried.fail(scenes, got)
            if tried.result is not None:
                return tried.result
            continue
        layers = {
            layer.name: assemble(layer, [(a, c) for a, c in got if a.layer.name == layer.name])
            for layer in source.modality.layers
        }
        problem = unusable(source, scenes, got, layers)
        if problem is None:
            clear = _cleared(source, recipe, layers)
            used.append(
                (scenes, spilled_layers(clear, room.folder) if len(request.candidates) > room.scenes else clear)
            )
        else:
            tried.drop(scenes, *problem)
    if used:
        made = _reduced(source, recipe, request, used)
        if isinstance(made, Observation):
            return made
        return tried.absent([scene for chosen, _ in used for scene in chosen], *made)
    none = tried.absent((), Reason.NO_SCENE, "there is no scene to reduce")
    return next((o for o in tried.failed if o.reason is Reason.TOO_CLOUDY), tried.failed[0] if tried.failed else none)


def unusable(
    source: SensorSource, scenes: tuple[Scene, ...], got: Reads, layers: Mapping[str, Layered]
) -> Unusable | None:
    """The reason why a scene is left out."""
    problem = source.contradiction(scenes, delivered(got))
    if problem is not None:
        return Reason.BAD_ITEM, problem
    if source.modality.cloud_layer is None:
        return None
    sky, most = layers[source.modality.cloud_layer], source.config.limits.max_cloud
    seen = int(np.count_nonzero(sky.valid[0]))
    cloud = int(np.count_nonzero(source.cloud_mask(sky.values[0]) & sky.valid[0])) / seen if seen else 1.0
    if not seen:
        return Reason.TOO_LITTLE_VALID, "0.0% of the chip is measured"
    if cloud > most:
        return Reason.TOO_CLOUDY, f"{cloud:.1%} of the chip is cloud, at most {most:.1%} is allowed"
    return None


def _reduced(
    source: SensorSource,
    recipe: Recipe,
    request: ObservationRequest,
    used: Sequence[tuple[tuple[Scene, ...], dict[str, Layered]]],
) -> Observation | Unusable:
    made = {layer.name: _reduced_layer(source, layer, [layers[layer.name] for _, layers in used])
            for layer in source.modality.layers}  # fmt: skip
    return composite_of(source, recipe, request, [chosen for chosen, _ in used], made)


def reduced_layer(
    source: SensorSource, recipe: Recipe, layer: Layer, scenes: Sequence[Mapping[str, Layered]]
) -> Layered:
    """One layer of many scenes as one: `scenes` hold it and the cloud layer."""
    return _reduced_layer(source, layer, [_cleared(source, recipe, layers, layer)[layer.name] for layers in scenes])


def _reduced_layer(source: SensorSource, layer: Layer, scenes: Sequence[Layered]) -> Layered:
    """One layer of many scenes, `valid` where they are clear, as one."""
    how = source.config.limits.composite or "median"
    values, known = reduce_clear([x.values for x in scenes], [x.valid for x in scenes], layer, how)
    return Layered(values, known, _kernel([x.resampling for x in scenes]))


def _cleared(
    source: SensorSource, recipe: Recipe, layers: Mapping[str, Layered], only: Layer | None = None
) -> dict[str, Layered]:
    """The layers of a scene (or one of them), `valid` where they are measured and not cloud."""
    modality = source.modality
    edges = {x.name: recipe.resolution_of(modality.name, x.name) for x in modality.layers}
    return {
        x.name: replace(layers[x.name], valid=_clear(source, layers, x, edges))
        for x in modality.layers
        if only is None or x.name == only.name
    }


def composite_of(
    source: SensorSource,
    recipe: Recipe,
    request: ObservationRequest,
    used: Sequence[tuple[Scene, ...]],
    made: Mapping[str, Layered],
    by: str = "",
) -> Observation | Unusable:
    """The observation of a composite.

    Args:
        source: the sensor.
        recipe: for resolutions.
        request: what was asked for.
        used: scenes of each acquisition that went in, best first.
        made: layer -> its reduced pixels, `valid` where one acquisition is clear.
        by: who reduced them, where it was not this program.
    """
    modality, how = source.modality, source.config.limits.composite or "median"
    edges = {x.name: recipe.resolution_of(modality.name, x.name) for x in modality.layers}
    finest = min(edges.values())
    shape = request.place.geobox.at(finest).shape
    valid, arrays = np.ones(shape, np.bool_), {}
    for layer in modality.layers:
        values, known = made[layer.name].values, made[layer.name].valid
        arrays[layer.name] = values if layer.has_band_axis else values[0]
        valid &= enlarged(np.asarray(known.all(axis=0)), shape, edges[layer.name] / finest)
    scenes = [scene for chosen in used for scene in chosen]
    fraction, least = float(np.count_nonzero(valid)) / valid.size, source.config.limits.min_valid
    if fraction < least or fraction == 0.0:
        detail = f"{fraction:.1%} of the chip is clear in one of {len(used)} scenes, at least {least:.1%} is required"
        return Reason.TOO_LITTLE_VALID, detail
    times = sorted(chosen[0].datetime for chosen in used)
    cloudless = modality.cloud_layer is None
    return Observation(
        modality=modality.name,
        slot=request.slot,
        datetime=times[(len(times) - 1) // 2],
        arrays=arrays,
        valid=valid,
        cloud=None if cloudless else np.zeros(arrays[modality.cloud_layer or ""].shape[-2:], np.bool_),
        valid_fraction=fraction,
        cloud_fraction=None if cloudless else 0.0,
        item_ids=tuple(dict.fromkeys(scene.item_id for scene in scenes)),
        provider=scenes[0].provider,
        radiometry={n: "; ".join(dict.fromkeys(s.radiometry[n].rule for s in scenes)) for n in modality.band_names},
        resampling={x.name: made[x.name].resampling for x in modality.layers},
        facts={
            **facts_of_scenes(scenes),
            "composite": f"{how} of {len(used)}",
            **({"reduced_by": by} if by else {}),
            "dates": "; ".join(f"{when:%Y-%m-%dT%H:%M:%SZ}" for when in times),
        },
        licence="; ".join(dict.fromkeys(s.licence for s in scenes)),
        composite=True,
    )


def reduce_clear(
    values: Sequence[NDArray[Any]], clear: Sequence[NDArray[np.bool_]], layer: Layer, how: str
) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """One image made from many scenes of one layer.

    Args:
        values: of each scene, (band, y, x), canonical numbers.
        clear: the same shapes, True = measured and not cloud.
        layer: for dtype, fill and kind.
        how: 'median', 'mean' or 'mosaic'.

    Returns:
        (values, known), (band, y, x): fill where nothing is known.
    """
    fill = math.nan if layer.nodata is None else layer.nodata
    found = np.full(values[0].shape, 0 if layer.nodata is None and layer.dtype[0] != "f" else fill, layer.dtype)
    known = np.zeros(found.shape, np.bool_)
    if how == "mosaic" or layer.kind != "continuous":
        for pixels, good in zip(values, clear, strict=True):
            np.copyto(found, pixels, where=good & ~known)
            known |= good
        return found, known
    height, width = values[0].shape[1:]
    rows = max(1, _REDUCED_BYTES // (len(values) * width * 8))
    for band in range(len(found)):  # some rows of one band of all scenes at a time, in float64
        for start in range(0, height, rows):
            part = (band, slice(start, start + rows))
            numbers = np.stack([np.where(good[part], v[part].astype(np.float64), np.nan)
                                for v, good in zip(values, clear, strict=True)])  # fmt: skip
            known[part] = ~np.isnan(numbers).all(axis=0)
            middle = _median(numbers) if how == "median" else _mean(numbers)
            if found.dtype.kind != "f":
                middle = np.floor(middle + 0.5)
            np.copyto(found[part], middle, where=known[part], casting="unsafe")
    return found, known


def _median(numbers: NDArray[np.float64]) -> NDArray[np.float64]:
    """(scene, y, x) -> (y, x): the median without NaN; 0 where all values are NaN."""
    count = np.count_nonzero(~np.isnan(numbers), axis=0)
    ordered = np.sort(numbers, axis=0)  # NaN last
    low, high = ((count - 1).clip(0) // 2)[None], (count // 2).clip(0, len(numbers) - 1)[None]
    middle = (np.take_along_axis(ordered, low, 0) + np.take_along_axis(ordered, high, 0))[0] / 2
    return np.where(count > 0, middle, 0.0)


def _mean(numbers: NDArray[np.float64]) -> NDArray[np.float64]:
    count = np.count_nonzero(~np.isnan(numbers), axis=0)
    mean: NDArray[np.float64] = np.nansum(numbers, axis=0) / count.clip(1)
    return mean


def _clear(
    source: SensorSource, layers: Mapping[str, Layered], layer: Layer, edges: Mapping[str, float]
) -> NDArray[np.bool_]:
    """(band, y, x) of a layer: measured and not cloud."""
    valid, name = layers[layer.name].valid, source.modality.cloud_layer
    if name is None:
        return valid
    sky = layers[name]
    hidden = source.cloud_mask(sky.values[0]) | ~sky.valid[0]
    return valid & ~_onto(hidden, valid.shape[-2:], edges[name], edges[layer.name])[None]


def _onto(mask: NDArray[np.bool_], shape: tuple[int, ...], edge_m: float, wanted_m: float) -> NDArray[np.bool_]:
    """A mask on another grid of the same corner: each finer pixel takes the one over its centre, a coarser one is True
    where any whose centre lies in it is."""
    rows, columns = shape
    if wanted_m <= edge_m:
        return enlarged(mask, (rows, columns), edge_m / wanted_m)
    for axis, size in ((0, rows), (1, columns)):
        owner = np.minimum((np.arange(mask.shape[axis]) + 0.5) * edge_m / wanted_m, size - 1).astype(np.intp)
        mask = np.logical_or.reduceat(mask, np.searchsorted(owner, np.arange(size)).clip(0, len(owner) - 1), axis=axis)
    return mask


def _kernel(used: Sequence[str]) -> str:
    return next((kernel for kernel in used if kernel != "none"), "none")
