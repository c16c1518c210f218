"""Reads one modality for many samples: clouds first, then the bands of the chosen scenes, scene by scene.

What a failure means is said in `pipelines.reading`. Besides:
- Candidates are read in the order of cloud over the chip and then of the plan.
- A scene that the plan puts first because neighbours share it stays first while cloud over the chip is within the
  recipe's `sharing` of the clearest candidate's. Each sample depends only on its own pixels, never on those of its
  neighbours.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from pipelines.access.errors import AccessError
from pipelines.reading import Attempts, decide, read_chips
from pipelines.sources.composite import Room
from pipelines.sources.observation import Ask, asks, assemble, limit_broken, observe
from pipelines.sources.observation import ObservationRequest as ObservationRequest  # noqa: PLC0414 - what `gather` takes
from pipelines.sources.piles import compose
from schemas.outcome import Outcome, Reason
from schemas.stack import Observation

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from pipelines.access.chips import Chip, ChipReader
    from pipelines.sources.sensor import SensorSource
    from schemas.recipe import Recipe
    from schemas.scene import Scene

GROUP_BYTES = 256 << 20
"""Samples are taken in groups whose observations come to about this; a group needs about three times as much."""
_SERIES_PARTS = 4
"""Groups are smaller by this where one sample has more dates than a group holds: its caller keeps them all until the
sample is whole, and dates of one sample share no scenes, so it costs no request."""
PEAK_BYTES = 1200 << 20
"""Most memory that a worker takes for reading, its imports included, whatever the shard: three groups' worth, what is
on its way from the archive (`pipelines.access.rasters.cog`), and 200 MiB for Python and its libraries. Tested under
this limit; what the caller keeps comes on top."""
_CLOUD_STEP = 0.05
"""Candidates whose cloud over the chip is in one step are ordered as planned."""
_SHOWN = (Reason.TOO_CLOUDY, Reason.TOO_LITTLE_VALID)
"""Reason recorded in the ledger when candidates failed for different reasons: these first, else the best's."""


@dataclass(slots=True, kw_only=True)
class _Attempts(Attempts[Observation]):
    """Attempts at one observation."""

    request: ObservationRequest
    skies: dict[tuple[str, ...], list[tuple[Ask, Chip]]] = field(default_factory=dict)
    """Item ids of a candidate -> its cloud layer, read already."""


def gather(
    source: SensorSource,
    recipe: Recipe,
    requests: Sequence[ObservationRequest],
    scenes: Mapping[str, Scene],
    reader: Callable[[str], ChipReader],
    folder: Path | None = None,
) -> Iterator[Observation | Outcome]:
    """Observations of one modality for the samples of a shard.

    Args:
        source: The sensor.
        recipe: For resolutions.
        requests: Neighbours together: a scene is read once for a group of them.
        scenes: Item id -> scene, for all item ids of the candidates.
        reader: Provider name -> its reader (`Archives.reader`).
        folder: Holds composites that do not fit into memory; the system's folder for temporary files if absent.

    Yields:
        One result per request, in their order. Memory is bounded as long as the caller does not keep them.
    """
    composed = source.config.limits.composite is not None
    each = max((len(r.candidates) for r in requests), default=1) if composed else 1
    at_once = max(1, GROUP_BYTES // _sample_bytes(source, recipe, requests))
    most = max(1, at_once // max(each, 1))
    if len(requests) > most * len({r.place.sample_id for r in requests}):
        most = max(1, most // _SERIES_PARTS)
    size = max(1, math.ceil(len(requests) / math.ceil(len(requests) / most))) if requests else 1
    for first in range(0, len(requests), size):
        group = requests[first : first + size]
        if composed:
            yield from compose(source, recipe, group, scenes, lambda plan: _read(plan, reader), Room(at_once, folder))
            continue
        attempts = [_attempts(source, r, scenes) for r in group]
        if source.modality.cloud_layer is not None:
            _sort_by_cloud(source, recipe, attempts, reader)
        decide(attempts, lambda turn: _read_best(source, recipe, turn, reader), _told)
        for one in attempts:
            assert one.result is not None  # noqa: S101 - `decide` ends when all have one
            yield one.result


def _attempts(source: SensorSource, request: ObservationRequest, scenes: Mapping[str, Scene]) -> _Attempts:
    made = _Attempts(
        sample_id=request.place.sample_id,
        layer=source.modality.name,
        slot=request.slot,
        waiting=[tuple(scenes[i] for i in c.scenes) for c in request.candidates],
        request=request,
    )
    if not made.waiting:
        made.result = made.absent((), Reason.NO_SCENE, "the archive has no scene for this place, time and filter")
    return made


def _sort_by_cloud(
    source: SensorSource, recipe: Recipe, attempts: Sequence[_Attempts], reader: Callable[[str], ChipReader]
) -> None:
    """Read the cloud layer of all candidates and put the clearest first; drop those that the recipe refuses."""
    layer = source.modality.layer(source.modality.cloud_layer or "")
    resolution = recipe.resolution_of(source.modality.name, layer.name)
    pending = [one for one in attempts if one.result is None]
    plan = [
        (one, scenes, asks(source, layer, scenes, one.request.place, resolution))
        for one in pending
        for scenes in one.waiting
    ]
    reads = _read([(scenes[0].provider, found) for _, scenes, found in plan], reader)
    order: dict[int, list[tuple[float, int, tuple[Scene, ...]]]] = {}
    for (one, scenes, _), got in zip(plan, reads, strict=True):
        if isinstance(got, AccessError):
            one.fail(scenes, got)
            continue
        sky = assemble(layer, got)
        seen = int(np.count_nonzero(sky.valid))
        cloud = int(np.count_nonzero(source.cloud_mask(sky.values[0]) & sky.valid[0])) / seen if seen else 1.0
        entries = order.setdefault(id(one), [])
        if (broken := limit_broken(source, seen / sky.valid.size, cloud)) is None:
            entries.append((cloud, len(entries), scenes))
            one.skies[tuple(s.item_id for s in scenes)] = got
        else:
            one.drop(scenes, *broken)
    for one in pending:
        if one.result is None:
            entries = order.get(id(one), [])
            sharing = source.config.limits.sharing
            one.waiting = [s for _, _, s in entries] if one.request.by_time else _clearest(entries, sharing)


def _clearest(entries: Sequence[tuple[float, int, tuple[Scene, ...]]], sharing: float) -> list[tuple[Scene, ...]]:
    """Candidates (cloud over the chip, position in the plan, scenes) in the order in which they are read."""
    least = min((cloud for cloud, _, _ in entries), default=0.0)

    def key(entry: tuple[float, int, tuple[Scene, ...]]) -> tuple[int, int]:
        cloud, position, _ = entry
        return (0 if cloud <= least + sharing else 1 + int(cloud / _CLOUD_STEP), position)

    return [scenes for _, _, scenes in sorted(entries, key=key)]


def _read_best(
    source: SensorSource,
    recipe: Recipe,
    turn: Sequence[tuple[_Attempts, tuple[Scene, ...]]],
    reader: Callable[[str], ChipReader],
) -> None:
    """Read one candidate of each request, without its cloud layer; settle or drop it."""
    plan = []
    for one, scenes in turn:
        found = [
            ask
            for layer in source.modality.layers
            if layer.name != source.modality.cloud_layer
            for ask in asks(
                source, layer, scenes, one.request.place, recipe.resolution_of(source.modality.name, layer.name)
            )
        ]
        plan.append((scenes[0].provider, found))
    reads = _read(plan, reader)
    for i, (one, scenes) in enumerate(turn):
        got = reads[i]
        if isinstance(got, AccessError):
            one.fail(scenes, got)
            continue
        sky = one.skies.pop(tuple(s.item_id for s in scenes), [])
        made = observe(source, recipe, one.request.place, one.slot, scenes, [*got, *sky])
        reads[i] = []
        if isinstance(made, Observation):
            one.result = made
        else:
            one.drop(scenes, *made)


def _read(
    plan: Sequence[tuple[str, list[Ask]]], reader: Callable[[str], ChipReader]
) -> list[list[tuple[Ask, Chip]] | AccessError]:
    """`read_chips`, each chip with what it was read for."""
    chips = read_chips([(provider, [ask.request for ask in found]) for provider, found in plan], reader)
    return [
        got if isinstance(got, AccessError) else list(zip(found, got, strict=True))
        for (_, found), got in zip(plan, chips, strict=True)
    ]


def _told(attempts: _Attempts) -> Outcome:
    """The outcome of an observation without a candidate left."""
    for reason in _SHOWN:
        for outcome in attempts.failed:
            if outcome.reason is reason:
                return outcome
    return attempts.failed[0]


def _sample_bytes(source: SensorSource, recipe: Recipe, requests: Sequence[ObservationRequest]) -> int:
    """Bytes of one observation: pixels and masks of all layers."""
    if not requests:
        return 1
    total = 0
    for layer in source.modality.layers:
        shape = requests[0].place.geobox.at(recipe.resolution_of(source.modality.name, layer.name)).shape
        total += shape[0] * shape[1] * len(layer.bands) * (np.dtype(layer.dtype).itemsize + 1)
    return max(total, 1)
