"""Plans windows that each place has for itself: around a date of the place, or moved by a draw.

Searches are cut by quarters of the calendar: one search for a block of ground and a quarter serves every place there
whose window touches it. A place is served when the last quarter of its window is answered, with all scenes of the
window, so that the parts of an acquisition stay together. Scenes that no later place needs are let go.
"""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from pipelines.plan.blocks import Ground
from pipelines.plan.search import Answer, Question

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pipelines.plan.blocks import Block
    from sampling.times import Period
    from schemas.modality import SearchDensity
    from schemas.place import Place
    from schemas.scene import Scene

QUARTER_DAYS = 92.0
"""Days of the longest quarter."""
_QUARTERS_HELD = 4
"""Blocks are made smaller for windows that are longer than this many quarters: their scenes are held together."""
Quarter = tuple[int, int]
"""(year, 0..3)."""
Periods = dict[str, "Period"]
"""Sample id -> its period."""


@dataclass(frozen=True, kw_only=True)
class Served:
    """Places for which all searches of their windows were answered."""

    places: tuple[Place, ...]
    periods: tuple[Period, ...]
    """Of each place."""
    question: Question
    answer: Answer
    """All scenes of these windows; `error` where any part of them was not answered."""


@dataclass(kw_only=True)
class _Held:
    """Answers received so far for one block of ground."""

    last: dict[Quarter, list[Place]]
    """Quarter -> places whose windows end in it."""
    first: dict[Quarter, Quarter]
    """Quarter -> the earliest quarter that places of later ones need."""
    answers: dict[Quarter, Answer] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Piece:
    """One search: a quarter of a block."""

    question: Question
    quarter: Quarter
    held: _Held
    periods: Mapping[str, Period]

    def serve(self, answer: Answer) -> Iterator[Served]:
        """Add an answer; returns the places that are now complete, those of one month together."""
        held = self.held
        held.answers[self.quarter] = answer
        by_month: dict[tuple[int, int], list[Place]] = defaultdict(list)
        for place in held.last.get(self.quarter, ()):
            start = self.periods[place.sample_id].start
            by_month[start.year, start.month].append(place)
        for _, places in sorted(by_month.items()):
            periods = tuple(self.periods[place.sample_id] for place in places)
            yield Served(
                places=tuple(places), periods=periods, question=self.question, answer=_joined(held.answers, periods)
            )
        for quarter in [q for q in held.answers if q < held.first[self.quarter]]:
            del held.answers[quarter]


def pieces(
    question: Question, places: Sequence[Place], periods: Periods, spread: SearchDensity
) -> list[tuple[Piece, Block]]:
    """The searches for places with their own periods, those of one block in a row and in order of time.

    Args:
        question: of the layer; `period` of each search replaces its own.
        places: those of `periods`.
        periods: sample id -> period.
        spread: density of the layer's scenes.
    """
    found: list[tuple[Piece, Block]] = []
    longest = max(((p.end - p.start).total_seconds() / 86_400 for p in periods.values()), default=0.0)
    days = max(QUARTER_DAYS, longest / _QUARTERS_HELD)
    for block in Ground(places).blocks(spread, days) if places else ():
        found += _of_block(question, block, periods, spread)
    return found


def around_each(periods: Mapping[str, Sequence[Period]]) -> Periods:
    """Sample id -> the period that holds all of its periods."""
    return {
        sample: replace(found[0], start=min(p.start for p in found), end=max(p.end for p in found))
        for sample, found in periods.items()
        if found
    }


def _of_block(question: Question, block: Block, periods: Periods, spread: SearchDensity) -> list[tuple[Piece, Block]]:
    wanting: dict[Quarter, list[Place]] = defaultdict(list)
    last: dict[Quarter, list[Place]] = defaultdict(list)
    begins: dict[Quarter, Quarter] = {}
    for place in block.places:
        quarters = _quarters(periods[place.sample_id])
        for quarter in quarters:
            wanting[quarter].append(place)
        last[quarters[-1]].append(place)
        begins[quarters[-1]] = min(quarters[0], begins.get(quarters[-1], quarters[0]))
    order = sorted(wanting)
    first, needed = {}, (order[-1][0] + 1, 0)
    for quarter in reversed(order):
        first[quarter] = needed
        needed = min(needed, begins.get(quarter, needed))
    held = _Held(last=dict(last), first=first)
    return [
        (
            Piece(
                question=replace(question, period=_days(quarter, wanting[quarter], periods)),
                quarter=quarter,
                held=held,
                periods=periods,
            ),
            Ground(wanting[quarter]).whole(spread, QUARTER_DAYS),
        )
        for quarter in order
    ]


def _joined(answers: Mapping[Quarter, Answer], periods: Sequence[Period]) -> Answer:
    """Joins the answers of the quarters that the periods touch."""
    wanted = sorted({quarter for period in periods for quarter in _quarters(period)})
    found = [answers[quarter] for quarter in wanted if quarter in answers]
    scenes: dict[str, Scene] = {scene.item_id: scene for answer in found for scene in answer.scenes}
    failed = next((answer for answer in found if answer.error is not None), None)
    return Answer(
        scenes=[scenes[item] for item in sorted(scenes)],
        refused={whose: why for answer in found for whose, why in answer.refused.items()},
        provider=(failed or found[-1]).provider,
        error=None if failed is None else failed.error,
    )


def _quarters(period: Period) -> list[Quarter]:
    """The quarters that a period touches."""
    (first, last), found = period.days, []
    year, quarter = first.year, (first.month - 1) // 3
    while (year, quarter) <= (last.year, (last.month - 1) // 3):
        found.append((year, quarter))
        year, quarter = (year, quarter + 1) if quarter < 3 else (year + 1, 0)
    return found


def _days(quarter: Quarter, places: Sequence[Place], periods: Periods) -> tuple[dt.date, dt.date]:
    """First and last day of a quarter that any of the places needs."""
    year, number = quarter
    begins = dt.date(year, 3 * number + 1, 1)
    ends = (dt.date(year, 3 * number + 4, 1) if number < 3 else dt.date(year + 1, 1, 1)) - dt.timedelta(days=1)
    needed = [periods[place.sample_id].days for place in places]
    return max(begins, min(first for first, _ in needed)), min(ends, max(last for _, last in needed))
