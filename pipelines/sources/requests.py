"""What to read of a source for one sample and date slot: the plan's candidates, in the order of its window."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipelines.sources.observation import ObservationRequest
from sampling.times import Moment, around
from schemas.outcome import Outcome, Reason
from schemas.source import DatedSource

if TYPE_CHECKING:
    import datetime as dt

    from pipelines.tables import ShardPlan
    from schemas.recipe import Recipe
    from schemas.scene import Candidate
    from schemas.sensors import Source
    from schemas.stack import Stack
    from schemas.window import Window


def anchors_first(recipe: Recipe) -> list[Source]:
    """Sources in the order of the recipe, those with windows around another layer's scenes last."""
    return sorted(recipe.sources, key=lambda s: any(w.follows is not None for w in recipe.slots_of(s)))


def request_for(
    recipe: Recipe, source: Source, slot: int, stack: Stack, plan: ShardPlan
) -> ObservationRequest | Outcome:
    """The request for a date slot, or the reason why nothing can be read.

    A window around another layer is settled here: only now is it known which of that layer's candidates was clear.

    Args:
        recipe: of the plan.
        source: the layer.
        slot: its date slot.
        stack: the sample; layers that windows of this source are around are observed.
        plan: of the shard.
    """
    key, place = (stack.place.sample_id, source.name, slot), recipe.place_of(stack.place, source.name)
    if key in plan.absences:
        return plan.absences[key]
    if not isinstance(source, DatedSource):
        return ObservationRequest(place=place, slot=slot, candidates=plan.candidates[key])
    window, anchor = recipe.slots_of(source)[slot], recipe.anchor_of(source, slot)
    by_time = window.pick is not None or anchor is not None
    if anchor is None:
        return ObservationRequest(place=place, slot=slot, candidates=plan.candidates[key], by_time=by_time)
    seen = stack.observations.get(anchor)
    if seen is None:
        return _absent(stack, source, slot, window, _why(stack, anchor))
    near = _around(window, plan.candidates[key], seen.datetime)
    if not near:
        words = f"no scene is near enough to that of {anchor[0]}, {seen.datetime:%Y-%m-%d %H:%M} UTC"
        return _absent(stack, source, slot, window, Outcome(
            sample_id=stack.place.sample_id, layer=anchor[0], slot=anchor[1], reason=Reason.NO_SCENE, detail=words
        ))  # fmt: skip
    return ObservationRequest(place=place, slot=slot, candidates=near, by_time=True)


def _around(window: Window, candidates: tuple[Candidate, ...], moment: dt.datetime) -> tuple[Candidate, ...]:
    """The candidates inside the window around a moment, the nearest to its target first."""
    period = around(window, Moment(first=moment, last=moment))
    inside = [c for c in candidates if period.start <= c.datetime < period.end]
    return tuple(sorted(inside, key=lambda c: (abs(c.datetime - period.target), c.scenes)))


def _why(stack: Stack, anchor: tuple[str, int]) -> Outcome | None:
    return next((o for o in stack.outcomes if (o.layer, o.slot) == anchor), None)


def _absent(stack: Stack, source: Source, slot: int, window: Window, why: Outcome | None) -> Outcome:
    """No observation; where another attempt can obtain the other layer, it can obtain this one too."""
    again = why is not None and why.reason.retryable
    reason = "" if why is None else f": {why.detail or why.reason.value}"
    return Outcome(
        sample_id=stack.place.sample_id,
        layer=source.name,
        slot=slot,
        reason=why.reason if why is not None and again else Reason.NO_SCENE,
        provider=why.provider if why is not None and again else None,
        detail=f"window {window.name!r} is around the scene of {window.follows}{reason}",
    )
