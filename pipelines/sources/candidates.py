"""Candidate scenes of a place: drops duplicates, joins parts of one acquisition, sorts the best first.

It uses only metadata, so planning reads no pixels. The rank, smaller is better:
1. share of the chip that the footprints leave uncovered, in whole percent;
2. cloud over the scene (0..1) plus distance to the target date as a share of half the period (0..1): a clear scene at
   the far end of the period ranks the same as an overcast scene on the target date;
3. distance to the target date, days.
Where a window says `pick`, the first two are 0 and the distance decides alone, among candidates that cover enough.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import shapely

from pipelines.sources.outline import footprint
from schemas.scene import Candidate

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from shapely.geometry.base import BaseGeometry

    from sampling.times import Period
    from schemas.place import Place
    from schemas.scene import Scene
    from schemas.source import DatedSource

_SLACK = 0.05
"""Footprints are drawn roughly: a candidate may miss this much of what the recipe asks; the pixels decide."""
_COVERED = 0.9999
_WORTH = 0.001
"""Least share of the chip that a further scene must add."""
_ROUNDING = 1e-9
"""Shares that add up may fall short by this."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Rules:
    """The recipe's conditions for a candidate."""

    max_candidates: int = 1
    min_valid: float = 0.0
    """Least share of the chip that footprints must cover, less a slack."""
    max_scene_cloud: float = 1.0
    """Most cloud over the scene; scenes that say nothing pass."""
    margin_m: float = 0.0
    """Extra ground around the chip, so that the kernel finds neighbours across tile seams."""
    all_parts: bool = False
    """True: every scene that touches the chip belongs to the candidate (static mosaics)."""


def choose_dated(
    config: DatedSource,
    scenes: Sequence[Scene],
    places: Sequence[Place],
    period: Period | Sequence[Period] | None,
    most: int | None = None,
) -> list[list[Candidate]]:
    """`choose` with the conditions of a dated source's entry; `most` replaces its `max_candidates`."""
    rules = Rules(
        max_candidates=config.scenes_per_date if most is None else most,
        min_valid=config.min_valid if config.composite is None else 0.0,
        max_scene_cloud=config.limits.max_scene_cloud,
    )
    return choose(scenes, places, period, rules)


def choose(
    scenes: Sequence[Scene], places: Sequence[Place], period: Period | Sequence[Period] | None, rules: Rules
) -> list[list[Candidate]]:
    """Candidates of places, best first, at most `rules.max_candidates` each.

    All places of one projection are compared together: a scene that covers a whole chip represents its acquisition,
    and only chips at the edges of scenes are measured one by one.

    Args:
        scenes: of one layer.
        places: samples.
        period: one for all places, or one for each; None = any time.
        rules: the recipe's conditions.
    """
    periods: Sequence[Period | None] = list(period) if isinstance(period, Sequence) else [period] * len(places)
    found: list[list[Candidate]] = [[] for _ in places]
    usable = _usable(scenes, periods, rules)
    if not usable:
        return found
    outlines = [json.dumps(scene.geometry, sort_keys=True) for scene in usable]
    epsgs = np.array([place.geobox.epsg for place in places])
    for epsg in np.unique(epsgs).tolist():
        mine = np.flatnonzero(epsgs == epsg)
        shapes = np.array([footprint(text, epsg) for text in outlines], dtype=object)
        bounds = np.array([places[i].geobox.bounds for i in mine.tolist()])
        chips = shapely.box(*bounds.T)
        if rules.margin_m:
            chips = shapely.buffer(chips, rules.margin_m, join_style="mitre")
        near = _Near(usable, shapes, chips, epsg, [periods[i] for i in mine.tolist()])
        for number, candidates in enumerate(near.candidates(rules)):
            found[mine[number]] = candidates
    return found


def _usable(scenes: Sequence[Scene], periods: Sequence[Period | None], rules: Rules) -> list[Scene]:
    """Scenes that some place may use, sorted by item id."""
    stated = [period for period in periods if period is not None]
    first, last = (min(p.start for p in stated), max(p.end for p in stated)) if stated else (None, None)
    return [
        scene
        for scene in sorted(scenes, key=lambda s: s.item_id)
        if (first is None or last is None or first <= scene.datetime < last)
        and (scene.cloud_cover is None or scene.cloud_cover <= rules.max_scene_cloud)
    ]


class _Near:
    """Chips of one projection and the scenes that touch them."""

    def __init__(
        self,
        scenes: Sequence[Scene],
        shapes: NDArray[np.object_],
        chips: NDArray[np.object_],
        epsg: int,
        periods: Sequence[Period | None],
    ) -> None:
        """`scenes` are sorted by item id, `shapes` are their outlines in the chips' projection; a period for each
        chip."""
        self.scenes, self.shapes, self.chips, self.epsg, self.periods = scenes, shapes, chips, epsg, periods
        self.alike = all(period == periods[0] for period in periods)
        tree = shapely.STRtree(chips)
        scene, chip = tree.query(shapes, predicate="intersects")
        if not self.alike:
            scene, chip = self._in_time(scene, chip)
        inner = np.zeros(len(scene), dtype=bool)
        whole = tree.query(shapes, predicate="contains")
        code = scene.astype(np.int64) * len(chips) + chip
        inner[np.isin(code, whole[0].astype(np.int64) * len(chips) + whole[1])] = True
        share = np.ones(len(scene))
        edge = np.flatnonzero(~inner)
        self.parts: dict[int, BaseGeometry] = {}
        if len(edge):
            cut = shapely.intersection(shapes[scene[edge]], chips[chip[edge]])
            share[edge] = shapely.area(cut) / shapely.area(chips[chip[edge]])
            self.parts = dict(zip(code[edge].tolist(), cut.tolist(), strict=True))
        acquisitions = {name: i for i, name in enumerate(sorted({s.acquisition for s in scenes}))}
        group = np.array([acquisitions[s.acquisition] for s in scenes])[scene]
        foreign = np.array([s.facts.get("crs") != f"EPSG:{epsg}" for s in scenes])[scene]
        kept = np.flatnonzero(share > 0.0)
        # best first within each acquisition over each chip, as `_cover` begins
        order = kept[
            np.lexsort(
                (scene[kept], -np.round(share[kept], 6), foreign[kept], share[kept] < _COVERED, group[kept], chip[kept])
            )
        ]
        self.scene, self.chip, self.share, self.group = scene[order], chip[order], share[order], group[order]

    def _in_time(
        self, scene: NDArray[np.int64], chip: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The pairs of which the scene lies in the chip's period."""
        when = np.array([s.datetime.timestamp() for s in self.scenes])[scene]
        start, end = (
            np.array([getattr(period, name).timestamp() for period in self.periods])[chip] for name in ("start", "end")
        )
        kept = (start <= when) & (when < end)
        return scene[kept], chip[kept]

    def candidates(self, rules: Rules) -> list[list[Candidate]]:
        """Of each chip, best first."""
        found: list[list[Candidate]] = [[] for _ in self.chips]
        if not len(self.scene):
            return found
        code = self.chip.astype(np.int64) * (int(self.group.max()) + 1) + self.group
        starts = np.flatnonzero(np.diff(code, prepend=-1))
        sizes = np.diff(np.append(starts, len(code)))
        covered = self.share[starts] >= _COVERED
        simple = (covered | (sizes == 1)) if not rules.all_parts else (sizes == 1)
        whole = simple & covered
        (self._simple if self.alike else self._simple_each)(starts[whole], rules, found)
        hopeful = np.add.reduceat(self.share, starts) >= rules.min_valid - _SLACK - _ROUNDING
        for begin, size in zip(starts[~whole & hopeful].tolist(), sizes[~whole & hopeful].tolist(), strict=True):
            chip = int(self.chip[begin])
            parts = [(self.scenes[s], self._part(int(s), chip)) for s in self.scene[begin : begin + size]]
            chosen, share = _cover(parts, self.chips[chip].area, self.epsg, rules.all_parts)
            if share >= rules.min_valid - _SLACK:
                found[chip].append(_candidate(chosen, share, self.periods[chip]))
                found[chip].sort(key=_order)
        return [candidates[: rules.max_candidates] for candidates in found]

    def _simple(self, at: NDArray[np.int64], rules: Rules, found: list[list[Candidate]]) -> None:
        """Candidates of one scene that covers the chip: the same for all chips, so they are ranked once."""
        used, period = np.unique(self.scene[at]), self.periods[0]
        made = sorted(
            ((_candidate([self.scenes[i]], 1.0, period), i) for i in used.tolist()), key=lambda m: _order(m[0])
        )
        place = np.zeros(len(self.scenes), dtype=np.int64)
        place[[i for _, i in made]] = np.arange(len(made))
        chip, rank = self.chip[at], place[self.scene[at]]
        order = np.lexsort((rank, chip))
        chip, rank = chip[order], rank[order]
        first = np.searchsorted(chip, chip)
        best = np.flatnonzero(np.arange(len(chip)) - first < rules.max_candidates)
        for number, candidate in zip(chip[best].tolist(), rank[best].tolist(), strict=True):
            found[number].append(made[candidate][0])

    def _simple_each(self, at: NDArray[np.int64], rules: Rules, found: list[list[Candidate]]) -> None:
        """The same, where each chip has its own period."""
        scene, chip = self.scene[at], self.chip[at]
        when = np.array([s.datetime.timestamp() for s in self.scenes])[scene]
        target, half, by_time = (
            np.array(values)[chip]
            for values in zip(*(_aim(period) for period in self.periods if period is not None), strict=True)
        )
        days = np.abs(when - target) / 86_400
        cloud = np.array([s.cloud_cover or 0.0 for s in self.scenes])[scene]
        second = np.where(by_time, 0.0, cloud + np.divide(days, half, out=np.zeros_like(days), where=half > 0))
        order = np.lexsort((scene, np.round(days, 6), np.round(second, 6), chip))
        first = np.searchsorted(chip[order], chip[order])
        best = order[np.arange(len(order)) - first < rules.max_candidates]
        for number, which in zip(chip[best].tolist(), scene[best].tolist(), strict=True):
            found[number].append(_candidate([self.scenes[which]], 1.0, self.periods[number]))

    def _part(self, scene: int, chip: int) -> BaseGeometry:
        """Part of a chip that a scene covers."""
        known = self.parts.get(scene * len(self.chips) + chip)
        return self.chips[chip] if known is None else known


def _order(candidate: Candidate) -> tuple[tuple[float, ...], tuple[str, ...]]:
    return candidate.rank, candidate.scenes


def _cover(
    parts: list[tuple[Scene, BaseGeometry]], area: float, epsg: int, everything: bool
) -> tuple[list[Scene], float]:
    """Few scenes of one acquisition that cover the chip, best first, and the share they cover."""
    wanted = f"EPSG:{epsg}"

    def key(item: tuple[Scene, BaseGeometry]) -> tuple[bool, bool, float, str]:
        share = item[1].area / area
        return (share < _COVERED, item[0].facts.get("crs") != wanted, -round(share, 6), item[0].item_id)

    waiting = sorted(parts, key=key)
    scene, union = waiting.pop(0)
    chosen = [scene]
    while waiting and (everything or union.area / area < _COVERED):
        gains = [(-round(union.union(p).area / area, 6), *key((s, p)), i) for i, (s, p) in enumerate(waiting)]
        best = min(gains)
        scene, part = waiting.pop(best[-1])
        if not everything and -best[0] - union.area / area < _WORTH:
            break
        chosen.append(scene)
        union = union.union(part)
    return chosen, union.area / area


def _aim(period: Period) -> tuple[float, float, bool]:
    """(target, seconds since 1970; half the period, days; whether time alone decides)."""
    return period.target.timestamp(), (period.end - period.start).total_seconds() / 2 / 86_400, period.by_time


def _candidate(scenes: Sequence[Scene], covered: float, period: Period | None) -> Candidate:
    cloud = max((s.cloud_cover or 0.0 for s in scenes), default=0.0)
    first = scenes[0]
    days = half = 0.0
    if period is not None:
        days = abs((first.datetime - period.target).total_seconds()) / 86_400
        half = (period.end - period.start).total_seconds() / 2 / 86_400
    rank = (round(1.0 - min(covered, 1.0), 2), round(cloud + (days / half if half else 0.0), 6), round(days, 6))
    if period is not None and period.by_time:
        rank = (0.0, 0.0, rank[2])
    return Candidate(scenes=tuple(s.item_id for s in scenes), datetime=first.datetime, rank=rank)
