"""Reads one modality for many samples: clouds first, then the bands of the chosen scenes, scene by scene.

Rules that make the result a function of the plan:
- A temporary failure (429, 5xx, resets, timeouts, refused credentials) and outlived its retries makes the
  observation absent, with that reason. No other candidate replaces it, so that a later run of the same plan gives the
  same bytes as a clean run.
- Providers are chosen at planning, in the recipe's order, and the plan names them. Reading never goes to another
  provider for the same product: its copy has other bytes (another COG, another offset), and the content of a dataset
  must not depend on the time. A later run (--retry-failed) requests undelivered data from the same provider.
- A permanent failure (404, corrupt, wrong grid, an item whose pixels contradict it) drops the candidate; the next one,
  in the order of cloud over the chip and then of the plan, is read.
- A scene that the plan puts first because neighbours share it stays first while cloud over the chip is within the
  recipe's `sharing` of the clearest candidate's. Each sample depends only on its own pixels, never on those of its
  neighbours.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from pipelines.access.http.client import AccessError
from pipelines.sources.composite import compose
from pipelines.sources.observation import Ask, asks, assemble, observe
from pipelines.sources.observation import Assignment as Assignment  # noqa: PLC0414 - what `gather` takes
from schemas.outcome import Outcome, Reason

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from pipelines.access.chips import Chip, ChipReader
    from pipelines.sources.sensor import SensorSource
    from schemas.recipe import Recipe
    from schemas.scene import Scene
    from schemas.stack import Observation

_GROUP_BYTES = 256 << 20
"""Samples are taken in groups whose observations come to about this; a group needs about three times as much."""
PEAK_BYTES = 1200 << 20
"""Most memory that a worker takes for reading, its imports included, whatever the shard: three groups' worth, what is
on its way from the archive (`pipelines.access.rasters.cog`), and 200 MiB for Python and its libraries. Tested under
this limit; what the caller keeps comes on top."""
_CLOUD_STEP = 0.05
"""Candidates whose cloud over the chip is in one step are ordered as planned."""
_SHOWN = (Reason.TOO_CLOUDY, Reason.TOO_LITTLE_VALID)
"""Reason recorded in the ledger when candidates failed for different reasons: these first, else the best's."""


@dataclass(slots=True)
class _Wish:
    assignment: Assignment
    waiting: list[tuple[Scene, ...]] = field(default_factory=list)
    """Scenes of the candidates not tried yet, best first."""
    skies: dict[tuple[str, ...], list[tuple[Ask, Chip]]] = field(default_factory=dict)
    """Item ids of a candidate -> its cloud layer, read already."""
    lost: list[Outcome] = field(default_factory=list)
    """Why candidates fell out."""
    result: Observation | Outcome | None = None


def gather(
    source: SensorSource,
    recipe: Recipe,
    assignments: Sequence[Assignment],
    scenes: Mapping[str, Scene],
    reader: Callable[[str], ChipReader],
) -> Iterator[Observation | Outcome]:
    """Observations of one modality for the samples of a shard.

    Args:
        source: The sensor.
        recipe: For resolutions.
        assignments: Wishes, neighbours together: a scene is read once for a group of them.
        scenes: Item id -> scene, for all item ids of the candidates.
        reader: Provider name -> its reader (`Archives.reader`).

    Yields:
        One result per assignment, in their order. Memory is bounded as long as the caller does not keep them.
    """
    composed = getattr(source.config, "composite", None) is not None
    each = max((len(a.candidates) for a in assignments), default=1) if composed else 1
    most = max(1, _GROUP_BYTES // (max(each, 1) * _sample_bytes(source, recipe, assignments)))
    size = max(1, math.ceil(len(assignments) / math.ceil(len(assignments) / most))) if assignments else 1
    for first in range(0, len(assignments), size):
        if composed:
            group = assignments[first : first + size]
            yield from compose(source, recipe, group, scenes, lambda plan: _read(plan, reader))
            continue
        wishes = [_wish(source, a, scenes) for a in assignments[first : first + size]]
        if source.modality.cloud_layer is not None:
            _sort_by_cloud(source, recipe, wishes, reader)
        while pending := [w for w in wishes if w.result is None]:
            _read_best(source, recipe, pending, reader)
        for wish in wishes:
            assert wish.result is not None  # noqa: S101 - the loop above ends when all have one
            yield wish.result


def _wish(source: SensorSource, assignment: Assignment, scenes: Mapping[str, Scene]) -> _Wish:
    wish = _Wish(assignment, [tuple(scenes[i] for i in c.scenes) for c in assignment.candidates])
    if not wish.waiting:
        wish.result = Outcome(
            sample_id=assignment.place.sample_id,
            layer=source.modality.name,
            slot=assignment.slot,
            reason=Reason.NO_SCENE,
            detail="the archive has no scene for this place, time and filter",
        )
    return wish


def _sort_by_cloud(
    source: SensorSource, recipe: Recipe, wishes: Sequence[_Wish], reader: Callable[[str], ChipReader]
) -> None:
    """Read the cloud layer of all candidates and put the clearest first; drop those that the recipe refuses."""
    layer = source.modality.layer(source.modality.cloud_layer or "")
    resolution = recipe.resolution_of(source.modality.name, layer.name)
    open_wishes = [w for w in wishes if w.result is None]
    plan = [
        (wish, scenes, asks(source, layer, scenes, wish.assignment.place, resolution))
        for wish in open_wishes
        for scenes in wish.waiting
    ]
    reads = _read([(scenes[0].provider, found) for _, scenes, found in plan], reader)
    order: dict[int, list[tuple[float, int, tuple[Scene, ...]]]] = {}
    for (wish, scenes, _), got in zip(plan, reads, strict=True):
        if isinstance(got, AccessError):
            _lose(source, wish, scenes, got)
            continue
        sky = assemble(layer, got)
        seen = int(np.count_nonzero(sky.valid))
        cloud = int(np.count_nonzero(source.cloud_mask(sky.values[0]) & sky.valid[0])) / seen if seen else 1.0
        entries = order.setdefault(id(wish), [])
        if (problem := _refusal(source, wish, scenes, seen / sky.valid.size, cloud)) is None:
            entries.append((cloud, len(entries), scenes))
            wish.skies[tuple(s.item_id for s in scenes)] = got
        else:
            wish.lost.append(problem)
    for wish in open_wishes:
        if wish.result is None:
            entries = order.get(id(wish), [])
            sharing = getattr(source.config, "sharing", 0.0)
            wish.waiting = [s for _, _, s in entries] if wish.assignment.by_time else _clearest(entries, sharing)


def _clearest(entries: Sequence[tuple[float, int, tuple[Scene, ...]]], sharing: float) -> list[tuple[Scene, ...]]:
    """Candidates (cloud over the chip, position in the plan, scenes) in the order in which they are read."""
    least = min((cloud for cloud, _, _ in entries), default=0.0)

    def key(entry: tuple[float, int, tuple[Scene, ...]]) -> tuple[int, int]:
        cloud, position, _ = entry
        return (0 if cloud <= least + sharing else 1 + int(cloud / _CLOUD_STEP), position)

    return [scenes for _, _, scenes in sorted(entries, key=key)]


def _refusal(source: SensorSource, wish: _Wish, scenes: Sequence[Scene], valid: float, cloud: float) -> Outcome | None:
    least, most = getattr(source.config, "min_valid", 0.0), getattr(source.config, "max_cloud", 1.0)
    if valid < least or valid == 0.0:
        detail = f"{valid:.1%} of the chip is measured, at least {least:.1%} is required"
        return _outcome(source, wish, scenes, Reason.TOO_LITTLE_VALID, detail)
    if cloud > most:
        detail = f"{cloud:.1%} of the chip is cloud, at most {most:.1%} is allowed"
        return _outcome(source, wish, scenes, Reason.TOO_CLOUDY, detail)
    return None


def _read_best(
    source: SensorSource, recipe: Recipe, wishes: Sequence[_Wish], reader: Callable[[str], ChipReader]
) -> None:
    """Read the next candidate of each request, without its cloud layer; finish the requests that are decided."""
    plan = []
    for wish in wishes:
        if not wish.waiting:
            wish.result = _told(wish)
            continue
        scenes = wish.waiting.pop(0)
        found = [
            ask
            for layer in source.modality.layers
            if layer.name != source.modality.cloud_layer
            for ask in asks(
                source, layer, scenes, wish.assignment.place, recipe.resolution_of(source.modality.name, layer.name)
            )
        ]
        plan.append((wish, scenes, found))
    reads = _read([(scenes[0].provider, found) for _, scenes, found in plan], reader)
    for i, (wish, scenes, _) in enumerate(plan):
        got = reads[i]
        if isinstance(got, AccessError):
            _lose(source, wish, scenes, got)
            continue
        sky = wish.skies.pop(tuple(s.item_id for s in scenes), [])
        made = observe(source, recipe, wish.assignment.place, wish.assignment.slot, scenes, [*got, *sky])
        reads[i] = []
        if isinstance(made, Outcome):
            wish.lost.append(made)
        else:
            wish.result = made


def _read(
    plan: Sequence[tuple[str, list[Ask]]], reader: Callable[[str], ChipReader]
) -> list[list[tuple[Ask, Chip]] | AccessError]:
    """Read all asks, provider by provider; of each entry all its chips, or the failure that decides."""
    results: list[list[tuple[Ask, Chip]] | AccessError] = [[] for _ in plan]
    for provider in sorted({name for name, _ in plan}):
        flat = [(i, ask) for i, (name, found) in enumerate(plan) if name == provider for ask in found]
        chips = reader(provider).read_chips([ask.request for _, ask in flat])
        for (i, ask), chip in zip(flat, chips, strict=True):
            so_far = results[i]
            if isinstance(chip, AccessError):
                if not isinstance(so_far, AccessError) or (chip.reason.retryable and not so_far.reason.retryable):
                    results[i] = chip
            elif not isinstance(so_far, AccessError):
                so_far.append((ask, chip))
    return results


def _lose(source: SensorSource, wish: _Wish, scenes: Sequence[Scene], error: AccessError) -> None:
    outcome = _outcome(source, wish, scenes, error.reason, error.detail)
    if error.reason.retryable:
        wish.result = wish.result or outcome
    else:
        wish.lost.append(outcome)


def _outcome(source: SensorSource, wish: _Wish, scenes: Sequence[Scene], reason: Reason, detail: str) -> Outcome:
    return Outcome(
        sample_id=wish.assignment.place.sample_id,
        layer=source.modality.name,
        slot=wish.assignment.slot,
        reason=reason,
        provider=scenes[0].provider,
        item_ids=tuple(s.item_id for s in scenes),
        detail=detail,
    )


def _told(wish: _Wish) -> Outcome:
    for reason in _SHOWN:
        for outcome in wish.lost:
            if outcome.reason is reason:
                return outcome
    return wish.lost[0]


def _sample_bytes(source: SensorSource, recipe: Recipe, assignments: Sequence[Assignment]) -> int:
    """Bytes of one observation: pixels and masks of all layers."""
    if not assignments:
        return 1
    total = 0
    for layer in source.modality.layers:
        shape = assignments[0].place.geobox.at(recipe.resolution_of(source.modality.name, layer.name)).shape
        total += shape[0] * shape[1] * len(layer.bands) * (np.dtype(layer.dtype).itemsize + 1)
    return max(total, 1)
