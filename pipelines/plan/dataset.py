"""Plans a dataset partition by partition; an interrupted planning keeps its finished partitions."""

from __future__ import annotations

import gc
import os
import shutil
import threading
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pipelines.access.holdings import holdings_of
from pipelines.access.openstreetmap.extract import is_extract
from pipelines.access.threads import threads
from pipelines.durable import move_durably, sync_tree
from pipelines.plan.doubts import out_of_extent
from pipelines.plan.estimate import cut_of, estimate, examples_of, read_whole
from pipelines.plan.own_vectors import check_vectors
from pipelines.plan.partition import complete, find, share_scenes
from pipelines.plan.places import identity_of, inputs_of, laid_in, lay, map_extract, vector_extracts
from pipelines.tables import (
    PLACES,
    PLAN_FILE,
    TEXTS,
    DamagedPlanError,
    Estimate,
    Hrefs,
    LayerFound,
    PlanError,
    PlanSummary,
    added,
    added_up,
    damaged,
    facts_of,
    files_of,
    growing_of,
    read_part,
    read_summary,
    tally_of,
    write_part,
    write_summary,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from pipelines.access.archives import Archives
    from pipelines.plan.places import Laid
    from pipelines.recipes import RecipeFile
    from pipelines.tables import PartPlan
    from schemas.recipe import Recipe

    Progress = Callable[[int, int], None]
    Elsewhere = Callable[[Sequence[int], Callable[[int], None], bool], None]
    """Plans partitions on an engine: their numbers, what is called with how many of them are planned, and whether the
    plan that is there is completed."""

AGAIN = "again.json"
"""In a plan that is being completed: plan.json of the one it comes from."""
FACTS = frozenset({"scenes", "searches", "unavailable", "estimate", "examples"})
"""Content of a partition's JSON file."""
PARTS_AT_ONCE = 2
"""Partitions planned side by side: while one computes, the other waits for archives."""
_COLLECT_AFTER = 100_000
"""Objects made until Python looks for cycles: its 700 cost a third of the time, and plans make none."""


def make_plan(
    file: RecipeFile,
    archives: Archives,
    folder: Path,
    work: Path,
    progress: Callable[[int, int], None],
    elsewhere: Elsewhere | None = None,
) -> PlanSummary:
    """Plan a dataset, or continue an interrupted planning.

    Memory: see `docs/planning.md`; the largest pieces are the columns of all places while they are drawn, and
    afterwards PARTS_AT_ONCE partitions.

    Args:
        file: the recipe and its folder.
        archives: its providers, open.
        folder: where the plan will be; until it is whole it grows beside, as '.NAME-next'.
        work: folder for the prepared map extract.
        progress: called with (locations planned, locations in all).
        elsewhere: who plans the partitions after the first; None = threads of this process.

    Raises:
        NotHeldError: an archive does not list a collection that is asked of it; nothing was searched.
        SamplingError: the recipe's area or points cannot be used.
        SettingError: an environment variable is missing.
    """
    growing = growing_of(folder)
    known = laid_in(growing)
    if known is None or known.identity != identity_of(file):
        shutil.rmtree(growing, ignore_errors=True)
    try:
        return _planned(file, archives, folder, work, progress, elsewhere)
    except DamagedPlanError:  # an earlier run left an incomplete plan: start again
        shutil.rmtree(growing, ignore_errors=True)
        return _planned(file, archives, folder, work, progress, elsewhere)


def _planned(
    file: RecipeFile, archives: Archives, folder: Path, work: Path, progress: Progress, elsewhere: Elsewhere | None
) -> PlanSummary:
    """Plan the partitions that are missing in `folder`."""
    growing = growing_of(folder)
    _sweep(growing)
    check_vectors(file, work)
    holdings = holdings_of(archives, file.recipe)
    laid = lay(file, growing, work)
    missing = [part for part in range(laid.parts) if _facts(growing, part) is None]
    notes = out_of_extent(file.recipe, laid.bounds, holdings)
    _plan_parts(_Under(growing, archives, laid), missing, progress, elsewhere)
    return _finish(file.recipe, growing, folder, laid, notes)


def complete_plan(
    file: RecipeFile,
    archives: Archives,
    folder: Path,
    work: Path,
    progress: Callable[[int, int], None],
    elsewhere: Elsewhere | None = None,
) -> PlanSummary:
    """Plan again the partitions for which an archive did not answer; answered parts stay.

    Arguments as for `make_plan`; `folder` holds a whole plan of this recipe.

    Raises:
        PlanError: a file that the places come from has changed.
    """
    laid, summary = laid_in(folder), read_summary(folder)
    if laid is None:
        raise damaged(folder / PLACES)
    if summary is None or laid.identity["inputs"] != inputs_of(file):
        raise PlanError(
            f"{folder.parent.name}: the file of the area or of the points changed after planning; "
            "put the old file back, or name another folder"
        )
    if summary.extract is not None and not is_extract(work / summary.extract):
        map_extract(file, work)
    if not all(is_extract(work / name) for name in summary.vectors.values()):
        vector_extracts(file, work)
    if not summary.unavailable:
        return summary
    told_of = {part: _facts(folder, part) for part in range(laid.parts)}
    lacking = [part for part, facts in told_of.items() if facts is None or facts["unavailable"]]
    growing = growing_of(folder)
    if not (growing / AGAIN).exists() or (growing / AGAIN).read_bytes() != (folder / PLAN_FILE).read_bytes():
        shutil.rmtree(growing, ignore_errors=True)
        _begin_again(folder, growing, laid, set(lacking))
    missing = [part for part in lacking if _facts(growing, part) is None]
    _plan_parts(_Under(growing, archives, laid, folder), missing, progress, elsewhere)
    return _finish(file.recipe, growing, folder, laid, [n for n in summary.notes if n not in laid.notes])


def plan_part(
    folder: Path, number: int, archives: Archives, progress: Callable[[float], None], old: Path | None = None
) -> dict[str, Any]:
    """Plan one partition and write it; needs nothing but the folder, so any worker can do it.

    Partition 0 says how rasters are cut, for the estimates of all: plan it first.

    Args:
        folder: of the plan under way, places written.
        number: the partition.
        archives: the recipe's providers, open.
        progress: called with the share that is done, 0..1.
        old: folder of a plan whose partition is to be completed; None = plan it from nothing.

    Returns:
        The partition's record, as in its JSON file.
    """
    hrefs = Hrefs(origins=archives.origins)
    part = read_part(folder, number) if old is None else read_part(old, number, hrefs)
    before: dict[str, Any] = {} if old is None else _facts(old, number) or {}
    if old is None:
        find(part, archives, progress)
        share_scenes(part)
    else:
        complete(part, archives, progress)
    first = None if number == 0 else _facts(folder, 0)
    shown = {} if first is None else {k: (name, hrefs.expand(href)) for k, (name, href) in first["examples"].items()}
    shown = examples_of(part) | shown
    cuts = {key: cut for key in sorted(shown) if (cut := cut_of(archives, shown[key])) is not None}
    part.words.update(read_whole(part, cuts))
    layers = tally_of(part)
    for name, known in before.get("layers", {}).items():
        layers[name].dropped += LayerFound.from_json(known).dropped
    facts = {
        "layers": {name: layer.json() for name, layer in layers.items()},
        "scenes": {layer: len(scenes) for layer, scenes in sorted(part.scenes.items())},
        "searches": before.get("searches", 0) + part.searches,
        "unavailable": _unavailable(part),
        "estimate": estimate(part, cuts).json(),
        "examples": {k: (name, hrefs.shorten(href)) for k, (name, href) in shown.items()} if number == 0 else {},
    }
    if part.words:
        facts["words"] = dict(sorted(part.words.items()))
    write_part(folder, part, facts, hrefs)
    return facts


@dataclass(frozen=True)
class _Under:
    """A plan under way."""

    folder: Path
    archives: Archives
    laid: Laid
    old: Path | None = None
    """Folder of the plan that it completes."""


def _plan_parts(plan: _Under, missing: Sequence[int], progress: Progress, elsewhere: Elsewhere | None) -> None:
    """Plan partitions in parallel; the first failure ends planning, and finished partitions stay."""
    laid, shares = plan.laid, dict.fromkeys(missing, 0.0)
    lock = threading.Lock()

    def said(done: float) -> None:
        progress(round((laid.parts - len(shares) + done) / laid.parts * laid.samples), laid.samples)

    def one(part: int) -> None:
        def share(done: float) -> None:
            with lock:
                shares[part] = done
                said(sum(shares.values()))

        plan_part(plan.folder, part, plan.archives, share, plan.old)

    rest = list(missing)
    with seldom_collecting():
        if rest and rest[0] == 0:
            one(rest.pop(0))
        if elsewhere is not None and len(rest) > 1:
            before = len(missing) - len(rest)
            elsewhere(rest, lambda planned: said(before + planned), plan.old is not None)
            return
        with threads(PARTS_AT_ONCE, "plan") as pool:
            for _ in pool.map(one, rest):
                pass


@contextmanager
def seldom_collecting() -> Iterator[None]:
    """Let Python look for cycles seldom."""
    before = gc.get_threshold()
    gc.set_threshold(_COLLECT_AFTER, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)


def _finish(recipe: Recipe, growing: Path, folder: Path, laid: Laid, notes: Sequence[str]) -> PlanSummary:
    """Add up the partitions, and put the plan in place; `notes` follow those on the places."""
    scenes: Counter[str] = Counter()
    unavailable: Counter[str] = Counter()
    words: Counter[str] = Counter()
    estimates, searches, layers = [], 0, []
    for part in range(laid.parts):
        facts = _facts(growing, part)
        assert facts is not None  # noqa: S101 - all partitions are planned
        scenes.update(facts["scenes"])
        unavailable.update(facts["unavailable"])
        words.update(facts.get("words", {}))
        searches += facts["searches"]
        estimates.append(Estimate.from_json(facts["estimate"]))
        layers.append({name: LayerFound.from_json(known) for name, known in facts.get("layers", {}).items()})
    if laid.map_found:
        layers.append({"openstreetmap": LayerFound.from_json(laid.map_found)})
    layers.append({name: LayerFound.from_json(known) for name, known in laid.vectors_found.items()})
    summary = PlanSummary(
        recipe_sha256=recipe.sha256,
        samples=laid.samples,
        shards=laid.shards,
        parts=laid.parts,
        scenes=dict(sorted(scenes.items())),
        layers=added(layers),
        left_out=laid.left_out,
        searches=searches,
        estimate=added_up(estimates),
        unavailable=dict(sorted(unavailable.items())),
        inputs=laid.inputs,
        splits=laid.splits,
        extract=laid.extract,
        vectors=laid.vectors,
        notes=[*laid.notes, *notes, *(f"{text}: {number:,}" for text, number in sorted(words.items()))],
        bounds=laid.bounds,
        attributes=laid.attributes,
        shared=laid.shared,
        leaks=laid.leaks,
        shard_samples=recipe.shards.size(laid.samples),
    )
    write_summary(growing, summary)
    (growing / AGAIN).unlink(missing_ok=True)
    old = folder.with_name(f".{folder.name}-old")
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        folder.rename(old)
    move_durably(growing, folder)
    shutil.rmtree(old, ignore_errors=True)
    return summary


def _begin_again(folder: Path, growing: Path, laid: Laid, lacking: set[int]) -> None:
    """A copy of a plan (by hard links if possible) without the parts to search again."""
    aside = growing.with_name(growing.name + "-new")
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir()
    kept = ["recipe.json", "shards.parquet", "places.json", *([TEXTS] if (folder / TEXTS).exists() else [])]
    for part in range(laid.parts):
        samples, *found = files_of(part)
        kept += [samples] if part in lacking else [samples, *found]
    for name in kept:
        (aside / name).parent.mkdir(exist_ok=True)
        try:
            os.link(folder / name, aside / name)
        except OSError:
            shutil.copyfile(folder / name, aside / name)
    shutil.copyfile(folder / PLAN_FILE, aside / AGAIN)
    sync_tree(aside)
    move_durably(aside, growing)


def _facts(folder: Path, part: int) -> dict[str, Any] | None:
    """Result of `plan_part` for a partition; None if it is not planned, or its file is damaged."""
    facts = facts_of(folder, part)
    return facts if facts is not None and facts.keys() >= FACTS else None


def _unavailable(part: PartPlan) -> dict[str, int]:
    """Layer -> requested observations that could not be planned because no archive answered."""
    found = Counter(layer for (_, layer, _), outcome in part.absences.items() if outcome.reason.retryable)
    return dict(sorted(found.items()))


def _sweep(growing: Path) -> None:
    """Remove incomplete files of an interrupted planning."""
    for left in [*growing.glob(".*"), *growing.glob("*/.*")]:
        left.unlink(missing_ok=True)
