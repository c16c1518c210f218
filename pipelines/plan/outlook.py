"""The table that `plan` prints about more workers, from a simulation with the recipe's limits."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipelines.plan.estimate import LINK_BYTES_S, REQUEST_S
from pipelines.plan.simulate import Provider, Workload, enough, outlook
from pipelines.progress import duration
from pipelines.tables import EngineCost, ProviderCost
from schemas.earthengine import EarthEngineProvider

if TYPE_CHECKING:
    from pipelines.journal import Prices
    from pipelines.tables import PlanSummary
    from schemas.recipe import Recipe


def workload_of(recipe: Recipe, summary: PlanSummary) -> Workload:
    """The workload of a planned build, for the simulation."""
    estimate, shards = summary.estimate, max(1, summary.shards)
    engine = estimate.earthengine or EngineCost()
    providers = {}
    for name, entry in recipe.providers.items():
        if isinstance(entry, EarthEngineProvider):
            asked: ProviderCost | EngineCost = engine
            slots, busy_s = entry.slots, engine.hours * 3600.0 * entry.slots
        else:
            asked = estimate.providers.get(name, ProviderCost())
            slots, busy_s = entry.concurrency, asked.requests * REQUEST_S
        if asked.requests:
            providers[name] = Provider(
                requests=asked.requests / shards,
                bytes=asked.bytes / shards,
                slots=slots,
                latency_s=busy_s / asked.requests,
                per_s=entry.requests_per_s,
            )
    return Workload(
        shards=shards,
        cpu_s=estimate.cpu_seconds / shards,
        providers=providers,
        link_bytes_s=LINK_BYTES_S,
        eecu_s=engine.eecu_hours * 3600.0,
    )


def outlook_text(recipe: Recipe, summary: PlanSummary, prices: Prices) -> str:
    """The table to print: workers, time, cost and bottleneck, and the largest useful number of workers."""
    found = outlook(workload_of(recipe, summary), prices)
    lines = ["workers         time   speed-up   cost         most of the time"]
    for f in found:
        cost = f"{f.cost:,.2f} {prices.currency}"
        lines.append(f"{f.workers:>7,} {duration(f.seconds):>12} {f.speedup:>10.1f}   {cost:<12} {f.bound}")
    best = enough(found)
    if best is not found[-1]:
        slower = found[found.index(best) + 1]
        lines.append(_enough(best.workers, slower.bound))
    return "\n".join(lines)


_BOUNDS = {
    "start": "start-up time dominates",
    "processor": "they are busy computing",
    "link": "each waits for its own network link",
    "last shards": "they wait for the last shards",
    "catalogue": "one process writes the catalogue",
}
"""Bottleneck -> why more workers do not help; other bottlenecks are archives."""


def _enough(workers: int, bound: str) -> str:
    why = _BOUNDS.get(bound, f"they wait for {bound}, whose limits they share")
    many = "one worker hardly helps" if workers == 1 else f"about {workers:,} workers hardly help"
    return f"more than {many}: {why}"
