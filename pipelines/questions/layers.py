"""Questions about images, heights and map objects: radar, greenness, change, time, clouds, elevation, counts."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING

from landweave.asked import UNTOLD, Quantity, Query
from landweave.phrases import KINDS
from pipelines.questions import options as ladder
from pipelines.questions.candidate import Family, even
from pipelines.questions.cover import QUARTERS
from pipelines.questions.sources import Images

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipelines.questions.asker import Asker
    from pipelines.questions.candidate import Candidate

_YES_NO = {"yes": 1, "no": 1}
_TREND = {"rose": 1, "fell": 1}
_OF_QUARTERS = dict.fromkeys(QUARTERS, 1)
_TOLD = {**_OF_QUARTERS, UNTOLD: 1}
_RANGES = {"0": 1, "1": 1, "2": 1}
_OF_SHARES = {**_RANGES, "3": 1}
_TALK = {name: Family(name=name, task=task, form=form, shares=shares) for name, task, form, shares in (
    ("count.above", "count", "yes or no", _YES_NO),
    ("count.choice", "count", "choice", _RANGES),
    ("count.open", "count", "open", {}),
    ("count.compare", "count", "open", {}),
    ("count.any", "count", "yes or no", _YES_NO),
    ("length.roads", "length", "choice", _RANGES),
    ("length.open", "length", "open", {}),
    ("height.highest", "elevation", "choice", _OF_QUARTERS),
    ("height.lowest", "elevation", "choice", _OF_QUARTERS),
    ("height.pair", "elevation", "yes or no", {}),
    ("height.top", "elevation", "choice", _RANGES),
    ("height.range", "elevation", "choice", _RANGES),
    ("height.open", "elevation", "open", {}),
    ("height.slope", "elevation", "yes or no", _YES_NO),
    ("untold.height", "unanswerable", "choice", _TOLD),
    ("radar.quarter", "radar", "choice", _OF_QUARTERS),
    ("radar.pair", "radar", "yes or no", {}),
    ("radar.mean", "radar", "choice", _RANGES),
    ("radar.dark", "radar", "choice", _OF_SHARES),
    ("radar.covers", "radar", "open", {}),
    ("radar.trend", "change", "open", _TREND),
    ("untold.radar", "unanswerable", "choice", _TOLD),
    ("green.quarter", "vegetation", "choice", _OF_QUARTERS),
    ("green.pair", "vegetation", "yes or no", {}),
    ("untold.green", "unanswerable", "choice", _TOLD),
    ("green.trend", "change", "open", _TREND),
    ("change.share", "change", "choice", _OF_SHARES),
    ("change.quarter", "change", "choice", _OF_QUARTERS),
    ("change.mask", "change", "mask", {}),
    ("time.greener", "time", "open", {"one": 1, "two": 1}),
    ("time.clearer", "time", "open", {"one": 1, "two": 1}),
    ("time.gap", "time", "choice", _RANGES),
    ("time.order", "time", "open", {"before": 1, "after": 1}),
    ("time.month", "time", "choice", {}),
    ("time.season", "time", "choice", {}),
    ("place.zone", "place", "choice", {}),
    ("clouds.part", "clouds", "yes or no", _YES_NO),
)}  # fmt: skip
_ROAD_STEP_M, _ROAD_LEAST_M, _TOP_STEP_M, _RADAR_STEP_DB = 10, 500, 50.0, 2.0
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
        limit = ladder.near(ladder.COUNTS, count, ask.dice, f"objects/{kind}")
        if limit is not None:
            query = Query("above", (quantity,), limit=limit)
            yield ask.candidate(_TALK["count.above"], query, ask.looks, alike=f"{kind}/{limit}")
        yield _ranged(ask, "count.choice", quantity, ladder.COUNTS, ask.looks, kind)
        number = Query("number", (quantity,))
        if count >= 15:
            yield ask.candidate(_TALK["count.open"], number, ask.looks)
    for kind in ask.dice.mixed("objects/any", tuple(KINDS))[:5]:
        query = Query("present", (Quantity("objects", table, (kind,)),), limit=1.0)
        yield ask.candidate(_TALK["count.any"], query, ask.looks, alike=kind)
    for pair in ask.dice.mixed("objects/pairs", list(combinations(there, 2)))[:3]:
        keys = pair if ask.dice.coin(f"objects/{pair}") else pair[::-1]
        query = Query("largest", tuple(Quantity("objects", table, (k,)) for k in keys), keys, margin=1.0)
        answers = tuple(sorted(pair))
        yield ask.candidate(_TALK["count.compare"], query, ask.looks, alike="/".join(answers), answers=answers)
    roads = Quantity("objects", table, ("road length",))
    yield _ranged(ask, "length.roads", roads, ladder.LENGTHS, ask.looks, unit=" m")
    if (ask.measured(roads) or 0) > _ROAD_LEAST_M:
        query = Query("number", (roads,), step=float(_ROAD_STEP_M))
        yield ask.candidate(_TALK["length.open"], query, ask.looks, unit=" m")


def _ranged(
    ask: Asker,
    family: str,
    quantity: Quantity | tuple[Quantity, ...],
    scale: tuple[float, ...],
    looks: tuple[str, ...],
    alike: str = "",
    unit: str = "",
) -> Candidate | None:
    """Which of some neighbouring ranges of a scale holds a quantity, or a difference of two."""
    of = (quantity,) if isinstance(quantity, Quantity) else quantity
    known = [m for q in of if (m := ask.measured(q)) is not None]
    if len(known) < len(of):
        return None
    edges = ladder.ranges(scale, known[0] if len(of) == 1 else abs(known[0] - known[1]), ask.dice, f"{family}/{alike}")
    if edges is None:
        return None
    query = Query("range", of, edges=edges, margin=0.0 if of[0].what == "objects" else 0.02 * (edges[1] - edges[0]))
    listed = tuple(range(len(edges) - 1))
    return ask.candidate(_TALK[family], query, looks, unit=unit, options=listed, alike=f"{alike}/{edges[0]}")


def heights(ask: Asker, ground: str) -> Iterator[Candidate | None]:
    """Elevations and slopes."""
    looks = (ground.partition("/")[0],)

    def height(which: str, where: str = "scene") -> Quantity:
        return Quantity("height", ground, (which,), where)

    means = {part: height("mean", part) for part in QUARTERS}
    for family, op in (("height.highest", "largest"), ("height.lowest", "smallest")):
        yield _quarter(ask, _TALK[family], op, means, _LEAST_M, looks)
    yield _pair(ask, "height.pair", means, _LEAST_M, looks)
    yield _quarter(ask, _TALK["untold.height"], "largest", means, _LEAST_M, ask.looks or looks)
    top = ask.measured(height("highest"))
    if top is not None:
        yield _ranged(ask, "height.top", height("highest"), ladder.steps(top, _TOP_STEP_M), looks, unit=" m")
    yield _ranged(ask, "height.range", height("range"), ladder.RELIEF, looks, unit=" m")
    which = ask.dice.pick("height/which", ("highest", "lowest"))
    yield ask.candidate(
        _TALK["height.open"], Query("number", (height(which),)), looks, unit=" m", wording=f"height.open.{which}"
    )
    slope = height("slope")
    value = ask.measured(slope)
    limit = None if value is None else ladder.near(ladder.SLOPES, value, ask.dice, "slope")
    if limit is not None:
        query = Query("above", (slope,), limit=limit, margin=0.1)
        yield ask.candidate(_TALK["height.slope"], query, looks, unit=" degrees", alike=f"{limit}")


def _quarter(
    ask: Asker,
    family: Family,
    op: str,
    parts: dict[str, Quantity],
    margin: float,
    looks: tuple[str, ...],
    alike: str = "",
) -> Candidate | None:
    """Which quarter has the most (or least) of something; where absence is an answer, 'cannot be told' is an option."""
    keys = tuple(ask.dice.mixed(family.name, tuple(parts)))
    maybe = UNTOLD in family.shares
    query = Query(op, tuple(parts[k] for k in keys), keys, margin=margin, allow=UNTOLD if maybe else "")
    listed = ask.dice.mixed(f"{family.name}/options", (*keys, UNTOLD) if maybe else keys)
    return ask.candidate(family, query, looks, options=tuple(listed), alike=alike)


def _pair(
    ask: Asker, family: str, parts: dict[str, Quantity], margin: float, looks: tuple[str, ...], alike: str = ""
) -> Candidate | None:
    """Whether one quarter has more of something than another."""
    for number, pair in enumerate(ask.dice.mixed(f"{family}/pairs", list(combinations(parts, 2)))):
        a, b = pair if ask.dice.coin(f"{family}/{number}") else pair[::-1]
        query = Query("more", (parts[a], parts[b]), margin=margin)
        value = ask.value(query)
        if value is not None:
            answers, key = even(pair, a if value == "yes" else b, a)
            return ask.candidate(
                _TALK[family], query, looks, alike=f"{alike}/{'/'.join(pair)}", answers=answers, key=key
            )
    return None


def radar(ask: Asker, images: Images, label: str | None) -> Iterator[Candidate | None]:
    """What radar shows, date by date."""
    band = ask.dice.pick("radar/band", images.bands)
    slot = int(ask.dice.roll("radar/slot") * images.slots)
    looks = (f"{images.group}/{slot}",)
    parts = {p: Quantity("mean", images.array, (band,), p, slot) for p in QUARTERS}
    alike = f"{band}/{slot}"
    yield _quarter(ask, _TALK["radar.quarter"], "largest", parts, _LEAST_DB, looks, alike)
    yield _pair(ask, "radar.pair", parts, _LEAST_DB, looks, alike)
    yield _quarter(ask, _TALK["untold.radar"], "largest", parts, _LEAST_DB, _all_looks(ask, images), alike)
    where = ask.dice.pick("radar/where", (*QUARTERS, "scene"))
    mean = Quantity("mean", images.array, (band,), where, slot)
    value = ask.measured(mean)
    if value is not None:
        yield _ranged(ask, "radar.mean", mean, ladder.steps(value, _RADAR_STEP_DB), looks, alike, " dB")
    dark = Quantity("dark", images.array, (band, f"{_DARK_DB[band]:g}"), where, slot)
    edges = ask.dice.pick("radar/edges", ladder.SHARE_RANGES)
    query = Query("range", (dark,), edges=edges, margin=0.5)
    more = {"unit": " percent", "options": (0, 1, 2, 3), "alike": f"{alike}/{edges[1]}/{where == 'scene'}"}
    yield ask.candidate(_TALK["radar.dark"], query, looks, **more)
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
    ask: Asker,
    family: str,
    what: str,
    images: Images,
    bands: tuple[str, ...],
    margin: float,
    keys: tuple[str, str] = ("fell", "rose"),
) -> Candidate | None:
    """Which of two dates has more of something in a part: `keys` name the first and the second date, as answers."""
    where = ask.dice.pick(f"{family}/where", (*QUARTERS, "scene"))
    dates = tuple(Quantity(what, images.array, bands, where, slot) for slot in (0, 1))
    query = Query("largest", dates, keys, margin=margin)
    alike = f"{'/'.join(bands)}/{where == 'scene'}"
    return ask.candidate(_TALK[family], query, (f"{images.group}/0", f"{images.group}/1"), alike=alike)


def optical(ask: Asker, images: Images) -> Iterator[Candidate | None]:
    """Greenness, its change between two dates, and clouds."""
    slot = int(ask.dice.roll("green/slot") * images.slots)
    looks = (f"{images.group}/{slot}",)
    parts = {p: Quantity("greenness", images.array, images.bands, p, slot) for p in QUARTERS}
    yield _quarter(ask, _TALK["green.quarter"], "largest", parts, _LEAST_GREEN, looks, f"{slot}")
    yield _pair(ask, "green.pair", parts, _LEAST_GREEN, looks, f"{slot}")
    yield _quarter(ask, _TALK["untold.green"], "largest", parts, _LEAST_GREEN, _all_looks(ask, images), f"{slot}")
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
    yield _trend(ask, "time.greener", "greenness", images, images.bands, _LEAST_GREEN, ("one", "two"))
    if images.cloud:
        clouds = Images(images.group, images.slots, images.cloud, ())
        yield _trend(ask, "time.clearer", "clear", clouds, (), 10.0, ("one", "two"))
    yield _quarter(ask, _TALK["change.quarter"], "largest", {p: lost(p) for p in QUARTERS}, 5.0, looks)
    edges = ask.dice.pick("change/edges", ladder.SHARE_RANGES)
    share = Query("range", (lost("scene"),), edges=edges, margin=0.5)
    options: tuple[int, ...] = (0, 1, 2, 3)
    yield ask.candidate(_TALK["change.share"], share, looks, unit=" percent", options=options, alike=f"{edges[1]}")
    if 3.0 <= (ask.measured(lost("scene")) or 0.0) <= 60.0:
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
        alike = "/".join(sorted(f"{q.source}/{q.slot}" for q in (first, second)))
        yield _ranged(ask, "time.gap", (first, second), ladder.DAYS, looks, alike, " days")
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
