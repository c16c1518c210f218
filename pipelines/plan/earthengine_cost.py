"""Predicts the requests of a plan at Earth Engine, with the session's rule for cutting chips."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pipelines.access.earthengine.items import SCHEME
from pipelines.access.earthengine.meter import PRIOR_SPREAD, PlannedChip, cost, estimate
from pipelines.sources.piles import as_stored, side_by_side
from pipelines.tables import EngineCost
from schemas.earthengine import SLOTS, EarthEngineProvider
from schemas.label_source import DynamicWorldLabel

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pipelines.access.earthengine.meter import Cost
    from schemas.place import GeoBox
    from schemas.recipe import Recipe
    from schemas.scene import Candidate, Scene

PROBABILITIES = 9
"""Bands that a composite of probabilities reads of each map."""


def at_earth_engine(scene: Scene) -> bool:
    """Whether a scene's pixels come from Earth Engine."""
    return next(iter(scene.assets.values())).href.startswith(f"{SCHEME}:")


@dataclass(kw_only=True)
class EngineTally:
    """Requests, bytes and assumed compute time so far: numbers that add up over the parts of a plan."""

    requests: int = 0
    bytes: int = 0
    eecu_s: float = 0.0
    _known: dict[tuple[object, ...], Cost] = field(default_factory=dict)
    """Chips of one layer and size cost the same wherever they are: scenes of a layer are laid out alike."""

    def add(
        self,
        recipe: Recipe,
        layer: str,
        geobox: GeoBox,
        candidates: tuple[Candidate, ...],
        scenes: Mapping[str, Scene],
    ) -> None:
        """Add one observation: every candidate's cloud layer, all layers of the best; of a label one map, or all that a
        composite is made of. `scenes`: the layer's, by item id; those of other archives count nothing."""
        held = [tuple(scenes[i] for i in c.scenes) for c in candidates]
        if (
            layer in recipe.composed
            and held
            and all(at_earth_engine(s) and as_stored(s) for take in held for s in take)
        ):
            self._count((layer, len(held), geobox.shape, geobox.resolution_m), _piles(recipe, layer, geobox, held))
            return
        for rank, candidate in enumerate(candidates):
            first = scenes[candidate.scenes[0]]
            if not at_earth_engine(first):
                continue
            best = rank == 0 or layer in recipe.composed
            key = (layer, best, len(candidate.scenes), geobox.shape, geobox.resolution_m)
            self._count(key, _chips(recipe, layer, geobox, [scenes[i] for i in candidate.scenes], best=best))

    def _count(self, key: tuple[object, ...], chips: Iterator[PlannedChip]) -> None:
        if (found := self._known.get(key)) is None:
            found = self._known[key] = estimate(chips)
        self.requests += found.requests
        self.bytes += found.bytes
        self.eecu_s += found.eecu_hours * 3600.0

    def total(self, recipe: Recipe) -> EngineCost | None:
        """For the plan's estimate; None where nothing comes from Earth Engine."""
        if not self.requests:
            return None
        slots = next((p.slots for p in recipe.providers.values() if isinstance(p, EarthEngineProvider)), SLOTS)
        whole = cost(self.requests, self.bytes, self.eecu_s, slots)
        return EngineCost(
            requests=whole.requests,
            bytes=whole.bytes,
            eecu_hours=round(whole.eecu_hours, 6),
            eecu_hours_least=round(whole.eecu_hours / PRIOR_SPREAD, 6),
            eecu_hours_most=round(whole.eecu_hours * PRIOR_SPREAD, 6),
            hours=round(whole.hours, 4),
        )


def _piles(recipe: Recipe, layer: str, geobox: GeoBox, takes: Sequence[tuple[Scene, ...]]) -> Iterator[PlannedChip]:
    """What `pipelines.sources.piles` asks for one composite."""
    modality = recipe.modalities[layer]
    edges = {part.name: recipe.resolution_of(layer, part.name) for part in modality.layers}
    for part in modality.layers:
        apart = len(takes) if side_by_side(modality, part, edges) else 1
        yield PlannedChip(
            geobox=geobox.at(edges[part.name]), bands=apart * len(part.bands), dtype=part.dtype, images=len(takes)
        )


def _chips(recipe: Recipe, layer: str, geobox: GeoBox, scenes: list[Scene], *, best: bool) -> Iterator[PlannedChip]:
    if layer not in recipe.modalities:
        if best:
            label = next(x for x in recipe.read_labels if x.layer == layer)
            composite = label.composite if isinstance(label, DynamicWorldLabel) else "nearest"
            each = {"nearest": 0, "mode": 1, "probability": PROBABILITIES}[composite]
            box = geobox.at(recipe.resolution_of(layer, None))
            yield PlannedChip(geobox=box, bands=1, dtype="uint8", images=max(1, each * len(scenes)))
        return
    modality = recipe.modalities[layer]
    for part in modality.layers:
        if part.name != modality.cloud_layer and not best:
            continue
        hrefs = [scenes[0].assets[band.name].href for band in part.bands if band.name in scenes[0].assets]
        for href in sorted(set(hrefs)):
            yield PlannedChip(
                geobox=geobox.at(recipe.resolution_of(layer, part.name)),
                bands=hrefs.count(href),
                dtype=part.dtype,
                images=len(scenes),
            )
