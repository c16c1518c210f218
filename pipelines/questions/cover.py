"""Questions about land cover: presence, area, comparison, rank, region, relation, count, description."""

from __future__ import annotations

from itertools import combinations, islice
from typing import TYPE_CHECKING

import numpy as np

from landweave.asked import EIGHTHS, LEAST_LABELLED, LISTED_PERCENT, NOWHERE, PARTS, Quantity, Query
from landweave.facts import COMMON
from pipelines.questions import options as ladder
from pipelines.questions.candidate import Family, even

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from pipelines.questions.asker import Asker
    from pipelines.questions.candidate import Candidate

QUARTERS = ("top left", "top right", "bottom left", "bottom right")
_YES_NO = {"yes": 1, "no": 1}
_OF_QUARTERS = dict.fromkeys(QUARTERS, 1)
_OF_RANGES = {"0": 1, "1": 1, "2": 1, "3": 1}
_TALK = {name: Family(name=name, task=task, form=form, shares=shares) for name, task, form, shares in (
    ("presence.part", "presence", "yes or no", _YES_NO),
    ("presence.both", "presence", "yes or no", _YES_NO),
    ("area.above", "area", "yes or no", _YES_NO),
    ("area.choice", "area", "choice", _OF_RANGES),
    ("area.open", "area", "open", {}),
    ("area.hectares", "area", "choice", _OF_RANGES),
    ("compare.parts", "comparison", "open", {}),
    ("compare.yes", "comparison", "yes or no", {}),
    ("compare.covers", "comparison", "open", {}),
    ("rank.most", "rank", "choice", _OF_QUARTERS),
    ("rank.least", "rank", "choice", _OF_QUARTERS),
    ("rank.cover", "rank", "open", {"first": 1, "second": 1}),
    ("region.box", "region", "open", {}),
    ("region.share", "region", "yes or no", _YES_NO),
    ("region.choice", "region", "choice", _OF_RANGES),
    ("ground.box", "referring", "box", {}),
    ("ground.mask", "referring", "mask", {}),
    ("relation.across", "relation", "open", {}),
    ("relation.along", "relation", "open", {}),
    ("relation.contact", "relation", "yes or no", _YES_NO),
    ("count.covers", "count", "yes or no", _YES_NO),
    ("premise.quarter", "false premise", "choice", {**_OF_QUARTERS, NOWHERE: 1}),
    ("describe.part", "description", "open", {}),
)}  # fmt: skip
_LEAST_PRESENT = 3.0
"""Percent of a part that a land cover holds where it is said to be there."""
_CLEARLY = 6.0
"""Percentage points by which one share exceeds another that it is compared with."""
_BOXES = tuple(
    (left, top, left + wide, top + high)
    for wide in (250, 375, 500)
    for high in (250, 375, 500)
    for left in range(0, 1001 - wide, 125)
    for top in range(0, 1001 - high, 125)
)
"""Boxes that questions refer to."""
_NAMES = tuple(PARTS)
_WEIGHTS = np.zeros((len(_NAMES), EIGHTHS, EIGHTHS))
for _i, _box in enumerate(PARTS.values()):
    _left, _top, _right, _lower = (edge * EIGHTHS // 1000 for edge in _box)
    _WEIGHTS[_i, _top:_lower, _left:_right] = 1.0


def cover(ask: Asker, label: str) -> Iterator[Candidate | None]:
    """Candidates of one sample; None where a question does not fit it."""
    shares = ask.scene.shares(label)
    if shares is None:
        return
    counts = _WEIGHTS.reshape(len(_NAMES), -1) @ shares.reshape(EIGHTHS**2, -1)
    labelled = counts[:, 1:].sum(axis=1)
    if labelled[0] < LEAST_LABELLED * counts[0].sum() or not labelled[0]:
        return
    percent = 100.0 * counts[:, 1:] / np.maximum(labelled, 1)[:, None]
    there = [COMMON[i + 1] for i in np.flatnonzero(percent[0] >= _LEAST_PRESENT)]
    talk = _Talk(ask, label, percent, there)
    yield from talk.presence()
    yield from talk.areas()
    yield from talk.comparisons()
    yield from talk.ranks()
    yield from talk.regions()
    yield from talk.relations()
    yield from talk.others()


class _Talk:
    """What can be asked of one label of one sample."""

    def __init__(self, ask: Asker, label: str, percent: NDArray[np.float64], there: list[str]) -> None:
        self.ask, self.dice, self.label = ask, ask.dice, label
        self.percent = percent
        """(part, class): percent of the labelled pixels."""
        self.there = there
        """Land covers with at least `_LEAST_PRESENT` percent of the scene."""

    def share(self, name: str, where: str | tuple[int, ...] = "scene") -> Quantity:
        return Quantity("share", self.label, (name,), where)

    def part(self, question: str, *, whole: bool = True) -> str:
        """A part of the scene: a third of the questions are about the whole."""
        if whole and self.dice.roll(f"{question}/whole") < 0.34:
            return "scene"
        return self.dice.pick(question, _NAMES[1:])

    def made(self, family: str, query: Query, **more: object) -> Candidate | None:
        return self.ask.candidate(_TALK[family], query, self.ask.looks, **more)

    def presence(self) -> Iterator[Candidate | None]:
        """Is it there? Of land covers drawn from the whole taxonomy, whether the scene has them or not."""
        for name in self.dice.mixed("presence", COMMON[1:])[:5]:
            where = self.part(f"presence/{name}")
            query = Query("present", (self.share(name, where),), limit=_LEAST_PRESENT)
            yield self.made("presence.part", query, unit=" percent", alike=f"{name}/{where == 'scene'}")
        pairs = list(combinations(COMMON[1:], 2))
        for a, b in islice(self.dice.mixed("both", pairs), 4):
            query = Query("present", (self.share(a), self.share(b)), limit=_LEAST_PRESENT)
            yield self.made("presence.both", query, unit=" percent", alike=f"{a}/{b}")

    def _by_tenths(self, name: str) -> tuple[str, str] | None:
        """A land cover and a part whose share lies in a tenth that the dice choose: all shares are as frequent."""
        tenth = int(self.dice.roll(f"{name}/tenth") * 10)
        low, high = max(3.0, 10.0 * tenth), min(97.0, 10.0 * tenth + 10)
        found = np.argwhere((self.percent >= low) & (self.percent < high))
        if not len(found):
            return None
        part, kind = found[int(self.dice.roll(f"{name}/which") * len(found))]
        return COMMON[kind + 1], _NAMES[part]

    def areas(self) -> Iterator[Candidate | None]:
        for number in range(2):
            yield self._above("area.above", _NAMES, f"above/{number}")
            yield self._ranged("area.choice", _NAMES, f"choice/{number}")
        yield self._hectares()
        for number in range(2):
            yield self._open(f"open/{number}")

    def _of(self, name: str, where: str | tuple[int, ...]) -> float | None:
        if isinstance(where, str):
            return float(self.percent[_NAMES.index(where), COMMON.index(name) - 1])
        return self.ask.measured(self.share(name, where))

    def _above(self, family: str, places: Sequence[str | tuple[int, ...]], name: str) -> Candidate | None:
        """Whether a share exceeds a limit, in a part where it does or in one where it does not, each as likely."""
        cover_name = self._any(name)
        limit = float(self.dice.pick(f"{name}/limit", ladder.SHARE_LIMITS))
        more = self.dice.coin(f"{name}/side")
        for where in self.dice.mixed(f"{name}/where", places):
            share = self._of(cover_name, where)
            far = -1.0 if share is None else share - limit if more else limit - share
            if 2.0 <= far <= ladder.REACH and share:
                query = Query("above", (self.share(cover_name, where),), limit=limit, margin=2.0)
                alike = f"{cover_name}/{limit}/{where == 'scene'}"
                return self.made(family, query, unit=" percent", alike=alike)
        return None

    def _any(self, name: str) -> str:
        """A land cover that the scene has, if it has any."""
        return self.dice.pick(f"{name}/cover", self.there or COMMON[1:])

    def _ranged(self, family: str, places: Sequence[str | tuple[int, ...]], name: str) -> Candidate | None:
        """Which range holds a share, in a part where the one that the dice choose does."""
        cover_name = self._any(name)
        edges = self.dice.pick(f"{name}/edges", ladder.SHARE_RANGES)
        wanted = int(self.dice.roll(f"{name}/range") * 4)
        for where in self.dice.mixed(f"{name}/where", places):
            share = self._of(cover_name, where)
            if share and edges[wanted] <= share <= edges[wanted + 1]:
                query = Query("range", (self.share(cover_name, where),), edges=edges, margin=0.8)
                alike = f"{cover_name}/{edges[1]}/{where == 'scene'}"
                return self.made(family, query, unit=" percent", options=(0, 1, 2, 3), alike=alike)
        return None

    def _open(self, name: str) -> Candidate | None:
        """A share in numbers, and the same of another part and another land cover in the next turns."""
        turns: list[Candidate] = []
        for number in range(3):
            at = self._by_tenths(f"{name}/{number}")
            if at is not None:
                query = Query("number", (self.share(*at),))
                turn = self.made("area.open", query, unit=" percent", wording="area.next" if turns else "")
                turns += [turn] if turn is not None and all(t.query != query for t in turns) else []
        return self.ask.dialogue(turns)

    def _hectares(self) -> Candidate | None:
        """Ground of a land cover in the whole scene; the ranges depend on the scene's size alone."""
        whole = self.ask.scene.spec.size_m**2 / 1e4
        edges = tuple(float(round(whole * share)) for share in (0.01, 0.05, 0.15, 0.35, 0.7))
        if edges[1] - edges[0] < 1:
            return None
        name = self._any("hectares")
        query = Query("range", (Quantity("hectares", self.label, (name,)),), edges=edges, margin=0.01 * edges[2])
        return self.made("area.hectares", query, unit=" hectares", options=(0, 1, 2, 3), alike=name)

    def _differing(self, name: str, family: str, op: str) -> Candidate | None:
        """Two parts of one size with clearly different shares of one land cover."""
        cover_name = self._any(name)
        pairs = [*combinations(QUARTERS, 2), ("top", "bottom"), ("left", "right")]
        for first, second in self.dice.mixed(f"{name}/pair", pairs):
            a, b = (first, second) if self.dice.coin(f"{name}/order") else (second, first)
            column = COMMON.index(cover_name) - 1
            gap = self.percent[_NAMES.index(a), column] - self.percent[_NAMES.index(b), column]
            if abs(gap) >= _CLEARLY:
                keys = (a, b) if op == "largest" else ()
                query = Query(op, (self.share(cover_name, a), self.share(cover_name, b)), keys, margin=_CLEARLY)
                more = a if gap > 0 else b
                answers, key = ((first, second), more) if keys else even((first, second), more, a)
                alike = f"{cover_name}/{first}/{second}" if keys else f"{first}/{second}"
                return self.made(family, query, unit=" percent", alike=alike, answers=answers, key=key)
        return None

    def comparisons(self) -> Iterator[Candidate | None]:
        yield self._differing("parts/0", "compare.parts", "largest")
        yield self._differing("yes/0", "compare.yes", "more")
        yield self._differing("yes/1", "compare.yes", "more")
        for number, (a, b) in enumerate(islice(self.dice.mixed("covers", list(combinations(self.there, 2))), 3)):
            where = self.part(f"covers/{number}")
            yield self._versus("compare.covers", a, b, where, f"covers/{number}")

    def _versus(self, family: str, a: str, b: str, where: str | tuple[int, ...], name: str) -> Candidate | None:
        """Which of two land covers holds more of a part; asked as often with either answer."""
        keys = (a, b) if self.dice.coin(f"{name}/order") else (b, a)
        query = Query("largest", tuple(self.share(k, where) for k in keys), keys, margin=_CLEARLY)
        return self.made(family, query, alike="/".join(sorted(keys)), answers=tuple(sorted(keys)))

    def ranks(self) -> Iterator[Candidate | None]:
        asked = [(n, o) for n in self.there for o in ("largest", "smallest")]
        for number, (name, op) in enumerate(self.dice.mixed("rank", asked)[:3]):
            parts = self.dice.mixed(f"rank/{number}", QUARTERS)
            query = Query(op, tuple(self.share(name, p) for p in parts), tuple(parts), margin=_CLEARLY / 2)
            family = "rank.most" if op == "largest" else "rank.least"
            yield self.made(family, query, options=tuple(parts), alike=name)
        for name in self.dice.mixed("place", self.there)[:3] if len(self.there) > 1 else ():
            where = self.part(f"place/{name}")
            others = tuple(self.share(n, where) for n in COMMON[1:] if n != name)
            query = Query("rank", (self.share(name, where), *others), margin=_CLEARLY)
            yield self.made("rank.cover", query, alike=f"{name}/{where == 'scene'}")

    def regions(self) -> Iterator[Candidate | None]:
        boxes = [self.dice.pick(f"boxes/{number}", _BOXES) for number in range(8)]
        for number in range(2):
            if len(self.there) > 1:
                a, b = self.dice.mixed(f"box/{number}/covers", self.there)[:2]
                yield self._versus("region.box", a, b, boxes[number], f"box/{number}")
            yield self._above("region.share", boxes, f"box/{number}/above")
            yield self._ranged("region.choice", boxes, f"box/{number}/choice")
        for name in self.dice.mixed("referring", self.there)[:2]:
            yield from self._referring(name)

    def _referring(self, name: str) -> Iterator[Candidate | None]:
        """A box or a mask as the answer, of a small part of the scene: a guess of all of it is wrong."""
        share = self.percent[0, COMMON.index(name) - 1]
        if share <= 20:
            yield self.made("ground.box", Query("box", (self.share(name),), margin=0.4))
        if share <= 50:
            yield self.made("ground.mask", Query("outline", (self.share(name),)))

    def relations(self) -> Iterator[Candidate | None]:
        pairs = list(combinations(sorted(self.there), 2))
        for number, (a, b) in enumerate(islice(self.dice.mixed("relations", pairs), 2)):
            pair = (a, b) if self.dice.coin(f"relations/{number}/order") else (b, a)
            for axis, family, keys in (
                ("x", "relation.across", ("right of", "left of")),
                ("y", "relation.along", ("below", "above")),
            ):
                centres = tuple(Quantity("centre", self.label, (name, axis)) for name in pair)
                query = Query("largest", centres, keys, margin=80.0)
                more = pair[0] if self.ask.value(query) == keys[0] else pair[1]
                answers, key = even((a, b), more, pair[0])
                yield self.made(family, query, alike=f"{a}/{b}", answers=answers, key=key)
            touch = Query("present", (Quantity("contact", self.label, pair),), limit=6.0)
            yield self.made("relation.contact", touch, alike="/".join(sorted(pair)))

    def others(self) -> Iterator[Candidate | None]:
        where = self.part("covers")
        for number in self.dice.mixed("covers/number", (2, 3, 4, 5))[:2]:
            query = Query("at least", (Quantity("covers", self.label, (), where),), limit=float(number))
            yield self.made("count.covers", query, alike=f"{number}/{where == 'scene'}")
        for name in self.dice.mixed("premise", COMMON[1:])[:5]:
            parts = self.dice.mixed(f"premise/{name}", QUARTERS)
            shares = tuple(self.share(name, p) for p in parts)
            query = Query("largest", shares, tuple(parts), margin=_CLEARLY / 2, allow=NOWHERE)
            listed = self.dice.mixed(f"premise/{name}/options", (*parts, NOWHERE))
            yield self.made("premise.quarter", query, alike=name, options=tuple(listed))
        yield self._described("describe/0")
        yield self._described("describe/1")

    def _described(self, name: str) -> Candidate | None:
        """The land cover of a part in a sentence, and once more in other words."""
        query = Query("listed", (Quantity("share", self.label, (), self.part(name)),), limit=LISTED_PERCENT)
        turns = [self.made("describe.part", query), self.made("describe.part", query, wording="describe.again")]
        return self.ask.dialogue([t for t in turns if t is not None])
