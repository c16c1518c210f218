"""Questions about images, heights and map objects: radar, greenness, change, time, clouds, elevation, counts."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING

from landweave.asked import UNTOLD, Quantity, Query
from landweave.phrases import KINDS
from pipelines.questions import options as ladder
from pipelines.questions.candidate import Family
from pipelines.questions.cover import QUARTERS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipelines.questions.asker import Asker
    from pipelines.questions.candidate import Candidate
    from pipelines.questions.sources import Images

_YES_NO = {"yes": 1, "no": 1}
_TREND = {"rose": 1, "fell": 1}
_TOLD = {"told": 3, UNTOLD: 1}
_TALK = {name: Family(name=name, task=task, form=form, shares=shares) for name, task, form, shares in (
    ("count.above", "count", "yes or no", {}),
    ("count.choice", "count", "choice", {}),
    ("count.open", "count", "open", {}),
    ("count.compare", "count", "open", {}),
    ("count.any", "count", "yes or no", _YES_NO),
    ("length.roads", "length", "choice", {}),
    ("height.highest", "elevation", "choice", {}),
    ("height.lowest", "elevation", "choice", {}),
    ("height.pair", "elevation", "yes or no", {}),
    ("height.top", "elevation", "choice", {}),
    ("height.range", "elevation", "choice", {}),
    ("height.slope", "elevation", "yes or no", {}),
    ("untold.height", "unanswerable", "choice", _TOLD),
    ("radar.quarter", "radar", "choice", {}),
    ("radar.pair", "radar", "yes or no", {}),
    ("radar.mean", "radar", "choice", {}),
    ("radar.dark", "radar", "choice", {}),
    ("radar.covers", "radar", "open", {}),
    ("radar.trend", "change", "open", _TREND),
    ("untold.radar", "unanswerable", "choice", _TOLD),
    ("green.quarter", "vegetation", "choice", {}),
    ("green.pair", "vegetation", "yes or no", {}),
    ("untold.green", "unanswerable", "choice", _TOLD),
    ("green.trend", "change", "open", _TREND),
    ("change.share", "change", "choice", {}),
    ("change.quarter", "change", "choice", {}),
    ("change.mask", "change", "mask", {}),
    ("time.gap", "time", "choice", {}),
    ("time.order", "time", "open", {"before": 1, "after": 1}),
    ("time.month", "time", "choice", {}),
    ("time.season", "time", "choice", {}),
    ("place.zone", "place", "choice", {}),
    ("clouds.part", "clouds", "yes or no", _YES_NO),
)}  # fmt: skip
_ROAD_STEP_M = 100
_DARK_DB = {"VV": -15.0, "VH": -22.0, "HH": -15.0, "HV": -22.0}
"""Below this a surface is smooth or turned away from the radar; calm water is darker in each polarisation."""
_LEAST_DB, _LEAST_M, _LEAST_GREEN = 0.5, 2.0, 0.02
"""Differences of means that are asked about: decibels, metres, and of the index of greenness."""
_SEASONS = ("spring", "summer", "autumn", "winter")
_ZONES = ("tropics", "subtropics", "mid-latitudes", "high latitudes", "polar region")


def objects(ask: Asker, table: str) -> Iterator[Candidate | None]:
    """Counts of map objects and the length of roads."""
    counted = {kind: ask.measured(Quantity("objects", table, (kind,))) for kind in KINDS}
    there = [kind for kind, count in counted.items() if count]
    for kind in ask.dice.mixed("objects/there", there)[:3]:
        quantity = Quantity("objects", table, (kind,))
        count = counted[kind] or 0.0
        limit = ladder.ratio_limit(count, ask.dice, f"objects/{kind}")
        if limit is not None:
            yield ask.candidate(_TALK["count.above"], Query("above", (quantity,), limit=limit), ask.looks)
        listed = ladder.ratios(int(count), ask.dice, f"objects/{kind}/choice")
        number = Query("number", (quantity,))
        if listed is not None:
            yield ask.candidate(_TALK["count.choice"], number, ask.looks, options=listed)
        if count >= 8:
            yield ask.candidate(_TALK["count.open"], number, ask.looks)
    for kind in ask.dice.mixed("objects/any", tuple(KINDS))[:8]:
        query = Query("present", (Quantity("objects", table, (kind,)),), limit=1.0)
        yield ask.candidate(_TALK["count.any"], query, ask.looks, alike=kind)
    for pair in ask.dice.mixed("objects/pairs", list(combinations(there, 2)))[:3]:
        keys = pair if ask.dice.coin(f"objects/{pair}") else pair[::-1]
        query = Query("largest", tuple(Quantity("objects", table, (k,)) for k in keys), keys, margin=1.0)
        answers = tuple(sorted(pair))
        yield ask.candidate(_TALK["count.compare"], query, ask.looks, alike="/".join(answers), answers=answers)
    roads = Query("number", (Quantity("objects", table, ("road length",)),), step=float(_ROAD_STEP_M))
    metres = ask.value(roads)
    listed = ladder.ratios(metres, ask.dice, "roads", _ROAD_STEP_M) if isinstance(metres, int) else None
    if listed is not None:
        yield ask.candidate(_TALK["length.roads"], roads, ask.looks, unit=" m", options=listed)


def heights(ask: Asker, ground: str) -> Iterator[Candidate | None]:
    """Elevations and slopes."""
    looks = (ground.partition("/")[0],)

    def height(which: str, where: str = "scene") -> Quantity:
        return Quantity("height", ground, (which,), where)

    means = {part: height("mean", part) for part in QUARTERS}
    for family, op in (("height.highest", "largest"), ("height.lowest", "smallest")):
        yield _quarter(ask, _TALK[family], op, means, _LEAST_M, looks)
    yield _pair(ask, "height.pair", means, _LEAST_M, looks)
    yield _maybe(ask, _TALK["untold.height"], means, _LEAST_M, ask.looks or looks)
    for family, which in (("height.top", "highest"), ("height.range", "range")):
        query = Query("number", (height(which),))
        value = ask.value(query)
        if isinstance(value, int):
            listed = _heights(value, ask, family)
            if listed is not None:
                yield ask.candidate(_TALK[family], query, looks, unit=" m", options=listed)
    slope = height("slope")
    value = ask.measured(slope)
    limit = None if value is None else ladder.ratio_limit(value, ask.dice, "slope", 1.0)
    if limit is not None:
        yield ask.candidate(
            _TALK["height.slope"], Query("above", (slope,), limit=limit, margin=0.3), looks, unit=" degrees"
        )


def _heights(value: int, ask: Asker, name: str) -> tuple[int, ...] | None:
    if name == "height.range":
        return ladder.ratios(value, ask.dice, name)
    gap = 12 + int(ask.dice.roll(f"{name}/gap") * 60)
    return ladder.steps(value, ask.dice, name, gap) if value > 3 * gap else None


def _quarter(
    ask: Asker, family: Family, op: str, parts: dict[str, Quantity], margin: float, looks: tuple[str, ...]
) -> Candidate | None:
    """Which quarter has the most (or least) of something."""
    keys = tuple(ask.dice.mixed(family.name, tuple(parts)))
    query = Query(op, tuple(parts[k] for k in keys), keys, margin=margin)
    return ask.candidate(family, query, looks, options=keys)


def _maybe(
    ask: Asker, family: Family, parts: dict[str, Quantity], margin: float, looks: tuple[str, ...], alike: str = ""
) -> Candidate | None:
    """The same with 'cannot be told' among the options: it is right where the measurement is absent."""
    keys = tuple(ask.dice.mixed(family.name, tuple(parts)))
    query = Query("largest", tuple(parts[k] for k in keys), keys, margin=margin, allow=UNTOLD)
    value = ask.value(query)
    if not isinstance(value, str):
        return None
    left_out = next(k for k in keys if k != value)
    listed = ask.dice.mixed(f"{family.name}/options", [*(k for k in keys if k != left_out), UNTOLD])
    key = UNTOLD if value == UNTOLD else "told"
    return ask.candidate(family, query, looks, options=tuple(listed), alike=alike, key=key)


def _pair(
    ask: Asker, family: str, parts: dict[str, Quantity], margin: float, looks: tuple[str, ...]
) -> Candidate | None:
    """Whether one quarter has more of something than another."""
    for number, (a, b) in enumerate(ask.dice.mixed(f"{family}/pairs", list(combinations(parts, 2)))):
        keys = (a, b) if ask.dice.coin(f"{family}/{number}") else (b, a)
        found = ask.candidate(_TALK[family], Query("more", tuple(parts[k] for k in keys), margin=margin), looks)
        if found is not None:
            return found
    return None


def radar(ask: Asker, images: Images, label: str | None) -> Iterator[Candidate | None]:
    """What radar shows, date by date."""
    band = ask.dice.pick("radar/band", images.bands)
    slot = int(ask.dice.roll("radar/slot") * images.slots)
    looks = (f"{images.group}/{slot}",)
    parts = {p: Quantity("mean", images.array, (band,), p, slot) for p in QUARTERS}
    yield _quarter(ask, _TALK["radar.quarter"], "largest", parts, _LEAST_DB, looks)
    yield _pair(ask, "radar.pair", parts, _LEAST_DB, looks)
    yield _maybe(ask, _TALK["untold.radar"], parts, _LEAST_DB, _all_looks(ask, images), f"{band}/{slot}")
    where = ask.dice.pick("radar/where", (*QUARTERS, "scene"))
    mean = Query("number", (Quantity("mean", images.array, (band,), where, slot),))
    value = ask.value(mean)
    if isinstance(value, int):
        listed = ladder.steps(value, ask.dice, "radar/mean", 2 + int(ask.dice.roll("radar/gap") * 2))
        yield ask.candidate(_TALK["radar.mean"], mean, looks, unit=" dB", options=listed)
    dark = Query("number", (Quantity("dark", images.array, (band, f"{_DARK_DB[band]:g}"), where, slot),))
    value = ask.value(dark)
    listed_shares = ladder.shares(value, ask.dice, "radar/dark") if isinstance(value, int) else None
    if listed_shares is not None:
        yield ask.candidate(_TALK["radar.dark"], dark, looks, unit=" percent", options=listed_shares)
    if images.slots > 1:
        yield _trend(ask, "radar.trend", "mean", images, (band,), _LEAST_DB)
    if label is not None:
        for a, b in ask.dice.mixed("radar/covers", list(combinations(ask.there(label), 2)))[:2]:
            keys = (a, b) if ask.dice.coin(f"radar/{a}/{b}") else (b, a)
            over = tuple(Quantity("over", images.array, (band, k, label), "scene", slot) for k in keys)
            query = Query("largest", over, keys, margin=1.0)
            answers = tuple(sorted(keys))
            alike = f"{band}/{'/'.join(answers)}"
            yield ask.candidate(_TALK["radar.covers"], query, looks, alike=alike, answers=answers)


def _all_looks(ask: Asker, images: Images) -> tuple[str, ...]:
    """The dates that are there."""
    return ask.present(images) or ask.looks


def _trend(
    ask: Asker, family: str, what: str, images: Images, bands: tuple[str, ...], margin: float
) -> Candidate | None:
    """Whether a part's mean rose or fell from the first date to the second."""
    where = ask.dice.pick(f"{family}/where", (*QUARTERS, "scene"))
    dates = tuple(Quantity(what, images.array, bands, where, slot) for slot in (0, 1))
    query = Query("largest", dates, ("fell", "rose"), margin=margin)
    alike = f"{'/'.join(bands)}/{where == 'scene'}"
    return ask.candidate(_TALK[family], query, (f"{images.group}/0", f"{images.group}/1"), alike=alike)


def optical(ask: Asker, images: Images) -> Iterator[Candidate | None]:
    """Greenness, its change between two dates, and clouds."""
    slot = int(ask.dice.roll("green/slot") * images.slots)
    looks = (f"{images.group}/{slot}",)
    parts = {p: Quantity("greenness", images.array, images.bands, p, slot) for p in QUARTERS}
    yield _quarter(ask, _TALK["green.quarter"], "largest", parts, _LEAST_GREEN, looks)
    yield _pair(ask, "green.pair", parts, _LEAST_GREEN, looks)
    yield _maybe(ask, _TALK["untold.green"], parts, _LEAST_GREEN, _all_looks(ask, images), f"{slot}")
    if images.slots > 1:
        yield from _changes(ask, images)
    if images.cloud:
        for part in (*QUARTERS, "scene"):
            query = Query("above", (Quantity("clear", images.cloud, (), part, slot),), limit=50.0, margin=15.0)
            yield ask.candidate(_TALK["clouds.part"], query, looks, unit=" percent", alike=f"{slot}/{part == 'scene'}")


def _changes(ask: Asker, images: Images) -> Iterator[Candidate | None]:
    looks = (f"{images.group}/0", f"{images.group}/1")

    def lost(where: str) -> Quantity:
        return Quantity("faded", images.array, images.bands, where, 0, 1)

    yield _trend(ask, "green.trend", "greenness", images, images.bands, _LEAST_GREEN)
    yield _quarter(ask, _TALK["change.quarter"], "largest", {p: lost(p) for p in QUARTERS}, 5.0, looks)
    share = Query("number", (lost("scene"),))
    value = ask.value(share)
    listed = ladder.shares(value, ask.dice, "change") if isinstance(value, int) else None
    if listed is not None:
        yield ask.candidate(_TALK["change.share"], share, looks, unit=" percent", options=listed)
        yield ask.candidate(_TALK["change.mask"], Query("outline", (lost("scene"),)), looks)


def times(ask: Asker, dated: tuple[Images, ...]) -> Iterator[Candidate | None]:
    """When images were taken: order, months, seasons, days between."""
    days = [Quantity("day", f"{i.group}/datetimes", (), "scene", slot) for i in dated for slot in range(i.slots)]
    pairs = [(a, b) for a, b in combinations(days, 2) if a.source != b.source or a.slot != b.slot]
    for number, (a, b) in enumerate(ask.dice.mixed("times", pairs)[:3]):
        first, second = (a, b) if ask.dice.coin(f"times/{number}") else (b, a)
        looks = tuple(f"{q.source.partition('/')[0]}/{q.slot}" for q in (first, second))
        order = Query("largest", (first, second), ("after", "before"), margin=1.0)
        if first.source != second.source:  # within a layer the first image is the earlier one
            alike = "/".join(f"{q.source}/{q.slot}" for q in (first, second))
            yield ask.candidate(_TALK["time.order"], order, looks, alike=alike)
        gap = Query("difference", (first, second))
        value = ask.value(gap)
        listed = ladder.ratios(value, ask.dice, f"times/{number}/gap") if isinstance(value, int) else None
        if listed is not None:
            yield ask.candidate(_TALK["time.gap"], gap, looks, unit=" days", options=listed)
    if days:
        yield from _calendar(ask, ask.dice.pick("calendar", days))


def _calendar(ask: Asker, day: Quantity) -> Iterator[Candidate | None]:
    looks = (f"{day.source.partition('/')[0]}/{day.slot}",)
    month = Query("number", (Quantity("month", day.source, (), "scene", day.slot),))
    value = ask.value(month)
    if isinstance(value, int):
        other = (value - 1 + (1 if ask.dice.coin("month/next") else -1)) % 12 + 1
        yield _either(ask, "time.month", month, value, other, looks)
    season = Query("season", (day,))
    found = ask.value(season)
    if isinstance(found, str):
        yield _either(
            ask, "time.season", season, found, ask.dice.pick("season", [s for s in _SEASONS if s != found]), looks
        )
    zone = Query("zone", (Quantity("place", "catalogue"),))
    found = ask.value(zone)
    if isinstance(found, str):
        yield _either(
            ask, "place.zone", zone, found, ask.dice.pick("zone", [z for z in _ZONES if z != found]), ask.looks
        )


def _either(
    ask: Asker, family: str, query: Query, value: int | str, other: int | str, looks: tuple[str, ...]
) -> Candidate | None:
    """One of two options, each of which is right as often in the samples of a shard."""
    listed = ask.dice.mixed(f"{family}/options", (value, other))
    answers = tuple(sorted(str(v) for v in listed))
    alike = f"{'/'.join(looks)}/{'/'.join(answers)}"
    return ask.candidate(
        _TALK[family], query, looks, options=tuple(listed), alike=alike, answers=answers, key=str(value)
    )
