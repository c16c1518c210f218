"""What the commands do: plan a dataset, build it, tell how far it is."""

from __future__ import annotations

import contextlib
import fcntl
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pipelines.access.stac import Archives
from pipelines.assemble import PLAN_FOLDER, WORK_FOLDER, check_settings, form_of
from pipelines.plan import complete_plan, make_plan
from pipelines.progress import ProgressPrinter
from pipelines.shards import clean_staging, done_shards, finalise, ledger_of, share_plan, withdraw
from pipelines.tables import Hrefs, PlanError, PlanSummary, read_plan, read_recipe_of, read_summary, write_plan
from schemas.outcome import Reason

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from pipelines.engines import Engine
    from pipelines.recipes import RecipeFile


class BuildError(RuntimeError):
    """The build cannot go on; the text says why and what to do."""


@contextlib.contextmanager
def sole_builder(out: Path) -> Iterator[None]:
    """Hold the dataset's folder while building.

    Raises:
        BuildError: another build of this folder is running on this machine.
    """
    out.mkdir(parents=True, exist_ok=True)
    with (out / ".lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BuildError(f"{out.name}: another build of this dataset is running; wait for it or stop it") from None
        yield


@dataclass(frozen=True, kw_only=True)
class Status:
    """How far a dataset is."""

    name: str
    """The recipe's name."""
    shards: int
    """Shards planned."""
    done: int
    """Shards published."""
    finished: bool
    """Whether the catalogue is written: the dataset can be opened."""
    samples: int
    """Samples planned."""
    outcomes: Mapping[str, Mapping[str, int]]
    """Layer -> reason -> how many, over the shards that are done."""
    undelivered: Sequence[str]
    """One line for each layer and provider that did not deliver what could be had on another try."""

    def json(self) -> dict[str, Any]:
        """As JSON."""
        return {**vars(self), "outcomes": {k: dict(v) for k, v in self.outcomes.items()}}

    def text(self) -> str:
        """As a table for a person."""
        state = "finished" if self.finished else "not finished"
        lines = [f"{self.name}: {state}, {self.done} of {self.shards} shards, {self.samples:,} samples planned"]
        for layer, reasons in self.outcomes.items():
            wanted = sum(reasons.values())
            rest = ", ".join(f"{reason} {count:,}" for reason, count in reasons.items() if reason != Reason.OK)
            lines.append(
                f"  {layer:15} {reasons.get(Reason.OK, 0):>7,} of {wanted:,} obtained" + (f"; {rest}" if rest else "")
            )
        return "\n".join(lines)


def plan_dataset(file: RecipeFile, out: Path, *, again: bool) -> PlanSummary:
    """Plan, unless `out` holds this recipe's plan already; `again` asks anew for what archives did not answer.

    Raises:
        PlanError: `out` belongs to another recipe.
        BuildError: a build of `out` is running.
        SettingError: a setting or a credential is missing in the environment.
    """
    with sole_builder(out):
        check_settings(file.recipe, out / WORK_FOLDER)
        return _planned(file, out, again=again)


def build_dataset(
    file: RecipeFile,
    out: Path,
    engine: Engine,
    *,
    retry_failed: bool = False,
    say: Callable[[str], None] = lambda _: None,
) -> Status:
    """Plan if need be, build the shards that are not there, write the catalogue.

    Args:
        file: the recipe.
        out: folder of the dataset.
        engine: who builds.
        retry_failed: also ask anew for what archives did not deliver, and rebuild the shards that lack it.
        say: told what a new plan will cost, before anything is fetched.

    Raises:
        BuildError: shards failed, or a build of `out` is running.
        EngineError: the engine failed.
        PlanError: `out` belongs to another recipe.
    """
    from pipelines.build import run_shards  # Beam takes seconds to import, and only building needs it

    with sole_builder(out):
        check_settings(file.recipe, out / WORK_FOLDER, engine.workers)
        known = read_summary(out / PLAN_FOLDER)
        summary = _planned(file, out, again=retry_failed and bool(known and known.unavailable))
        if summary != known:
            say(summary.text())
        clean_staging(out)
        form = form_of(file.recipe, summary.shards)
        if retry_failed:
            withdraw(out, _lacking(out, done_shards(out, form)))
        todo = sorted(set(range(summary.shards)) - done_shards(out, form))
        if todo:
            printer = ProgressPrinter(f"building {file.recipe.name}")
            failed = run_shards(out, todo, engine, lambda: len(done_shards(out, form)), printer)
            if failed:
                numbers = ", ".join(str(b.shard) for b in failed)
                raise BuildError(f"shards {numbers} failed by a mistake of ours:\n{failed[0].error}")
        if todo or not _finished(out):
            finalise(out, form)
        return status_of(out)


def status_of(out: Path) -> Status:
    """How far a dataset is.

    Raises:
        PlanError: there is no plan.
    """
    summary = read_summary(out / PLAN_FOLDER)
    if summary is None:
        raise PlanError(f"{out.name}: holds no plan and no dataset of landweave")
    recipe = read_recipe_of(out / PLAN_FOLDER)
    done = done_shards(out, form_of(recipe, summary.shards))
    counts: dict[str, Counter[str]] = {}
    lost: Counter[tuple[str, str]] = Counter()
    for shard in sorted(done):
        for row in ledger_of(out, shard):
            counts.setdefault(row["layer"], Counter())[row["reason"]] += 1
            if Reason(row["reason"]).retryable:
                lost[(row["layer"], row["provider"] or "?")] += 1
    return Status(
        name=recipe.name,
        shards=summary.shards,
        done=len(done),
        finished=_finished(out),
        samples=summary.samples,
        outcomes={layer: dict(sorted(reasons.items())) for layer, reasons in counts.items()},
        undelivered=[
            f"{layer}: provider {provider!r} did not deliver {count:,} of {sum(counts[layer].values()):,}; "
            "they are absent and in the ledger; run again with --retry-failed"
            for (layer, provider), count in sorted(lost.items())
        ],
    )


def _planned(file: RecipeFile, out: Path, *, again: bool) -> PlanSummary:
    summary = read_summary(out / PLAN_FOLDER)
    if summary is not None and summary.recipe_sha256 != file.recipe.sha256:
        raise PlanError(
            f"{out.name}: was planned from another recipe (or this one has changed since); "
            "choose another folder, or delete this one"
        )
    if summary is not None and not again:
        return summary
    with Archives(file.recipe.providers) as archives:
        archives.check()
        hrefs = Hrefs(origins=archives.origins)
        work = out / WORK_FOLDER
        work.mkdir(parents=True, exist_ok=True)
        plan = make_plan(file, archives, work, ProgressPrinter(f"planning {file.recipe.name}", "searches"))
        if summary is not None:
            old = read_plan(out / PLAN_FOLDER, hrefs)
            if old.shards != plan.shards:
                raise PlanError(f"{out.name}: a file that the places come from has changed; choose another folder")
            plan = complete_plan(old, plan, archives)
        written = write_plan(out / PLAN_FOLDER, plan, hrefs)
        share_plan(out, () if written.extract is None else (f"{WORK_FOLDER}/{written.extract}",))
        return written


def _lacking(out: Path, done: set[int]) -> list[int]:
    """Published shards that lack something another try could bring."""
    return [shard for shard in sorted(done) if any(Reason(r["reason"]).retryable for r in ledger_of(out, shard))]


def _finished(out: Path) -> bool:
    return (out / "landweave.json").exists()
