"""Status of a dataset: progress, outcomes, cost, and estimated time left."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from pipelines.assemble import form_of
from pipelines.fusion.coming import coming
from pipelines.journal import Record, Spent, records_of, total
from pipelines.progress import counted, duration
from pipelines.shards import added_outcomes, done_shards, held, is_finished, ledger_of, why_absent
from pipelines.tables import (
    PLAN_FILE,
    PLAN_FOLDER,
    WORK_FOLDER,
    EngineCost,
    Estimate,
    PlanError,
    Unfinished,
    not_used,
    read_recipe_of,
    read_shard_table,
    read_summary,
    unfinished_in,
)
from schemas.outcome import Reason

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from pipelines.journal import Prices
    from schemas.recipe import Recipe

SAMPLE = "sample"
"""The ledger's layer for what concerns a sample as a whole."""


@dataclass(frozen=True, kw_only=True)
class Status:
    """Status of a dataset."""

    name: str
    """The recipe's name."""
    shards: int
    """Shards planned."""
    done: int
    """Shards published."""
    finished: bool
    """Whether the catalogue is written: the dataset can be opened."""
    running: bool
    """Whether a build or a planning holds the folder now, on this machine."""
    run: str | None
    """Id of the last run."""
    failed: Mapping[int, str]
    """Shards that the last run could not build -> kind of error; the run's log says more."""
    building: Sequence[Mapping[str, Any]]
    """Shards that were begun and have not ended: 'shard', 'worker', 'since_s'. None is expected when nothing runs."""
    samples: int
    """Samples planned."""
    outcomes: Mapping[str, Mapping[str, int]]
    """Layer -> reason -> how many, over the shards that are done."""
    undelivered: Sequence[str]
    """One line for each layer and provider that did not deliver what could be had on another try."""
    empty: Sequence[str] = ()
    """One line, with the reason, per layer without any observation, except those of `undelivered`."""
    not_used: Sequence[str] = ()
    """One line for each layer of which the plan found something that cannot be used."""
    to_come: Sequence[str] = ()
    """One line for each fused label of the recipe that the dataset does not have yet."""
    spent: Spent
    """By all runs of this dataset, those of failed shards included."""
    estimate: Estimate
    """Planned cost of the build."""
    seconds_left: float | None
    """At the pace of the last run, while one runs; else None."""

    @property
    def left(self) -> int:
        """Shards to build."""
        return self.shards - self.done

    def json(self, prices: Prices | None = None) -> dict[str, Any]:
        """As JSON; with prices, also 'cost' and 'currency'."""
        plain: dict[str, Any] = {**vars(self), "left": self.left}
        plain |= {"spent": self.spent.json(), "estimate": self.estimate.json()}
        plain["outcomes"] = {layer: dict(reasons) for layer, reasons in self.outcomes.items()}
        plain["failed"] = {str(shard): error for shard, error in self.failed.items()}
        if prices is not None:
            plain |= {"cost": round(self.spent.cost(prices), 4), "currency": prices.currency}
        return plain

    def text(self, prices: Prices | None = None) -> str:
        """The status as a table to print."""
        state = "finished" if self.finished else "building" if self.running else "not finished"
        built, planned = f"{self.done:,} of {counted(self.shards, 'shard')}", counted(self.samples, "sample")
        lines = [f"{self.name}: {state}, {built}, {planned} planned"]
        if self.seconds_left is not None:
            lines.append(f"  about {duration(self.seconds_left)} left")
        if self.failed:
            some = ", ".join(f"{shard} ({error})" for shard, error in list(self.failed.items())[:8])
            lines.append(f"  {len(self.failed)} shards failed because of a bug in landweave: {some}")
        lines += [f"  shard {b['shard']}: on {b['worker']} for {duration(b['since_s'])}" for b in self.building]
        for layer, reasons in self.outcomes.items():
            wanted = sum(reasons.values())
            rest = ", ".join(f"{reason} {count:,}" for reason, count in reasons.items() if reason != Reason.OK)
            lines.append(
                f"  {layer:{self._widest}} {reasons.get(Reason.OK, 0):>9,} of {wanted:,} obtained"
                + (f"; {rest}" if rest else "")
            )
        return "\n".join([*lines, *(f"  {line}" for line in self.to_come), *self.not_used, *self._spent_lines(prices)])

    @property
    def _widest(self) -> int:
        """Width of the column of names, characters."""
        return max(15, *map(len, (*self.outcomes, *self.spent.requests)))

    def _spent_lines(self, prices: Prices | None) -> list[str]:
        lines = [
            f"  {provider:{self._widest}} {requests:>9,} requests, {self.spent.bytes.get(provider, 0) / 1e6:,.1f} MB, "
            f"{self.spent.retries.get(provider, 0):,} retries, {self.spent.failures.get(provider, 0):,} failed"
            for provider, requests in self.spent.requests.items()
        ]
        whole = [f"worker time {duration(self.spent.seconds)}"]
        comparable = (
            self.done == self.shards and self.estimate != Estimate()
        )  # only then do the two speak of the same thing
        if comparable:
            requests, size = self.estimate.all_requests, self.estimate.all_bytes
            whole = [
                f"{counted(self.spent.all_requests, 'request')} (estimated {requests:,.0f})",
                f"{self.spent.all_bytes / 1e6:,.1f} MB (estimated {size / 1e6:,.1f})",
                f"worker time {duration(self.spent.seconds)} (estimated {duration(self.estimate.seconds)})",
            ]
        if self.spent.eecu_s:
            engine = self.estimate.earthengine or EngineCost()
            expected = f" (estimated {engine.eecu_hours:.3g})" if comparable else ""
            whole.append(f"{self.spent.eecu_s / 3600:.3g} EECU-hours{expected}")
        if self.spent.tokens:
            whole.append(f"{self.spent.tokens:,} tokens")
        if prices is not None:
            whole.append(f"{self.spent.cost(prices):.2f} {prices.currency} at list prices")
        return [*lines, "  spent: " + ", ".join(whole)] if self.spent.seconds else lines


@dataclass(frozen=True, kw_only=True)
class Planning:
    """A dataset whose planning is under way or was interrupted: there is nothing of it yet but a part of its plan."""

    name: str
    """The folder's."""
    running: bool
    """Whether a command holds the folder now, on this machine."""
    samples: int
    """Samples placed; 0 where that has not ended."""
    planned: int
    """Partitions planned."""
    parts: int
    """Partitions in all."""

    def json(self) -> dict[str, Any]:
        """The status as JSON."""
        return {"state": "planning" if self.running else "planning interrupted", **vars(self)}

    def text(self) -> str:
        """The status as a line to print."""
        state = "is being planned" if self.running else "planning was interrupted"
        how = (
            f"{self.planned:,} of {counted(self.parts, 'partition')} planned, {counted(self.samples, 'sample')} placed"
        )
        line = f"{self.name}: {state}, {how if self.parts else 'before its samples were placed'}"
        return line if self.running else f"{line}; run the same command again to continue"


def planning_of(out: Path) -> Planning | None:
    """Progress of an unfinished plan; None if there is a plan, or nothing."""
    if not out.is_dir() or (out / PLAN_FOLDER / PLAN_FILE).exists():
        return None
    begun, running = unfinished_in(out / PLAN_FOLDER), held(out, "build")
    if begun is None and not (out / WORK_FOLDER).is_dir() and not running:
        return None
    begun = begun or Unfinished()
    return Planning(name=out.name, running=running, samples=begun.samples, planned=begun.planned, parts=begun.parts)


def status_of(out: Path) -> Status:
    """Status of a dataset.

    Raises:
        PlanError: there is no plan.
    """
    summary = read_summary(out / PLAN_FOLDER)
    if summary is None:
        raise PlanError(f"{out.name}: contains no plan and no dataset of landweave")
    sizes = read_shard_table(out / PLAN_FOLDER).samples
    recipe = read_recipe_of(out / PLAN_FOLDER)
    done = done_shards(out, form_of(recipe, summary))
    outcomes, undelivered, empty = _outcomes(out, done, recipe)
    records = records_of(out / WORK_FOLDER)
    last = [r for r in records if r.run == records[-1].run]
    running = held(out, "build")
    return Status(
        name=recipe.name,
        shards=summary.shards,
        done=len(done),
        finished=is_finished(out),
        running=running,
        run=last[0].run if last else None,
        failed={r.shard: r.error or "?" for r in last if r.state == "failed" and r.shard not in done},
        building=_building(last) if running else [],
        samples=summary.samples,
        outcomes=outcomes | added_outcomes(out, outcomes),
        undelivered=undelivered,
        empty=empty,
        not_used=not_used(summary.layers),
        to_come=coming(out, summary.shards, running=running),
        spent=total(r.spent for r in records if r.state != "building"),
        estimate=summary.estimate,
        seconds_left=_seconds_left(last, sizes, done) if running else None,
    )


def _outcomes(out: Path, done: set[int], recipe: Recipe) -> tuple[dict[str, dict[str, int]], list[str], list[str]]:
    """(layer -> reason -> number; lines about providers that did not deliver; lines about layers without data)."""
    counts: dict[str, Counter[str]] = {}
    lost: Counter[tuple[str, str]] = Counter()
    for shard in sorted(done):
        for row in ledger_of(out, shard):
            counts.setdefault(row["layer"], Counter())[row["reason"]] += 1
            if Reason(row["reason"]).retryable:
                lost[(row["layer"], row["provider"] or "?")] += 1
    wanted = {*(s.name for s in recipe.sources), *(x.layer for x in recipe.read_labels), *recipe.derived}
    nothing = [layer for layer in sorted(wanted & counts.keys()) if not counts[layer][Reason.OK]]
    why = why_absent(r for s in sorted(done) for r in ledger_of(out, s, "detail")) if nothing else {}
    undelivered = [
        f"{layer}: provider {provider!r} did not deliver {count:,} of {counts[layer].total():,}"
        + (f": {why[layer]}" if layer in nothing else "")
        + "; the ledger lists them; run again with --retry-failed to get them"
        for (layer, provider), count in sorted(lost.items())
    ]
    empty = [
        f"{layer}: nothing was obtained of {counts[layer].total():,} requested observations: {why[layer]}"
        for layer in nothing
        if not any(name == layer for name, _ in lost)
    ]
    return {layer: dict(sorted(reasons.items())) for layer, reasons in counts.items()}, undelivered, empty


def _building(records: list[Record]) -> list[dict[str, Any]]:
    now = datetime.now(UTC)
    return [
        {"shard": r.shard, "worker": r.worker, "since_s": max(0.0, (now - _time(r.began)).total_seconds())}
        for r in records
        if r.state == "building"
    ]


def _seconds_left(records: list[Record], sizes: NDArray[np.int32], done: set[int]) -> float | None:
    """Time left at the rate of samples since the first shard of the run started.

    Args:
        records: of the run.
        sizes: (shards,) samples of each.
        done: shards that are published.
    """
    under_way = sum(r.samples for r in records if r.state == "building" and r.shard not in done)
    read = under_way + sum(int(sizes[r.shard]) for r in records if r.state == "built")
    if not read:
        return None
    elapsed_s = (datetime.now(UTC) - min(_time(r.began) for r in records)).total_seconds()
    left = int(sizes.sum()) - int(sizes[sorted(done)].sum()) - under_way
    return max(0.0, elapsed_s) / read * max(0, left)


def _time(stated: str) -> datetime:
    return datetime.fromisoformat(stated)
