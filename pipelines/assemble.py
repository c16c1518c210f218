"""Builds one shard of a plan: reads scene by scene, labels, captions, checks quality, passes stacks to the writer."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from pipelines.access.archives import Archives
from pipelines.access.logins.required import check_credentials
from pipelines.access.openstreetmap.extract import open_extract
from pipelines.captions import open_captioner
from pipelines.captions.evidence import with_claims
from pipelines.captions.facts import facts_of
from pipelines.journal import Journal, Note, log_of, silent
from pipelines.labels import legend_of, open_raster_labeller, open_vector_labeller
from pipelines.labels.osm_channels import observed
from pipelines.labels.read_shard import LabelRequest, gather_objects, lost_of
from pipelines.labels.read_shard import gather as gather_labels
from pipelines.quality import refusal as refusal_of
from pipelines.questions import questions_for
from pipelines.shards import ShardRows, dataset_spec, object_count, packs_text, refused, write_shard
from pipelines.sources import open_source
from pipelines.sources.derived import derive
from pipelines.sources.numbers import measure
from pipelines.sources.read_shard import ObservationRequest, gather
from pipelines.sources.reference import reference_image
from pipelines.sources.requests import anchors_first, request_for
from pipelines.sources.spill import spilled_observation
from pipelines.tables import (
    PLAN_FOLDER,
    WORK_FOLDER,
    Hrefs,
    PlanError,
    ShardPlan,
    read_recipe_of,
    read_shard,
    read_summary,
)
from sampling import footprint
from schemas.label_source import ObjectLabel
from schemas.outcome import Outcome, Reason
from schemas.stack import Observation, Stack

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from pipelines.access.openstreetmap.extract import Extract
    from pipelines.captions.protocol import Captioner
    from pipelines.journal.recorder import Meters
    from pipelines.shards import DatasetSpec
    from pipelines.tables import PlanSummary
    from schemas.label import LabelMap, Legend
    from schemas.label_source import ReadLabel
    from schemas.place import Place
    from schemas.recipe import Recipe
    from schemas.sensors import Source

MANY_OBJECTS = 10_000
"""More objects than this are slow to list, copy and delete."""
_LABEL_BYTES = 3
"""Of a pixel of a label: a code of 16 bits and its mask."""
STACKS_BYTES = 512 << 20
"""Pixels held at once while a shard is built: larger shards are read in several groups of samples, and what is
observed of a sample that is larger by itself is kept in a file (`pipelines.sources.spill`)."""


@dataclass(kw_only=True)
class Factory:
    """Resources that all shards of one process share; opened once."""

    out: Path
    recipe: Recipe
    summary: PlanSummary
    archives: Archives
    captioner: Captioner | None
    extracts: dict[str, Extract]
    """Label made of objects -> its prepared file."""
    journal: Journal | None = None
    """Of the run that this process works for."""

    @classmethod
    def open(cls, out: Path, workers: int = 1) -> Self:
        """Open a planned dataset for building.

        Args:
            out: the dataset's folder, which holds the plan.
            workers: processes that share the archives.

        Raises:
            PlanError: there is no usable plan.
            SettingError: an environment variable is missing.
        """
        summary = read_summary(out / PLAN_FOLDER)
        if summary is None:
            raise PlanError(f"{out.name}: has no plan; run `python -m pipelines plan` first")
        recipe = read_recipe_of(out / PLAN_FOLDER)
        names = summary.vectors | ({} if summary.extract is None else {"openstreetmap": summary.extract})
        prepared = {layer: out / WORK_FOLDER / name for layer, name in names.items()}
        absent = [layer for layer, path in prepared.items() if not path.exists()]
        if absent:
            raise PlanError(
                f"{out.name}/{WORK_FOLDER}: the prepared objects of {absent[0]} are missing; run the build again to "
                "prepare them"
            )
        captions, answers = recipe.captions, out / WORK_FOLDER / "captions"
        return cls(
            out=out,
            recipe=recipe,
            summary=summary,
            archives=Archives(recipe.providers, workers=workers, locks=out / WORK_FOLDER / "workers"),
            captioner=None if captions is None else open_captioner(captions, answers, workers),
            extracts={layer: open_extract(path) for layer, path in prepared.items()},
            journal=Journal.join(out / WORK_FOLDER),
        )

    def close(self) -> None:
        """End threads and connections."""
        self.archives.close()

    def build(self, index: int) -> int:
        """Build and publish one shard; returns the number of samples that came into the catalogue.

        Raises:
            LimitReached: the run's limits do not bear another shard; nothing was begun.
        """
        with self._noted(index) as note:
            plan = read_shard(self.out / PLAN_FOLDER, index, Hrefs(origins=self.archives.origins))
            form = form_of(self.recipe, self.summary)
            asked = questions_for(self.recipe, form, index)
            report = write_shard(
                self.out,
                ShardRows(index=index, split=plan.split, sample_ids=tuple(p.sample_id for p in plan.places)),
                note.passing(asked.passing(self.stacks(plan, note.reading))),
                form,
                {place.sample_id: footprint(place.geobox) for place in plan.places},
                asked.rows,
            )
            note.samples = report.samples
        return report.samples

    def _noted(self, index: int) -> Note:
        return Note(self.journal, self.log, index, self._meters)

    def _meters(self) -> Meters:
        tokens = 0 if self.captioner is None else self.captioner.tokens_spent
        return self.archives.counters_by_provider, self.archives.eecu_hours * 3600.0, tokens

    @cached_property
    def log(self) -> Any:
        """This process's log of the run; silent where nobody keeps a journal."""
        return silent() if self.journal is None else log_of(self.journal.folder, self.journal.run)

    def stacks(self, plan: ShardPlan, progress: Callable[[float], None] = lambda _: None) -> Iterator[Stack]:
        """The samples of a shard in row order, read in groups that fit into STACKS_BYTES.

        `progress` is called with the number of samples read; of a group whose layers are read one after another,
        each layer adds its share.
        """
        at_once = max(1, STACKS_BYTES // sample_bytes(self.recipe))
        for start in range(0, len(plan.places), at_once):
            some = plan.places[start : start + at_once]
            stacks = [Stack(place=place, texts=plan.texts.get(place.sample_id, ())) for place in some]
            step = len(stacks) / (len(self.recipe.sources) + len(self.recipe.read_labels))
            for number, source in enumerate(anchors_first(self.recipe), 1):
                self._observe(source, plan, stacks)
                progress(start + number * step)
            for stack in stacks:
                stack.reference = reference_image(self.recipe, stack.observations)
            for number, label in enumerate(self.recipe.read_labels, len(self.recipe.sources) + 1):
                self._label(label, plan, stacks)
                progress(start + number * step)
            for stack in stacks:
                derive(stack, self.recipe)
                measure(stack, self.recipe)
                _judge(stack, self.recipe)
            self._caption([stack for stack in stacks if not refused(stack)])
            yield from stacks

    def _observe(self, source: Source, plan: ShardPlan, stacks: Sequence[Stack]) -> None:
        """Pixels of one sensor for all samples together."""
        slots = range(max(1, len(self.recipe.slots_of(source))))
        wanted = [
            (stack, slot, request_for(self.recipe, source, slot, stack, plan)) for stack in stacks for slot in slots
        ]
        results = gather(
            open_source(source),
            self.recipe,
            [request for _, _, request in wanted if isinstance(request, ObservationRequest)],
            plan.scenes.get(source.name, {}),
            self.archives.reader,
            self.out / WORK_FOLDER,
        )
        large = sample_bytes(self.recipe) > STACKS_BYTES
        for stack, slot, request in wanted:
            result = next(results) if isinstance(request, ObservationRequest) else request
            if isinstance(result, Outcome):
                stack.outcomes.append(result)
                continue
            kept = spilled_observation(result, self.out / WORK_FOLDER) if large else result
            stack.observations[(source.name, slot)] = kept
            stack.outcomes.append(_obtained(stack.place, source.name, slot, result.provider, result.item_ids))

    def _label(self, label: ReadLabel, plan: ShardPlan, stacks: Sequence[Stack]) -> None:
        """One label product for all samples together."""
        if isinstance(label, ObjectLabel):
            self._map_objects(label, stacks)
            return
        labeller, scenes = open_raster_labeller(label), plan.scenes.get(label.layer, {})
        wanted = []
        for stack in stacks:
            key = (stack.place.sample_id, label.layer, 0)
            if key not in plan.candidates:
                stack.outcomes.append(plan.absences[key])
                continue
            when, near = stack.reference_time, [scenes[i] for i in plan.candidates[key][0].scenes]
            place = self.recipe.place_of(stack.place, label.layer)
            maps, why = labeller.maps(near, place, when)
            wanted.append((stack, LabelRequest(place=place, candidates=maps, reference_time=when, why=why)))
        results = gather_labels(labeller, self.recipe, [r for _, r in wanted], scenes, self.archives.reader)
        for (stack, _), result in zip(wanted, results, strict=True):
            _attach(stack, result, None if isinstance(result, Outcome) else scenes[result.item_ids[0]].provider)

    def _map_objects(self, label: ObjectLabel, stacks: Sequence[Stack]) -> None:
        """Objects of a map extract or of the user's own file, rasterised and as they are."""
        extract, labeller = self.extracts[label.layer], open_vector_labeller(label)
        wanted = [
            LabelRequest(place=self.recipe.place_of(s.place, label.layer), reference_time=s.reference_time)
            for s in stacks
        ]
        results = gather_objects(labeller, self.recipe, wanted, extract)
        lost = lost_of(extract)
        for stack, (classes, vectors) in zip(stacks, results, strict=True):
            stack.vectors[label.layer] = vectors
            if vectors.channels is not None:
                _attach_channels(stack, observed(stack.place, vectors, vectors.channels, extract))
            _attach(stack, classes, None, lost)

    def _caption(self, stacks: Sequence[Stack]) -> None:
        if self.captioner is None:
            return
        for stack in stacks:
            stack.facts = facts_of(stack, facts_label(stack, self.recipe))
        for stack, captions in zip(stacks, self.captioner.caption_all(stacks), strict=True):
            if isinstance(captions, Outcome):
                stack.outcomes.append(captions)
            elif stack.facts is not None:
                stack.captions = captions
                stack.captions = with_claims(stack, stack.facts)


def form_of(recipe: Recipe, plan: PlanSummary) -> DatasetSpec:
    """The form on disk of the dataset of a recipe and its plan."""
    return dataset_spec(recipe, plan.shards, _legends(recipe), plan.attributes, plan.shard_samples, plan.shared)


def _legends(recipe: Recipe) -> dict[str, Legend]:
    return {x.layer: legend_of(x) for x in recipe.read_labels}


def objects_text(recipe: Recipe, samples: int, shards: int, *, remote: bool = False) -> str:
    """Predicted number of objects of the dataset, with advice if there are too many; what packs cost or would cost.

    Args:
        recipe: of the dataset.
        samples: as planned.
        shards: as planned.
        remote: whether the dataset is to lie behind a URL, where packs may pay.
    """
    form = dataset_spec(recipe, shards, _legends(recipe))
    packs = packs_text(form, recipe.shards.requests_per_sample, remote=remote)
    return "\n".join([_objects_text(recipe, samples, form), *packs])


def _objects_text(recipe: Recipe, samples: int, form: DatasetSpec) -> str:
    count, one, two = object_count(form), *(object_count(dataset_spec(recipe, n, _legends(recipe))) for n in (1, 2))
    pages = object_count(form, samples) - count
    text = f"objects   {count + pages:,} on disk or in the store"
    text += f", {pages:,} of them pictures and STAC items of single samples" if pages else ""
    if count <= MANY_OBJECTS:
        return text
    each = two - one
    enough = math.ceil(samples * each / max(1, MANY_OBJECTS - (one - each)))
    return f"{text}: this is many; with shards.samples: {min(enough, 65_536):,} there are fewer than {MANY_OBJECTS:,}"


def facts_label(stack: Stack, recipe: Recipe) -> str | None:
    """The label that class shares come from: the recipe's choice, else the first over the footprint that is there."""
    wanted = None if recipe.captions is None else recipe.captions.facts_from
    names = [x.layer for x in recipe.read_labels if x.layer not in recipe.extents] if wanted is None else [wanted]
    return next((name for name in names if name in stack.labels), None)


def check_settings(recipe: Recipe, work: Path, workers: int = 1) -> None:
    """Open everything that needs settings and credentials from the environment, before any pixel is
    fetched.

    Raises:
        SettingError: names the variable; or `workers` processes are more than a provider has room for.
    """
    with Archives(recipe.providers, workers=workers) as archives:
        archives.check()
    check_credentials(recipe)
    if recipe.captions is not None:
        open_captioner(recipe.captions, work / "captions")


def sample_bytes(recipe: Recipe) -> int:
    """Bytes of one sample's pixels with all its dates."""
    total = 0
    for source in recipe.sources:
        slots = max(1, len(recipe.slots_of(source)))
        for layer in source.modality.layers:
            edge = recipe.pixels_of(source.name, recipe.resolution_of(source.name, layer.name))
            total += slots * len(layer.bands) * edge**2 * np.dtype(layer.dtype).itemsize
    return max(1, total + made_bytes(recipe))


def made_bytes(recipe: Recipe) -> int:
    """Bytes of what is made of one sample besides its images: derived layers, labels, channels of the map."""
    total = 0
    for derived in recipe.derived_layers:
        edge = recipe.pixels_of(derived.name, derived.resolution_m)
        total += max(1, len(derived.slots)) * edge**2 * np.dtype(np.float32).itemsize
    for label in recipe.read_labels:
        total += _LABEL_BYTES * recipe.pixels_of(label.layer, recipe.resolution_of(label.layer, None)) ** 2
    if recipe.channels is not None:
        (layer,) = recipe.channels.layers
        total += (1 + len(layer.bands)) * recipe.pixels_of(recipe.channels.name, layer.resolution_m) ** 2
    return total


def _attach(stack: Stack, label: LabelMap | Outcome, provider: str | None, detail: str = "") -> None:
    """Record a label or why there is none; `detail` goes into the ledger for an obtained label."""
    if isinstance(label, Outcome):
        stack.outcomes.append(label)
        return
    stack.labels[label.label] = label
    obtained = _obtained(stack.place, label.label, 0, provider, label.item_ids)
    stack.outcomes.append(dataclasses.replace(obtained, detail=detail))


def _attach_channels(stack: Stack, channels: Observation | Outcome) -> None:
    """Record the channels of the map or why there are none."""
    if isinstance(channels, Outcome):
        stack.outcomes.append(channels)
        return
    stack.observations[channels.modality, channels.slot] = channels
    stack.outcomes.append(_obtained(stack.place, channels.modality, channels.slot, None, channels.item_ids))


def _obtained(place: Place, layer: str, slot: int, provider: str | None, item_ids: tuple[str, ...]) -> Outcome:
    return Outcome(
        sample_id=place.sample_id, layer=layer, slot=slot, reason=Reason.OK, provider=provider, item_ids=item_ids
    )


def _judge(stack: Stack, recipe: Recipe) -> None:
    """Refuse a sample that lacks what the recipe requires, or breaks a rule of its quality."""
    detail = refusal_of(stack, recipe)
    if detail:
        sample_id = stack.place.sample_id
        refusal = Outcome(sample_id=sample_id, layer="sample", slot=0, reason=Reason.SAMPLE_REFUSED, detail=detail)
        stack.outcomes.append(refusal)
