"""Adds fused labels to a finished dataset: a pass that collects, a model, a pass that labels, an addition.

Each pass runs on the engine of a build, shard by shard, in a folder of its own inside the dataset's work folder, from
which the next run goes on. The second pass writes a dataset with the fused layer alone, which is added as a revision.
"""

from __future__ import annotations

import dataclasses
import shutil
from typing import TYPE_CHECKING, Any

from pipelines.durable import write_durably
from pipelines.fusion.collect import Statistics
from pipelines.fusion.families import FusionError
from pipelines.fusion.job import FOLDER, MODEL_FILE, Job, described
from pipelines.fusion.label import Labelling
from pipelines.fusion.learn import learn_model
from pipelines.fusion.reading import Reading
from pipelines.fusion.reference import read_reference
from pipelines.fusion.sight import Band, fine_layers, image_layers
from pipelines.fusion.strata import height_layer
from pipelines.fusion.worker import statistics_file
from pipelines.progress import ProgressPrinter
from pipelines.shards import FUSION, AddError, add, address_of, clean_staging, done_shards, finalise, share_plan
from pipelines.shards.addition import revision_with
from pipelines.shards.desk import desk_of, kept, kept_under, store_of
from pipelines.shards.finished import Finished
from schemas.fused import FusedLabel
from schemas.place import pixels_across

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from pipelines.engines import Engine
    from pipelines.recipes import RecipeFile
    from schemas.recipe import Recipe


class PassError(FusionError):
    """Shards of a pass failed; which, and why the first of them."""


LEARNT_PIXELS = 200_000
"""Pixels of all samples together that the image model learns from; at least one of each sample."""


def fuse_labels(file: RecipeFile, out: Path, engine: Engine, say: Callable[[str], None] = lambda _: None) -> None:
    """Add the fused labels of a recipe to a finished dataset; those that are there already stay.

    Args:
        file: the recipe.
        out: the dataset's folder, or the desk of one in an object store; the caller holds it.
        engine: who runs the passes.
        say: called with a line about what was added.

    Raises:
        FusionError: the dataset lacks what the label is made of, or there is too little to learn from.
        AddError: the dataset has another layer of that name.
        EngineError: the engine failed.
    """
    for label in file.recipe.fused:
        others = tuple(x for x in file.recipe.labels if not isinstance(x, FusedLabel))
        recipe = file.recipe.model_copy(update={"labels": (*others, label)})
        recipe = type(recipe).model_validate(recipe.model_dump(mode="json"))
        base = Finished(address_of(out))
        found = revision_with(base.data, recipe.model_dump(mode="json"))
        if found is None:
            _check_layers(base, recipe, label)
            found = _fuse(dataclasses.replace(file, recipe=recipe), out, base, engine)
            say(f"{label.layer}: added as revision {found}")
        _clear(out)


def _check_layers(base: Finished, recipe: Recipe, label: FusedLabel) -> None:
    """See that the dataset has what the label is made of, on the recipe's grid."""
    spec, name = base.spec, label.layer
    held = {g.name: g for g in spec.groups}
    if name in held:
        raise AddError(
            f"{name}: {spec.name} has a layer of that name already; write `layer: NAME` to add this one beside it"
        )
    for what, here in (("size_m", spec.size_m), ("resolution_m", spec.resolution_m)):
        if getattr(recipe.grid, what) != here:
            raise FusionError(
                f"grid.{what} is {getattr(recipe.grid, what):g} in the recipe and {here:g} in {spec.name}"
            )
    needed = [v.label for v in label.named] or [x.layer for x in recipe.read_labels]
    height = height_layer(recipe, label)
    for layer in (*needed, *image_layers(recipe, label), *([height] if height else [])):
        if layer not in held:
            raise FusionError(f"{name}: {spec.name} has no layer {layer!r}; it has {', '.join(held)}")


def _fuse(file: RecipeFile, out: Path, base: Finished, engine: Engine) -> int:
    """Both passes and the addition; returns the revision."""
    recipe, label = file.recipe, file.recipe.fused[0]
    job = _job(base, recipe, read_reference(file, label))
    _check_codes(base, job)
    folder = f"{FOLDER}{job.key(base.stamp)}"
    first = pass_folder(out, f"{folder}/statistics")
    job.write(first)
    share_plan(first)
    statistics = _collected(first, base, engine, label.layer)
    learned = learn_model(job, statistics)
    second = pass_folder(out, f"{folder}/labels")
    tables = described(learned.to_json(job))
    write_durably(second / MODEL_FILE, tables)
    job.write(second)
    share_plan(second)
    return _labelled(out, second, Labelling(Reading(base, job), learned), engine, tables)


def pass_folder(out: Path, path: str) -> Path:
    """Folder of a pass: inside the dataset's, or the desk of one inside the store's."""
    store = store_of(out)
    folder = out / path if store is None else desk_of(f"{store.url}/{path}")
    (folder / ".work").mkdir(parents=True, exist_ok=True)
    clean_staging(folder)
    return folder


def _job(base: Finished, recipe: Recipe, points: Any) -> Job:
    label = recipe.fused[0]
    pixels = pixels_across(base.spec.size_m, recipe.resolution_of(label.layer, None)) ** 2
    bands = []
    for name in image_layers(recipe, label):
        source = next(s for s in recipe.sources if s.name == name)
        arrays = base.spec.group(name).arrays
        for layer in fine_layers(recipe, source):
            path = next(a.path for a in arrays if a.name == layer.name)
            figures = [base.data.statistics.get(path, {}).get(b.name, {}) for b in layer.bands]
            best = [f["clear"] if f.get("clear", {}).get("count") else f.get("all", {}) for f in figures]
            bands.append(
                Band(
                    layer=name,
                    path=path,
                    mean=tuple(b.get("mean") or 0.0 for b in best),
                    std=tuple(b.get("std") or 1.0 for b in best),
                )
            )
    each = max(1, min(pixels, LEARNT_PIXELS // max(1, len(base.data))))
    return Job(recipe=recipe, pixels_each=each, bands=tuple(bands), points=points)


def _check_codes(base: Finished, job: Job) -> None:
    """Every class that a layer of the dataset has is in the crosswalk of its vote."""
    for family in job.families:
        for one in family.maps:
            if one.legend is None:
                continue
            known = {c.code for c in one.legend.classes}
            absent = next((c for c in base.spec.group(one.layer).classes if c.code not in known), None)
            if absent is not None:
                raise FusionError(
                    f"{job.label.layer}.voters: {one.layer}: the crosswalk has no row for code {absent.code} "
                    f"({absent.name}) of the dataset's layer; add one"
                )


def run_pass(out: Path, todo: Sequence[int], engine: Engine, what: str, done: Callable[[], int]) -> None:
    """Run one pass over the shards that it lacks.

    Raises:
        PassError: a shard failed.
    """
    from pipelines.build import run_shards  # Beam takes seconds to import

    printer = ProgressPrinter(what, "shards")
    failed = run_shards(out, todo, engine, lambda: printer(min(done(), len(todo)), len(todo)))
    if failed:
        why = (failed[0].error or "").strip()
        raise PassError(f"{what}: shards {', '.join(str(b.shard) for b in failed[:8])} failed; run again\n{why}")


def _collected(out: Path, base: Finished, engine: Engine, name: str) -> list[Statistics]:
    """Statistics of every shard, in order; those that an earlier run kept are not collected again."""
    prefix = statistics_file(0).rpartition("/")[0]
    todo = [s for s in base.shards if statistics_file(s) not in kept_under(out, prefix)]
    left = len(base.shards) - len(todo)
    if todo:
        run_pass(out, todo, engine, f"{name}: comparing labels", lambda: len(kept_under(out, prefix)) - left)
    found = [kept(out, statistics_file(s)) for s in base.shards]
    missing = [str(s) for s, raw in zip(base.shards, found, strict=True) if raw is None]
    if missing:
        raise FusionError(f"{name}: shards {', '.join(missing[:8])} were not read; run again")
    return [Statistics.of_bytes(raw) for raw in found if raw is not None]


def _labelled(out: Path, second: Path, labelling: Labelling, engine: Engine, tables: str) -> int:
    """The second pass, and the addition of what it made."""
    base, form, name = labelling.reading.base, labelling.form, labelling.job.label.layer
    there = done_shards(second, form)
    todo = sorted(set(base.shards) - there)
    if todo:
        run_pass(second, todo, engine, f"{name}: labelling", lambda: len(done_shards(second, form) - there))
    failed = {shard: () for shard in range(form.shards) if shard not in base.shards}
    finalise(second, form, failed, {f"{FUSION}{name}.json": tables.encode()})
    return add(out, address_of(second)).revision


def _clear(out: Path) -> None:
    """Remove the folders of passes whose labels are added."""
    store, work, name = store_of(out), *FOLDER.split("/")
    for folder in (out / work).glob(f"{name}*"):
        shutil.rmtree(folder, ignore_errors=True)
    if store is not None:
        for path in store.sizes(work):
            if path.startswith(FOLDER):
                store.delete(path)
