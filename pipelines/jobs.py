"""The work of the commands: plan a dataset, build it, report its status."""

from __future__ import annotations

import contextlib
import json
import os
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from pipelines.access.archives import Archives
from pipelines.access.http.folder import RECIPE_FOLDER
from pipelines.access.openstreetmap.extract import is_extract
from pipelines.assemble import check_settings, form_of
from pipelines.cycles import settled
from pipelines.engines import FAR, LOCAL
from pipelines.fuse import fuse_labels
from pipelines.fusion.check import check_fused
from pipelines.fusion.coming import want
from pipelines.journal import Journal, LimitReached, Limits, Prices, Spent, read_prices, total
from pipelines.plan import (
    complete_plan,
    end_planning,
    make_plan,
    map_extract,
    plan_elsewhere,
    plan_text,
    vector_extracts,
)
from pipelines.progress import ProgressPrinter
from pipelines.shards import (
    ClaimedError,
    claimed,
    clean_staging,
    done_shards,
    finalise,
    is_finished,
    ledger_of,
    room_needed,
    share_plan,
    unasked,
    withdraw,
)
from pipelines.shards.desk import address_of, is_url
from pipelines.shards.text_revision import withdraw_texts
from pipelines.speak import check_texts, speak
from pipelines.status import SAMPLE, Status, status_of
from pipelines.tables import (
    PLAN_FOLDER,
    WORK_FOLDER,
    EngineCost,
    Hrefs,
    PlanError,
    PlanSummary,
    check_whole,
    read_recipe_of,
    read_shard,
    read_shard_table,
    read_summary,
    unfinished_in,
)
from schemas.identity import ABSENT, differences
from schemas.outcome import Outcome, Reason

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from pipelines.engines import Engine
    from pipelines.recipes import RecipeFile
    from pipelines.worker import Built

MOST_DIFFERENCES = 8
"""Keys that a message names where two recipes differ."""
MAX_FAILED = 0.01
"""One shard in a hundred may fail without holding back the others."""


class BuildError(RuntimeError):
    """The build cannot go on; the text says why and what to do."""


@contextlib.contextmanager
def sole_builder(out: Path) -> Iterator[None]:
    """Hold the dataset's folder while building, on whatever host.

    Raises:
        BuildError: another build of this folder is running.
    """
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(claimed(out, "build", wait=False))
        except ClaimedError:
            raise BuildError(f"{out.name}: another build of this dataset is running; wait for it or stop it") from None
        yield


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """Limits of a build: when it stops early, and when it finishes with failed shards."""

    limits: Limits = field(default_factory=Limits)
    """Spending limits of this run."""
    prices: Prices | None = None
    """Prices; None = the list prices of landweave."""
    max_failed: float = MAX_FAILED
    """Share of the shards that may have failed in a dataset that is finished without them."""


def plan_dataset(file: RecipeFile, out: Path, *, again: bool, engine: Engine | None = None) -> PlanSummary:
    """Plan, unless `out` already has this recipe's plan; `again` repeats the requests that archives did not answer.

    The plan is the same, byte for byte, whoever plans its partitions: an `engine`, or threads of this process.

    Raises:
        EngineError: the engine failed; the partitions that are planned stay.
        PlanError: `out` belongs to another recipe.
        FusionError: a fused label of the recipe cannot be made.
        BuildError: a build of `out` is running.
        FullError: `out` cannot be written, or its disk is full.
        NotHeldError: an archive does not list a collection that the recipe asks of it.
        SettingError: a setting or a credential is missing in the environment.
    """
    os.environ[RECIPE_FOLDER] = str(file.folder)
    check_fused(file)
    check_texts(file)
    layers = [label.layer for label in file.recipe.fused]
    file = replace(file, recipe=file.recipe.base)
    with settled(), room_needed(out), sole_builder(out):
        check_settings(file.recipe, out / WORK_FOLDER, 1 if engine is None else engine.workers)
        summary = _planned(file, out, again=again, engine=engine)
        want(out, layers)
        return summary


def build_dataset(
    file: RecipeFile,
    out: Path,
    engine: Engine,
    *,
    retry_failed: bool = False,
    bounds: Bounds | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> Status:
    """Plan if need be, build the shards that are not there, write the catalogue.

    Args:
        file: the recipe.
        out: folder of the dataset.
        engine: who builds.
        retry_failed: also ask again for what archives did not deliver, and rebuild the shards that lack it.
        bounds: what the run may spend, and how much of it may fail.
        say: called with the cost of a new plan, before anything is fetched, and with notes at the end.

    Raises:
        BuildError: too many shards failed, or a build of `out` is running.
        LimitReached: what the run may spend does not bear the rest; what is built stays.
        EngineError: the engine failed.
        PlanError: `out` belongs to another recipe.
        FusionError: a fused label of the recipe cannot be made.
        FullError: the disk is full.
    """
    bounds = bounds or Bounds()
    _check_reach(out, engine)
    _check_limits(out, engine, bounds.limits)
    os.environ[RECIPE_FOLDER] = str(file.folder)  # workers inherit it; it is written nowhere
    check_fused(file)
    check_texts(file, settings=True)
    whole, file = file, replace(file, recipe=file.recipe.base)
    with room_needed(out), sole_builder(out):
        check_settings(file.recipe, out / WORK_FOLDER, engine.workers)
        known = read_summary(out / PLAN_FOLDER)
        summary = _planned(
            file, out, again=retry_failed and bool(known and known.unavailable), engine=_sharing(out, engine)
        )
        check_whole(out / PLAN_FOLDER, summary.parts)
        want(out, [label.layer for label in whole.recipe.fused])
        _with_extract(file, out, summary)
        if summary != known:
            say(plan_text(file.recipe, summary))
        clean_staging(out)
        form = form_of(file.recipe, summary)
        if retry_failed:
            withdraw(out, _lacking(out, done_shards(out, form)))
        todo = sorted(set(range(summary.shards)) - done_shards(out, form))
        failed: list[Built] = []
        if todo:
            withdraw(out, ())
            failed = _run(file, out, engine, todo, bounds, summary)
        if todo or not is_finished(out):
            _judge_failures(failed, summary.shards, bounds.max_failed, say)
            finalise(out, form, _ledger_of_failed(file, out, failed))
            if file.recipe.questions is not None:
                for line in unasked(out, file.recipe.questions.tasks):
                    say(line)
        fuse_labels(replace(whole, recipe=whole.recipe.textless), out, engine, say)
        if whole.recipe.texts:
            speak(whole, out, engine, say)
    return status_of(out)


def add_fused(file: RecipeFile, out: Path, engine: Engine, say: Callable[[str], None] = lambda _: None) -> None:
    """Add the fused labels of a recipe to a finished dataset, whoever built it.

    Args:
        file: the recipe: the dataset's sampling, grid and labels, and at least one label of `kind: fused`.
        out: folder of the dataset, or desk of one in an object store.
        engine: who reads and labels the shards.
        say: called with a line about what was added.

    Raises:
        BuildError: the recipe has no fused label, or a build of `out` is running.
        FusionError, AddError, EngineError: see `fuse_labels`.
    """
    if not file.recipe.fused:
        raise BuildError(
            f"{file.recipe.name}: has no label of `kind: fused`, which alone is made from a recipe; build the recipe, "
            "and add the dataset that it gives"
        )
    check_fused(file)
    with room_needed(out), sole_builder(out):
        fuse_labels(replace(file, recipe=file.recipe.textless), out, engine, say)


def add_text_sets(
    file: RecipeFile,
    out: Path,
    engine: Engine,
    say: Callable[[str], None] = lambda _: None,
    *,
    replace_old: bool = False,
) -> bool:
    """Add the sets of texts of a recipe to a dataset that is finished, or make them for the shards of one that grows.

    Args:
        file: the recipe: the dataset's, with `texts`.
        out: folder of the dataset, or desk of one in an object store.
        engine: who reads the shards and asks.
        say: called with a line about each set.
        replace_old: whether sets of the same names that were made in another way are replaced.

    Returns:
        Whether all are added; False where the dataset still grows or a batch is under way.

    Raises:
        BuildError: a build of `out` is running that could finish meanwhile, or other texts are being added.
        TextsError, AddError, PromptError, SettingError, EngineError: see `speak`.
    """
    check_texts(file, settings=True)
    with room_needed(out), contextlib.ExitStack() as stack:
        try:
            stack.enter_context(claimed(out, "texts", wait=False))
        except ClaimedError:
            raise BuildError(f"{out.name}: texts are being added by another command; wait for it or stop it") from None
        if is_finished(out):
            stack.enter_context(sole_builder(out))
        return speak(file, out, engine, say, replace=replace_old)


def withdraw_text_set(out: Path, name: str) -> int:
    """Take a set of texts out of a finished dataset; returns the revision without it.

    Raises:
        BuildError: a build of `out` is running. AddError: the dataset has no such set.
    """
    with room_needed(out), sole_builder(out):
        return withdraw_texts(out, name)


def _check_reach(out: Path, engine: Engine) -> None:
    """Refuse a folder that workers could not reach, before anything is planned.

    Raises:
        BuildError: they share no folder with this machine.
    """
    if engine.beam == FAR and not engine.command and not is_url(address_of(out)):
        raise BuildError(
            f"{out.name}: the workers of {FAR} share no folder with this machine; build into an object store "
            "(gs://BUCKET/NAME, s3://BUCKET/NAME), or with another --runner"
        )


def _check_limits(out: Path, engine: Engine, limits: Limits) -> None:
    """Limits use the journal, which is in the folder that all workers share.

    Raises:
        BuildError: the workers have none.
    """
    if limits and engine.beam != LOCAL and not engine.command and is_url(address_of(out)):
        raise BuildError(
            f"--max-requests and --max-cost do not work with {engine.beam} and a dataset in an object store: its "
            "workers share no folder; remove them, and limit the providers in the recipe: requests_per_s, eecu_hours"
        )


def _run(
    file: RecipeFile, out: Path, engine: Engine, todo: Sequence[int], bounds: Bounds, summary: PlanSummary
) -> list[Built]:
    """Build shards under a journal of their own; returns those that failed.

    Raises:
        LimitReached: some were not begun.
    """
    from pipelines.build import run_shards  # Beam takes seconds to import, and only building needs it

    form, estimate = form_of(file.recipe, summary), summary.estimate
    at_engine = estimate.earthengine or EngineCost()
    parts = {"": (estimate.requests, estimate.bytes), "earthengine_": (at_engine.requests, at_engine.bytes)}
    each = Spent(
        requests={name: round(requests / summary.shards) for name, (requests, _) in parts.items()},
        bytes={name: round(size / summary.shards) for name, (_, size) in parts.items()},
        eecu_s=3600.0 * at_engine.eecu_hours / summary.shards,
        seconds=estimate.seconds / summary.shards,
    )
    journal = Journal.begin(
        out / WORK_FOLDER,
        limits=bounds.limits,
        prices=bounds.prices or read_prices(),
        expected=each,
        shards=len(todo),
    )
    sizes = read_shard_table(out / PLAN_FOLDER).samples
    printer, total_samples = ProgressPrinter(f"building {file.recipe.name}"), int(sizes[list(todo)].sum())

    def watch() -> None:
        published = done_shards(out, form) & set(todo)
        under_way = sum(r.samples for r in journal.records() if r.state == "building" and r.shard not in published)
        printer(int(sizes[sorted(published)].sum()) + under_way, total_samples)

    try:
        failed = run_shards(out, todo, engine, watch)
    finally:
        journal.close()
    left = set(todo) - done_shards(out, form) - {b.shard for b in failed}
    if left and bounds.limits:
        spent = total(r.spent for r in journal.records() if r.state != "building")
        raise LimitReached(
            f"stopped at {bounds.limits.text(journal.prices)}: {len(todo) - len(left):,} of {len(todo):,} shards are "
            f"built, {len(left):,} are left; {spent.all_requests:,} requests and {spent.cost(journal.prices):.2f} "
            f"{journal.prices.currency} are spent; run again with a higher limit to continue"
        )
    return failed


def _judge_failures(failed: Sequence[Built], shards: int, max_failed: float, say: Callable[[str], None]) -> None:
    """A few failed shards do not hold back the others.

    Raises:
        BuildError: more failed than may.
    """
    if not failed:
        return
    numbers = ", ".join(str(b.shard) for b in failed[:8]) + (", ..." if len(failed) > 8 else "")
    why = failed[0].error or ""
    ours = " because of a bug in landweave" if "\n" in why else ""  # one line: the world failed the builder
    if len(failed) > max_failed * shards:
        raise BuildError(
            f"shards {numbers} failed{ours} ({len(failed)} of {shards:,}, more than --max-failed "
            f"{max_failed:g}); run again, or finish without them: --max-failed {len(failed) / shards:.2g}\n"
            f"{why}"
        )
    say(f"shards {numbers} failed{ours} and are left out; run again to build them\n{why}")


def _ledger_of_failed(file: RecipeFile, out: Path, failed: Sequence[Built]) -> dict[int, list[Outcome]]:
    """Failed shard -> a row of the ledger for each of its samples."""
    rows = {}
    with Archives(file.recipe.providers) as archives:
        hrefs = Hrefs(origins=archives.origins)
    for built in failed:
        kind = (built.error or "?").strip().splitlines()[-1].split(":")[0]
        plan = read_shard(out / PLAN_FOLDER, built.shard, hrefs)
        rows[built.shard] = [
            Outcome(sample_id=p.sample_id, layer=SAMPLE, slot=0, reason=Reason.SHARD_FAILED, detail=kind)
            for p in plan.places
        ]
    return rows


def _sharing(out: Path, engine: Engine) -> Engine | None:
    """The engine, if its workers share the folder of `out`, and so the plan that grows in it; else None."""
    far = engine.beam != LOCAL and not engine.command and (engine.beam == FAR or is_url(address_of(out)))
    return None if far else engine


def _on(out: Path, engine: Engine | None) -> Callable[[Sequence[int], Callable[[int], None], bool], None] | None:
    """What plans partitions on an engine; None = nothing beside this process.

    Raises:
        BuildError: the workers of the engine share no folder.
    """
    if engine is None or (engine.beam == LOCAL and not engine.command and engine.workers == 1):
        return None
    if _sharing(out, engine) is None:
        raise BuildError(
            f"plan --runner: the workers of {engine.beam} share no folder with this machine, and a plan grows in one; "
            "plan without --runner, or with local or flink"
        )

    def run(folder: Path, parts: Sequence[int], watch: Callable[[], None]) -> list[str]:
        from pipelines.build import run_shards  # Beam takes seconds to import

        return [built.error or "" for built in run_shards(folder, parts, engine, watch)]

    return lambda parts, progress, again: plan_elsewhere(out, parts, run, progress, again=again)


def _planned(file: RecipeFile, out: Path, *, again: bool, engine: Engine | None = None) -> PlanSummary:
    summary = read_summary(out / PLAN_FOLDER)
    _same_recipe(file, out, summary)
    if summary is not None and not again:
        return summary
    elsewhere = _on(out, engine)
    with Archives(file.recipe.providers) as archives:
        archives.check()
        work = out / WORK_FOLDER
        work.mkdir(parents=True, exist_ok=True)
        printer = ProgressPrinter(f"planning {file.recipe.name}", "locations")
        plan = make_plan if summary is None else complete_plan
        written = plan(file, archives, out / PLAN_FOLDER, work, printer, elsewhere)
        end_planning(out)
        prepared = [name for name in (written.extract, *written.vectors.values()) if name is not None]
        share_plan(out, [f"{WORK_FOLDER}/{name}" for name in prepared])
        return written


def _same_recipe(file: RecipeFile, out: Path, summary: PlanSummary | None) -> None:
    """See that what `out` holds, a plan or the beginning of one, is of this recipe.

    Raises:
        PlanError: it is of another; says what differs.
    """
    begun = None if summary is not None else unfinished_in(out / PLAN_FOLDER)
    there = read_recipe_of(out / PLAN_FOLDER) if summary is not None else begun.recipe if begun else None
    if there is None or there.sha256 == file.recipe.sha256 == (summary.recipe_sha256 if summary else there.sha256):
        return
    what = "an unfinished plan of another recipe"
    if summary is not None:
        done = len(done_shards(out, form_of(there, summary)))
        what = f"{done:,} of {summary.shards:,} shards of another recipe" if done else "the plan of another recipe"
    differ = [f"{key} ({_short(a)} there, {_short(b)} here)" for key, a, b in differences(there, file.recipe)]
    more = f" and {len(differ) - MOST_DIFFERENCES} more" if len(differ) > MOST_DIFFERENCES else ""
    listed = ", ".join(differ[:MOST_DIFFERENCES]) or "the recipe that is stored with the plan"
    raise PlanError(
        f"{out.name} holds {what}. Different: {listed}{more}. Repeat the --set you used, or name another folder"
    )


def _short(value: object) -> str:
    text = "absent" if value is ABSENT else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else text[:59] + "…"


def _with_extract(file: RecipeFile, out: Path, summary: PlanSummary) -> None:
    """Prepare the map extract again where a copied plan came without it, or it is damaged.

    Raises:
        PlanError: the recipe's extract is not the one of the plan.
    """
    work = out / WORK_FOLDER
    _with_vectors(file, out, summary)
    if summary.extract is None or is_extract(work / summary.extract):
        return
    found = map_extract(file, work)
    if found is None or found.parquet.name != summary.extract:
        planned, here = summary.inputs.get("openstreetmap", "?"), "none" if found is None else found.name
        raise PlanError(
            f"{out.name}: was planned with the map extract {planned}, but the recipe's extract is now {here}; "
            "put the old extract back, or name another folder"
        )


def _with_vectors(file: RecipeFile, out: Path, summary: PlanSummary) -> None:
    """Prepare the user's own vectors again where a copied plan came without them.

    Raises:
        PlanError: a file is not the one of the plan.
    """
    if all(is_extract(out / WORK_FOLDER / name) for name in summary.vectors.values()):
        return
    for layer, found in vector_extracts(file, out / WORK_FOLDER).items():
        if found.parquet.name != summary.vectors.get(layer):
            raise PlanError(
                f"{out.name}: was planned with {summary.inputs.get(layer, '?')} for {layer}, but the file is now "
                f"{found.name}; put the old file back, or name another folder"
            )


def _lacking(out: Path, done: set[int]) -> list[int]:
    """Published shards that lack something another try could bring."""
    return [shard for shard in sorted(done) if any(Reason(r["reason"]).retryable for r in ledger_of(out, shard))]
