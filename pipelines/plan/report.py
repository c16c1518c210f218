"""The output of `plan`: places of the samples, found observations per layer with reasons, and cost of the build."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, get_args

from pipelines.plan.doubts import buffer_for, doubts, widest_layer
from pipelines.plan.licences import contradictions
from pipelines.plan.memory import memory_text, too_large
from pipelines.progress import counted, duration
from pipelines.tables import not_used, words_of
from schemas.crs import metric
from schemas.place import Split

if TYPE_CHECKING:
    from pipelines.tables import LayerFound, PlanSummary
    from schemas.recipe import Recipe

_KEEPERS = {
    "outside_area": "sampling.area decides",
    "outside_crs": "the epsg of these points is for other ground",
    "not_on_land": "sampling.area.land_only: false keeps them",
    "no_stratum": "rows that have no value in a column of sampling.balance",
    "overlap": "sampling.allow_overlap: true keeps them",
    "split_buffer": "splits.allow_overlap: true keeps them, a smaller splits.buffer_m fewer",
}
"""Reason that candidates are left out for -> the setting that keeps them."""


def plan_text(recipe: Recipe, summary: PlanSummary) -> str:
    """The plan as lines for a person."""
    lines = [f"samples   {summary.samples:,} in {counted(summary.shards, 'shard')}"]
    lines.append("splits    " + ", ".join(_splits(recipe, summary)))
    lines += [f"left out  {reason.replace('_', ' ')} {n:,} ({_keeper(recipe, reason)})" for reason, n in _lost(summary)]
    lines += [
        f"shared    {s['samples']:,} of {summary.splits[s['split']]:,} {s['split']} samples overlap {s['other']}: "
        f"{s['share']:.1%} of the ground of {s['split']}"
        for s in summary.shared
    ]
    lines += [_leak(found, recipe) for found in summary.leaks]
    if summary.layers:
        lines.append("layers    found of requested")
        lines += [_layer(name, layer) for name, layer in summary.layers.items()]
        lines += not_used(summary.layers)
    lines.append("scenes    " + (", ".join(f"{k} {v:,}" for k, v in summary.scenes.items()) or "none"))
    lines += [f"searches  {counted(summary.searches, 'request')}", *_costs(summary), memory_text(recipe)]
    if summary.attributes:
        lines.append("carried   " + ", ".join(f"{name} {kind}" for name, kind in summary.attributes.items()))
    if recipe.measured:
        lines.append("measured  " + ", ".join(f"{m.name} {m.kind} ({m.description})" for m in recipe.measured))
    notes = (*summary.notes, *doubts(recipe, summary), *too_large(recipe), *contradictions(recipe))
    lines += [f"note      {note}" for note in notes]
    return "\n".join(lines)


def trouble(summary: PlanSummary) -> list[str]:
    """One line for each layer that nothing was found for, or that an archive did not answer for."""
    lines = []
    for name in sorted({*summary.layers, *summary.unavailable}):
        layer, unanswered = summary.layers.get(name), summary.unavailable.get(name, 0)
        if layer is None:  # planned before layers were counted
            lines.append(f"{name}: {unanswered:,} requested observations could not be planned")
        elif unanswered:
            lines.append(
                f"{name}: {unanswered:,} of {layer.wanted:,} requested observations could not be planned: "
                f"{words_of(layer.unanswered)}; run `plan` again with --again to repeat them"
            )
        elif layer.wanted and not layer.found:
            why = words_of(layer.absent)
            lines.append(f"{name}: nothing was found for any of {layer.wanted:,} requested observations: {why}")
    return lines


def _keeper(recipe: Recipe, reason: str) -> str:
    """The setting that keeps candidates, or why none does."""
    if reason == "outside_crs" and recipe.grid.epsg is not None:
        return f"not ground of grid.crs: {metric(recipe.grid.epsg).words}"
    return _KEEPERS[reason]


def _splits(recipe: Recipe, summary: PlanSummary) -> list[str]:
    total, found = max(1, summary.samples), []
    for name in get_args(Split):
        asked, held = recipe.splits.asked(name), summary.splits.get(name, 0)
        if asked or held:
            wanted = "the file decides" if asked is None else f"asked {asked:.0%}"
            found.append(f"{name} {held:,} ({held / total:.0%}, {wanted})")
    return found


def _leak(found: dict[str, Any], recipe: Recipe) -> str:
    """The ground that two splits share, as one line."""
    who, what, cure = f"leakage   {found['split']} and {found['other']}", "footprints", 0
    if recipe.widest_m > recipe.grid.size_m:
        what = f"grounds of {recipe.widest_m:,.10g} m ({widest_layer(recipe)}, the widest layer)"
        cure = buffer_for(recipe)
    if found["pairs"]:
        verb = "overlaps" if found["pairs"] == 1 else "overlap"
        return f"{who}: {counted(found['pairs'], 'pair')} of {what} {verb} (splits.buffer_m: {cure} leaves them out)"
    return f"{who}: no {what} overlap, the nearest are {found['nearest_m']:,.0f} m apart"


def _lost(summary: PlanSummary) -> list[tuple[str, int]]:
    return [(reason, number) for reason, number in summary.left_out.items() if number]


def _layer(name: str, layer: LayerFound) -> str:
    line = f"  {name:15} {layer.found:>9,} of {layer.wanted:,}"
    return line + (f"; {words_of(layer.absent, with_codes=True)}" if layer.absent else "")


def _costs(summary: PlanSummary) -> list[str]:
    e = summary.estimate
    lines = [
        f"to fetch  about {counted(e.requests, 'request')}, {e.bytes / 1e6:,.1f} MB",
        f"to build  about {duration(e.seconds)} with one worker",
    ]
    if (engine := e.earthengine) is not None:
        lines.append(
            f"at Earth Engine  about {counted(engine.requests, 'request')}, "
            f"{engine.bytes / 1e6:,.1f} MB, {engine.eecu_hours:,.3g} EECU-hours "
            f"({engine.eecu_hours_least:,.3g} to {engine.eecu_hours_most:,.3g}: no prices are published), "
            f"{duration(3600 * engine.hours)} at the quota"
        )
    return lines
