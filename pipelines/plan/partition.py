"""Plans a partition: searches the archives, and finds candidate scenes for each observation."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

from pipelines.labels import open_raster_labeller
from pipelines.labels.footprint import covered_share
from pipelines.plan.blocks import Ground, days_of
from pipelines.plan.own_dates import around_each, pieces
from pipelines.plan.search import Answer, Question, absence, ask_all
from pipelines.sources import open_source
from pipelines.sources.sharing import cover
from sampling.times import Moment, around, day_of_label, own_period, period_of
from schemas.declared_source import DeclaredSource
from schemas.label_source import ObjectLabel, WorldCoverLabel
from schemas.outcome import Outcome, Reason
from schemas.scene import Candidate, Scene
from schemas.source import DatedSource

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from pipelines.access.archives import Archives
    from pipelines.plan.blocks import Block
    from pipelines.plan.own_dates import Piece, Served
    from pipelines.tables import CandidateKey, PartPlan
    from sampling.times import Period
    from schemas.label_source import RasterLabelEntry
    from schemas.place import Place
    from schemas.recipe import Recipe
    from schemas.sensors import Source
    from schemas.source import RasterSource
    from schemas.window import Window


def find(
    part: PartPlan,
    archives: Archives,
    progress: Callable[[float], None],
    lacking: Collection[CandidateKey] | None = None,
) -> None:
    """Search the archives over the places of a partition, and record the candidate scenes of each observation.

    Args:
        part: its places; scenes, candidates and absences are added.
        archives: the recipe's providers, open.
        progress: called with the share of the questions that are answered, 0..1.
        lacking: ask only for these observations; all if absent.
    """
    searches = _searches(part)
    _ask(part, [w for w in searches if not _follows(w)], archives, progress, lacking)
    followers = [w for w in searches if _follows(w)]
    if followers:
        _ask(part, followers, archives, lambda _: None, lacking)


def _ask(
    part: PartPlan,
    searches: Sequence[_SourceSearch | _LabelSearch],
    archives: Archives,
    progress: Callable[[float], None],
    lacking: Collection[CandidateKey] | None,
) -> None:
    grounds: dict[tuple[float, frozenset[str]], Ground] = {}
    asked: list[tuple[_Asked, Block]] = []
    for search in searches:
        question = search.question
        places = [
            part.recipe.place_of(p, question.layer) for p in part.places
            if lacking is None or any((p.sample_id, question.layer, slot) in lacking for slot in question.slots)
        ]  # fmt: skip
        if places:
            key = part.recipe.size_of(question.layer), frozenset(p.sample_id for p in places)
            ground = grounds.setdefault(key, Ground(places))
            asked += search.questions(part, ground)
    answers = ask_all(archives, [(one.question, block) for one, block in asked])
    for number, ((one, block), answer) in enumerate(zip(asked, answers, strict=True), 1):
        part.searches += answer.pages
        one.serve(part, block, answer)
        progress(number / len(asked))


def share_scenes(part: PartPlan) -> None:
    """Let the samples of a shard agree on scenes, as far as the recipe allows."""
    for source in part.recipe.sources:
        if not isinstance(source, DatedSource):
            continue
        for places in part.shards.values():
            for slot, window in enumerate(part.recipe.slots_of(source)):
                keys: list[CandidateKey] = [(place.sample_id, source.name, slot) for place in places]
                listed = {key: part.candidates[key] for key in keys if key in part.candidates}
                if source.composite is not None:
                    words = f"{source.name}: scenes that are read for composites ({source.composite})"
                    part.words[words] += sum(map(len, listed.values()))
                elif window.follows is None and window.every is None and window.pick is None:
                    part.candidates |= cover(listed, source.sharing)


def complete(part: PartPlan, archives: Archives, progress: Callable[[float], None]) -> None:
    """Repeat the requests that an archive did not answer when the partition was planned.

    All else stays, so that shards built from the old plan are still what the plan says: what is found now agrees with
    its neighbours as far as the recipe allows, and they do not agree with it.
    """
    lacking = {key for key, outcome in part.absences.items() if outcome.reason.retryable}
    before = dict(part.candidates)
    for key in lacking:
        del part.absences[key]
    find(part, archives, progress, lacking)
    part.candidates = {key: tuple(sorted(c, key=lambda x: (x.rank, x.scenes))) for key, c in part.candidates.items()}
    share_scenes(part)
    part.candidates |= before


class _SourceSearch:
    """One window of a source (or a static source): its question, and what an answer means for each place."""

    def __init__(self, recipe: Recipe, source: Source, window: Window | None, slots: tuple[int, ...]) -> None:
        self._entry, self.source, self.window = source, open_source(source), window
        self.density = source.modality.density
        self.question = Question(
            layer=source.name,
            providers=source.providers,
            collection=source.collection,
            collections=_collections_of(recipe, source),
            period=None if window is None else window.period,
            own_window="" if window is None or window.period is not None else window.name,
            slots=slots,
            parse=self.source.parse,
            plain=isinstance(source, DeclaredSource),
        )

    def questions(self, part: PartPlan, ground: Ground) -> list[tuple[_Asked, Block]]:  # noqa: ARG002
        """What to ask of the archives, over the places of `ground`."""
        return [(self, block) for block in ground.blocks(self.density, days_of(self.question.period))]

    def serve(self, part: PartPlan, block: Block, answer: Answer) -> None:
        """Record the candidates or the absence of each place and date slot."""
        scenes = [] if answer.error else self.source.collapse(answer.scenes)
        for occurrence, slot in enumerate(self.question.slots):
            if self.series and occurrence:
                break  # all dates are recorded with the first
            found = self._found(scenes, block.places, occurrence)
            cloudy = self._cloudy(scenes, block, occurrence) if scenes and not all(found) else {}
            for place, candidates in zip(block.places, found, strict=True):
                more = cloudy.get(place.sample_id, "")
                if self.series:
                    self._note_series(part, place, candidates, answer, more)
                else:
                    _note(part, place, self.question, slot, candidates, answer, more)
        _keep(part, self.question, answer)

    @property
    def series(self) -> bool:
        """Whether every scene of the window is wanted."""
        return self.window is not None and self.window.every == "scene"

    def _found(self, scenes: Sequence[Scene], places: Sequence[Place], occurrence: int) -> list[list[Candidate]]:
        if self.series and self.window is not None and isinstance(self._entry, DatedSource):
            return self.source.candidates_in(scenes, places, period_of(self.window, 0), len(scenes))
        return self.source.candidates_at(scenes, places, self.window, occurrence)

    def _note_series(
        self, part: PartPlan, place: Place, candidates: Sequence[Candidate], answer: Answer, more: str
    ) -> None:
        """One date slot for each acquisition, in order of time; of more than there are slots the best ones."""
        slots = self.question.slots
        dates = sorted(candidates[: len(slots)], key=lambda c: (c.datetime, c.scenes))
        if len(candidates) > len(slots):
            part.words[
                f"{self.question.layer}: places with more than {len(slots)} dates, of which the clearest and fullest "
                "by metadata are kept"
            ] += 1
        for number, slot in enumerate(slots):
            one = dates[number : number + 1]
            words = f"{more}; the window has {len(dates)} dates here" if dates else more
            _note(part, place, self.question, slot, one, answer, words)

    def _cloudy(self, scenes: Sequence[Scene], block: Block, occurrence: int) -> dict[str, str]:
        """Sample id -> words, for places that only the limit on a scene's cloud leaves without a scene."""
        config = self._entry
        limit = config.limits.max_scene_cloud
        if limit >= 1.0:
            return {}
        lenient = open_source(config.model_copy(update={"max_scene_cloud": 1.0}))
        found = lenient.candidates_at(scenes, block.places, self.window, occurrence)
        words = f", cloud is above max_scene_cloud {limit:g}"
        return {place.sample_id: words for place, some in zip(block.places, found, strict=True) if some}


class _OwnDatesSearch(_SourceSearch):
    """One window of a source whose period is another for each place: around a date of it, moved by a draw, or around
    the scenes that are chosen for another layer."""

    def questions(self, part: PartPlan, ground: Ground) -> list[tuple[_Asked, Block]]:
        """What to ask: a block of ground and a quarter of the calendar at a time."""
        self.periods: dict[int, dict[str, list[Period]]] = {slot: {} for slot in self.question.slots}
        for place in ground.places:
            for occurrence, slot in enumerate(self.question.slots):
                found = self._periods(part, place, slot, occurrence)
                if isinstance(found, Outcome):
                    part.absences.setdefault((place.sample_id, self.question.layer, slot), found)
                else:
                    self.periods[slot][place.sample_id] = found
        together: dict[str, list[Period]] = {}
        for of_slot in self.periods.values():
            for sample, periods in of_slot.items():
                together.setdefault(sample, []).extend(periods)
        places = [place for place in ground.places if place.sample_id in together]
        found_pieces = pieces(self.question, places, around_each(together), self.density)
        return [(_PieceSearch(self, piece), block) for piece, block in found_pieces]

    def _periods(self, part: PartPlan, place: Place, slot: int, occurrence: int) -> list[Period] | Outcome:
        """Periods of one date slot, the first preferred; or why there is none."""
        assert self.window is not None  # noqa: S101 - only windows make such searches
        anchor = part.recipe.anchor_of(self._entry, slot)
        if anchor is not None:
            near = part.candidates.get((place.sample_id, *anchor), ())
            if near:
                return [around(self.window, Moment(first=c.datetime, last=c.datetime)) for c in near]
            why = part.absences.get((place.sample_id, *anchor))
            words = f"window {self.window.name!r} is around scenes of {anchor[0]}, and there is none"
            return self._absent(place, slot, words, why)
        period = own_period(self.window, occurrence, place, part.recipe.seed)
        if period is None:
            words = f"window {self.window.name!r} is around attr_{self.window.attribute}, which has no value here"
            return self._absent(place, slot, words, None)
        return [period]

    def _absent(self, place: Place, slot: int, words: str, why: Outcome | None) -> Outcome:
        again = why is not None and why.reason.retryable
        return Outcome(
            sample_id=place.sample_id,
            layer=self.question.layer,
            slot=slot,
            reason=why.reason if why is not None and again else Reason.NO_SCENE,
            provider=why.provider if why is not None and again else None,
            detail=f"{words}: {why.detail}" if why is not None and again else words,
        )

    def take(self, part: PartPlan, served: Served) -> None:
        """Record the candidates or the absence of each place that is answered, and each date slot."""
        scenes = [] if served.answer.error else self.source.collapse(served.answer.scenes)
        whole = dict(zip((p.sample_id for p in served.places), served.periods, strict=True))
        for slot in self.question.slots:
            if self.series and slot != self.question.slots[0]:
                break
            of_slot = self.periods[slot]
            places = [place for place in served.places if place.sample_id in of_slot]
            for place, candidates in zip(places, self._nearest(scenes, places, of_slot), strict=True):
                question = self.question
                if not candidates or self.series:
                    question = replace(question, period=whole[place.sample_id].days)
                if self.series:
                    self._note_series(part, place, candidates, served.answer, "")
                else:
                    _note(part, place, question, slot, candidates, served.answer)
        _keep(part, self.question, served.answer)

    def _nearest(
        self, scenes: Sequence[Scene], places: Sequence[Place], periods: Mapping[str, Sequence[Period]]
    ) -> list[list[Candidate]]:
        """Candidates of each place: those of its first period, then those that its other periods add."""
        assert isinstance(self._entry, DatedSource)  # noqa: S101 - it has windows
        found: dict[str, dict[tuple[str, ...], Candidate]] = {place.sample_id: {} for place in places}
        for number in range(max((len(periods[p.sample_id]) for p in places), default=0)):
            mine = [place for place in places if number < len(periods[place.sample_id])]
            near = [periods[place.sample_id][number] for place in mine]
            most = len(scenes) if self.series else None
            for place, more in zip(mine, self.source.candidates_in(scenes, mine, near, most), strict=True):
                for candidate in more:
                    found[place.sample_id].setdefault(candidate.scenes, candidate)
        return [list(found[place.sample_id].values()) for place in places]


class _PieceSearch:
    """One search of an `_OwnDatesSearch`."""

    def __init__(self, search: _OwnDatesSearch, piece: Piece) -> None:
        self._search, self._piece, self.question = search, piece, piece.question

    def serve(self, part: PartPlan, block: Block, answer: Answer) -> None:  # noqa: ARG002 - the piece knows its places
        """Record what is known of the places whose windows are answered whole."""
        for served in self._piece.serve(answer):
            self._search.take(part, served)


class _Asked(Protocol):
    """A search, and what becomes of its answer."""

    question: Question

    def serve(self, part: PartPlan, block: Block, answer: Answer) -> None:
        """Record what an answer means for the places of a block."""
        ...


class _LabelSearch:
    """A raster label: every map that could serve; the best one is picked when the image to label is known."""

    def __init__(self, part: PartPlan, label: RasterLabelEntry) -> None:
        recipe, self.density = part.recipe, label.density
        self._label, self._labeller = label, open_raster_labeller(label)
        self.question = Question(
            layer=label.layer,
            providers=label.providers,
            collection=label.collection,
            collections=_collections_of(recipe, label),
            period=_period_of(part, label),
            slots=(0,),
            parse=self._labeller.scene,
        )

    def questions(self, part: PartPlan, ground: Ground) -> list[tuple[_Asked, Block]]:  # noqa: ARG002
        """What to ask of the archives, over the places of `ground`."""
        return [(self, block) for block in ground.blocks(self.density, days_of(self.question.period))]

    def serve(self, part: PartPlan, block: Block, answer: Answer) -> None:
        """Record the maps that could serve, or their absence."""
        for place in block.places:
            near = [] if answer.error else [s for s in answer.scenes if covered_share(s.geometry, place.geobox) > 0]
            why = ""
            if near and self._label.date is not None:  # else the image decides, and it is not known yet
                fitting, why = self._labeller.maps(near, place, None)
                near = near if fitting else []
            items = tuple(scene.item_id for scene in near)
            maps = [Candidate(scenes=items, datetime=near[0].datetime, rank=())] if near else []
            _note(part, place, self.question, 0, maps, answer, f": {why}" if why else "")
        _keep(part, self.question, answer)


def _searches(part: PartPlan) -> list[_SourceSearch | _LabelSearch]:
    recipe = part.recipe
    searches: list[_SourceSearch | _LabelSearch] = []
    for source in recipe.sources:
        slots = recipe.slots_of(source)
        if not isinstance(source, DatedSource):
            searches.append(_SourceSearch(recipe, source, None, (0,)))
        served = {window: tuple(i for i, w in enumerate(slots) if w == window) for window in slots}
        searches += [
            (_SourceSearch if window.period is not None else _OwnDatesSearch)(recipe, source, window, numbers)
            for window, numbers in served.items()
        ]
    rasters = [label for label in recipe.read_labels if not isinstance(label, ObjectLabel)]
    return searches + [_LabelSearch(part, label) for label in rasters]


def _follows(search: _SourceSearch | _LabelSearch) -> bool:
    """Whether it can only be asked when another layer's scenes are known."""
    return isinstance(search, _OwnDatesSearch) and search.window is not None and search.window.follows is not None


def _collections_of(recipe: Recipe, entry: RasterSource) -> dict[str, str]:
    return {name: entry.collection_at(name, recipe.providers[name]) for name in entry.providers}


def _period_of(part: PartPlan, label: RasterLabelEntry) -> tuple[dt.date, dt.date] | None:
    """Period in which maps of a label are usable; None = any time."""
    if isinstance(label, WorldCoverLabel) or label.max_gap_days is None:
        return None
    gap = dt.timedelta(days=label.max_gap_days)
    if label.date is not None:
        moments = [day_of_label(label.date, place) for place in part.places]
        known = [(moment.date(), moment.date()) for moment in moments if moment is not None]
    else:
        known = [span for window in part.recipe.windows for span in _spans(part, window)]
    return (min(s for s, _ in known) - gap, max(e for _, e in known) + gap) if known else None


def _spans(part: PartPlan, window: Window) -> list[tuple[dt.date, dt.date]]:
    """First and last days of a window: of its parts, or over the places of the partition."""
    if not window.own:
        return [piece.period for piece in window.parts() if piece.period is not None]
    periods = (own_period(one, 0, place, part.recipe.seed) for one in window.parts() for place in part.places)
    days = [period.days for period in periods if period is not None]
    return [(min(first for first, _ in days), max(last for _, last in days))] if days else []


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
