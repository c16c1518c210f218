"""Plans a partition: searches the archives, and finds candidate scenes for each observation."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

from pipelines.labels import open_raster_labeller
from pipelines.labels.footprint import covered_share
from pipelines.labels.labeller import BadItemError
from pipelines.plan.blocks import Ground, days_of
from pipelines.plan.search import Answer, ItemRefusedError, Question, absence, ask_all
from pipelines.sources import open_source
from pipelines.sources.sensor import SceneRejected
from pipelines.sources.sharing import cover
from schemas.outcome import Reason
from schemas.recipe import DatedSource, DeclaredSource, OpenStreetMapLabel, WorldCoverLabel
from schemas.scene import Candidate, Scene

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from pipelines.access.archives import Archives
    from pipelines.plan.blocks import Block
    from pipelines.tables import CandidateKey, PartPlan
    from schemas.place import Place
    from schemas.recipe import RasterLabelEntry, RasterSource, Recipe, Source, Window


def find(
    part: PartPlan,
    archives: Archives,
    told: Callable[[float], None],
    lacking: Collection[CandidateKey] | None = None,
) -> None:
    """Search the archives over the places of a partition, and record the candidate scenes of each observation.

    Args:
        part: its places; scenes, candidates and absences are added.
        archives: the recipe's providers, open.
        told: called with the share of the questions that are answered, 0..1.
        lacking: ask only for these wishes; all if absent.
    """
    grounds: dict[frozenset[str], Ground] = {}
    asked: list[tuple[_SourceWish | _LabelWish, Block]] = []
    for wish in _wishes(part.recipe):
        question = wish.question
        places = [
            p for p in part.places
            if lacking is None or any((p.sample_id, question.layer, slot) in lacking for slot in question.slots)
        ]  # fmt: skip
        if places:
            ground = grounds.setdefault(frozenset(p.sample_id for p in places), Ground(places))
            asked += [(wish, block) for block in ground.blocks(wish.density, days_of(question.period))]
    answers = ask_all(archives, [(wish.question, block) for wish, block in asked])
    for number, ((wish, block), answer) in enumerate(zip(asked, answers, strict=True), 1):
        part.searches += answer.pages
        wish.serve(part, block, answer)
        told(number / len(asked))


def share_scenes(part: PartPlan) -> None:
    """Let the samples of a shard agree on scenes, as far as the recipe allows."""
    for source in part.recipe.sources:
        if not isinstance(source, DatedSource):
            continue
        for places in part.shards.values():
            for slot in range(len(part.recipe.slots_of(source))):
                keys: list[CandidateKey] = [(place.sample_id, source.name, slot) for place in places]
                listed = {key: part.candidates[key] for key in keys if key in part.candidates}
                part.candidates |= cover(listed, source.sharing)


def complete(part: PartPlan, archives: Archives, told: Callable[[float], None]) -> None:
    """Repeat the requests that an archive did not answer when the partition was planned.

    All else stays, so that shards built from the old plan are still what the plan says: what is found now agrees with
    its neighbours as far as the recipe allows, and they do not agree with it.
    """
    lacking = {key for key, outcome in part.absences.items() if outcome.reason.retryable}
    before = dict(part.candidates)
    for key in lacking:
        del part.absences[key]
    find(part, archives, told, lacking)
    part.candidates = {key: tuple(sorted(c, key=lambda x: (x.rank, x.scenes))) for key, c in part.candidates.items()}
    share_scenes(part)
    part.candidates |= before


class _SourceWish:
    """One window of a source (or a static source): its question, and what an answer means for each place."""

    def __init__(self, recipe: Recipe, source: Source, window: Window | None, slots: tuple[int, ...]) -> None:
        self._entry, self.source, self.window = source, open_source(source), window
        self.density = source.modality.density
        self.question = Question(
            layer=source.name,
            providers=source.providers,
            collection=source.collection,
            collections=_collections_of(recipe, source),
            period=None if window is None else (window.start, window.end),
            slots=slots,
            parse=_refusing(self.source.parse),
            plain=isinstance(source, DeclaredSource),
        )

    def serve(self, part: PartPlan, block: Block, answer: Answer) -> None:
        scenes = [] if answer.error else self.source.collapse(answer.scenes)
        for occurrence, slot in enumerate(self.question.slots):
            found = self.source.candidates_at(scenes, block.places, self.window, occurrence)
            cloudy = self._cloudy(scenes, block, occurrence) if scenes and not all(found) else {}
            for place, candidates in zip(block.places, found, strict=True):
                _note(part, place, self.question, slot, candidates, answer, cloudy.get(place.sample_id, ""))
        _keep(part, self.question, answer)

    def _cloudy(self, scenes: Sequence[Scene], block: Block, occurrence: int) -> dict[str, str]:
        """Sample id -> words, for places that only the limit on a scene's cloud leaves without a scene."""
        config = self._entry
        limit = getattr(config, "max_scene_cloud", None)
        if limit is None or limit >= 1.0:
            return {}
        lenient = open_source(config.model_copy(update={"max_scene_cloud": 1.0}))
        found = lenient.candidates_at(scenes, block.places, self.window, occurrence)
        words = f", cloud is above max_scene_cloud {limit:g}"
        return {place.sample_id: words for place, some in zip(block.places, found, strict=True) if some}


class _LabelWish:
    """A raster label: every map that could serve; the best one is picked when the image to label is known."""

    def __init__(self, recipe: Recipe, label: RasterLabelEntry) -> None:
        self.density = label.density
        self.question = Question(
            layer=label.layer,
            providers=label.providers,
            collection=label.collection,
            collections=_collections_of(recipe, label),
            period=_period_of(recipe, label),
            slots=(0,),
            parse=_refusing(open_raster_labeller(label).scene),
        )

    def serve(self, part: PartPlan, block: Block, answer: Answer) -> None:
        for place in block.places:
            near = [] if answer.error else [s for s in answer.scenes if covered_share(s.geometry, place.geobox) > 0]
            items = tuple(scene.item_id for scene in near)
            maps = [Candidate(scenes=items, datetime=near[0].datetime, rank=())] if near else []
            _note(part, place, self.question, 0, maps, answer)
        _keep(part, self.question, answer)


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
    """Period in which maps of a label are usable; None = any time."""
    if isinstance(label, WorldCoverLabel) or label.max_gap_days is None or not recipe.windows:
        return None
    gap = dt.timedelta(days=label.max_gap_days)
    return min(w.start for w in recipe.windows) - gap, max(w.end for w in recipe.windows) + gap


def _note(
    part: PartPlan,
    place: Place,
    question: Question,
    slot: int,
    candidates: Sequence[Candidate],
    answer: Answer,
    more: str = "",
) -> None:
    key = (place.sample_id, question.layer, slot)
    if key in part.candidates or key in part.absences:
        return  # requested again with its block, and answered before
    if not candidates:
        part.absences[key] = absence(place, question, slot, answer, more)
        return
    part.candidates[key] = tuple(candidates)
    answer.used.update(item for candidate in candidates for item in candidate.scenes)


def _keep(part: PartPlan, question: Question, answer: Answer) -> None:
    """Keep the scenes that candidates name, and the number of items that cannot be used; the rest goes."""
    for whose, why in answer.refused.items():
        part.dropped.setdefault((question.layer, answer.provider or "", whose), why)
    if answer.used:
        held = part.scenes.setdefault(question.layer, {})
        held.update({scene.item_id: scene for scene in answer.scenes if scene.item_id in answer.used})


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
