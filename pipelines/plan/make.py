"""Make a plan: places, then what the archives hold over them, then which scenes could serve which wish."""

from __future__ import annotations

import datetime as dt
import hashlib
from typing import TYPE_CHECKING

from pipelines.access.osm import prepare
from pipelines.access.osm_download import obtain
from pipelines.labels import open_raster_labeller
from pipelines.labels.footprint import covered_share
from pipelines.labels.protocol import BadItemError
from pipelines.plan.blocks import blocks_of
from pipelines.plan.discover import Answer, ItemRefusedError, Question, absence, ask_all
from pipelines.plan.estimate import estimate
from pipelines.sources import open_source
from pipelines.sources.cover import cover
from pipelines.sources.protocol import SceneRejected
from pipelines.tables import Plan
from sampling import pack, sample_places
from schemas.outcome import Reason
from schemas.recipe import DatedSource, OpenStreetMapLabel, PointsSampling, WorldCoverLabel
from schemas.scene import Candidate, Scene

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from pipelines.access.stac import Archives
    from pipelines.plan.blocks import Block
    from pipelines.recipes import RecipeFile
    from pipelines.tables import CandidateKey
    from schemas.place import Place
    from schemas.recipe import RasterLabelEntry, RasterSource, Recipe, Source, Window


def make_plan(file: RecipeFile, archives: Archives, work: Path, told: Callable[[int, int], None]) -> Plan:
    """Plan a dataset.

    Args:
        file: the recipe and its folder.
        archives: its providers, open.
        work: folder for the prepared map extract.
        told: called with (searches done, searches in all).

    Raises:
        SamplingError: the recipe's area or points cannot be used.
        SettingError: an environment variable is missing.
    """
    recipe = file.recipe
    sampled = sample_places(recipe, file.folder)
    plan = Plan(
        recipe=recipe,
        shards=[tuple(shard) for shard in pack(sampled.places, recipe.shards)],
        left_out=sampled.left_out,
        notes=sampled.notes,
        inputs=_inputs(file),
    )
    _map_extract(plan, file, work)
    blocks = blocks_of(sampled.places)
    asked = [(wish, block) for wish in _wishes(recipe) for block in blocks]
    before = archives.counters.requests
    answers = ask_all(archives, [(wish.question, block) for wish, block in asked], told)
    for (wish, block), answer in zip(asked, answers, strict=True):
        wish.serve(plan, block, answer)
    share_scenes(plan)
    plan.searches = archives.counters.requests - before
    plan.estimate = estimate(plan, archives)
    return plan


def complete_plan(old: Plan, new: Plan, archives: Archives) -> Plan:
    """The old plan, with the new one's word wherever an archive did not answer when the old one was made.

    All else stays, so that shards built from the old plan are still what the plan says.
    """
    for key in [k for k, outcome in old.absences.items() if outcome.reason.retryable]:
        if key in new.candidates:
            del old.absences[key]
            old.candidates[key] = new.candidates[key]
            scenes = new.scenes[key[1]]
            named = {item for candidate in new.candidates[key] for item in candidate.scenes}
            old.scenes.setdefault(key[1], {}).update({item: scenes[item] for item in sorted(named)})
        else:
            old.absences[key] = new.absences[key]
    old.searches += new.searches
    old.estimate = estimate(old, archives)
    return old


def share_scenes(plan: Plan) -> None:
    """Let the samples of a shard agree on scenes, as far as the recipe allows."""
    for source in plan.recipe.sources:
        if not isinstance(source, DatedSource):
            continue
        for places in plan.shards:
            for slot in range(len(plan.recipe.slots_of(source))):
                keys: list[CandidateKey] = [(place.sample_id, source.kind, slot) for place in places]
                listed = {key: plan.candidates[key] for key in keys if key in plan.candidates}
                plan.candidates |= cover(listed, source.sharing)


class _SourceWish:
    """One window of a source (or a static source): its question, and what an answer means for each place."""

    def __init__(self, recipe: Recipe, source: Source, window: Window | None, slots: tuple[int, ...]) -> None:
        self.source, self.window = open_source(source), window
        self.question = Question(
            layer=source.kind,
            providers=source.providers,
            collection=source.collection,
            collections=_collections_of(recipe, source),
            period=None if window is None else (window.start, window.end),
            slots=slots,
            parse=_refusing(self.source.scene),
        )

    def serve(self, plan: Plan, block: Block, answer: Answer) -> None:
        scenes = self.source.collapse(answer.scenes)
        for place in block.places:
            for occurrence, slot in enumerate(self.question.slots):
                found = [] if answer.error else self.source.candidates(scenes, place, self.window, occurrence)
                _note(plan, place, self.question, slot, found, answer)


class _LabelWish:
    """A raster label: every map that could serve; the best one is picked when the image to label is known."""

    def __init__(self, recipe: Recipe, label: RasterLabelEntry) -> None:
        self.question = Question(
            layer=label.layer,
            providers=label.providers,
            collection=label.collection,
            collections=_collections_of(recipe, label),
            period=_period_of(recipe, label),
            slots=(0,),
            parse=_refusing(open_raster_labeller(label).scene),
        )

    def serve(self, plan: Plan, block: Block, answer: Answer) -> None:
        for place in block.places:
            near = [] if answer.error else [s for s in answer.scenes if covered_share(s.geometry, place.geobox) > 0]
            items = tuple(scene.item_id for scene in near)
            maps = [Candidate(scenes=items, datetime=near[0].datetime, rank=())] if near else []
            _note(plan, place, self.question, 0, maps, answer)


def _wishes(recipe: Recipe) -> list[_SourceWish | _LabelWish]:
    wishes: list[_SourceWish | _LabelWish] = []
    for source in recipe.sources:
        slots = recipe.slots_of(source)
        if not isinstance(source, DatedSource):
            wishes.append(_SourceWish(recipe, source, None, (0,)))
        served = {window: tuple(i for i, w in enumerate(slots) if w == window) for window in slots}
        wishes += [_SourceWish(recipe, source, window, numbers) for window, numbers in served.items()]
    rasters = [label for label in recipe.labels if not isinstance(label, OpenStreetMapLabel)]
    return wishes + [_LabelWish(recipe, label) for label in rasters]


def _collections_of(recipe: Recipe, entry: RasterSource) -> dict[str, str]:
    return {name: entry.collection_at(name, recipe.providers[name]) for name in entry.providers}


def _period_of(recipe: Recipe, label: RasterLabelEntry) -> tuple[dt.date, dt.date] | None:
    """When maps of a label can be of use; None = of any time."""
    if isinstance(label, WorldCoverLabel) or label.max_gap_days is None or not recipe.windows:
        return None
    gap = dt.timedelta(days=label.max_gap_days)
    return min(w.start for w in recipe.windows) - gap, max(w.end for w in recipe.windows) + gap


def _note(
    plan: Plan, place: Place, question: Question, slot: int, candidates: Sequence[Candidate], answer: Answer
) -> None:
    key = (place.sample_id, question.layer, slot)
    if not candidates:
        plan.absences[key] = absence(place, question, slot, answer)
        return
    plan.candidates[key] = tuple(candidates)
    known = {scene.item_id: scene for scene in answer.scenes}
    held = plan.scenes.setdefault(question.layer, {})
    for candidate in candidates:
        held.update({item: known[item] for item in candidate.scenes})


def _refusing(parse: Callable[..., Scene]) -> Callable[..., Scene]:
    """A parser whose refusals are all of one kind."""

    def parsed(item: dict[str, object], provider_name: str, provider: object) -> Scene:
        try:
            return parse(item, provider_name, provider)
        except SceneRejected as error:
            raise ItemRefusedError(error.reason, error.detail) from None
        except BadItemError as error:
            raise ItemRefusedError(Reason.BAD_ITEM, str(error)) from None

    return parsed


def _map_extract(plan: Plan, file: RecipeFile, work: Path) -> None:
    """Read the OpenStreetMap extract once, for all shards."""
    for label in file.recipe.labels:
        if isinstance(label, OpenStreetMapLabel):
            extract = prepare(obtain(label.pbf, file.folder, work), work)
            plan.extract, plan.inputs["openstreetmap"] = extract.parquet.name, extract.name


def _inputs(file: RecipeFile) -> dict[str, str]:
    """SHA-256 of every file that the places depend on, by its name in the recipe."""
    sampling = file.recipe.sampling
    names = [sampling.area.file, sampling.file if isinstance(sampling, PointsSampling) else None]
    return {name: _sha256(file.folder / name) for name in names if name is not None}


def _sha256(path: Path) -> str:
    with path.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
