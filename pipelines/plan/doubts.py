"""Notes on likely mistakes in a recipe or a plan; they never change the plan."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING

from schemas.outcome import Reason
from schemas.place import BBox

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipelines.access.holdings import Holding
    from pipelines.tables import PlanSummary
    from schemas.recipe import Recipe
    from schemas.window import Window

_DIAGONAL = 1.5
"""Footprints that part by 1.5 times what both reach beyond their edges share no pixel: more than the square root of 2,
which the corners need, and the 5 % that metres of a grid may be off."""


def doubts(recipe: Recipe, summary: PlanSummary, today: date | None = None) -> list[str]:
    """Likely mistakes, one line each: future periods, more dates than days, no data, splits that touch.

    Args:
        recipe: of the plan.
        summary: what planning found.
        today: UTC; the clock's day if absent.
    """
    today = today or datetime.now(UTC).date()
    found = []
    for window in recipe.windows:
        found += _of_window(window, today)
    if _nothing_anywhere(summary):
        found.append(
            f"no archive has data here: the samples lie at {ground(summary.bounds)}; "
            "longitude comes before latitude in a bbox, in GeoJSON and in WKT: are the two swapped?"
        )
    splits, overhang = recipe.splits, recipe.overhang_m
    gap = splits.least_gap_m
    if len(summary.splits) > 1 and gap is not None and gap < overhang:
        what = f"{widest_layer(recipe)} (grid.extents)" if recipe.widest_m > recipe.grid.size_m else "coarse pixels"
        found.append(
            f"{what} cover up to {overhang:g} m more than a footprint of {recipe.grid.size_m:g} m, and splits are "
            f"{gap:g} m apart: splits.buffer_m: {buffer_for(recipe)} keeps them from sharing pixels"
        )
    return [*found, *_unaligned(recipe), *_idle(recipe)]


def widest_layer(recipe: Recipe) -> str:
    """The layer with the largest extent of its own."""
    return max(recipe.extents, key=lambda name: recipe.extents[name])


def buffer_for(recipe: Recipe) -> int:
    """Distance between footprints of two splits, metres, that keeps all layers of both on ground of their own."""
    return math.ceil(_DIAGONAL * recipe.overhang_m)


def _unaligned(recipe: Recipe) -> list[str]:
    """Layers whose pixels would be copied over the footprint, and lie askew of the archive's with their own extent."""
    found, snap = [], recipe.grid.snap_m
    if snap is None:
        return []
    for name in recipe.extents:
        modality = recipe.modalities.get(name)
        shift = (recipe.size_of(name) - recipe.grid.size_m) / 2.0
        for layer in () if modality is None else modality.layers:
            edge = layer.resolution_m
            if recipe.resolution_of(name, layer.name) == edge and _whole(snap / edge) and not _whole(shift / edge):
                found.append(
                    f"{name}: with grid.extents {recipe.size_of(name):g} its corners lie {abs(shift):g} m off the "
                    f"footprint's, no whole number of pixels of {edge:g} m: {layer.name} is resampled even from an "
                    f"archive whose pixels footprints copy; an extent that differs from {recipe.grid.size_m:g} by a "
                    f"multiple of {2 * edge:g} m keeps to them"
                )
    return found


def _whole(number: float) -> bool:
    return abs(number - round(number)) < 1e-6


def _idle(recipe: Recipe) -> list[str]:
    """A base pixel that is stated and that no layer has."""
    stated = "resolution_m" in recipe.grid.model_fields_set
    if not stated or recipe.grid.resolution_m in recipe.resolutions:
        return []
    held = ", ".join(f"{edge:g} m" for edge in sorted(recipe.resolutions))
    name = next(iter(recipe.modalities))
    note = (
        f"grid.resolution_m: {recipe.grid.resolution_m:g} is the pixel of no layer: images keep their own ({held}); "
        f"`grid: {{ resolutions: {{ {name}: {recipe.grid.resolution_m:g} }} }}` gives {name} this one"
    )
    return [note]


def _of_window(window: Window, today: date) -> list[str]:
    """A window in the future, with more dates than days, or that its `count` cuts."""
    found, name = [], f"window {window.name!r}"
    spans = [part.period for part in window.parts() if part.period is not None]
    if spans:
        first, last = min(start for start, _ in spans), max(end for _, end in spans)
        if first > today:
            found.append(f"{name} starts {first}, in the future: no archive has scenes of it yet")
        elif last > today:
            found.append(f"{name} ends {last}, in the future: later scenes are not in this plan")
    days = (last - first).days + 1 if spans else sum(reach.days for reach in window.reach) + 1
    if window.follows is None and window.shift is None and not window.dates and window.every != "month":
        if window.count > days:
            found.append(f"{name} asks for {window.count} dates (count) but has only {days} days")
        elif window.count > 1 and window.every is None:
            found.append(
                f"{name} has count: {window.count}, so it is cut into {window.count} parts of "
                f"{days / window.count:.3g} days with one date from each; for all its dates write every: scene"
            )
    return found


def out_of_extent(recipe: Recipe, bounds: Sequence[float], holdings: Sequence[Holding]) -> list[str]:
    """Collections that, by their archive's own description, have nothing where or when they are asked for: a line for
    all that say the same.

    Args:
        recipe: of the plan.
        bounds: west, south, east, north of the samples, degrees; west > east crosses the antimeridian.
        holdings: what the archives say that they hold.
    """
    said: dict[str, list[str]] = {}
    for h in holdings:
        who = f"{h.layer} ({h.collection} of {h.provider})"
        if bounds and h.bboxes and not _meets(BBox(*bounds), h.bboxes):
            west, south, east, north = bounds
            swapped = _meets(BBox(south, west, north, east), h.bboxes)
            hint = "; with longitude and latitude swapped they would match: longitude comes first" if swapped else ""
            where = ", ".join(ground(b) for b in h.bboxes[:2])
            said.setdefault(f"is at {where}, but the samples are at {ground(bounds)}{hint}", []).append(who)
        for window in _windows_of(recipe, h.layer):
            before = h.begins is not None and window[2] < h.begins
            after = h.ends is not None and window[1] > h.ends
            if before or after:
                held = f"begins {h.begins}" if before else f"ends {h.ends}"
                seen = f"{held}, and window {window[0]!r} is {window[1]} to {window[2]}"
                said.setdefault(seen, []).append(who)
    return [f"{', '.join(dict.fromkeys(who))} {words}" for words, who in said.items()]


def ground(bounds: Sequence[float]) -> str:
    """'11.20 to 11.29 E, 48.10 to 48.18 N'."""
    if not bounds:
        return "an unknown place"
    west, south, east, north = bounds
    return f"{_span(west, east, 'E', 'W')}, {_span(south, north, 'N', 'S')}"


def _span(low: float, high: float, plus: str, minus: str) -> str:
    if low < 0 <= high or high < low:
        return f"{abs(low):.2f} {minus if low < 0 else plus} to {abs(high):.2f} {minus if high < 0 else plus}"
    return f"{abs(low):.2f} to {abs(high):.2f} {minus if low < 0 else plus}"


def _nothing_anywhere(summary: PlanSummary) -> bool:
    """Whether archives answered for every layer, and none of them holds a scene."""
    layers = summary.layers.values()
    only = {why.reason for layer in layers for why in layer.absent}
    return bool(layers) and not any(layer.found for layer in layers) and only == {Reason.NO_SCENE}


def _meets(ground: BBox, boxes: Sequence[BBox]) -> bool:
    return any(
        one.west <= two.east and two.west <= one.east and one.south <= two.north and two.south <= one.north
        for one in ground.sides()
        for box in boxes
        for two in box.sides()
    )


def _windows_of(recipe: Recipe, layer: str) -> list[tuple[str, date, date]]:
    for source in recipe.sources:
        if source.name == layer:
            return list(dict.fromkeys((w.name, *w.period) for w in recipe.slots_of(source) if w.period is not None))
    return []
